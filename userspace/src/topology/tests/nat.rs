//! Uplinks, translations and published ports.

use super::{below_head, check, check_all, compiled, document, port};
use crate::problem::listing::listing;
use crate::topology::{RouteTarget, Topology, Translation};

/// The destinations that a router sends to its uplink.
fn to_the_outside(topology: &Topology, router: &str) -> Vec<String> {
    let routes = topology.routers[router].routes.iter();
    let routes = routes.filter(|route| route.target == RouteTarget::Uplink);
    routes.map(|route| route.to.to_string()).collect()
}

#[test]
fn an_uplink_is_the_default_route_unless_another_one_is_given() {
    let topology = compiled(
        "\
networks: { a: 10.1.0.0/24, b: [10.2.0.0/24, 'fd00:2::/64'], c: [10.3.0.0/24, 'fd00:3::/64'] }
routers:
  plain: { ports: { a: 10.1.0.1 }, uplink: true }
  both: { ports: { b: [10.2.0.1, 'fd00:2::1'] }, uplink: true }
  half:
    ports: { c: [10.3.0.1, 'fd00:3::1'] }
    uplink: true
    routes: [{ to: '::/0', via: blackhole }]
  some:
    ports: { a: 10.1.0.2 }
    uplink: true
    routes: [{ to: 198.51.100.0/24, via: uplink }]
  said: { ports: { a: 10.1.0.3 }, uplink: true, routes: [{ to: default, via: uplink }] }
  none: { ports: { a: 10.1.0.4 }, uplink: false }
",
    );
    assert_eq!(to_the_outside(&topology, "plain"), ["0.0.0.0/0"]);
    assert_eq!(to_the_outside(&topology, "both"), ["0.0.0.0/0", "::/0"]);
    assert_eq!(to_the_outside(&topology, "half"), ["0.0.0.0/0"]);
    assert_eq!(to_the_outside(&topology, "some"), ["198.51.100.0/24"]);
    assert_eq!(to_the_outside(&topology, "said"), ["0.0.0.0/0"]);
    assert!(topology.routers["none"].uplink.is_none());
    let implied = &topology.routers["plain"].routes[0];
    assert_eq!(implied.origin.to_string(), "test.yaml:5:44");
}

#[test]
fn the_host_itself_publishes_nothing() {
    check(
        "\
networks: { n: 10.1.0.0/24 }
routers: { r: { ports: { n: 10.1.0.1 }, uplink: true } }
workloads:
  host: { host_network: true, ports: [{ network: n, addresses: 10.1.0.2, publish: '80:80' }] }
",
        "\
port host/n publishes, and is the host itself
  6:83 this is published
  help: a program of the host listens at the host's own addresses: leave it out
",
    );
}

#[test]
fn translations_are_what_the_file_says() {
    let topology = compiled(
        "\
hosts: { alpha: 192.0.2.11, beta: 192.0.2.12 }
networks: { a: [10.1.0.0/24, 'fd00:1::/64'], b: 10.2.0.0/24 }
routers:
  core:
    ports: { a: [10.1.0.1, 'fd00:1::1'], b: 10.2.0.1 }
    uplink: { hosts: [beta] }
    nat:
      - { snat: 10.1.0.0/25, to: 192.0.2.100-192.0.2.103 }
      - { masquerade: true }
      - { masquerade: 'fd00:1::/64' }
      - { floating: 192.0.2.50, to: 10.1.0.10 }
workloads:
  web: { host: alpha, ports: [{ network: a, addresses: 10.1.0.10, publish: ['8080:80', 53/udp] }] }
  db: { host: beta, ports: [{ network: b, addresses: 10.2.0.10, publish: 192.0.2.12:1:1 }, { network: b, addresses: 10.2.0.11, publish: 127.0.0.1:1:1 }] }
",
    );
    assert_eq!(listing(&topology.warnings), "");
    let core = &topology.routers["core"];
    let uplink = core.uplink.as_ref().unwrap();
    assert!(uplink.is_on(Some("beta")) && !uplink.is_on(Some("alpha")));
    let told = core.nat.iter().map(|nat| match &nat.translation {
        Translation::Masquerade { sources } => format!("masquerade {sources:?}"),
        Translation::Source { sources, pool } => format!("{sources:?} to {pool}"),
        Translation::Floating { outside, inside } => format!("{outside} is {inside}"),
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            // What is about one station comes before what is about its subnet.
            "192.0.2.50 is 10.1.0.10",
            "{10.1.0.0/25} to 192.0.2.100-192.0.2.103",
            // Nothing of IPv6 is translated unless it is named.
            "masquerade {10.1.0.0/24, 10.2.0.0/24}",
            "masquerade {fd00:1::/64}",
        ]
    );
    // Its own host is no gateway, so that the gateways have the ports.
    let web = port(&topology, "web", "eth0").publish;
    assert_eq!(web[0].router, "core");
    assert_eq!(web[0].hosts.iter().flatten().collect::<Vec<_>>(), ["beta"]);
    assert_eq!(web[0].host_ports.range(), 8080..=8080);
    assert_eq!((web[1].protocol, web[1].ports.range()), (17, 53..=53));
    let db = port(&topology, "db", "eth1").publish;
    assert_eq!(db[0].address, Some("127.0.0.1".parse().unwrap()));
}

