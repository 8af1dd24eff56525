//! What comes from the underlay and must not get in.

use integration::checksum;
use integration::lab::{Capture, Family, Fleet, PacketSocket, Underlay, eventually};
use serde_json::Value;

use super::{assert_reaches, drops, fleet};
use crate::netns::{experiment, is_experiment};

const PAIR: &str = r#"
version: 1
name: pair
@hosts
vteps:
  tor: { address: @tor, tunnel: geneve, networks: { front: learn } }
networks:
  front: { subnets: [10.1.0.0/24], vni: 7 }
workloads:
  web: { host: alpha, netns: @web, ports: [{ network: front, addresses: [10.1.0.10] }] }
  db: { host: beta, netns: @db, ports: [{ network: front, addresses: [10.1.0.20] }] }
"#;

/// The outer part of what is sent to `alpha`, to be spoilt.
#[derive(Clone)]
struct Outer {
    from: [u8; 4],
    port: u16,
    tunnel: [u8; 8],
    fragment: u16,
    /// Added to the lengths that IP and UDP say.
    ip_len: i32,
    udp_len: i32,
    /// Added to the checksum of IP.
    checksum: u16,
    /// How many bytes are there, counted from the outer Ethernet header, if not all.
    cut: Option<usize>,
}

impl Outer {
    fn vxlan(from: [u8; 4], vni: u8) -> Self {
        Self {
            from,
            port: 4789,
            tunnel: [8, 0, 0, 0, 0, 0, vni, 0],
            fragment: 0x4000,
            ip_len: 0,
            udp_len: 0,
            checksum: 0,
            cut: None,
        }
    }

    fn geneve(from: [u8; 4], vni: u8) -> Self {
        Self {
            port: 6081,
            tunnel: [0, 0, 0x65, 0x58, 0, 0, vni, 0],
            ..Self::vxlan(from, vni)
        }
    }

    fn wrap(&self, to: [u8; 6], inner: &[u8]) -> Vec<u8> {
        let len = |extra: usize, wrong: i32| {
            let right = i32::try_from(extra + 8 + inner.len()).unwrap();
            u16::try_from(right + wrong).unwrap().to_be_bytes()
        };
        let mut ip = [
            &[0x45_u8, 0] as &[u8],
            &len(28, self.ip_len),
            &[0, 0],
            &self.fragment.to_be_bytes(),
            &[64, 17, 0, 0],
            &self.from,
            &[192, 0, 2, 11],
        ]
        .concat();
        let sum = checksum::of(&ip).wrapping_add(self.checksum);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        let udp = [
            &50000_u16.to_be_bytes() as &[u8],
            &self.port.to_be_bytes(),
            &len(8, self.udp_len),
            &[0, 0],
        ]
        .concat();
        let ethernet = [&to as &[u8], &[2, 0, 0, 0, 0, 9], &[8, 0]].concat();
        let mut frame = [&ethernet, &ip, &udp, &self.tunnel as &[u8], inner].concat();
        if let Some(cut) = self.cut {
            frame.truncate(cut);
        }
        frame
    }
}

const BETA: [u8; 4] = [192, 0, 2, 12];
const TOR: [u8; 4] = [192, 0, 2, 99];

