//! The maps, and the datapath's lookups in them.

use core::hint::black_box;

use aya_ebpf::Global;
use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, BPF_F_RDONLY_PROG, BPF_NOEXIST};
use aya_ebpf::helpers::generated::{
    bpf_get_prandom_u32, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns,
};
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use datapath::flow::Store;
use datapath::policy::Ruling;
use datapath::{Count, Scratch, Tables};
use maps_schema::map::{
    Budget, BudgetKey, Class, Direct, EMBRYO_ROWS, ERROR_BUDGET_ROWS, EVENTS_SIZE, EgressPort,
    Epoch, FLOW_ROWS, FRAGMENT_ROWS, FdbEntry, FdbKey, FloodKey, FloodMember, Flow, FlowKey,
    FragmentKey, Gateway, GatewayKey, Identity, IdentityKey, IdentityPrefixKey, IngressPort,
    LEARNED_ROWS, LearnedEntry, MapName, MatchKey, Matches, Member, MemberKey, Neighbor,
    NeighborKey, Network, NextHop, NextHopKey, PEER_STATE_ROWS, Peer, Policy, PortCounters,
    PrefixKey, Public, PublicKey, RESOLVED_ROWS, Resolved, Route, RouteKey, RouterAddress,
    RouterAddressKey, RouterPort, Rule, RuleCounters, RuleKey, ServiceKey, Source, Start, Uplink,
};
use maps_schema::record::PeerState;
use maps_schema::{IfIndex, Ip, Phase, PolicyList, PortId, RouterId, RuleId, Vni};

/// [`Timeouts`](maps_schema::Timeouts), in seconds. They are constant once the object is loaded.
#[unsafe(no_mangle)]
static TIMEOUTS: [Global<u32>; Phase::COUNT] = [const { Global::new(0) }; Phase::COUNT];

/// Flags of the maps that user space writes: memory follows use, and programs only read.
const PLANNED: u32 = BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG;

#[map]
static COUNTERS: PerCpuHashMap<PortId, PortCounters> =
    PerCpuHashMap::with_max_entries(MapName::Counters.rows(), BPF_F_NO_PREALLOC);
#[map]
static RULE_COUNTERS: PerCpuHashMap<RuleId, RuleCounters> =
    PerCpuHashMap::with_max_entries(MapName::RuleCounters.rows(), BPF_F_NO_PREALLOC);
#[map]
static RULES: HashMap<RuleKey, Rule> = HashMap::with_max_entries(MapName::Rules.rows(), PLANNED);
#[map]
static MATCHES: HashMap<MatchKey, Matches> =
    HashMap::with_max_entries(MapName::Matches.rows(), PLANNED);
#[map]
static SERVICES: LpmTrie<ServiceTarget, Class> =
    LpmTrie::with_max_entries(MapName::Services.rows(), PLANNED);
#[map]
static PREFIXES: LpmTrie<PrefixTarget, Class> =
    LpmTrie::with_max_entries(MapName::Prefixes.rows(), PLANNED);
#[map]
static IDENTITY_PREFIXES: LpmTrie<IdentityTarget, Identity> =
    LpmTrie::with_max_entries(MapName::IdentityPrefixes.rows(), PLANNED);
#[map]
static IDENTITIES: HashMap<IdentityKey, Identity> =
    HashMap::with_max_entries(MapName::Identities.rows(), PLANNED);
#[map]
static POLICIES: HashMap<PolicyList, Policy> =
    HashMap::with_max_entries(MapName::Policies.rows(), PLANNED);
#[map]
static PORTS: HashMap<PortId, EgressPort> =
    HashMap::with_max_entries(MapName::Ports.rows(), PLANNED);
#[map]
static ROUTER_PORTS: HashMap<PortId, RouterPort> =
    HashMap::with_max_entries(MapName::RouterPorts.rows(), PLANNED);
#[map]
static ROUTER_ADDRESSES: HashMap<RouterAddressKey, RouterAddress> =
    HashMap::with_max_entries(MapName::RouterAddresses.rows(), PLANNED);
#[map]
static NEXT_HOPS: HashMap<NextHopKey, NextHop> =
    HashMap::with_max_entries(MapName::NextHops.rows(), PLANNED);
#[map]
static ROUTES: LpmTrie<RouteTarget, Route> =
    LpmTrie::with_max_entries(MapName::Routes.rows(), PLANNED);
#[map]
static SOURCES: LpmTrie<RouteTarget, Source> =
    LpmTrie::with_max_entries(MapName::Sources.rows(), PLANNED);
#[map]
static PUBLIC: HashMap<PublicKey, Public> =
    HashMap::with_max_entries(MapName::Public.rows(), PLANNED);
#[map]
static GATEWAYS: HashMap<GatewayKey, Gateway> =
    HashMap::with_max_entries(MapName::Gateways.rows(), PLANNED);
