//! Epochs: which ways that the datapath has found it may go on using.
//!
//! The datapath remembers which way a flow's packets go, as long as the epoch of the network that they
//! enter is the one in which it was found. An epoch is a hash of everything that such a way may depend
//! on: the rows of all networks that routers join with this one. So what is changed elsewhere leaves a
//! network's flows alone, and what is changed back makes the ways right again that were.

use std::collections::BTreeMap;

use maps_schema::map::{
    Epoch, FdbKey, IngressPort, MapName, MemberKey, NeighborKey, RouteKey, RouterAddressKey,
    RouterPort,
};
use maps_schema::plain::{bytes_of, from_bytes};
use maps_schema::{Plain, PolicyList, RouterId, SCHEMA_VERSION, Vni};

use super::Tables;
use super::rows::add;
use crate::fnv::fnv1a_64;

/// What another release of the datapath may decide otherwise.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// Adds the epoch of every network. `ports` are the workloads' ports, whose rows depend on interfaces,
/// with the rules for what they are sent.
pub(super) fn add_epochs<'a>(
    tables: &mut Tables,
    ports: impl Iterator<Item = (&'a IngressPort, PolicyList)>,
) {
    let mut parts = Parts::new(tables);
    for (&map, rows) in &*tables {
        for (key, value) in rows {
            let row = [map.symbol().as_bytes(), key, value];
            if matches!(map, MapName::Identities | MapName::IdentityPrefixes) {
                parts.add_everywhere(&row);
            } else if let Some(vni) = parts.network_of(map, key, value) {
                parts.add(vni, &row);
            }
        }
    }
    for (port, delivery) in ports {
        parts.add(port.vni, &[bytes_of(port), bytes_of(&delivery)]);
    }
    let networks: Vec<Vni> = keys(tables, MapName::Networks).collect();
    for vni in networks {
        let number = parts.number(vni);
        add(tables, MapName::Epochs, &vni, &Epoch { number });
    }
}

fn keys<K: Plain>(tables: &Tables, map: MapName) -> impl Iterator<Item = K> {
    let rows = tables.get(&map).into_iter().flatten();
    rows.filter_map(|(key, _)| from_bytes(key))
}

/// Which networks are joined by routers, and a hash of the rows of each such part.
struct Parts {
    /// Another network of the same part that is nearer to the one that stands for it.
    nearer: BTreeMap<Vni, Vni>,
    /// A network that a router is in.
    networks: BTreeMap<RouterId, Vni>,
    /// The hashes, by the network that stands for the part.
    sums: BTreeMap<Vni, u64>,
    /// The hash of what concerns all parts.
    everywhere: u64,
}

impl Parts {
    fn new(tables: &Tables) -> Self {
        let mut parts = Self {
            nearer: BTreeMap::new(),
            networks: BTreeMap::new(),
            sums: BTreeMap::new(),
            everywhere: 0,
        };
        let ports = tables.get(&MapName::RouterPorts).into_iter().flatten();
        for port in ports.filter_map(|(_, value)| from_bytes::<RouterPort>(value)) {
            let other = *parts.networks.entry(port.router).or_insert(port.vni);
            let (one, other) = (parts.root(port.vni), parts.root(other));
            if one != other {
                parts.nearer.insert(one, other);
            }
        }
        parts
    }

    /// The network that stands for a network's part.
    fn root(&self, mut vni: Vni) -> Vni {
        while let Some(&nearer) = self.nearer.get(&vni) {
            vni = nearer;
        }
        vni
    }

    /// A network of the part that a row belongs to. Rows that are looked at for every packet belong to
    /// none, nor do lists that are named by their content.
    fn network_of(&self, map: MapName, key: &[u8], value: &[u8]) -> Option<Vni> {
        match map {
            MapName::Networks => from_bytes(key),
            MapName::Fdb => from_bytes(key).map(|key: FdbKey| key.vni),
            MapName::Neighbors => from_bytes(key).map(|key: NeighborKey| key.vni),
            MapName::Members => from_bytes(key).map(|key: MemberKey| key.vni),
            MapName::RouterPorts => from_bytes(value).map(|port: RouterPort| port.vni),
            MapName::RouterAddresses => {
                let key: RouterAddressKey = from_bytes(key)?;
                self.networks.get(&key.router).copied()
            }
            MapName::Routes => {
                let key: RouteKey = from_bytes(key)?;
                self.networks.get(&key.router).copied()
            }
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
            | MapName::Identities
            | MapName::IdentityPrefixes => None,
        }
    }

    /// Adds a row: the order does not matter.
    fn add(&mut self, vni: Vni, row: &[&[u8]]) {
        let sum = self.sums.entry(self.root(vni)).or_default();
        *sum = sum.wrapping_add(fnv1a_64(row.iter().copied()));
    }

    /// Adds a row that all parts may depend on.
    fn add_everywhere(&mut self, row: &[&[u8]]) {
        let hash = fnv1a_64(row.iter().copied());
        self.everywhere = self.everywhere.wrapping_add(hash);
    }

    fn number(&self, vni: Vni) -> u64 {
        let sum = self.sums.get(&self.root(vni)).copied().unwrap_or(0);
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
