//! Packets that fit through the tunnel, and those that do not.

use integration::lab::{Complaint, Family, Probe, Underlay};
use serde_json::Value;

use super::reaching::assert_carries_tcp;
use super::{assert_reaches, fleet, ip};

/// `big` may send larger packets than the tunnel takes.
const PAIR: &str = r#"
version: 1
name: pair
defaults: { tunnel: @tunnel }
@hosts
networks:
  front: [10.1.0.0/24, "fd00:1::/64"]
  wide: { subnets: [10.2.0.0/24, "fd00:2::/64"], mtu: 2000 }
workloads:
  web: { host: alpha, netns: @web, ports: [{ network: front, addresses: [10.1.0.10, "fd00:1::10"] }] }
  db: { host: beta, netns: @db, ports: [{ network: front, addresses: [10.1.0.20, "fd00:1::20"] }] }
  big: { host: alpha, netns: @big, ports: [{ network: wide, addresses: [10.2.0.10, "fd00:2::10"] }] }
  bin: { host: beta, netns: @bin, ports: [{ network: wide, addresses: [10.2.0.20, "fd00:2::20"] }] }
"#;

fn mtu(underlay: &Underlay, workload: &str) -> u64 {
    let links = underlay
        .workload(workload)
        .ip(&["-j", "link", "show", "dev", "eth0"]);
    let links: Value = serde_json::from_str(&links).unwrap();
    links[0]["mtu"].as_u64().unwrap()
}

/// `overhead` is what a tunnel adds, the inner Ethernet header included.
fn sizes(family: Family, tunnel: &str, overhead: u32) {
    let workloads = ["web", "db", "big", "bin"];
    let Some(underlay) = Underlay::new(family, 1400, &["alpha", "beta"], &workloads) else {
        return;
    };
    let carried = 1400 - overhead;
    let fleet = fleet(&underlay);
    fleet.load(&underlay.topology(&PAIR.replace("@tunnel", tunnel)));
    assert_eq!(mtu(&underlay, "web"), u64::from(carried));
    assert_eq!(mtu(&underlay, "big"), 2000);
    let (web, db) = (underlay.workload("web"), underlay.workload("db"));
    let (big, bin) = (underlay.workload("big"), underlay.workload("bin"));
    for (from, to) in [
        ("web", "10.1.0.20"),
        ("web", "fd00:1::20"),
        ("big", "10.2.0.20"),
        ("big", "fd00:2::20"),
    ] {
        assert_reaches(&underlay, from, to);
    }
    // As large as it may be, and one byte more.
    let full = usize::try_from(carried).unwrap();
    for (to, headers, kind, code) in [("10.2.0.20", 28, 3, 4), ("fd00:2::20", 48, 2, 0)] {
        let probe = |len| Probe {
            len,
            ..Probe::new(ip(to))
        };
        // The port is closed: whoever gets the packet says so.
        let closed = probe(full - headers).complaint(big);
        assert_eq!((closed.from, closed.mtu), (ip(to), 0), "{closed:?}");
        let told = probe(full - headers + 1).complaint(big);
        let from = ip(to);
        assert_eq!(
            told,
            Complaint {
                kind,
                code,
                from,
                mtu: carried
            }
        );
    }
    // Senders go by what they are told.
    for (from, to, address) in [
        (web, db, "10.1.0.20"),
        (web, db, "fd00:1::20"),
        (big, bin, "10.2.0.20"),
        (big, bin, "fd00:2::20"),
        (bin, big, "10.2.0.10"),
    ] {
        assert_carries_tcp(from, to, address);
    }
}

#[test]
fn the_underlay_decides_how_large_packets_in_vxlan_are() {
    sizes(Family::V4, "vxlan", 50);
}

#[test]
fn the_underlay_decides_how_large_packets_in_gre_are() {
    sizes(Family::V4, "gre", 42);
}

#[test]
fn the_underlay_decides_how_large_packets_in_geneve_over_ipv6_are() {
    sizes(Family::V6, "geneve", 70);
}