/// What is sent, and the reason why it is dropped; nothing if it is none of ours.
fn spoilt() -> Vec<(&'static str, Outer, Option<&'static str>)> {
    let good = Outer::vxlan(BETA, 7);
    let geneve = Outer::geneve(TOR, 7);
    vec![
        (
            "a stranger",
            Outer::vxlan([192, 0, 2, 77], 7),
            Some("unknown_peer"),
        ),
        (
            "this host itself",
            Outer::vxlan([192, 0, 2, 11], 7),
            Some("unknown_peer"),
        ),
        (
            "another tunnel",
            Outer::geneve(BETA, 7),
            Some("wrong_tunnel"),
        ),
        (
            "another tunnel than the VTEP's",
            Outer::vxlan(TOR, 7),
            Some("wrong_tunnel"),
        ),
        (
            "another network",
            Outer::vxlan(BETA, 8),
            Some("unknown_vni"),
        ),
        (
            "a network that is the VTEP's no more",
            Outer::geneve(TOR, 8),
            Some("unknown_vni"),
        ),
        (
            "no network, and no echo",
            Outer::vxlan(BETA, 0),
            Some("malformed_echo"),
        ),
        (
            "a first fragment",
            Outer {
                fragment: 0x2000,
                ..good.clone()
            },
            Some("outer_fragment"),
        ),
        (
            "a later fragment",
            Outer {
                fragment: 0x2004,
                ..good.clone()
            },
            None,
        ),
        (
            "VXLAN without a VNI",
            Outer {
                tunnel: [0, 0, 0, 0, 0, 0, 7, 0],
                ..good.clone()
            },
            Some("malformed_outer"),
        ),
        (
            "Geneve of the future",
            Outer {
                tunnel: [0x40, 0, 0x65, 0x58, 0, 0, 7, 0],
                ..geneve.clone()
            },
            Some("malformed_outer"),
        ),
        (
            "Geneve with IP in it",
            Outer {
                tunnel: [0, 0, 8, 0, 0, 0, 7, 0],
                ..geneve.clone()
            },
            Some("malformed_outer"),
        ),
        (
            "a critical option",
            Outer {
                tunnel: [0, 0x40, 0x65, 0x58, 0, 0, 7, 0],
                ..geneve.clone()
            },
            Some("critical_option"),
        ),
        (
            "options beyond the end",
            Outer {
                tunnel: [0x3f, 0, 0x65, 0x58, 0, 0, 7, 0],
                ..geneve
            },
            Some("malformed_outer"),
        ),
        (
            "a frame cut within its header",
            Outer {
                cut: Some(60),
                ip_len: -50,
                udp_len: -50,
                ..good.clone()
            },
            Some("malformed_outer"),
        ),
        (
            "IP longer than the frame",
            Outer {
                ip_len: 1,
                ..good.clone()
            },
            Some("malformed_outer"),
        ),
        (
            "IP shorter than UDP",
            Outer {
                ip_len: -1,
                ..good.clone()
            },
            Some("malformed_outer"),
        ),
        (
            "IP without room for a tunnel",
            Outer {
                ip_len: -80,
                ..good.clone()
            },
            Some("malformed_outer"),
        ),
        (
            "UDP longer than IP",
            Outer {
                udp_len: 1,
                ..good.clone()
            },
            Some("malformed_outer"),
        ),
        (
            "UDP without room for a tunnel",
            Outer {
                udp_len: -75,
                ..good.clone()
            },
            Some("malformed_outer"),
        ),
        (
            "a wrong checksum",
            Outer {
                checksum: 1,
                ..good.clone()
            },
            Some("malformed_outer"),
        ),
        ("UDP to another port", Outer { port: 4790, ..good }, None),
    ]
}

/// All drops of a host, whatever the reason.
fn all_drops(fleet: &Fleet<'_>, host: &str) -> u64 {
    fn add(value: &Value) -> u64 {
        match value {
            Value::Object(fields) => fields.values().map(add).sum(),
            Value::Array(values) => values.iter().map(add).sum(),
            _ => value.as_u64().unwrap_or(0),
        }
    }
    fn find(value: &Value) -> u64 {
        match value {
            Value::Object(fields) => fields
                .iter()
                .map(|(key, value)| {
                    if key == "drops" {
                        add(value)
                    } else {
                        find(value)
                    }
                })
                .sum(),
            Value::Array(values) => values.iter().map(find).sum(),
            _ => 0,
        }
    }
    find(&fleet.on(host).json(&["stats"]))
}

#[test]
fn what_no_peer_can_have_sent_is_dropped_and_counted_with_its_reason() {
    let hosts = ["alpha", "beta"];
    let Some(underlay) = Underlay::new(Family::V4, 1500, &hosts, &["web", "db"]) else {
        return;
    };
    let fleet = fleet(&underlay);
    fleet.load(&underlay.topology(&PAIR.replace("@tor", "192.0.2.99")));
    assert_reaches(&underlay, "web", "10.1.0.20");
    let uplink = underlay.host("alpha").mac("up0");
    let [web, db] = ["web", "db"].map(|name| underlay.workload(name).mac("eth0"));
    let arrived = Capture::start(underlay.workload("web"), "eth0");
    let socket: PacketSocket = underlay.socket_to("alpha");
    let good = experiment(web, db, b"good");
    let bad = experiment(web, db, b"bad");
    let is_good = |frame: &[u8]| frame == good;

    for (sent, (what, outer, reason)) in (1..).zip(spoilt()) {
        let before = (
            reason.map_or(0, |reason| drops(&fleet, "alpha", reason)),
            all_drops(&fleet, "alpha"),
        );
        socket.send(&outer.wrap(uplink, &bad));
        // One that is as it should be, behind it.
        socket.send(&Outer::vxlan(BETA, 7).wrap(uplink, &good));
        eventually(what, || arrived.matching(is_good).len() == sent);
        let after = (
            reason.map_or(0, |reason| drops(&fleet, "alpha", reason)),
            all_drops(&fleet, "alpha"),
        );
        let one = u64::from(reason.is_some());
        assert_eq!(
            after,
            (before.0 + one, before.1 + one),
            "{what}: {reason:?}"
        );
    }
    arrived.settle();
    let got_in = arrived.matching(|frame| is_experiment(frame) && !is_good(frame));
    assert!(got_in.is_empty(), "{got_in:02x?}");
}
