//! Epochs: which ways that the datapath has found it may go on using.
//!
//! The datapath remembers which way a flow's packets go, as long as the epoch of the network that they
//! enter is the one in which it was found. An epoch is a hash of everything that such a way may depend
//! on: the rows of all networks that routers join with this one. So what is changed elsewhere leaves a
//! network's flows alone, and what is changed back makes the ways right again that were.

use std::collections::{BTreeMap, BTreeSet};

use maps_schema::map::{
    Epoch, FdbKey, GatewayKey, IdentityKey, IngressPort, MapName, MemberKey, NeighborKey, Public,
    RouteKey, RouterAddressKey, RouterPort,
};
use maps_schema::plain::{bytes_of, from_bytes};
use maps_schema::{PolicyList, PortId, RouterId, SCHEMA_VERSION, Vni};

use super::Tables;
use super::rows::add;
use super::view::View;
use crate::fnv::fnv1a_64;

/// What another release of the datapath may decide otherwise.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// Adds the epoch of every network. `ports` are the workloads' ports, whose rows depend on interfaces,
/// with the rules for what they are sent.
pub(super) fn add_epochs<'a>(
    tables: &mut Tables,
    view: &View<'_>,
    ports: impl Iterator<Item = (&'a IngressPort, PolicyList)>,
) {
    let mut parts = Parts::new(tables, view);
    for (&map, rows) in &*tables {
        for (key, value) in rows {
            let row = [map.symbol().as_bytes(), key, value];
            if map == MapName::IdentityPrefixes {
                parts.add_everywhere(&row);
            } else if let Some(part) = parts.part_of(map, key, value) {
                parts.add(part, &row);
            }
        }
    }
    for (port, delivery) in ports {
        if let Some(&part) = parts.networks.get(&port.vni) {
            parts.add(part, &[bytes_of(port), bytes_of(&delivery)]);
        }
    }
    for (vni, &part) in &parts.networks {
        let number = parts.number([part]);
        add(tables, MapName::Epochs, vni, &Epoch { number });
    }
    // From the outside packets come into every part that has an uplink.
    if !parts.uplinks.is_empty() {
        let all: BTreeSet<u32> = parts.uplinks.values().copied().collect();
        let number = parts.number(all);
        add(tables, MapName::Epochs, &Vni::NONE, &Epoch { number });
    }
}

/// Which part of the topology networks and routers are in, and a hash of the rows of each part.
struct Parts {
    networks: BTreeMap<Vni, u32>,
    routers: BTreeMap<RouterId, u32>,
    uplinks: BTreeMap<PortId, u32>,
    /// The hashes, by the number of the part.
    sums: BTreeMap<u32, u64>,
    /// The hash of what concerns all parts.
    everywhere: u64,
}

impl Parts {
    fn new(tables: &Tables, view: &View<'_>) -> Self {
        let networks = view.networks.iter();
        let networks = networks.map(|(name, network)| (network.vni, view.part(name)));
        let networks: BTreeMap<Vni, u32> = networks.collect();
        let ports = tables.get(&MapName::RouterPorts).into_iter().flatten();
        let ports = ports.filter_map(|(_, value)| from_bytes::<RouterPort>(value));
        let routers = ports.filter_map(|port| Some((port.router, *networks.get(&port.vni)?)));
        let routers: BTreeMap<RouterId, u32> = routers.collect();
        let uplinks = view.routers.values().filter_map(|router| {
            let uplink = router.uplink.as_ref()?;
            Some((uplink.id, *routers.get(&router.id)?))
        });
        Self {
            uplinks: uplinks.collect(),
            routers,
            networks,
            sums: BTreeMap::new(),
            everywhere: 0,
        }
    }

    /// The part that a row belongs to. Rows that are looked at for every packet belong to
    /// none, nor do lists that are named by their content.
    fn part_of(&self, map: MapName, key: &[u8], value: &[u8]) -> Option<u32> {
        let part = |vni: Vni| self.networks.get(&vni).copied();
        match map {
            MapName::Networks => from_bytes(key).and_then(part),
            MapName::Fdb => from_bytes(key).and_then(|key: FdbKey| part(key.vni)),
            MapName::Neighbors => from_bytes(key).and_then(|key: NeighborKey| part(key.vni)),
            MapName::Members => from_bytes(key).and_then(|key: MemberKey| part(key.vni)),
            MapName::RouterPorts => {
                let port: RouterPort = from_bytes(value)?;
                self.routers.get(&port.router).copied()
            }
            MapName::Public => {
                let public: Public = from_bytes(value)?;
                self.uplinks.get(&public.uplink).copied()
            }
            MapName::Gateways => {
                let key: GatewayKey = from_bytes(key)?;
                self.routers.get(&key.router).copied()
            }
            MapName::RouterAddresses => {
                let key: RouterAddressKey = from_bytes(key)?;
                self.routers.get(&key.router).copied()
            }
            MapName::Routes | MapName::Sources => {
                let key: RouteKey = from_bytes(key)?;
                self.routers.get(&key.router).copied()
            }
            MapName::Identities => from_bytes(key).map(|key: IdentityKey| key.part),
            MapName::Counters
            | MapName::Ports
            | MapName::NextHops
            | MapName::Flood
            | MapName::Interfaces
            | MapName::Direct
            | MapName::Peers
            | MapName::Uplinks
            | MapName::Epochs
            | MapName::Policies
            | MapName::Rules
            | MapName::RuleCounters
            | MapName::Matches
            | MapName::Services
            | MapName::Prefixes
            | MapName::IdentityPrefixes => None,
        }
    }

    /// Adds a row: the order does not matter.
    fn add(&mut self, part: u32, row: &[&[u8]]) {
        let sum = self.sums.entry(part).or_default();
        *sum = sum.wrapping_add(fnv1a_64(row.iter().copied()));
    }

    /// Adds a row that all parts may depend on.
    fn add_everywhere(&mut self, row: &[&[u8]]) {
        let hash = fnv1a_64(row.iter().copied());
        self.everywhere = self.everywhere.wrapping_add(hash);
    }

    fn number(&self, parts: impl IntoIterator<Item = u32>) -> u64 {
        let sums = parts.into_iter().filter_map(|part| self.sums.get(&part));
        let sum = sums.fold(0_u64, |all, sum| all.wrapping_add(*sum));
        let number = fnv1a_64([
            RELEASE.as_bytes(),
            &SCHEMA_VERSION.to_ne_bytes(),
            &sum.to_ne_bytes(),
            &self.everywhere.to_ne_bytes(),
        ]);
        // Zero stands for "no epoch".
        number.max(1)
    }
}
