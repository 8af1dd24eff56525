//! The rows of the datapath's maps, as bytes: the plan knows what they mean, the kernel does not
//! care, and this module only knows how wide they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, Map, MapData, MapError, PerCpuHashMap, PerCpuValues};
use aya::util::nr_cpus;
use maps_schema::map::{
    Class, Direct, EMBRYOS, ERROR_BUDGETS, EVENTS, EgressPort, Epoch, FLOWS, FRAGMENTS, FdbEntry,
    FdbKey, FloodKey, FloodMember, Flow, FlowKey, Gateway, GatewayKey, Identity, IdentityKey,
    IdentityPrefixKey, IngressPort, LEARNED, LearnedEntry, MapName, MatchKey, Matches, Member,
    MemberKey, Neighbor, NeighborKey, Network, NextHop, NextHopKey, PEER_STATES, Peer, Policy,
    PortCounters, PrefixKey, Public, PublicKey, RESOLVED, Resolved, Route, RouteKey, RouterAddress,
    RouterAddressKey, RouterPort, Rule, RuleCounters, RuleKey, ServiceKey, Source, Uplink,
};
use maps_schema::plain::bytes_of;
use maps_schema::reason::REASON_SLOTS;
use maps_schema::record::PeerState;
use maps_schema::{IfIndex, Ip, PolicyList, PortId, RuleId, Vni};

use super::resize;

/// `BPF_NOEXIST` of `linux/bpf.h`: write the row only if there is none.
const BPF_NOEXIST: u64 = 1;
/// `BPF_ANY`: write it whether or not there is one.
const BPF_ANY: u64 = 0;

/// Size in bytes of the length of a prefix, which the key of a trie begins with.
const PREFIX_LEN: usize = size_of::<u32>();

