//! The examples that users start from, and the schema that editors check files against.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::problem::listing::listing;
use crate::topology::{Place, compile};

const EXAMPLES: [(&str, &str); 8] = [
    ("bridges", include_str!("../../../examples/bridges.yaml")),
    ("policies", include_str!("../../../examples/policies.yaml")),
    ("routed", include_str!("../../../examples/routed.yaml")),
    (
        "two-containers",
        include_str!("../../../examples/two-containers.yaml"),
    ),
    (
        "two-hosts",
        include_str!("../../../examples/two-hosts.yaml"),
    ),
    (
        "two-hosts-namespaces",
        include_str!("../../../examples/two-hosts-namespaces.yaml"),
    ),
    (
        "two-namespaces",
        include_str!("../../../examples/two-namespaces.yaml"),
    ),
    (
        "annotated",
        include_str!("../../../examples/annotated.yaml"),
    ),
];

fn example(name: &str) -> (&'static str, &'static str) {
    *EXAMPLES.iter().find(|(known, _)| *known == name).unwrap()
}

/// A file as a value without types, as an editor sees it.
fn untyped(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn every_example_is_listed_here() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(name) = name.strip_suffix(".yaml") {
            found.insert(name.to_owned());
        }
    }
    let listed = EXAMPLES.iter().map(|(name, _)| (*name).to_owned());
    assert_eq!(found, listed.collect());
}

#[test]
fn every_example_compiles() {
    for (name, text) in EXAMPLES {
        let document =
            parse(name, text).unwrap_or_else(|found| panic!("{name}: {}", listing(&found)));
        assert_eq!(document.name.value, name);
        let topology =
            compile(&[document]).unwrap_or_else(|found| panic!("{name}: {}", listing(&found)));
        assert_eq!(listing(&topology.warnings), "", "{name}");
    }
}

#[test]
fn the_examples_for_demonstration_differ_in_the_places_only() {
    for pair in [
        ["two-containers", "two-namespaces"],
        ["two-hosts", "two-hosts-namespaces"],
    ] {
        let [containers, namespaces] = pair.map(|name| {
            let (name, text) = example(name);
            compile(&[parse(name, text).unwrap()]).unwrap()
        });
        for (name, port) in &containers.ports {
            let other = &namespaces.ports[name];
            assert_eq!((port.id, port.mac), (other.id, other.mac));
            assert_eq!(port.addresses, other.addresses);
        }
        for (name, workload) in &containers.workloads {
            let other = &namespaces.workloads[name];
            assert_eq!(workload.place, Place::Container(name.clone()));
            assert_eq!(other.place, Place::Netns(format!("demo-{name}")));
            assert_eq!(workload.host, other.host);
        }
    }
}

/// The keys of every map with fixed keys, by the schema of that map.
fn keys_by_schema(schema: &Value) -> Vec<(String, BTreeSet<String>)> {
    let mut found = Vec::new();
    let long = schema["anyOf"]
        .as_array()
        .and_then(|choices| choices.last())
        .unwrap_or(schema);
    if let Some(properties) = long["properties"].as_object() {
        assert_eq!(long["additionalProperties"], json!(false), "{long}");
        let title = schema["title"].as_str().unwrap_or("").to_owned();
        found.push((title, properties.keys().cloned().collect()));
        for (key, property) in properties {
            let description = property["description"].as_str().unwrap_or("");
            assert!(!description.is_empty(), "{key} is not described");
        }
    }
    if let Some(definitions) = schema["$defs"].as_object() {
        for (name, definition) in definitions {
            for (_, keys) in keys_by_schema(definition) {
                found.push((name.clone(), keys));
            }
        }
    }
    found
}