#[map]
static RESOLVED: LruHashMap<NeighborKey, Resolved> = LruHashMap::with_max_entries(RESOLVED_ROWS, 0);
#[map]
static ERROR_BUDGETS: LruHashMap<BudgetKey, Budget> =
    LruHashMap::with_max_entries(ERROR_BUDGET_ROWS, 0);
#[map]
static NEIGHBORS: HashMap<NeighborKey, Neighbor> =
    HashMap::with_max_entries(MapName::Neighbors.rows(), PLANNED);
#[map]
static FDB: HashMap<FdbKey, FdbEntry> = HashMap::with_max_entries(MapName::Fdb.rows(), PLANNED);
#[map]
static FLOOD: HashMap<FloodKey, FloodMember> =
    HashMap::with_max_entries(MapName::Flood.rows(), PLANNED);
#[map]
static UPLINKS: HashMap<IfIndex, Uplink> =
    HashMap::with_max_entries(MapName::Uplinks.rows(), PLANNED);
#[map]
static PEERS: HashMap<Ip, Peer> = HashMap::with_max_entries(MapName::Peers.rows(), PLANNED);
#[map]
static MEMBERS: HashMap<MemberKey, Member> =
    HashMap::with_max_entries(MapName::Members.rows(), PLANNED);
#[map]
static DIRECT: HashMap<Ip, Direct> = HashMap::with_max_entries(MapName::Direct.rows(), PLANNED);
#[map]
static PEER_STATES: HashMap<PortId, PeerState> =
    HashMap::with_max_entries(PEER_STATE_ROWS, BPF_F_NO_PREALLOC);
#[map]
static EPOCHS: HashMap<Vni, Epoch> = HashMap::with_max_entries(MapName::Epochs.rows(), PLANNED);
#[map]
static FLOWS: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(FLOW_ROWS, 0);
#[map]
static EMBRYOS: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(EMBRYO_ROWS, 0);
#[map]
static FRAGMENTS: LruHashMap<FragmentKey, Start> = LruHashMap::with_max_entries(FRAGMENT_ROWS, 0);
#[map]
static NETWORKS: HashMap<Vni, Network> =
    HashMap::with_max_entries(MapName::Networks.rows(), PLANNED);
#[map]
static INTERFACES: HashMap<IfIndex, IngressPort> =
    HashMap::with_max_entries(MapName::Interfaces.rows(), PLANNED);
#[map]
static LEARNED: LruHashMap<FdbKey, LearnedEntry> = LruHashMap::with_max_entries(LEARNED_ROWS, 0);
#[map]
pub(super) static EVENTS: RingBuf = RingBuf::with_byte_size(EVENTS_SIZE, 0);

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's working memory. There is always one, but the verifier does not know that.
#[inline(always)]
pub(crate) fn scratch() -> Option<&'static mut Scratch> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: a program runs to its end on the CPU on which it began, and no other one that uses this
    // memory runs there meanwhile: TC and XDP programs run with bottom halves switched off, and neither
    // calls the other. The kernel gave it to us as zeros, which are a valid value, and only values were written to it since.
    Some(unsafe { &mut *scratch })
}

/// What a route is for, behind the prefix's length that aya's key has itself.
#[derive(Clone, Copy)]
#[repr(C)]
struct RouteTarget {
    router: RouterId,
    family: u32,
    ip: Ip,
}

impl RouteTarget {
    /// The key as aya wants it.
    #[inline(always)]
    fn key(key: &RouteKey) -> Key<Self> {
        let RouteKey {
            prefix_len,
            router,
            family,
            ip,
        } = *key;
        Key::new(prefix_len, Self { router, family, ip })
    }
}

/// What a prefix of a list is for.
#[derive(Clone, Copy)]
#[repr(C)]
struct PrefixTarget {
    list: PolicyList,
    family: u32,
    ip: Ip,
}

/// What a prefix of groups is for.
#[derive(Clone, Copy)]
#[repr(C)]
struct IdentityTarget {
    family: u32,
    ip: Ip,
}

/// What a range of ports is for.
#[derive(Clone, Copy)]
#[repr(C)]
struct ServiceTarget {
    list: PolicyList,
    protocol: u32,
    port: [u8; 2],
    reserved: [u8; 2],
}

/// The maps as the datapath's tables.
pub(crate) struct Maps;

/// The row of `key`, copied: the kernel may reuse a row's memory as soon as it was replaced.
#[inline(always)]
fn row<K, V: Copy>(map: &HashMap<K, V>, key: &K) -> Option<V> {
    // SAFETY: the kernel keeps the memory mapped while the program runs; the copy is a plain value,
    // for which any bytes are valid.
    unsafe { map.get(key) }.copied()
}