/// How long the kernel is given to fill up its stock of rows before each further try, in milliseconds.
const STOCK_PAUSES_MS: [u64; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

/// The rows of one map, by key.
pub type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// The pinned maps of an instance.
#[derive(Debug)]
pub(super) struct Maps {
    planned: BTreeMap<MapName, Map>,
    learned: Map,
    resolved: Map,
    peer_states: Map,
    connections: Map,
    embryos: Map,
}

/// Calls a function of this module with the widths of a map's keys and values.
macro_rules! with_widths {
    ($name:expr, $function:ident($($argument:expr),*)) => {
        match $name {
            MapName::Counters => {
                $function::<{ size_of::<PortId>() }, { size_of::<PortCounters>() }>($($argument),*)
            }
            MapName::RuleCounters => {
                $function::<{ size_of::<RuleId>() }, { size_of::<RuleCounters>() }>($($argument),*)
            }
            MapName::Rules => {
                $function::<{ size_of::<RuleKey>() }, { size_of::<Rule>() }>($($argument),*)
            }
            MapName::Matches => {
                $function::<{ size_of::<MatchKey>() }, { size_of::<Matches>() }>($($argument),*)
            }
            // aya adds the length of the prefix, the first word of a trie's key, by itself.
            MapName::Services => {
                $function::<{ size_of::<ServiceKey>() - PREFIX_LEN }, { size_of::<Class>() }>($($argument),*)
            }
            MapName::Prefixes => {
                $function::<{ size_of::<PrefixKey>() - PREFIX_LEN }, { size_of::<Class>() }>($($argument),*)
            }
            MapName::IdentityPrefixes => {
                $function::<{ size_of::<IdentityPrefixKey>() - PREFIX_LEN }, { size_of::<Identity>() }>($($argument),*)
            }
            MapName::Identities => {
                $function::<{ size_of::<IdentityKey>() }, { size_of::<Identity>() }>($($argument),*)
            }
            MapName::Policies => {
                $function::<{ size_of::<PolicyList>() }, { size_of::<Policy>() }>($($argument),*)
            }
            MapName::Ports => {
                $function::<{ size_of::<PortId>() }, { size_of::<EgressPort>() }>($($argument),*)
            }
            MapName::RouterPorts => {
                $function::<{ size_of::<PortId>() }, { size_of::<RouterPort>() }>($($argument),*)
            }
            MapName::RouterAddresses => {
                $function::<{ size_of::<RouterAddressKey>() }, { size_of::<RouterAddress>() }>($($argument),*)
            }
            MapName::NextHops => {
                $function::<{ size_of::<NextHopKey>() }, { size_of::<NextHop>() }>($($argument),*)
            }
            MapName::Routes => {
                $function::<{ size_of::<RouteKey>() - PREFIX_LEN }, { size_of::<Route>() }>($($argument),*)
            }
            MapName::Gateways => {
                $function::<{ size_of::<GatewayKey>() }, { size_of::<Gateway>() }>($($argument),*)
            }
            MapName::Sources => {
                $function::<{ size_of::<RouteKey>() - PREFIX_LEN }, { size_of::<Source>() }>($($argument),*)
            }
            MapName::Public => {
                $function::<{ size_of::<PublicKey>() }, { size_of::<Public>() }>($($argument),*)
            }
            MapName::Neighbors => {
                $function::<{ size_of::<NeighborKey>() }, { size_of::<Neighbor>() }>($($argument),*)
            }
            MapName::Fdb => {
                $function::<{ size_of::<FdbKey>() }, { size_of::<FdbEntry>() }>($($argument),*)
            }
            MapName::Flood => {
                $function::<{ size_of::<FloodKey>() }, { size_of::<FloodMember>() }>($($argument),*)
            }
            MapName::Networks => {
                $function::<{ size_of::<Vni>() }, { size_of::<Network>() }>($($argument),*)
            }
            MapName::Interfaces => {
                $function::<{ size_of::<IfIndex>() }, { size_of::<IngressPort>() }>($($argument),*)
            }
            MapName::Direct => {
                $function::<{ size_of::<Ip>() }, { size_of::<Direct>() }>($($argument),*)
            }
            MapName::Members => {
                $function::<{ size_of::<MemberKey>() }, { size_of::<Member>() }>($($argument),*)
            }
            MapName::Peers => {
                $function::<{ size_of::<Ip>() }, { size_of::<Peer>() }>($($argument),*)
            }
            MapName::Epochs => {
                $function::<{ size_of::<Vni>() }, { size_of::<Epoch>() }>($($argument),*)
            }
            MapName::Uplinks => {
                $function::<{ size_of::<IfIndex>() }, { size_of::<Uplink>() }>($($argument),*)
            }
        }
    };
}

/// The symbols of all maps, which are also the names of their pins.
pub(super) fn symbols() -> impl Iterator<Item = &'static str> {
    let planned = MapName::ALL.iter().map(|name| name.symbol());
    planned.chain([
        LEARNED,
        RESOLVED,
        ERROR_BUDGETS,
        PEER_STATES,
        FLOWS,
        EMBRYOS,
        FRAGMENTS,
        EVENTS,
    ])
}

