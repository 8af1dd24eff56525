//! Files in good and in bad form.

mod nat;
mod policy;

use std::time::Duration;

use maps_schema::Mac;

use super::*;
use crate::problem::listing::listing;
use crate::topology::{Spoofing, UnknownUnicast};

/// A file reports exactly these problems.
fn check(text: &str, expected: &str) {
    match parse("test.yaml", text) {
        Ok(document) => panic!("no problem was found in {document:?}"),
        Err(problems) => assert_eq!(listing(&problems), expected, "{text}"),
    }
}

/// The same for a file whose first two lines are in order.
fn check_below_head(rest: &str, expected: &str) {
    check(&format!("version: 1\nname: test\n{rest}"), expected);
}

#[test]
fn every_key_is_read() {
    let text = "\
version: 1
name: shop
defaults: { mtu: 9000, drop_events: true }
networks:
  front: { subnets: [10.1.0.0/24, \"fd00:1::/64\"], internal: true, vni: 100, mtu: 1450, unknown_unicast: flood, ageing: 5m }
workloads:
  web:
    container: 0123
    ports:
      - network: front
        addresses: [10.1.0.10, \"fd00:1::10/64\"]
        interface: lan
        mac: 02:00:00:00:00:10
        mtu: 1400
        routes: [ { to: default, via: 10.1.0.1 }, { to: 10.9.0.0/16, via: 10.1.0.2 } ]
        gateway: [ core, \"fd00:1::1\" ]
        learning: true
        spoofing: allow
";
    let document = parse("shop.yaml", text).unwrap();
    assert_eq!(document.name.value, "shop");
    assert_eq!(document.file.name, "shop");
    assert_eq!(document.defaults.mtu.unwrap().value, Mtu::Bytes(9000));
    assert!(document.defaults.drop_events.unwrap().value);

    let front = &document.networks["front"];
    assert_eq!(front.subnets[1].to_string(), "fd00:1::/64");
    assert_eq!(front.vni.as_ref().unwrap().value, 100);
    assert_eq!(front.mtu.as_ref().unwrap().value, Mtu::Bytes(1450));
    assert!(front.internal.as_ref().unwrap().value);
    let unknown = front.unknown_unicast.as_ref().unwrap();
    assert_eq!(unknown.value, UnknownUnicast::Flood);
    assert_eq!(
        front.ageing.as_ref().unwrap().value,
        Duration::from_secs(300)
    );
    assert_eq!(front.origin.to_string(), "shop.yaml:5:3");

    let web = &document.workloads["web"];
    // YAML takes it for a number; a container's name is what is written.
    assert_eq!(web.container.as_ref().unwrap().value, "0123");
    let [port] = web.ports.as_slice() else {
        panic!("one port was expected");
    };
    assert_eq!(port.network.value, "front");
    assert_eq!(port.addresses[0].prefix_len, None);
    assert_eq!(port.addresses[1].prefix_len, Some(64));
    assert_eq!(port.interface.as_ref().unwrap().value, "lan");
    assert_eq!(
        port.mac.as_ref().unwrap().value,
        Mac::new([2, 0, 0, 0, 0, 0x10])
    );
    assert_eq!(port.mtu.as_ref().unwrap().value, 1400);
    assert_eq!(port.routes[0].to.value, Destination::Default);
    assert_eq!(port.routes[1].via.to_string(), "10.1.0.2");
    let Gateway::Chosen(gateways) = &port.gateway.as_ref().unwrap().value else {
        panic!("a gateway was expected");
    };
    assert_eq!(gateways[0].value, Hop::Name("core".to_owned()));
    assert_eq!(
        gateways[1].value,
        Hop::Address("fd00:1::1".parse().unwrap())
    );
    assert!(port.learning.as_ref().unwrap().value);
    assert_eq!(port.spoofing.as_ref().unwrap().value, Spoofing::Allow);
    let mac = &port.mac.as_ref().unwrap().origin;
    assert_eq!((mac.line, mac.column), (13, 14));
    assert_eq!(&text[mac.offset..mac.offset + mac.len], "02:00:00:00:00:10");
}

#[test]
fn every_key_of_a_router_is_read() {
    let text = "\
version: 1
name: shop
routers:
  core:
    ports:
      front: { addresses: [10.1.0.1/24, \"fd00:1::1\"], mac: 02:00:00:00:00:01, mtu: 1400 }
      back: 10.2.0.1
      up: { peer: edge/down, addresses: 192.0.2.1/30 }
    routes:
      - { to: default, via: up }
      - { to: 10.9.0.0/16, via: [10.2.0.9, 10.2.0.8], metric: 20 }
";
    let document = parse("shop.yaml", text).unwrap();
    let core = &document.routers["core"];
    assert_eq!(core.origin.to_string(), "shop.yaml:4:3");
    let front = &core.ports["front"];
    assert_eq!(front.addresses[0].prefix_len, Some(24));
    assert_eq!(front.addresses[1].ip.to_string(), "fd00:1::1");
    assert_eq!(
        front.mac.as_ref().unwrap().value,
        Mac::new([2, 0, 0, 0, 0, 1])
    );
    assert_eq!(front.mtu.as_ref().unwrap().value, 1400);
    assert!(front.peer.is_none());
    assert_eq!(core.ports["back"].addresses[0].ip.to_string(), "10.2.0.1");
    let peer = core.ports["up"].peer.as_ref().unwrap();
    assert_eq!(
        (peer.router.as_str(), peer.port.as_deref()),
        ("edge", Some("down"))
    );
    let [default, nine] = core.routes.as_slice() else {
        panic!("two routes were expected");
    };
    assert_eq!(default.to.value, Destination::Default);
    assert_eq!(default.via[0].value, Hop::Name("up".to_owned()));
    assert!(default.metric.is_none());
    assert_eq!(nine.via[1].value, Hop::Address("10.2.0.8".parse().unwrap()));
    assert_eq!(nine.metric.as_ref().unwrap().value, 20);
}

#[test]
fn short_forms_mean_the_same_as_long_ones() {
    let text = "\
version: 1
name: short
networks:
  one: 10.2.0.0/24
  list: [10.3.0.0/24, 10.4.0.0/24]
  scalar: { subnets: 10.5.0.0/24, ageing: 7 }
workloads:
  web: { pid: 7, ports: [one, { network: list, addresses: 10.3.0.1 }] }
  idle: { netns: idle, ports: [] }
";
    let document = parse("short.yaml", text).unwrap();
    let subnets = |name: &str| document.networks[name].subnets.len();
    assert_eq!(
        (subnets("one"), subnets("list"), subnets("scalar")),
        (1, 2, 1)
    );
    let web = &document.workloads["web"];
    assert_eq!(web.pid.as_ref().unwrap().value, 7);
    assert_eq!(web.ports[0].network.value, "one");
    assert_eq!(web.ports[1].addresses[0].ip.to_string(), "10.3.0.1");
    assert_eq!(web.ports[1].position, 1);
    assert!(document.workloads["idle"].ports.is_empty());
}

#[test]
fn sections_may_be_empty_and_a_byte_order_mark_is_no_character() {
    let text = "\u{feff}version: 1\nname: bare\ndefaults:\nnetworks:\n  # none\nworkloads:\n";
    let document = parse("bare.yaml", text).unwrap();
    assert!(document.networks.is_empty());
    check(
        "\u{feff}a: [",
        "the file is not valid YAML: unclosed bracket '['\n  1:4 reading stops here\n",
    );
}

#[test]
fn what_is_not_yaml() {
    let cases = [
        ("a: [1", "unclosed bracket '['\n  1:4"),
        (
            "a: b: c",
            "mapping values are not allowed in this context\n  1:5",
        ),
        (
            "ä: é: c",
            "mapping values are not allowed in this context\n  1:5",
        ),
        (
            "a:\n\tb: 1",
            "tabs disallowed within this context (block indentation)\n  2:2",
        ),
        (
            "x: *u",
            "the alias refers to an anchor that is not there\n  1:4",
        ),
        (
            "x: &x [*x]",
            "the alias refers to what it is part of\n  1:8",
        ),
    ];
    for (text, reason) in cases {
        let expected = format!("the file is not valid YAML: {reason} reading stops here\n");
        check(text, &expected);
    }
    check(
        "version: 1\n---\nname: b\n",
        "the file holds more than one YAML document\n  3:1 reading stops here\n",
    );
    let deep = format!("a: {}", "[".repeat(1000));
    assert!(parse("deep.yaml", &deep).is_err());
}

#[test]
fn what_is_no_topology_file_at_all() {
    for (text, is) in [
        ("", "1:1 this is empty"),
        ("just text", "1:1 this is the text \"just text\""),
        ("- a", "1:3 this is a list"),
    ] {
        let expected = "the file must be a map with the keys version, name, defaults, hosts, tunnels, vteps, networks, routers, workloads, groups, chains, policies";
        check(text, &format!("{expected}\n  {is}\n"));
    }
}

#[test]
fn version_and_name() {
    check(
        "version: 2\nname: Shop\n",
        "\
version must be 1
  1:10 this is the number 2
  help: this release reads version 1 of the format only
name must be a name of lower-case letters, digits and hyphens, 63 at most
  2:7 this is the text \"Shop\"
",
    );
    check(
        "networks: {}\n",
        "\
the file has no `version`
  1:1 `version` is missing here
  help: write `version: 1`
the file has no `name`
  1:1 `name` is missing here
  help: name the source, for example `name: shop`
",
    );
}

#[test]
fn unknown_keys() {
    check_below_head(
        "network: {}\nmachines: {}\nnetworks: { a: { subnet: 10.1.0.0/24 } }\n",
        "\
unknown key `network`
  3:1 this key is not known
  help: did you mean `networks`?
unknown key `machines`
  4:1 this key is not known
  help: known keys here: version, name, defaults, hosts, tunnels, vteps, networks, routers, workloads, groups, chains, policies
unknown key `subnet` in networks.a
  5:18 this key is not known
  help: did you mean `subnets`?
",
    );
    check_below_head(
        "<<: { a: 1 }\n? [a]\n: 1\n",
        "\
unknown key `<<`
  3:1 this key is not known
  help: known keys here: version, name, defaults, hosts, tunnels, vteps, networks, routers, workloads, groups, chains, policies
a key in the file must be a single word
  4:3 this is a list
",
    );
}

#[test]
fn duplicate_keys() {
    check_below_head(
        "networks:\n  front: 10.1.0.0/24\n  front: 10.2.0.0/24\nname: again\n",
        "\
key `front` is given twice in networks
  5:3 given again here
  4:3 first given here
  help: keep one of the two
key `name` is given twice
  6:1 given again here
  2:1 first given here
  help: keep one of the two
",
    );
}

#[test]
fn wrong_types_in_a_network() {
    check_below_head(
        "networks:\n  a: { subnets: 10.1.0.0/24, vni: many, mtu: \"1400\", unknown_unicast: flod, ageing: 5 min }\n  b:\n  c: 10.1.0.0\n  d: {}\n  'e f': 10.1.0.0/24\n",
        "\
networks.a.vni must be a whole number
  4:35 this is the text \"many\"
networks.a.mtu must be a number of bytes or `auto`
  4:46 this is the text \"1400\"
  help: write it without quotes
networks.a.unknown_unicast must be `drop` or `flood`
  4:71 this is the text \"flod\"
  help: did you mean `flood`?
networks.a.ageing must be a number of seconds or a duration such as 300s, 5m, 1h or 2d
  4:85 this is the text \"5 min\"
networks.b must be a subnet, a list of subnets or a map with the key `subnets`
  5:3 this is empty
networks.c must be a subnet such as 10.1.0.0/24 or fd00:1::/64
  6:6 this is the text \"10.1.0.0\"
  help: add the length of the prefix
networks.d has no `subnets`
  7:6 `subnets` is missing here
  help: add `subnets: [10.1.0.0/24]`, or `subnets: []` for a network without addresses
\"e f\" cannot be the name of a network
  8:3 this name
  help: use letters, digits, `_`, `.` and `-`, 63 at most, beginning with a letter or digit
",
    );
}

#[test]
fn wrong_types_in_a_workload() {
    check_below_head(
        "workloads:
  web:
    container: {}
    ports:
      - [front]
      - { adresses: 1 }
      - network: front
        addresses: [x, 10.0.0.1/99]
        mac: 1
        mtu: -1
        learning: yes
        spoofing: 5
        routes: [{ to: 1.2.3.4, via: x }, { to: default }, 5]
  db: { ports: front }
  idle:
",
        "\
workloads.web.container must be a text
  5:16 this is a map
workloads.web.ports[0] must be the name of a network or a map with the key `network`
  7:9 this is a list
workloads.web.ports[1] has no `network`
  8:9 `network` is missing here
  help: name the network that the port is plugged into
unknown key `adresses` in workloads.web.ports[1]
  8:11 this key is not known
  help: did you mean `addresses`?
workloads.web.ports[2].addresses[0] must be an address such as 10.1.0.10 or fd00:1::10
  10:21 this is the text \"x\"
workloads.web.ports[2].addresses[1] must be an address such as 10.1.0.10 or fd00:1::10
  10:24 this is the text \"10.0.0.1/99\"
workloads.web.ports[2].mac must be a MAC address such as 02:00:00:00:00:10
  11:14 this is the number 1
workloads.web.ports[2].mtu must be a whole number
  12:14 this is the number -1
workloads.web.ports[2].learning must be true or false
  13:19 this is the text \"yes\"
  help: write `true`
workloads.web.ports[2].spoofing must be `deny` or `allow`
  14:19 this is the number 5
workloads.web.ports[2].routes[0].to must be `default` or a prefix such as 10.9.0.0/16
  15:24 this is the text \"1.2.3.4\"
  help: for this address alone, write 1.2.3.4/32
workloads.web.ports[2].routes[0].via must be an address such as 10.1.0.1 or fd00:1::1
  15:38 this is the text \"x\"
workloads.web.ports[2].routes[1] has no `via`
  15:43 `via` is missing here
  help: write a route as `{ to: 0.0.0.0/0, via: 10.1.0.1 }`
workloads.web.ports[2].routes[2] must be a map with the keys to, via
  15:60 this is the number 5
workloads.db.ports must be a list of ports
  16:16 this is the text \"front\"
workloads.idle must be a map with the keys host, container, netns, pid, endpoint, host_network, names, ports
  17:3 this is empty
",
    );
}

#[test]
fn wrong_types_in_a_router() {
    check_below_head(
        "networks: { a: { subnets: [], internal: maybe } }
routers:
  a: { port: {} }
  b:
  c: { ports: [front] }
  d:
    ports:
      front: [10.1.0.1, x]
      back:
      up: { peer: a/b/c, mac: 1, mtu: big }
      'e f': 10.2.0.1
    routes:
      - { to: 10.9.0.1, via: [] }
      - { to: default, via: [10.1.0.9, 10.2.0.0/24, {}], metric: low }
      - { via: reject }
      - up
  'g/h': { ports: {} }
workloads:
  w: { ports: [{ network: a, gateway: true }, { network: a, gateway: [] }, { network: a, gateway: [core, [], a/b] }, { network: a, gateway: }] }
",
        "\
networks.a.internal must be true or false
  3:41 this is the text \"maybe\"
unknown key `port` in routers.a
  5:8 this key is not known
  help: did you mean `ports`?
routers.b must be a map with the keys ports, uplink, routes, nat, policy
  6:3 this is empty
routers.c.ports must be a map from names to ports
  7:15 this is a list
routers.d.ports.front[1] must be an address such as 10.1.0.10 or fd00:1::10
  10:25 this is the text \"x\"
routers.d.ports.back must be an address, a list of addresses or a map with the key `addresses`
  11:7 this is empty
routers.d.ports.up has no `addresses`
  12:11 `addresses` is missing here
  help: give the port an address, for example `addresses: 10.1.0.1`
routers.d.ports.up.peer must be the name of a router, or ROUTER/PORT
  12:19 this is the text \"a/b/c\"
routers.d.ports.up.mac must be a MAC address such as 02:00:00:00:00:10
  12:31 this is the number 1
routers.d.ports.up.mtu must be a whole number
  12:39 this is the text \"big\"
\"e f\" cannot be the name of a port
  13:7 this name
  help: use letters, digits, `_`, `.` and `-`, 63 at most, beginning with a letter or digit
routers.d.routes[0].to must be `default` or a prefix such as 10.9.0.0/16
  15:15 this is the text \"10.9.0.1\"
  help: for this address alone, write 10.9.0.1/32
routers.d.routes[0].via must be one next hop at least
  15:30 this is a list
routers.d.routes[1].via[1] must be an address, the name of a port, `uplink`, `blackhole` or `reject`
  16:40 this is the text \"10.2.0.0/24\"
routers.d.routes[1].via[2] must be an address, the name of a port, `uplink`, `blackhole` or `reject`
  16:53 this is a map
routers.d.routes[1].metric must be a whole number
  16:66 this is the text \"low\"
routers.d.routes[2] has no `to`
  17:9 `to` is missing here
  help: write a route as `{ to: 10.9.0.0/16, via: 10.1.0.9 }`
routers.d.routes[3] must be a map with the keys to, via, metric
  18:9 this is the text \"up\"
\"g/h\" cannot be the name of a router
  19:3 this name
  help: use letters, digits, `_`, `.` and `-`, 63 at most, beginning with a letter or digit
workloads.w.ports[0].gateway must be `false`, or the name or address of a router, or a list of these
  21:39 this is the truth value true
  help: leave it out for the network's only router, or name the router
workloads.w.ports[1].gateway must be `false`, or the name or address of a router, or a list of these
  21:70 this is a list
  help: write `false` for no default route
workloads.w.ports[2].gateway[1] must be the name or address of a router
  21:106 this is a list
workloads.w.ports[2].gateway[2] must be the name or address of a router
  21:110 this is the text \"a/b\"
workloads.w.ports[3].gateway must be the name or address of a router
  21:132 this is empty
",
    );
}

#[test]
fn aliases_are_followed_and_pointed_at() {
    let text = "version: 1\nname: a\nnetworks: { x: &s 10.1.0.0/24, y: *s }\n";
    let document = parse("a.yaml", text).unwrap();
    let origin = &document.networks["y"].subnets[0].origin;
    assert_eq!(&text[origin.offset..origin.offset + origin.len], "*s");
}
