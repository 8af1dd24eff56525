//! Consistent files and inconsistent ones.

mod address;
mod gateway;
mod hosts;
mod nat;
mod network;
mod policy;
mod router;
mod router_route;
mod source;
mod workload;

use super::*;
use crate::document::{Document, parse};
use crate::problem::listing::listing;

fn document(path: &str, text: &str) -> Document {
    parse(path, text).unwrap_or_else(|problems| panic!("{}", listing(&problems)))
}

/// The text of a file whose first two lines are in order.
fn below_head(rest: &str) -> String {
    format!("version: 1\nname: test\n{rest}")
}

fn compiled(rest: &str) -> Topology {
    let document = document("test.yaml", &below_head(rest));
    compile(&[document]).unwrap_or_else(|problems| panic!("{}", listing(&problems)))
}

/// These documents together report exactly these problems.
fn check_all(documents: &[Document], expected: &str) {
    match compile(documents) {
        Ok(topology) => panic!("no problem was found in {topology:?}"),
        Err(problems) => assert_eq!(listing(&problems), expected),
    }
}

/// A file reports exactly these problems.
fn check(rest: &str, expected: &str) {
    check_all(&[document("test.yaml", &below_head(rest))], expected);
}

fn port(topology: &Topology, workload: &str, interface: &str) -> Port {
    let name = PortName {
        workload: workload.to_owned(),
        interface: interface.to_owned(),
    };
    topology.ports[&name].clone()
}

#[test]
fn what_is_left_out_is_derived() {
    let topology = compiled(
        "\
networks: { front: [10.1.0.0/24, 'fd00:1::/64'] }
workloads:
  web: { ports: [{ network: front, addresses: [10.1.0.10, 'fd00:1::10'] }] }
  db: { netns: demo, ports: [front, { network: front, interface: lan }] }
",
    );
    let front = &topology.networks["front"];
    // Changing how identities are derived changes every loaded topology: these are fixed.
    assert_eq!(front.vni.number(), 7_985_977);
    assert_eq!(front.mtu, Mtu::Bytes(1500));
    assert_eq!(front.unknown_unicast, UnknownUnicast::Drop);
    assert_eq!(front.mss, Mss::Keep);
    assert_eq!(front.ageing.as_secs(), 300);
    assert_eq!(
        topology.workloads["web"].place,
        Place::Container("web".to_owned())
    );
    assert_eq!(
        topology.workloads["db"].place,
        Place::Netns("demo".to_owned())
    );
    assert!(!topology.settings.drop_events);

    let web = port(&topology, "web", "eth0");
    assert_eq!(web.id, PortId(0xc784_aefb));
    assert_eq!(web.mac.to_string(), "02:62:c7:84:ae:fb");
    let addresses: Vec<String> = web.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.1.0.10/24", "fd00:1::10/64"]);
    assert_eq!(
        (web.mtu, web.learning, web.spoofing),
        (Mtu::Bytes(1500), false, Spoofing::Deny)
    );
    assert_eq!(web.origin.to_string(), "test.yaml:5:18");
    port(&topology, "db", "eth0");
    port(&topology, "db", "lan");
}

#[test]
fn what_is_given_is_taken() {
    let topology = compiled(
        "\
defaults: { mtu: 9000, mss: clamp, drop_events: true }
networks:
  front: { subnets: [10.1.0.0/24, 'fd00:1::/64'], vni: 100, unknown_unicast: flood, ageing: 7 }
  same: { subnets: 10.1.0.0/24, mtu: 1400, mss: keep }
workloads:
  web:
    pid: 42
    ports:
      - network: front
        addresses: [10.1.0.10/24, 'fd00:1::10/64']
        interface: lan
        mac: 02:00:00:00:00:10
        mtu: 1280
        routes: [{ to: default, via: 10.1.0.1 }, { to: default, via: 'fd00:1::1' }]
        learning: true
        spoofing: allow
      - { network: same, addresses: 10.1.0.10, mac: 02:00:00:00:00:10 }
",
    );
    assert!(topology.settings.drop_events);
    assert_eq!(topology.workloads["web"].place, Place::Pid(42));
    let front = &topology.networks["front"];
    assert_eq!((front.vni.number(), front.mtu), (100, Mtu::Bytes(9000)));
    assert_eq!(front.unknown_unicast, UnknownUnicast::Flood);
    assert_eq!(front.ageing.as_secs(), 7);
    assert_eq!(front.mss, Mss::Clamp);
    let same = &topology.networks["same"];
    assert_eq!((same.mtu, same.mss), (Mtu::Bytes(1400), Mss::Keep));
    let web = port(&topology, "web", "lan");
    assert_eq!(web.mac, Mac::new([2, 0, 0, 0, 0, 0x10]));
    assert_eq!(
        (web.mtu, web.learning, web.spoofing),
        (Mtu::Bytes(1280), true, Spoofing::Allow)
    );
    let routes: Vec<String> = web
        .routes
        .iter()
        .map(|route| format!("{} via {}", route.to, route.via))
        .collect();
    assert_eq!(routes, ["0.0.0.0/0 via 10.1.0.1", "::/0 via fd00:1::1"]);
    // Networks are isolated: the same subnet, address and MAC may occur in another one.
    assert_eq!(port(&topology, "web", "eth1").mac, web.mac);
}
