//! What an independent reader says of the packets that hosts send one another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};

use integration::lab::{Family, PacketSocket, Underlay, dissector, eventually};

use super::reaching::assert_carries_tcp;
use super::{assert_reaches, fleet};
use crate::netns::{experiment, is_experiment};

const PAIR: &str = r#"
version: 1
name: pair
defaults: { tunnel: @tunnel }
@hosts
networks:
  front: { subnets: [10.1.0.0/24, "fd00:1::/64"], vni: 4097 }
workloads:
  web: { host: alpha, netns: @web, ports: [{ network: front, addresses: [10.1.0.10, "fd00:1::10"] }] }
  db: { host: beta, netns: @db, ports: [{ network: front, addresses: [10.1.0.20, "fd00:1::20"] }] }
"#;

/// A remark of this severity is a warning, and a greater one an error (Wireshark, `epan/proto.h`).
const WARNING: u64 = 0x60_0000;

const FIELDS: [&str; 14] = [
    "frame.protocols",
    "_ws.expert.message",
    "_ws.expert.severity",
    "ip.checksum.status",
    "tcp.checksum.status",
    "udp.checksum.status",
    "ip.ttl",
    "ip.flags.df",
    "ip.dsfield",
    "ipv6.tclass",
    "udp.srcport",
    "ipv6.hlim",
    "frame.len",
    "ip.len",
];

