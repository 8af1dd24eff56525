//! What policies hold for: whoever refers to one gets what he expects, and no rules stand for nothing.

use std::collections::{BTreeMap, BTreeSet};

use maps_schema::map::RULES_MAX;

use super::chain::Sizes;
use super::{Direction, Policy};
use crate::document::{self, Located, Member, Party, Rule};
use crate::problem::Problem;
use crate::similar::closest;
use crate::source::Origin;
use crate::topology::PortName;
use crate::topology::merge::Merged;

/// The most rules that one port or router can have for one direction, with those of chains wherever
/// they are jumped to.
const MOST_RULES: u64 = RULES_MAX as u64;

/// Checks who refers to which policy, and warns of those that nobody needs.
pub(super) fn check(
    merged: &Merged<'_>,
    ports: &[(PortName, &document::Port)],
    policies: &BTreeMap<String, Policy>,
    sizes: &Sizes<'_>,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) {
    let scope = Scope {
        merged,
        ports,
        policies,
    };
    for (name, (network, _)) in &merged.networks {
        let directions = [Direction::Ingress, Direction::Egress];
        let wanted = (format!("network {name}"), network.policy.as_ref());
        problems.extend(scope.refer(wanted, &directions));
    }
    for (name, (router, _)) in &merged.routers {
        let wanted = (format!("router {name}"), router.policy.as_ref());
        problems.extend(scope.refer(wanted, &[Direction::Forward]));
    }
    scope.count(sizes, problems);
    if !merged.incomplete && !merged.incomplete_ports() {
        scope.unused_policies(warnings);
        scope.unused_groups(warnings);
    }
}

struct Scope<'s, 'a> {
    merged: &'s Merged<'a>,
    ports: &'s [(PortName, &'a document::Port)],
    policies: &'s BTreeMap<String, Policy>,
}

impl Scope<'_, '_> {
    /// What is wrong with a reference to a policy that is to have rules for one of these directions.
    fn refer(
        &self,
        (subject, wanted): (String, Option<&Located<String>>),
        directions: &[Direction],
    ) -> Option<Problem> {
        let wanted = wanted?;
        let name = &wanted.value;
        let words: Vec<String> = directions.iter().map(ToString::to_string).collect();
        let Some(policy) = self.policies.get(name) else {
            if self.merged.incomplete {
                return None;
            }
            let known = self.merged.policies.keys().copied();
            let help = match (closest(name, known), directions.first()) {
                (Some(close), _) => format!("did you mean `{close}`?"),
                (None, Some(first)) => {
                    format!("declare it: `policies: {{ {name}: {{ {first}: [ ... ] }} }}`")
                }
                (None, None) => "declare it".to_owned(),
            };
            return Some(
                Problem::new(format!(
                    "{subject} refers to policy {name}, which does not exist"
                ))
                .at(&wanted.origin, "no policy has this name")
                .help(help),
            );
        };
        let given = self.merged.policies.get(name.as_str());
        let silent = Direction::ALL
            .iter()
            .all(|direction| policy.list(*direction).is_none());
        let unknown = silent || given.is_none_or(|given| given.incomplete);
        if unknown || directions.iter().any(|one| policy.list(*one).is_some()) {
            return None;
        }
        let words = words.join(" or ");
        Some(
            Problem::new(format!(
                "{subject} refers to policy {name}, which has no {words} rules"
            ))
            .at(&wanted.origin, "it would hold for nothing here")
            .at(&policy.origin, "this policy")
            .help(format!("add {words} rules to it, or refer to another one")),
        )
    }

    /// Who has more rules than the datapath numbers.
    fn count(&self, sizes: &Sizes<'_>, problems: &mut Vec<Problem>) {
        let mut seen: BTreeSet<Vec<&str>> = BTreeSet::new();
        for (name, port) in self.ports {
            let groups = port.groups.iter().map(|group| group.as_str());
            let network = self.merged.networks.get(port.network.as_str());
            let network = network.and_then(|(network, _)| network.policy.as_ref());
            let names = groups.chain(network.map(|name| name.as_str()));
            let names: Vec<&str> = names.collect();
            if seen.contains(&names) {
                continue;
            }
            for direction in [Direction::Ingress, Direction::Egress] {
                let subject = (format!("port {name}"), &port.origin);
                problems.extend(self.too_many(subject, &names, direction, sizes));
            }
            seen.insert(names);
        }
        for (name, (router, _)) in &self.merged.routers {
            if let Some(policy) = &router.policy {
                let subject = (format!("router {name}"), &policy.origin);
                let names = [policy.as_str()];
                problems.extend(self.too_many(subject, &names, Direction::Forward, sizes));
            }
        }
    }

