//! The kernel's own tunnel devices as peers: one on a bridge, as any vendor's VTEP would be.

use integration::lab::{Family, Feature, Namespace, UPLINK, Underlay, veth};

use super::reaching::assert_carries_tcp;
use super::{assert_reaches, drops, fleet};

/// `near` is a station behind the VTEP; it is declared by its MAC address where that is known.
const TOPOLOGY: &str = r#"
version: 1
name: interop
hosts:
  alpha: @address alpha
  beta: @address beta
vteps:
  tor: { address: @address tor, tunnel: @tunnel, networks: { front: @stations } }
networks:
  front: { subnets: [10.1.0.0/24, "fd00:1::/64"], vni: 4097 }
  back: [10.2.0.0/24, "fd00:2::/64"]
routers:
  core:
    ports:
      front: { addresses: [10.1.0.1, "fd00:1::1"], mac: 02:00:00:00:01:01 }
      back: [10.2.0.1, "fd00:2::1"]
workloads:
  web: { host: alpha, netns: @web, ports: [{ network: front, addresses: [10.1.0.10, "fd00:1::10"] }] }
  far: { host: alpha, netns: @far, ports: [{ network: back, addresses: [10.2.0.10, "fd00:2::10"] }] }
  quiet: { host: beta, netns: @quiet, ports: [{ network: back, learning: true }] }
  other: { host: beta, netns: @other, ports: [{ network: back, addresses: [10.2.0.20, "fd00:2::20"] }] }
"#;

const STATION_MAC: &str = "02:00:00:00:aa:01";

/// Makes a bridge on `tor` with a tunnel device to `alpha`, and a station on it.
fn make_vtep(underlay: &Underlay, tunnel: &str, mtu: u32) {
    let (tor, station) = (underlay.host("tor"), underlay.workload("near"));
    let [local, alpha] = ["tor", "alpha"].map(|name| underlay.address(name).to_string());
    let run = |space: &Namespace, command: &str| {
        let words: Vec<_> = command.split(' ').collect();
        space.ip(&words)
    };
    run(tor, "link add br0 type bridge mcast_snooping 0");
    let is_v6 = alpha.contains(':');
    // Packets of a frame that segmentation offload left whole have none (RFC 6935 section 5).
    let checksums = if is_v6 { " udp6zerocsumrx" } else { "" };
    match tunnel {
        "vxlan" => {
            run(
                tor,
                &format!(
                    "link add tun0 type vxlan id 4097 local {local} dstport 4789 dev {UPLINK} learning{checksums}"
                ),
            );
        }
        "geneve" => {
            run(
                tor,
                &format!("link add tun0 type geneve id 4097 remote {alpha}{checksums}"),
            );
        }
        _ => {
            let kind = if is_v6 { "ip6gretap" } else { "gretap" };
            run(
                tor,
                &format!("link add tun0 type {kind} local {local} remote {alpha} key 4097"),
            );
        }
    }
    if tunnel == "vxlan" {
        // What is for everybody goes to one host only. Both would answer for the router, and what the
        // other one gets of the first one's it would have to send on.
        let mut command = tor.command("bridge");
        let words = [
            "fdb",
            "append",
            "00:00:00:00:00:00",
            "dev",
            "tun0",
            "dst",
            &alpha,
        ];
        assert!(command.args(words).status().unwrap().success());
    }
    for command in ["link set tun0 master br0 up", "link set br0 up"] {
        run(tor, command);
    }
    veth((tor, "near"), (station, "eth0"));
    run(tor, "link set near master br0");
    for command in [
        &format!("link set eth0 address {STATION_MAC}"),
        &format!("link set eth0 mtu {mtu}"),
        "address add 10.1.0.77/24 dev eth0",
        "address add fd00:1::77/64 dev eth0 nodad",
        "route add 10.2.0.0/24 via 10.1.0.1",
        "-6 route add fd00:2::/64 via fd00:1::1",
    ] {
        run(station, command);
    }
}

