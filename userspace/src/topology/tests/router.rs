//! Routers: their ports, and the links between them.

use maps_schema::{PortId, RouterId};

use super::{check, compiled, document};
use crate::problem::listing::listing;
use crate::topology::{Mtu, Problem, RouterPort, Topology, UnknownUnicast, compile};

/// The networks that the files below share.
const NETWORKS: &str = "networks: { front: [10.1.0.0/24, 'fd00:1::/64'], back: 10.2.0.0/24 }\n";

fn addresses(port: &RouterPort) -> Vec<String> {
    port.addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_left_out_is_derived() {
    let topology = compiled(&format!(
        "{NETWORKS}routers: {{ core: {{ ports: {{ front: [10.1.0.1, 'fd00:1::1/64'], back: {{ addresses: 10.2.0.1, mac: 02:00:00:00:00:01, mtu: 1400 }} }} }} }}\n"
    ));
    let core = &topology.routers["core"];
    // Changing how identities are derived changes every loaded topology: these are fixed.
    assert_eq!(core.id, RouterId(0xdd5e_607e));
    let front = &core.ports["front"];
    assert_eq!(front.id, PortId(0xdf03_28d2));
    assert_eq!(front.mac.to_string(), "02:72:62:69:b4:77");
    assert_eq!(
        (front.network.as_str(), front.mtu),
        ("front", Mtu::Bytes(1500))
    );
    assert_eq!(addresses(front), ["10.1.0.1/24", "fd00:1::1/64"]);
    assert_eq!(front.origin.to_string(), "test.yaml:4:29");
    let back = &core.ports["back"];
    assert_eq!(
        (back.mac.to_string().as_str(), back.mtu),
        ("02:00:00:00:00:01", Mtu::Bytes(1400))
    );
    assert_eq!(topology.warnings, []);
}

/// A gateway's MAC address stays when another router takes it over, or when it gets more addresses;
/// several routers on one network have different ones.
#[test]
fn the_mac_of_a_gateway_follows_from_its_first_address() {
    let mac = |router: &str, addresses: &str| {
        let topology = compiled(&format!(
            "{NETWORKS}routers: {{ {router}: {{ ports: {{ front: [{addresses}] }} }}, zz: {{ ports: {{ front: [10.1.0.9, 'fd00:1::9'] }} }} }}\n"
        ));
        let mac = topology.routers[router].ports["front"].mac;
        assert_ne!(topology.routers["zz"].ports["front"].mac, mac);
        mac
    };
    let first = mac("core", "10.1.0.1");
    for addresses in ["10.1.0.1, 10.1.0.2", "'fd00:1::1', 10.1.0.1"] {
        assert_eq!(mac("core", addresses), first);
        assert_eq!(mac("other", addresses), first);
    }
    assert_ne!(mac("core", "10.1.0.2, 10.1.0.1"), first);
    let v6 = mac("core", "'fd00:1::1'");
    assert_ne!(v6, first);
    assert_eq!(mac("other", "'fd00:1::1', 'fd00:1::2'"), v6);
}

#[test]
fn a_link_is_a_network_of_its_own() {
    let topology = compiled(
        "\
defaults: { mtu: 9000 }
routers:
  core: { ports: { up: { peer: edge, addresses: [192.0.2.1/30, 'fd00::1/127'] }, second: { peer: edge/b, addresses: 192.0.2.5/31 } } }
  edge: { ports: { a: { peer: core/up, addresses: [192.0.2.2/30, 'fd00::/127'], mtu: 1400 }, b: { peer: core/second, addresses: 192.0.2.4/31 } } }
",
    );
    let names: Vec<&str> = topology.networks.keys().map(String::as_str).collect();
    assert_eq!(names, ["core/second--edge/b", "core/up--edge/a"]);
    let link = &topology.networks["core/up--edge/a"];
    assert_eq!(
        (link.mtu, link.unknown_unicast),
        (Mtu::Bytes(1400), UnknownUnicast::Drop)
    );
    let subnets: Vec<String> = link.subnets.iter().map(ToString::to_string).collect();
    assert_eq!(subnets, ["192.0.2.0/30", "fd00::/127"]);
    for (router, port) in [("core", "up"), ("edge", "a")] {
        let port = &topology.routers[router].ports[port];
        assert_eq!(
            (port.network.as_str(), port.mtu),
            ("core/up--edge/a", Mtu::Bytes(1400))
        );
    }
    assert_eq!(
        topology.routers["core"].ports["second"].mtu,
        Mtu::Bytes(9000)
    );
}

#[test]
fn names() {
    check(
        "\
networks: { blackhole: 10.1.0.0/24, 10.2.0.1: 10.2.0.0/24 }
routers:
  web: { ports: { blackhole: 10.1.0.1, 10.2.0.1: 10.2.0.1, reject: { peer: other, addresses: 192.0.2.1/30 } } }
  other: { ports: { x: { peer: web, addresses: 192.0.2.2/30 } } }
workloads:
  web: { ports: [] }
",
        "\
router web: \"blackhole\" cannot be the name of a port
  5:19 in a route it means that packets are dropped
  help: choose another name for the network
router web: \"10.2.0.1\" cannot be the name of a port
  5:40 in a route it means an address
  help: choose another name for the network
router web: \"reject\" cannot be the name of a port
  5:60 in a route it means that packets are dropped
  help: choose another name
router web and workload web have the same name
  8:3 named again here
  5:3 first named here
  help: routers and workloads are in one namespace: rename one of the two
",
    );
}

#[test]
fn networks_and_routers_that_are_not_there() {
    check(
        &format!(
            "{NETWORKS}\
routers:
  core: {{ ports: {{ frnt: 10.1.0.1, up: {{ peer: edg, addresses: 192.0.2.1/30 }}, self: {{ peer: core, addresses: 192.0.2.5/30 }} }} }}
  edge: {{ ports: {{ middle: 10.9.0.1, x: {{ peer: elsewhere, addresses: 192.0.2.2/30 }} }} }}
"
        ),
        "\
port core/frnt is on network frnt, which does not exist
  5:20 no network has this name
  help: did you mean `front`?
port core/up leads to router edg, which does not exist
  5:48 no router has this name
  help: did you mean `edge`?
port core/self leads to its own router
  5:94 this is the same router
  help: name another router
port edge/middle is on network middle, which does not exist
  6:20 no network has this name
  help: known networks: back, front
port edge/x leads to router elsewhere, which does not exist
  6:49 no router has this name
  help: known routers: core
",
    );
}

#[test]
fn links_need_two_ends() {
    check(
        "\
networks: { front: 10.1.0.0/24 }
routers:
  a: { ports: { one: { peer: b, addresses: 192.0.2.1/30 } } }
  b: { ports: { front: 10.1.0.1 } }
  c: { ports: { one: { peer: d/onr, addresses: 192.0.2.1/30 }, two: { peer: d/front, addresses: 192.0.2.5/30 }, three: { peer: d, addresses: 192.0.2.9/30 } } }
  d: { ports: { one: { peer: e, addresses: 192.0.2.2/30 }, front: 10.1.0.2, four: { peer: c/four, addresses: 192.0.2.10/30 } } }
  e: { ports: { to: { peer: d/zzzz, addresses: 192.0.2.1/30 } } }
",
        "\
port a/one leads to router b, which has no port that leads back
  5:30 a link has two ends
  6:3 the router is declared here
  help: add a port to router b: `down: { peer: a/one, addresses: ... }`
port c/one leads to port d/onr, which does not exist
  7:30 the router has no port of this name
  8:3 the router is declared here
  help: did you mean `d/one`?
port c/two leads to port d/front, which does not lead back
  7:77 a link has two ends
  8:60 it is on a network
  help: give it `peer: c/two`
port c/three leads to router d, which has no port that leads back
  7:128 a link has two ends
  8:91 port d/four leads elsewhere
  help: add a port to router d: `down: { peer: c/three, addresses: ... }`
port d/one leads to router e, which has no port that leads back
  8:30 a link has two ends
  9:29 port e/to leads elsewhere
  help: add a port to router e: `down: { peer: d/one, addresses: ... }`
port d/four leads to port c/four, which does not exist
  8:91 the router has no port of this name
  7:3 the router is declared here
  help: add it: `four: { peer: d, addresses: ... }`
port e/to leads to port d/zzzz, which does not exist
  9:29 the router has no port of this name
  8:3 the router is declared here
  help: add it: `zzzz: { peer: e, addresses: ... }`
",
    );
}

#[test]
fn links_of_which_there_are_several() {
    check(
        "\
routers:
  a: { ports: { one: { peer: b, addresses: 192.0.2.1/30 }, two: { peer: b, addresses: 192.0.2.5/30 } } }
  b: { ports: { one: { peer: a/one, addresses: 192.0.2.2/30 }, two: { peer: a, addresses: 192.0.2.6/30 } } }
",
        "\
port a/one may lead to b/one and to b/two
  4:30 which of the two is not said
  5:30 port b/one leads back
  5:77 port b/two too
  help: name the port: `peer: b/one`
port b/two may lead to a/one and to a/two
  5:77 which of the two is not said
  4:30 port a/one leads back
  4:73 port a/two too
  help: name the port: `peer: a/one`
",
    );
}

#[test]
fn links_without_a_common_subnet() {
    check(
        "\
routers:
  a: { ports: { b: { peer: b, addresses: [192.0.2.1/30, 'fd00::1/64'] }, c: { peer: c, addresses: 192.0.2.5/30 } } }
  b: { ports: { a: { peer: a, addresses: 192.0.2.2/29 } } }
  c: { ports: { a: { peer: a, addresses: [192.0.2.6, 192.0.2.7/30, 'fe80::1/64', '::ffff:1.2.3.4/127'] } } }
",
        "\
ports a/b and b/a have no IPv6 subnet in common
  5:17 port b/a has no IPv6 address
  4:57 port a/b is in fd00::/64
  help: give port b/a an address in fd00::/64
ports a/b and b/a have no IPv4 subnet in common
  5:42 port b/a is in 192.0.2.0/29
  4:43 port a/b is in 192.0.2.0/30
  help: give port b/a an address in 192.0.2.0/30
address 192.0.2.6 of port c/a has no prefix length
  6:43 a link has no other subnet than this
  help: write it with the length, such as 192.0.2.6/31
address 192.0.2.7 of port c/a is the broadcast address of subnet 192.0.2.4/30
  6:54 not an address for a router
  help: choose an address from 192.0.2.4/30, such as 192.0.2.5
port c/a cannot have the link-local address fe80::1
  6:68 not an address for a router
  help: leave it out: it follows from the port's mac
port c/a cannot have the IPv4-mapped address ::ffff:1.2.3.4
  6:82 not an address for a router
  help: write 1.2.3.4
",
    );
}

#[test]
fn addresses_of_ports() {
    check(
        &format!(
            "{NETWORKS}\
routers:
  a: {{ ports: {{ front: [10.2.0.1, 10.1.0.1/25, 10.1.0.0, 10.1.0.255, 'fd00:1::', 'fe80::1', 10.1.0.9], back: [] }} }}
  b: {{ ports: {{ front: [10.1.0.9, 10.1.0.5, 10.1.0.5] }} }}
workloads:
  w: {{ ports: [{{ network: front, addresses: 10.1.0.5 }}] }}
"
        ),
        "\
address 10.2.0.1 of port a/front is outside the subnets of network front
  5:25 in none of the subnets
  3:13 the network is declared here
  help: the network's subnets are 10.1.0.0/24, fd00:1::/64
address 10.1.0.1/25 of port a/front has another prefix length than its subnet 10.1.0.0/24
  5:35 not the subnet's length
  help: write 10.1.0.1, or 10.1.0.1/24
address 10.1.0.0 of port a/front is the network address of subnet 10.1.0.0/24
  5:48 not an address for a router
  help: choose an address from 10.1.0.0/24, such as 10.1.0.1
address 10.1.0.255 of port a/front is the broadcast address of subnet 10.1.0.0/24
  5:58 not an address for a router
  help: choose an address from 10.1.0.0/24, such as 10.1.0.1
address fd00:1:: of port a/front is the subnet-router anycast address of subnet fd00:1::/64
  5:70 not an address for a router
  help: choose an address from fd00:1::/64, such as fd00:1::1
port a/front cannot have the link-local address fe80::1
  5:82 not an address for a router
  help: leave it out: it follows from the port's mac
port a/back has no address
  5:104 a router is reached by its addresses
  help: give it one: `back: 10.1.0.1`
address 10.1.0.9 in network front belongs to both port a/front and port b/front
  6:25 port b/front has it too
  5:93 port a/front has it
  help: give each port an address of its own
address 10.1.0.5 in network front is given to port b/front twice
  6:45 given again here
  6:35 first given here
  help: keep one of the two
address 10.1.0.5 in network front belongs to both port b/front and port w/eth0
  8:45 port w/eth0 has it too
  6:35 port b/front has it
  help: give each port an address of its own
",
    );
}

#[test]
fn macs_and_mtus() {
    check(
        "\
defaults: { mtu: 1000 }
networks: { front: { subnets: [10.1.0.0/24, 'fd00:1::/64'], mtu: 1500 }, back: 10.2.0.0/24 }
routers:
  a: { ports: { front: { addresses: 10.1.0.1, mac: 03:00:00:00:00:01, mtu: 1501 }, back: { addresses: 10.2.0.1, mac: 02:00:00:00:00:02, mtu: 67 } } }
  b: { ports: { front: { addresses: 10.1.0.2, mtu: 1279 }, back: { addresses: 10.2.0.2, mac: 02:00:00:00:00:02 } } }
  c: { ports: { d: { peer: d, addresses: ['fd00:2::1/64', 192.0.2.1/30] } } }
  d: { ports: { c: { peer: c, addresses: ['fd00:2::2/64', 192.0.2.2/30], mtu: 65536 } } }
workloads:
  w: { ports: [{ network: back, mac: 02:00:00:00:00:02 }] }
",
        "\
the mtu of port c/d is 1000, too small for IPv6
  3:18 too small
  8:43 the port's IPv6 address
  help: IPv6 needs 1280 bytes at least (RFC 8200, section 5)
the mac 03:00:00:00:00:01 of port a/front is a group address
  6:52 no station can have this address
  help: use one whose first byte is 02, or leave it out to have it derived
the mtu of port a/front is 1501, more than the 1500 of network front
  6:76 larger than the network's
  4:66 the network carries 1500 bytes
  help: lower the port's mtu or raise the network's
the mtu of port a/back is 67
  6:142 out of range
  help: the mtu is between 68 and 65535 bytes
the mtu of port b/front is 1279, too small for IPv6
  7:52 too small
  4:45 the network's IPv6 subnet
  help: IPv6 needs 1280 bytes at least (RFC 8200, section 5)
mac 02:00:00:00:00:02 in network back belongs to both port a/back and port b/back
  7:94 port b/back has it too
  6:118 port a/back has it
  help: choose another one, or leave it out to have it derived
the mtu of port d/c is 65536
  9:79 out of range
  help: the mtu is between 68 and 65535 bytes
mac 02:00:00:00:00:02 in network back belongs to both port a/back and port w/eth0
  11:38 port w/eth0 has it too
  6:118 port a/back has it
  help: choose another one, or leave it out to have it derived
",
    );
}

#[test]
fn subnets_of_one_router_are_apart() {
    check(
        "\
networks: { a: 10.1.0.0/16, b: [10.1.5.0/24, 10.3.0.0/24], c: 10.3.0.0/24 }
routers:
  one: { ports: { a: [10.1.0.1, 10.1.0.2], b: [10.1.5.1, 10.3.0.1], c: 10.3.0.9, up: { peer: two, addresses: [192.0.2.1/30, 192.0.2.2/29] } } }
  two: { ports: { a: 10.1.0.3, down: { peer: one, addresses: [192.0.2.3/29, 192.0.2.2/30] } } }
",
        "\
subnet 10.1.0.0/16 of port one/a and subnet 10.1.5.0/24 of port one/b overlap
  5:48 this one
  5:23 overlaps with this one
  help: the subnets of a router's ports must be apart
subnet 10.3.0.0/24 of port one/b and subnet 10.3.0.0/24 of port one/c overlap
  5:72 this one
  5:58 overlaps with this one
  help: the subnets of a router's ports must be apart
subnet 192.0.2.0/30 of port one/up and subnet 192.0.2.0/29 of port one/up overlap
  5:125 this one
  5:111 overlaps with this one
  help: the subnets of a router's ports must be apart
subnet 192.0.2.0/29 of port two/down and subnet 192.0.2.0/30 of port two/down overlap
  6:77 this one
  6:63 overlaps with this one
  help: the subnets of a router's ports must be apart
address 192.0.2.2 in network one/up--two/down belongs to both port one/up and port two/down
  6:77 port two/down has it too
  5:125 port one/up has it
  help: give each port an address of its own
",
    );
}

fn warnings(rest: &str) -> Vec<Problem> {
    let topology: Topology = compiled(rest);
    topology.warnings
}

#[test]
fn routers_that_nothing_reaches() {
    assert_eq!(
        listing(&warnings(
            "routers: { idle: { ports: {} }, lazy: { ports:, routes: [{ to: default, via: reject }] } }\n"
        )),
        "\
router idle has no ports
  3:12 nothing reaches it
  help: plug it into a network: `ports: { front: 10.1.0.1 }`
router lazy has no ports
  3:33 nothing reaches it
  help: plug it into a network: `ports: { front: 10.1.0.1 }`
"
    );
}

#[test]
fn routers_of_several_sources() {
    let net = document(
        "net.yaml",
        "version: 1\nname: net\nnetworks: { front: 10.1.0.0/24 }\nrouters: { core: { ports: { front: 10.1.0.1, up: { peer: edge, addresses: 192.0.2.1/30 } } } }\n",
    );
    let edge = document(
        "edge.yaml",
        "version: 1\nname: edge\nrouters: { edge: { ports: { front: 10.1.0.2, x: { peer: core, addresses: 192.0.2.2/30 } } } }\n",
    );
    let topology = compile(&[net.clone(), edge.clone()]).unwrap();
    assert!(topology.networks.contains_key("core/up--edge/x"));
    assert_eq!(compile(&[edge, net.clone()]).unwrap(), topology);
    let again = document(
        "again.yaml",
        "version: 1\nname: again\nrouters: { core: { ports: {} } }\nworkloads: { edge: { ports: [] } }\n",
    );
    let edge = document(
        "edge.yaml",
        "version: 1\nname: edge\nrouters: { edge: { ports: { front: 10.1.0.1 } } }\n",
    );
    super::check_all(&[net, again, edge], "\
port core/up leads to router edge, which has no port that leads back
  4:58 a link has two ends
  3:12 the router is declared here
  help: add a port to router edge: `down: { peer: core/up, addresses: ... }`
router core is declared by source net and by source again
  3:12 declared again here
  4:12 first declared here
  help: the names of all loaded sources are in one namespace: rename one of the two
workload edge of source again and router edge of source edge have the same name
  3:12 named again here
  4:14 first named here
  help: routers and workloads are in one namespace: rename one of the two
address 10.1.0.1 in network front belongs to both port core/front of source net and port edge/front of source edge
  3:36 port edge/front has it too
  4:36 port core/front has it
  help: give each port an address of its own
");
}
