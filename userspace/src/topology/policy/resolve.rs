//! The rules for groups, chains and policies, and for those who refer to them.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{
    Chain, Direction, Group, Party, Policy, Rule, RuleList, Services, Verb, chain, membership,
    scope,
};
use crate::document::{self, Address, Located, Member, PolicyDefault};
use crate::problem::Problem;
use crate::similar::closest;
use crate::source::Origin;
use crate::topology::family::Family;
use crate::topology::merge::Merged;
use crate::topology::port::Ports;
use crate::topology::{Action, PortName, range};

/// What is said about who may talk to whom.
pub(in crate::topology) struct Resolved {
    pub(in crate::topology) groups: BTreeMap<String, Group>,
    pub(in crate::topology) chains: BTreeMap<String, Chain>,
    pub(in crate::topology) policies: BTreeMap<String, Policy>,
}

/// Checks all of it.
pub(in crate::topology) fn resolve<'a>(
    merged: &Merged<'a>,
    ports: &Ports<'a>,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Resolved {
    let mut checker = Checker {
        merged,
        groups: groups(merged, &ports.given, problems),
        problems,
        warnings,
    };
    let chains = merged.chains.iter().map(|(&name, given)| {
        let chain = Chain {
            rules: checker.rules(&format!("chain {name}"), given),
            origin: given.origin.clone(),
        };
        (name.to_owned(), chain)
    });
    let chains = chains.collect();
    let policies = merged.policies.iter().map(|(&name, given)| {
        let policy = checker.policy(name, given);
        (name.to_owned(), policy)
    });
    let policies: BTreeMap<String, Policy> = policies.collect();
    let groups = checker.groups;
    let sizes = chain::check(merged, problems);
    membership::check(merged, &groups, &ports.resolved, problems);
    scope::check(merged, &ports.given, &policies, &sizes, problems, warnings);
    Resolved {
        groups,
        chains,
        policies,
    }
}

