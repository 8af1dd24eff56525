//! Frames get from any host to any other.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::thread;

use integration::lab::{Family, Namespace, Numbered, Snapshot, Underlay, receive_all, send_all};

use super::{assert_reaches, drops, fleet, ip};

/// `web` and `db` in one network, `cache` behind one router, and `far` behind one more.
const TRIO: &str = r#"
version: 1
name: trio
@hosts
networks:
  front: [10.1.0.0/24, "fd00:1::/64"]
  back: [10.2.0.0/24, "fd00:2::/64"]
  remote: [10.3.0.0/24, "fd00:3::/64"]
routers:
  core:
    ports:
      front: [10.1.0.1, "fd00:1::1"]
      back: [10.2.0.1, "fd00:2::1"]
      edge: { peer: edge, addresses: [192.168.1.1/30, "fd00:99::1/64"] }
    routes:
      - { to: 10.3.0.0/24, via: edge }
      - { to: "fd00:3::/64", via: edge }
  edge:
    ports:
      core: { peer: core, addresses: [192.168.1.2/30, "fd00:99::2/64"] }
      remote: [10.3.0.1, "fd00:3::1"]
    routes:
      - { to: 10.0.0.0/8, via: core }
      - { to: "fd00::/16", via: core }
workloads:
  web: { host: alpha, netns: @web, ports: [{ network: front, addresses: [10.1.0.10, "fd00:1::10"] }] }
  db: { host: beta, netns: @db, ports: [{ network: front, addresses: [10.1.0.20, "fd00:1::20"] }] }
  cache: { host: gamma, netns: @cache, ports: [{ network: back, addresses: [10.2.0.30, "fd00:2::30"] }] }
  far: { host: gamma, netns: @far, ports: [{ network: remote, addresses: [10.3.0.40, "fd00:3::40"] }] }
"#;

/// Every workload of [`TRIO`] with its addresses.
const PLACES: [(&str, [&str; 2]); 4] = [
    ("web", ["10.1.0.10", "fd00:1::10"]),
    ("db", ["10.1.0.20", "fd00:1::20"]),
    ("cache", ["10.2.0.30", "fd00:2::30"]),
    ("far", ["10.3.0.40", "fd00:3::40"]),
];

fn trio(family: Family, mtu: u32) -> Option<Underlay> {
    let hosts = ["alpha", "beta", "gamma"];
    Underlay::new(family, mtu, &hosts, &["web", "db", "cache", "far"])
}

fn everybody_reaches_everybody(underlay: &Underlay) {
    for (from, _) in PLACES {
        for (to, addresses) in PLACES {
            if from == to {
                continue;
            }
            for address in addresses {
                assert_reaches(underlay, from, address);
            }
        }
    }
}

/// One that no reader of frames takes for a protocol's.
const PORT: u16 = 42_000;

/// A megabyte and more over TCP, unchanged.
pub(super) fn assert_carries_tcp(from: &Namespace, to: &Namespace, address: &str) {
    let address = SocketAddr::new(ip(address), PORT);
    let listener = to.run(|| TcpListener::bind(address)).unwrap();
    // Nobody waits for the receiver of a connection that fails.
    let receiver = thread::spawn(move || receive_all(&listener));
    let sent = send_all(from, address, 3 << 20);
    let received = receiver.join().unwrap();
    assert_eq!(sent, received, "to {address}");
}

fn any_to_any(family: Family, tunnel: &str) {
    let Some(underlay) = trio(family, 1500) else {
        return;
    };
    let fleet = fleet(&underlay);
    let before: Vec<_> = fleet
        .iter()
        .map(|(_, bowline)| Snapshot::take(&underlay.spaces(), bowline.instance()))
        .collect();
    let text = TRIO.replace(
        "@hosts\n",
        &format!("defaults: {{ tunnel: {tunnel} }}\n@hosts\n"),
    );
    fleet.load(&underlay.topology(&text));
    everybody_reaches_everybody(&underlay);
    for (to, [v4, v6]) in &PLACES[1..] {
        for address in [v4, v6] {
            assert_carries_tcp(underlay.workload("web"), underlay.workload(to), address);
        }
    }
    let numbered = udp_flows(&underlay);
    numbered.go_on(20);
    for flow in numbered.finish() {
        flow.assert_complete();
    }
    for host in underlay.hosts() {
        for reason in [
            "kernel_refused",
            "unknown_peer",
            "malformed_outer",
            "unknown_vni",
        ] {
            assert_eq!(drops(&fleet, host, reason), 0, "{reason} at {host}");
        }
    }
    fleet.unload("trio");
    for ((_, bowline), before) in fleet.iter().zip(before) {
        before.assert_same(&Snapshot::take(&underlay.spaces(), bowline.instance()));
    }
}

