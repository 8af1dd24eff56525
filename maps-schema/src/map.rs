//! Every map, on one page.
//!
//! | map | kind | key | value | rows | written by | read by |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | `INTERFACES` | hash | [`IfIndex`] | [`IngressPort`] | 4,096 | user space | datapath: whose frame is this |
//! | `PORTS` | hash | [`PortId`] | [`EgressPort`] | 12,288 | user space | datapath: where does this port lead |
//! | `UPLINKS` | hash | [`IfIndex`] | [`Uplink`] | 64 | user space | datapath: which frames from the underlay are for this host |
//! | `PEERS` | hash | [`Ip`] | [`Peer`] | 8,192 | user space | datapath: who may send through a tunnel |
//! | `MEMBERS` | hash | [`MemberKey`] | [`Member`] | 262,144 | user space | datapath: which networks a peer may send for |
//! | `DIRECT` | hash | [`Ip`] | [`Direct`] | 131,072 | user space | datapath: whose packets come without a tunnel |
//! | `NETWORKS` | hash | [`Vni`] | [`Network`] | 4,096 | user space | datapath |
//! | `FDB` | hash | [`FdbKey`] | [`FdbEntry`] | 131,072 | user space | datapath: known MAC addresses |
//! | `NEIGHBORS` | hash | [`NeighborKey`] | [`Neighbor`] | 262,144 | user space | datapath: known IP addresses (ARP, ND, anti-spoofing) |
//! | `FLOOD` | hash | [`FloodKey`] | [`FloodMember`] | 65,536 | user space | datapath: members of flood lists |
//! | `ROUTER_PORTS` | hash | [`PortId`] | [`RouterPort`] | 65,536 | user space | datapath: ports of virtual routers |
//! | `ROUTER_ADDRESSES` | hash | [`RouterAddressKey`] | [`RouterAddress`] | 131,072 | user space | datapath: is this packet for the router itself |
//! | `ROUTES` | LPM trie | [`RouteKey`] | [`Route`] | 2,097,152 | user space | datapath: longest prefix |
//! | `NEXT_HOPS` | hash | [`NextHopKey`] | [`NextHop`] | 1,048,576 | user space | datapath: one of several equal next hops |
//! | `RESOLVED` | LRU hash | [`NeighborKey`] | [`Resolved`] | 16,384 | datapath | datapath, user space (show): neighbors that were asked for |
//! | `ERROR_BUDGETS` | LRU hash | [`BudgetKey`] | [`Budget`] | 4,096 | datapath | datapath: how many ICMP errors may still be sent |
//! | `LEARNED` | LRU hash | [`FdbKey`] | [`LearnedEntry`] | 16,384 | datapath; user space forgets the stations of ports that left | datapath, user space (show) |
//! | `PEER_STATES` | hash | [`PortId`] | [`PeerState`](crate::record::PeerState) | 8,192 | datapath; user space forgets peers that left | user space |
//! | `COUNTERS` | per-CPU hash | [`PortId`] | [`PortCounters`] | 12,289 | user space makes and removes rows, the datapath counts in them | user space |
//! | `EVENTS` | ring buffer | | [`DropEvent`](crate::record::DropEvent) | 256 KiB | datapath | user space |
//!
//! Maps that user space writes carry `BPF_F_RDONLY_PROG` (since Linux 5.2): a fault in the datapath
//! cannot corrupt the topology. Hash maps that user space writes are not preallocated: memory
//! follows use.
//!
//! A row is replaced as a whole by one system call. Rows that belong together are ordered: what a
//! row refers to is written before it and removed after it (see [`MapName::ALL`]).

use crate::address::{Ip, Mac, Vni};
use crate::id::{FloodList, IfIndex, NextHopList, PortId, RouterId};
use crate::plain::plain;
pub use crate::record::PortCounters;

