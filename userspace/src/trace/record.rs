//! A frame's way through the datapath, with everything that was looked up.

use std::cell::RefCell;

use datapath::flow::Store;
use datapath::memory::{MemoryFrame, MemoryTables, port_ingress, uplink_ingress};
use datapath::policy::Ruling;
use datapath::{Action, Bytes as _, Count, Tables};
use maps_schema::map::{
    Budget, BudgetKey, Class, Direct, EgressPort, FdbEntry, FdbKey, FloodKey, FloodMember, Flow,
    FlowKey, FragmentKey, Gateway, GatewayKey, Identity, IdentityKey, IdentityPrefixKey,
    IngressPort, LearnedEntry, MatchKey, Matches, Member, MemberKey, Neighbor, NeighborKey,
    Network, NextHop, NextHopKey, Peer, Policy, PrefixKey, Public, PublicKey, Resolved, Route,
    RouteKey, RouterAddress, RouterAddressKey, RouterPort, Rule, RuleKey, ServiceKey, Source,
    Start, Uplink,
};
use maps_schema::record::PeerState;
use maps_schema::{DropReason, IfIndex, Ip, Mac, Phase, PolicyList, PortId, Vni};

/// Something that the datapath asked the tables or told them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lookup {
    Peer(Ip, Option<Peer>),
    Member(MemberKey, Option<Member>),
    Direct(Ip, Option<Direct>),
    IngressPort(Option<IngressPort>),
    EgressPort(PortId, Option<EgressPort>),
    Network(Vni, Option<Network>),
    Fdb(FdbKey, Option<FdbEntry>),
    Neighbor(NeighborKey, Option<Neighbor>),
    FloodMember(Option<FloodMember>),
    RouterPort(PortId, Option<RouterPort>),
    RouterAddress(RouterAddressKey, Option<RouterAddress>),
    Route(RouteKey, Option<Route>),
    NextHop(NextHopKey, Option<NextHop>),
    Public(PublicKey, Option<Public>),
    /// The key of what answers a connection whose source is translated.
    Claim(FlowKey),
    Resolved(NeighborKey, Option<Resolved>),
    Learned(FdbKey, Option<LearnedEntry>),
    Learn(FdbKey, LearnedEntry),
    Ruled(Ruling),
    Count(PortId, Count),
}

/// What happened to one frame.
pub(super) struct Passage {
    /// Where it came in.
    pub(super) interface: IfIndex,
    /// The MAC address that it was for.
    pub(super) destination: Mac,
    /// What the program does with it.
    pub(super) action: Action,
    /// The frame afterwards.
    pub(super) frame: MemoryFrame,
    /// What was looked up, in order.
    pub(super) lookups: Vec<Lookup>,
}

impl Passage {
    /// Sends a frame in from a workload.
    pub(super) fn new(tables: &MemoryTables, interface: IfIndex, wire: &[u8]) -> Self {
        let mut frame = MemoryFrame::from_wire(wire);
        let recorder = Recorder::new(tables);
        let destination = destination(&frame);
        let action = port_ingress(&mut frame, &recorder, interface);
        Self {
            interface,
            destination,
            action,
            frame,
            lookups: recorder.lookups.into_inner(),
        }
    }

    /// Sends a frame in from the underlay, whose `uplink` is.
    pub(super) fn from_underlay(tables: &MemoryTables, uplink: IfIndex, wire: &[u8]) -> Self {
        let mut frame = MemoryFrame::from_wire(wire);
        let recorder = Recorder::new(tables);
        let action = uplink_ingress(&mut frame, &recorder, uplink);
        Self {
            interface: uplink,
            // It has left its tunnel.
            destination: destination(&frame),
            action,
            frame,
            lookups: recorder.lookups.into_inner(),
        }
    }

    /// What left for the underlay, as it is on the wire but for the Ethernet addresses.
    pub(super) fn sent(&self, tables: &MemoryTables) -> Vec<Vec<u8>> {
        let copies = self.frame.copies.iter();
        let copies = copies.filter(|(interface, _)| tables.uplinks.contains_key(interface));
        let own = match self.action {
            Action::Underlay { .. } => Some(self.frame.to_wire()),
            _ => None,
        };
        copies.map(|(_, wire)| wire.clone()).chain(own).collect()
    }

    /// Whom a destination stands for.
    pub(super) fn meant(&self, destination: Ip) -> Ip {
        let mut lookups = self.lookups.iter();
        let found = lookups.find_map(|lookup| match lookup {
            Lookup::Public(_, Some(public)) => Some(public.ip),
            _ => None,
        });
        found.unwrap_or(destination)
    }