/// From `db` to everybody else.
fn udp_flows(underlay: &Underlay) -> Numbered {
    let mut senders = Vec::new();
    let mut receivers = Vec::new();
    for (to, addresses) in PLACES {
        if to == "db" {
            continue;
        }
        for address in addresses {
            receivers.push(receiver(underlay.workload(to), ip(address)));
            senders.push(sender(underlay.workload("db"), ip(address)));
        }
    }
    Numbered::start(senders, receivers)
}

/// Where the flows go to.
const FLOW_PORT: u16 = 7001;

fn receiver(space: &Namespace, own: IpAddr) -> UdpSocket {
    space.run(|| UdpSocket::bind((own, FLOW_PORT)).unwrap())
}

fn sender(space: &Namespace, to: IpAddr) -> UdpSocket {
    let any: IpAddr = if to.is_ipv6() {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    space.run(|| {
        let socket = UdpSocket::bind((any, 0)).unwrap();
        socket.connect((to, FLOW_PORT)).unwrap();
        socket
    })
}

const HOSTS: [&str; 8] = ["h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8"];
const WORKLOADS: [&str; 8] = ["w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"];

/// A workload on each of eight hosts, on two networks that a router joins, with tunnels of every kind.
fn eight() -> String {
    let mut text = "version: 1\nname: eight\n@hosts\n\
        tunnels:\n  - { between: [h1, h2], tunnel: geneve }\n  - { between: [h1, h3], tunnel: gre }\n  \
        - { between: [h6, h7], tunnel: gre }\n  - { between: [h7, h8], tunnel: geneve }\n\
        networks: { n0: [10.0.0.0/24, \"fd00:0::/64\"], n1: [10.1.0.0/24, \"fd00:1::/64\"] }\n\
        routers: { core: { ports: { n0: [10.0.0.1, \"fd00:0::1\"], n1: [10.1.0.1, \"fd00:1::1\"] } } }\n\
        workloads:\n"
        .to_owned();
    for number in 1..=8 {
        let [v4, v6] = eighth(number);
        let network = number % 2;
        let _ = writeln!(
            text,
            "  w{number}: {{ host: h{number}, netns: @w{number}, ports: [{{ network: n{network}, \
             addresses: [{v4}, \"{v6}\"] }}] }}"
        );
    }
    text
}

/// The addresses of the workload with this number.
fn eighth(number: usize) -> [IpAddr; 2] {
    let network = number % 2;
    let addresses = [
        format!("10.{network}.0.1{number}"),
        format!("fd00:{network}::1{number}"),
    ];
    addresses.map(|address| ip(&address))
}

#[test]
fn any_to_any_between_eight_hosts_from_the_first_packet_on() {
    let Some(underlay) = Underlay::new(Family::V4, 1500, &HOSTS, &WORKLOADS) else {
        return;
    };
    let fleet = fleet(&underlay);
    fleet.load(&underlay.topology(&eight()));
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for (to, name) in (1..).zip(WORKLOADS) {
        for address in eighth(to) {
            receivers.push(receiver(underlay.workload(name), address));
            let others = WORKLOADS.iter().filter(|other| **other != name);
            senders.extend(others.map(|other| sender(underlay.workload(other), address)));
        }
    }
    assert_eq!(senders.len(), 8 * 7 * 2);
    let numbered = Numbered::start(senders, receivers);
    numbered.go_on(20);
    for flow in numbered.finish() {
        flow.assert_complete();
        assert_eq!(flow.receivers().len(), 1);
    }
    for host in HOSTS {
        for reason in [
            "kernel_refused",
            "unknown_peer",
            "wrong_tunnel",
            "unknown_vni",
        ] {
            assert_eq!(drops(&fleet, host, reason), 0, "{reason} at {host}");
        }
    }
}

#[test]
fn any_to_any_through_vxlan() {
    any_to_any(Family::V4, "vxlan");
}

#[test]
fn any_to_any_through_geneve() {
    any_to_any(Family::V4, "geneve");
}

#[test]
fn any_to_any_through_gre() {
    any_to_any(Family::V4, "gre");
}

#[test]
fn any_to_any_through_vxlan_over_ipv6() {
    any_to_any(Family::V6, "vxlan");
}

#[test]
fn any_to_any_through_geneve_over_ipv6() {
    any_to_any(Family::V6, "geneve");
}

#[test]
fn any_to_any_through_gre_over_ipv6() {
    any_to_any(Family::V6, "gre");
}
