//! Ports: whose frames come in at an interface, and where a port leads.

use crate::address::{Ip, Mac, Vni};
use crate::id::{IfIndex, PolicyList, PortId};
use crate::plain::plain;

/// What the datapath must know about the port behind an interface when a frame comes in from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct IngressPort {
    /// The port.
    pub port: PortId,
    /// The network that it is plugged into.
    pub vni: Vni,
    /// The workload's MAC address.
    pub mac: Mac,
    /// [`IngressPort::LEARNING`], [`IngressPort::MAY_SPOOF`], [`IngressPort::PEER`],
    /// [`IngressPort::SERVED`], [`IngressPort::CLAMPS_MSS`], [`IngressPort::OUTSIDE`],
    /// [`IngressPort::HOST_NETNS`].
    pub flags: u8,
    /// Always 0.
    pub reserved: u8,
    /// The rules for what the workload sends.
    pub policy: PolicyList,
}

impl IngressPort {
    /// Flag: more than one station is behind this port; their MAC addresses are learned.
    pub const LEARNING: u8 = 1;
    /// Flag: anti-spoofing is off for this port.
    pub const MAY_SPOOF: u8 = 2;
    /// Flag: the port leads to a peer. No row of `INTERFACES` has it, but every one of `MEMBERS`.
    pub const PEER: u8 = 4;
    /// Flag: the peer is an ordinary VTEP, which neither answers for stations nor routes for its own:
    /// that is done for it here. It comes with [`IngressPort::PEER`].
    pub const SERVED: u8 = 8;

    /// Flag: TCP connections of the port's network are told to fit the way (see
    /// [`RouterPort::CLAMPS_MSS`](super::RouterPort::CLAMPS_MSS)). No port of another host has it: what
    /// comes from there was told already.
    pub const CLAMPS_MSS: u8 = 16;
    /// Flag: the port is a router's uplink, and what comes in there comes from the outside.
    pub const OUTSIDE: u8 = 32;
    /// Flag: both ends of the port's veth pair are in the host's own network namespace
    /// (see [`EgressPort::HOST_NETNS`]).
    pub const HOST_NETNS: u8 = 64;

    /// The port of a peer, as a network sees it for which the peer may send; `flags` are those of
    /// [`Member`](super::Member).
    #[must_use]
    #[inline(always)]
    pub const fn peer(port: PortId, vni: Vni, flags: u8) -> Self {
        Self {
            port,
            vni,
            mac: Mac::ZERO,
            flags,
            reserved: 0,
            policy: PolicyList::NONE,
        }
    }

    /// Whether the port leads to another host, and not to a workload or an ordinary VTEP.
    #[must_use]
    #[inline(always)]
    pub const fn is_host(&self) -> bool {
        Self::leads_to_host(self.flags)
    }

    /// As above, by the port's flags.
    #[must_use]
    #[inline(always)]
    pub const fn leads_to_host(flags: u8) -> bool {
        flags & (Self::PEER | Self::SERVED) == Self::PEER
    }
}

/// Where a port leads: to a workload on this host, through a tunnel to a peer, or to the outside.
///
/// A peer is a port like any other: all that is behind it is known, or learned, as being at that
/// port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct EgressPort {
    /// The host's end of the veth pair whose other end is in the workload's namespace; the uplink
    /// if the port leads to a peer.
    pub ifindex: IfIndex,
    /// [`EgressPort::WORKLOAD`], or how frames travel to the peer: [`EgressPort::VXLAN`],
    /// [`EgressPort::GENEVE`], [`EgressPort::GRE`], [`EgressPort::DIRECT`]; or [`EgressPort::UPLINK`],
    /// [`EgressPort::HOST_NETNS`].
    pub kind: u32,
    /// The largest IP packet that goes through the tunnel, in bytes; 0 for a workload.
    pub mtu: u32,
    /// The rules for what the workload is sent; none if the port leads to a peer.
    pub policy: PolicyList,
    /// This host's underlay address, which the outer header comes from.
    pub local: Ip,
    /// The peer's underlay address; with [`EgressPort::DIRECT`], the next hop on the way to it.
    pub remote: Ip,
}

impl EgressPort {
    // In this order, so that one comparison tells whether a peer is there, and one whether a workload is.

    /// A workload on this host.
    pub const WORKLOAD: u32 = 0;
    /// A workload that is this host itself. `bpf_redirect_peer` refuses an interface whose other end is in
    /// the same namespace, so that the frame is sent out of the one end to come in at the other.
    pub const HOST_NETNS: u32 = 1;
    /// The outside, by the host's own routing: a router's uplink.
    pub const UPLINK: u32 = 2;
    /// A peer, through VXLAN (RFC 7348).
    pub const VXLAN: u32 = 3;
    /// A peer, through Geneve without options (RFC 8926).
    pub const GENEVE: u32 = 4;
    /// A peer, through GRE with a key that is the VNI, carrying Ethernet (RFC 2784, RFC 2890).
    pub const GRE: u32 = 5;
    /// A peer, without a tunnel: the underlay routes the workloads' addresses.
    pub const DIRECT: u32 = 6;

    /// The port of a workload behind an interface of this host, which may be sent everything.
    #[must_use]
    pub const fn workload(ifindex: IfIndex) -> Self {
        Self {
            ifindex,
            kind: Self::WORKLOAD,
            mtu: 0,
            policy: PolicyList::NONE,
            local: Ip::UNSPECIFIED_V6,
            remote: Ip::UNSPECIFIED_V6,
        }
    }

    /// Where frames of this port come from, which may be sent everything: the interface is the one that they
    /// come in on.
    #[must_use]
    pub const fn behind(port: &IngressPort, ifindex: IfIndex) -> Self {
        Self {
            kind: if port.flags & IngressPort::HOST_NETNS == 0 {
                Self::WORKLOAD
            } else {
                Self::HOST_NETNS
            },
            ..Self::workload(ifindex)
        }
    }

    /// Whether it leads to a workload on this host, which may be the host itself.
    #[must_use]
    #[inline(always)]
    pub const fn is_workload(&self) -> bool {
        self.kind <= Self::HOST_NETNS
    }

    /// Whether it leads to a peer.
    #[must_use]
    #[inline(always)]
    pub const fn is_peer(&self) -> bool {
        self.kind > Self::UPLINK
    }
}

plain! {
    IngressPort = 4 + 4 + 6 + 1 + 1 + 4;
    EgressPort = 4 + 4 + 4 + 4 + 16 + 16;
}
