//! What holds for every topology: generated files, valid and wild ones.

mod file;
mod looped;
mod policy;
mod router;
mod wild;
mod written;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use self::file::{shortened, valid};
use self::wild::wild;
use self::written::written;
use super::*;
use crate::document::{Document, draft, parse};
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
        let packets = (n.mtu, n.mss, n.unknown_unicast);
        let said = (n.vni, &n.subnets, packets, n.ageing, &n.policy);
        facts.insert(format!("network {name}"), format!("{said:?}"));
    }
    for (name, workload) in &topology.workloads {
        facts.insert(format!("workload {name}"), workload.place.to_string());
    }
    for (name, p) in &topology.ports {
        let values = (p.id, &p.network, p.mac, &p.addresses, &p.routes, p.mtu);
        let publish = p
            .publish
            .iter()
            .map(|it| (&it.hosts, it.protocol, it.host_ports, it.ports));
        let publish: Vec<_> = publish.collect();
        let said = (values, p.learning, p.spoofing, &p.groups, publish);
        facts.insert(format!("port {name}"), format!("{said:?}"));
    }
    for (name, router) in &topology.routers {
        let ports = router.ports.iter().map(|(name, p)| {
            let values = (p.id, &p.network, p.mac, &p.addresses, p.mtu);
            format!("{name} {values:?}")
        });
        let ports: Vec<String> = ports.collect();
        let routes = router.routes.iter().map(|r| (r.to, r.metric, &r.target));
        let routes: Vec<_> = routes.collect();
        facts.insert(
            format!("router {name}"),
            format!("{:?} {ports:?} {routes:?} {:?}", router.id, router.policy),
        );
        let nat = router.nat.iter().map(|nat| &nat.translation);
        let uplink = router.uplink.as_ref().map(|uplink| &uplink.hosts);
        facts.insert(
            format!("uplink of {name}"),
            format!("{uplink:?} {:?}", nat.collect::<Vec<_>>()),
        );
    }
    for (name, group) in &topology.groups {
        facts.insert(format!("group {name}"), format!("{:?}", group.prefixes));
    }
    for (name, chain) in &topology.chains {
        facts.insert(format!("chain {name}"), told(&chain.rules));
    }
    for (name, policy) in &topology.policies {
        let lists = Direction::ALL.map(|direction| {
            let list = policy.list(direction)?;
            Some((told(&list.rules), list.default))
        });
        facts.insert(format!("policy {name}"), format!("{lists:?}"));
    }
    let warnings: BTreeSet<&str> = topology
        .warnings
        .iter()
        .map(|warning| warning.message.as_str())
        .collect();
    facts.insert("warnings".to_owned(), format!("{warnings:?}"));
    facts.insert(
        "events".to_owned(),
        topology.settings.drop_events.to_string(),
    );
    facts
}

/// Rules without their places in the file.
fn told(rules: &[Rule]) -> String {
    let rules = rules.iter();
    let rules = rules.map(|it| (&it.source, &it.destination, &it.services, &it.verb));
    format!("{:?}", rules.collect::<Vec<_>>())
}

/// The ids of everything.
fn ids(topology: &Topology) -> BTreeMap<String, u32> {
    let networks = topology.networks.iter();
    let mut ids: BTreeMap<String, u32> = networks
        .map(|(name, network)| (format!("network {name}"), network.vni.number()))
        .collect();
    for (name, port) in &topology.ports {
        ids.insert(format!("port {name}"), port.id.0);
    }
    for (name, router) in &topology.routers {
        ids.insert(format!("router {name}"), router.id.0);
        for (port, own) in &router.ports {
            ids.insert(format!("port {name}/{port}"), own.id.0);
        }
    }
    ids
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
    fn routers_that_are_added_leave_all_ids_as_they_were(file in valid()) {
        let before = ids(&compiled(&file, false));
        let mut more = file;
        let networks = more["networks"].as_object().unwrap().keys().enumerate();
        let ports = networks.map(|(i, name)| (name.clone(), json!({ "addresses": [format!("10.{i}.9.9")] })));
        let mut ports: serde_json::Map<String, Value> = ports.collect();
        ports.insert("Link".to_owned(), json!({ "peer": "B_", "addresses": ["198.51.100.1/30"] }));
        more["routers"]["A_"] = json!({ "ports": ports });
        let port = json!({ "peer": "A_", "addresses": ["198.51.100.2/30"] });
        more["routers"]["B_"] = json!({ "ports": { "Link": port } });
        let after = ids(&compiled(&more, false));
        for (object, id) in before {
            prop_assert_eq!(after.get(&object), Some(&id), "{}", object);
        }
    }

    #[test]
    fn identities_are_unique_and_valid(file in valid()) {
        let topology = compiled(&file, false);
        let mut ids = BTreeSet::from([PortId::NONE]);
        let mut macs = BTreeSet::new();
        for port in topology.ports.values() {
            prop_assert!(ids.insert(port.id));
            prop_assert!(macs.insert((&port.network, port.mac)));
            prop_assert!(!port.mac.is_group());
            let network = topology.networks[&port.network].mtu;
            prop_assert_eq!(port.mtu.within(network, 1), port.mtu.bytes(1));
        }
        let mut routers = BTreeSet::from([RouterId::NONE]);
        for router in topology.routers.values() {
            prop_assert!(routers.insert(router.id));
            for port in router.ports.values() {
                prop_assert!(ids.insert(port.id));
                prop_assert!(macs.insert((&port.network, port.mac)));
                prop_assert!(!port.addresses.is_empty());
                let network = topology.networks[&port.network].mtu;
            prop_assert_eq!(port.mtu.within(network, 1), port.mtu.bytes(1));
            }
        }
        let vnis: BTreeSet<_> =
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
        let whole = include_str!("../../../../examples/annotated.yaml");
        let start = at.index(whole.len());
        let end = (start + cut).min(whole.len());
        let (Some(before), Some(after)) = (whole.get(..start), whole.get(end..)) else {
            return Ok(());
        };
        examine(&format!("{before}{text}{after}"));
    }
}
