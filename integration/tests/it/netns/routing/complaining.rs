//! What senders are told, as their own kernels report it.

use std::io::ErrorKind;
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::time::Instant;

use integration::lab::{Complaint, Probe, eventually, patience, uninterrupted};

use super::super::{Site, drops};
use super::{ip, line};

/// A line of two routers, of which the first one has routes that lead nowhere.
fn topology() -> String {
    line(2).replacen(
        "      - { to: 203.0.113.0/24, via: blackhole }\n",
        r#"      - { to: 10.66.0.0/16, via: blackhole }
      - { to: "fd00:66::/32", via: blackhole }
      - { to: 10.77.0.0/16, via: reject }
      - { to: "fd00:77::/32", via: reject }
"#,
        1,
    )
}

fn expect(kind: u8, code: u8, from: &str) -> Complaint {
    Complaint {
        kind,
        code,
        from: ip(from),
        mtu: 0,
    }
}

#[test]
fn errors_reach_the_sender() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(&topology()));
    site.assert_reaches("web", "10.2.0.20");
    site.assert_reaches("web", "fd00:2::20");
    let web = site.workload("web");
    let far = ["192.168.1.2", "fd00:99:1::2"];
    for (to, expected, reason) in [
        // No route; the second router knows no way either, but is not asked.
        ("10.99.0.1", expect(3, 0, "10.1.0.1"), "no_route"),
        ("fd00:5555::1", expect(1, 0, "fd00:1::1"), "no_route"),
        // A route that rejects: communication is administratively prohibited.
        ("10.77.1.1", expect(3, 13, "10.1.0.1"), "rejected"),
        ("fd00:77::1", expect(1, 1, "fd00:1::1"), "rejected"),
        // Nothing listens at routers.
        ("10.1.0.1", expect(3, 3, "10.1.0.1"), "router_service"),
        ("fd00:1::1", expect(1, 4, "fd00:1::1"), "router_service"),
        (far[0], expect(3, 3, far[0]), "router_service"),
        (far[1], expect(1, 4, far[1]), "router_service"),
    ] {
        let before = drops(&bowline, "web/eth0", reason);
        let complaint = Probe::new(ip(to)).complaint(web);
        assert_eq!(complaint, expected, "to {to}");
        assert!(drops(&bowline, "web/eth0", reason) > before, "{reason}");
    }
    for (to, ttl, expected) in [
        ("10.2.0.20", 1, expect(11, 0, "10.1.0.1")),
        ("10.2.0.20", 2, expect(11, 0, far[0])),
        ("fd00:2::20", 1, expect(3, 0, "fd00:1::1")),
        ("fd00:2::20", 2, expect(3, 0, far[1])),
    ] {
        let probe = Probe {
            ttl,
            ..Probe::new(ip(to))
        };
        assert_eq!(probe.complaint(web), expected, "to {to} with {ttl}");
    }
}

#[test]
fn a_black_hole_is_silent() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(&topology()));
    site.assert_reaches("web", "10.2.0.20");
    site.assert_reaches("web", "fd00:2::20");
    for to in ["10.66.1.1", "fd00:66::1"] {
        let before = drops(&bowline, "web/eth0", "blackhole");
        let packets = 25;
        let complaint = Probe::new(ip(to)).complaint_about(packets, site.workload("web"));
        assert_eq!(complaint, None, "to {to}");
        eventually("all of them are counted", || {
            drops(&bowline, "web/eth0", "blackhole") == before + u64::from(packets)
        });
    }
}

/// Programs see it as they do everywhere: the next call on a connected socket fails.
#[test]
fn a_connection_to_a_router_is_refused() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(&line(1)));
    for (any, router) in [("0.0.0.0", "10.1.0.1"), ("::", "fd00:2::1")] {
        site.assert_reaches("web", router);
        let any: IpAddr = ip(any);
        let socket = site.workload("web").run(|| UdpSocket::bind((any, 0)));
        let socket = socket.unwrap();
        socket.connect((ip(router), 53)).unwrap();
        socket.set_read_timeout(Some(patience())).unwrap();
        socket.send(b"who are you?").unwrap();
        let error = uninterrupted(|| socket.recv(&mut [0; 16])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
        // Over TCP too, at once and not after a time of silence.
        let connect = || TcpStream::connect_timeout(&(ip(router), 179).into(), patience());
        let error = site.workload("web").run(connect).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    }
}

/// Errors are limited for each receiver and router (RFC 1812 section 4.3.2.8).
#[test]
fn errors_are_limited() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(&line(1)));
    site.assert_reaches("web", "10.2.0.20");
    let since = Instant::now();
    let output = site
        .workload("web")
        .command("ping")
        .args([
            "-n",
            "-q",
            "-i",
            "0.002",
            "-c",
            "500",
            "-W",
            "1",
            "10.99.0.1",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = text.lines().find_map(|line| {
        let (_, rest) = line.split_once("received, +")?;
        rest.split_once(" errors")?.0.parse::<u64>().ok()
    });
    let errors = errors.unwrap_or_else(|| panic!("no errors: {text}"));
    // A burst of 16, and 20 more in each second that this takes.
    let most = 16 + 20 * (since.elapsed().as_secs() + 1);
    assert!((16..=most).contains(&errors), "{errors} of {most}");
    assert!(drops(&bowline, "web/eth0", "no_route") >= 500);
}
