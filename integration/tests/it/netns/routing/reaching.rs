//! Packets get through routers, and only where there are some.

use std::net::{IpAddr, UdpSocket};

use integration::lab::{Namespace, patience, uninterrupted};

use super::super::{PAIR, Site, drops};
use super::{BACK, ip, line, near_sides};

#[test]
fn ping_works_through_one_two_and_five_routers() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    let before = site.snapshot(&bowline);
    for routers in [1, 2, 5] {
        bowline.load(&site.topology(&line(routers)));
        for (from, to) in [("web", "2.0.20 fd00:2::20"), ("db", "1.0.10 fd00:1::10")] {
            let (v4, v6) = to.split_once(' ').unwrap();
            site.assert_reaches(from, &format!("10.{v4}"));
            site.assert_reaches(from, v6);
        }
        assert_eq!(ttl(site.workload("web"), "10.2.0.20"), 64 - routers);
        assert_eq!(ttl(site.workload("web"), "fd00:2::20"), 64 - routers);
        for address in near_sides(routers).into_iter().flatten() {
            site.assert_reaches("web", &address.to_string());
        }
        // The far side is the near one from there.
        for address in ["10.2.0.1", "fd00:2::1", "10.1.0.1", "fd00:1::1"] {
            site.assert_reaches("db", address);
        }
    }
    bowline.succeed(&["unload", "line"]);
    before.assert_same(&site.snapshot(&bowline));
}

/// With which time to live the answer to a ping arrives.
fn ttl(from: &Namespace, to: &str) -> usize {
    let text = ping(from, &["-W", "5", to]);
    let rest = text.split_once("ttl=").map(|(_, rest)| rest);
    let number = rest.and_then(|rest| rest.split(' ').next());
    let ttl = number.and_then(|number| number.parse().ok());
    ttl.unwrap_or_else(|| panic!("no time to live: {text}"))
}

fn ping(from: &Namespace, arguments: &[&str]) -> String {
    let mut command = from.command("ping");
    let output = command.args(["-n", "-c", "1"]).args(arguments).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[test]
fn each_router_is_seen_by_a_trace_of_the_route() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(&line(5)));
    site.assert_reaches("web", "10.2.0.20");
    site.assert_reaches("web", "fd00:2::20");
    for (number, [v4, v6]) in (1..).zip(near_sides(5)) {
        for (target, router) in [("10.2.0.20", v4), ("fd00:2::20", v6)] {
            let text = ping(
                site.workload("web"),
                &["-W", "5", "-t", &number.to_string(), target],
            );
            let first = text.lines().nth(1).unwrap_or_default();
            assert!(
                first.starts_with(&format!("From {router} ")) && first.contains("exceeded"),
                "hop {number} should be {router}: {text}"
            );
        }
    }
    let text = ping(site.workload("web"), &["-W", "5", "-t", "6", "10.2.0.20"]);
    assert!(text.contains("1 received"), "{text}");
}

#[test]
fn the_default_route_is_simply_there_but_not_from_internal_networks() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    let defaults = |name: &str| {
        let space = site.workload(name);
        let routes = ["-4", "-6"].map(|family| space.ip(&[family, "route", "show", "default"]));
        routes.concat()
    };
    bowline.load(&site.topology(&line(1)));
    let web = defaults("web");
    assert!(web.contains("via 10.1.0.1 dev eth0"), "{web}");
    assert!(web.contains("via fd00:1::1 dev eth0"), "{web}");

    let internal = line(1).replace(
        r#"back: [10.2.0.0/24, "fd00:2::/64"]"#,
        r#"back: { subnets: [10.2.0.0/24, "fd00:2::/64"], internal: true }"#,
    );
    bowline.load(&site.topology(&internal));
    assert_eq!(defaults("db"), "");
    assert_eq!(defaults("web"), web);
    site.assert_does_not_reach("web", "10.2.0.20");

    bowline.load(&site.topology(&line(1)));
    site.assert_reaches("web", "10.2.0.20");
    // Without a router there is no way out.
    bowline.load(&site.topology(PAIR).replace("name: pair", "name: line"));
    assert_eq!(defaults("web"), "");
}

#[test]
fn networks_without_a_router_between_them_do_not_reach_each_other() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    // Two routers that know nothing of each other.
    let apart =
        line(1).replace(BACK, "") + "  other:\n    ports: { back: [10.2.0.1, \"fd00:2::1\"] }\n";
    bowline.load(&site.topology(&apart));
    site.assert_reaches("web", "10.1.0.1");
    site.assert_reaches("db", "10.2.0.1");
    for (from, to) in [
        ("web", "10.2.0.20"),
        ("web", "fd00:2::20"),
        ("db", "10.1.0.10"),
        ("db", "fd00:1::10"),
        ("db", "10.1.0.1"),
    ] {
        site.assert_does_not_reach(from, to);
    }
    assert!(drops(&bowline, "web/eth0", "no_route") > 0);
}

/// The same addresses twice, each with a router of their own.
#[test]
fn addresses_may_overlap_behind_different_routers() {
    let Some(site) = Site::new(["web", "db", "twin", "other"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(
        "
version: 1
name: twins
networks:
  red-front: 10.1.0.0/24
  red-back: 10.2.0.0/24
  blue-front: 10.1.0.0/24
  blue-back: 10.2.0.0/24
routers:
  red: { ports: { red-front: 10.1.0.1, red-back: 10.2.0.1 } }
  blue: { ports: { blue-front: 10.1.0.1, blue-back: 10.2.0.1 } }
workloads:
  web: { netns: @web, ports: [{ network: red-front, addresses: 10.1.0.10 }] }
  db: { netns: @db, ports: [{ network: red-back, addresses: 10.2.0.20 }] }
  twin: { netns: @twin, ports: [{ network: blue-front, addresses: 10.1.0.10 }] }
  other: { netns: @other, ports: [{ network: blue-back, addresses: 10.2.0.20 }] }
",
    ));
    let receivers = ["db", "other"].map(|name| receiver(site.workload(name), "10.2.0.20"));
    for (from, own) in [("web", 0), ("twin", 1)] {
        site.assert_reaches(from, "10.2.0.20");
        let socket = site.workload(from).run(|| UdpSocket::bind("0.0.0.0:0"));
        let to = (ip("10.2.0.20"), 7000);
        socket.unwrap().send_to(from.as_bytes(), to).unwrap();
        let mut buffer = [0; 16];
        let (len, _) = uninterrupted(|| receivers[own].recv_from(&mut buffer)).unwrap();
        assert_eq!(&buffer[..len], from.as_bytes());
    }
    for receiver in receivers {
        receiver.set_nonblocking(true).unwrap();
        assert!(receiver.recv_from(&mut [0; 16]).is_err(), "one more");
    }
}

fn receiver(space: &Namespace, address: &str) -> UdpSocket {
    let address: IpAddr = ip(address);
    let socket = space.run(|| UdpSocket::bind((address, 7000))).unwrap();
    socket.set_read_timeout(Some(patience())).unwrap();
    socket
}