/// Declares the maps that consist of rows: their symbol in the object and how many rows they hold.
macro_rules! maps {
    ($($(#[$doc:meta])+ $variant:ident = $symbol:literal, $rows:literal;)+) => {
        /// The maps whose rows user space plans.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum MapName {
            $($(#[$doc])+ $variant,)+
        }

        impl MapName {
            /// Every planned map, such that a row only refers to rows of maps before its own:
            /// rows are written in this order and removed in the opposite one.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The map's symbol in the datapath's object, and the name of its pin.
            #[must_use]
            pub const fn symbol(self) -> &'static str {
                match self { $(Self::$variant => $symbol,)+ }
            }

            /// How many rows the map holds at most.
            #[must_use]
            pub const fn rows(self) -> u32 {
                match self { $(Self::$variant => $rows,)+ }
            }
        }
    };
}

maps! {
    /// Counters per port.
    Counters = "COUNTERS", 12_289;
    /// Where a port leads.
    Ports = "PORTS", 12_288;
    /// Ports of virtual routers.
    RouterPorts = "ROUTER_PORTS", 65_536;
    /// Addresses of virtual routers.
    RouterAddresses = "ROUTER_ADDRESSES", 131_072;
    /// Next hops of routes that have several.
    NextHops = "NEXT_HOPS", 1_048_576;
    /// Routes of virtual routers.
    Routes = "ROUTES", 2_097_152;
    /// Known IP addresses.
    Neighbors = "NEIGHBORS", 262_144;
    /// Known MAC addresses.
    Fdb = "FDB", 131_072;
    /// Members of flood lists.
    Flood = "FLOOD", 65_536;
    /// Networks.
    Networks = "NETWORKS", 4096;
    /// Which port is behind an interface.
    Interfaces = "INTERFACES", 4096;
    /// Whose packets come from the underlay without a tunnel.
    Direct = "DIRECT", 131_072;
    /// Which networks a peer may send for.
    Members = "MEMBERS", 262_144;
    /// Who may send through a tunnel.
    Peers = "PEERS", 8192;
    /// Which frames from the underlay are for this host.
    Uplinks = "UPLINKS", 64;
}

/// Symbol and pin name of the map of learned MAC addresses, in which only the datapath writes rows.
pub const LEARNED: &str = "LEARNED";
/// How many learned MAC addresses a host remembers; beyond that the least recently used go first.
pub const LEARNED_ROWS: u32 = 16_384;
/// Symbol and pin name of the map of neighbors that the datapath asked for.
pub const RESOLVED: &str = "RESOLVED";
/// How many such neighbors a host remembers.
pub const RESOLVED_ROWS: u32 = 16_384;
/// Symbol and pin name of the map of ICMP budgets.
pub const ERROR_BUDGETS: &str = "ERROR_BUDGETS";
/// How many receivers of ICMP errors a host keeps a budget for.
pub const ERROR_BUDGET_ROWS: u32 = 4096;
/// Symbol and pin name of the map of what was heard from peers.
pub const PEER_STATES: &str = "PEER_STATES";
/// How many peers a host keeps that for.
pub const PEER_STATE_ROWS: u32 = 8192;
/// Symbol and pin name of the ring buffer of events.
pub const EVENTS: &str = "EVENTS";
/// Size of the ring buffer of events, in bytes.
pub const EVENTS_SIZE: u32 = 256 * 1024;
/// Symbol of the read-only global (`u32`) that switches events on when it is not 0.
pub const DROP_EVENTS: &str = "DROP_EVENTS";

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
    /// [`IngressPort::LEARNING`], [`IngressPort::MAY_SPOOF`], [`IngressPort::PEER`].
    pub flags: u8,
    /// Always 0.
    pub reserved: u8,
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

    /// Whether the port leads to another host, and not to a workload or an ordinary VTEP.
    #[must_use]
    #[inline(always)]
    pub const fn is_host(&self) -> bool {
        self.flags & (Self::PEER | Self::SERVED) == Self::PEER
    }
}

/// Where a port leads: to a workload on this host, or through a tunnel to a peer.
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
    /// [`EgressPort::GENEVE`], [`EgressPort::GRE`], [`EgressPort::DIRECT`].
    pub kind: u32,
    /// The largest IP packet that goes through the tunnel, in bytes; 0 for a workload.
    pub mtu: u32,
    /// Always 0.
    pub reserved: u32,
    /// This host's underlay address, which the outer header comes from.
    pub local: Ip,
    /// The peer's underlay address; with [`EgressPort::DIRECT`], the next hop on the way to it.
    pub remote: Ip,
}