/// What has been read of one frame, by the names of the fields.
struct Frame(BTreeMap<&'static str, Vec<String>>);

impl Frame {
    fn all(&self, field: &str) -> Vec<&str> {
        self.0[field].iter().map(String::as_str).collect()
    }

    fn protocols(&self) -> &str {
        self.0["frame.protocols"].first().map_or("", String::as_str)
    }
}

fn reads_well(family: Family, tunnel: &'static str) {
    if !dissector::is_there() {
        return;
    }
    let hosts = ["alpha", "beta"];
    let Some(underlay) = Underlay::new(family, 1500, &hosts, &["web", "db"]) else {
        return;
    };
    underlay.without_offloads();
    let fleet = fleet(&underlay);
    fleet.load(&underlay.topology(&PAIR.replace("@tunnel", tunnel)));
    let wires = hosts.map(|host| underlay.sent_by(host));
    make_traffic(&underlay);
    let is_outer = |frame: &[u8]| match family {
        Family::V4 => frame.get(12..14) == Some(&[8, 0]),
        Family::V6 => {
            frame.get(12..14) == Some(&[0x86, 0xdd]) && matches!(frame.get(20), Some(17 | 47))
        }
    };
    let mut frames: Vec<Vec<u8>> = wires
        .iter()
        .flat_map(|wire| {
            wire.settle();
            wire.matching(is_outer)
        })
        .collect();
    assert!(
        frames.iter().all(|frame| frame.len() <= 1514),
        "offload is off"
    );
    // Bulk data is much of the same.
    let mut large = 0;
    frames.retain(|frame| {
        large += usize::from(frame.len() > 1200);
        frame.len() <= 1200 || large < 500
    });
    let mut fields = FIELDS.to_vec();
    fields.push(match tunnel {
        "vxlan" => "vxlan.vni",
        "geneve" => "geneve.vni",
        _ => "gre.key",
    });
    let frames: Vec<Frame> = dissector::dissect(&frames, &fields)
        .into_iter()
        .map(|values| Frame(fields.iter().copied().zip(values).collect()))
        .collect();
    for frame in &frames {
        check(frame, family, tunnel, fields[FIELDS.len()]);
    }
    check_kinds(&frames, family, tunnel);
    check_ports(&frames, tunnel);
}

/// TCP, UDP, pings with a traffic class, discovery, and frames of a VLAN.
fn make_traffic(underlay: &Underlay) {
    let (web, db) = (underlay.workload("web"), underlay.workload("db"));
    for to in ["10.1.0.20", "fd00:1::20"] {
        assert_reaches(underlay, "web", to);
        let mut ping = web.command("ping");
        // Expedited forwarding, and able to say that there is congestion.
        let words = ["-n", "-c", "2", "-i", "0.1", "-Q", "0xba", to];
        assert!(ping.args(words).output().unwrap().status.success());
        let bind = || UdpSocket::bind(SocketAddr::new(to.parse().unwrap(), 42_001)).unwrap();
        let receiver = db.run(bind);
        let any = if to.contains(':') {
            "[::]:0"
        } else {
            "0.0.0.0:0"
        };
        let to_address = receiver.local_addr().unwrap();
        for len in [1, 100, 1001] {
            for _ in 0..4 {
                let sender = web.run(|| UdpSocket::bind(any).unwrap());
                for _ in 0..2 {
                    sender.send_to(&vec![7; len], to_address).unwrap();
                }
            }
        }
        assert_carries_tcp(web, db, to);
        assert_carries_tcp(
            db,
            web,
            if to.contains(':') {
                "fd00:1::10"
            } else {
                "10.1.0.10"
            },
        );
    }
    // A question that nobody answers for.
    web.command("ping")
        .args(["-c", "1", "-W", "1", "10.1.0.99"])
        .output()
        .unwrap();
    let [from, to] = [web, db].map(|space| space.mac("eth0"));
    let tagged = |frame: &[u8]| [&frame[..12], &[0x81, 0, 0x60, 5], &frame[12..]].concat();
    let receiver = PacketSocket::new(db, "eth0");
    let sender = PacketSocket::new(web, "eth0");
    let plain = experiment(to, from, b"plain");
    sender.send(&plain);
    sender.send(&tagged(&plain));
    let mut found = Vec::new();
    eventually("both have arrived", || {
        found.extend(receiver.drain());
        let has = |wanted: &[u8]| found.iter().any(|frame| frame == wanted);
        has(&plain) && has(&tagged(&plain))
    });
    assert!(found.iter().any(|frame| is_experiment(frame)));
}

fn check(frame: &Frame, family: Family, tunnel: &str, id: &str) {
    let what = frame
        .0
        .iter()
        .map(|(k, v)| format!("{k}: {v:?}\n"))
        .collect::<String>();
    // Segments that the kernel cuts have no outer checksum, which tunnels over IPv6 may do without
    // (RFC 6935 section 5); the reader does not know of that. Nor have frames of a VLAN.
    let may_lack = frame.protocols().contains(":tcp") || frame.protocols().contains(":vlan");
    let says = frame.all("_ws.expert.message");
    let is_without = family == Family::V6
        && tunnel != "gre"
        && may_lack
        && says.contains(&"Illegal checksum value (0)");
    let severities = frame.all("_ws.expert.severity");
    // That something came twice is no fault of the packet that tells.
    let is_told_twice = says.contains(&"D-SACK Sequence");
    // Zero has two forms in the arithmetic of checksums (RFC 1624 section 3), and the kernel of the sender
    // writes the other one.
    let is_zero = says
        .iter()
        .any(|it| it.starts_with("TCP Checksum 0xffff instead of 0x0000"));
    let is_mild =
        is_told_twice || is_zero || severities.iter().all(|severity| number(severity) < WARNING);
    assert!(is_mild || is_without, "{what}");
    let good = |field: &str, allowed: &[&str]| {
        assert!(
            frame
                .all(field)
                .iter()
                .all(|status| allowed.contains(status)),
            "{what}"
        );
    };
    // 1 is good, 3 is "not there", which only the outer UDP over IPv4 is.
    good("ip.checksum.status", &["1"]);
    if !is_zero {
        good("tcp.checksum.status", &["1"]);
    }
    let udp = frame.all("udp.checksum.status");
    let (outer, inner) = udp.split_at(usize::from(tunnel != "gre"));
    let outer_status = match family {
        Family::V4 => "3",
        Family::V6 => "1",
    };
    assert!(
        is_without || outer.iter().all(|status| *status == outer_status),
        "{what}"
    );
    assert!(inner.iter().all(|status| *status == "1"), "{what}");
    let [vni] = frame.all(id)[..] else {
        panic!("one tunnel: {what}");
    };
    assert_eq!(number(vni), 4097, "{what}");
    let classes: Vec<u64> = ["ip.dsfield", "ipv6.tclass"]
        .iter()
        .flat_map(|field| frame.all(field))
        .map(number)
        .collect();
    match family {
        Family::V4 => {
            assert_eq!(frame.all("ip.ttl")[0], "64", "{what}");
            assert!(
                matches!(frame.all("ip.flags.df")[0], "1" | "True"),
                "{what}"
            );
            let len: usize = frame.all("ip.len")[0].parse().unwrap();
            assert_eq!(frame.all("frame.len"), [(len + 14).to_string()], "{what}");
        }
        Family::V6 => assert_eq!(frame.all("ipv6.hlim")[0], "64", "{what}"),
    }
    // Both headers, where there are two of IP.
    assert!(classes.windows(2).all(|pair| pair[0] == pair[1]), "{what}");
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

fn check_kinds(frames: &[Frame], family: Family, tunnel: &str) {
    let outer = match family {
        Family::V4 => "eth:ethertype:ip",
        Family::V6 => "eth:ethertype:ipv6",
    };
    let outer = match tunnel {
        "gre" => format!("{outer}:gre"),
        _ => format!("{outer}:udp:{tunnel}"),
    };
    for inner in [
        "arp",
        "ip:tcp",
        "ip:udp",
        "ip:icmp",
        "ipv6:tcp",
        "ipv6:udp",
        "ipv6:icmpv6",
        "vlan:",
    ] {
        let wanted = format!("{outer}:eth:ethertype:{inner}");
        let found = frames
            .iter()
            .any(|frame| frame.protocols().starts_with(&wanted));
        let seen: BTreeSet<&str> = frames.iter().map(Frame::protocols).collect();
        assert!(found, "no {wanted} in {seen:?}");
    }
    let expedited = |frame: &&Frame| {
        let outer = [frame.all("ip.dsfield"), frame.all("ipv6.tclass")].concat();
        outer.iter().any(|class| class.ends_with("ba"))
    };
    assert!(
        frames.iter().filter(expedited).count() >= 8,
        "the pings' class"
    );
}

/// One source port for a flow, and several for several.
fn check_ports(frames: &[Frame], tunnel: &str) {
    if tunnel == "gre" {
        return;
    }
    let mut by_flow: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for frame in frames {
        if let [outer, inner] = frame.all("udp.srcport")[..] {
            by_flow.entry(inner).or_default().insert(outer);
            assert!(
                outer.parse::<u16>().unwrap() >= 49152,
                "{outer} is no dynamic port"
            );
        }
    }
    assert!(by_flow.len() >= 20, "{by_flow:?}");
    assert!(
        by_flow.values().all(|outer| outer.len() == 1),
        "{by_flow:?}"
    );
    let ports: BTreeSet<_> = by_flow.values().flatten().collect();
    assert!(ports.len() > by_flow.len() / 2, "{by_flow:?}");
}

#[test]
fn vxlan_reads_well() {
    reads_well(Family::V4, "vxlan");
}

#[test]
fn vxlan_over_ipv6_reads_well() {
    reads_well(Family::V6, "vxlan");
}

#[test]
fn geneve_reads_well() {
    reads_well(Family::V4, "geneve");
}

#[test]
fn geneve_over_ipv6_reads_well() {
    reads_well(Family::V6, "geneve");
}

#[test]
fn gre_reads_well() {
    reads_well(Family::V4, "gre");
}

#[test]
fn gre_over_ipv6_reads_well() {
    reads_well(Family::V6, "gre");
}
