//! The tables of one host in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use maps_schema::map::{
    Budget, BudgetKey, Class, Direct, EgressPort, Epoch, FdbEntry, FdbKey, FloodKey, FloodMember,
    Flow, FlowKey, FragmentKey, Gateway, GatewayKey, Identity, IdentityKey, IdentityPrefixKey,
    IngressPort, LearnedEntry, MapName, MatchKey, Matches, Member, MemberKey, Neighbor,
    NeighborKey, Network, NextHop, NextHopKey, Peer, Policy, PortCounters, PrefixKey, Public,
    PublicKey, Resolved, Route, RouteKey, RouterAddress, RouterAddressKey, RouterPort, Rule,
    RuleCounters, RuleKey, ServiceKey, Source, Start, Uplink,
};
use maps_schema::plain::from_bytes;
use maps_schema::record::PeerState;
use maps_schema::{IfIndex, Ip, Phase, PolicyList, PortId, RuleId, Timeouts, Vni};

use crate::flow::Store;
use crate::policy::Ruling;
use crate::tables::{Count, Tables};

/// The tables of one host in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryTables {
    /// `INTERFACES`.
    pub interfaces: BTreeMap<IfIndex, IngressPort>,
    /// `PORTS`.
    pub ports: BTreeMap<PortId, EgressPort>,
    /// `UPLINKS`.
    pub uplinks: BTreeMap<IfIndex, Uplink>,
    /// `PEERS`.
    pub peers: BTreeMap<Ip, Peer>,
    /// `MEMBERS`.
    pub members: BTreeMap<MemberKey, Member>,
    /// `DIRECT`.
    pub direct: BTreeMap<Ip, Direct>,
    /// `NETWORKS`.
    pub networks: BTreeMap<Vni, Network>,
    /// `FDB`.
    pub fdb: BTreeMap<FdbKey, FdbEntry>,
    /// `NEIGHBORS`.
    pub neighbors: BTreeMap<NeighborKey, Neighbor>,
    /// `FLOOD`.
    pub flood: BTreeMap<FloodKey, FloodMember>,
    /// `ROUTER_PORTS`.
    pub router_ports: BTreeMap<PortId, RouterPort>,
    /// `ROUTER_ADDRESSES`.
    pub router_addresses: BTreeMap<RouterAddressKey, RouterAddress>,
    /// `NEXT_HOPS`.
    pub next_hops: BTreeMap<NextHopKey, NextHop>,
    /// `ROUTES`.
    pub routes: BTreeMap<RouteKey, Route>,
    /// `PUBLIC`.
    pub public: BTreeMap<PublicKey, Public>,
    /// `GATEWAYS`.
    pub gateways: BTreeMap<GatewayKey, Gateway>,
    /// `SOURCES`.
    pub sources: BTreeMap<RouteKey, Source>,
    /// `POLICIES`.
    pub policies: BTreeMap<PolicyList, Policy>,
    /// `IDENTITIES`.
    pub identities: BTreeMap<IdentityKey, Identity>,
    /// `IDENTITY_PREFIXES`.
    pub identity_prefixes: BTreeMap<IdentityPrefixKey, Identity>,
    /// `PREFIXES`.
    pub prefixes: BTreeMap<PrefixKey, Class>,
    /// `SERVICES`.
    pub services: BTreeMap<ServiceKey, Class>,
    /// `MATCHES`.
    pub matches: BTreeMap<MatchKey, Matches>,
    /// `RULES`.
    pub rules: BTreeMap<RuleKey, Rule>,
    /// `RULE_COUNTERS`, summed over CPUs.
    pub rule_counters: RefCell<BTreeMap<RuleId, RuleCounters>>,
    /// `RESOLVED`.
    pub resolved: RefCell<BTreeMap<NeighborKey, Resolved>>,
    /// `ERROR_BUDGETS`.
    pub budgets: RefCell<BTreeMap<BudgetKey, Budget>>,
    /// `EPOCHS`.
    pub epochs: BTreeMap<Vni, Epoch>,
    /// `FLOWS`.
    pub connections: RefCell<BTreeMap<FlowKey, Flow>>,
    /// `EMBRYOS`.
    pub embryos: RefCell<BTreeMap<FlowKey, Flow>>,
    /// `FRAGMENTS`.
    pub fragments: RefCell<BTreeMap<FragmentKey, Start>>,
    /// `LEARNED`.
    pub learned: RefCell<BTreeMap<FdbKey, LearnedEntry>>,
    /// `PEER_STATES`.
    pub peer_states: RefCell<BTreeMap<PortId, PeerState>>,
    /// `COUNTERS`, summed over CPUs.
    pub counters: RefCell<BTreeMap<PortId, PortCounters>>,
    /// The time.
    pub now_ns: Cell<u64>,
    /// How long connections may be silent.
    pub timeouts: Timeouts,
    /// What the next random number follows from.
    pub seed: Cell<u32>,
}

