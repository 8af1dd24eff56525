//! The routes of routers.

use std::fmt::Write;

use super::{check, compiled};
use crate::problem::listing::listing;
use crate::topology::{RouteTarget, Topology};

/// A file with two routers that are linked, and these routes of the first one.
fn with_routes(routes: &str) -> String {
    format!(
        "\
networks: {{ front: [10.1.0.0/24, 'fd00:1::/64'], back: 10.2.0.0/24 }}
routers:
  core:
    ports: {{ front: [10.1.0.1, 'fd00:1::1'], back: 10.2.0.1, up: {{ peer: edge, addresses: [192.0.2.1/30, 'fd00:2::1/64'] }}, four: {{ peer: old, addresses: 192.0.2.5/30 }} }}
    routes:
{routes}  edge: {{ ports: {{ down: {{ peer: core, addresses: [192.0.2.2/30, 'fd00:2::2/64'] }} }} }}
  old: {{ ports: {{ down: {{ peer: core, addresses: 192.0.2.6/30 }} }} }}
workloads:
  web: {{ ports: [{{ network: front, addresses: [10.1.0.10, 'fd00:1::10'] }}] }}
  db: {{ ports: [{{ network: back, addresses: [10.2.0.8, 10.2.0.9] }}] }}
"
    )
}

/// The routes of a router, one a line.
fn routes(topology: &Topology, router: &str) -> String {
    let mut text = String::new();
    for route in &topology.routers[router].routes {
        let target = match &route.target {
            RouteTarget::Uplink => "uplink".to_owned(),
            RouteTarget::Blackhole => "blackhole".to_owned(),
            RouteTarget::Reject => "reject".to_owned(),
            RouteTarget::Forward(hops) => {
                let hops = hops.iter().map(|hop| match hop.via {
                    None => hop.port.clone(),
                    Some(via) => format!("{} {via}", hop.port),
                });
                hops.collect::<Vec<_>>().join(" or ")
            }
        };
        let (line, metric) = (route.origin.line, route.metric);
        writeln!(text, "{} {target} metric {metric} line {line}", route.to).unwrap();
    }
    text
}

#[test]
fn routes_in_force() {
    let topology = compiled(&with_routes(
        "      \
      - { to: 10.9.0.0/16, via: 10.2.0.9 }
      - { to: default, via: up }
      - { to: default, via: 10.1.0.10, metric: 5 }
      - { to: 10.7.0.0/16, via: [10.2.0.9, 10.2.0.8, up], metric: 20 }
      - { to: 10.7.0.0/16, via: blackhole, metric: 30 }
      - { to: 10.66.0.0/16, via: reject, metric: 3 }
      - { to: 10.66.0.0/16, via: blackhole, metric: 2 }
      - { to: 10.67.0.0/16, via: front }
      - { to: fd00:9::/48, via: [front, up] }
",
    ));
    assert_eq!(
        routes(&topology, "core"),
        "\
0.0.0.0/0 up 192.0.2.2 metric 0 line 9
10.1.0.0/24 front metric 0 line 6
10.2.0.0/24 back metric 0 line 6
10.7.0.0/16 back 10.2.0.9 or back 10.2.0.8 or up 192.0.2.2 metric 20 line 11
10.9.0.0/16 back 10.2.0.9 metric 0 line 8
10.66.0.0/16 blackhole metric 2 line 14
10.67.0.0/16 front metric 0 line 15
192.0.2.0/30 up metric 0 line 6
192.0.2.4/30 four metric 0 line 6
::/0 up fd00:2::2 metric 0 line 9
fd00:1::/64 front metric 0 line 6
fd00:2::/64 up metric 0 line 6
fd00:9::/48 front or up fd00:2::2 metric 0 line 16
"
    );
    assert_eq!(
        routes(&topology, "old"),
        "\
192.0.2.4/30 down metric 0 line 18
"
    );
    assert_eq!(listing(&topology.warnings), "");
}

