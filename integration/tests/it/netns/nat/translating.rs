//! Workloads that go out.

use std::net::IpAddr;
use std::process::Stdio;

use integration::lab::{Capture, Complaint, Namespace, Probe, eventually, ping, veth};

use super::super::drops;
use super::{Edge, HOST, WORLD, at, fragments, tcp, udp};

#[test]
fn a_workload_goes_out_with_the_address_of_its_host() {
    let Some(edge) = Edge::new() else { return };
    let _bowline = edge.load();
    for (world, host) in WORLD.into_iter().zip(HOST) {
        for call in [tcp, udp, fragments] {
            let peer = call(
                edge.workload("web"),
                at(world, 80),
                (&edge.world, at(world, 80)),
            );
            assert_eq!(peer.ip(), host.parse::<IpAddr>().unwrap());
            // The ports of the host's own programs are left to these.
            assert!(!(32768..=60999).contains(&peer.port()), "{peer}");
        }
    }
}

/// It has no iptables rule and no forwarding, and needs none.
#[test]
fn the_host_forwards_nothing_by_itself() {
    let Some(edge) = Edge::new() else { return };
    let _bowline = edge.load();
    let path = "/proc/sys/net/ipv4/ip_forward";
    let forward = edge.site.host.run(|| std::fs::read_to_string(path));
    assert_eq!(forward.unwrap().trim(), "0");
}

#[test]
fn a_floating_address_stands_for_its_workload_in_both_directions() {
    let Some(edge) = Edge::new() else { return };
    let _bowline = edge.load();
    let [world, _] = WORLD;
    let peer = tcp(
        edge.workload("db"),
        at(world, 80),
        (&edge.world, at(world, 80)),
    );
    assert_eq!(peer.ip().to_string(), "192.0.2.50");
    let floating = at("192.0.2.50", 22);
    for (caller, seen) in [
        (&edge.world, "192.0.2.1"),
        (edge.workload("web"), "10.1.0.10"),
    ] {
        for call in [tcp, udp, fragments] {
            let peer = call(caller, floating, (edge.workload("db"), at("10.2.0.20", 22)));
            assert_eq!(peer.ip().to_string(), seen);
        }
    }
    assert!(ping(&edge.world, floating.ip()));
}

/// The workload learns by them what fits, and who is not there.
#[test]
fn errors_find_their_way_back() {
    let Some(edge) = Edge::new() else { return };
    let _bowline = edge.load();
    for (world, kind, code) in [(WORLD[0], 3, 3), (WORLD[1], 1, 4)] {
        let to: IpAddr = world.parse().unwrap();
        let complaint = Probe::new(to).complaint(edge.workload("web"));
        let expected = Complaint {
            kind,
            code,
            from: to,
            mtu: 0,
        };
        assert_eq!(complaint, expected);
    }
    // From inside, about what came from outside.
    let complaint = Probe::new("192.0.2.50".parse().unwrap()).complaint(&edge.world);
    assert_eq!(complaint.from.to_string(), "192.0.2.50");
    assert_eq!((complaint.kind, complaint.code), (3, 3));
}

/// A router of the world has a smaller link than both ends know of.
#[test]
fn a_small_link_outside_is_found_out() {
    let Some(edge) = Edge::new() else { return };
    let _bowline = edge.load();
    let [v4, _] = WORLD;
    edge.site
        .host
        .ip(&["route", "add", v4, "via", "192.0.2.1", "mtu", "1500"]);
    // The world's own router refuses what is longer: its link to the address is a smaller one.
    let far = Namespace::new("far");
    veth((&edge.world, "eth1"), (&far, "eth0"));
    edge.world
        .ip(&["address", "add", "203.0.113.1/24", "dev", "eth1"]);
    edge.world.ip(&["link", "set", "eth1", "mtu", "1200"]);
    far.ip(&["address", "add", "203.0.113.2/24", "dev", "eth0"]);
    far.ip(&["route", "add", "default", "via", "203.0.113.1"]);
    edge.world.sysctl("net/ipv4/ip_forward", "1");
    let probe = Probe {
        len: 1300,
        ..Probe::new("203.0.113.2".parse().unwrap())
    };
    let complaint = probe.complaint(edge.workload("web"));
    let expected = Complaint {
        kind: 3,
        code: 4,
        from: "192.0.2.1".parse().unwrap(),
        mtu: 1200,
    };
    assert_eq!(complaint, expected);
    let to = at("203.0.113.2", 5000);
    let peer = tcp(edge.workload("web"), to, (&far, to));
    assert_eq!(peer.ip().to_string(), HOST[0]);
}

#[test]
fn without_an_address_of_its_family_nothing_leaves() {
    let Some(edge) = Edge::new() else { return };
    let host = &edge.site.host;
    host.ip(&["address", "del", "2001:db8::2/64", "dev", "eth0"]);
    let bowline = edge.site.bowline();
    bowline.load(&edge.site.topology(super::EDGE));
    let [v4, v6] = WORLD;
    edge.site.assert_reaches("web", v4);
    eventually("an IPv6 packet is dropped", || {
        assert!(!ping(edge.workload("web"), v6.parse().unwrap()));
        drops(&bowline, "web/eth0", "nat_exhausted") > 0
    });
}

/// Nothing leaves with an address of the inside, whatever part of a packet it is.
#[test]
fn echoes_in_fragments_are_translated() {
    let Some(edge) = Edge::new() else { return };
    let _bowline = edge.load();
    let [world, _] = WORLD;
    let capture = Capture::start(&edge.world, "eth0");
    let mut ping = edge.workload("web").command("ping");
    let ping = ping.args(["-c", "2", "-W", "5", "-s", "4000", world]);
    assert!(ping.stdout(Stdio::null()).status().unwrap().success());
    capture.settle();
    let inside = capture.matching(|frame| {
        frame.get(12..14) == Some(&[8, 0]) && matches!(frame.get(26..28), Some([10, _]))
    });
    assert!(inside.is_empty(), "{inside:02x?}");
}