    /// Whether the frame was turned into an answer.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.action, Action::Deliver(to) | Action::Send(to) if to == self.interface)
    }

    /// Whether the frame itself, and not a router's question for its next hop, was flooded.
    pub(super) fn is_flooded(&self) -> bool {
        let (bridge, _) = self.parts();
        bridge
            .iter()
            .any(|lookup| matches!(lookup, Lookup::FloodMember(_)))
    }

    /// What was looked up before the frame came to a router, and from there on.
    pub(super) fn parts(&self) -> (&[Lookup], &[Lookup]) {
        let is_router = |lookup: &Lookup| matches!(lookup, Lookup::RouterPort(..));
        let first = self.lookups.iter().position(is_router);
        self.lookups.split_at(first.unwrap_or(self.lookups.len()))
    }

    /// Why the packet was dropped, also if its frame went back to its sender to say so.
    pub(super) fn refused(&self) -> Option<DropReason> {
        if let Action::Drop { reason, .. } = self.action {
            return Some(reason);
        }
        // Some copies of a flooded frame may be dropped, and others not.
        if self.is_flooded() && !self.reached().is_empty() {
            return None;
        }
        self.lookups.iter().find_map(|lookup| match lookup {
            Lookup::Count(_, Count::Drop(reason)) => Some(*reason),
            _ => None,
        })
    }

    /// Whether a router asked for its next hop just now.
    pub(super) fn is_asked(&self) -> bool {
        let (_, routers) = self.parts();
        let mut lookups = routers.iter();
        lookups.any(|lookup| matches!(lookup, Lookup::Network(..)))
    }

    /// The ports that got the frame or a copy, in order.
    pub(super) fn reached(&self) -> Vec<PortId> {
        let counts = self.lookups.iter();
        counts
            .filter_map(|lookup| match lookup {
                Lookup::Count(port, Count::Egress(_)) => Some(*port),
                _ => None,
            })
            .collect()
    }
}

fn destination(frame: &MemoryFrame) -> Mac {
    frame.fixed::<0, Mac>().unwrap_or(Mac::ZERO)
}

/// Tables that note what they are asked.
struct Recorder<'a> {
    tables: &'a MemoryTables,
    lookups: RefCell<Vec<Lookup>>,
}

impl<'a> Recorder<'a> {
    fn new(tables: &'a MemoryTables) -> Self {
        Self {
            tables,
            lookups: RefCell::default(),
        }
    }

    fn note(&self, lookup: Lookup) {
        self.lookups.borrow_mut().push(lookup);
    }
}

