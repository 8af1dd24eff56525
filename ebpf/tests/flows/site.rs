//! Workloads on a line of networks joined by routers, on one or two hosts, in several states that a
//! site may be brought from one into another.

use std::collections::BTreeMap;

use datapath::memory::MemoryTables;
use maps_schema::map::{
    EgressPort, Epoch, FdbEntry, FdbKey, IngressPort, Member, MemberKey, Neighbor, NeighborKey,
    NextHop, NextHopKey, Peer, PortCounters, Route, Uplink,
};
use maps_schema::{IfIndex, Ip, Mac, NextHopList, PolicyList, PortId, RouterId, Vni};

use super::line::{DB, Line, WEB, addresses, db_mac, ip, router_mac, vni, web_mac};
use super::random::Random;

pub(crate) const CACHE: PortId = PortId(3);
/// The port that leads to the other host.
pub(crate) const PEER: PortId = PortId(77);
/// The interface to the underlay.
pub(crate) const OUTSIDE: IfIndex = IfIndex(9);

pub(crate) fn cache_mac() -> Mac {
    Mac::new([2, 0, 0, 0, 0, 3])
}

/// A workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Station {
    pub(crate) port: PortId,
    pub(crate) mac: Mac,
    pub(crate) network: u8,
    pub(crate) number: u16,
}

impl Station {
    /// `web` is on the first network, `db` on the last one, and `cache` is behind the first router.
    pub(crate) fn all(routers: u8) -> [Self; 3] {
        let station = |port, mac, network, number| Self {
            port,
            mac,
            network,
            number,
        };
        [
            station(WEB, web_mac(), 0, 11),
            station(DB, db_mac(), routers, 12),
            station(CACHE, cache_mac(), routers.min(1), 13),
        ]
    }

    pub(crate) const fn interface(&self) -> IfIndex {
        IfIndex(self.port.0)
    }

    pub(crate) fn ips(&self) -> [Ip; 2] {
        addresses(self.number, self.network)
    }
}

/// The rows of one host when all stations are there.
pub(crate) fn one_host(routers: u8) -> MemoryTables {
    let mut line = Line::new(routers);
    let [_, _, cache] = Station::all(routers);
    line.plug(CACHE, cache.mac, cache.network, cache.number, 3);
    let counters = line.tables.counters.get_mut();
    for port in [PEER, PortId::NONE] {
        counters.insert(port, PortCounters::ZERO);
    }
    line.tables
}

fn underlay(host: usize) -> Ip {
    ip(["192.0.2.11", "192.0.2.12"][host])
}

/// Makes a host's rows those of one of two hosts, at which some stations are not.
pub(crate) fn send_away(tables: &mut MemoryTables, host: usize, away: &[Station], kind: u32) {
    let exit = EgressPort {
        ifindex: OUTSIDE,
        kind,
        mtu: 1450,
        policy: PolicyList::NONE,
        local: underlay(host),
        remote: underlay(1 - host),
    };
    tables.ports.insert(PEER, exit);
    tables.peers.insert(exit.remote, Peer { port: PEER, kind });
    let uplink = Uplink {
        address: exit.local,
        kinds: Uplink::of(kind),
        mac: Mac::ZERO,
        reserved: 0,
    };
    tables.uplinks.insert(OUTSIDE, uplink);
    for &vni in tables.networks.keys() {
        let flags = u32::from(IngressPort::PEER);
        let key = MemberKey { port: PEER, vni };
        tables.members.insert(key, Member { flags });
    }
    for station in away {
        tables.interfaces.remove(&station.interface());
        tables.ports.remove(&station.port);
        let ports = tables.fdb.values_mut().map(|row| &mut row.port);
        let ports = ports.chain(tables.neighbors.values_mut().map(|row| &mut row.port));
        let ports = ports.chain(tables.flood.values_mut().map(|row| &mut row.port));
        for port in ports.filter(|port| **port == station.port) {
            *port = PEER;
        }
    }
}

