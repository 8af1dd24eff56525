//! Files that are right in some places and wrong in most.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// Values that are right in some place and wrong in most.
fn scalar() -> impl Strategy<Value = Value> {
    let texts = [
        "front",
        "back",
        "web",
        "",
        "eth0",
        "lo",
        "10.1.0.0/24",
        "10.1.0.5",
        "10.1.0.0",
        "10.1.0.255/24",
        "0.0.0.0/0",
        "::/0",
        "fd00::/64",
        "fd00::5",
        "fd00::/128",
        "::ffff:10.1.0.1",
        "255.255.255.255/32",
        "fe80::1",
        "ff02::1",
        "default",
        "02:00:00:00:00:01",
        "ff:ff:ff:ff:ff:ff",
        "5m",
        "flood",
        "allow",
        "core",
        "edge",
        "edge/up",
        "up",
        "blackhole",
        "reject",
        "192.0.2.1/30",
        "fd00::5/64",
        "10.1.0.6",
        "\u{0}",
        "é\u{301}",
        "\u{202e}x",
        "any",
        "return",
        "tcp/80",
        "udp/60-53",
        "icmp/echo-request",
        "47",
        "c1",
        "10.1.0.7/24",
        "uplink",
        "80:80",
        "0.0.0.0:80-90:80-90/udp",
        "192.0.2.9-192.0.2.60",
    ];
    prop_oneof![
        4 => select(texts.to_vec()).prop_map(|text| json!(text)),
        2 => select(vec![0_u64, 1, 7, 68, 1280, 1500, 65_536, u64::MAX]).prop_map(|n| json!(n)),
        1 => any::<bool>().prop_map(|on| json!(on)),
        1 => Just(Value::Null),
        1 => Just(json!(-1.5)),
    ]
}

/// Every key, and some names.
const KEYS: &[&str] = &[
    "version",
    "name",
    "defaults",
    "networks",
    "workloads",
    "subnets",
    "vni",
    "mtu",
    "mss",
    "unknown_unicast",
    "ageing",
    "container",
    "netns",
    "pid",
    "ports",
    "network",
    "addresses",
    "interface",
    "mac",
    "routes",
    "to",
    "via",
    "learning",
    "spoofing",
    "internal",
    "docker",
    "routers",
    "peer",
    "metric",
    "gateway",
    "front",
    "back",
    "web",
    "core",
    "edge",
    "up",
    "groups",
    "chains",
    "policies",
    "policy",
    "ingress",
    "egress",
    "forward",
    "default",
    "from",
    "allow",
    "deny",
    "return",
    "jump",
    "services",
    "uplink",
    "nat",
    "masquerade",
    "snat",
    "floating",
    "publish",
    "hosts",
];

/// A file with the right keys, mostly, and any values.
pub(super) fn wild() -> impl Strategy<Value = Value> {
    let tree = scalar().prop_recursive(4, 64, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec((select(KEYS), inner), 0..6).prop_map(object),
        ]
    });
    let port = vec(
        (
            select(vec![
                "addresses",
                "interface",
                "mac",
                "mtu",
                "routes",
                "gateway",
                "groups",
                "publish",
            ]),
            tree.clone(),
        ),
        0..4,
    );
    let routers = vec(
        (
            vec(wild_port(tree.clone().boxed()), 3),
            vec(wild_route(tree.clone().boxed()), 0..4),
            vec(wild_nat(), 0..3),
        ),
        2,
    );
    let workload = (select(vec!["front", "back", "gone"]), port, tree.clone());
    let network = prop_oneof![
        vec(
            (
                select(vec!["vni", "mtu", "mss", "ageing", "policy"]),
                tree.clone()
            ),
            0..3
        ),
        Just(Vec::new())
    ];
    let rules = vec(vec(wild_rule(tree.clone().boxed()), 0..4), 6);
    let group = prop_oneof![scalar(), vec(scalar(), 0..3).prop_map(Value::Array)];
    let parts = (
        vec(network, 2),
        routers,
        vec(workload, 0..4),
        rules,
        vec(group, 2),
    );
    (parts, tree, any::<bool>()).prop_map(|(parts, tree, structured)| {
        let (networks, routers, workloads, rules, groups) = parts;
        if !structured {
            return tree;
        }
        let mut file =
            json!({ "version": 1, "name": "wild", "networks": {}, "routers": {}, "workloads": {} });
        for (name, entries) in ["front", "back"].into_iter().zip(networks) {
            let mut network = object(entries);
            network["subnets"] = json!(["10.1.0.0/24", "fd00::/64"]);
            file["networks"][name] = network;
        }
        for (name, (ports, routes, nat)) in ["core", "edge"].into_iter().zip(routers) {
            let ports = ["front", "back", "up"].into_iter().zip(ports);
            file["routers"][name] =
                json!({ "ports": object(ports), "routes": routes, "uplink": true, "nat": nat });
        }
        for (i, (network, entries, place)) in workloads.into_iter().enumerate() {
            let mut port = object(entries);
            port["network"] = json!(network);
            file["workloads"][format!("w{i}")] = json!({ "ports": [port, network], "pid": place });
        }
        let mut lists = rules.into_iter();
        for name in ["c1", "web", "up"] {
            file["chains"][name] = json!(lists.next());
        }
        let [ingress, egress, forward] = [lists.next(), lists.next(), lists.next()];
        file["policies"]["web"] = json!({ "ingress": ingress, "egress": egress });
        file["policies"]["front"] = json!({ "forward": forward });
        for (name, group) in ["web", "back"].into_iter().zip(groups) {
            file["groups"][name] = group;
        }
        file
    })
}

