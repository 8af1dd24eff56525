//! Policies: which connections ports and routers let through.
//!
//! A policy is a list of rules for each direction. The first rule that matches the first packet of a
//! connection decides, and what belongs to the connection passes with it. The policies of a port are
//! those of its groups, which have their names, and that of its network: [`Topology::policies_of`].

mod chain;
mod membership;
mod resolve;
mod scope;
mod service;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use ipnet::IpNet;

pub(super) use resolve::resolve;

use super::family::Family;
use super::{Port, Topology};
use crate::source::Origin;

/// A security group: the ports that carry its name, and addresses besides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Addresses that belong to it without being those of its ports; none has host bits set.
    pub prefixes: BTreeSet<IpNet>,
    /// Where it is declared; for one that is not, where the first port carries it.
    pub origin: Origin,
}

/// A named list of rules that others jump to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chain {
    /// Its rules, in order; whoever jumped here goes on behind the jump after the last.
    pub rules: Vec<Rule>,
    /// Where it is declared.
    pub origin: Origin,
}

/// What holds for the ports of a group or a network, or for a router.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// What is judged on its way to the workload; `None` if the policy says nothing about it.
    pub ingress: Option<RuleList>,
    /// What is judged on its way from the workload.
    pub egress: Option<RuleList>,
    /// What is judged as a router forwards it.
    pub forward: Option<RuleList>,
    /// Where it is declared.
    pub origin: Origin,
}

impl Policy {
    /// What it says about one direction.
    #[must_use]
    pub const fn list(&self, direction: Direction) -> Option<&RuleList> {
        match direction {
            Direction::Ingress => self.ingress.as_ref(),
            Direction::Egress => self.egress.as_ref(),
            Direction::Forward => self.forward.as_ref(),
        }
    }
}

/// Which packets a list of rules is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Direction {
    /// Those to a workload.
    Ingress,
    /// Those from a workload.
    Egress,
    /// Those that a router forwards.
    Forward,
}

impl Direction {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 3] = [Self::Ingress, Self::Egress, Self::Forward];

    /// The key of its rules in a file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
            Self::Forward => "forward",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The rules of one policy for one direction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleList {
    /// The rules, in order.
    pub rules: Vec<Rule>,
    /// What becomes of a packet that none of them decides about. Where several policies hold for a
    /// port, the strictest of their defaults is in force.
    pub default: Action,
    /// Where the default is given; where the policy is, if it is not.
    pub default_origin: Origin,
}

/// What becomes of a packet, the mildest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, schemars::JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Action {
    /// It passes.
    Allow,
    /// It is dropped, and its sender is told: by a TCP reset or an ICMP error.
    Reject,
    /// It is dropped.
    Deny,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Deny, Self::Reject];

    /// What it is called in a file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Reject => "reject",
            Self::Deny => "deny",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One rule of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Where the packet comes from.
    pub source: Party,
    /// Where it goes to.
    pub destination: Party,
    /// What it is about.
    pub services: Services,
    /// What the rule does with a packet that all of this is true of.
    pub verb: Verb,
    /// Where it is written.
    pub origin: Origin,
}

/// One end of a conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Party {
    /// Whoever it is.
    Any,
    /// An address of one of these: there is one at least.
    Of {
        /// Names of groups, which are in [`Topology::groups`].
        groups: BTreeSet<String>,
        /// Addresses; none has host bits set.
        prefixes: BTreeSet<IpNet>,
    },
}

/// What packets are about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Services {
    /// Anything.
    Any,
    /// One of these: there is one at least.
    Of(Vec<Service>),
}

/// An IP protocol, and which of its ports.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Service {
    /// The protocol's number (IANA, "Protocol Numbers").
    pub protocol: u8,
    /// Destination ports, in host byte order. For ICMP and ICMPv6 they are the message's type and
    /// code, `type << 8 | code`. All of them for every protocol that has no ports.
    pub ports: PortRange,
}

/// Ports, with the first and the last; the last is not below the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// All ports.
    pub const ALL: Self = Self {
        first: 0,
        last: u16::MAX,
    };

    /// The ports from `first` to `last`; `None` if there are none.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first > last {
            None
        } else {
            Some(Self { first, last })
        }
    }

    /// The first of them.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The last of them.
    #[must_use]
    pub const fn last(self) -> u16 {
        self.last
    }

    /// How many they are.
    #[must_use]
    pub fn count(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }

    /// All of them.
    #[must_use]
    pub const fn range(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

/// What a rule does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verb {
    /// It decides.
    Decide(Action),
    /// It goes on with the chain of this name, which is in [`Topology::chains`]. No chain leads back
    /// to itself.
    Jump(String),
    /// It leaves its list. Behind the jump that led into a chain it goes on; in the list of a policy,
    /// with the port's next policy, and behind the last of them with the default.
    Return,
}

impl Topology {
    /// The policies that hold for a port, by name, in the order in which they are asked: those of its
    /// groups in the port's order, then its network's.
    pub fn policies_of<'t>(
        &'t self,
        port: &'t Port,
    ) -> impl Iterator<Item = (&'t str, &'t Policy)> {
        let network = self.networks.get(&port.network);
        let network = network.and_then(|network| network.policy.as_ref());
        let again = |name: &&String| port.groups.contains(name);
        let names = port.groups.iter();
        let names = names.chain(network.filter(|name| !again(name)));
        names.filter_map(|name| {
            let policy = self.policies.get_key_value(name)?;
            Some((policy.0.as_str(), policy.1))
        })
    }
}
