//! Reading the sections `groups`, `chains` and `policies`.

use std::net::IpAddr;

use super::model::{
    DEFAULT_ACTIONS_KEYS, DefaultActions, Document, GROUP_KEYS, Group, Member, POLICY_KEYS, Party,
    Policy, PolicyDefault, RULE_KEYS, Rule, Verb,
};
use super::network::illegal_name;
use super::read::{Fields, Located, Named, Reader, at};
use super::scalar::{self, is_object_name};
use super::service;
use super::yaml::{Node, Value};
use crate::problem::Problem;
use crate::source::Origin;
use crate::topology::{Action, Services};

/// The word that stands for everybody.
const ANYBODY: &str = "any";
/// The rule that is one word.
const RETURN: &str = "return";

/// Reads all groups into the document; tells whether every name that is there could be read.
pub(super) fn groups(
    reader: &mut Reader,
    node: &Node,
    what: &str,
    document: &mut Document,
) -> Option<bool> {
    let Some(named) = reader.named(node, what, "groups") else {
        return Some(false);
    };
    for entry in named {
        if !is_object_name(entry.name) {
            illegal_name(reader, &entry, "group");
        }
        misleading(reader, entry.name, &entry.origin);
        let group = group(reader, &entry, &format!("{what}.{}", entry.name));
        document.groups.insert(entry.name.to_owned(), group);
    }
    Some(document.groups.len() == node.entries())
}

fn group(reader: &mut Reader, entry: &Named<'_>, what: &str) -> Group {
    let addresses = match &entry.node.value {
        Value::Null => Vec::new(),
        Value::Map(_) => {
            let fields = reader.fields(entry.node, what, GROUP_KEYS);
            let given = fields.and_then(|fields| {
                fields.optional(reader, "addresses", |reader, node, what| {
                    Some(reader.one_or_many(node, what, scalar::address))
                })
            });
            given.unwrap_or_default()
        }
        Value::Scalar(..) | Value::List(_) => reader.one_or_many(entry.node, what, scalar::address),
    };
    Group {
        origin: entry.origin.clone(),
        addresses,
    }
}

/// The groups that a port carries.
pub(super) fn carried(reader: &mut Reader, node: &Node, what: &str) -> Vec<Located<String>> {
    reader.one_or_many(node, what, |reader, node, what| {
        let name = reader.text(node, what)?;
        if !is_object_name(&name) {
            return reader.wrong(node, what, "the name of a group");
        }
        misleading(reader, &name, &name.origin);
        Some(name)
    })
}

/// Notes that a group has a name that means something else in a rule, if that is so.
fn misleading(reader: &mut Reader, name: &str, origin: &Origin) {
    let other = match name {
        ANYBODY => "everybody",
        address if address.parse::<IpAddr>().is_ok() => "an address",
        _ => return,
    };
    reader.problems.push(
        Problem::new(format!("{name:?} cannot be the name of a group"))
            .at(origin, format!("in a rule it means {other}"))
            .help("choose another name"),
    );
}

/// Reads all chains into the document; tells whether every name that is there could be read.
pub(super) fn chains(
    reader: &mut Reader,
    node: &Node,
    what: &str,
    document: &mut Document,
) -> Option<bool> {
    let Some(named) = reader.named(node, what, "lists of rules") else {
        return Some(false);
    };
    for entry in named {
        if !is_object_name(entry.name) {
            illegal_name(reader, &entry, "chain");
        }
        let rules = rules(reader, entry.node, &format!("{what}.{}", entry.name));
        let chain = Located {
            value: rules.map_or_else(Vec::new, |rules| rules.value),
            origin: entry.origin,
        };
        document.chains.insert(entry.name.to_owned(), chain);
    }
    Some(document.chains.len() == node.entries())
}

