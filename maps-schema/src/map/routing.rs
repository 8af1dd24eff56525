//! Virtual routers: their ports, addresses and routes, and what they find out.

use crate::address::{Ip, Mac, Vni};
use crate::id::{NextHopList, PolicyList, PortId, RouterId};
use crate::plain::plain;

/// Where a virtual router plugs into a network, or its uplink, by which it leads to the outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct RouterPort {
    /// The router.
    pub router: RouterId,
    /// The network; [`Vni::NONE`] for an uplink.
    pub vni: Vni,
    /// The largest IP packet that it sends, in bytes.
    pub mtu: u32,
    /// Its IPv6 address, which ICMPv6 errors come from; unspecified if it has none.
    pub ipv6: Ip,
    /// Its IPv4 address in mapped form, which ICMP errors come from; unspecified if it has none.
    pub ipv4: Ip,
    /// Its MAC address.
    pub mac: Mac,
    /// [`RouterPort::CLAMPS_MSS`].
    pub flags: u16,
    /// The rules for what the router forwards, the same at each of its ports.
    pub policy: PolicyList,
}

impl RouterPort {
    /// Flag: of TCP segments that begin a connection and pass this port, the maximum segment size
    /// (RFC 9293 section 3.7.1) is lowered to what fits every link that they pass.
    pub const CLAMPS_MSS: u16 = 1;
}

/// Key of the addresses of virtual routers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct RouterAddressKey {
    /// The router.
    pub router: RouterId,
    /// One of its addresses, on whichever port.
    pub ip: Ip,
}

/// An address of a virtual router.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct RouterAddress {
    /// The port that has it.
    pub port: PortId,
}

/// Key of the routes: what is looked up, and what a route is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct RouteKey {
    /// How many bits of what follows count: 64, and the prefix's length, which for IPv4 is 96 more
    /// because addresses are mapped.
    pub prefix_len: u32,
    /// The router.
    pub router: RouterId,
    /// [`RouteKey::IPV4`] or [`RouteKey::IPV6`]: the default route of IPv6, `::/0`, would cover all
    /// mapped addresses too.
    pub family: u32,
    /// The destination.
    pub ip: Ip,
}

impl RouteKey {
    /// Routes for IPv4.
    pub const IPV4: u32 = 4;
    /// Routes for IPv6.
    pub const IPV6: u32 = 6;
    /// How many bits count before those of the address.
    pub const FIXED_BITS: u32 = 64;
    /// How many bits of an IPv4 address in mapped form are before the address itself.
    pub const MAPPED_BITS: u32 = 96;

    /// The key of a lookup: every bit counts.
    #[must_use]
    #[inline(always)]
    pub const fn lookup(router: RouterId, ip: Ip) -> Self {
        Self::new(router, ip, 128)
    }

    /// The key of a route to the first `bits` bits of an address in its 16-byte form.
    #[must_use]
    #[inline(always)]
    pub const fn new(router: RouterId, ip: Ip, bits: u32) -> Self {
        let family = if ip.is_v4() { Self::IPV4 } else { Self::IPV6 };
        Self {
            prefix_len: Self::FIXED_BITS + bits,
            router,
            family,
            ip,
        }
    }
}

/// A route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Route {
    /// [`Route::FORWARD`], [`Route::BLACKHOLE`], [`Route::REJECT`], [`Route::BROADCAST`] or
    /// [`Route::UPLINK`].
    pub kind: u32,
    /// 0 if there is one next hop, which `port` and `via` are; else the number of buckets, a power
    /// of two, of `next_hops`.
    pub buckets: u32,
    /// The next hops, by bucket.
    pub next_hops: NextHopList,
    /// The router's port that leads to the next hop.
    pub port: PortId,
    /// The next hop, or unspecified (`::`) if the destination itself is behind the port.
    pub via: Ip,
}

impl Route {
    /// Packets go to the next hop.
    pub const FORWARD: u32 = 0;
    /// Packets are dropped and nobody is told.
    pub const BLACKHOLE: u32 = 1;
    /// Packets are dropped and their senders are told.
    pub const REJECT: u32 = 2;
    /// The destination is the broadcast address of a connected subnet. Packets are dropped and nobody
    /// is told.
    pub const BROADCAST: u32 = 3;
    /// Packets go outside: `port` is the router's uplink on this host, or the port that leads to the host
    /// that has it, as every one of `next_hops` is.
    pub const UPLINK: u32 = 4;
}

/// How many buckets a route with several next hops has at most.
pub const BUCKETS_MAX: u32 = 256;

/// How many virtual routers a packet may pass: the datapath's walk is bounded.
pub const ROUTERS_MAX: u32 = 32;

/// Key of one next hop of several.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct NextHopKey {
    /// The list.
    pub list: NextHopList,
    /// The bucket, from 0.
    pub bucket: u32,
}

/// One next hop of several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct NextHop {
    /// The router's port that leads to it.
    pub port: PortId,
    /// As [`Route::via`].
    pub via: Ip,
}

/// A neighbor that the datapath asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Resolved {
    /// When it answered last, or was asked last, in nanoseconds of `CLOCK_MONOTONIC_COARSE`.
    pub time_ns: u64,
    /// The port that it is behind, or [`PortId::NONE`] while it has not answered.
    pub port: PortId,
    /// How often it was asked since it answered last.
    pub questions: u32,
    /// Its MAC address.
    pub mac: Mac,
    /// Always 0.
    pub reserved: u16,
}

/// Key of a budget of ICMP errors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct BudgetKey {
    /// The router that sends them.
    pub router: RouterId,
    /// Who gets them.
    pub ip: Ip,
}

/// A budget of ICMP errors: a token bucket (RFC 4443 section 2.4 (f)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Budget {
    /// When it was last spent from, in nanoseconds of `CLOCK_MONOTONIC_COARSE`.
    pub time_ns: u64,
    /// How many errors may be sent at once.
    pub tokens: u32,
    /// Always 0.
    pub reserved: u32,
}

plain! {
    RouterPort = 4 + 4 + 4 + 16 + 16 + 6 + 2 + 4;
    RouterAddressKey = 4 + 16;
    RouterAddress = 4;
    RouteKey = 4 + 4 + 4 + 16;
    Route = 4 + 4 + 4 + 4 + 16;
    NextHopKey = 4 + 4;
    NextHop = 4 + 16;
    Resolved = 8 + 4 + 4 + 6 + 2;
    BudgetKey = 4 + 16;
    Budget = 8 + 4 + 4;
}
