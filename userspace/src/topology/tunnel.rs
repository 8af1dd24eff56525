//! How frames travel between hosts.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// How frames travel from one host to another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tunnel {
    /// In VXLAN (RFC 7348).
    Vxlan,
    /// In Geneve without options (RFC 8926).
    Geneve,
    /// In GRE with a key that is the VNI, carrying Ethernet (RFC 2784, RFC 2890).
    Gre,
    /// In no tunnel: the underlay routes the workloads' addresses.
    Direct,
}

impl Tunnel {
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
    /// As it is written in a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Gre => "gre",
            Self::Direct => "none",
        })
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

impl Default for Tunnels {
    fn default() -> Self {
        Self {
            default: Tunnel::Vxlan,
            pairs: BTreeMap::new(),
        }
    }
}
