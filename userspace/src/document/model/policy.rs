//! What a topology file may say about who may talk to whom.

use schemars::JsonSchema;

use crate::document::read::Located;
use crate::document::scalar::Address;
use crate::document::schema;
use crate::source::Origin;
use crate::topology::{Action, Direction, Services};

pub(in crate::document) const GROUP_KEYS: &[&str] = &["addresses"];

/// A security group: the ports that carry its name, on whatever host. Short forms: nothing, or
/// addresses that belong to it besides.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, transform = schema::or_its_members)]
pub struct Group {
    /// Where it is declared.
    #[schemars(skip)]
    pub origin: Origin,
    /// Addresses and prefixes that belong to it without being those of its ports, one or a list.
    #[schemars(default, with = "Vec<String>", transform = schema::or_one)]
    pub addresses: Vec<Located<Address>>,
}

pub(in crate::document) const POLICY_KEYS: &[&str] = &["ingress", "egress", "forward", "default"];

/// Which connections are let through. The first rule that matches the first packet of a connection
/// decides, and what belongs to the connection passes with it, replies and errors included. A
/// direction that it says nothing about is left open by it.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Policy {
    /// Where it is declared.
    #[schemars(skip)]
    pub origin: Origin,
    /// Whether parts of it could not be read.
    #[schemars(skip)]
    pub(crate) incomplete: bool,
    /// The rules for connections to the ports that it is for, in order.
    #[schemars(with = "Option<Vec<Rule>>", transform = schema::or_empty)]
    pub ingress: Option<Located<Vec<Rule>>>,
    /// The rules for connections from the ports that it is for, in order.
    #[schemars(with = "Option<Vec<Rule>>", transform = schema::or_empty)]
    pub egress: Option<Located<Vec<Rule>>>,
    /// The rules for what the routers forward that it is for, in order.
    #[schemars(with = "Option<Vec<Rule>>", transform = schema::or_empty)]
    pub forward: Option<Located<Vec<Rule>>>,
    /// What becomes of connections that no rule decides about: one word for all directions that the
    /// policy has rules for, or a word for each direction. `deny` unless given.
    #[schemars(with = "Option<DefaultActions>", transform = schema::or_an_action)]
    pub default: Option<PolicyDefault>,
}

impl Policy {
    /// The rules for one direction, if there are any.
    #[must_use]
    pub const fn list(&self, direction: Direction) -> Option<&Located<Vec<Rule>>> {
        match direction {
            Direction::Ingress => self.ingress.as_ref(),
            Direction::Egress => self.egress.as_ref(),
            Direction::Forward => self.forward.as_ref(),
        }
    }
}

/// What becomes of connections that no rule of a policy decides about.
#[derive(Clone, Debug)]
pub enum PolicyDefault {
    /// The same in all directions that the policy has rules for.
    All(Located<Action>),
    /// By direction.
    Each(DefaultActions),
}

pub(in crate::document) const DEFAULT_ACTIONS_KEYS: &[&str] = &["ingress", "egress", "forward"];

/// What becomes of connections that no rule of a policy decides about, by direction. A direction that
/// is named here needs no rules.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DefaultActions {
    /// Of those to the ports.
    #[schemars(with = "Option<Action>")]
    pub ingress: Option<Located<Action>>,
    /// Of those from the ports.
    #[schemars(with = "Option<Action>")]
    pub egress: Option<Located<Action>>,
    /// Of those that routers forward.
    #[schemars(with = "Option<Action>")]
    pub forward: Option<Located<Action>>,
}

impl DefaultActions {
    /// What is said for one direction.
    #[must_use]
    pub const fn of(&self, direction: Direction) -> Option<&Located<Action>> {
        match direction {
            Direction::Ingress => self.ingress.as_ref(),
            Direction::Egress => self.egress.as_ref(),
            Direction::Forward => self.forward.as_ref(),
        }
    }
}

pub(in crate::document) const RULE_KEYS: &[&str] = &[
    "from", "to", "allow", "deny", "reject", "return", "jump", "services",
];

/// A rule: whom it is about, and one verb, which is `allow`, `deny`, `reject`, `return` or `jump`. Short
/// form: `return`.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, transform = schema::with_one_verb)]
pub struct Rule {
    /// Where it is written.
    #[schemars(skip)]
    pub origin: Origin,
    /// Where the connection comes from: a group's name, an address, a prefix, a list of these, or
    /// `any`, as if nothing were given.
    #[schemars(with = "Option<Vec<String>>", length(min = 1), transform = schema::or_one)]
    pub from: Party,
    /// Where it goes to, in the same way.
    #[schemars(with = "Option<Vec<String>>", length(min = 1), transform = schema::or_one)]
    pub to: Party,
    /// What a `jump` is for, as behind the other verbs. `any` unless given.
    #[schemars(with = "Option<Vec<String>>", transform = schema::or_one_service)]
    pub services: Services,
    /// What it does.
    #[schemars(skip)]
    pub verb: Verb,
}

/// One end of a connection.
#[derive(Clone, Debug)]
pub enum Party {
    /// Whoever it is.
    Any,
    /// One of these: there is one at least.
    Of(Vec<Located<Member>>),
}

/// Whom a rule names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Member {
    /// An address, or a prefix.
    Address(Address),
    /// The group of this name.
    Group(String),
}

/// What a rule does.
#[derive(Clone, Debug)]
pub enum Verb {
    /// It decides.
    Decide(Action),
    /// It goes on with the chain of this name.
    Jump(Located<String>),
    /// It leaves its list.
    Return,
}
