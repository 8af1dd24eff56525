//! The rows of the maps.

use std::collections::{BTreeMap, BTreeSet};

use maps_schema::map::{
    EgressPort, FdbEntry, FdbKey, FloodKey, FloodMember, MapName, Neighbor, NeighborKey, Network,
};
use maps_schema::plain::bytes_of;
use maps_schema::{FloodList, IfIndex, Ip, Plain, PortId, RouterId, Vni};

use super::view::{Place, Station, View};
use super::{PlannedLink, Tables};
use crate::fnv::fnv1a_64;
use crate::link::link_local;
use crate::topology::UnknownUnicast;

/// The rows that do not depend on interfaces. Every map is in the result, if only as an empty table,
/// so that a comparison finds rows that should not be there.
pub(super) fn constant(view: &View<'_>) -> Tables {
    let mut tables: Tables = MapName::ALL
        .iter()
        .map(|&map| (map, BTreeMap::new()))
        .collect();
    // What happens before a port is known is counted at no port.
    add_counters(&mut tables, PortId::NONE);
    let mut lists = BTreeSet::new();
    for (&name, network) in &view.networks {
        for station in view.on(name) {
            add_station(&mut tables, network.vni, station);
        }
        let mut learns = view.on(name).any(|station| station.port.learning);
        for vtep in view.vteps_on(name) {
            let Some(behind) = vtep.networks.get(name) else {
                continue;
            };
            learns |= behind.learn;
            for &mac in &behind.macs {
                add_fdb(&mut tables, FdbKey::new(network.vni, mac), vtep.id);
            }
        }
        let members = members(view, name);
        let list = add_flood_list(&mut tables, network.vni, &members, &mut lists);
        let learns = if learns { Network::LEARNS } else { 0 };
        let unknown = match network.unknown_unicast {
            UnknownUnicast::Drop => 0,
            UnknownUnicast::Flood => Network::FLOOD_UNKNOWN,
        };
        let row = Network {
            flood: list,
            flood_len: u32::try_from(members.len()).unwrap_or(u32::MAX),
            ageing_ns: u64::try_from(network.ageing.as_nanos()).unwrap_or(u64::MAX),
            flags: learns | unknown,
            reserved: 0,
        };
        add(&mut tables, MapName::Networks, &network.vni, &row);
    }
    tables
}

/// The rows of one port that hold the index of its interface.
pub(super) fn add_interface(tables: &mut Tables, ifindex: IfIndex, planned: &PlannedLink) {
    let port = &planned.ingress;
    let egress = EgressPort {
        policy: planned.delivery,
        ..EgressPort::behind(port, ifindex)
    };
    add(tables, MapName::Ports, &port.port, &egress);
    add(tables, MapName::Interfaces, &ifindex, port);
}

pub(super) fn add<K: Plain, V: Plain>(tables: &mut Tables, map: MapName, key: &K, value: &V) {
    tables
        .entry(map)
        .or_default()
        .insert(bytes_of(key).to_vec(), bytes_of(value).to_vec());
}

/// A row of counters is made and removed, but its value is the datapath's.
pub(super) fn add_counters(tables: &mut Tables, port: PortId) {
    tables
        .entry(MapName::Counters)
        .or_default()
        .insert(bytes_of(&port).to_vec(), Vec::new());
}

fn add_fdb(tables: &mut Tables, key: FdbKey, port: PortId) {
    let router = RouterId::NONE;
    add(tables, MapName::Fdb, &key, &FdbEntry { port, router });
}

/// Adds the rows of a workload's port: all that is on another host is at the port that leads there.
fn add_station(tables: &mut Tables, vni: Vni, station: &Station<'_>) {
    let (port, at) = (station.port, station.at());
    if station.place == Place::Here {
        add_counters(tables, port.id);
    }
    add_fdb(tables, FdbKey::new(vni, port.mac), at);
    let neighbor = Neighbor {
        port: at,
        mac: port.mac,
        flags: 0,
    };
    let addresses = port
        .addresses
        .iter()
        .map(|address| Ip::from(address.addr()));
    for ip in addresses.chain([Ip::from(link_local(port.mac))]) {
        add(
            tables,
            MapName::Neighbors,
            &NeighborKey { vni, ip },
            &neighbor,
        );
    }
}

/// The ports that a flooded frame goes to: those on this host, and one for every other host and every
/// VTEP that takes part in the network.
fn members(view: &View<'_>, network: &str) -> Vec<PortId> {
    let here = view.on(network).filter(|it| it.place == Place::Here);
    let there: BTreeSet<Place<'_>> = view
        .on(network)
        .map(|station| station.place)
        .filter(|place| *place != Place::Here)
        .collect();
    let there = there.into_iter().filter_map(|place| match place {
        Place::Here => None,
        Place::There(_, peer) => Some(peer),
    });
    let vteps = view.vteps_on(network).map(|vtep| vtep.id);
    here.map(|station| station.port.id)
        .chain(there)
        .chain(vteps)
        .collect()
}

/// Adds the list of a network's ports, under an id that follows from its content. Two ids have a
/// meaning of their own in the datapath.
fn add_flood_list(
    tables: &mut Tables,
    vni: Vni,
    members: &[PortId],
    taken: &mut BTreeSet<FloodList>,
) -> FloodList {
    let parts = members.iter().map(bytes_of);
    let hash = fnv1a_64([bytes_of(&vni)].into_iter().chain(parts));
    let mut list = FloodList((hash ^ (hash >> 32)) as u32);
    let reserved = [FloodList::NONE, FloodList::WRAPPED];
    while reserved.contains(&list) || !taken.insert(list) {
        list = FloodList(list.0.wrapping_add(1));
    }
    for (idx, &port) in (0..).zip(members) {
        let member = FloodMember { port, vni };
        add(tables, MapName::Flood, &FloodKey { list, idx }, &member);
    }
    list
}