#[test]
fn what_default_means() {
    let default = |via: &str| {
        let text = with_routes(&format!("      - {{ to: default, via: {via} }}\n"));
        let all = routes(&compiled(&text), "core");
        let defaults = all.lines().filter(|line| line.contains("/0 "));
        defaults.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        default("up"),
        "\
0.0.0.0/0 up 192.0.2.2 metric 0 line 8
::/0 up fd00:2::2 metric 0 line 8"
    );
    assert_eq!(default("four"), "0.0.0.0/0 four 192.0.2.6 metric 0 line 8");
    assert_eq!(
        default("[four, up]"),
        "\
0.0.0.0/0 four 192.0.2.6 or up 192.0.2.2 metric 0 line 8
::/0 up fd00:2::2 metric 0 line 8"
    );
    assert_eq!(
        default("[10.2.0.9, up]"),
        "0.0.0.0/0 back 10.2.0.9 or up 192.0.2.2 metric 0 line 8"
    );
    assert_eq!(
        default("'fd00:1::10'"),
        "::/0 front fd00:1::10 metric 0 line 8"
    );
    assert_eq!(
        default("blackhole"),
        "\
0.0.0.0/0 blackhole metric 0 line 8
::/0 blackhole metric 0 line 8"
    );
}

#[test]
fn destinations() {
    check(
        &with_routes(
            "      \
      - { to: 10.9.0.1/16, via: 10.2.0.9 }
      - { to: 10.1.0.0/24, via: 10.2.0.9 }
      - { to: 10.9.0.0/16, via: 10.2.0.8 }
      - { to: 10.9.0.0/16, via: 10.2.0.8, metric: 1 }
      - { to: default, via: reject }
      - { to: '::/0', via: reject }
      - { to: 224.0.0.0/4, via: 10.2.0.8 }
      - { to: 0.0.0.0/1, via: 10.2.0.8 }
      - { to: 0.0.0.0/32, via: 10.2.0.8 }
      - { to: 'fe80::/10', via: up }
      - { to: 10.10.0.0/16, via: 10.2.0.8, metric: 4294967296 }
",
        ),
        "\
the route to 10.9.0.1/16 of router core has host bits set
  8:15 an address, not a prefix
  help: write 10.9.0.0/16
the route to 10.1.0.0/24 of router core leads to its own subnet
  9:15 this subnet needs no route
  6:22 the router is in it
  help: leave the route out: it follows from the port's address
the route to 10.9.0.0/16 of router core is given twice with metric 0
  10:15 given again here
  8:15 first given here
  help: write equal next hops as one route, `via: [a, b]`, or give one of the two another metric
the default route of router core for IPv6 is given twice with metric 0
  13:15 given again here
  12:15 first given here
  help: write equal next hops as one route, `via: [a, b]`, or give one of the two another metric
the route to 224.0.0.0/4 of router core leads to multicast addresses
  14:15 no router forwards to there
  help: leave the route out
the route to 0.0.0.0/32 of router core leads to unspecified addresses
  16:15 no router forwards to there
  help: leave the route out
the route to fe80::/10 of router core leads to link-local addresses
  17:15 no router forwards to there
  help: leave the route out
the metric of a route of router core is 4294967296
  18:52 out of range
  help: a metric is between 0 and 4294967295
",
    );
}

