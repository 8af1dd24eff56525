//! The rows of the maps.

use std::collections::{BTreeMap, BTreeSet};

use maps_schema::map::{
    EgressPort, FdbEntry, FdbKey, FloodKey, FloodMember, IngressPort, MapName, Neighbor,
    NeighborKey, Network,
};
use maps_schema::plain::bytes_of;
use maps_schema::{FloodList, IfIndex, Ip, Plain, PortId, RouterId, Vni};

use super::Tables;
use crate::fnv::fnv1a_64;
use crate::link::link_local;
use crate::topology::{Port, PortName, Topology, UnknownUnicast};

/// The rows that do not depend on interfaces. Every map is in the result, if only as an empty table,
/// so that a comparison finds rows that should not be there.
pub(super) fn constant(topology: &Topology, present: &[(&PortName, &Port)]) -> Tables {
    let mut tables: Tables = MapName::ALL
        .iter()
        .map(|&map| (map, BTreeMap::new()))
        .collect();
    // What happens before a port is known is counted at no port.
    add_counters(&mut tables, PortId::NONE);
    let mut lists = BTreeSet::new();
    for (name, network) in &topology.networks {
        let members: Vec<&Port> = present
            .iter()
            .filter(|(_, port)| port.network == *name)
            .map(|&(_, port)| port)
            .collect();
        for port in &members {
            add_port(&mut tables, network.vni, port);
        }
        let list = add_flood_list(&mut tables, network.vni, &members, &mut lists);
        let learns = if members.iter().any(|port| port.learning) {
            Network::LEARNS
        } else {
            0
        };
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
pub(super) fn add_interface(tables: &mut Tables, ifindex: IfIndex, port: &IngressPort) {
    add(
        tables,
        MapName::Ports,
        &port.port,
        &EgressPort::workload(ifindex),
    );
    add(tables, MapName::Interfaces, &ifindex, port);
}

pub(super) fn add<K: Plain, V: Plain>(tables: &mut Tables, map: MapName, key: &K, value: &V) {
    tables
        .entry(map)
        .or_default()
        .insert(bytes_of(key).to_vec(), bytes_of(value).to_vec());
}

/// A row of counters is made and removed, but its value is the datapath's.
fn add_counters(tables: &mut Tables, port: PortId) {
    tables
        .entry(MapName::Counters)
        .or_default()
        .insert(bytes_of(&port).to_vec(), Vec::new());
}

fn add_port(tables: &mut Tables, vni: Vni, port: &Port) {
    add_counters(tables, port.id);
    add(
        tables,
        MapName::Fdb,
        &FdbKey::new(vni, port.mac),
        &FdbEntry {
            port: port.id,
            router: RouterId::NONE,
        },
    );
    let neighbor = Neighbor {
        port: port.id,
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

/// Adds the list of a network's ports, under an id that follows from its content.
fn add_flood_list(
    tables: &mut Tables,
    vni: Vni,
    members: &[&Port],
    taken: &mut BTreeSet<FloodList>,
) -> FloodList {
    let parts = members.iter().map(|port| bytes_of(&port.id));
    let hash = fnv1a_64([bytes_of(&vni)].into_iter().chain(parts));
    let mut list = FloodList((hash ^ (hash >> 32)) as u32);
    while !taken.insert(list) {
        list = FloodList(list.0.wrapping_add(1));
    }
    for (idx, port) in (0..).zip(members) {
        let member = FloodMember { port: port.id, vni };
        add(tables, MapName::Flood, &FloodKey { list, idx }, &member);
    }
    list
}
