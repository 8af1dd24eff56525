//! What holds for every topology: generated files, valid and wild ones.

use std::collections::BTreeMap;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::*;
use crate::document::{Destination, Document, Located, draft, parse};
use crate::problem::listing::listing;

/// Writes a value as YAML in flow style, with the entries of its maps in order or reversed.
fn emit(value: &Value, reversed: bool) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key:?}: {}", emit(value, reversed)))
                .collect();
            if reversed {
                entries.reverse();
            }
            format!("{{{}}}", entries.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| emit(item, reversed)).collect();
            format!("[{}]", items.join(", "))
        }
        scalar => scalar.to_string(),
    }
}

fn read(value: &Value, reversed: bool) -> Document {
    let text = emit(value, reversed);
    parse("test.yaml", &text).unwrap_or_else(|problems| panic!("{text}\n{}", listing(&problems)))
}

fn compiled(value: &Value, reversed: bool) -> Topology {
    compile(&[read(value, reversed)])
        .unwrap_or_else(|problems| panic!("{value}\n{}", listing(&problems)))
}

/// Everything a topology says but for the places in the file.
fn facts(topology: &Topology) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    for (name, n) in &topology.networks {
        let said = (n.vni, &n.subnets, n.mtu, n.unknown_unicast, n.ageing);
        facts.insert(format!("network {name}"), format!("{said:?}"));
    }
    for (name, workload) in &topology.workloads {
        facts.insert(format!("workload {name}"), workload.place.to_string());
    }
    for (name, p) in &topology.ports {
        let values = (p.id, &p.network, p.mac, &p.addresses, &p.routes, p.mtu);
        let said = (values, p.learning, p.spoofing);
        facts.insert(format!("port {name}"), format!("{said:?}"));
    }
    facts.insert("events".to_owned(), topology.drop_events.to_string());
    facts
}

/// A document as the value that it was read from, in long form.
fn written(document: &Document) -> Value {
    let networks = document.networks.iter().map(|(name, network)| {
        let subnets: Vec<String> = network
            .subnets
            .iter()
            .map(|s| s.value.to_string())
            .collect();
        let mut value = json!({ "subnets": subnets });
        put(&mut value, "vni", network.vni.as_ref(), |vni| json!(vni));
        put(&mut value, "mtu", network.mtu.as_ref(), |mtu| json!(mtu));
        put(&mut value, "ageing", network.ageing.as_ref(), |age| {
            json!(age.as_secs())
        });
        (name.clone(), value)
    });
    let workloads = document.workloads.iter().map(|(name, workload)| {
        let ports: Vec<Value> = workload.ports.iter().map(written_port).collect();
        let mut value = json!({ "ports": ports });
        put(
            &mut value,
            "container",
            workload.container.as_ref(),
            |name| json!(name),
        );
        put(&mut value, "netns", workload.netns.as_ref(), |name| {
            json!(name)
        });
        put(&mut value, "pid", workload.pid.as_ref(), |pid| json!(pid));
        (name.clone(), value)
    });
    let networks: serde_json::Map<String, Value> = networks.collect();
    let workloads: serde_json::Map<String, Value> = workloads.collect();
    json!({
        "version": document.version,
        "name": document.name.value,
        "networks": networks,
        "workloads": workloads,
    })
}

fn written_port(port: &crate::document::Port) -> Value {
    let addresses: Vec<String> = port.addresses.iter().map(|a| a.ip.to_string()).collect();
    let routes: Vec<Value> = port
        .routes
        .iter()
        .map(|route| {
            let to = match route.to.value {
                Destination::Default => "default".to_owned(),
                Destination::Prefix(to) => to.to_string(),
            };
            json!({ "to": to, "via": route.via.value.to_string() })
        })
        .collect();
    let mut value = json!({ "network": port.network.value });
    if !addresses.is_empty() {
        value["addresses"] = json!(addresses);
    }
    if !routes.is_empty() {
        value["routes"] = json!(routes);
    }
    put(&mut value, "interface", port.interface.as_ref(), |name| {
        json!(name)
    });
    put(&mut value, "mac", port.mac.as_ref(), |mac| {
        json!(mac.to_string())
    });
    put(&mut value, "mtu", port.mtu.as_ref(), |mtu| json!(mtu));
    put(&mut value, "learning", port.learning.as_ref(), |on| {
        json!(on)
    });
    value
}

fn put<T>(to: &mut Value, key: &str, from: Option<&Located<T>>, write: impl FnOnce(&T) -> Value) {
    if let Some(from) = from {
        to[key] = write(&from.value);
    }
}

/// What a generated port has: the network, how many of its features are given.
type PortSeed = (Index, u8, Option<u16>);