impl MemoryTables {
    /// Puts a row in that is given as the kernel has it; `None` if a size is not the map's.
    #[must_use]
    pub fn insert(&mut self, map: MapName, key: &[u8], value: &[u8]) -> Option<()> {
        match map {
            MapName::Counters => {
                self.counters
                    .get_mut()
                    .insert(from_bytes(key)?, PortCounters::ZERO);
            }
            MapName::RuleCounters => {
                self.rule_counters
                    .get_mut()
                    .insert(from_bytes(key)?, RuleCounters::ZERO);
            }
            MapName::Rules => {
                self.rules.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Matches => {
                self.matches.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Services => {
                self.services.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Prefixes => {
                self.prefixes.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::IdentityPrefixes => {
                self.identity_prefixes
                    .insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Identities => {
                self.identities.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Policies => {
                self.policies.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Ports => {
                self.ports.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Neighbors => {
                self.neighbors.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::RouterPorts => {
                self.router_ports
                    .insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::RouterAddresses => {
                self.router_addresses
                    .insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::NextHops => {
                self.next_hops.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Routes => {
                self.routes.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Public => {
                self.public.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Gateways => {
                self.gateways.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Sources => {
                self.sources.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Fdb => {
                self.fdb.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Flood => {
                self.flood.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Networks => {
                self.networks.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Interfaces => {
                self.interfaces.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Direct => {
                self.direct.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Members => {
                self.members.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Peers => {
                self.peers.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Epochs => {
                self.epochs.insert(from_bytes(key)?, from_bytes(value)?);
            }
            MapName::Uplinks => {
                self.uplinks.insert(from_bytes(key)?, from_bytes(value)?);
            }
        }
        Some(())
    }
}

impl MemoryTables {
    fn flows(&self, store: Store) -> &RefCell<BTreeMap<FlowKey, Flow>> {
        match store {
            Store::Connections => &self.connections,
            Store::Embryos => &self.embryos,
        }
    }
}

/// Tries every length of prefix, the longest first, as the kernel's trie does in effect.
fn longest<'r, R: Copy + 'r>(ip: Ip, row: impl Fn(Ip, u32) -> Option<&'r R>) -> Option<R> {
    let target = u128::from_be_bytes(ip.octets());
    (0..=128).rev().find_map(|bits: u32| {
        let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
        row(Ip::from_octets((target & mask).to_be_bytes()), bits).copied()
    })
}

impl Tables for MemoryTables {
    fn ingress_port(&self, interface: IfIndex) -> Option<IngressPort> {
        self.interfaces.get(&interface).copied()
    }

    fn egress_port(&self, port: PortId) -> Option<EgressPort> {
        self.ports.get(&port).copied()
    }

    fn uplink(&self, interface: IfIndex) -> Option<Uplink> {
        self.uplinks.get(&interface).copied()
    }

    fn peer(&self, address: Ip) -> Option<Peer> {
        self.peers.get(&address).copied()
    }

    fn member(&self, key: &MemberKey) -> Option<Member> {
        self.members.get(key).copied()
    }

    fn direct(&self, address: Ip) -> Option<Direct> {
        self.direct.get(&address).copied()
    }

    fn peer_state(&self, port: PortId) -> Option<PeerState> {
        self.peer_states.borrow().get(&port).copied()
    }

    fn update_peer_state(&self, port: PortId, update: impl Fn(&mut PeerState)) {
        let mut states = self.peer_states.borrow_mut();
        update(states.entry(port).or_insert(PeerState::ZERO));
    }

    fn network(&self, vni: Vni) -> Option<Network> {
        self.networks.get(&vni).copied()
    }

    fn fdb(&self, key: &FdbKey) -> Option<FdbEntry> {
        self.fdb.get(key).copied()
    }

    fn neighbor(&self, key: &NeighborKey) -> Option<Neighbor> {
        self.neighbors.get(key).copied()
    }

    fn flood_member(&self, key: &FloodKey) -> Option<FloodMember> {
        self.flood.get(key).copied()
    }

    fn router_port(&self, port: PortId) -> Option<RouterPort> {
        self.router_ports.get(&port).copied()
    }

    fn router_address(&self, key: &RouterAddressKey) -> Option<RouterAddress> {
        self.router_addresses.get(key).copied()
    }

    fn route(&self, key: &RouteKey) -> Option<Route> {
        longest(key.ip, |ip, bits| {
            self.routes.get(&RouteKey {
                prefix_len: RouteKey::FIXED_BITS + bits,
                ip,
                ..*key
            })
        })
    }

    fn public(&self, key: &PublicKey) -> Option<Public> {
        self.public.get(key).copied()
    }

    fn gateway(&self, key: &GatewayKey) -> Option<Gateway> {
        self.gateways.get(key).copied()
    }

    fn source(&self, key: &RouteKey) -> Option<Source> {
        longest(key.ip, |ip, bits| {
            self.sources.get(&RouteKey {
                prefix_len: RouteKey::FIXED_BITS + bits,
                ip,
                ..*key
            })
        })
    }

    fn policy(&self, list: PolicyList) -> Option<Policy> {
        self.policies.get(&list).copied()
    }

    fn identity(&self, key: &IdentityKey) -> Option<Identity> {
        self.identities.get(key).copied()
    }

    fn identity_prefix(&self, key: &IdentityPrefixKey) -> Option<Identity> {
        longest(key.ip, |ip, bits| {
            self.identity_prefixes.get(&IdentityPrefixKey {
                prefix_len: IdentityPrefixKey::FIXED_BITS + bits,
                ip,
                ..*key
            })
        })
    }

    fn prefix(&self, key: &PrefixKey) -> Option<Class> {
        longest(key.ip, |ip, bits| {
            self.prefixes.get(&PrefixKey {
                prefix_len: PrefixKey::FIXED_BITS + bits,
                ip,
                ..*key
            })
        })
    }

    fn service(&self, key: &ServiceKey) -> Option<Class> {
        (0..=16).rev().find_map(|bits: u32| {
            let mask = u16::MAX.checked_shl(16 - bits).unwrap_or(0);
            let row = self.services.get(&ServiceKey {
                prefix_len: ServiceKey::FIXED_BITS + bits,
                port: (u16::from_be_bytes(key.port) & mask).to_be_bytes(),
                ..*key
            });
            row.copied()
        })
    }

    fn matches(&self, key: &MatchKey) -> Option<&Matches> {
        self.matches.get(key)
    }

    fn rule(&self, key: &RuleKey) -> Option<Rule> {
        self.rules.get(key).copied()
    }

    fn ruled(&self, ruling: Ruling) {
        if let Some(counters) = self.rule_counters.borrow_mut().get_mut(&ruling.rule) {
            counters.hits += 1;
        }
    }

    fn next_hop(&self, key: &NextHopKey) -> Option<NextHop> {
        self.next_hops.get(key).copied()
    }

    fn resolved(&self, key: &NeighborKey) -> Option<Resolved> {
        self.resolved.borrow().get(key).copied()
    }

    fn resolve(&self, key: &NeighborKey, resolved: &Resolved) {
        self.resolved.borrow_mut().insert(*key, *resolved);
    }

    fn budget(&self, key: &BudgetKey) -> Option<Budget> {
        self.budgets.borrow().get(key).copied()
    }

    fn spend(&self, key: &BudgetKey, budget: &Budget) {
        self.budgets.borrow_mut().insert(*key, *budget);
    }

    fn learned(&self, key: &FdbKey) -> Option<LearnedEntry> {
        self.learned.borrow().get(key).copied()
    }

    fn learn(&self, key: &FdbKey, entry: &LearnedEntry) {
        self.learned.borrow_mut().insert(*key, *entry);
    }

    fn epoch(&self, vni: Vni) -> u64 {
        self.epochs.get(&vni).map_or(0, |epoch| epoch.number)
    }

    fn visit_flow<R>(
        &self,
        store: Store,
        key: &FlowKey,
        visit: impl FnOnce(&mut Flow) -> R,
    ) -> Option<R> {
        self.flows(store).borrow_mut().get_mut(key).map(visit)
    }

    fn keep_flow(&self, store: Store, key: &FlowKey, flow: &Flow) -> bool {
        self.flows(store).borrow_mut().insert(*key, *flow);
        true
    }

    fn claim_flow(&self, store: Store, key: &FlowKey, flow: &Flow) -> bool {
        let mut flows = self.flows(store).borrow_mut();
        let is_free = !flows.contains_key(key);
        if is_free {
            flows.insert(*key, *flow);
        }
        is_free
    }

    fn forget_flow(&self, store: Store, key: &FlowKey) {
        self.flows(store).borrow_mut().remove(key);
    }

    fn start(&self, key: &FragmentKey) -> Option<Start> {
        self.fragments.borrow().get(key).copied()
    }

    fn note_start(&self, key: &FragmentKey, start: &Start) {
        self.fragments.borrow_mut().insert(*key, *start);
    }

    fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn timeout_ns(&self, phase: Phase) -> u64 {
        self.timeouts.of_ns(phase)
    }

    fn precise_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn random(&self) -> u32 {
        // Foreseen by whoever knows the seed, so that tests are (xorshift, Marsaglia 2003).
        let mut number = self.seed.get() | 1;
        number ^= number << 13;
        number ^= number >> 17;
        number ^= number << 5;
        self.seed.set(number);
        number
    }

    fn count(&self, port: PortId, count: Count) {
        if let Some(counters) = self.counters.borrow_mut().get_mut(&port) {
            count.add_to(counters);
        }
    }
}