impl Tables for Recorder<'_> {
    fn ingress_port(&self, interface: IfIndex) -> Option<IngressPort> {
        let found = self.tables.ingress_port(interface);
        self.note(Lookup::IngressPort(found));
        found
    }

    fn egress_port(&self, port: PortId) -> Option<EgressPort> {
        let found = self.tables.egress_port(port);
        self.note(Lookup::EgressPort(port, found));
        found
    }

    // It is known where a frame comes in.
    fn uplink(&self, interface: IfIndex) -> Option<Uplink> {
        self.tables.uplink(interface)
    }

    fn peer(&self, address: Ip) -> Option<Peer> {
        let found = self.tables.peer(address);
        self.note(Lookup::Peer(address, found));
        found
    }

    fn member(&self, key: &MemberKey) -> Option<Member> {
        let found = self.tables.member(key);
        self.note(Lookup::Member(*key, found));
        found
    }

    fn direct(&self, address: Ip) -> Option<Direct> {
        let found = self.tables.direct(address);
        self.note(Lookup::Direct(address, found));
        found
    }

    fn peer_state(&self, port: PortId) -> Option<PeerState> {
        self.tables.peer_state(port)
    }

    fn update_peer_state(&self, port: PortId, update: impl Fn(&mut PeerState)) {
        self.tables.update_peer_state(port, update);
    }

    fn network(&self, vni: Vni) -> Option<Network> {
        let found = self.tables.network(vni);
        self.note(Lookup::Network(vni, found));
        found
    }

    fn fdb(&self, key: &FdbKey) -> Option<FdbEntry> {
        let found = Tables::fdb(self.tables, key);
        self.note(Lookup::Fdb(*key, found));
        found
    }

    fn neighbor(&self, key: &NeighborKey) -> Option<Neighbor> {
        let found = self.tables.neighbor(key);
        self.note(Lookup::Neighbor(*key, found));
        found
    }

    fn flood_member(&self, key: &FloodKey) -> Option<FloodMember> {
        let found = self.tables.flood_member(key);
        self.note(Lookup::FloodMember(found));
        found
    }

    fn router_port(&self, port: PortId) -> Option<RouterPort> {
        let found = self.tables.router_port(port);
        self.note(Lookup::RouterPort(port, found));
        found
    }

    fn router_address(&self, key: &RouterAddressKey) -> Option<RouterAddress> {
        let found = self.tables.router_address(key);
        self.note(Lookup::RouterAddress(*key, found));
        found
    }

    fn route(&self, key: &RouteKey) -> Option<Route> {
        let found = self.tables.route(key);
        self.note(Lookup::Route(*key, found));
        found
    }

    fn next_hop(&self, key: &NextHopKey) -> Option<NextHop> {
        let found = self.tables.next_hop(key);
        self.note(Lookup::NextHop(*key, found));
        found
    }

    fn public(&self, key: &PublicKey) -> Option<Public> {
        let found = self.tables.public(key);
        self.note(Lookup::Public(*key, found));
        found
    }

    fn gateway(&self, key: &GatewayKey) -> Option<Gateway> {
        self.tables.gateway(key)
    }

    fn source(&self, key: &RouteKey) -> Option<Source> {
        self.tables.source(key)
    }

    fn policy(&self, list: PolicyList) -> Option<Policy> {
        self.tables.policy(list)
    }

    fn identity(&self, key: &IdentityKey) -> Option<Identity> {
        self.tables.identity(key)
    }

    fn identity_prefix(&self, key: &IdentityPrefixKey) -> Option<Identity> {
        self.tables.identity_prefix(key)
    }

    fn prefix(&self, key: &PrefixKey) -> Option<Class> {
        self.tables.prefix(key)
    }

    fn service(&self, key: &ServiceKey) -> Option<Class> {
        self.tables.service(key)
    }

    fn matches(&self, key: &MatchKey) -> Option<&Matches> {
        self.tables.matches(key)
    }

    fn rule(&self, key: &RuleKey) -> Option<Rule> {
        self.tables.rule(key)
    }

    // Which rules were looked at says less than which one decided.
    fn ruled(&self, ruling: Ruling) {
        self.tables.ruled(ruling);
        self.note(Lookup::Ruled(ruling));
    }

    fn resolved(&self, key: &NeighborKey) -> Option<Resolved> {
        let found = Tables::resolved(self.tables, key);
        self.note(Lookup::Resolved(*key, found));
        found
    }

    // What routers note about neighbors and spend on errors is no decision about the packet.
    fn resolve(&self, key: &NeighborKey, resolved: &Resolved) {
        self.tables.resolve(key, resolved);
    }

    fn budget(&self, key: &BudgetKey) -> Option<Budget> {
        self.tables.budget(key)
    }

    fn spend(&self, key: &BudgetKey, budget: &Budget) {
        self.tables.spend(key, budget);
    }

    fn learned(&self, key: &FdbKey) -> Option<LearnedEntry> {
        let found = Tables::learned(self.tables, key);
        self.note(Lookup::Learned(*key, found));
        found
    }

    fn learn(&self, key: &FdbKey, entry: &LearnedEntry) {
        self.tables.learn(key, entry);
        self.note(Lookup::Learn(*key, *entry));
    }

    fn epoch(&self, _vni: Vni) -> u64 {
        // A trace walks the whole way, whatever the datapath remembers.
        0
    }

    fn visit_flow<R>(
        &self,
        store: Store,
        key: &FlowKey,
        visit: impl FnOnce(&mut Flow) -> R,
    ) -> Option<R> {
        self.tables.visit_flow(store, key, visit)
    }

    fn keep_flow(&self, store: Store, key: &FlowKey, flow: &Flow) -> bool {
        self.tables.keep_flow(store, key, flow)
    }

    fn claim_flow(&self, store: Store, key: &FlowKey, flow: &Flow) -> bool {
        const TRANSLATED: u8 = Flow::REPLY | Flow::DESTINATION;
        let is_claimed = self.tables.claim_flow(store, key, flow);
        // Of the answers' destination is translated what the packets' source becomes.
        if is_claimed && flow.flags & TRANSLATED == TRANSLATED {
            self.note(Lookup::Claim(*key));
        }
        is_claimed
    }

    fn forget_flow(&self, store: Store, key: &FlowKey) {
        self.tables.forget_flow(store, key);
    }

    fn start(&self, key: &FragmentKey) -> Option<Start> {
        self.tables.start(key)
    }

    fn note_start(&self, key: &FragmentKey, start: &Start) {
        self.tables.note_start(key, start);
    }

    fn now_ns(&self) -> u64 {
        Tables::now_ns(self.tables)
    }

    fn timeout_ns(&self, phase: Phase) -> u64 {
        self.tables.timeout_ns(phase)
    }

    fn precise_ns(&self) -> u64 {
        self.tables.precise_ns()
    }

    fn random(&self) -> u32 {
        self.tables.random()
    }

    fn count(&self, port: PortId, count: Count) {
        self.tables.count(port, count);
        self.note(Lookup::Count(port, count));
    }
}
