//! Policies: which packets may leave a workload, reach it, or pass a router.
//!
//! A policy list is a sequence of rules of which the first one that matches decides. It is looked up
//! by bit vectors (Lakshman and Stiliadis, SIGCOMM 1998): each property of a packet selects a vector
//! that has one bit for each rule which that property satisfies. A rule matches if its bit is set for
//! the packet's source, for its destination and for its service; the lowest such bit is the first
//! rule. So the cost grows with the number of rules divided by [`Matches::RULES`], and the order is
//! exact.
//!
//! A list never changes: its id follows from its content. Who is in a group is not part of it, so
//! that a new member costs one row however many lists speak of its group.

use crate::address::Ip;
use crate::id::{GroupId, PolicyList, RuleId};
use crate::plain::plain;

/// How many rules a list has at most, after the chains that it jumps to were put into it.
pub const RULES_MAX: u32 = 16_384;

/// How many groups an address is in at most.
pub const GROUPS_MAX: usize = 8;

/// A policy list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Policy {
    /// The part of the topology that it is for: networks that routers join, among which an address
    /// means one station.
    pub part: u32,
    /// How many rules it has; the last one that a packet can come to matches every packet.
    pub rules: u32,
}

/// Key of the addresses that workloads have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct IdentityKey {
    /// The part of the topology, as [`Policy::part`].
    pub part: u32,
    /// The address.
    pub ip: Ip,
}

/// Key of the addresses that groups have besides those of workloads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct IdentityPrefixKey {
    /// How many bits of what follows count, as [`RouteKey::prefix_len`](super::RouteKey::prefix_len)
    /// but for the router.
    pub prefix_len: u32,
    /// As [`RouteKey::family`](super::RouteKey::family).
    pub family: u32,
    /// The prefix.
    pub ip: Ip,
}

impl IdentityPrefixKey {
    /// How many bits count before those of the address.
    pub const FIXED_BITS: u32 = 32;

    /// The key of a lookup: every bit counts.
    #[must_use]
    #[inline(always)]
    pub const fn lookup(ip: Ip) -> Self {
        Self::new(ip, 128)
    }

    /// The key of the first `bits` bits of an address in its 16-byte form.
    #[must_use]
    #[inline(always)]
    pub const fn new(ip: Ip, bits: u32) -> Self {
        Self {
            prefix_len: Self::FIXED_BITS + bits,
            family: family(ip),
            ip,
        }
    }
}

/// Which groups an address is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Identity {
    /// The groups; behind the last one [`GroupId::NONE`].
    pub groups: [GroupId; GROUPS_MAX],
}

impl Identity {
    /// In no group.
    pub const NONE: Self = Self {
        groups: [GroupId::NONE; GROUPS_MAX],
    };
}

/// Key of the prefixes that the rules of a list speak of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct PrefixKey {
    /// How many bits of what follows count, as [`RouteKey::prefix_len`](super::RouteKey::prefix_len).
    pub prefix_len: u32,
    /// The list.
    pub list: PolicyList,
    /// As [`RouteKey::family`](super::RouteKey::family).
    pub family: u32,
    /// The prefix.
    pub ip: Ip,
}

impl PrefixKey {
    /// How many bits count before those of the address.
    pub const FIXED_BITS: u32 = 64;

    /// The key of a lookup: every bit counts.
    #[must_use]
    #[inline(always)]
    pub const fn lookup(list: PolicyList, ip: Ip) -> Self {
        Self::new(list, ip, 128)
    }

    /// The key of the first `bits` bits of an address in its 16-byte form.
    #[must_use]
    #[inline(always)]
    pub const fn new(list: PolicyList, ip: Ip, bits: u32) -> Self {
        Self {
            prefix_len: Self::FIXED_BITS + bits,
            list,
            family: family(ip),
            ip,
        }
    }
}

#[inline(always)]
const fn family(ip: Ip) -> u32 {
    if ip.is_v4() {
        super::RouteKey::IPV4
    } else {
        super::RouteKey::IPV6
    }
}

/// Key of the services that the rules of a list speak of: ranges of ports, as prefixes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct ServiceKey {
    /// How many bits of what follows count: 64 and those of the port.
    pub prefix_len: u32,
    /// The list.
    pub list: PolicyList,
    /// The IP protocol number.
    pub protocol: u32,
    /// The destination port, or type and code of an ICMP message, in network order; 0 where the
    /// protocol has neither.
    pub port: [u8; 2],
    /// Always 0.
    pub reserved: [u8; 2],
}