#[test]
fn of_several_routers_the_gateway_is_published_through() {
    let topology = compiled(
        "\
networks: { a: 10.1.0.0/24 }
routers:
  one: { ports: { a: 10.1.0.1 }, uplink: true }
  two: { ports: { a: 10.1.0.2 }, uplink: true }
workloads:
  v: { ports: [{ network: a, addresses: 10.1.0.10, publish: 80, gateway: two }] }
  w: { ports: [{ network: a, addresses: 10.1.0.11, publish: 81 }] }
",
    );
    let router = |workload: &str| port(&topology, workload, "eth0").publish[0].router.clone();
    assert_eq!([router("v"), router("w")], ["two", "one"]);
    // In a file without hosts it is this one.
    let hosts = &port(&topology, "v", "eth0").publish[0].hosts;
    assert_eq!(hosts.iter().collect::<Vec<_>>(), [&None]);
}

#[test]
fn uplinks_that_are_not_there() {
    check(
        "\
hosts: { alpha: 192.0.2.11 }
networks: { a: 10.1.0.0/24, uplink: 10.9.0.0/24 }
routers:
  one: { ports: { a: 10.1.0.1 }, uplink: { hosts: [alhpa, other] } }
  two: { ports: { a: 10.1.0.2 }, routes: [{ to: default, via: uplink }], nat: [{ masquerade: true }] }
  four: { ports: { a: 10.1.0.4 }, uplink: true, routes: [{ to: default, via: [uplink, 10.1.0.1] }] }
  five: { ports: { uplink: 10.9.0.1 } }
",
        "\
the uplink of router one is on host alhpa, which does not exist
  6:52 no host has this name
  help: did you mean `alpha`?
the uplink of router one is on host other, which does not exist
  6:59 no host has this name
  help: declare it under `hosts`
a route of router two leads to its uplink, which it does not have
  7:63 no way out
  help: give the router one: `uplink: true`
router two translates addresses and has no uplink
  7:80 addresses are translated at an uplink
  help: give the router one: `uplink: true`
a route of router four has the next hop uplink beside others
  8:79 this is no next hop
  help: write `via: uplink` alone, or leave it out
router five: \"uplink\" cannot be the name of a port
  9:20 in a route it means the way to the outside
  help: choose another name for the network
",
    );
}

#[test]
fn translations_that_cannot_be() {
    check(
        "\
hosts: { alpha: 192.0.2.11 }
networks: { a: 10.1.0.0/24, six: 'fd00:1::/64' }
routers:
  core:
    ports: { a: 10.1.0.1 }
    uplink: true
    nat:
      - { masquerade: 10.1.0.7/24 }
      - { snat: ['fd00:1::/64'], to: 192.0.2.60 }
      - { snat: 10.2.0.0/24, to: 192.0.2.0/24 }
      - { floating: 10.1.0.10, to: 192.0.2.50 }
      - { floating: 192.0.2.51, to: 'fd00:1::9' }
      - { floating: 192.0.2.51, to: 10.9.0.1 }
      - { floating: 127.0.0.1, to: 10.9.0.1 }
  edge: { ports: { six: 'fd00:1::1' }, uplink: true, nat: [{ masquerade: true }] }
",
        "\
the source 10.1.0.7/24 of a translation of router core has host bits set
  10:23 an address, not a prefix
  help: write 10.1.0.0/24
a translation of router core mixes IPv4 and IPv6
  11:38 these addresses are IPv4
  11:18 these are not
  help: write a translation for each family
router core translates to 192.0.2.0-192.0.2.255, which host alpha has
  12:34 what is for the host would be taken from it
  3:17 the host's address
  help: write `masquerade` for the host's own address
the pool of router core has the floating address 192.0.2.51 of router core
  12:34 this pool
  15:21 this address
  help: leave the address out of the pool
router core translates to 10.1.0.10, which is in its own subnet 10.1.0.0/24
  13:21 this is not outside
  help: the networks of port a are inside; behind `floating` stands the outer address
a translation of router core mixes IPv4 and IPv6
  14:37 this is IPv6
  14:21 this is IPv4
  help: both are of one family
the floating address 192.0.2.51 is given twice
  15:21 by router core
  14:21 by router core
  help: an address stands for one station
router core translates to 127.0.0.1, which is loopback
  16:21 nobody outside can answer to it
  help: write an address that the outside routes to the hosts
address 10.9.0.1 of router core has two floating addresses
  16:36 given again here
  15:37 first given here
  help: keep one of the two: it is the source of what the station sends
router edge masquerades all of its IPv4 networks and has none
  17:60 `true` stands for no IPv6 networks
  help: name them: `masquerade: [\"fd00:1::/64\"]`
",
    );
}