/// Reads all policies into the document; tells whether every name that is there could be read.
pub(super) fn policies(
    reader: &mut Reader,
    node: &Node,
    what: &str,
    document: &mut Document,
) -> Option<bool> {
    let Some(named) = reader.named(node, what, "policies") else {
        return Some(false);
    };
    for entry in named {
        if !is_object_name(entry.name) {
            illegal_name(reader, &entry, "policy");
        }
        let policy = policy(reader, &entry, &format!("{what}.{}", entry.name));
        document.policies.insert(entry.name.to_owned(), policy);
    }
    Some(document.policies.len() == node.entries())
}

fn policy(reader: &mut Reader, entry: &Named<'_>, what: &str) -> Policy {
    let before = reader.problems.len();
    let mut policy = Policy {
        origin: entry.origin.clone(),
        incomplete: false,
        ingress: None,
        egress: None,
        forward: None,
        default: None,
    };
    if let Some(fields) = reader.fields(entry.node, what, POLICY_KEYS) {
        policy.ingress = fields.optional(reader, "ingress", rules);
        policy.egress = fields.optional(reader, "egress", rules);
        policy.forward = fields.optional(reader, "forward", rules);
        policy.default = fields.optional(reader, "default", default);
    }
    policy.incomplete = reader.problems.len() > before;
    policy
}

