//! Who is called what on which network: what names are answered by, for those who are there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::driver::source;
use crate::topology::{Place, Topology};

/// All names, by network.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Directory {
    networks: BTreeMap<String, Names>,
    /// The networks that each workload is on.
    homes: BTreeMap<String, BTreeSet<String>>,
}

/// The names of one network, in lower case.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Names {
    addresses: BTreeMap<String, BTreeSet<IpAddr>>,
    names: BTreeMap<IpAddr, String>,
    subnets: Vec<IpNet>,
}

impl Directory {
    /// The names of everything in a topology.
    #[must_use]
    pub fn of(topology: &Topology) -> Self {
        let mut directory = Self::default();
        for (name, network) in topology.declared_networks().filter(|(_, it)| it.names) {
            let names = Names {
                subnets: network.subnets.clone(),
                ..Names::default()
            };
            directory.networks.insert(name.clone(), names);
        }
        for (name, port) in &topology.ports {
            let Some(workload) = topology.workloads.get(&name.workload) else {
                continue;
            };
            let container = match &workload.place {
                Place::Container(container) => Some(container),
                Place::Netns(_) | Place::Pid(_) | Place::Endpoint(_) | Place::Host => None,
            };
            // The first one is how the address is called in turn. Nobody knows those by their ids that are
            // plugged in by the agent.
            let is_file = workload.origin.file.name != source::NAME
                && !matches!(workload.place, Place::Endpoint(_));
            let own = [&name.workload].into_iter().chain(container);
            let names: Vec<&String> = if is_file {
                own.chain(&workload.names).collect()
            } else {
                workload.names.iter().chain(own).collect()
            };
            if directory.networks.contains_key(&port.network) {
                let home = directory.homes.entry(name.workload.clone()).or_default();
                home.insert(port.network.clone());
            }
            directory.add(&port.network, &names, &port.addresses);
        }
        for (name, router) in &topology.routers {
            for port in router.ports.values() {
                directory.add(&port.network, &[name], &port.addresses);
            }
        }
        directory
    }

    fn add(&mut self, network: &str, names: &[&String], addresses: &[IpNet]) {
        let Some(known) = self.networks.get_mut(network) else {
            return;
        };
        for address in addresses.iter().map(IpNet::addr) {
            for name in names {
                let all = known.addresses.entry(name.to_ascii_lowercase());
                all.or_default().insert(address);
            }
            if let Some(first) = names.first() {
                known.names.insert(address, first.to_ascii_lowercase());
            }
        }
    }

    /// Whether a workload can ask for names.
    #[must_use]
    pub fn serves(&self, workload: &str) -> bool {
        self.homes.contains_key(workload)
    }

    /// What can be seen by those who share a network namespace.
    #[must_use]
    pub fn seen_by<'a>(&'a self, workloads: &'a BTreeSet<String>) -> View<'a> {
        let homes = workloads.iter().filter_map(|name| self.homes.get(name));
        let networks: BTreeSet<&String> = homes.flatten().collect();
        let networks = networks.into_iter();
        View {
            networks: networks
                .filter_map(|name| Some((name.as_str(), self.networks.get(name)?)))
                .collect(),
        }
    }
}

/// The networks that somebody is on.
#[derive(Clone, Debug)]
pub struct View<'a> {
    networks: BTreeMap<&'a str, &'a Names>,
}

impl View<'_> {
    /// The addresses of a name in lower case, which may have the name of a network behind it; nothing if
    /// nobody is called that.
    #[must_use]
    pub fn addresses(&self, name: &str) -> Option<BTreeSet<IpAddr>> {
        let mut found: Option<BTreeSet<IpAddr>> = None;
        for (network, names) in &self.networks {
            let short = name
                .strip_suffix(&network.to_ascii_lowercase())
                .and_then(|rest| rest.strip_suffix('.'));
            for name in [Some(name), short].into_iter().flatten() {
                if let Some(addresses) = names.addresses.get(name) {
                    found.get_or_insert_default().extend(addresses);
                }
            }
        }
        found
    }

    /// What an address is called, with its network.
    #[must_use]
    pub fn name(&self, address: IpAddr) -> Option<String> {
        self.networks.iter().find_map(|(network, names)| {
            let name = names.names.get(&address)?;
            Some(format!("{name}.{}", network.to_ascii_lowercase()))
        })
    }

    /// Whether an address is one of these networks, so that nobody else knows it better.
    #[must_use]
    pub fn owns(&self, address: IpAddr) -> bool {
        let mut subnets = self.networks.values().flat_map(|it| &it.subnets);
        subnets.any(|subnet| subnet.contains(&address))
    }
}