impl Maps {
    /// The maps pinned in a folder; all of them must be there.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let mut planned = BTreeMap::new();
        for &name in MapName::ALL {
            planned.insert(name, open(dir, name.symbol())?);
        }
        let maps = Self {
            planned,
            learned: open(dir, LEARNED)?,
            resolved: open(dir, RESOLVED)?,
            peer_states: open(dir, PEER_STATES)?,
            connections: open(dir, FLOWS)?,
            embryos: open(dir, EMBRYOS)?,
        };
        for &name in MapName::ALL {
            maps.rows_or_width_error(name)?;
        }
        Ok(maps)
    }

    /// Notices a map of other widths when it is opened and not in the middle of a change.
    fn rows_or_width_error(&self, name: MapName) -> Result<()> {
        with_widths!(name, check_widths(self.map(name)?))
            .with_context(|| format!("open the map {}", name.symbol()))
    }

    fn map(&self, name: MapName) -> Result<&Map> {
        let map = self.planned.get(&name);
        map.ok_or_else(|| anyhow!("the map {} is not open", name.symbol()))
    }

    pub(super) fn rows(&self, name: MapName) -> Result<Rows> {
        with_widths!(name, rows(self.map(name)?))
            .with_context(|| format!("read the map {}", name.symbol()))
    }

    pub(super) fn write(&mut self, name: MapName, key: &[u8], value: &[u8]) -> Result<()> {
        let map = self.planned.get_mut(&name);
        let map = map.with_context(|| format!("the map {} is not open", name.symbol()))?;
        let result = patiently(|| match name {
            MapName::Counters => write_counters(map, key, PortCounters::ZERO),
            MapName::RuleCounters => write_counters(map, key, RuleCounters::ZERO),
            _ => with_widths!(name, write(map, key, value)),
        });
        result.with_context(|| format!("write the row {key:02x?} of the map {}", name.symbol()))
    }

    pub(super) fn remove(&mut self, name: MapName, key: &[u8]) -> Result<()> {
        let map = self.planned.get_mut(&name);
        let map = map.with_context(|| format!("the map {} is not open", name.symbol()))?;
        with_widths!(name, remove(map, key))
            .with_context(|| format!("remove the row {key:02x?} of the map {}", name.symbol()))
    }

    pub(super) fn counters(&self) -> Result<BTreeMap<PortId, PortCounters>> {
        let read = || -> Result<_> {
            let map =
                PerCpuHashMap::<_, PortId, PortCounters>::try_from(self.map(MapName::Counters)?)?;
            let mut counters = BTreeMap::new();
            for row in map.iter() {
                let (port, per_cpu) = row?;
                counters.insert(port, sum(per_cpu.iter()));
            }
            Ok(counters)
        };
        read().context("read the counters")
    }

    /// How often each rule decided.
    pub(super) fn rule_hits(&self) -> Result<BTreeMap<RuleId, u64>> {
        let read = || -> Result<_> {
            let map = self.map(MapName::RuleCounters)?;
            let map = PerCpuHashMap::<_, RuleId, RuleCounters>::try_from(map)?;
            let mut hits = BTreeMap::new();
            for row in map.iter() {
                let (rule, per_cpu) = row?;
                let sum = per_cpu
                    .iter()
                    .fold(0, |sum: u64, one| sum.wrapping_add(one.hits));
                hits.insert(rule, sum);
            }
            Ok(hits)
        };
        read().context("read the counters of rules")
    }

    pub(super) fn learned(&self) -> Result<BTreeMap<FdbKey, LearnedEntry>> {
        moving_rows(&self.learned, maps_schema::map::LEARNED_ROWS)
            .context("read the learned addresses")
    }

    pub(super) fn resolved(&self) -> Result<BTreeMap<NeighborKey, Resolved>> {
        moving_rows(&self.resolved, maps_schema::map::RESOLVED_ROWS)
            .context("read the neighbors that were asked for")
    }

    pub(super) fn peer_states(&self) -> Result<BTreeMap<PortId, PeerState>> {
        moving_rows(&self.peer_states, maps_schema::map::PEER_STATE_ROWS)
            .context("read what was heard from peers")
    }

    /// Pins the tables of connections where others are pinned in this folder.
    pub(super) fn pin_tables(&self, dir: &Path) -> Result<()> {
        for (symbol, map) in [(FLOWS, &self.connections), (EMBRYOS, &self.embryos)] {
            resize::put_back(table(map)?, &dir.join(symbol))?;
        }
        Ok(())
    }

    /// Gives the tables of connections, if they have taken the place of others, what programs have noted in
    /// those since a time, in nanoseconds of `CLOCK_MONOTONIC_COARSE`. What is noted here later stays, unless
    /// the connection began earlier: programs that do not know that take the answer to it for its beginning.
    pub(super) fn catch_up(&mut self, former: &Self, since_ns: u64) -> Result<()> {
        let id = |map: &Map| -> Result<u32> { Ok(table(map)?.info()?.id()) };
        if id(&self.connections)? == id(&former.connections)?
            && id(&self.embryos)? == id(&former.embryos)?
        {
            return Ok(());
        }
        let noted = self.flows()?;
        let rows = |map| moving_rows::<FlowKey, Flow>(map, size(map)?);
        let established = rows(&former.connections)?;
        let mut opening = rows(&former.embryos)?;
        opening.retain(|key, _| !established.contains_key(key));
        for (is_established, rows) in [(true, established), (false, opening)] {
            for (key, flow) in rows.iter().filter(|(_, flow)| flow.seen_ns >= since_ns) {
                let noted = noted.get(key);
                if noted.is_some_and(|it| it.began_ns > flow.began_ns) {
                    self.forget_flow(key)?;
                }
                // A copy does not know what went on.
                let is_older = noted.is_some_and(|it| it.seen_ns < flow.seen_ns);
                let how = if is_older { BPF_ANY } else { BPF_NOEXIST };
                let to = if is_established {
                    &mut self.connections
                } else {
                    &mut self.embryos
                };
                let mut to = HashMap::<_, FlowKey, Flow>::try_from(to)?;
                make_if_absent(to.insert(key, flow, how))?;
            }
        }
        Ok(())
    }

    /// Both directions of all connections. What is established outweighs what came before.
    pub(super) fn flows(&self) -> Result<BTreeMap<FlowKey, Flow>> {
        let read = |map| moving_rows(map, size(map)?);
        let mut flows = read(&self.embryos).context("read the connections that begin")?;
        flows.append(&mut read(&self.connections).context("read the established connections")?);
        Ok(flows)
    }

    /// How many rows there are of established connections, and of others, and how many there may be.
    pub(super) fn count_flows(&self) -> Result<[(usize, u32); 2]> {
        let count = |map: &Map| -> Result<_> {
            let size = size(map)?;
            let map = HashMap::<_, FlowKey, Flow>::try_from(map)?;
            // Twice: see `moving_rows`.
            let keys: BTreeSet<_> = map
                .keys()
                .take(2 * size as usize)
                .collect::<Result<_, _>>()?;
            Ok((keys.len(), size))
        };
        let counts = || -> Result<_> { Ok([count(&self.connections)?, count(&self.embryos)?]) };
        counts().context("count the connections")
    }

    pub(super) fn forget_flow(&mut self, key: &FlowKey) -> Result<()> {
        for map in [&mut self.connections, &mut self.embryos] {
            remove::<{ size_of::<FlowKey>() }, { size_of::<Flow>() }>(map, bytes_of(key))
                .context("forget a connection")?;
        }
        Ok(())
    }

    pub(super) fn forget_peer(&mut self, peer: PortId) -> Result<()> {
        remove::<{ size_of::<PortId>() }, { size_of::<PeerState>() }>(
            &mut self.peer_states,
            bytes_of(&peer),
        )
        .context("forget what was heard from a peer")
    }

    pub(super) fn forget(&mut self, station: &FdbKey) -> Result<()> {
        remove::<{ size_of::<FdbKey>() }, { size_of::<LearnedEntry>() }>(
            &mut self.learned,
            bytes_of(station),
        )
        .with_context(|| format!("forget {} in network {}", station.mac, station.vni))
    }
}

