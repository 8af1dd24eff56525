//! The topology as one host sees it: what is here, what is behind a peer, and what it has nothing to
//! do with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use maps_schema::PortId;

use super::Situation;
use crate::topology::{Host, Network, Port, PortName, Router, Topology, Vtep};

/// What Ethernet carries (RFC 894), where nobody knows what the underlay does.
pub(super) const ETHERNET: u32 = 1500;

/// The topology as one host sees it.
pub(super) struct View<'a> {
    pub(super) topology: &'a Topology,
    pub(super) situation: &'a Situation,
    /// The host itself, if the topology names it.
    pub(super) own: Option<(&'a str, &'a Host)>,
    /// The largest IP packet that fits the underlay through every tunnel, in bytes.
    pub(super) carried: u32,
    /// Which part of the topology a network is in.
    parts: BTreeMap<&'a str, u32>,
    /// The networks that the host needs: those of its own workloads, and all that routers connect
    /// them with.
    pub(super) networks: BTreeMap<&'a str, &'a Network>,
    /// The routers between them.
    pub(super) routers: BTreeMap<&'a str, &'a Router>,
    /// The ports on these networks that can be reached.
    pub(super) ports: Vec<Station<'a>>,
    /// The stations on hosts that were found dead, by network and address.
    dead: BTreeMap<&'a str, BTreeSet<IpAddr>>,
}

/// A port of a workload, and where it is.
#[derive(Clone, Copy)]
pub(super) struct Station<'a> {
    pub(super) name: &'a PortName,
    pub(super) port: &'a Port,
    pub(super) place: Place<'a>,
}

/// Where a workload is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place<'a> {
    /// On this host.
    Here,
    /// On the host of this name, which this port leads to.
    There(&'a str, PortId),
}

impl Station<'_> {
    /// The port that leads to it from here.
    pub(super) fn at(&self) -> PortId {
        match self.place {
            Place::Here => self.port.id,
            Place::There(_, peer) => peer,
        }
    }
}

impl<'a> View<'a> {
    pub(super) fn new(topology: &'a Topology, situation: &'a Situation) -> Self {
        let own = situation.host.as_deref();
        let own = own.and_then(|name| topology.hosts.get_key_value(name));
        let own = own.map(|(name, host)| (name.as_str(), host));
        let mut view = Self {
            topology,
            situation,
            own,
            carried: ETHERNET,
            parts: parts(topology),
            networks: BTreeMap::new(),
            routers: BTreeMap::new(),
            ports: Vec::new(),
            dead: BTreeMap::new(),
        };
        let mtus = topology.hosts.values().filter_map(|host| host.mtu);
        let underlay = mtus.chain(view.own_mtu()).min().unwrap_or(ETHERNET);
        view.carried = underlay.saturating_sub(topology.overhead());
        view.find_networks();
        for (name, port) in &topology.ports {
            let Some(place) = view.place(name) else {
                continue;
            };
            if let Place::There(host, _) = place
                && situation.dead.contains(host)
            {
                let dead = view.dead.entry(&port.network).or_default();
                dead.extend(port.addresses.iter().map(|address| address.addr()));
            }
            let is_absent = place == Place::Here && situation.absent.contains(&name.workload);
            if !is_absent && view.networks.contains_key(port.network.as_str()) {
                view.ports.push(Station { name, port, place });
            }
        }
        view
    }

