//! How frames travel between hosts.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::hosts;
use super::merge::{Merged, across};
use crate::document::{Located, TunnelPair};
use crate::problem::Problem;

/// How frames travel from one host to another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, schemars::JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Tunnel {
    /// In VXLAN (RFC 7348).
    Vxlan,
    /// In Geneve without options (RFC 8926).
    Geneve,
    /// In GRE with a key that is the VNI, carrying Ethernet (RFC 2784, RFC 2890).
    Gre,
    /// In no tunnel: the underlay routes the workloads' addresses.
    #[schemars(rename = "none")]
    Direct,
}

impl Tunnel {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Vxlan, Self::Geneve, Self::Gre, Self::Direct];

    /// As it is written in a file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Gre => "gre",
            Self::Direct => "none",
        }
    }

    /// What is put before the inner IP packet, in bytes: the outer IP header, the tunnel's own
    /// headers and the inner Ethernet header. The outer Ethernet header is none of what an MTU counts.
    #[must_use]
    pub const fn overhead(self, underlay: IpAddr) -> u32 {
        const ETHERNET: u32 = 14;
        let ip = if underlay.is_ipv4() { 20 } else { 40 };
        match self {
            // UDP has 8 bytes, VXLAN 8, and Geneve without options 8.
            Self::Vxlan | Self::Geneve => ip + 8 + 8 + ETHERNET,
            // GRE has 4 bytes, and its key 4 more.
            Self::Gre => ip + 8 + ETHERNET,
            Self::Direct => 0,
        }
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Which tunnel there is between any two hosts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tunnels {
    /// Where nothing else is said.
    pub(super) default: Tunnel,
    /// By the names of both hosts, the smaller one first.
    pub(super) pairs: BTreeMap<(String, String), Tunnel>,
}

impl Tunnels {
    /// Checks what is said of tunnels between hosts.
    pub(super) fn resolve(merged: &Merged<'_>, problems: &mut Vec<Problem>) -> Self {
        let mut pairs: BTreeMap<(String, String), &TunnelPair> = BTreeMap::new();
        for given in merged.documents.iter().flat_map(|it| &it.tunnels) {
            if !is_between_two(given, merged, problems) {
                continue;
            }
            let [one, other] = &given.between;
            let pair = pair(one, other);
            match pairs.get(&pair) {
                Some(first) => problems.extend(again(first, given)),
                None => {
                    pairs.insert(pair, given);
                }
            }
        }
        Self {
            default: default(merged, problems),
            pairs: pairs
                .into_iter()
                .map(|(pair, given)| (pair, given.tunnel.value))
                .collect(),
        }
    }

    /// The kinds that there are between this many hosts.
    pub(super) fn kinds(&self, n_hosts: usize) -> impl Iterator<Item = Tunnel> {
        let n_pairs = n_hosts * n_hosts.saturating_sub(1) / 2;
        let default = (self.pairs.len() < n_pairs).then_some(self.default);
        self.pairs.values().copied().chain(default)
    }

    pub(super) fn between(&self, one: &str, other: &str) -> Tunnel {
        let pair = pair(one, other);
        let said = self.pairs.get(&pair).copied();
        said.unwrap_or(self.default)
    }
}

/// The names of two hosts, whichever is said first.
pub(super) fn pair(one: &str, other: &str) -> (String, String) {
    let (first, second) = if one < other {
        (one, other)
    } else {
        (other, one)
    };
    (first.to_owned(), second.to_owned())
}

/// What holds where nothing is said of a pair: all files mean the same hosts.
fn default(merged: &Merged<'_>, problems: &mut Vec<Problem>) -> Tunnel {
    let mut said = merged
        .documents
        .iter()
        .filter_map(|document| document.defaults.tunnel.as_ref());
    let Some(first) = said.next() else {
        return Tunnel::Vxlan;
    };
    if let Some(other) = said.find(|other| other.value != first.value) {
        problems.push(
            Problem::new(format!(
                "the tunnel of the defaults is {} in source {} and {} in source {}",
                first.value,
                first.origin.file.title(),
                other.value,
                other.origin.file.title()
            ))
            .at(&other.origin, "this one")
            .at(&first.origin, "differs from this one")
            .help("all loaded sources mean the same hosts: leave it out in one of them, and name pairs under `tunnels`"),
        );
    }
    first.value
}

fn is_between_two(given: &TunnelPair, merged: &Merged<'_>, problems: &mut Vec<Problem>) -> bool {
    let [one, other] = &given.between;
    let is_known = |host: &Located<String>| merged.hosts.contains_key(host.as_str());
    for host in given.between.iter().filter(|host| !is_known(host)) {
        problems.extend(hosts::unknown("a tunnel leads to", host, merged));
    }
    if one.value == other.value {
        problems.push(
            Problem::new(format!(
                "a tunnel leads from host {one} to itself",
                one = one.value
            ))
            .at(&other.origin, "the same host")
            .help("name two different hosts"),
        );
        return false;
    }
    given.between.iter().all(is_known)
}

/// The problem of a pair that is there twice, unless two sources say the same of it.
fn again(first: &TunnelPair, again: &TunnelPair) -> Option<Problem> {
    let is_elsewhere = !first.origin.same_file(&again.origin);
    if is_elsewhere && first.tunnel.value == again.tunnel.value {
        return None;
    }
    let [one, other] = &first.between;
    let tunnel = format!("the tunnel between {} and {}", one.value, other.value);
    let message = if is_elsewhere {
        format!(
            "{} and {} differ",
            across(&tunnel, &first.origin, &again.origin),
            across("the same", &again.origin, &first.origin)
        )
    } else {
        format!("{tunnel} is given twice")
    };
    Some(
        Problem::new(message)
            .at(&again.origin, "given again here")
            .at(&first.origin, "first given here")
            .help("keep one of the two"),
    )
}
