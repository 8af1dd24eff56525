//! Hosts without a tunnel between them: the underlay carries the workloads' own packets.

use std::net::IpAddr;

use integration::checksum;
use integration::lab::{Family, Snapshot, UPLINK, Underlay, eventually, ping, ping_once};

use super::reaching::assert_carries_tcp;
use super::{assert_reaches, drops, fleet, ip};

const TRIO: &str = r#"
version: 1
name: trio
defaults: { tunnel: none }
@hosts
networks:
  front: [10.1.0.0/24, "fd00:1::/64"]
  back: [10.2.0.0/24, "fd00:2::/64"]
routers:
  core: { ports: { front: [10.1.0.1, "fd00:1::1"], back: [10.2.0.1, "fd00:2::1"] } }
workloads:
  web: { host: alpha, netns: @web, ports: [{ network: front, addresses: [10.1.0.10, "fd00:1::10"] }] }
  db: { host: beta, netns: @db, ports: [{ network: front, addresses: [10.1.0.20, "fd00:1::20"] }] }
  far: { host: gamma, netns: @far, ports: [{ network: back, addresses: [10.2.0.30, "fd00:2::30"] }] }
"#;

/// Workloads' addresses of one family, of which the other one cannot cross.
struct Places {
    web: &'static str,
    db: &'static str,
    far: &'static str,
    db_of_the_other: &'static str,
}

const V4: Places = Places {
    web: "10.1.0.10",
    db: "10.1.0.20",
    far: "10.2.0.30",
    db_of_the_other: "fd00:1::20",
};

const V6: Places = Places {
    web: "fd00:1::10",
    db: "fd00:1::20",
    far: "fd00:2::30",
    db_of_the_other: "10.1.0.20",
};

/// Source, destination and time to live of the IP packet in a frame.
fn header(frame: &[u8]) -> Option<(IpAddr, IpAddr, u8)> {
    fn address<const N: usize>(frame: &[u8], at: usize) -> Option<IpAddr>
    where
        IpAddr: From<[u8; N]>,
    {
        let octets: [u8; N] = frame.get(at..at + N)?.try_into().ok()?;
        Some(octets.into())
    }
    match frame.get(12..14)? {
        [0x08, 0x00] => Some((
            address::<4>(frame, 26)?,
            address::<4>(frame, 30)?,
            frame[22],
        )),
        [0x86, 0xdd] => Some((
            address::<16>(frame, 22)?,
            address::<16>(frame, 38)?,
            frame[21],
        )),
        _ => None,
    }
}