#[test]
fn next_hops() {
    check(
        &with_routes(
            "      \
      - { to: 10.20.0.0/16, via: 10.3.0.1 }
      - { to: 10.21.0.0/16, via: [10.2.0.1, 10.2.0.255] }
      - { to: 10.22.0.0/16, via: 'fd00:1::10' }
      - { to: default, via: [10.2.0.9, 'fd00:1::10'] }
      - { to: 10.23.0.0/16, via: [blackhole, 10.2.0.9] }
      - { to: 10.24.0.0/16, via: upp }
      - { to: 10.25.0.0/16, via: edge }
      - { to: 10.26.0.0/16, via: blakhole }
      - { to: 10.27.0.0/16, via: whatever }
      - { to: 'fd00:9::/48', via: four }
      - { to: 10.28.0.0/16, via: [192.0.2.2, up, 10.2.0.9, 10.2.0.9] }
      - { to: 'fd00:8::/48', via: 'fd00:2::3' }
",
        ),
        "\
the next hop 10.3.0.1 of router core is in none of its subnets
  8:34 this next hop
  help: the next hop must be in 10.2.0.0/24 or 192.0.2.4/30 or 10.1.0.0/24 or 192.0.2.0/30
the next hop 10.2.0.1 of router core is its own address
  9:35 this next hop
  6:52 the router's address
  help: the next hop is another station
the next hop 10.2.0.255 of router core is the broadcast address of its subnet
  9:45 this next hop
  help: the next hop is a station: another router or a workload
the route to 10.22.0.0/16 of router core mixes IPv4 and IPv6
  10:34 the next hop is IPv6
  10:15 the destination is IPv4
  help: the next hop must be of the destination's family
the default route of router core mixes IPv4 and IPv6
  11:30 this next hop is IPv4
  11:40 this next hop is IPv6
  help: write a default route for each family
a route of router core has the next hop blackhole beside others
  12:35 this is no next hop
  help: write `via: blackhole` alone, or leave it out
a route of router core leads to port upp, which does not exist
  13:34 the router has no port of this name
  help: did you mean `up`?
a route of router core leads to port edge, which does not exist
  14:34 the router has no port of this name
  help: the port that leads to router edge is `up`
a route of router core leads to port blakhole, which does not exist
  15:34 the router has no port of this name
  help: did you mean `blackhole`?
a route of router core leads to port whatever, which does not exist
  16:34 the router has no port of this name
  help: write one of: back, four, front, up, uplink, blackhole, reject, or an address
the route to fd00:9::/48 of router core leads through port four, which has no IPv6 address
  17:35 this next hop
  help: give the port an IPv6 address
the route to 10.28.0.0/16 of router core has a next hop twice
  18:46 given again here
  18:35 first given here
  help: keep one of the two: next hops are equal
the route to 10.28.0.0/16 of router core has a next hop twice
  18:60 given again here
  18:50 first given here
  help: keep one of the two: next hops are equal
the next hop fd00:2::3 of router core is nobody's
  19:35 only port edge/down is at the other end
  help: port edge/down has the address fd00:2::2
",
    );
}

#[test]
fn next_hops_that_nobody_is() {
    let routes = "      - { to: 10.20.0.0/16, via: 10.2.0.7 }
      - { to: 10.21.0.0/16, via: [10.2.0.7, 10.2.0.9] }
";
    let topology = compiled(&with_routes(routes));
    assert_eq!(
        listing(&topology.warnings),
        "\
the next hop 10.2.0.7 of router core is nobody's
  8:34 no port on network back has this address
  help: declare the station, or set `learning: true` on the port that it is behind
"
    );
    // Somebody who is not declared may be behind a port that learns.
    let learning =
        with_routes(routes).replace("back, addresses", "back, learning: true, addresses");
    assert_eq!(compiled(&learning).warnings, []);
}

#[test]
fn more_next_hops_than_there_are_buckets() {
    let text = |count: u32| {
        let hops: Vec<String> = (0..count)
            .map(|i| format!("10.1.{}.{}", i / 200 + 1, i % 200 + 1))
            .collect();
        let hops = hops.join(", ");
        format!(
            "\
networks: {{ n: 10.1.0.0/16 }}
routers: {{ r: {{ ports: {{ n: 10.1.0.1 }}, routes: [{{ to: default, via: [{hops}] }}] }} }}
workloads: {{ w: {{ ports: [{{ network: n, addresses: [{hops}] }}] }} }}
"
        )
    };
    compiled(&text(256));
    check(
        &text(257),
        "\
the default route of router r for IPv4 has more than 256 next hops
  4:2970 one next hop too many
  help: split the destinations among several routes
",
    );
}

#[test]
fn loops() {
    check(
        "\
networks: { n: 10.1.0.0/24, m: 10.2.0.0/24 }
routers:
  a: { ports: { n: 10.1.0.1 }, routes: [{ to: 10.9.0.0/16, via: 10.1.0.2 }, { to: 10.8.0.0/16, via: 10.1.0.3 }] }
  b: { ports: { n: 10.1.0.2, m: 10.2.0.2 }, routes: [{ to: 10.0.0.0/8, via: 10.2.0.3 }] }
  c:
    ports: { n: 10.1.0.3, m: 10.2.0.3 }
    routes:
      - { to: default, via: 10.1.0.1 }
      - { to: 10.8.0.0/24, via: 10.2.0.2 }
      - { to: 10.9.0.0/16, via: [m, 10.1.0.1] }
",
        "\
packets to 10.8.0.0/16 go round in a loop: c, a, c
  10:15 router c sends them to a
  5:83 router a sends them to c
  help: let one of the routes lead elsewhere, or stop the packets at router c: `{ to: 10.8.0.0/16, via: blackhole }`
packets to 10.8.0.0/24 go round in a loop: c, b, c
  11:15 router c sends them to b
  6:60 router b sends them to c
  help: let one of the routes lead elsewhere, or stop the packets at router b: `{ to: 10.8.0.0/24, via: blackhole }`
packets to 10.9.0.0/16 go round in a loop: c, a, b, c
  12:15 router c sends them to a
  5:47 router a sends them to b
  6:60 router b sends them to c
  help: let one of the routes lead elsewhere, or stop the packets at router b: `{ to: 10.9.0.0/16, via: blackhole }`
",
    );
}

