//! Rules as people write them.

use crate::topology::{Action, Party, Rule, Services, Verb};

/// A rule in one line.
pub(in crate::plan) fn rule(rule: &Rule) -> String {
    let verb = match &rule.verb {
        Verb::Decide(decided) => action(*decided).to_owned(),
        Verb::Jump(chain) => format!("jump to {chain} for"),
        Verb::Return => "return for".to_owned(),
    };
    let services = match &rule.services {
        Services::Any => "any".to_owned(),
        Services::Of(services) => listed(services.iter().map(ToString::to_string)),
    };
    let source = party(" from ", &rule.source);
    let destination = party(" to ", &rule.destination);
    format!("{verb} {services}{source}{destination}")
}

/// What becomes of a packet.
pub(in crate::plan) const fn action(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Reject => "reject",
        Action::Deny => "deny",
    }
}

fn party(preposition: &str, party: &Party) -> String {
    let Party::Of { groups, prefixes } = party else {
        return String::new();
    };
    let prefixes = prefixes.iter().map(ToString::to_string);
    format!(
        "{preposition}{}",
        listed(groups.iter().cloned().chain(prefixes))
    )
}

fn listed(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