#[test]
fn translations_that_cannot_be_meant() {
    let topology = compiled(
        "\
networks: { a: 10.1.0.0/24 }
routers:
  core:
    ports: { a: 10.1.0.1 }
    uplink: true
    nat:
      - { masquerade: true }
      - { snat: 10.1.0.0/25, to: 192.0.2.60 }
      - { floating: 192.0.2.51, to: 10.1.0.99 }
",
    );
    assert_eq!(
        listing(&topology.warnings),
        "\
a translation of router core is for nobody
  10:9 its sources have been translated
  9:9 by this one
  help: write the particular before the general
the floating address of router core stands for 10.1.0.99, which is nobody's
  11:37 no port on network a has this address
  help: write the address of a port
",
    );
}

#[test]
fn published_ports_that_nobody_reaches() {
    check(
        "\
hosts: { alpha: 192.0.2.11, beta: 192.0.2.12 }
networks: { a: 10.1.0.0/24, b: 10.2.0.0/24 }
routers: { core: { ports: { a: 10.1.0.1 }, uplink: true } }
workloads:
  v: { host: alpha, ports: [{ network: a, publish: [80, '[::]:81:81'] }] }
  w: { host: beta, ports: [{ network: a, addresses: 10.1.0.2, publish: ['[::1]:80:80', 224.0.0.1:1:1, 4780-4790/udp] }] }
  x: { host: beta, ports: [{ network: b, addresses: 10.2.0.3, publish: 80 }] }
",
        "\
port v/eth0 is published and has no address
  7:53 nobody answers to it
  help: give the port an address
port v/eth0 is published and has no IPv6 address
  7:57 nobody answers to it
  help: give the port an IPv6 address
port w/eth0 is published and has no IPv6 address
  8:73 nobody answers to it
  help: give the port an IPv6 address
port w/eth0 is published at 224.0.0.1, which is multicast
  8:88 a host cannot be reached by this address
  help: write an address of the host, or 0.0.0.0 for all of them
port w/eth0 is published at udp/4789, which vxlan needs
  8:103 the tunnels between the hosts come in there
  help: choose another port of the host
port x/eth0 is published and network b has no way to the outside
  9:72 no router on the network has an uplink
  help: give a router on the network one: `uplink: true`
",
    );
}

#[test]
fn published_ports_that_collide() {
    let net = document(
        "net.yaml",
        &below_head(
            "\
hosts: { alpha: 192.0.2.11, beta: 192.0.2.12 }
networks: { a: [10.1.0.0/24, 'fd00:1::/64'] }
routers: { core: { ports: { a: [10.1.0.1, 'fd00:1::1'] }, uplink: true } }
workloads:
  v: { host: alpha, ports: [{ network: a, addresses: [10.1.0.2, 'fd00:1::2'], publish: [8080-8090:80-90, 127.0.0.1:1:1, '[::]:2:2', 7/udp] }] }
  w: { host: beta, ports: [{ network: a, addresses: [10.1.0.3, 'fd00:1::3'], publish: [8080:80, 0.0.0.0:2:2, 7] }] }
",
        ),
    );
    let more = below_head(
        "\
workloads:
  x: { host: alpha, ports: [{ network: a, addresses: [10.1.0.4, 'fd00:1::4'], publish: [8090:80, 0.0.0.0:1:1, '[::1]:1:1', 0.0.0.0:2:2, 7] }] }
",
    );
    let more = document("more.yaml", &more.replace("name: test", "name: more"));
    check_all(
        &[net, more],
        "\
tcp/8090 of host alpha is published by port v/eth0 of source test and by port x/eth0 of source more
  4:89 published again here
  7:89 first published here
  help: choose another port of the host, or another one of its addresses
tcp/1 of host alpha is published by port v/eth0 of source test and by port x/eth0 of source more
  4:98 published again here
  7:106 first published here
  help: choose another port of the host, or another one of its addresses
",
    );
}