/// How many rows a table of connections holds at most.
fn size(map: &Map) -> Result<u32> {
    Ok(table(map)?.info()?.max_entries())
}

fn table(map: &Map) -> Result<&MapData> {
    match map {
        Map::LruHashMap(map) => Ok(map),
        _ => Err(anyhow!("it is no table of connections")),
    }
}

/// The rows of a map that the datapath goes on changing meanwhile. When the key at which we are
/// disappears, the kernel starts again from the beginning; twice the size is enough for everybody.
fn moving_rows<K: Pod + Ord, V: Pod>(map: &Map, size: u32) -> Result<BTreeMap<K, V>> {
    let map = HashMap::<_, K, V>::try_from(map)?;
    let rows = map.iter().take(2 * size as usize);
    Ok(rows.collect::<Result<_, _>>()?)
}

fn open(dir: &Path, symbol: &str) -> Result<Map> {
    let path = dir.join(symbol);
    let open = || -> Result<Map, MapError> { Map::from_map_data(MapData::from_pin(&path)?) };
    open().with_context(|| format!("open the pinned map {}", path.display()))
}

fn check_widths<const K: usize, const V: usize>(map: &Map) -> Result<()> {
    match map {
        Map::PerCpuHashMap(_) => PerCpuHashMap::<_, [u8; K], [u8; V]>::try_from(map).map(drop)?,
        Map::LpmTrie(_) => LpmTrie::<_, [u8; K], [u8; V]>::try_from(map).map(drop)?,
        _ => HashMap::<_, [u8; K], [u8; V]>::try_from(map).map(drop)?,
    }
    Ok(())
}

