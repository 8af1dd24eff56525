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
//! | `PUBLIC` | hash | [`PublicKey`] | [`Public`] | 131,072 | user space | datapath: what addresses and ports stand for outside |
//! | `GATEWAYS` | hash | [`GatewayKey`] | [`Gateway`] | 16,384 | user space | datapath: may what leaves a router leave by another host |
//! | `SOURCES` | LPM trie | [`RouteKey`] | [`Source`] | 65,536 | user space | datapath: which addresses workloads are given outside |
//! | `POLICIES` | hash | [`PolicyList`] | [`Policy`] | 16,384 | user space | datapath: which rules hold |
//! | `IDENTITIES` | hash | [`IdentityKey`] | [`Identity`] | 262,144 | user space | datapath: which groups a workload's address is in |
//! | `IDENTITY_PREFIXES` | LPM trie | [`IdentityPrefixKey`] | [`Identity`] | 131,072 | user space | datapath: which groups any other address is in |
//! | `PREFIXES` | LPM trie | [`PrefixKey`] | [`Class`] | 1,048,576 | user space | datapath: which prefixes of a list cover an address |
//! | `SERVICES` | LPM trie | [`ServiceKey`] | [`Class`] | 1,048,576 | user space | datapath: which services of a list a packet is for |
//! | `MATCHES` | hash | [`MatchKey`] | [`Matches`] | 524,288 | user space | datapath: which rules match |
//! | `RULES` | hash | [`RuleKey`] | [`Rule`] | 1,048,576 | user space | datapath: what a rule says |
//! | `RULE_COUNTERS` | per-CPU hash | [`RuleId`] | [`RuleCounters`] | 131,072 | user space makes and removes rows, the datapath counts in them | user space |
//! | `RESOLVED` | LRU hash | [`NeighborKey`] | [`Resolved`] | 16,384 | datapath | datapath, user space (show): neighbors that were asked for |
//! | `ERROR_BUDGETS` | LRU hash | [`BudgetKey`] | [`Budget`] | 4,096 | datapath | datapath: how many ICMP errors may still be sent |
//! | `LEARNED` | LRU hash | [`FdbKey`] | [`LearnedEntry`] | 16,384 | datapath; user space forgets the stations of ports that left | datapath, user space (show) |
//! | `PEER_STATES` | hash | [`PortId`] | [`PeerState`](crate::record::PeerState) | 8,192 | datapath; user space forgets peers that left | user space |
//! | `FLOWS` | LRU hash | [`FlowKey`] | [`Flow`] | 131,072 | datapath | datapath, user space (show): connections that both sides take part in |
//! | `EMBRYOS` | LRU hash | [`FlowKey`] | [`Flow`] | 65,536 | datapath | as above: connections that may come to nothing |
//! | `FRAGMENTS` | LRU hash | [`FragmentKey`] | [`Start`] | 8,192 | datapath | datapath: which flow later fragments belong to |
//! | `EPOCHS` | hash | [`Vni`] | [`Epoch`] | 4,096 | user space | datapath: may a way that was found before still be used |
//! | `COUNTERS` | per-CPU hash | [`PortId`] | [`PortCounters`] | 12,289 | user space makes and removes rows, the datapath counts in them | user space |
//! | `EVENTS` | ring buffer | | [`DropEvent`](crate::record::DropEvent) | 256 KiB | datapath | user space |
//!
//! Maps that user space writes carry `BPF_F_RDONLY_PROG` (since Linux 5.2): a fault in the datapath
//! cannot corrupt the topology. Hash maps that user space writes are not preallocated: memory
//! follows use.
//!
//! A row is replaced as a whole by one system call. Rows that belong together are ordered: what a
//! row refers to is written before it and removed after it (see [`MapName::ALL`]).
//!
//! [`IfIndex`]: crate::IfIndex
//! [`Ip`]: crate::Ip
//! [`PolicyList`]: crate::PolicyList
//! [`PortId`]: crate::PortId
//! [`RuleId`]: crate::RuleId
//! [`Vni`]: crate::Vni

mod bridge;
mod flow;
mod nat;
mod policy;
mod port;
mod routing;
mod underlay;

