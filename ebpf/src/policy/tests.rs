use std::collections::{BTreeMap, BTreeSet};

use maps_schema::map::{Class, Policy};

use super::*;
use crate::memory::{MemoryFrame, MemoryTables};

const LIST: PolicyList = PolicyList(7);
const PART: u32 = 3;
const WEB: GroupId = GroupId(11);
const OFFICE: GroupId = GroupId(12);
const TCP: u8 = 6;

fn ip(text: &str) -> Ip {
    Ip::from(text.parse::<std::net::IpAddr>().unwrap())
}

/// A list whose rules are given by which values of each property they match.
#[derive(Default)]
struct Sketch {
    rules: Vec<Rule>,
    vectors: BTreeMap<(u32, u32), BTreeSet<u32>>,
}

impl Sketch {
    /// Adds a rule that matches these classes, and whatever is left out.
    fn rule(mut self, action: u32, target: u32, limits: &[(u32, u32)]) -> Self {
        let idx = self.rules.len() as u32;
        let id = RuleId(100 + idx);
        self.rules.push(Rule { action, id, target });
        for &(property, class) in limits {
            self.vectors
                .entry((property, class))
                .or_default()
                .insert(idx);
        }
        for property in [
            MatchKey::SOURCE_PREFIX,
            MatchKey::DESTINATION_PREFIX,
            MatchKey::SERVICE,
        ] {
            let group = match property {
                MatchKey::SOURCE_PREFIX => MatchKey::SOURCE_GROUP,
                _ => MatchKey::DESTINATION_GROUP,
            };
            let is_limited = limits.iter().any(|&(limited, _)| {
                limited == property || property != MatchKey::SERVICE && limited == group
            });
            if !is_limited {
                self.vectors.entry((property, 0)).or_default().insert(idx);
            }
        }
        self
    }

    fn tables(self) -> MemoryTables {
        let mut tables = MemoryTables::default();
        let rules = self.rules.len() as u32;
        tables.policies.insert(LIST, Policy { part: PART, rules });
        for (idx, rule) in (0..).zip(&self.rules) {
            tables.rules.insert(RuleKey { list: LIST, idx }, *rule);
            let counters = tables.rule_counters.get_mut();
            counters.insert(rule.id, maps_schema::map::RuleCounters::ZERO);
        }
        for ((property, class), bits) in self.vectors {
            for chunk in 0..rules.div_ceil(Matches::RULES) {
                let mut row = Matches::NONE;
                for bit in bits.iter().filter(|bit| *bit / Matches::RULES == chunk) {
                    let bit = bit % Matches::RULES;
                    row.words[(bit / 64) as usize] |= 1 << (bit % 64);
                }
                let key = MatchKey {
                    list: LIST,
                    property,
                    class,
                    chunk,
                };
                tables.matches.insert(key, row);
            }
        }
        let web = IdentityKey {
            part: PART,
            ip: ip("10.1.0.10"),
        };
        tables.identities.insert(web, identity(&[OFFICE, WEB]));
        let elsewhere = IdentityKey {
            part: PART + 1,
            ip: ip("10.1.0.11"),
        };
        tables.identities.insert(elsewhere, identity(&[WEB]));
        let office = IdentityPrefixKey::new(ip("192.0.2.0"), 96 + 24);
        tables.identity_prefixes.insert(office, identity(&[OFFICE]));
        let net = PrefixKey::new(LIST, ip("10.2.0.0"), 96 + 16);
        tables.prefixes.insert(net, Class { number: 1 });
        let host = PrefixKey::new(LIST, ip("10.2.3.4"), 128);
        tables.prefixes.insert(host, Class { number: 2 });
        let tcp = ServiceKey::new(LIST, TCP, 0, 0);
        tables.services.insert(tcp, Class { number: 1 });
        let high = ServiceKey::new(LIST, TCP, 0x8000, 1);
        tables.services.insert(high, Class { number: 2 });
        tables
    }
}

fn identity(groups: &[GroupId]) -> Identity {
    let mut identity = Identity::NONE;
    identity.groups[..groups.len()].copy_from_slice(groups);
    identity
}

fn ask(tables: &MemoryTables, source: &str, destination: &str, service: (u8, u16)) -> Ruling {
    let subject = Subject {
        source: ip(source),
        destination: ip(destination),
        protocol: service.0,
        port: service.1,
    };
    let ruling = judge::<MemoryFrame, _>(tables, &mut { Workspace::NEW }, LIST, &subject);
    tables.ruled(ruling);
    ruling
}

fn allow(rule: u32) -> Ruling {
    Ruling {
        action: Action::Allow,
        rule: RuleId(rule),
    }
}

fn deny(rule: u32) -> Ruling {
    Ruling {
        action: Action::Deny,
        rule: RuleId(rule),
    }
}