#[test]
fn the_schema_has_exactly_the_accepted_keys() {
    let expected = [
        ("bowline topology file", model::DOCUMENT_KEYS),
        ("Connections", model::CONNECTIONS_KEYS),
        ("DefaultActions", model::DEFAULT_ACTIONS_KEYS),
        ("Defaults", model::DEFAULTS_KEYS),
        ("Group", model::GROUP_KEYS),
        ("Host", model::HOST_KEYS),
        ("Nat", model::NAT_KEYS),
        ("Network", model::NETWORK_KEYS),
        ("Policy", model::POLICY_KEYS),
        ("Port", model::PORT_KEYS),
        ("Route", model::ROUTE_KEYS),
        ("Router", model::ROUTER_KEYS),
        ("RouterPort", model::ROUTER_PORT_KEYS),
        ("RouterRoute", model::ROUTER_ROUTE_KEYS),
        ("Rule", model::RULE_KEYS),
        ("Timeouts", model::TIMEOUTS_KEYS),
        ("TunnelPair", model::TUNNEL_KEYS),
        ("Uplink", model::UPLINK_KEYS),
        ("Vtep", model::VTEP_KEYS),
        ("VtepNetwork", model::VTEP_NETWORK_KEYS),
        ("Workload", model::WORKLOAD_KEYS),
    ];
    let expected = expected.map(|(name, keys)| {
        let keys: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        (name.to_owned(), keys)
    });
    assert_eq!(keys_by_schema(&schema()), expected);
}

#[test]
fn the_annotated_example_explains_every_key() {
    let (_, text) = example("annotated");
    for (of, keys) in keys_by_schema(&schema()) {
        for key in keys {
            let given = text.contains(&format!("{key}:"));
            assert!(given, "{key} of {of} is not in the annotated example");
        }
    }
}

/// Whether a value is right by a schema; knows what our schema uses of JSON Schema, and nothing else.
fn accepts(root: &Value, schema: &Value, value: &Value) -> bool {
    let Value::Object(rules) = schema else {
        return schema == &Value::Bool(true);
    };
    rules.iter().all(|(rule, said)| match rule.as_str() {
        "$ref" => {
            let pointer = said.as_str().unwrap().trim_start_matches('#');
            accepts(root, root.pointer(pointer).unwrap(), value)
        }
        "type" => match said.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            other => panic!("the schema has the type {other}"),
        },
        "anyOf" => {
            let choices = said.as_array().unwrap();
            choices.iter().any(|choice| accepts(root, choice, value))
        }
        "oneOf" => {
            let choices = said.as_array().unwrap().iter();
            choices
                .filter(|choice| accepts(root, choice, value))
                .count()
                == 1
        }
        "dependentRequired" => said.as_object().unwrap().iter().all(|(key, needed)| {
            let mut needed = needed.as_array().unwrap().iter();
            value.get(key).is_none() || needed.all(|key| value.get(key.as_str().unwrap()).is_some())
        }),
        "not" => !accepts(root, said, value),
        "const" => value == said,
        "enum" => said.as_array().unwrap().contains(value),
        "minItems" => value
            .as_array()
            .is_none_or(|items| items.len() as u64 >= said.as_u64().unwrap()),
        "maxItems" => value
            .as_array()
            .is_none_or(|items| items.len() as u64 <= said.as_u64().unwrap()),
        "minimum" => value.as_u64() >= said.as_u64(),
        "maximum" => value.as_u64() <= said.as_u64(),
        "required" => {
            let keys = said.as_array().unwrap();
            keys.iter()
                .all(|key| value.get(key.as_str().unwrap()).is_some())
        }
        "items" => value
            .as_array()
            .is_none_or(|items| items.iter().all(|item| accepts(root, said, item))),
        "properties" => said.as_object().unwrap().iter().all(|(key, property)| {
            value
                .get(key)
                .is_none_or(|value| accepts(root, property, value))
        }),
        "additionalProperties" => value.as_object().is_none_or(|map| {
            let others = map
                .iter()
                .filter(|(key, _)| rules.get("properties").is_none_or(|p| p.get(key).is_none()));
            others
                .into_iter()
                .all(|(_, value)| accepts(root, said, value))
        }),
        "$schema" | "$defs" | "title" | "description" | "format" | "pattern" | "propertyNames" => {
            true
        }
        other => panic!("the schema uses {other}, which this test does not know"),
    })
}

