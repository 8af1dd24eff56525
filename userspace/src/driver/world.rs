//! What the driver must know of everything but Docker: what the loaded files declare.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use maps_schema::Mac;

use crate::similar::Similar;
use crate::topology::Topology;

/// What the loaded files declare, as far as Docker's side must fit it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct World {
    /// Networks, by name.
    pub networks: BTreeMap<String, Declared>,
    /// Routers, and whether each has a way to the outside.
    pub routers: BTreeMap<String, bool>,
    /// Policies.
    pub policies: BTreeSet<String>,
    /// The hosts that share the networks.
    pub hosts: BTreeSet<String>,
    /// Which of them this one is.
    pub own: Option<String>,
}

/// A network of a file.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Declared {
    /// The source that declares it.
    pub source: String,
    /// Its subnets.
    pub subnets: Vec<IpNet>,
    /// Whether its members get no default route.
    pub internal: bool,
    /// Whether it is to be a network of Docker's.
    pub docker: bool,
    /// The addresses of routers, and whose they are.
    pub gateways: BTreeMap<IpAddr, String>,
    /// The addresses of everybody else, and whose they are.
    pub addresses: BTreeMap<IpAddr, String>,
    /// All MAC addresses, and whose they are.
    pub macs: BTreeMap<Mac, String>,
}

impl World {
    /// What there is besides Docker.
    #[must_use]
    pub fn of(topology: &Topology, own: Option<&str>) -> Self {
        let declared = topology.declared_networks().map(|(name, network)| {
            let declared = Declared {
                source: network.origin.file.title().to_owned(),
                subnets: network.subnets.clone(),
                internal: network.internal,
                docker: network.docker,
                ..Declared::default()
            };
            (name.clone(), declared)
        });
        let mut networks: BTreeMap<String, Declared> = declared.collect();
        for (name, router) in &topology.routers {
            for port in router.ports.values() {
                let Some(network) = networks.get_mut(&port.network) else {
                    continue;
                };
                network.macs.insert(port.mac, format!("router {name}"));
                for address in &port.addresses {
                    network.gateways.insert(address.addr(), name.clone());
                }
            }
        }
        for (name, port) in &topology.ports {
            let Some(network) = networks.get_mut(&port.network) else {
                continue;
            };
            let holder = format!("workload {} ({})", name.workload, port.origin.file.title());
            network.macs.insert(port.mac, holder.clone());
            for address in &port.addresses {
                network.addresses.insert(address.addr(), holder.clone());
            }
        }
        Self {
            networks,
            routers: topology
                .routers
                .iter()
                .map(|(name, router)| (name.clone(), router.uplink.is_some()))
                .collect(),
            policies: topology.policies.keys().cloned().collect(),
            hosts: topology.hosts.keys().cloned().collect(),
            own: own.map(str::to_owned),
        }
    }

    /// A network of a file.
    pub(super) fn network(&self, name: &str) -> Result<&Declared, String> {
        self.networks.get(name).ok_or_else(|| {
            let similar = Similar::new(name, self.networks.keys().cloned());
            format!("no loaded file declares network `{name}`: {similar}")
        })
    }
}

impl Declared {
    /// Whether one of its routers leads to the outside.
    #[must_use]
    pub fn has_uplink(&self, world: &World) -> bool {
        let mut gateways = self.gateways.values();
        gateways.any(|router| world.routers.get(router) == Some(&true))
    }

    /// Who has an address, if a file says so.
    #[must_use]
    pub fn holder(&self, address: IpAddr) -> Option<String> {
        let router = self.gateways.get(&address);
        let router = router.map(|router| format!("router {router}"));
        router.or_else(|| self.addresses.get(&address).cloned())
    }
}