fn interoperates(family: Family, tunnel: &str, stations: &str, overhead: u32) {
    let hosts = ["alpha", "beta", "tor"];
    let workloads = ["web", "far", "other", "near", "quiet"];
    let Some(underlay) = Underlay::new(family, 1500, &hosts, &workloads) else {
        return;
    };
    make_vtep(&underlay, tunnel, 1500 - overhead);
    let text = TOPOLOGY
        .replace("@tunnel", tunnel)
        .replace("@stations", stations);
    let fleet = fleet(&underlay);
    for host in ["alpha", "beta"] {
        fleet.on(host).load(&underlay.topology(&text));
    }
    // ARP and neighbor discovery both ways, and stations of both that are not behind a router.
    for (from, to) in [
        ("web", "10.1.0.77"),
        ("web", "fd00:1::77"),
        ("near", "10.1.0.10"),
        ("near", "fd00:1::10"),
    ] {
        assert_reaches(&underlay, from, to);
    }
    // The router, and through it a workload on the same host.
    for to in ["10.1.0.1", "fd00:1::1", "10.2.0.10", "fd00:2::10"] {
        assert_reaches(&underlay, "near", to);
    }
    for to in ["10.1.0.77", "fd00:1::77"] {
        assert_reaches(&underlay, "far", to);
    }
    for (from, to, address) in [
        ("web", "near", "10.1.0.77"),
        ("near", "web", "10.1.0.10"),
        ("web", "near", "fd00:1::77"),
        ("near", "web", "fd00:1::10"),
        ("near", "far", "10.2.0.10"),
        ("far", "near", "fd00:1::77"),
    ] {
        let [from, to] = [from, to].map(|name| underlay.workload(name));
        assert_carries_tcp(from, to, address);
    }
    // A workload on the other host, to which frames of the VTEP are sent on.
    if tunnel == "vxlan" {
        for (from, to) in [
            ("near", "10.2.0.20"),
            ("near", "fd00:2::20"),
            ("other", "10.1.0.77"),
        ] {
            assert_reaches(&underlay, from, to);
        }
        // One that nobody declared: the router asks for it on both hosts.
        for command in [
            "address add 10.2.0.99/24 dev eth0",
            "address add fd00:2::99/64 dev eth0 nodad",
            "route add 10.1.0.0/24 via 10.2.0.1",
            "-6 route add fd00:1::/64 via fd00:2::1",
        ] {
            let words: Vec<_> = command.split(' ').collect();
            underlay.workload("quiet").ip(&words);
        }
        for to in ["10.2.0.99", "fd00:2::99"] {
            assert_reaches(&underlay, "near", to);
        }
    }
    for host in ["alpha", "beta"] {
        for reason in [
            "malformed_outer",
            "unknown_peer",
            "unknown_vni",
            "wrong_tunnel",
        ] {
            assert_eq!(drops(&fleet, host, reason), 0, "{reason} at {host}");
        }
    }
}

fn known() -> String {
    format!("[\"{STATION_MAC}\"]")
}

#[test]
fn a_vxlan_device_whose_stations_are_learned() {
    if Feature::Vxlan.is_there() {
        interoperates(Family::V4, "vxlan", "learn", 50);
    }
}

#[test]
fn a_vxlan_device_whose_stations_are_known() {
    if Feature::Vxlan.is_there() {
        interoperates(Family::V4, "vxlan", &known(), 50);
    }
}

#[test]
fn a_vxlan_device_over_ipv6() {
    if Feature::Vxlan.is_there() {
        interoperates(Family::V6, "vxlan", "learn", 70);
    }
}

#[test]
fn a_geneve_device() {
    if Feature::Geneve.is_there() {
        interoperates(Family::V4, "geneve", "learn", 50);
    }
}

#[test]
fn a_geneve_device_over_ipv6() {
    if Feature::Geneve.is_there() {
        interoperates(Family::V6, "geneve", "learn", 70);
    }
}

#[test]
fn a_gre_device() {
    if Feature::Gre.is_there() {
        interoperates(Family::V4, "gre", "learn", 42);
    }
}

#[test]
fn a_gre_device_over_ipv6() {
    if Feature::Ip6Gre.is_there() {
        interoperates(Family::V6, "gre", "learn", 62);
    }
}