#[test]
fn the_first_rule_that_matches_in_every_property_decides() {
    let tables = Sketch::default()
        .rule(
            Rule::ALLOW,
            0,
            &[(MatchKey::SOURCE_GROUP, WEB.0), (MatchKey::SERVICE, 2)],
        )
        .rule(Rule::REJECT, 0, &[(MatchKey::SOURCE_GROUP, OFFICE.0)])
        .rule(
            Rule::ALLOW,
            0,
            &[
                (MatchKey::DESTINATION_PREFIX, 1),
                (MatchKey::DESTINATION_PREFIX, 2),
            ],
        )
        .rule(Rule::DENY, 0, &[])
        .tables();
    let reject = Ruling {
        action: Action::Reject,
        rule: RuleId(101),
    };
    let judged = |source, destination, port| ask(&tables, source, destination, (TCP, port));
    assert_eq!(judged("10.1.0.10", "10.1.0.99", 0x8001), allow(100));
    assert_eq!(judged("10.1.0.10", "10.2.0.1", 0x7fff), reject);
    assert_eq!(judged("192.0.2.1", "10.1.0.99", 0x8001), reject);
    assert_eq!(judged("10.1.0.11", "10.2.0.1", 80), allow(102));
    assert_eq!(judged("10.1.0.11", "10.2.3.4", 80), allow(102));
    // It is in the group in another part of the topology, which does not count here.
    assert_eq!(judged("10.1.0.11", "10.1.0.99", 0x8001), deny(103));
    let hits: Vec<u64> = tables
        .rule_counters
        .borrow()
        .values()
        .map(|it| it.hits)
        .collect();
    assert_eq!(hits, [1, 2, 2, 1]);
}

#[test]
fn the_order_holds_from_chunk_to_chunk() {
    for matching in [63, 64, 511, 512, 513, 2048, 5000] {
        let mut sketch = Sketch::default();
        for idx in 0..6000 {
            let limits: &[_] = if idx < matching {
                &[(MatchKey::SERVICE, 1)]
            } else {
                &[]
            };
            sketch = sketch.rule(Rule::ALLOW, 0, limits);
        }
        let tables = sketch.tables();
        let ruling = ask(&tables, "10.9.0.1", "10.9.0.2", (17, 53));
        assert_eq!(ruling, allow(100 + matching));
        let ruling = ask(&tables, "10.9.0.1", "10.9.0.2", (TCP, 80));
        assert_eq!(ruling, allow(100));
    }
}

#[test]
fn the_search_goes_on_where_a_rule_says() {
    // Packets of TCP jump to rule 4, and return from there to rule 2 unless they are for a high port.
    let tables = Sketch::default()
        .rule(
            Rule::GOTO,
            4,
            &[(MatchKey::SERVICE, 1), (MatchKey::SERVICE, 2)],
        )
        .rule(Rule::ALLOW, 0, &[(MatchKey::SOURCE_GROUP, WEB.0)])
        .rule(Rule::DENY, 0, &[])
        .rule(Rule::ALLOW, 0, &[])
        .rule(Rule::ALLOW, 0, &[(MatchKey::SERVICE, 2)])
        .rule(Rule::GOTO, 1, &[])
        .tables();
    let judged = |source, service| ask(&tables, source, "10.9.0.1", service);
    assert_eq!(judged("10.9.0.2", (17, 53)), deny(102));
    assert_eq!(judged("10.9.0.2", (TCP, 0x8000)), allow(104));
    assert_eq!(judged("10.9.0.2", (TCP, 80)), deny(102));
    assert_eq!(judged("10.1.0.10", (TCP, 80)), allow(101));
}

#[test]
fn without_a_list_everything_passes_and_without_its_rows_nothing() {
    let subject = Subject {
        source: ip("fd00::1"),
        destination: ip("fd00::2"),
        protocol: 58,
        port: 0x8000,
    };
    let ask = |tables: &MemoryTables, list| {
        judge::<MemoryFrame, _>(tables, &mut { Workspace::NEW }, list, &subject)
    };
    let mut tables = Sketch::default().rule(Rule::ALLOW, 0, &[]).tables();
    assert_eq!(ask(&tables, PolicyList::NONE), Ruling::OPEN);
    assert_eq!(ask(&tables, LIST), allow(100));
    let rules = core::mem::take(&mut tables.rules);
    assert_eq!(ask(&tables, LIST), deny(0));
    tables.rules = rules;
    tables.matches.clear();
    assert_eq!(ask(&tables, LIST), deny(0));
    tables.policies.clear();
    assert_eq!(ask(&tables, LIST), deny(0));
}

#[test]
fn a_list_that_leads_in_a_loop_ends_and_allows_nothing() {
    let tables = Sketch::default()
        .rule(Rule::GOTO, 1, &[])
        .rule(Rule::GOTO, 0, &[])
        .tables();
    assert_eq!(ask(&tables, "10.9.0.1", "10.9.0.2", (TCP, 80)), deny(0));
}