    /// What the host is called, if the topology names it.
    pub(super) fn own_name(&self) -> Option<&'a str> {
        self.own.map(|(name, _)| name)
    }

    /// What the own underlay carries: as it is declared, or as the uplink is.
    pub(super) fn own_mtu(&self) -> Option<u32> {
        self.situation.own_mtu(self.topology)
    }

    /// Where a port is; nothing if its host is none of the topology's.
    fn place(&self, name: &PortName) -> Option<Place<'a>> {
        let workload = self.topology.workloads.get(&name.workload)?;
        match workload.host.as_deref() {
            None => Some(Place::Here),
            Some(host) if Some(host) == self.situation.host.as_deref() => Some(Place::Here),
            Some(host) => {
                let id = self.topology.hosts.get(host)?.id;
                Some(Place::There(host, id))
            }
        }
    }

    /// Finds the networks that this host needs, and the routers between them. Without hosts these are
    /// all.
    fn find_networks(&mut self) {
        let topology = self.topology;
        let wanted: Vec<&str> = if topology.hosts.is_empty() {
            topology.networks.keys().map(String::as_str).collect()
        } else {
            let own = topology.ports.iter();
            let own = own.filter(|(name, _)| self.place(name) == Some(Place::Here));
            let own = own.map(|(_, port)| port.network.as_str());
            own.chain(self.outlets()).collect()
        };
        let wanted: BTreeSet<u32> = wanted
            .iter()
            .filter_map(|name| self.parts.get(name).copied())
            .collect();
        for (name, network) in &topology.networks {
            if self
                .parts
                .get(name.as_str())
                .is_some_and(|part| wanted.contains(part))
            {
                self.networks.insert(name, network);
            }
        }
        for (name, router) in &topology.routers {
            let mut ports = router.ports.values();
            if topology.hosts.is_empty()
                || ports.any(|port| self.networks.contains_key(port.network.as_str()))
            {
                self.routers.insert(name, router);
            }
        }
    }

    /// The networks of routers whose uplinks are on this host among others that are named: what other hosts
    /// have for the outside comes here.
    fn outlets(&self) -> impl Iterator<Item = &'a str> {
        let own = self.own_name();
        let routers = self.topology.routers.values();
        let gateways = routers.filter(move |router| {
            let uplink = router.uplink.as_ref();
            uplink.is_some_and(|uplink| uplink.hosts.is_some() && uplink.is_on(own))
        });
        gateways.flat_map(|router| router.ports.values().map(|port| port.network.as_str()))
    }

    /// The other hosts that send frames for the networks that this one needs: each has stations in a
    /// network, or in one that routers connect it with. With it goes whether there may be stations on
    /// the host, in that very network, that nobody declared.
    pub(super) fn senders(&self) -> BTreeMap<(PortId, &'a str), bool> {
        let mut hosts_of: BTreeMap<u32, BTreeSet<PortId>> = BTreeMap::new();
        let mut senders = BTreeMap::new();
        for Station { port, place, .. } in &self.ports {
            let name = port.network.as_str();
            if let (Place::There(_, id), Some(&part)) = (*place, self.parts.get(name)) {
                hosts_of.entry(part).or_default().insert(id);
                if port.learning {
                    senders.insert((id, name), true);
                }
            }
        }
        // What comes from the outside is routed where it comes in.
        for router in self.routers.values() {
            let hosts = router
                .uplink
                .iter()
                .flat_map(|uplink| &uplink.hosts)
                .flatten();
            let hosts = hosts.filter(|name| Some(name.as_str()) != self.own_name());
            let part = router.ports.values().next();
            let part = part.and_then(|port| self.parts.get(port.network.as_str()));
            if let Some(&part) = part {
                let hosts = hosts.filter_map(|name| self.topology.hosts.get(name));
                hosts_of
                    .entry(part)
                    .or_default()
                    .extend(hosts.map(|host| host.id));
            }
        }
        for &name in self.networks.keys() {
            let hosts = self.parts.get(name).and_then(|part| hosts_of.get(part));
            for &id in hosts.into_iter().flatten() {
                senders.entry((id, name)).or_insert(false);
            }
        }
        senders
    }

    /// The number of the part of the topology that a network is in: the smallest VNI there, which does
    /// not change with other parts.
    pub(super) fn part(&self, network: &str) -> u32 {
        self.parts.get(network).copied().unwrap_or(0)
    }

    /// The ports on a network that can be reached.
    pub(super) fn on(&self, network: &str) -> impl Iterator<Item = &Station<'a>> {
        let stations = self.ports.iter();
        stations.filter(move |station| station.port.network == network)
    }

    /// The ordinary VTEPs that take part in a network.
    pub(super) fn vteps_on(&self, network: &str) -> impl Iterator<Item = &'a Vtep> {
        let vteps = self.topology.vteps.values();
        vteps.filter(move |vtep| vtep.networks.contains_key(network))
    }

    /// Whether a station is on a host that was found dead.
    pub(super) fn is_dead(&self, network: &str, ip: IpAddr) -> bool {
        self.dead
            .get(network)
            .is_some_and(|dead| dead.contains(&ip))
    }
}

/// Numbers the parts of a topology: routers lead from a network to all others of its part, and to none of
/// another one.
fn parts(topology: &Topology) -> BTreeMap<&str, u32> {
    let networks = topology.networks.iter();
    let numbered = networks.map(|(name, network)| (name.as_str(), network.vni.number()));
    let mut parts: BTreeMap<&str, u32> = numbered.collect();
    for router in topology.routers.values() {
        let networks = router.ports.values().map(|port| port.network.as_str());
        let joined: BTreeSet<u32> = networks
            .filter_map(|name| parts.get(name).copied())
            .collect();
        let Some(&first) = joined.first() else {
            continue;
        };
        for part in parts.values_mut().filter(|part| joined.contains(part)) {
            *part = first;
        }
    }
    parts
}
