//! Links of different sizes: senders find out what fits.

use std::net::{SocketAddr, TcpListener};
use std::thread;

use integration::lab::{Complaint, Probe, receive_all, send_all};

use super::super::{Site, drops};
use super::{ip, line};

/// Both ends have 1500 bytes; what is between the routers has not, and only they can tell.
fn narrow_in_the_middle() -> String {
    line(2)
        .replace("{ peer: r2,", "{ mtu: 1300, peer: r2,")
        .replace("{ peer: r1,", "{ mtu: 1300, peer: r1,")
}

/// The receiver's network is smaller than the sender's.
fn narrow_at_the_end() -> String {
    line(2).replace(
        r#"back: [10.2.0.0/24, "fd00:2::/64"]"#,
        r#"back: { subnets: [10.2.0.0/24, "fd00:2::/64"], mtu: 1300 }"#,
    )
}

#[test]
fn too_big_packets_are_told_with_the_right_size() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    for (text, v4, v6) in [
        (narrow_in_the_middle(), "10.1.0.1", "fd00:1::1"),
        (narrow_at_the_end(), "192.168.1.2", "fd00:99:1::2"),
    ] {
        bowline.load(&site.topology(&text));
        site.assert_reaches("web", "10.2.0.20");
        site.assert_reaches("web", "fd00:2::20");
        for (to, headers, kind, code, from) in
            [("10.2.0.20", 28, 3, 4, v4), ("fd00:2::20", 48, 2, 0, v6)]
        {
            let probe = Probe {
                len: 1301 - headers,
                ..Probe::new(ip(to))
            };
            let expected = Complaint {
                kind,
                code,
                from: ip(from),
                mtu: 1300,
            };
            assert_eq!(probe.complaint(site.workload("web")), expected);
            // One byte less is delivered, and it is the receiver that complains.
            let fits = Probe {
                len: 1300 - headers,
                ..probe
            };
            let complaint = fits.complaint(site.workload("web"));
            assert_eq!(complaint.from, ip(to), "{complaint:?}");
        }
    }
}

#[test]
fn tcp_gets_through_a_small_link_in_both_directions() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    for text in [narrow_in_the_middle(), narrow_at_the_end()] {
        bowline.load(&site.topology(&text));
        for (from, to, address) in [
            // The first transfer of a family tells one end the size, which tells the other one.
            ("web", "db", "10.2.0.20:5000"),
            ("db", "web", "[fd00:1::10]:5000"),
            ("db", "web", "10.1.0.10:5000"),
            ("web", "db", "[fd00:2::20]:5000"),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            site.assert_reaches(from, &address.ip().to_string());
            let listener = site.workload(to).run(|| TcpListener::bind(address));
            let listener = listener.unwrap();
            let receiver = thread::spawn(move || receive_all(&listener));
            let sent = send_all(site.workload(from), address, 8 << 20);
            assert_eq!(receiver.join().unwrap(), sent, "to {address}");
        }
    }
    // The ends offered each other more than fits, and were told.
    assert!(drops(&bowline, "web/eth0", "too_big") > 0);
    assert!(drops(&bowline, "db/eth0", "too_big") > 0);
}
