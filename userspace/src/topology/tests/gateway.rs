//! The default routes that workloads get.

use super::{check, compiled, port};
use crate::topology::Topology;

/// A file with two networks, a router on both, and these workloads.
fn with_workloads(workloads: &str) -> String {
    format!(
        "\
networks: {{ front: [10.1.0.0/24, 'fd00:1::/64'], back: {{ subnets: [10.2.0.0/24, 10.3.0.0/24], internal: true }} }}
routers:
  core: {{ ports: {{ front: [10.1.0.1, 'fd00:1::1'], back: 10.2.0.1 }} }}
  six: {{ ports: {{ back: 10.2.0.2 }} }}
workloads:
{workloads}"
    )
}

fn defaults(topology: &Topology, workload: &str, interface: &str) -> Vec<String> {
    let routes = port(topology, workload, interface).routes;
    let routes = routes.iter();
    routes
        .map(|route| format!("{} via {}", route.to, route.via))
        .collect()
}

#[test]
fn a_default_route_follows_from_the_only_router() {
    let topology = compiled(&with_workloads(
        "  \
  both: { ports: [{ network: front, addresses: [10.1.0.10, 'fd00:1::10'] }] }
  four: { ports: [{ network: front, addresses: [10.1.0.11] }] }
  none: { ports: [front, { network: back, addresses: 10.2.0.10 }] }
  off: { ports: [{ network: front, addresses: 10.1.0.12, gateway: false }] }
  two: { ports: [{ network: front, addresses: 10.1.0.13 }, { network: front, addresses: [10.1.0.14, 'fd00:1::14'] }] }
  own: { ports: [{ network: front, addresses: [10.1.0.15, 'fd00:1::15'] }, { network: back, addresses: 10.2.0.15, routes: [{ to: default, via: 10.2.0.99 }] }] }
",
    ));
    let both = ["0.0.0.0/0 via 10.1.0.1", "::/0 via fd00:1::1"];
    assert_eq!(defaults(&topology, "both", "eth0"), both);
    assert_eq!(defaults(&topology, "four", "eth0"), both[..1]);
    assert!(defaults(&topology, "none", "eth0").is_empty());
    assert!(defaults(&topology, "none", "eth1").is_empty());
    assert!(defaults(&topology, "off", "eth0").is_empty());
    assert_eq!(defaults(&topology, "two", "eth0"), both[..1]);
    assert_eq!(defaults(&topology, "two", "eth1"), both[1..]);
    // What the file says comes first, wherever it says it.
    assert_eq!(defaults(&topology, "own", "eth0"), both[1..]);
    assert_eq!(
        defaults(&topology, "own", "eth1"),
        ["0.0.0.0/0 via 10.2.0.99"]
    );
}

#[test]
fn of_two_routers_none_is_the_gateway() {
    let text = "\
networks: { n: [10.1.0.0/24, 10.2.0.0/24, 'fd00::/64'] }
routers:
  a: { ports: { n: [10.2.0.1, 10.1.0.1, 'fd00::1'] } }
workloads:
  w: { ports: [{ network: n, addresses: [10.1.0.10, 'fd00::10'] }] }
  x: { ports: [{ network: n, addresses: 10.2.0.10 }] }
";
    let topology = compiled(text);
    let both = ["0.0.0.0/0 via 10.1.0.1", "::/0 via fd00::1"];
    assert_eq!(defaults(&topology, "w", "eth0"), both);
    assert_eq!(defaults(&topology, "x", "eth0"), ["0.0.0.0/0 via 10.2.0.1"]);
    let two = text.replace("routers:\n", "routers:\n  b: { ports: { n: 10.1.0.2 } }\n");
    assert_eq!(defaults(&compiled(&two), "w", "eth0"), both[1..]);
}

#[test]
fn a_gateway_is_chosen() {
    let topology = compiled(&with_workloads(
        "  \
  name: { ports: [{ network: front, addresses: [10.1.0.10, 'fd00:1::10'], gateway: core }] }
  internal: { ports: [{ network: front, addresses: [10.1.0.11, 'fd00:1::11'] }, { network: back, addresses: 10.2.0.11, gateway: six }] }
  address: { ports: [{ network: front, addresses: [10.1.0.12, 'fd00:1::12'], gateway: 10.1.0.1 }] }
  list: { ports: [{ network: front, addresses: [10.1.0.13, 'fd00:1::13'], gateway: ['fd00:1::1', 10.1.0.1] }] }
",
    ));
    let both = ["0.0.0.0/0 via 10.1.0.1", "::/0 via fd00:1::1"];
    assert_eq!(defaults(&topology, "name", "eth0"), both);
    assert_eq!(defaults(&topology, "internal", "eth0"), both[1..]);
    assert_eq!(
        defaults(&topology, "internal", "eth1"),
        ["0.0.0.0/0 via 10.2.0.2"]
    );
    assert_eq!(defaults(&topology, "address", "eth0"), both[..1]);
    assert_eq!(defaults(&topology, "list", "eth0"), [both[1], both[0]]);
}

#[test]
fn gateways_that_are_none() {
    check(
        &with_workloads(
            "  \
  a: { ports: [{ network: front, addresses: 10.1.0.10, gateway: 10.1.0.9 }] }
  b: { ports: [{ network: front, addresses: 10.1.0.11, gateway: cor }] }
  c: { ports: [{ network: front, addresses: 10.1.0.12, gateway: six }] }
  d: { ports: [{ network: back, addresses: 10.3.0.10, gateway: [six, 10.2.0.1] }] }
  e: { ports: [{ network: front, addresses: 10.1.0.13, gateway: [core, 10.1.0.1] }, { network: back, addresses: 10.2.0.13, gateway: core }] }
  f: { ports: [{ network: front, addresses: 10.1.0.14, gateway: core, routes: [{ to: default, via: 10.1.0.10 }] }] }
  g: { ports: [{ network: back, addresses: 10.2.0.14, gateway: 'fd00:1::1' }] }
",
        ),
        "\
the gateway 10.1.0.9 of port a/eth0 is no router's address
  8:65 no router on network front has it
  help: known gateways here: 10.1.0.1 (router core)
the gateway of port b/eth0 is router cor, which does not exist
  9:65 no router has this name
  help: did you mean `core`?
the gateway of port c/eth0 is router six, which is not on network front
  10:65 this router has no port on network front
  help: plug it in: `routers: { six: { ports: { front: ... } } }`
the gateway of port d/eth0 is router six, which has no address in its subnets
  11:65 out of the port's reach
  6:19 the router's port
  help: give both of them an address in a subnet that they share
the gateway 10.2.0.1 is in none of the subnets of port d/eth0
  11:70 out of the port's reach
  help: the next hop must be in 10.3.0.0/24
workload e has more than one default route for IPv4
  12:72 again, at eth0
  12:66 the first one, at eth0
  help: keep one of the two
workload e has more than one default route for IPv4
  12:133 again, at eth1
  12:66 the first one, at eth0
  help: keep one of the two
workload f has more than one default route for IPv4
  13:65 again, at eth0
  13:86 the first one, at eth0
  help: keep one of the two
the gateway fd00:1::1 of port g/eth0 is no router's address
  14:64 no router on network back has it
  help: for a next hop that is no router, write `routes: [{ to: default, via: ... }]`
",
    );
}
