//! Groups, chains and policies of valid files, and what holds for all of them.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::compiled;
use super::file::valid;
use crate::topology::{Direction, Party, Rule, Services, Topology, Verb};

/// The groups of ports, which are declared in every file that has rules.
pub(super) const GROUPS: [&str; 3] = ["g0", "g1", "g2"];
const SERVICES: [&str; 8] = [
    "tcp/80",
    "udp/53-60",
    "icmp/8",
    "icmp/3/4",
    "icmpv6/128",
    "gre",
    "200",
    "sctp",
];

/// What a rule does and whom it is about.
pub(super) type RuleSeed = (u8, u8, u8);

/// Adds groups, chains and policies; each list takes some of the rules. Chains jump to those before
/// them.
pub(super) fn add(file: &mut Value, seeds: &[RuleSeed]) {
    if seeds.is_empty() {
        return;
    }
    file["groups"] = json!({
        "g0": { "addresses": [] },
        "g1": { "addresses": ["192.0.2.7", "2001:db8::/32"] },
        "g2": { "addresses": ["198.51.100.0/24"] },
    });
    let mut chains = serde_json::Map::new();
    for (i, rules) in seeds.chunks(2).enumerate() {
        let rules = rules.iter().map(|seed| rule(*seed, i));
        chains.insert(format!("c{i}"), rules.collect());
    }
    let all = chains.len();
    file["chains"] = Value::Object(chains);
    let list = |skipped: usize| {
        let rules = seeds.iter().skip(skipped).map(|seed| rule(*seed, all));
        Value::Array(rules.collect())
    };
    file["policies"] = json!({
        "g0": { "ingress": list(0), "default": "allow" },
        "g1": { "ingress": list(1), "egress": list(2), "default": { "egress": "reject" } },
        "both": { "ingress": list(3), "forward": list(4), "default": "deny" },
    });
    for kind in ["networks", "routers"] {
        let objects = file[kind].as_object_mut().unwrap().values_mut();
        for object in objects.skip(1).step_by(2) {
            object["policy"] = json!("both");
        }
    }
}

/// A rule in long form, which jumps to a chain before the one that it is in.
fn rule((verb, who, what): RuleSeed, chain: usize) -> Value {
    let mut rule = json!({});
    for (key, bits) in [("from", who & 15), ("to", who >> 4)] {
        let parties = match bits {
            0..4 => continue,
            4..8 => json!(["g1"]),
            8..12 => json!(["10.1.0.0/16", "g0", "fd00:1::7"]),
            _ => json!(["g2", "2001:db8::/32"]),
        };
        rule[key] = parties;
    }
    let first = usize::from(what) % SERVICES.len();
    let services = match what >> 6 {
        0 => json!(["any"]),
        1 => json!([SERVICES[first]]),
        _ => json!([SERVICES[first], SERVICES[(first + 1) % SERVICES.len()]]),
    };
    let verbs = ["allow", "deny", "reject", "return", "jump"];
    match verbs[usize::from(verb) % verbs.len()] {
        "jump" if chain > 0 => {
            rule["jump"] = json!(format!("c{}", usize::from(verb) % chain));
            if services != json!(["any"]) {
                rule["services"] = services;
            }
        }
        "jump" => rule["allow"] = services,
        verb => rule[verb] = services,
    }
    rule
}

/// The same section with short forms where there is nothing to say.
pub(super) fn shorten(file: &mut Value) {
    let groups = file["groups"].as_object_mut().unwrap();
    if groups.is_empty() {
        return;
    }
    for group in groups.values_mut() {
        *group = group["addresses"].take();
    }
    file["groups"]["g0"] = Value::Null;
    let [mut chains, mut policies] = ["chains", "policies"].map(|key| file[key].take());
    let mut lists: Vec<&mut Value> = chains.as_object_mut().unwrap().values_mut().collect();
    for policy in policies.as_object_mut().unwrap().values_mut() {
        let parts = policy.as_object_mut().unwrap().values_mut();
        lists.extend(parts.filter(|part| part.is_array()));
    }
    for rule in lists
        .into_iter()
        .flat_map(|list| list.as_array_mut().unwrap())
    {
        if *rule == json!({ "return": ["any"] }) {
            *rule = json!("return");
            continue;
        }
        for part in rule.as_object_mut().unwrap().values_mut() {
            if part.as_array().is_some_and(|items| items.len() == 1) {
                *part = part[0].take();
            }
        }
    }
    file["chains"] = chains;
    file["policies"] = policies;
}

/// The rules of every list.
fn lists(topology: &Topology) -> Vec<&[Rule]> {
    let chains = topology.chains.values().map(|chain| chain.rules.as_slice());
    let policies = topology.policies.values().flat_map(|policy| {
        let lists = Direction::ALL.into_iter();
        lists.filter_map(|direction| Some(policy.list(direction)?.rules.as_slice()))
    });
    chains.chain(policies).collect()
}

proptest! {
    #[test]
    fn every_rule_names_what_is_there(file in valid()) {
        let topology = compiled(&file, false);
        for rule in lists(&topology).into_iter().flatten() {
            for party in [&rule.source, &rule.destination] {
                if let Party::Of { groups, prefixes } = party {
                    prop_assert!(!groups.is_empty() || !prefixes.is_empty());
                    prop_assert!(groups.iter().all(|group| topology.groups.contains_key(group)));
                    prop_assert!(prefixes.iter().all(|prefix| *prefix == prefix.trunc()));
                }
            }
            if let Services::Of(services) = &rule.services {
                prop_assert!(!services.is_empty());
            }
        }
        for port in topology.ports.values() {
            let distinct: BTreeSet<&String> = port.groups.iter().collect();
            prop_assert_eq!(distinct.len(), port.groups.len());
            prop_assert!(port.groups.iter().all(|group| topology.groups.contains_key(group)));
        }
    }

    #[test]
    fn no_chain_leads_back_to_itself(file in valid()) {
        let topology = compiled(&file, false);
        let mut left: BTreeSet<&String> = topology.chains.keys().collect();
        while !left.is_empty() {
            let before = left.len();
            for (name, chain) in &topology.chains {
                let jumps = chain.rules.iter().filter_map(|rule| match &rule.verb {
                    Verb::Jump(chain) => Some(chain),
                    _ => None,
                });
                let mut jumps = jumps.inspect(|chain| assert!(topology.chains.contains_key(*chain)));
                if !jumps.any(|chain| left.contains(chain)) {
                    left.remove(name);
                }
            }
            prop_assert!(left.len() < before);
        }
    }
}