    fn too_many(
        &self,
        (subject, origin): (String, &Origin),
        names: &[&str],
        direction: Direction,
        sizes: &Sizes<'_>,
    ) -> Option<Problem> {
        let lists = names.iter().filter_map(|name| {
            let rules = self.merged.policies.get(name)?.list(direction)?;
            Some((name, sizes.of(rules), &rules.origin))
        });
        let lists: Vec<_> = lists.collect();
        let all = lists.iter().map(|(_, size, _)| *size);
        // The default is one too.
        let all = all.fold(1, u64::saturating_add);
        if all <= MOST_RULES {
            return None;
        }
        let problem = Problem::new(format!(
            "{subject} comes to {all} {direction} rules, and {MOST_RULES} are the most"
        ));
        let mut problem = problem.at(origin, "too many rules");
        for (name, size, origin) in lists {
            let label = format!("{size} of policy {name}, with what it jumps to");
            problem = problem.at(origin, label);
        }
        Some(
            problem.help(
                "put addresses into groups, and services into lists: `allow: [tcp/80, tcp/443]`",
            ),
        )
    }

    /// Policies, and directions of policies, that hold for nothing.
    fn unused_policies(&self, warnings: &mut Vec<Problem>) {
        let carried = self.carried();
        let networks = self.merged.networks.values();
        let networks = networks.filter_map(|(network, _)| network.policy.as_deref());
        let networks: BTreeSet<&String> = networks.collect();
        let routers = self.merged.routers.values();
        let routers = routers.filter_map(|(router, _)| router.policy.as_deref());
        let routers: BTreeSet<&String> = routers.collect();
        for (name, policy) in self.policies {
            // Who declares a group expects its ports, maybe from another source.
            let declared = self.merged.groups.contains_key(name.as_str());
            let by_ports =
                declared || carried.contains_key(name.as_str()) || networks.contains(name);
            let by_routers = routers.contains(name);
            if !by_ports && !by_routers {
                let problem = Problem::new(format!("policy {name} holds for nothing"));
                let label = "no port carries this group, and no network or router refers to it";
                let help = match closest(name, carried.keys().copied()) {
                    Some(close) => format!("did you mean group `{close}`?"),
                    None => format!("give a port the group: `groups: [{name}]`"),
                };
                warnings.push(problem.at(&policy.origin, label).help(help));
                continue;
            }
            for direction in Direction::ALL {
                let (used, who, help) = match direction {
                    Direction::Forward => (by_routers, "router", "at a router"),
                    _ => (by_ports, "port or network", "at a network"),
                };
                let Some(list) = policy.list(direction).filter(|_| !used) else {
                    continue;
                };
                let given = self.merged.policies.get(name.as_str());
                let given = given.and_then(|given| given.list(direction));
                let origin = given.map_or(&list.default_origin, |given| &given.origin);
                warnings.push(
                    Problem::new(format!(
                        "the {direction} rules of policy {name} hold for nothing"
                    ))
                    .at(origin, format!("no {who} has this policy"))
                    .help(format!("write `policy: {name}` {help}, or leave them out")),
                );
            }
        }
    }

    /// Groups that ports carry and nobody speaks of: probably they are called otherwise.
    fn unused_groups(&self, warnings: &mut Vec<Problem>) {
        let mut spoken_of: BTreeSet<&str> = self.policies.keys().map(String::as_str).collect();
        spoken_of.extend(self.merged.groups.keys());
        let chains = self.merged.chains.values().map(|chain| chain.as_slice());
        let policies = self.merged.policies.values();
        let lists = policies.flat_map(|policy| {
            let lists = Direction::ALL.into_iter();
            lists.filter_map(|direction| policy.list(direction).map(|list| list.as_slice()))
        });
        for rule in chains.chain(lists).flatten() {
            spoken_of.extend(named_groups(rule));
        }
        for (name, origin) in self.carried() {
            if spoken_of.contains(name) {
                continue;
            }
            let help = match closest(name, spoken_of.iter().copied()) {
                Some(close) => format!("did you mean `{close}`?"),
                None => {
                    format!("write a policy for it, or declare it: `groups: {{ {name}: {{}} }}`")
                }
            };
            warnings.push(
                Problem::new(format!("nothing is said about group {name}"))
                    .at(origin, "no policy and no rule names it")
                    .help(help),
            );
        }
    }

    /// The groups that ports carry, and where the first of them does.
    fn carried(&self) -> BTreeMap<&str, &Origin> {
        let mut carried: BTreeMap<&str, &Origin> = BTreeMap::new();
        for group in self.ports.iter().flat_map(|(_, port)| &port.groups) {
            let first = carried.entry(group.as_str()).or_insert(&group.origin);
            if self.merged.rank(&group.origin) < self.merged.rank(first) {
                *first = &group.origin;
            }
        }
        carried
    }
}

fn named_groups(rule: &Rule) -> impl Iterator<Item = &str> {
    let parties = [&rule.from, &rule.to].into_iter();
    let members = parties.flat_map(|party| match party {
        Party::Any => &[],
        Party::Of(members) => members.as_slice(),
    });
    members.filter_map(|member| match &member.value {
        Member::Group(name) => Some(name.as_str()),
        Member::Address(_) => None,
    })
}
