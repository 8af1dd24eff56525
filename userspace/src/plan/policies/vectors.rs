//! The vectors of a sequence of rules, and which properties of a packet select them.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use maps_schema::map::{MatchKey, Matches};

use super::Ids;
use super::sequence::Entry;
use crate::topology::{Party, Services};

/// Which rules match, and in which class a prefix or a service is.
#[derive(Default)]
pub(super) struct Vectors {
    /// By property, class and chunk, as [`MatchKey`] has them.
    pub(super) matches: BTreeMap<(u32, u32, u32), Matches>,
    /// The classes of prefixes.
    pub(super) prefixes: BTreeMap<IpNet, u32>,
    /// The classes of services.
    pub(super) services: BTreeMap<Block, u32>,
}

/// Ports of a protocol that have all but the last bits in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Block {
    pub(super) protocol: u8,
    /// The first of them.
    pub(super) port: u16,
    /// How many bits they have in common.
    pub(super) bits: u32,
}

impl Vectors {
    pub(super) fn new(ids: &Ids<'_>, entries: &[Entry<'_>]) -> Self {
        let mut vectors = Self::default();
        let rules = || (0..).zip(entries);
        let sources = rules().map(|(idx, entry)| (idx, entry.source));
        let destinations = rules().map(|(idx, entry)| (idx, entry.destination));
        vectors.number_prefixes(sources.clone().chain(destinations.clone()));
        let source = (MatchKey::SOURCE_PREFIX, MatchKey::SOURCE_GROUP);
        vectors.add_ends(ids, sources, source);
        let destination = (MatchKey::DESTINATION_PREFIX, MatchKey::DESTINATION_GROUP);
        vectors.add_ends(ids, destinations, destination);
        vectors.add_services(rules().map(|(idx, entry)| (idx, entry.services)));
        vectors
    }

    fn set(&mut self, property: u32, class: u32, rule: u32) {
        let key = (property, class, rule / Matches::RULES);
        let row = self.matches.entry(key).or_insert(Matches::NONE);
        let bit = rule % Matches::RULES;
        if let Some(word) = row.words.get_mut((bit / u64::BITS) as usize) {
            *word |= 1 << (bit % u64::BITS);
        }
    }

    /// Every prefix that rules speak of is a class of its own.
    fn number_prefixes<'a>(&mut self, parties: impl Iterator<Item = (u32, &'a Party)>) {
        let prefixes = parties.flat_map(|(_, party)| match party {
            Party::Any => None,
            Party::Of { prefixes, .. } => Some(prefixes),
        });
        let prefixes: BTreeSet<IpNet> = prefixes.flatten().copied().collect();
        self.prefixes = prefixes.into_iter().zip(1..).collect();
    }

    /// What rules say about one end of a conversation. An address that is in a prefix is in all that
    /// cover it, too.
    fn add_ends<'a>(
        &mut self,
        ids: &Ids<'_>,
        ends: impl Iterator<Item = (u32, &'a Party)>,
        (by_prefix, by_group): (u32, u32),
    ) {
        let mut direct: BTreeMap<IpNet, Vec<u32>> = BTreeMap::new();
        for (rule, party) in ends {
            match party {
                Party::Any => self.set(by_prefix, 0, rule),
                Party::Of { groups, prefixes } => {
                    for group in groups {
                        self.set(by_group, ids.group(group).0, rule);
                    }
                    for prefix in prefixes {
                        direct.entry(*prefix).or_default().push(rule);
                    }
                }
            }
        }
        for (prefix, class) in self.prefixes.clone() {
            let covering = std::iter::successors(Some(prefix), IpNet::supernet);
            for rule in covering.filter_map(|it| direct.get(&it)).flatten() {
                self.set(by_prefix, class, *rule);
            }
        }
    }

    /// What rules say about services: ports that the same rules are for are one class.
    fn add_services<'a>(&mut self, services: impl Iterator<Item = (u32, &'a Services)>) {
        let mut protocols: BTreeMap<u8, Vec<Edge>> = BTreeMap::new();
        for (rule, services) in services {
            let Services::Of(services) = services else {
                self.set(MatchKey::SERVICE, 0, rule);
                continue;
            };
            for service in services {
                let (first, last) = (service.ports.first(), service.ports.last());
                let edges = protocols.entry(service.protocol).or_default();
                edges.push(Edge {
                    at: first.into(),
                    rule,
                    begins: true,
                });
                edges.push(Edge {
                    at: u32::from(last) + 1,
                    rule,
                    begins: false,
                });
            }
        }
        let mut classes = BTreeMap::new();
        for (protocol, mut edges) in protocols {
            edges.sort_unstable();
            self.sweep(protocol, &edges, &mut classes);
        }
        for (rules, class) in classes {
            for rule in rules {
                self.set(MatchKey::SERVICE, class, rule);
            }
        }
    }

    /// Goes through the ports of a protocol from edge to edge.
    fn sweep(&mut self, protocol: u8, edges: &[Edge], classes: &mut BTreeMap<Vec<u32>, u32>) {
        // How many services of a rule are for the ports at hand.
        let mut active: BTreeMap<u32, u32> = BTreeMap::new();
        let mut edges = edges.iter().peekable();
        while let Some(edge) = edges.next() {
            let count = active.entry(edge.rule).or_default();
            if edge.begins {
                *count += 1;
            } else {
                *count -= 1;
                if *count == 0 {
                    active.remove(&edge.rule);
                }
            }
            let Some(next) = edges.peek().map(|next| next.at) else {
                continue;
            };
            if next == edge.at || active.is_empty() {
                continue;
            }
            let number = classes.len() as u32 + 1;
            let rules = active.keys().copied().collect();
            let class = *classes.entry(rules).or_insert(number);
            for (port, bits) in blocks(edge.at, next) {
                let block = Block {
                    protocol,
                    port,
                    bits,
                };
                self.services.insert(block, class);
            }
        }
    }
}

/// Where the ports of a service begin, or where the first one is that is not among them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    at: u32,
    rule: u32,
    begins: bool,
}

/// The fewest blocks that the ports from `first` to before `end` consist of: each begins at a multiple of
/// its size.
fn blocks(first: u32, end: u32) -> impl Iterator<Item = (u16, u32)> {
    let mut first = first;
    std::iter::from_fn(move || {
        if first >= end {
            return None;
        }
        let aligned = first.trailing_zeros().min(16);
        let fitting = (end - first).ilog2();
        let free = aligned.min(fitting);
        let block = (first as u16, 16 - free);
        first += 1 << free;
        Some(block)
    })
}
