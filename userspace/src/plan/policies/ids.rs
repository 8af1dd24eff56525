//! The ids of groups and rules, which follow from names.
//!
//! A rule has no name. Its id follows from where it is and what it says, so that what it counted stays
//! its own when rules before it come or go.

use std::collections::{BTreeMap, BTreeSet};

use maps_schema::{GroupId, RuleId};

use super::wording;
use crate::fnv::fnv1a_32;
use crate::source::Origin;
use crate::topology::{Chain, Direction, Rule, RuleList, Topology};

/// The ids of what policies consist of.
pub(in crate::plan) struct Ids<'a> {
    pub(super) topology: &'a Topology,
    groups: BTreeMap<&'a str, GroupId>,
    chains: BTreeMap<&'a str, Vec<RuleId>>,
    lists: BTreeMap<(&'a str, Direction), Vec<RuleId>>,
    defaults: BTreeMap<(&'a str, Direction), RuleId>,
}

/// A rule, or the default of a policy, with its id.
pub(in crate::plan) struct Identified<'a> {
    pub(in crate::plan) id: RuleId,
    /// What it is called.
    pub(in crate::plan) name: String,
    /// Where it is written.
    pub(in crate::plan) origin: &'a Origin,
}

impl<'a> Ids<'a> {
    pub(in crate::plan) fn new(topology: &'a Topology) -> Self {
        let mut ids = Self {
            topology,
            groups: BTreeMap::new(),
            chains: BTreeMap::new(),
            lists: BTreeMap::new(),
            defaults: BTreeMap::new(),
        };
        let mut groups = Taken::default();
        for name in topology.groups.keys() {
            ids.groups.insert(name, GroupId(groups.id(name)));
        }
        let mut taken = Taken::default();
        for (name, chain) in &topology.chains {
            let rules = taken.rules(&format!("chain {name}"), &chain.rules);
            ids.chains.insert(name, rules);
        }
        for (name, direction, list) in lists(topology) {
            let place = format!("{direction} of policy {name}");
            let rules = taken.rules(&place, &list.rules);
            ids.lists.insert((name, direction), rules);
            let default = RuleId(taken.id(&format!("default for {place}")));
            ids.defaults.insert((name, direction), default);
        }
        ids
    }

    /// A group's id.
    pub(in crate::plan) fn group(&self, name: &str) -> GroupId {
        self.groups.get(name).copied().unwrap_or(GroupId::NONE)
    }

    /// The rules of a policy for a direction.
    pub(super) fn of_list(
        &self,
        name: &'a str,
        direction: Direction,
        list: &'a RuleList,
    ) -> impl Iterator<Item = (&'a Rule, RuleId)> {
        let ids = self.lists.get(&(name, direction)).into_iter().flatten();
        list.rules.iter().zip(ids.copied())
    }

    /// The default of a policy for a direction.
    pub(super) fn of_default(&self, name: &'a str, direction: Direction) -> RuleId {
        let id = self.defaults.get(&(name, direction));
        id.copied().unwrap_or(RuleId::NONE)
    }

    /// The rules of a chain.
    pub(super) fn of_chain(
        &self,
        name: &'a str,
        chain: &'a Chain,
    ) -> impl Iterator<Item = (&'a Rule, RuleId)> {
        let ids = self.chains.get(name).into_iter().flatten();
        chain.rules.iter().zip(ids.copied())
    }

    /// Every rule and every default.
    pub(in crate::plan) fn all(&self) -> Vec<Identified<'a>> {
        let mut all = Vec::new();
        for (name, chain) in &self.topology.chains {
            for (number, (rule, id)) in (1..).zip(self.of_chain(name, chain)) {
                let name = format!("rule {number} of chain {name}");
                let origin = &rule.origin;
                all.push(Identified { id, name, origin });
            }
        }
        for (policy, direction, list) in lists(self.topology) {
            for (number, (rule, id)) in (1..).zip(self.of_list(policy, direction, list)) {
                let name = format!("rule {number} for {direction} of policy {policy}");
                let origin = &rule.origin;
                all.push(Identified { id, name, origin });
            }
            all.push(Identified {
                id: self.of_default(policy, direction),
                name: format!("the default for {direction} of policy {policy}"),
                origin: &list.default_origin,
            });
        }
        all
    }
}

/// Every list of rules of a policy.
fn lists(topology: &Topology) -> impl Iterator<Item = (&str, Direction, &RuleList)> {
    topology.policies.iter().flat_map(|(name, policy)| {
        let lists = Direction::ALL.into_iter();
        lists.filter_map(|it| Some((name.as_str(), it, policy.list(it)?)))
    })
}

/// Ids that are given away. None is 0, which stands for nothing.
#[derive(Default)]
struct Taken(BTreeSet<u32>);

impl Taken {
    fn id(&mut self, text: &str) -> u32 {
        let mut id = fnv1a_32(text);
        while id == 0 || !self.0.insert(id) {
            id = id.wrapping_add(1);
        }
        id
    }

    /// Ids of the rules at one place. Of rules that say the same the number tells them apart.
    fn rules(&mut self, place: &str, rules: &[Rule]) -> Vec<RuleId> {
        let mut met: BTreeMap<String, u32> = BTreeMap::new();
        let ids = rules.iter().map(|rule| {
            let wording = wording::rule(rule);
            let number = met.entry(wording.clone()).or_default();
            *number += 1;
            RuleId(self.id(&format!("{place}: {wording} ({number})")))
        });
        ids.collect()
    }
}
