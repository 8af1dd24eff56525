//! Rules as people write them.

use crate::topology::{Action, Party, PortRange, Rule, Service, Services, Verb};

/// A rule in one line.
pub(in crate::plan) fn rule(rule: &Rule) -> String {
    let verb = match &rule.verb {
        Verb::Decide(Action::Allow) => "allow".to_owned(),
        Verb::Decide(Action::Reject) => "reject".to_owned(),
        Verb::Decide(Action::Deny) => "deny".to_owned(),
        Verb::Jump(chain) => format!("jump to {chain} for"),
        Verb::Return => "return for".to_owned(),
    };
    let services = match &rule.services {
        Services::Any => "any".to_owned(),
        Services::Of(services) => listed(services.iter().map(service)),
    };
    let source = party(" from ", &rule.source);
    let destination = party(" to ", &rule.destination);
    format!("{verb} {services}{source}{destination}")
}

fn service(Service { protocol, ports }: &Service) -> String {
    let name = match protocol {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        132 => "sctp".to_owned(),
        number => format!("protocol {number}"),
    };
    let (first, last) = (ports.first(), ports.last());
    let [kind, code] = first.to_be_bytes();
    match protocol {
        _ if *ports == PortRange::ALL => name,
        1 | 58 if first == last => format!("{name}/{kind}/{code}"),
        1 | 58 => format!("{name}/{kind}"),
        _ if first == last => format!("{name}/{first}"),
        _ => format!("{name}/{first}-{last}"),
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