fn object(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let entries = entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    Value::Object(entries.collect())
}

/// A router's port that is mostly in order.
fn wild_port(tree: BoxedStrategy<Value>) -> impl Strategy<Value = Value> {
    let addresses = prop_oneof![
        3 => select(vec!["10.1.0.1", "10.1.0.5/24", "fd00::5", "192.0.2.1/30", "192.0.2.2/30"])
            .prop_map(|text| json!(text)),
        1 => tree,
    ];
    let keys = select(vec!["peer", "mac", "mtu"]);
    (addresses, vec((keys, scalar()), 0..2)).prop_map(|(addresses, entries)| {
        let mut port = object(entries);
        port["addresses"] = addresses;
        port
    })
}

/// A router's route that is mostly in order.
fn wild_route(tree: BoxedStrategy<Value>) -> impl Strategy<Value = Value> {
    let to = select(vec!["default", "10.9.0.0/16", "0.0.0.0/0", "fd00:9::/48"]);
    let via =
        prop_oneof![3 => scalar(), 1 => vec(scalar(), 0..4).prop_map(Value::Array), 1 => tree];
    (to, via, proptest::option::of(scalar())).prop_map(|(to, via, metric)| {
        let mut route = json!({ "to": to, "via": via });
        if let Some(metric) = metric {
            route["metric"] = metric;
        }
        route
    })
}

/// A rule that is mostly in order.
fn wild_rule(tree: BoxedStrategy<Value>) -> impl Strategy<Value = Value> {
    let party = select(vec![
        "web",
        "back",
        "gone",
        "any",
        "10.1.0.0/24",
        "10.1.0.7/24",
        "fd00::/64",
    ]);
    let said = prop_oneof![
        4 => select(vec!["any", "tcp", "tcp/80-90", "icmp", "c1", "web", "up"]).prop_map(|it| json!(it)),
        1 => scalar(),
        1 => tree,
    ];
    let verb = select(vec![
        "allow", "deny", "reject", "return", "jump", "jump", "services",
    ]);
    let keys = select(vec!["from", "to"]);
    (vec((keys, party), 0..2), vec((verb, said), 0..3)).prop_map(|(parties, verbs)| {
        let parties = parties.into_iter().map(|(key, party)| (key, json!(party)));
        object(parties.chain(verbs))
    })
}

/// A translation that is mostly in order.
fn wild_nat() -> impl Strategy<Value = Value> {
    let key = select(vec!["masquerade", "snat", "floating"]);
    let address = || {
        let texts = [
            "10.1.0.0/24",
            "10.1.0.5",
            "fd00::/64",
            "192.0.2.9-192.0.2.60",
            "192.0.2.9",
        ];
        prop_oneof![4 => select(texts.to_vec()).prop_map(|it| json!(it)), 1 => scalar()]
    };
    (key, address(), proptest::option::of(address())).prop_map(|(key, said, to)| {
        let to = to.map(|to| ("to", to));
        object([(key, said)].into_iter().chain(to))
    })
}