impl ServiceKey {
    /// How many bits count before those of the port.
    pub const FIXED_BITS: u32 = 64;

    /// The key of a lookup: every bit counts.
    #[must_use]
    #[inline(always)]
    pub const fn lookup(list: PolicyList, protocol: u8, port: u16) -> Self {
        Self::new(list, protocol, port, 16)
    }

    /// The key of the first `bits` bits of a port, in host order.
    #[must_use]
    #[inline(always)]
    pub const fn new(list: PolicyList, protocol: u8, port: u16, bits: u32) -> Self {
        Self {
            prefix_len: Self::FIXED_BITS + bits,
            list,
            protocol: protocol as u32,
            port: port.to_be_bytes(),
            reserved: [0; 2],
        }
    }
}

/// Which prefixes of a list cover an address, or which services of it a packet is for: a number that
/// means something in the rows of [`MatchKey`] only, and is not 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Class {
    /// The number.
    pub number: u32,
}

/// Key of a vector of bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct MatchKey {
    /// The list.
    pub list: PolicyList,
    /// Which property of a packet: [`MatchKey::SOURCE_PREFIX`] and so on.
    pub property: u32,
    /// A [`Class`], or a [`GroupId`].
    pub class: u32,
    /// Which [`Matches::RULES`] rules, from 0.
    pub chunk: u32,
}

impl MatchKey {
    /// The class of the source address; class 0 is any source.
    pub const SOURCE_PREFIX: u32 = 0;
    /// The class of the destination address; class 0 is any destination.
    pub const DESTINATION_PREFIX: u32 = 1;
    /// The class of protocol and port; class 0 is any service.
    pub const SERVICE: u32 = 2;
    /// A group that the source is in.
    pub const SOURCE_GROUP: u32 = 3;
    /// A group that the destination is in.
    pub const DESTINATION_GROUP: u32 = 4;
}

/// Which of [`Matches::RULES`] rules are satisfied by one property of a packet. There is a row only
/// where any is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Matches {
    /// One bit for each rule, the lowest bit of the first word for the first one.
    pub words: [u64; Self::WORDS],
}

impl Matches {
    /// How many words a vector has.
    pub const WORDS: usize = 8;
    /// How many rules a vector is for.
    pub const RULES: u32 = Self::WORDS as u32 * u64::BITS;
    /// Of no rule.
    pub const NONE: Self = Self {
        words: [0; Self::WORDS],
    };
}

/// Key of a rule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct RuleKey {
    /// The list.
    pub list: PolicyList,
    /// Position in it, from 0.
    pub idx: u32,
}

/// What becomes of the packets that a rule matches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Rule {
    /// [`Rule::ALLOW`], [`Rule::DENY`], [`Rule::REJECT`] or [`Rule::GOTO`].
    pub action: u32,
    /// The rule of the file; several rules of a list may come from one.
    pub id: RuleId,
    /// `GOTO`: the position at which the search goes on. It comes to no rule twice.
    pub target: u32,
}

impl Rule {
    /// The packet may pass.
    pub const ALLOW: u32 = 0;
    /// It is dropped, and nobody is told.
    pub const DENY: u32 = 1;
    /// It is dropped, and its sender is told.
    pub const REJECT: u32 = 2;
    /// Another rule decides.
    pub const GOTO: u32 = 3;
}

/// What a rule did, on one CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct RuleCounters {
    /// How often it decided.
    pub hits: u64,
}

impl RuleCounters {
    /// Nothing yet.
    pub const ZERO: Self = Self { hits: 0 };
}

plain! {
    Policy = 4 + 4;
    IdentityKey = 4 + 16;
    IdentityPrefixKey = 4 + 4 + 16;
    Identity = 4 * GROUPS_MAX;
    PrefixKey = 4 + 4 + 4 + 16;
    ServiceKey = 4 + 4 + 4 + 2 + 2;
    Class = 4;
    MatchKey = 4 + 4 + 4 + 4;
    Matches = 8 * Matches::WORDS;
    RuleKey = 4 + 4;
    Rule = 4 + 4 + 4;
    RuleCounters = 8;
}
