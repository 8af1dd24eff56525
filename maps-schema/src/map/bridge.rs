//! Bridges: networks, who is in them, and who is reached by a flood.

use crate::address::{Ip, Mac, Vni};
use crate::id::{FloodList, PortId, RouterId};
use crate::plain::plain;

/// A virtual L2 segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Network {
    /// The ports that a flooded frame goes to: those on this host, and one for every peer that has
    /// any.
    pub flood: FloodList,
    /// How many members that list has.
    pub flood_len: u32,
    /// Age in nanoseconds after which a learned MAC address is forgotten.
    pub ageing_ns: u64,
    /// [`Network::FLOOD_UNKNOWN`], [`Network::LEARNS`].
    pub flags: u32,
    /// Always 0.
    pub reserved: u32,
}

impl Network {
    /// Flag: frames to unknown unicast addresses are flooded; without it they are dropped.
    pub const FLOOD_UNKNOWN: u32 = 1;
    /// Flag: a port of this network learns, so that an address may be found in `LEARNED`.
    pub const LEARNS: u32 = 2;
}

/// The longest flood list: the datapath's loop over it is bounded.
pub const FLOOD_MAX: u32 = 1024;

/// Key of the forwarding database, for known and for learned addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct FdbKey {
    /// The network.
    pub vni: Vni,
    /// The station's address.
    pub mac: Mac,
    /// Always 0: a key of whole words is hashed faster (`jhash2`).
    pub reserved: [u8; 2],
}

impl FdbKey {
    /// The key of a station in a network.
    #[must_use]
    #[inline(always)]
    pub const fn new(vni: Vni, mac: Mac) -> Self {
        Self {
            vni,
            mac,
            reserved: [0; 2],
        }
    }
}

/// Where a known MAC address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct FdbEntry {
    /// The port that leads to it, of a workload or of a router.
    pub port: PortId,
    /// The router whose port it is, or [`RouterId::NONE`].
    pub router: RouterId,
}

/// Where a learned MAC address was last seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct LearnedEntry {
    /// When, in nanoseconds of `CLOCK_MONOTONIC_COARSE`.
    pub seen_ns: u64,
    /// The port that it was seen at.
    pub port: PortId,
    /// Always 0.
    pub reserved: u32,
}

/// Key of the known IP addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct NeighborKey {
    /// The network.
    pub vni: Vni,
    /// The station's address.
    pub ip: Ip,
}

impl NeighborKey {
    /// The key of nobody.
    pub const NONE: Self = Self {
        vni: Vni::NONE,
        ip: Ip::UNSPECIFIED_V6,
    };
}

/// Who has a known IP address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Neighbor {
    /// The port that may use the address as its source.
    pub port: PortId,
    /// The MAC address that ARP and neighbor discovery are answered with.
    pub mac: Mac,
    /// [`Neighbor::ROUTER`].
    pub flags: u16,
}

impl Neighbor {
    /// Flag: the port is a router's, so nobody but the datapath answers for the address.
    pub const ROUTER: u16 = 1;
}

/// Key of one member of a flood list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct FloodKey {
    /// The list.
    pub list: FloodList,
    /// Position in it, from 0.
    pub idx: u32,
}

/// One member of a flood list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct FloodMember {
    /// The port that gets a copy.
    pub port: PortId,
    /// The network that the list is of.
    pub vni: Vni,
}

plain! {
    Network = 4 + 4 + 8 + 4 + 4;
    FdbKey = 4 + 6 + 2;
    FdbEntry = 4 + 4;
    LearnedEntry = 8 + 4 + 4;
    NeighborKey = 4 + 16;
    Neighbor = 4 + 6 + 2;
    FloodKey = 4 + 4;
    FloodMember = 4 + 4;
}