/// The groups that are declared and those that ports carry.
fn groups(
    merged: &Merged<'_>,
    ports: &[(PortName, &document::Port)],
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Group> {
    let declared = merged.groups.iter().map(|(&name, given)| {
        let subject = format!("group {name}");
        let prefixes = given.addresses.iter();
        let prefixes = prefixes.map(|address| prefix(&subject, address, problems));
        let group = Group {
            prefixes: prefixes.collect(),
            origin: given.origin.clone(),
        };
        (name.to_owned(), group)
    });
    let mut groups: BTreeMap<String, Group> = declared.collect();
    let mut ports: Vec<_> = ports.iter().collect();
    ports.sort_by_key(|(_, port)| merged.rank(&port.origin));
    for (name, port) in ports {
        let mut seen: BTreeMap<&str, &Origin> = BTreeMap::new();
        for group in &port.groups {
            if let Some(first) = seen.insert(group, &group.origin) {
                problems.push(
                    Problem::new(format!("port {name} carries group {} twice", group.value))
                        .at(&group.origin, "given again here")
                        .at(first, "first given here")
                        .help("keep one of the two"),
                );
            }
            groups.entry(group.value.clone()).or_insert_with(|| Group {
                prefixes: BTreeSet::new(),
                origin: group.origin.clone(),
            });
        }
    }
    groups
}

/// An address as the prefix of it alone, or a prefix without host bits.
fn prefix(subject: &str, given: &Located<Address>, problems: &mut Vec<Problem>) -> IpNet {
    let Address { ip, prefix_len } = given.value;
    let whole = IpNet::from(ip);
    let len = prefix_len.unwrap_or(whole.max_prefix_len());
    let prefix = IpNet::new(ip, len).unwrap_or(whole).trunc();
    if prefix.addr() != ip {
        problems.push(
            Problem::new(format!(
                "the prefix {ip}/{len} of {subject} has host bits set"
            ))
            .at(&given.origin, "neither an address nor a prefix")
            .help(format!(
                "write {prefix} for the prefix, or {ip} for the address"
            )),
        );
    }
    if let Some(v4) = range::unmapped(ip) {
        problems.push(
            Problem::new(format!("{subject} has the IPv4-mapped address {ip}"))
                .at(&given.origin, "no packet has it")
                .help(format!("write {v4}")),
        );
    }
    prefix
}

/// Checks lists of rules.
struct Checker<'c, 'a> {
    merged: &'c Merged<'a>,
    groups: BTreeMap<String, Group>,
    problems: &'c mut Vec<Problem>,
    warnings: &'c mut Vec<Problem>,
}

impl Checker<'_, '_> {
    fn policy(&mut self, name: &str, given: &document::Policy) -> Policy {
        let mut list = |direction| self.list(name, given, direction);
        let policy = Policy {
            ingress: list(Direction::Ingress),
            egress: list(Direction::Egress),
            forward: list(Direction::Forward),
            origin: given.origin.clone(),
        };
        let silent = Direction::ALL
            .iter()
            .all(|direction| policy.list(*direction).is_none());
        if silent && !given.incomplete {
            self.problems.push(silent_policy(name, given));
        }
        policy
    }

    /// What a policy says about a direction: its rules, or at least a default.
    fn list(
        &mut self,
        name: &str,
        given: &document::Policy,
        direction: Direction,
    ) -> Option<RuleList> {
        let rules = given.list(direction);
        let default = match &given.default {
            Some(PolicyDefault::All(action)) => rules.and(Some(action)),
            Some(PolicyDefault::Each(actions)) => actions.of(direction),
            None => None,
        };
        let default_origin = default.map(|given| &given.origin);
        let default_origin = default_origin.or(rules.map(|_| &given.origin))?;
        Some(RuleList {
            rules: rules.map_or_else(Vec::new, |given| {
                self.rules(&format!("policy {name}"), given)
            }),
            default: default.map_or(Action::Deny, |given| given.value),
            default_origin: default_origin.clone(),
        })
    }

    fn rules(&mut self, owner: &str, given: &[document::Rule]) -> Vec<Rule> {
        let rules = given.iter().map(|rule| self.rule(owner, rule));
        let rules: Vec<Rule> = rules.collect();
        let last = rules.iter().position(decides_about_everything);
        let beyond = last.and_then(|last| Some((rules.get(last)?, rules.get(last + 1)?)));
        if let Some((last, beyond)) = beyond {
            self.warnings.push(
                Problem::new(format!("a rule of {owner} is never reached"))
                    .at(&beyond.origin, "nothing gets here")
                    .at(&last.origin, "nothing gets past this one")
                    .help("write the particular before the general"),
            );
        }
        rules
    }

    fn rule(&mut self, owner: &str, given: &document::Rule) -> Rule {
        let subject = format!("a rule of {owner}");
        let rule = Rule {
            source: self.party(&subject, &given.from),
            destination: self.party(&subject, &given.to),
            services: given.services.clone(),
            verb: match &given.verb {
                document::Verb::Decide(action) => Verb::Decide(*action),
                document::Verb::Return => Verb::Return,
                document::Verb::Jump(chain) => {
                    if !self.merged.chains.contains_key(chain.as_str()) && !self.merged.incomplete {
                        self.problems.push(self.unknown_chain(&subject, chain));
                    }
                    Verb::Jump(chain.value.clone())
                }
            },
            origin: given.origin.clone(),
        };
        if families(&rule).is_empty() {
            self.warnings.push(
                Problem::new(format!("{subject} matches nothing"))
                    .at(&rule.origin, "its parts are of different families")
                    .help("`icmp` goes with IPv4 and `icmpv6` with IPv6; addresses of one family talk to their like"),
            );
        }
        rule
    }

    fn party(&mut self, subject: &str, given: &document::Party) -> Party {
        let document::Party::Of(members) = given else {
            return Party::Any;
        };
        let (mut groups, mut prefixes) = (BTreeSet::new(), BTreeSet::new());
        for member in members {
            let origin = member.origin.clone();
            match &member.value {
                Member::Address(address) => {
                    let value = *address;
                    let address = Located { value, origin };
                    prefixes.insert(prefix(subject, &address, self.problems));
                }
                Member::Group(name) => {
                    let hidden = self.merged.incomplete || self.merged.incomplete_ports();
                    if !self.groups.contains_key(name) && !hidden {
                        self.problems
                            .push(self.unknown_group(subject, name, &origin));
                    }
                    groups.insert(name.clone());
                }
            }
        }
        Party::Of { groups, prefixes }
    }

    fn unknown_group(&self, subject: &str, name: &str, origin: &Origin) -> Problem {
        let known = self.groups.keys().map(String::as_str);
        let help = if self.merged.workloads.contains_key(name) {
            format!("for the ports of workload {name}, write `groups: [{name}]` there")
        } else if let Some((network, _)) = self.merged.networks.get(name) {
            match network.subnets.first() {
                Some(subnet) => format!(
                    "for the addresses of network {name}, write {}",
                    subnet.trunc()
                ),
                None => format!("declare it: `groups: {{ {name}: {{}} }}`"),
            }
        } else if let Some(close) = closest(name, known) {
            format!("did you mean `{close}`?")
        } else {
            format!("give it to a port, or declare it: `groups: {{ {name}: {{}} }}`")
        };
        Problem::new(format!(
            "{subject} names group {name}, which does not exist"
        ))
        .at(origin, "no port carries this group")
        .help(help)
    }

    fn unknown_chain(&self, subject: &str, chain: &Located<String>) -> Problem {
        let name = &chain.value;
        let help = match closest(name, self.merged.chains.keys().copied()) {
            Some(close) => format!("did you mean `{close}`?"),
            None => format!("declare it: `chains: {{ {name}: [ ... ] }}`"),
        };
        Problem::new(format!(
            "{subject} jumps to chain {name}, which does not exist"
        ))
        .at(&chain.origin, "no chain has this name")
        .help(help)
    }
}

fn silent_policy(name: &str, given: &document::Policy) -> Problem {
    let problem = Problem::new(format!("policy {name} says nothing about any direction"));
    match &given.default {
        Some(PolicyDefault::All(action)) => {
            let action = action.value;
            problem
                .at(&given.origin, "it has no rules to be the default of")
                .help(format!(
                    "say for which directions: `default: {{ ingress: {action} }}`"
                ))
        }
        _ => problem
            .at(&given.origin, "it holds for nothing")
            .help("add rules: `ingress: [ { from: web, allow: tcp/80 } ]`"),
    }
}

fn decides_about_everything(rule: &Rule) -> bool {
    let everything = rule.source == Party::Any
        && rule.destination == Party::Any
        && rule.services == Services::Any;
    everything && !matches!(rule.verb, Verb::Jump(_))
}

/// The families that a rule can match in.
fn families(rule: &Rule) -> Vec<Family> {
    let party = |party: &Party, family: Family| match party {
        Party::Any => true,
        Party::Of { groups, prefixes } => {
            !groups.is_empty() || prefixes.iter().any(|prefix| family.has(prefix))
        }
    };
    let service = |family: Family| match &rule.services {
        Services::Any => true,
        Services::Of(services) => services
            .iter()
            .any(|service| service.family().is_none_or(|own| own == family)),
    };
    let families = Family::BOTH.into_iter();
    let possible = families.filter(|&family| {
        party(&rule.source, family) && party(&rule.destination, family) && service(family)
    });
    possible.collect()
}
