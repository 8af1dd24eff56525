//! From rules that jump to one sequence in which every rule leads forward or decides.
//!
//! The rules of a port's policies come first, and behind them what holds if none of them decides. A
//! chain is put in behind that, once for each jump to it, because its end leads back behind that jump.

use std::collections::VecDeque;

use maps_schema::RuleId;
use maps_schema::map;

use super::Ids;
use crate::topology::{Action, Direction, Party, Rule, RuleList, Services, Verb};

/// One rule of a sequence.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) source: &'a Party,
    pub(super) destination: &'a Party,
    pub(super) services: &'a Services,
    pub(super) rule: map::Rule,
}

/// A jump whose chain is still to be put in.
struct Jump<'a> {
    chain: &'a str,
    /// The position of the rule that jumps.
    at: usize,
}

/// The rules of these policies for one direction.
pub(super) fn sequence<'a>(
    ids: &Ids<'a>,
    direction: Direction,
    policies: &[(&'a str, &'a RuleList)],
) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    let mut jumps = VecDeque::new();
    for &(name, list) in policies {
        let end = entries.len() + list.rules.len();
        let rules = ids.of_list(name, direction, list);
        add_rules(&mut entries, &mut jumps, rules, end);
    }
    let strictest = policies.iter().map(|(_, list)| list.default).max();
    let default = policies
        .iter()
        .find(|(_, list)| Some(list.default) == strictest);
    if let Some(&(name, list)) = default {
        let rule = deciding(list.default, ids.of_default(name, direction));
        entries.push(always(rule));
    }
    while let Some(Jump { chain, at }) = jumps.pop_front() {
        let target = position(entries.len());
        if let Some(jump) = entries.get_mut(at) {
            jump.rule.target = target;
        }
        let Some((name, chain)) = ids.topology.chains.get_key_value(chain) else {
            continue;
        };
        add_rules(&mut entries, &mut jumps, ids.of_chain(name, chain), at + 1);
        entries.push(always(leading(at + 1, RuleId::NONE)));
    }
    entries
}

/// Adds the rules of a list that is left for the position `end`.
fn add_rules<'a>(
    entries: &mut Vec<Entry<'a>>,
    jumps: &mut VecDeque<Jump<'a>>,
    rules: impl Iterator<Item = (&'a Rule, RuleId)>,
    end: usize,
) {
    for (rule, id) in rules {
        let row = match &rule.verb {
            Verb::Decide(action) => deciding(*action, id),
            Verb::Return => leading(end, id),
            Verb::Jump(chain) => {
                let at = entries.len();
                jumps.push_back(Jump { chain, at });
                leading(at, id)
            }
        };
        entries.push(Entry {
            source: &rule.source,
            destination: &rule.destination,
            services: &rule.services,
            rule: row,
        });
    }
}

fn always<'a>(rule: map::Rule) -> Entry<'a> {
    Entry {
        source: &Party::Any,
        destination: &Party::Any,
        services: &Services::Any,
        rule,
    }
}

const fn deciding(action: Action, id: RuleId) -> map::Rule {
    let action = match action {
        Action::Allow => map::Rule::ALLOW,
        Action::Reject => map::Rule::REJECT,
        Action::Deny => map::Rule::DENY,
    };
    map::Rule {
        action,
        id,
        target: 0,
    }
}

fn leading(target: usize, id: RuleId) -> map::Rule {
    map::Rule {
        action: map::Rule::GOTO,
        id,
        target: position(target),
    }
}

fn position(idx: usize) -> u32 {
    u32::try_from(idx).unwrap_or(u32::MAX)
}