/// The rows; those of a per-CPU map have no value of which one could say what it should be.
fn rows<const K: usize, const V: usize>(map: &Map) -> Result<Rows> {
    let mut rows = Rows::new();
    if matches!(map, Map::PerCpuHashMap(_)) {
        for key in PerCpuHashMap::<_, [u8; K], [u8; V]>::try_from(map)?.keys() {
            rows.insert(key?.to_vec(), Vec::new());
        }
    } else if matches!(map, Map::LpmTrie(_)) {
        for row in LpmTrie::<_, [u8; K], [u8; V]>::try_from(map)?.iter() {
            let (key, value) = row?;
            let bytes = [&key.prefix_len().to_ne_bytes()[..], &key.data()].concat();
            rows.insert(bytes, value.to_vec());
        }
    } else {
        for row in HashMap::<_, [u8; K], [u8; V]>::try_from(map)?.iter() {
            let (key, value) = row?;
            rows.insert(key.to_vec(), value.to_vec());
        }
    }
    Ok(rows)
}

fn exactly<const N: usize>(what: &str, bytes: &[u8]) -> Result<[u8; N]> {
    ensure!(
        bytes.len() == N,
        "a {what} has {N} bytes here and not {}",
        bytes.len()
    );
    Ok(bytes.try_into()?)
}

fn write<const K: usize, const V: usize>(map: &mut Map, key: &[u8], value: &[u8]) -> Result<()> {
    if matches!(map, Map::LpmTrie(_)) {
        let value = exactly::<V>("value", value)?;
        LpmTrie::<_, [u8; K], [u8; V]>::try_from(map)?.insert(&prefix::<K>(key)?, value, 0)?;
        return Ok(());
    }
    let key = exactly::<K>("key", key)?;
    let value = exactly::<V>("value", value)?;
    HashMap::<_, [u8; K], [u8; V]>::try_from(map)?.insert(key, value, 0)?;
    Ok(())
}

/// Writes a row as soon as there is memory for it. Maps whose memory follows their use take rows from a small
/// stock that the kernel fills up in the background (`kernel/bpf/memalloc.c`, since Linux 6.1): who writes many
/// rows may empty it.
///
/// # Errors
/// Those of the write, and that there was no memory for all this time.
fn patiently(mut write: impl FnMut() -> Result<()>) -> Result<()> {
    for pause in STOCK_PAUSES_MS {
        match write() {
            Err(error) if lacks_memory(&error) => thread::sleep(Duration::from_millis(pause)),
            written => return written,
        }
    }
    write()
}

fn lacks_memory(error: &anyhow::Error) -> bool {
    match error.downcast_ref() {
        Some(MapError::SyscallError(error)) => is(error, std::io::ErrorKind::OutOfMemory),
        _ => false,
    }
}

/// The key of a trie in the form that aya has it.
fn prefix<const K: usize>(key: &[u8]) -> Result<Key<[u8; K]>> {
    let (len, data) = key
        .split_at_checked(PREFIX_LEN)
        .context("a key of a trie has a length")?;
    Ok(Key::new(
        u32::from_ne_bytes(exactly("length", len)?),
        exactly("key", data)?,
    ))
}

/// Makes a row of zeroes, unless there is one already: a `load` never sets counters back.
fn write_counters<V: Pod>(map: &mut Map, key: &[u8], zero: V) -> Result<()> {
    let key = u32::from_ne_bytes(exactly("key", key)?);
    let cpus = nr_cpus().map_err(|(path, error)| anyhow!(error).context(format!("read {path}")))?;
    let zeroes = PerCpuValues::try_from(vec![zero; cpus])?;
    let mut map = PerCpuHashMap::<_, u32, V>::try_from(map)?;
    make_if_absent(map.insert(key, zeroes, BPF_NOEXIST))
}