pub use bridge::{
    FLOOD_MAX, FdbEntry, FdbKey, FloodKey, FloodMember, LearnedEntry, Neighbor, NeighborKey,
    Network,
};
pub use flow::{Epoch, Flow, FlowKey, FragmentKey, Start, Translation};
pub use nat::{Gateway, GatewayKey, Public, PublicKey, Source};
pub use policy::{
    Class, GROUPS_MAX, Identity, IdentityKey, IdentityPrefixKey, MatchKey, Matches, Policy,
    PrefixKey, RULES_MAX, Rule, RuleCounters, RuleKey, ServiceKey,
};
pub use port::{EgressPort, IngressPort};
pub use routing::{
    BUCKETS_MAX, Budget, BudgetKey, NextHop, NextHopKey, ROUTERS_MAX, Resolved, Route, RouteKey,
    RouterAddress, RouterAddressKey, RouterPort,
};
pub use underlay::{Direct, Member, MemberKey, Peer, Uplink};

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
    /// Counters per rule.
    RuleCounters = "RULE_COUNTERS", 131_072;
    /// What rules say.
    Rules = "RULES", 1_048_576;
    /// Which rules match.
    Matches = "MATCHES", 524_288;
    /// Which services of a list a packet is for.
    Services = "SERVICES", 1_048_576;
    /// Which prefixes of a list cover an address.
    Prefixes = "PREFIXES", 1_048_576;
    /// Which groups an address is in that no workload has.
    IdentityPrefixes = "IDENTITY_PREFIXES", 131_072;
    /// Which groups a workload's address is in.
    Identities = "IDENTITIES", 262_144;
    /// Which rules hold.
    Policies = "POLICIES", 16_384;
    /// Where a port leads.
    Ports = "PORTS", 12_288;
    /// Ports of virtual routers.
    RouterPorts = "ROUTER_PORTS", 65_536;
    /// Addresses of virtual routers.
    RouterAddresses = "ROUTER_ADDRESSES", 131_072;
    /// Next hops of routes that have several.
    NextHops = "NEXT_HOPS", 1_048_576;
    /// By which other hosts what leaves routers may leave.
    Gateways = "GATEWAYS", 16_384;
    /// Routes of virtual routers.
    Routes = "ROUTES", 2_097_152;
    /// Which addresses workloads are given outside.
    Sources = "SOURCES", 65_536;
    /// What addresses and ports stand for outside.
    Public = "PUBLIC", 131_072;
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
    /// Which ways that were found may still be used.
    Epochs = "EPOCHS", 4096;
}

/// Symbol and pin name of the map of learned MAC addresses, in which only the datapath writes rows.
pub const LEARNED: &str = "LEARNED";
/// How many learned MAC addresses a host remembers; beyond that the least recently used go first.
pub const LEARNED_ROWS: u32 = 16_384;
/// Symbol and pin name of the map of neighbors that the datapath asked for.
pub const RESOLVED: &str = "RESOLVED";
/// How many such neighbors a host remembers.
pub const RESOLVED_ROWS: u32 = 16_384;
/// Symbol and pin name of the map of packets that are cut into fragments.
pub const FRAGMENTS: &str = "FRAGMENTS";
/// How many such packets a host follows.
pub const FRAGMENT_ROWS: u32 = 8192;
/// Symbol and pin name of the map of ICMP budgets.
pub const ERROR_BUDGETS: &str = "ERROR_BUDGETS";
/// How many receivers of ICMP errors a host keeps a budget for.
pub const ERROR_BUDGET_ROWS: u32 = 4096;
/// Symbol and pin name of the map of what was heard from peers.
pub const PEER_STATES: &str = "PEER_STATES";
/// How many peers a host keeps that for.
pub const PEER_STATE_ROWS: u32 = 8192;
/// Symbol and pin name of the map of established connections.
pub const FLOWS: &str = "FLOWS";
/// How many directions of established connections a host remembers; beyond that the least recently
/// used go first.
pub const FLOW_ROWS: u32 = 131_072;
/// Symbol and pin name of the map of connections that are not established yet. They have a map of
/// their own, so that a flood of them never takes the place of what is established.
pub const EMBRYOS: &str = "EMBRYOS";
/// How many directions of such connections a host remembers.
pub const EMBRYO_ROWS: u32 = 65_536;
/// Symbol and pin name of the ring buffer of events.
pub const EVENTS: &str = "EVENTS";
/// Size of the ring buffer of events, in bytes.
pub const EVENTS_SIZE: u32 = 256 * 1024;
/// Symbol of the read-only global (`u32`) that switches events on when it is not 0.
pub const DROP_EVENTS: &str = "DROP_EVENTS";