/// Changes something that the way of a packet may depend on.
pub(crate) fn vary(tables: &mut MemoryTables, routers: u8, random: &mut Random) {
    let stations = Station::all(routers);
    let station = random.one_of(&stations);
    match random.below(9) {
        0 | 1 => vary_route(tables, random),
        2 => {
            let [v4, v6] = station.ips();
            let vni = vni(station.network);
            for ip in [v4, v6] {
                tables.neighbors.remove(&NeighborKey { vni, ip });
            }
        }
        3 => {
            // Another station has its addresses.
            let (vni, mac) = (vni(station.network), Mac::new([2, 9, 9, 0, 0, 1]));
            for ip in station.ips() {
                if let Some(row) = tables.neighbors.get_mut(&NeighborKey { vni, ip }) {
                    row.mac = mac;
                }
            }
            if let Some(row) = tables.fdb.remove(&FdbKey::new(vni, station.mac)) {
                tables.fdb.insert(FdbKey::new(vni, mac), row);
            }
        }
        4 => {
            if let Some(row) = nth(&mut tables.router_ports, random) {
                row.mtu = random.one_of(&[600, 1200, 1300, 9000]);
            }
        }
        5 => {
            if let Some(row) = tables.interfaces.get_mut(&station.interface()) {
                row.flags ^= random.one_of(&[IngressPort::LEARNING, IngressPort::MAY_SPOOF]);
            }
        }
        6 => {
            if let Some(row) = nth(&mut tables.networks, random) {
                row.flags = random.below(4) as u32;
                row.ageing_ns = 1_000_000_000;
            }
        }
        7 => {
            tables
                .fdb
                .remove(&FdbKey::new(vni(station.network), station.mac));
        }
        _ => {
            // An address moves to somebody else in the network.
            let other = random.one_of(&stations);
            let row = Neighbor {
                port: other.port,
                mac: other.mac,
                flags: 0,
            };
            let vni = vni(station.network);
            let [ip, _] = station.ips();
            if tables.interfaces.contains_key(&other.interface()) {
                tables.neighbors.insert(NeighborKey { vni, ip }, row);
                let key = FdbKey::new(vni, other.mac);
                let (port, router) = (other.port, RouterId::NONE);
                tables.fdb.insert(key, FdbEntry { port, router });
            }
        }
    }
}

fn vary_route(tables: &mut MemoryTables, random: &mut Random) {
    let len = tables.routes.len() as u64;
    let Some((&key, &route)) = tables.routes.iter().nth(random.below(len.max(1)) as usize) else {
        return;
    };
    match random.below(4) {
        0 => {
            tables.routes.remove(&key);
        }
        // Ports that are no uplinks lead nowhere outside.
        1 if route.kind == Route::FORWARD => {
            // Some flows go on as before, others the other way.
            let list = NextHopList(random.next() as u32);
            let ports: Vec<_> = tables.router_ports.keys().copied().collect();
            for bucket in 0..4 {
                let (port, via) = if random.once_in(2) {
                    (route.port, route.via)
                } else {
                    (random.one_of(&ports), Ip::UNSPECIFIED_V6)
                };
                let key = NextHopKey { list, bucket };
                tables.next_hops.insert(key, NextHop { port, via });
            }
            let row = Route {
                buckets: 4,
                next_hops: list,
                ..route
            };
            tables.routes.insert(key, row);
        }
        _ => {
            let kind = random.one_of(&[Route::BLACKHOLE, Route::REJECT, Route::BROADCAST]);
            tables.routes.insert(key, Route { kind, ..route });
        }
    }
}

fn nth<'m, K: Ord, V>(rows: &'m mut BTreeMap<K, V>, random: &mut Random) -> Option<&'m mut V> {
    let len = rows.len() as u64;
    rows.values_mut().nth(random.below(len.max(1)) as usize)
}

/// Where a station's packets go first: its router, if there is one.
pub(crate) fn gateway(station: &Station, routers: u8) -> Mac {
    match routers {
        0 => Mac::new([2, 1, 0, 0, 0, 0]),
        _ => router_mac(station.network.min(routers - 1), station.network),
    }
}

/// One step of bringing rows into another state: user space writes one row after the other.
type Replacement = fn(&mut MemoryTables, &MemoryTables);

/// All steps, in any order.
pub(crate) const REPLACEMENTS: [Replacement; 10] = [
    |tables, target| tables.interfaces.clone_from(&target.interfaces),
    |tables, target| tables.ports.clone_from(&target.ports),
    |tables, target| tables.members.clone_from(&target.members),
    |tables, target| tables.networks.clone_from(&target.networks),
    |tables, target| tables.fdb.clone_from(&target.fdb),
    |tables, target| tables.neighbors.clone_from(&target.neighbors),
    |tables, target| tables.flood.clone_from(&target.flood),
    |tables, target| tables.router_ports.clone_from(&target.router_ports),
    |tables, target| tables.routes.clone_from(&target.routes),
    |tables, target| tables.next_hops.extend(&target.next_hops),
];

/// All networks are in this epoch; in none if it is 0.
pub(crate) fn set_epoch(tables: &mut MemoryTables, number: u64) {
    tables.epochs.clear();
    if number != 0 {
        for &vni in tables.networks.keys() {
            tables.epochs.insert(vni, Epoch { number });
        }
        // That of the outside.
        tables.epochs.insert(Vni::NONE, Epoch { number });
    }
}
