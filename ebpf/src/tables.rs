//! What the datapath looks up, behind a trait: the maps in the kernel, the plan in user space.

use core::hint::black_box;

use maps_schema::map::{
    Budget, BudgetKey, Class, Direct, EgressPort, FdbEntry, FdbKey, FloodKey, FloodMember, Flow,
    FlowKey, FragmentKey, Gateway, GatewayKey, Identity, IdentityKey, IdentityPrefixKey,
    IngressPort, LearnedEntry, MatchKey, Matches, Member, MemberKey, Neighbor, NeighborKey,
    Network, NextHop, NextHopKey, Peer, Policy, PortCounters, PrefixKey, Public, PublicKey,
    Resolved, Route, RouteKey, RouterAddress, RouterAddressKey, RouterPort, Rule, RuleKey,
    ServiceKey, Source, Start, Uplink,
};
use maps_schema::reason::REASON_SLOTS;
use maps_schema::record::PeerState;
use maps_schema::{DropReason, IfIndex, Ip, Phase, PolicyList, PortId, Vni};

use crate::policy::Ruling;

use crate::flow::Store;

/// Something to be counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// A frame of this many bytes entered the virtual network.
    Ingress(u32),
    /// A frame of this many bytes was handed to the port's workload.
    Egress(u32),
    /// A frame that entered here was dropped.
    Drop(DropReason),
}

impl Count {
    /// Adds what is to be counted.
    #[inline(always)]
    pub fn add_to(self, counters: &mut PortCounters) {
        match self {
            Self::Ingress(len) => {
                counters.ingress_packets += 1;
                counters.ingress_bytes += u64::from(len);
            }
            Self::Egress(len) => {
                counters.egress_packets += 1;
                counters.egress_bytes += u64::from(len);
            }
            Self::Drop(reason) => {
                // The compiler knows that a reason is always within bounds, but the verifier does
                // not; it must not be allowed to leave the mask out.
                let slot = usize::from(black_box(reason as u8)) & (REASON_SLOTS - 1);
                if let Some(drops) = counters.drops.get_mut(slot) {
                    *drops += 1;
                }
            }
        }
    }
}

