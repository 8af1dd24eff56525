//! The way to the outside: uplinks of routers, the translation of addresses there, and ports of
//! workloads that hosts publish.

mod publish;
mod resolve;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use maps_schema::PortId;

pub(super) use publish::resolve as resolve_publications;
pub(super) use resolve::resolve;

use super::PortRange;
use crate::source::Origin;

/// A router's way to the outside: through the own routing of hosts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uplink {
    /// Derived from the router's name; unique among all ports and never [`PortId::NONE`].
    pub id: PortId,
    /// The hosts whose uplinks are gateways, which are in [`Topology::hosts`](super::Topology::hosts);
    /// one at least. `None` for all of them, or for this machine if no hosts are named.
    pub hosts: Option<BTreeSet<String>>,
    /// Where it is given.
    pub origin: Origin,
}

impl Uplink {
    /// Whether a host's uplink is a gateway; `None` means this machine in a file without hosts.
    #[must_use]
    pub fn is_on(&self, host: Option<&str>) -> bool {
        match (&self.hosts, host) {
            (None, _) => true,
            (Some(hosts), Some(host)) => hosts.contains(host),
            (Some(_), None) => false,
        }
    }
}

/// How a router changes addresses of packets that go through its uplink. Floating addresses come first,
/// whatever the order; of the others the first one with the packet's source holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nat {
    /// What becomes of which addresses.
    pub translation: Translation,
    /// Where it is given.
    pub origin: Origin,
}

/// What becomes of which addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Translation {
    /// Connections from these sources have the address of the host whose uplink they take, in the
    /// family of the source.
    Masquerade {
        /// The sources, one prefix at least; none has host bits set.
        sources: BTreeSet<IpNet>,
    },
    /// Connections from these sources have an address of a pool.
    Source {
        /// The sources, one prefix at least; none has host bits set, and all have the pool's family.
        sources: BTreeSet<IpNet>,
        /// The pool.
        pool: Pool,
    },
    /// A station is known outside by another address, in both directions.
    Floating {
        /// The address that it is known by, which no other rule translates to.
        outside: IpAddr,
        /// The station's own, of the same family.
        inside: IpAddr,
    },
}

/// Addresses of one family from a first to a last one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Pool {
    first: IpAddr,
    last: IpAddr,
}

impl Pool {
    /// How many addresses a pool may have: each of them is a row that says whose it is.
    pub const ADDRESSES_MAX: u128 = 1 << 16;

    /// How many addresses it has.
    #[must_use]
    pub fn addresses(self) -> u128 {
        let number = |ip| match ip {
            IpAddr::V4(ip) => u128::from(Ipv4Addr::to_bits(ip)),
            IpAddr::V6(ip) => Ipv6Addr::to_bits(ip),
        };
        (number(self.last) - number(self.first)).saturating_add(1)
    }

    /// The addresses from `first` to `last`; `None` if there are none, or they are of two families.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        let orderly = first.is_ipv4() == last.is_ipv4() && first <= last;
        orderly.then_some(Self { first, last })
    }

    /// The first of them.
    #[must_use]
    pub const fn first(self) -> IpAddr {
        self.first
    }

    /// The last of them.
    #[must_use]
    pub const fn last(self) -> IpAddr {
        self.last
    }

    /// Whether an address is one of them.
    #[must_use]
    pub fn contains(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.first.is_ipv4() && self.first <= ip && ip <= self.last
    }

    /// Whether one of them is in a prefix.
    fn meets(self, prefix: &IpNet) -> bool {
        let same_family = prefix.addr().is_ipv4() == self.first.is_ipv4();
        same_family && self.first <= prefix.broadcast() && prefix.network() <= self.last
    }
}

impl From<IpAddr> for Pool {
    fn from(ip: IpAddr) -> Self {
        Self {
            first: ip,
            last: ip,
        }
    }
}

/// As a file has it: one address, or the first and the last.
impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.first != self.last {
            write!(f, "-{}", self.last)?;
        }
        Ok(())
    }
}

/// Ports of a workload's port that are reached by ports of hosts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publish {
    /// The router that it goes through: it is on the port's network and has an uplink.
    pub router: String,
    /// The hosts that have the ports: the workload's own if that is a gateway of the router, otherwise
    /// all that are. `None` is this machine, in a file without hosts.
    pub hosts: BTreeSet<Option<String>>,
    /// Which of the host's addresses. The unspecified one stands for all of its family; `None` for all
    /// of those families that the workload's port has an address of.
    pub address: Option<IpAddr>,
    /// TCP or UDP, by its number (IANA, "Protocol Numbers").
    pub protocol: u8,
    /// The host's ports.
    pub host_ports: PortRange,
    /// The workload's, as many: the first one is behind the host's first one, and so on.
    pub ports: PortRange,
    /// Where it is given.
    pub origin: Origin,
}

impl Publish {
    /// Whether some packet to a host could mean both of them, if it is the same host.
    fn collides(&self, other: &Self) -> bool {
        let unspecified = [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ];
        let addresses = match (self.address, other.address) {
            (None, _) | (_, None) => true,
            (Some(one), Some(other)) => {
                let all = unspecified.contains(&one) || unspecified.contains(&other);
                one == other || all && one.is_ipv4() == other.is_ipv4()
            }
        };
        addresses
            && self.protocol == other.protocol
            && self.host_ports.first() <= other.host_ports.last()
            && other.host_ports.first() <= self.host_ports.last()
    }
}
