//! Packets that fit through the tunnel, and those that do not.

use std::net::IpAddr;

use integration::checksum;
use integration::lab::{Capture, Complaint, Family, PacketSocket, Probe, Underlay, eventually};
use serde_json::Value;

use super::reaching::assert_carries_tcp;
use super::{assert_reaches, drops, fleet, ip};

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

/// The maximum segment size that the first segments of connections in a capture say, which `from` sent.
fn sizes_said(capture: &Capture, from: &str) -> Vec<u16> {
    let said = |frame: &[u8]| {
        let (source, protocol, start) = match frame[12..14] {
            [0x08, 0x00] => {
                let source: [u8; 4] = frame[26..30].try_into().ok()?;
                (IpAddr::from(source), frame[23], 34)
            }
            [0x86, 0xdd] => {
                let source: [u8; 16] = frame[22..38].try_into().ok()?;
                (IpAddr::from(source), frame[20], 54)
            }
            _ => return None,
        };
        let is_first = protocol == 6 && source == ip(from) && frame[start + 13] & 2 != 0;
        // Linux says it first.
        is_first.then(|| match frame[start + 20..start + 24] {
            [2, 4, high, low] => u16::from_be_bytes([high, low]),
            _ => panic!("no maximum segment size: {frame:02x?}"),
        })
    };
    let frames = capture.matching(|frame| said(frame).is_some());
    frames.iter().filter_map(|frame| said(frame)).collect()
}

/// Nobody has to be told afterwards.
#[test]
fn new_connections_are_told_what_fits() {
    let workloads = ["web", "db", "big", "bin"];
    let Some(underlay) = Underlay::new(Family::V4, 1400, &["alpha", "beta"], &workloads) else {
        return;
    };
    let fleet = fleet(&underlay);
    let text = PAIR.replace("@tunnel", "vxlan");
    for (mss, clamped) in [("keep", false), ("clamp", true)] {
        let wide = format!("mtu: 2000, mss: {mss}");
        fleet.load(&underlay.topology(&text.replace("mtu: 2000", &wide)));
        let (big, bin) = (underlay.workload("big"), underlay.workload("bin"));
        for (from, to, headers) in [
            ("10.2.0.10", "10.2.0.20", 40),
            ("fd00:2::10", "fd00:2::20", 60),
        ] {
            assert_reaches(&underlay, "big", to);
            big.ip(&["route", "flush", "cache"]);
            let before = drops(&fleet, "alpha", "too_big");
            let captures = [Capture::start(big, "eth0"), Capture::start(bin, "eth0")];
            assert_carries_tcp(big, bin, to);
            // What Linux says follows from its own MTU.
            let fits = if clamped { 1350 } else { 2000 } - headers;
            for (capture, peer) in captures.iter().zip([to, from]) {
                let said = sizes_said(capture, peer);
                assert!(!said.is_empty(), "nothing arrived from {peer}");
                assert!(
                    said.iter().all(|size| *size == fits),
                    "{said:?} from {peer}"
                );
            }
            let told = drops(&fleet, "alpha", "too_big") > before;
            assert_eq!(told, !clamped, "{mss} to {to}");
        }
    }
}

/// TCP in a VLAN that segmentation offload left whole, with `len` bytes of payload.
fn tagged_segments(from: [u8; 6], to: [u8; 6], len: usize) -> Vec<u8> {
    let total = u16::try_from(40 + len).unwrap().to_be_bytes();
    let addresses: [IpAddr; 2] = [ip("10.5.0.1"), ip("10.5.0.2")];
    let fixed = [0x45, 0, total[0], total[1], 0, 1, 0x40, 0, 64, 6, 0, 0];
    let mut header = [&fixed[..], &[10, 5, 0, 1], &[10, 5, 0, 2]].concat();
    let sum = checksum::of(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let pseudo = checksum::pseudo_header(addresses[0], addresses[1], 6, 20 + len);
    let sum = (!checksum::of(&pseudo)).to_be_bytes();
    let ports = [0xa4, 0x10, 0xa4, 0x11];
    let numbers = [0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff];
    let tcp = [&ports[..], &numbers, &sum, &[0, 0]].concat();
    [
        &to,
        &from,
        &[0x81, 0, 0, 5, 8, 0][..],
        &header,
        &tcp,
        &vec![7; len],
    ]
    .concat()
}

fn segments_of_a_vlan(family: Family, tunnel: &str, overhead: u16) {
    let workloads = ["web", "db", "big", "bin"];
    let Some(underlay) = Underlay::new(family, 1400, &["alpha", "beta"], &workloads) else {
        return;
    };
    let fleet = fleet(&underlay);
    fleet.load(&underlay.topology(&PAIR.replace("@tunnel", tunnel)));
    let (web, db) = (underlay.workload("web"), underlay.workload("db"));
    let wire = tagged_segments(web.mac("eth0"), db.mac("eth0"), 20_000);
    let received = PacketSocket::new(db, "eth0");
    let sender = PacketSocket::new(web, "eth0");
    // The tag, the IP header and the TCP header belong to each packet.
    let fits = 1400 - overhead - 44;
    sender.send_whole(&wire, 38, fits);
    eventually("the frame arrives whole", || {
        received.drain().contains(&wire)
    });
    assert_eq!(drops(&fleet, "alpha", "tunnel_too_small"), 0);
    sender.send_whole(&wire, 38, fits + 1);
    eventually("what is too big is dropped", || {
        drops(&fleet, "alpha", "tunnel_too_small") == 1
    });
    assert_eq!(drops(&fleet, "alpha", "kernel_refused"), 0);
    assert!(!received.drain().contains(&wire));
}

#[test]
fn segments_of_a_vlan_get_through_vxlan() {
    segments_of_a_vlan(Family::V4, "vxlan", 50);
}

#[test]
fn segments_of_a_vlan_get_through_gre_over_ipv6() {
    segments_of_a_vlan(Family::V6, "gre", 62);
}