/// A UDP datagram from one station to another, whose link-layer header the underlay makes.
fn datagram(to: [u8; 6], from: IpAddr, address: IpAddr) -> Vec<u8> {
    let mut udp = vec![0x10, 0, 0x20, 0, 0, 12, 0, 0, 1, 2, 3, 4];
    let pseudo = checksum::pseudo_header(from, address, 17, udp.len());
    let sum = checksum::of(&[pseudo.clone(), udp.clone()].concat());
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    // The pseudo-header begins with the two addresses.
    let (kind, header): ([u8; 2], Vec<u8>) = if from.is_ipv4() {
        let fixed = [0x45, 0, 0, 32, 0, 1, 0, 0, 64, 17, 0, 0];
        let mut header = [&fixed, &pseudo[..8]].concat();
        let sum = checksum::of(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        ([0x08, 0x00], header)
    } else {
        let fixed = [0x60, 0, 0, 0, 0, 12, 17, 64];
        ([0x86, 0xdd], [&fixed, &pseudo[..32]].concat())
    };
    let macs = [to, [2, 0, 0, 0, 0xee, 1]].concat();
    [&macs, &kind[..], &header, &udp].concat()
}

fn workloads_talk_over_the_underlay(family: Family, places: &Places) {
    let hosts = ["alpha", "beta", "gamma"];
    let Some(underlay) = Underlay::new(family, 1500, &hosts, &["web", "db", "far"]) else {
        return;
    };
    let fleet = fleet(&underlay);
    let before: Vec<_> = fleet
        .iter()
        .map(|(_, bowline)| Snapshot::take(&underlay.spaces(), bowline.instance()))
        .collect();
    fleet.load(&underlay.topology(TRIO));
    let wire = underlay.sent_by("alpha");
    for (from, to) in [
        ("web", places.db),
        ("web", places.far),
        ("far", places.db),
        ("db", places.web),
    ] {
        assert_reaches(&underlay, from, to);
    }
    for (from, to, address) in [("web", "db", places.db), ("far", "web", places.web)] {
        assert_carries_tcp(underlay.workload(from), underlay.workload(to), address);
    }
    // The underlay carries what workloads say, as it carries what hosts say: to the next host's MAC
    // address, and with the routers counted that are between the networks.
    let [web, db, far] = [places.web, places.db, places.far].map(ip);
    let frames = wire.matching(|frame| header(frame).is_some_and(|(from, ..)| from == web));
    for (to, host, ttl) in [(db, "beta", 64), (far, "gamma", 63)] {
        let mac = underlay.host(host).mac(UPLINK);
        let sent = frames
            .iter()
            .filter(|frame| header(frame) == Some((web, to, ttl)));
        assert!(sent.clone().count() > 0, "nothing to {to}");
        assert!(sent.clone().all(|frame| frame[..6] == mac), "to {to}");
        let other = frames
            .iter()
            .filter(|frame| header(frame).is_some_and(|it| it.1 == to));
        assert_eq!(
            sent.count(),
            other.count(),
            "to {to}, with another time to live"
        );
    }
    // Nothing is in a tunnel: what else the host says is from its own address.
    let own = underlay.address("alpha");
    let others = wire.matching(|frame| {
        header(frame).is_some_and(|(from, to, _)| {
            let is_group =
                to.is_multicast() || matches!(from, IpAddr::V6(it) if it.is_unicast_link_local());
            from != web && from != own && !is_group
        })
    });
    assert!(others.is_empty(), "{others:02x?}");
    for host in hosts {
        for reason in ["kernel_refused", "unknown_peer", "spoofed_ip"] {
            assert_eq!(drops(&fleet, host, reason), 0, "{reason} at {host}");
        }
    }
    // The other family is none of the underlay's.
    let lost = drops(&fleet, "alpha", "needs_tunnel");
    assert!(!ping(underlay.workload("web"), ip(places.db_of_the_other)));
    assert!(drops(&fleet, "alpha", "needs_tunnel") > lost);
    // Hosts talk to one another as before.
    assert!(ping_once(underlay.host("alpha"), underlay.address("beta")));
    strangers_are_refused(&underlay, &fleet, places);
    fleet.unload("trio");
    for ((_, bowline), before) in fleet.iter().zip(before) {
        before.assert_same(&Snapshot::take(&underlay.spaces(), bowline.instance()));
    }
}

/// Whoever sends to a workload from the underlay must be behind another host.
fn strangers_are_refused(
    underlay: &Underlay,
    fleet: &integration::lab::Fleet<'_>,
    places: &Places,
) {
    let uplink = underlay.host("beta").mac(UPLINK);
    let to_beta = underlay.socket_to("beta");
    let stranger = if ip(places.web).is_ipv4() {
        "203.0.113.9"
    } else {
        "2001:db8:9::9"
    };
    for (from, reason) in [(stranger, "unknown_peer"), (places.db, "spoofed_ip")] {
        let count = drops(fleet, "beta", reason);
        to_beta.send(&datagram(uplink, ip(from), ip(places.db)));
        eventually(&format!("{from} is refused"), || {
            drops(fleet, "beta", reason) > count
        });
    }
}

#[test]
fn workloads_talk_over_an_underlay_of_ipv4() {
    workloads_talk_over_the_underlay(Family::V4, &V4);
}

#[test]
fn workloads_talk_over_an_underlay_of_ipv6() {
    workloads_talk_over_the_underlay(Family::V6, &V6);
}