#[test]
fn defaults_that_lead_to_each_other_are_told_once() {
    check(
        "\
routers:
  a: { ports: { b: { peer: b, addresses: [192.0.2.1/30, 'fd00::1/64'] } }, routes: [{ to: default, via: b }] }
  b: { ports: { a: { peer: a, addresses: [192.0.2.2/30, 'fd00::2/64'] } }, routes: [{ to: default, via: a }] }
",
        "\
packets to 0.0.0.0/0 go round in a loop: b, a, b
  5:91 router b sends them to a
  4:91 router a sends them to b
  help: let one of the routes lead elsewhere
",
    );
}

#[test]
fn what_longer_prefixes_take_away_goes_nowhere_else() {
    let text = |covered: &str| {
        format!(
            "\
networks: {{ n: 10.1.0.0/24, low: 10.2.0.0/25, high: 10.2.0.128/25 }}
routers:
  edge: {{ ports: {{ n: 10.1.0.1 }}, routes: [{{ to: 10.2.0.0/24, via: 10.1.0.2 }}] }}
  core: {{ ports: {{ n: 10.1.0.2, low: 10.2.0.1{covered} }}, routes: [{{ to: default, via: 10.1.0.1 }}] }}
"
        )
    };
    compiled(&text(", high: 10.2.0.129"));
    check(&text(""), "\
packets to 10.2.0.0/24 go round in a loop: core, edge, core
  6:65 router core sends them to edge
  5:50 router edge sends them to core
  help: let one of the routes lead elsewhere, or stop the packets at router core: `{ to: 10.2.0.0/24, via: blackhole }`
");
    // A blackhole for the rest, as routers commonly have it.
    compiled(&text("").replace(
        "routes: [{ to: default",
        "routes: [{ to: 10.2.0.0/24, via: blackhole }, { to: default",
    ));
    // The one address is the router's own.
    compiled(
        "\
networks: { n: 10.1.0.0/24, m: 10.2.0.0/24 }
routers:
  a: { ports: { n: 10.1.0.1 }, routes: [{ to: 10.2.0.2/32, via: 10.1.0.2 }] }
  b: { ports: { n: 10.1.0.2, m: 10.2.0.2 }, routes: [{ to: 10.2.0.0/30, via: 10.1.0.1 }] }
",
    );
}

/// Routers in a line, each with a route to the next one.
fn line(routers: usize) -> String {
    let mut text = "routers:\n".to_owned();
    for n in 1..=routers {
        let (left, right) = (n - 1, n + 1);
        let mut ports = Vec::new();
        if n > 1 {
            ports.push(format!(
                "left: {{ peer: r{left:02}, addresses: 192.168.{left}.1/31 }}"
            ));
        }
        let mut via = "blackhole".to_owned();
        if n < routers {
            ports.push(format!(
                "right: {{ peer: r{right:02}, addresses: 192.168.{n}.0/31 }}"
            ));
            via = format!("192.168.{n}.1");
        }
        let ports = ports.join(", ");
        text += &format!(
            "  r{n:02}: {{ ports: {{ {ports} }}, routes: [{{ to: 10.9.0.0/16, via: {via} }}] }}\n"
        );
    }
    text
}

#[test]
fn more_routers_than_a_packet_can_pass() {
    compiled(&line(32));
    check(
        &line(33),
        "\
packets to 10.9.0.0/16 pass more than 32 routers from router r01 on
  4:85 the way begins here
  help: join the networks by fewer routers: what passes more is dropped
",
    );
}