/// A valid file in long form.
fn valid() -> impl Strategy<Value = Value> {
    let network = (any::<bool>(), proptest::option::of(1280..=9000_u32));
    let workload = vec(
        (
            any::<Index>(),
            any::<u8>(),
            proptest::option::of(1280..=1300_u16),
        ),
        0..4,
    );
    let names = btree_set("[a-z][a-z0-9_.-]{0,6}", 1..5);
    (
        names,
        vec(network, 5),
        btree_set("[A-Za-z0-9][a-z0-9-]{0,6}", 0..6),
        vec(workload, 6),
    )
        .prop_map(|(names, networks, workloads, ports)| {
            let names: Vec<String> = names.into_iter().collect();
            let mut file = json!({ "version": 1, "name": "gen", "networks": {}, "workloads": {} });
            for (i, (name, (ipv6, mtu))) in names.iter().zip(networks).enumerate() {
                let mut subnets = vec![format!("10.{i}.0.0/16")];
                subnets.extend(ipv6.then(|| format!("fd00:{:x}::/64", i + 1)));
                let mut network = json!({ "subnets": subnets });
                if let Some(mtu) = mtu {
                    network["mtu"] = json!(mtu);
                    network["ageing"] = json!(mtu);
                }
                file["networks"][name] = network;
            }
            let mut host = 0;
            for (workload, seeds) in workloads.into_iter().zip(ports) {
                let ports = seeds.iter().enumerate();
                let ports: Vec<Value> = ports
                    .map(|(i, seed)| valid_port(i, seed, &names, &mut host))
                    .collect();
                file["workloads"][workload] = json!({ "ports": ports });
            }
            file
        })
}

fn valid_port(position: usize, seed: &PortSeed, names: &[String], host: &mut u8) -> Value {
    let (index, features, mtu) = seed;
    let network = index.index(names.len());
    *host += 1;
    let mut port = json!({ "network": names[network] });
    if features & 1 != 0 {
        port["addresses"] = json!([format!("10.{network}.1.{host}")]);
    }
    if features & 3 == 3 && position == 0 {
        port["routes"] = json!([{ "to": "default", "via": format!("10.{network}.0.1") }]);
    }
    if features & 4 != 0 {
        port["mac"] = json!(format!("02:00:00:00:00:{host:02x}"));
    }
    if features & 8 != 0 {
        port["interface"] = json!(format!("net{position}"));
    }
    if features & 16 != 0 {
        port["learning"] = json!(true);
    }
    if let Some(mtu) = mtu {
        port["mtu"] = json!(mtu.min(&1280));
    }
    port
}

/// The same file with short forms where there is nothing to say.
fn shortened(mut file: Value) -> Value {
    for network in file["networks"].as_object_mut().unwrap().values_mut() {
        if network.as_object().unwrap().len() == 1 {
            let mut subnets = network["subnets"].take();
            let alone = subnets.as_array().unwrap().len() == 1;
            *network = if alone { subnets[0].take() } else { subnets };
        }
    }
    for workload in file["workloads"].as_object_mut().unwrap().values_mut() {
        for port in workload["ports"].as_array_mut().unwrap() {
            if port.as_object().unwrap().len() == 1 {
                *port = port["network"].take();
            } else if port["addresses"].is_array() {
                port["addresses"] = port["addresses"][0].take();
            }
        }
    }
    file
}

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
        "\u{0}",
        "é\u{301}",
        "\u{202e}x",
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
    "front",
    "back",
    "web",
];

/// A file with the right keys, mostly, and any values.
fn wild() -> impl Strategy<Value = Value> {
    let tree = scalar().prop_recursive(4, 64, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec((select(KEYS), inner), 0..6).prop_map(object),
        ]
    });
    let port = vec(
        (
            select(vec!["addresses", "interface", "mac", "mtu", "routes"]),
            tree.clone(),
        ),
        0..4,
    );
    let workload = (select(vec!["front", "back", "gone"]), port, tree.clone());
    let network = prop_oneof![
        vec((select(vec!["vni", "mtu", "ageing"]), tree.clone()), 0..3),
        Just(Vec::new())
    ];
    (vec(network, 2), vec(workload, 0..4), tree, any::<bool>()).prop_map(
        |(networks, workloads, tree, structured)| {
            if !structured {
                return tree;
            }
            let mut file = json!({ "version": 1, "name": "wild", "networks": {}, "workloads": {} });
            for (name, entries) in ["front", "back"].into_iter().zip(networks) {
                let mut network = object(entries);
                network["subnets"] = json!(["10.1.0.0/24", "fd00::/64"]);
                file["networks"][name] = network;
            }
            for (i, (network, entries, place)) in workloads.into_iter().enumerate() {
                let mut port = object(entries);
                port["network"] = json!(network);
                file["workloads"][format!("w{i}")] =
                    json!({ "ports": [port, network], "pid": place });
            }
            file
        },
    )
}