fn action(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<Action>> {
    let words = Action::ALL.map(|action| (action.word(), action));
    reader.word(node, what, &words)
}

fn default(reader: &mut Reader, node: &Node, what: &str) -> Option<PolicyDefault> {
    if !matches!(node.value, Value::Map(_)) {
        return action(reader, node, what).map(PolicyDefault::All);
    }
    let fields = reader.fields(node, what, DEFAULT_ACTIONS_KEYS)?;
    Some(PolicyDefault::Each(DefaultActions {
        ingress: fields.optional(reader, "ingress", action),
        egress: fields.optional(reader, "egress", action),
        forward: fields.optional(reader, "forward", action),
    }))
}

/// A list of rules, without those that could not be read.
fn rules(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<Vec<Rule>>> {
    // A list whose items are all commented out is an empty list.
    if matches!(node.value, Value::Null) {
        return Some(reader.located(node, Vec::new()));
    }
    let items = reader.list(node, what, "rules")?.iter().enumerate();
    let rules = items
        .filter_map(|(i, node)| rule(reader, node, &at(what, i)))
        .collect();
    Some(reader.located(node, rules))
}

fn rule(reader: &mut Reader, node: &Node, what: &str) -> Option<Rule> {
    let (from, to, services, verb) = match &node.value {
        Value::Scalar(_, word) if word == RETURN => {
            (Party::Any, Party::Any, Services::Any, Verb::Return)
        }
        Value::Map(_) => {
            let fields = reader.fields(node, what, RULE_KEYS)?;
            let from = fields.optional(reader, "from", party_or_problem);
            let to = fields.optional(reader, "to", party_or_problem);
            let (verb, services) = verb(reader, &fields, node, what)?;
            (
                from.unwrap_or(Some(Party::Any))?,
                to.unwrap_or(Some(Party::Any))?,
                services,
                verb,
            )
        }
        _ => {
            let expected = "a rule such as `{ from: web, allow: tcp/80 }`, or the word `return`";
            return reader.wrong(node, what, expected);
        }
    };
    Some(Rule {
        origin: reader.origin(node),
        from,
        to,
        services,
        verb,
    })
}

/// One verb of a rule: its place, and what it says if that could be read.
struct Said {
    key: &'static str,
    origin: Origin,
    read: Option<(Verb, Services)>,
}

/// The one verb of a rule, and the services that it is for.
fn verb(
    reader: &mut Reader,
    fields: &Fields<'_>,
    node: &Node,
    what: &str,
) -> Option<(Verb, Services)> {
    let deciding = Action::ALL.map(|action| (action.word(), Verb::Decide(action)));
    let mut said = Vec::new();
    for (key, verb) in deciding.into_iter().chain([(RETURN, Verb::Return)]) {
        said.extend(fields.optional(reader, key, |reader, node, what| {
            Some(Said {
                key,
                origin: reader.origin(node),
                read: service::services(reader, node, what).map(|services| (verb, services)),
            })
        }));
    }
    let services = fields.optional(reader, "services", |reader, node, what| {
        let services = service::services(reader, node, what);
        Some((reader.origin(node), services))
    });
    said.extend(fields.optional(reader, "jump", |reader, node, what| {
        let chain = reader.text(node, what);
        let services = match &services {
            Some((_, read)) => read.clone(),
            None => Some(Services::Any),
        };
        Some(Said {
            key: "jump",
            origin: reader.origin(node),
            read: chain
                .zip(services)
                .map(|(chain, services)| (Verb::Jump(chain), services)),
        })
    }));
    let mut said = said.into_iter();
    let Some(first) = said.next() else {
        if !RULE_KEYS.iter().any(|key| fields.is_meant(key)) {
            reader.problems.push(
                Problem::new(format!("{what} does not say what to do"))
                    .at(&reader.origin(node), "this rule has no verb")
                    .help("add one of `allow`, `deny`, `reject`, `return` and `jump`, such as `allow: tcp/80`"),
            );
        }
        return None;
    };
    if let Some(again) = said.next() {
        reader.problems.push(
            Problem::new(format!("{what} says two things to do"))
                .at(&again.origin, format!("`{}` here", again.key))
                .at(&first.origin, format!("`{}` here", first.key))
                .help("write a rule for each"),
        );
        return None;
    }
    if let Some((origin, _)) = services.filter(|_| first.key != "jump") {
        let help = format!("write them behind the verb: `{}: tcp/80`", first.key);
        reader.problems.push(
            Problem::new(format!("{what} has `services`, which go with `jump`"))
                .at(&origin, "not here")
                .help(help),
        );
        return None;
    }
    first.read
}

/// The same as [`party`]; what could not be read is told apart from what is not there.
#[expect(clippy::unnecessary_wraps, reason = "this is how fields are read")]
fn party_or_problem(reader: &mut Reader, node: &Node, what: &str) -> Option<Option<Party>> {
    Some(party(reader, node, what))
}

/// One end of a connection.
fn party(reader: &mut Reader, node: &Node, what: &str) -> Option<Party> {
    let before = reader.problems.len();
    if let Value::Scalar(_, word) = &node.value
        && word == ANYBODY
    {
        return Some(Party::Any);
    }
    if let Value::List(items) = &node.value {
        if items.is_empty() {
            return reader.wrong_with_help(node, what, ONE_AT_LEAST, "write `any` for everybody");
        }
        let any = |node: &&Node| matches!(&node.value, Value::Scalar(_, word) if word == ANYBODY);
        if let Some(any) = items.iter().find(any) {
            if items.len() == 1 {
                return Some(Party::Any);
            }
            return beside_any(reader, any, what);
        }
    }
    let members = reader.one_or_many(node, what, member);
    (reader.problems.len() == before).then_some(Party::Of(members))
}

const ONE_AT_LEAST: &str = "one at least";

/// The problem of a list in which `any` makes the rest meaningless.
pub(super) fn beside_any<T>(reader: &mut Reader, any: &Node, what: &str) -> Option<T> {
    reader.problems.push(
        Problem::new(format!("{what} has `any` beside others"))
            .at(&reader.origin(any), "this contains them all")
            .help("write `any` alone, or leave it out"),
    );
    None
}

fn member(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<Member>> {
    let expected = "the name of a group, an address or a prefix, or `any`";
    let Value::Scalar(_, text) = &node.value else {
        return reader.wrong(node, what, expected);
    };
    if let Some(address) = scalar::parse_address(text) {
        return Some(reader.located(node, Member::Address(address)));
    }
    if is_object_name(text) {
        return Some(reader.located(node, Member::Group(text.clone())));
    }
    reader.wrong(node, what, expected)
}