#[inline(always)]
fn flows(store: Store) -> &'static LruHashMap<FlowKey, Flow> {
    match store {
        Store::Connections => &FLOWS,
        Store::Embryos => &EMBRYOS,
    }
}

impl Tables for Maps {
    #[inline(always)]
    fn ingress_port(&self, interface: IfIndex) -> Option<IngressPort> {
        row(&INTERFACES, &interface)
    }

    #[inline(always)]
    fn egress_port(&self, port: PortId) -> Option<EgressPort> {
        row(&PORTS, &port)
    }

    #[inline(always)]
    fn uplink(&self, interface: IfIndex) -> Option<Uplink> {
        row(&UPLINKS, &interface)
    }

    #[inline(always)]
    fn peer(&self, address: Ip) -> Option<Peer> {
        row(&PEERS, &address)
    }

    #[inline(always)]
    fn member(&self, key: &MemberKey) -> Option<Member> {
        row(&MEMBERS, key)
    }

    #[inline(always)]
    fn direct(&self, address: Ip) -> Option<Direct> {
        row(&DIRECT, &address)
    }

    #[inline(always)]
    fn peer_state(&self, port: PortId) -> Option<PeerState> {
        // SAFETY: as in `row`.
        unsafe { PEER_STATES.get(port) }.copied()
    }

    #[inline(always)]
    fn update_peer_state(&self, port: PortId, update: impl Fn(&mut PeerState)) {
        if let Some(state) = PEER_STATES.get_ptr_mut(port) {
            // SAFETY: the kernel keeps the memory while the program runs. Other CPUs may write to it at
            // the same time: fields are plain integers, and of two notes either may be the last.
            update(unsafe { &mut *state });
            return;
        }
        let mut state = PeerState::ZERO;
        update(&mut state);
        // What cannot be noted now is noted with the peer's next frame.
        let _not_noted = PEER_STATES.insert(port, state, 0);
    }

    #[inline(always)]
    fn network(&self, vni: Vni) -> Option<Network> {
        row(&NETWORKS, &vni)
    }

    #[inline(always)]
    fn fdb(&self, key: &FdbKey) -> Option<FdbEntry> {
        row(&FDB, key)
    }

    #[inline(always)]
    fn neighbor(&self, key: &NeighborKey) -> Option<Neighbor> {
        row(&NEIGHBORS, key)
    }

    #[inline(always)]
    fn flood_member(&self, key: &FloodKey) -> Option<FloodMember> {
        row(&FLOOD, key)
    }

    #[inline(always)]
    fn router_port(&self, port: PortId) -> Option<RouterPort> {
        row(&ROUTER_PORTS, &port)
    }

    #[inline(always)]
    fn router_address(&self, key: &RouterAddressKey) -> Option<RouterAddress> {
        row(&ROUTER_ADDRESSES, key)
    }

    #[inline(always)]
    fn route(&self, key: &RouteKey) -> Option<Route> {
        ROUTES.get(RouteTarget::key(key)).copied()
    }

    #[inline(always)]
    fn next_hop(&self, key: &NextHopKey) -> Option<NextHop> {
        row(&NEXT_HOPS, key)
    }

    #[inline(always)]
    fn public(&self, key: &PublicKey) -> Option<Public> {
        row(&PUBLIC, key)
    }

    #[inline(always)]
    fn gateway(&self, key: &GatewayKey) -> Option<Gateway> {
        row(&GATEWAYS, key)
    }

    #[inline(always)]
    fn source(&self, key: &RouteKey) -> Option<Source> {
        SOURCES.get(RouteTarget::key(key)).copied()
    }

    #[inline(always)]
    fn policy(&self, list: PolicyList) -> Option<Policy> {
        row(&POLICIES, &list)
    }

    #[inline(always)]
    fn identity(&self, key: &IdentityKey) -> Option<Identity> {
        row(&IDENTITIES, key)
    }

    #[inline(always)]
    fn identity_prefix(&self, key: &IdentityPrefixKey) -> Option<Identity> {
        let IdentityPrefixKey {
            prefix_len,
            family,
            ip,
        } = *key;
        IDENTITY_PREFIXES
            .get(Key::new(prefix_len, IdentityTarget { family, ip }))
            .copied()
    }

    #[inline(always)]
    fn prefix(&self, key: &PrefixKey) -> Option<Class> {
        let PrefixKey {
            prefix_len,
            list,
            family,
            ip,
        } = *key;
        PREFIXES
            .get(Key::new(prefix_len, PrefixTarget { list, family, ip }))
            .copied()
    }

    #[inline(always)]
    fn service(&self, key: &ServiceKey) -> Option<Class> {
        let ServiceKey {
            prefix_len,
            list,
            protocol,
            port,
            reserved,
        } = *key;
        let target = ServiceTarget {
            list,
            protocol,
            port,
            reserved,
        };
        SERVICES.get(Key::new(prefix_len, target)).copied()
    }

