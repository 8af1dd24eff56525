//! The underlay: who may send through a tunnel, and for what.

use crate::address::{Ip, Mac, Vni};
use crate::id::PortId;
use crate::plain::plain;

/// An interface to the underlay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Uplink {
    /// This host's underlay address: what comes through a tunnel for any other is none of ours.
    pub address: Ip,
    /// One bit for each kind of tunnel that leads anywhere, and for the outside if routers have uplinks
    /// here: see [`Uplink::of`]. What comes in another one is the host's own.
    pub kinds: u32,
    /// Its MAC address.
    pub mac: Mac,
    /// Always 0.
    pub reserved: u16,
}

impl Uplink {
    /// The bit of a kind of tunnel, as [`EgressPort::kind`](super::EgressPort::kind).
    #[must_use]
    #[inline(always)]
    pub const fn of(kind: u32) -> u32 {
        1 << (kind & 0x1f)
    }
}

/// Who may send through a tunnel, by its underlay address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Peer {
    /// The port that leads to it.
    pub port: PortId,
    /// How its frames travel, as [`EgressPort::kind`](super::EgressPort::kind).
    pub kind: u32,
}

/// Key of what a peer may send for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct MemberKey {
    /// The port that leads to the peer.
    pub port: PortId,
    /// The network.
    pub vni: Vni,
}

/// A network that a peer may send for: it has stations there, or a router that leads there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Member {
    /// The flags that [`IngressPort`](super::IngressPort) has for what comes from it:
    /// [`IngressPort::PEER`](super::IngressPort::PEER) at least.
    pub flags: u32,
}

/// Where a workload's address is, for packets that come from the underlay without a tunnel
/// ([`EgressPort::DIRECT`](super::EgressPort::DIRECT)). Their destination is a workload on this host, their source one behind
/// such a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Direct {
    /// The workload's network.
    pub vni: Vni,
    /// The workload's port, or the port that leads to the peer that it is behind.
    pub port: PortId,
    /// The workload's MAC address.
    pub mac: Mac,
    /// The MAC address that packets from other networks reach it from; zero if there is no router.
    pub gateway: Mac,
}

plain! {
    Uplink = 16 + 4 + 6 + 2;
    Peer = 4 + 4;
    MemberKey = 4 + 4;
    Member = 4;
    Direct = 4 + 4 + 6 + 6;
}