/// The tables of one host. Rows are returned by value: a row that is replaced while the frame is
/// being looked at is seen before or after the change.
pub trait Tables {
    /// Which port is behind an interface.
    fn ingress_port(&self, interface: IfIndex) -> Option<IngressPort>;
    /// Where a port leads.
    fn egress_port(&self, port: PortId) -> Option<EgressPort>;
    /// Whether an interface leads to the underlay.
    fn uplink(&self, interface: IfIndex) -> Option<Uplink>;
    /// The peer with an underlay address.
    fn peer(&self, address: Ip) -> Option<Peer>;
    /// What a peer may send for a network.
    fn member(&self, key: &MemberKey) -> Option<Member>;
    /// Where an address is whose packets come without a tunnel.
    fn direct(&self, address: Ip) -> Option<Direct>;
    /// What was heard from a peer.
    fn peer_state(&self, port: PortId) -> Option<PeerState>;
    /// Notes what was heard from a peer. Fields that are left alone keep what others note in them
    /// meanwhile.
    fn update_peer_state(&self, port: PortId, update: impl Fn(&mut PeerState));
    /// A network.
    fn network(&self, vni: Vni) -> Option<Network>;
    /// Where a declared MAC address is.
    fn fdb(&self, key: &FdbKey) -> Option<FdbEntry>;
    /// Who has a declared IP address.
    fn neighbor(&self, key: &NeighborKey) -> Option<Neighbor>;
    /// A member of a flood list.
    fn flood_member(&self, key: &FloodKey) -> Option<FloodMember>;
    /// A port of a virtual router.
    fn router_port(&self, port: PortId) -> Option<RouterPort>;
    /// Whether a virtual router has an address.
    fn router_address(&self, key: &RouterAddressKey) -> Option<RouterAddress>;
    /// The route with the longest prefix that covers the destination.
    fn route(&self, key: &RouteKey) -> Option<Route>;
    /// One next hop of several.
    fn next_hop(&self, key: &NextHopKey) -> Option<NextHop>;
    /// What an address, or a port of one, stands for outside.
    fn public(&self, key: &PublicKey) -> Option<Public>;
    /// Whether what leaves a router may leave by another host.
    fn gateway(&self, key: &GatewayKey) -> Option<Gateway>;
    /// Which address a workload is given outside, by the longest prefix that covers its own.
    fn source(&self, key: &RouteKey) -> Option<Source>;
    /// Which rules hold.
    fn policy(&self, list: PolicyList) -> Option<Policy>;
    /// The groups of an address that a workload has.
    fn identity(&self, key: &IdentityKey) -> Option<Identity>;
    /// The groups of any other address, those of the longest prefix that covers it.
    fn identity_prefix(&self, key: &IdentityPrefixKey) -> Option<Identity>;
    /// The class of the longest prefix of a list that covers an address.
    fn prefix(&self, key: &PrefixKey) -> Option<Class>;
    /// The class of a service in a list.
    fn service(&self, key: &ServiceKey) -> Option<Class>;
    /// Which rules match. The row is not copied, as it is large and never changes.
    fn matches(&self, key: &MatchKey) -> Option<&Matches>;
    /// A rule.
    fn rule(&self, key: &RuleKey) -> Option<Rule>;
    /// Counts that a rule decided.
    fn ruled(&self, ruling: Ruling);
    /// A neighbor that was asked for.
    fn resolved(&self, key: &NeighborKey) -> Option<Resolved>;
    /// Notes what is known of a neighbor that was asked for.
    fn resolve(&self, key: &NeighborKey, resolved: &Resolved);
    /// How many ICMP errors a receiver may still get.
    fn budget(&self, key: &BudgetKey) -> Option<Budget>;
    /// Notes how many are left.
    fn spend(&self, key: &BudgetKey, budget: &Budget);
    /// Where a learned MAC address was last seen.
    fn learned(&self, key: &FdbKey) -> Option<LearnedEntry>;
    /// Notes where a MAC address was seen.
    fn learn(&self, key: &FdbKey, entry: &LearnedEntry);
    /// The epoch that the ways of a network's flows must be of; 0 if none of them may be used.
    fn epoch(&self, vni: Vni) -> u64;
    /// Looks at the row of a flow, and may change it. Others may do so at the same time.
    fn visit_flow<R>(
        &self,
        store: Store,
        key: &FlowKey,
        visit: impl FnOnce(&mut Flow) -> R,
    ) -> Option<R>;
    /// Writes the row of a flow. Says whether there was room.
    fn keep_flow(&self, store: Store, key: &FlowKey, flow: &Flow) -> bool;
    /// Writes the row of a flow that has none. Says whether it was so, and there was room.
    fn claim_flow(&self, store: Store, key: &FlowKey, flow: &Flow) -> bool;
    /// Removes the row of a flow.
    fn forget_flow(&self, store: Store, key: &FlowKey);
    /// What the first fragment of a packet says.
    fn start(&self, key: &FragmentKey) -> Option<Start>;
    /// Notes what it says.
    fn note_start(&self, key: &FragmentKey, start: &Start);
    /// The time that learned addresses age by, in nanoseconds; a few milliseconds coarse.
    fn now_ns(&self) -> u64;
    /// How long a connection may be silent, in nanoseconds.
    fn timeout_ns(&self, phase: Phase) -> u64;
    /// The time to a microsecond, in nanoseconds of the same clock; it costs ten times as much.
    fn precise_ns(&self) -> u64;
    /// A number that nobody foresees.
    fn random(&self) -> u32;
    /// Counts at a port; [`PortId::NONE`] counts what belongs to no port.
    fn count(&self, port: PortId, count: Count);
}