    #[inline(always)]
    fn matches(&self, key: &MatchKey) -> Option<&Matches> {
        // SAFETY: the kernel keeps the memory mapped while the program runs. User space never changes
        // the row, and removes it only when nothing leads to its list any more.
        unsafe { MATCHES.get(key) }
    }

    #[inline(always)]
    fn rule(&self, key: &RuleKey) -> Option<Rule> {
        row(&RULES, key)
    }

    #[inline(always)]
    fn ruled(&self, ruling: Ruling) {
        if let Some(counters) = RULE_COUNTERS.get_ptr_mut(ruling.rule) {
            // SAFETY: as in `count`.
            unsafe { (*counters).hits += 1 };
        }
    }

    #[inline(always)]
    fn resolved(&self, key: &NeighborKey) -> Option<Resolved> {
        // SAFETY: as in `row`.
        unsafe { RESOLVED.get(key) }.copied()
    }

    #[inline(always)]
    fn resolve(&self, key: &NeighborKey, resolved: &Resolved) {
        // What cannot be noted now is noted with the next question or answer.
        let _not_noted = RESOLVED.insert(key, resolved, 0);
    }

    #[inline(always)]
    fn budget(&self, key: &BudgetKey) -> Option<Budget> {
        // SAFETY: as in `row`.
        unsafe { ERROR_BUDGETS.get(key) }.copied()
    }

    #[inline(always)]
    fn spend(&self, key: &BudgetKey, budget: &Budget) {
        // What cannot be noted is an error too many.
        let _not_noted = ERROR_BUDGETS.insert(key, budget, 0);
    }

    #[inline(always)]
    fn learned(&self, key: &FdbKey) -> Option<LearnedEntry> {
        // SAFETY: as in `row`.
        unsafe { LEARNED.get(key) }.copied()
    }

    #[inline(always)]
    fn learn(&self, key: &FdbKey, entry: &LearnedEntry) {
        // An address that cannot be noted now is noted with its next frame.
        let _not_learned = LEARNED.insert(key, entry, 0);
    }

    #[inline(always)]
    fn epoch(&self, vni: Vni) -> u64 {
        row(&EPOCHS, &vni).map_or(0, |epoch| epoch.number)
    }

    #[inline(always)]
    fn visit_flow<R>(
        &self,
        store: Store,
        key: &FlowKey,
        visit: impl FnOnce(&mut Flow) -> R,
    ) -> Option<R> {
        let flow = flows(store).get_ptr_mut(key)?;
        // SAFETY: the kernel keeps the memory while the program runs. Other CPUs may write to it at the
        // same time, and it may become another row's: fields are plain integers, and of two notes either
        // may be the last.
        Some(visit(unsafe { &mut *flow }))
    }

    #[inline(always)]
    fn keep_flow(&self, store: Store, key: &FlowKey, flow: &Flow) -> bool {
        flows(store).insert(key, flow, 0).is_ok()
    }

    #[inline(always)]
    fn claim_flow(&self, store: Store, key: &FlowKey, flow: &Flow) -> bool {
        flows(store)
            .insert(key, flow, u64::from(BPF_NOEXIST))
            .is_ok()
    }

    #[inline(always)]
    fn forget_flow(&self, store: Store, key: &FlowKey) {
        // What is not there any more need not be removed.
        let _gone = flows(store).remove(key);
    }

    #[inline(always)]
    fn start(&self, key: &FragmentKey) -> Option<Start> {
        // SAFETY: as in `row`.
        unsafe { FRAGMENTS.get(key) }.copied()
    }

    #[inline(always)]
    fn note_start(&self, key: &FragmentKey, start: &Start) {
        // What cannot be noted is a packet that is of no flow.
        let _not_noted = FRAGMENTS.insert(key, start, 0);
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: the helper takes nothing (since Linux 5.11).
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn timeout_ns(&self, phase: Phase) -> u64 {
        // The compiler knows how many there are, and would not tell the verifier.
        let index = black_box(phase as usize) & (Phase::COUNT - 1);
        let seconds = TIMEOUTS.get(index).map_or(0, Global::load);
        u64::from(seconds) * 1_000_000_000
    }

    #[inline(always)]
    fn precise_ns(&self) -> u64 {
        // SAFETY: the helper takes nothing.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: the helper takes nothing.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn count(&self, port: PortId, count: Count) {
        let Some(counters) = COUNTERS.get_ptr_mut(port) else {
            return;
        };
        // SAFETY: the row is this CPU's own, and a program is not interrupted by another one that
        // counts at the same port on the same CPU but for a nested run of itself, which at worst
        // loses a count.
        count.add_to(unsafe { &mut *counters });
    }
}
