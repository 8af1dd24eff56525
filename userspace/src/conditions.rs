//! What a workload is told of its own network: its ports, what they carried, and how the other hosts of
//! its networks can be reached. Nothing is said of other workloads.

use std::collections::{BTreeMap, BTreeSet};

use maps_schema::record::PortCounters;
use maps_schema::{DropReason, PortId};
use serde::Serialize;

use crate::agent::liveness::State;
use crate::topology::Topology;
use crate::verdicts::Verdicts;

/// What of it changes with the topology only.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Surroundings {
    host: Option<String>,
    /// The ports of each workload of this host, on networks that tell.
    ports: BTreeMap<String, Vec<Place>>,
    /// The other hosts that each network is on.
    hosts: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    id: PortId,
    name: String,
    network: String,
    mac: String,
    addresses: Vec<String>,
    mtu: u32,
}

/// What is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Conditions {
    /// The host, if the topology names it.
    host: Option<String>,
    ports: Vec<Port>,
    /// The other hosts of the ports' networks, by name.
    peers: BTreeMap<String, Peer>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Port {
    name: String,
    network: String,
    mac: String,
    addresses: Vec<String>,
    mtu: u32,
    sent_packets: u64,
    sent_bytes: u64,
    received_packets: u64,
    received_bytes: u64,
    /// What it sent and was dropped, by reason.
    drops: BTreeMap<&'static str, u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Peer {
    networks: Vec<String>,
    state: State,
    rtt_us: Option<u64>,
    /// Of the last echoes, how many were lost.
    lost: u32,
    of: u32,
    path_mtu: Option<u32>,
}

impl Surroundings {
    /// What is around the workloads of the host `own`, where `carried` bytes of a packet fit the underlay.
    #[must_use]
    pub fn of(topology: &Topology, own: Option<&str>, carried: u32) -> Self {
        let mut surroundings = Self {
            host: own.map(str::to_owned),
            ..Self::default()
        };
        for (name, port) in &topology.ports {
            let Some(workload) = topology.workloads.get(&name.workload) else {
                continue;
            };
            let network = topology.networks.get(&port.network);
            let Some(network) = network.filter(|it| it.conditions) else {
                continue;
            };
            match workload.host.as_deref() {
                Some(host) if Some(host) != own => {
                    let hosts = surroundings.hosts.entry(port.network.clone()).or_default();
                    hosts.insert(host.to_owned());
                }
                _ => {
                    let ports = surroundings.ports.entry(name.workload.clone()).or_default();
                    ports.push(Place {
                        id: port.id,
                        name: name.to_string(),
                        network: port.network.clone(),
                        mac: port.mac.to_string(),
                        addresses: port.addresses.iter().map(ToString::to_string).collect(),
                        mtu: port.mtu.within(network.mtu, carried),
                    });
                }
            }
        }
        surroundings
    }

    /// Whether a workload is told anything.
    #[must_use]
    pub fn serves(&self, workload: &str) -> bool {
        self.ports.contains_key(workload)
    }

    /// What those are told who share a namespace.
    #[must_use]
    pub fn seen_by(
        &self,
        workloads: &BTreeSet<String>,
        counters: &BTreeMap<PortId, PortCounters>,
        verdicts: &Verdicts,
    ) -> Conditions {
        let places = workloads.iter().filter_map(|name| self.ports.get(name));
        let places: Vec<&Place> = places.flatten().collect();
        let mut peers: BTreeMap<String, Peer> = BTreeMap::new();
        for network in places.iter().map(|place| &place.network) {
            for host in self.hosts.get(network).into_iter().flatten() {
                let peer = peers
                    .entry(host.clone())
                    .or_insert_with(|| peer(host, verdicts));
                if !peer.networks.contains(network) {
                    peer.networks.push(network.clone());
                }
            }
        }
        Conditions {
            host: self.host.clone(),
            ports: places.into_iter().map(|it| port(it, counters)).collect(),
            peers,
        }
    }
}

fn port(place: &Place, counters: &BTreeMap<PortId, PortCounters>) -> Port {
    let counters = counters.get(&place.id).unwrap_or(&PortCounters::ZERO);
    let drops = DropReason::ALL.iter().filter_map(|&reason| {
        let count = counters.drops.get(reason as usize).copied()?;
        (count > 0).then(|| (reason.name(), count))
    });
    Port {
        name: place.name.clone(),
        network: place.network.clone(),
        mac: place.mac.clone(),
        addresses: place.addresses.clone(),
        mtu: place.mtu,
        sent_packets: counters.ingress_packets,
        sent_bytes: counters.ingress_bytes,
        received_packets: counters.egress_packets,
        received_bytes: counters.egress_bytes,
        drops: drops.collect(),
    }
}

fn peer(host: &str, verdicts: &Verdicts) -> Peer {
    let verdict = verdicts.peers.get(host);
    let (lost, of) = verdict.map_or((0, 0), |it| it.lost);
    Peer {
        networks: Vec::new(),
        state: verdict.map_or(State::Unknown, |it| it.state),
        rtt_us: verdict.and_then(|it| it.rtt_ns).map(|ns| ns / 1000),
        lost,
        of,
        path_mtu: verdict.and_then(|it| it.path_mtu),
    }
}