fn object(entries: Vec<(&'static str, Value)>) -> Value {
    let entries = entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    Value::Object(entries.collect())
}

/// Checks what holds for the problems of any text, and that there is a result at all.
fn examine(text: &str) {
    let both = [draft("a.yaml", text), draft("b.yaml", text)];
    let sure = both.iter().all(|draft| draft.problems.is_empty());
    if sure {
        let documents: Vec<Document> = both.iter().map(|draft| draft.document.clone()).collect();
        let _ = compile(&documents);
    }
    let [alone, _] = both;
    let well_formed = alone.problems.is_empty();
    let Err(problems) = compile_drafts([alone]) else {
        assert!(well_formed);
        return;
    };
    assert!(!problems.is_empty());
    for problem in &problems {
        let first = problem.message.chars().next();
        assert!(
            first.is_some_and(|first| !first.is_ascii_uppercase()),
            "{problem}"
        );
        assert!(!problem.message.ends_with('.'), "{problem}");
        assert!(!problem.labels.is_empty(), "{problem}");
        for label in &problem.labels {
            let origin = &label.origin;
            let end = origin.offset + origin.len;
            assert!(
                origin.file.text.get(origin.offset..end).is_some(),
                "{problem}"
            );
            let before = &origin.file.text[..origin.offset];
            let line = before.replace("\r\n", "\n").split(['\n', '\r']).count();
            assert_eq!(origin.line as usize, line, "{problem}");
        }
    }
}

proptest! {
    #[test]
    fn a_valid_file_compiles_and_reads_back(file in valid()) {
        prop_assert_eq!(&written(&read(&file, false)), &file);
        prop_assert_eq!(&written(&read(&shortened(file.clone()), false)), &file);
        let topology = compiled(&file, false);
        prop_assert_eq!(facts(&compiled(&shortened(file), false)), facts(&topology));
    }

    #[test]
    fn the_order_of_maps_does_not_matter(file in valid()) {
        let once = compiled(&file, false);
        prop_assert_eq!(&compiled(&file, false), &once);
        prop_assert_eq!(facts(&compiled(&file, true)), facts(&once));
    }

    /// Unless two names have the same hash, which among these few is not to be expected.
    #[test]
    fn an_addition_leaves_everything_else_as_it_was(file in valid(), name in "[A-Z]{1,8}") {
        let before = facts(&compiled(&file, false));
        let mut more = file;
        more["networks"][&name] = json!({ "subnets": ["10.99.0.0/16"] });
        let port = json!({ "network": name, "addresses": ["10.99.0.1"] });
        more["workloads"][&format!("{name}_")] = json!({ "ports": [port] });
        let after = facts(&compiled(&more, false));
        for (object, said) in before {
            prop_assert_eq!(after.get(&object), Some(&said), "{}", object);
        }
    }

    #[test]
    fn identities_are_unique_and_valid(file in valid()) {
        let topology = compiled(&file, false);
        let mut ids = std::collections::BTreeSet::from([PortId::NONE]);
        let mut macs = std::collections::BTreeSet::new();
        for port in topology.ports.values() {
            prop_assert!(ids.insert(port.id));
            prop_assert!(macs.insert((&port.network, port.mac)));
            prop_assert!(!port.mac.is_group());
            prop_assert!(topology.networks[&port.network].mtu >= port.mtu);
        }
        let vnis: std::collections::BTreeSet<_> =
            topology.networks.values().map(|network| network.vni).collect();
        prop_assert_eq!(vnis.len(), topology.networks.len());
    }

    #[test]
    fn a_wild_file_is_judged(file in wild(), reversed: bool) {
        examine(&emit(&file, reversed));
    }

    #[test]
    fn any_text_is_judged(text in "[-a-z0-9:{}\\[\\],&*!|>'\"%@`#?~ \t\r\né\u{feff}\u{85}\u{2028}]{0,80}") {
        examine(&text);
    }

    #[test]
    fn a_damaged_file_is_judged(at: Index, cut in 0..40_usize, text in "[ -~\n\té]{0,6}") {
        let whole = include_str!("../../../examples/annotated.yaml");
        let start = at.index(whole.len());
        let end = (start + cut).min(whole.len());
        let (Some(before), Some(after)) = (whole.get(..start), whole.get(end..)) else {
            return Ok(());
        };
        examine(&format!("{before}{text}{after}"));
    }
}