/// What may follow the first two lines of a file, and whether it is in order.
const CASES: &[(&str, bool)] = &[
        (
            "networks: { a: 10.1.0.0/24, b: [], c: { subnets: 10.1.0.0/24, ageing: 7 } }",
            true,
        ),
        (
            "workloads: { w: { ports: [a, { network: a, addresses: [] }] } }",
            true,
        ),
        (
            "workloads: { w: { container: c, host_network: false, ports: [] } }",
            true,
        ),
        (
            "workloads: { w: { container: c, host_network: true, ports: [] } }",
            false,
        ),
        ("defaults:\nnetworks:\nrouters:\nworkloads:", true),
        (
            "networks: { a: 10.1.0.0/24, b: 10.2.0.0/24, c: { subnets: 10.3.0.0/24, internal: true } }
routers:
  r: { ports: { a: 10.1.0.1, b: [10.2.0.1/24], c: { addresses: 10.3.0.1, mtu: 1400, mac: 02-00-00-00-00-01 } } }
  idle: { ports: }",
            true,
        ),
        (
            "networks: { a: 10.1.0.0/24 }
routers:
  r:
    ports: { a: 10.1.0.1, up: { peer: s/x, addresses: 192.0.2.1/30 } }
    routes: [{ to: default, via: up }, { to: 10.2.0.0/16, via: [up], metric: 7 }, { to: 10.3.0.0/16, via: reject }]
  s: { ports: { x: { peer: r, addresses: [192.0.2.2/30] } } }
workloads:
  v: { ports: [{ network: a, addresses: 10.1.0.2, gateway: false }] }
  w: { ports: [{ network: a, addresses: 10.1.0.3, gateway: r }] }
  x: { ports: [{ network: a, addresses: 10.1.0.4, gateway: [10.1.0.1] }] }",
            true,
        ),
        ("routers: { r: {} }", false),
        ("routers: { r: }", false),
        ("routers: { r: { ports: { a: } } }", false),
        ("routers: { r: { ports: { a: {} } } }", false),
        ("routers: { r: { ports: { a: { addresses: 7 } } } }", false),
        ("routers: { r: { ports: {}, routes: [{ to: default, via: [] }] } }", false),
        ("routers: { r: { ports: {}, routes: [{ to: default }] } }", false),
        ("routers: { r: { ports: {}, routes: [{ to: default, via: reject, metric: -1 }] } }", false),
        ("workloads: { w: { ports: [{ network: a, gateway: true }] } }", false),
        ("workloads: { w: { ports: [{ network: a, gateway: [] }] } }", false),
        ("networks: { a: { vni: 5 } }", false),
        ("networks: { a: { subnets: [], vni: 0 } }", false),
        ("networks: { a: { subnets: [], mtu: 65536 } }", false),
        (
            "networks: { a: { subnets: [], unknown_unicast: maybe } }",
            false,
        ),
        ("workloads: { w: { ports: [5] } }", false),
        ("workloads: { w: { ports: a } }", false),
        (
            "workloads: { w: { ports: [{ network: a, adresses: b }] } }",
            false,
        ),
        (
            "workloads: { w: { container: a, netns: b, ports: [] } }",
            false,
        ),
        ("workloads: { w: {} }", false),
        (
            "networks: { net: { subnets: 10.1.0.0/24, names: true, conditions: false } }
workloads: { v: { names: a, ports: [net] }, w: { names: [a, b.c], ports: [net] } }",
            true,
        ),
        ("workloads: { w: { names: { a: b }, ports: [] } }", false),
        ("networks: { net: { subnets: 10.1.0.0/24, conditions: maybe } }", false),
        ("hosts:\ntunnels:\nvteps:", true),
        (
            "defaults: { tunnel: gre, mtu: auto }
hosts: { a: 192.0.2.1, b: { address: 192.0.2.2, uplink: eth0, mtu: 9000, xdp: generic } }
tunnels: [{ between: [a, b], tunnel: geneve }]
networks: { net: { subnets: 10.1.0.0/24, mtu: auto } }
vteps:
  x: { address: 192.0.2.3, tunnel: vxlan, networks: { net: learn } }
  v: { address: 192.0.2.4, networks: { net: 02-00-00-00-00-01 } }
  z: { address: 192.0.2.5, networks: { net: { macs: [02-00-00-00-00-02], learn: false } } }
workloads: { w: { host: b, ports: [net] } }",
            true,
        ),
        ("defaults: { tunnel: vxlam }", false),
        ("defaults: { mtu: automatic }", false),
        ("hosts: { a: }", false),
        ("hosts: { a: [] }", false),
        ("hosts: { a: { uplink: eth0 } }", false),
        ("hosts: { a: { address: 192.0.2.1, mtu: auto } }", false),
        ("hosts: { a: { address: 192.0.2.1, xdp: on } }", false),
        ("hosts: { a: 192.0.2.1, b: 192.0.2.2 }\ntunnels: [{ between: [a, b] }]", false),
        ("hosts: { a: 192.0.2.1, b: 192.0.2.2 }\ntunnels: [{ between: [a], tunnel: gre }]", false),
        ("vteps: { x: 192.0.2.3 }", false),
        ("vteps: { x: { address: 192.0.2.3 } }", false),
        ("host: {}", false),
        ("groups:\nchains:\npolicies:", true),
        (
            "groups: { a:, b: {}, c: 10.1.0.1, d: [10.1.0.0/24], e: { addresses: 10.1.0.1 } }
chains: { c: [return, { from: [a, 10.1.0.1], allow: tcp/80 }, { to: any, deny: [udp/53, 47] }], d: }
policies:
  a: { ingress: [{ reject: 47 }, { return: any }], egress:, default: { ingress: deny, egress: allow } }
  b: { forward: [{ jump: c }, { jump: d, services: tcp }], default: reject }
networks: { net: { subnets: 10.1.0.0/24, policy: a } }
routers: { r: { ports: { net: 10.1.0.2 }, policy: b } }
workloads: { w: { ports: [{ network: net, groups: a }, { network: net, groups: [a, b] }] } }",
            true,
        ),
        ("chains: { c: { allow: tcp } }", false),
        ("chains: { c: [allow] }", false),
        ("chains: { c: [{}] }", false),
        ("chains: { c: [{ from: any }] }", false),
        ("chains: { c: [{ allow: any, deny: any }] }", false),
        ("chains: { c: [{ allow: any, services: tcp }] }", false),
        ("chains: { c: [{ allow: [] }] }", false),
        ("chains: { c: [{ from: [], allow: any }] }", false),
        ("chains: { c: [{ allow: { tcp: 80 } }] }", false),
        ("policies: { p: { ingress: [], default: drop } }", false),
        ("policies: { p: { ingress: [], default: { outwards: deny } } }", false),
        ("policies: { p: [] }", false),
        (
            "hosts: { alpha: 192.0.2.11, beta: 192.0.2.12 }
networks: { net: [10.1.0.0/24, 'fd00:1::/64'] }
routers:
  r: { ports: { net: [10.1.0.1, 'fd00:1::1'] }, uplink: true, nat: [{ masquerade: true }, { masquerade: [10.2.0.0/24] }] }
  s: { ports: { net: 10.1.0.2 }, uplink: { hosts: alpha }, nat: [{ snat: 10.1.0.0/24, to: 192.0.2.7-192.0.2.9 }, { floating: 192.0.2.4, to: 10.1.0.3 }] }
  t: { ports: { net: 10.1.0.4 }, uplink: false, nat: }
workloads: { w: { host: beta, ports: [{ network: net, addresses: 10.1.0.3, publish: [80, '81:81/udp'] }, { network: net, addresses: 10.1.0.5, publish: 82 }] } }",
            true,
        ),
        ("routers: { r: { ports: {}, uplink: maybe } }", false),
        ("routers: { r: { ports: {}, uplink: { hosts: [] } } }", false),
        ("routers: { r: { ports: {}, uplink: true, nat: [{}] } }", false),
        ("routers: { r: { ports: {}, uplink: true, nat: [{ snat: 10.1.0.0/24 }] } }", false),
        ("routers: { r: { ports: {}, uplink: true, nat: [{ masquerade: [10.1.0.0/24], to: 192.0.2.9 }] } }", false),
        ("workloads: { w: { ports: [{ network: a, publish: { 80: 80 } }] } }", false),
    ];

#[test]
fn the_schema_accepts_what_is_read_and_refuses_what_is_not() {
    let schema = schema();
    for (name, text) in EXAMPLES {
        assert!(accepts(&schema, &schema, &untyped(text)), "{name}");
    }
    for &(rest, good) in CASES {
        let text = format!("version: 1\nname: test\n{rest}\n");
        assert_eq!(accepts(&schema, &schema, &untyped(&text)), good, "{rest}");
        let read = parse("test.yaml", &text).map(|document| compile(&[document]));
        // The schema knows no names: that a network is there is beyond it.
        let fine = matches!(&read, Ok(Ok(_))) || rest.contains("ports: [a, {");
        assert_eq!(fine, good, "{rest}: {read:?}");
    }
}