/// A row that is there already need not be made.
fn make_if_absent(made: Result<(), MapError>) -> Result<()> {
    match made {
        Err(MapError::SyscallError(error)) if is(&error, std::io::ErrorKind::AlreadyExists) => {
            Ok(())
        }
        made => Ok(made?),
    }
}

fn remove<const K: usize, const V: usize>(map: &mut Map, key: &[u8]) -> Result<()> {
    let result = if matches!(map, Map::LpmTrie(_)) {
        LpmTrie::<_, [u8; K], [u8; V]>::try_from(map)?.remove(&prefix::<K>(key)?)
    } else {
        remove_key::<[u8; K], [u8; V]>(map, &exactly::<K>("key", key)?)
    };
    match result {
        Err(MapError::SyscallError(error)) if is(&error, std::io::ErrorKind::NotFound) => Ok(()),
        result => Ok(result?),
    }
}

fn remove_key<K: Pod, V: Pod>(map: &mut Map, key: &K) -> Result<(), MapError> {
    if matches!(map, Map::PerCpuHashMap(_)) {
        PerCpuHashMap::<_, K, V>::try_from(map)?.remove(key)
    } else {
        HashMap::<_, K, V>::try_from(map)?.remove(key)
    }
}

fn is(error: &aya::sys::SyscallError, kind: std::io::ErrorKind) -> bool {
    error.io_error.kind() == kind
}

/// What all CPUs counted together.
fn sum<'a>(per_cpu: impl Iterator<Item = &'a PortCounters>) -> PortCounters {
    per_cpu.fold(PortCounters::ZERO, |sum, one| {
        let mut drops = [0; REASON_SLOTS];
        for ((total, a), b) in drops.iter_mut().zip(sum.drops).zip(one.drops) {
            *total = a.wrapping_add(b);
        }
        PortCounters {
            ingress_packets: sum.ingress_packets.wrapping_add(one.ingress_packets),
            ingress_bytes: sum.ingress_bytes.wrapping_add(one.ingress_bytes),
            egress_packets: sum.egress_packets.wrapping_add(one.egress_packets),
            egress_bytes: sum.egress_bytes.wrapping_add(one.egress_bytes),
            drops,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_all_cpus_add_up_and_wrap() {
        let mut one = PortCounters {
            ingress_packets: 1,
            ingress_bytes: 60,
            egress_packets: u64::MAX,
            egress_bytes: 4,
            ..PortCounters::ZERO
        };
        one.drops[8] = 5;
        let mut two = one;
        two.drops[9] = 7;
        two.egress_packets = 2;
        let total = sum([one, two, PortCounters::ZERO].iter());
        assert_eq!((total.ingress_packets, total.ingress_bytes), (2, 120));
        assert_eq!((total.egress_packets, total.egress_bytes), (1, 8));
        assert_eq!((total.drops[8], total.drops[9], total.drops[1]), (10, 7, 0));
        assert_eq!(sum([].iter()), PortCounters::ZERO);
    }

    #[test]
    fn a_row_waits_for_memory_and_for_nothing_else() {
        let refused = |errno| {
            let error = aya::sys::SyscallError {
                call: "bpf_map_update_elem",
                io_error: std::io::Error::from_raw_os_error(errno),
            };
            anyhow!(MapError::SyscallError(error))
        };
        let (no_memory, too_big) = (12, 7);
        let write = |errno, times: usize| {
            let mut tries = 0;
            let written = patiently(|| {
                tries += 1;
                if tries > times {
                    Ok(())
                } else {
                    Err(refused(errno))
                }
            });
            (written.is_ok(), tries)
        };
        assert_eq!(write(no_memory, 2), (true, 3));
        assert_eq!(write(too_big, 2), (false, 1));
        let all = STOCK_PAUSES_MS.len() + 1;
        assert_eq!(write(no_memory, all), (false, all));
    }

    #[test]
    fn widths_are_checked() {
        assert_eq!(exactly::<2>("key", &[1, 2]).unwrap(), [1, 2]);
        let error = exactly::<4>("key", &[1, 2]).unwrap_err();
        assert_eq!(error.to_string(), "a key has 4 bytes here and not 2");
    }
}
