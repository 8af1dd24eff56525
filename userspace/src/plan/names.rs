//! What the ids in the maps stand for: the way back from a row to the file.

use std::collections::BTreeMap;
use std::fmt::Display;

use maps_schema::map::{
    EgressPort, FdbEntry, FdbKey, FloodKey, FloodMember, IngressPort, MapName, Neighbor,
    NeighborKey, Network,
};
use maps_schema::plain::from_bytes;
use maps_schema::{IfIndex, PortId, Vni};

use crate::source::Origin;
use crate::topology::Topology;

/// What the ids in the maps stand for.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Names {
    /// Ports, also those that are not plugged in.
    pub ports: BTreeMap<PortId, Named>,
    /// Networks.
    pub networks: BTreeMap<Vni, Named>,
}

/// A name and where it comes from.
#[derive(Clone, PartialEq, Debug)]
pub struct Named {
    /// The name.
    pub name: String,
    /// The place in the file.
    pub origin: Origin,
}

impl Names {
    pub(super) fn new(topology: &Topology) -> Self {
        let named = |name: String, origin: &Origin| Named {
            name,
            origin: origin.clone(),
        };
        Self {
            ports: topology
                .ports
                .iter()
                .map(|(name, port)| (port.id, named(name.to_string(), &port.origin)))
                .collect(),
            networks: topology
                .networks
                .iter()
                .map(|(name, network)| (network.vni, named(name.clone(), &network.origin)))
                .collect(),
        }
    }

    /// A port's name, or its id if it is not in the topology (any more).
    #[must_use]
    pub fn port(&self, id: PortId) -> String {
        match self.ports.get(&id) {
            Some(named) => named.name.clone(),
            None if id == PortId::NONE => "no port".to_owned(),
            None => format!("port {:08x}", id.0),
        }
    }

    /// A network's name, or its VNI if it is not in the topology (any more).
    #[must_use]
    pub fn network(&self, vni: Vni) -> String {
        self.networks
            .get(&vni)
            .map_or_else(|| format!("vni {vni}"), |named| named.name.clone())
    }

    /// What a row says, in words.
    #[must_use]
    pub fn describe(&self, map: MapName, key: &[u8], value: &[u8]) -> String {
        self.decode(map, key, value)
            .unwrap_or_else(|| format!("{key:02x?} {value:02x?}"))
    }

    fn decode(&self, map: MapName, key: &[u8], value: &[u8]) -> Option<String> {
        Some(match map {
            MapName::Counters => self.port(from_bytes(key)?),
            MapName::Ports => {
                let EgressPort { ifindex } = from_bytes(value)?;
                format!(
                    "{} leads to interface {}",
                    self.port(from_bytes(key)?),
                    ifindex.0
                )
            }
            MapName::Neighbors => {
                let key: NeighborKey = from_bytes(key)?;
                let neighbor: Neighbor = from_bytes(value)?;
                let network = self.network(key.vni);
                format!(
                    "{network}: {} is {} at {}",
                    key.ip,
                    neighbor.mac,
                    self.port(neighbor.port)
                )
            }
            MapName::Fdb => {
                let key: FdbKey = from_bytes(key)?;
                let FdbEntry { port } = from_bytes(value)?;
                format!(
                    "{}: {} is at {}",
                    self.network(key.vni),
                    key.mac,
                    self.port(port)
                )
            }
            MapName::Flood => {
                let FloodKey { list, idx } = from_bytes(key)?;
                let FloodMember { port } = from_bytes(value)?;
                format!("list {:08x}[{idx}]: {}", list.0, self.port(port))
            }
            MapName::Networks => self.decode_network(from_bytes(key)?, &from_bytes(value)?),
            MapName::Interfaces => {
                let IfIndex(ifindex) = from_bytes(key)?;
                let port: IngressPort = from_bytes(value)?;
                format!(
                    "interface {ifindex} is {}{}",
                    self.port(port.port),
                    flags(&port)
                )
            }
        })
    }

    fn decode_network(&self, vni: Vni, network: &Network) -> String {
        let unknown = if network.flags & Network::FLOOD_UNKNOWN == 0 {
            "dropped"
        } else {
            "flooded"
        };
        format!(
            "{} (vni {vni}): {} ports in list {:08x}, unknown unicast {unknown}",
            self.network(vni),
            network.flood_len,
            network.flood.0,
        )
    }
}

fn flags(port: &IngressPort) -> impl Display {
    match (
        port.flags & IngressPort::LEARNING != 0,
        port.flags & IngressPort::MAY_SPOOF != 0,
    ) {
        (false, false) => "",
        (true, false) => ", learning",
        (false, true) => ", may spoof",
        (true, true) => ", learning, may spoof",
    }
}