impl EgressPort {
    /// A workload on this host.
    pub const WORKLOAD: u32 = 0;
    /// A peer, through VXLAN (RFC 7348).
    pub const VXLAN: u32 = 1;
    /// A peer, through Geneve without options (RFC 8926).
    pub const GENEVE: u32 = 2;
    /// A peer, through GRE with a key that is the VNI, carrying Ethernet (RFC 2784, RFC 2890).
    pub const GRE: u32 = 3;
    /// A peer, without a tunnel: the underlay routes the workloads' addresses.
    pub const DIRECT: u32 = 4;

    /// The port of a workload behind an interface of this host.
    #[must_use]
    pub const fn workload(ifindex: IfIndex) -> Self {
        Self {
            ifindex,
            kind: Self::WORKLOAD,
            mtu: 0,
            reserved: 0,
            local: Ip::UNSPECIFIED_V6,
            remote: Ip::UNSPECIFIED_V6,
        }
    }
}

/// An interface to the underlay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Uplink {
    /// This host's underlay address: what comes through a tunnel for any other is none of ours.
    pub address: Ip,
    /// One bit for each kind of tunnel that leads anywhere: see [`Uplink::of`]. What comes in another
    /// one is the host's own.
    pub kinds: u32,
}

impl Uplink {
    /// The bit of a kind of tunnel, as [`EgressPort::kind`].
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
    /// How its frames travel, as [`EgressPort::kind`].
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
    /// The flags that [`IngressPort`] has for what comes from it: [`IngressPort::PEER`] at least.
    pub flags: u32,
}

/// Where a workload's address is, for packets that come from the underlay without a tunnel
/// ([`EgressPort::DIRECT`]). Their destination is a workload on this host, their source one behind
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

/// Where a virtual router plugs into a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct RouterPort {
    /// The router.
    pub router: RouterId,
    /// The network.
    pub vni: Vni,
    /// The largest IP packet that it sends, in bytes.
    pub mtu: u32,
    /// Its IPv6 address, which ICMPv6 errors come from; unspecified if it has none.
    pub ipv6: Ip,
    /// Its IPv4 address in mapped form, which ICMP errors come from; unspecified if it has none.
    pub ipv4: Ip,
    /// Its MAC address.
    pub mac: Mac,
    /// Always 0.
    pub reserved: u16,
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
    /// [`Route::FORWARD`], [`Route::BLACKHOLE`], [`Route::REJECT`] or [`Route::BROADCAST`].
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
    IngressPort = 4 + 4 + 6 + 1 + 1;
    EgressPort = 4 + 4 + 4 + 4 + 16 + 16;
    Uplink = 16 + 4;
    Peer = 4 + 4;
    MemberKey = 4 + 4;
    Member = 4;
    Direct = 4 + 4 + 6 + 6;
    Network = 4 + 4 + 8 + 4 + 4;
    FdbKey = 4 + 6 + 2;
    FdbEntry = 4 + 4;
    LearnedEntry = 8 + 4 + 4;
    NeighborKey = 4 + 16;
    Neighbor = 4 + 6 + 2;
    RouterPort = 4 + 4 + 4 + 16 + 16 + 6 + 2;
    RouterAddressKey = 4 + 16;
    RouterAddress = 4;
    RouteKey = 4 + 4 + 4 + 16;
    Route = 4 + 4 + 4 + 4 + 16;
    NextHopKey = 4 + 4;
    NextHop = 4 + 16;
    Resolved = 8 + 4 + 4 + 6 + 2;
    BudgetKey = 4 + 16;
    Budget = 8 + 4 + 4;
    FloodKey = 4 + 4;
    FloodMember = 4 + 4;
}
