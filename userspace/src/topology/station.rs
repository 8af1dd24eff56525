//! The rules between the stations of one network: the ports that have an address on it, whether
//! they are a workload's or a router's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use maps_schema::Mac;
use maps_schema::map::FLOOD_MAX;

use super::Network;
use super::merge::{Merged, across};
use crate::document::Located;
use crate::problem::Problem;
use crate::source::Origin;

/// What a port belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner<'a> {
    /// A workload on this host, or on the one that nobody names.
    Workload(Option<&'a str>),
    /// The router of this name.
    Router(&'a str),
    /// An ordinary VTEP, which has several.
    Vtep,
}

/// What a port is called and what it belongs to, for the rules that hold for all of them.
#[derive(Clone, Debug)]
pub(super) struct Plug<'a> {
    pub(super) name: String,
    pub(super) owner: Owner<'a>,
}

impl fmt::Display for Plug<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Plug<'_> {
    /// What it is, with its name.
    fn title(&self) -> String {
        match self.owner {
            Owner::Workload(_) | Owner::Router(_) => format!("port {}", self.name),
            Owner::Vtep => format!("vtep {}", self.name),
        }
    }
}

/// What a port is to its neighbors.
#[derive(Debug)]
pub(super) struct Station<'a> {
    pub(super) plug: Plug<'a>,
    /// The network's name.
    pub(super) network: String,
    /// The addresses that are in order.
    pub(super) addresses: Vec<Located<IpNet>>,
    /// The MAC address, if it is known, and where it is given, or the port where it is not.
    pub(super) mac: Option<Located<Mac>>,
    /// Whether there may be others behind it.
    pub(super) learning: bool,
    pub(super) origin: &'a Origin,
}

/// The MAC address, given or derived. A port without one of its own is pointed at.
pub(super) fn mac(
    name: &Plug<'_>,
    (given, port): (Option<&Located<Mac>>, &Origin),
    derived: Mac,
    problems: &mut Vec<Problem>,
) -> Located<Mac> {
    let Some(mac) = given else {
        return Located {
            value: derived,
            origin: port.clone(),
        };
    };
    if let Some(kind) = unusable(mac.value) {
        problems.push(
            Problem::new(format!("the mac {} of port {name} is {kind}", mac.value))
                .at(&mac.origin, "no station can have this address")
                .help("use one whose first byte is 02, or leave it out to have it derived"),
        );
    }
    mac.clone()
}

/// What a MAC address is, if no station can have it.
pub(super) fn unusable(mac: Mac) -> Option<&'static str> {
    if mac == Mac::ZERO {
        Some("zero")
    } else if mac.is_group() {
        Some("a group address")
    } else {
        None
    }
}

/// All stations by the network that they are on.
#[derive(Default)]
pub(super) struct Stations<'a> {
    networks: BTreeMap<String, Neighbors<'a>>,
}

impl<'a> Stations<'a> {
    /// Checks that no two stations of a network have the same address.
    pub(super) fn resolve(
        mut stations: Vec<Station<'a>>,
        merged: &Merged<'_>,
        networks: &BTreeMap<String, Network>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        // Of two ports in conflict the one that is written later is at fault.
        stations.sort_by_key(|station| merged.rank(station.origin));
        let mut all = Self::default();
        for station in stations {
            let network = networks.get(&station.network);
            let neighbors = all.networks.entry(station.network.clone()).or_default();
            let fitted = neighbors.longest_list() <= FLOOD_MAX;
            neighbors.add(&station, problems);
            // Told once, at the first port that is too much.
            if fitted
                && neighbors.longest_list() > FLOOD_MAX
                && let Some(network) = network
            {
                problems.push(too_many(&station, network));
            }
        }
        all
    }

    /// What has this address on this network.
    pub(super) fn owner(&self, network: &str, ip: IpAddr) -> Option<Owner<'a>> {
        let holder = self.networks.get(network)?.addresses.get(&ip)?;
        Some(holder.plug.owner)
    }

    /// Whether there may be stations on this network that are not declared.
    pub(super) fn may_be_more(&self, network: &str) -> bool {
        let neighbors = self.networks.get(network);
        neighbors.is_some_and(|neighbors| neighbors.learning)
    }
}

fn too_many(station: &Station<'_>, network: &Network) -> Problem {
    let name = &station.network;
    Problem::new(format!("network {name} has more than {FLOOD_MAX} ports"))
        .at(station.origin, "one port too many")
        .at(&network.origin, "the network is declared here")
        .help("a broadcast reaches that many ports at most: split the network")
}

/// Who has an address, and where it is given.
struct Holder<'a> {
    plug: Plug<'a>,
    origin: Origin,
}

/// What the stations of one network have taken.
#[derive(Default)]
struct Neighbors<'a> {
    addresses: BTreeMap<IpAddr, Holder<'a>>,
    macs: BTreeMap<Mac, Holder<'a>>,
    learning: bool,
    /// How many ports of workloads there are on each host. A router's ports are no goal of a flooded
    /// frame.
    n_workloads: BTreeMap<Option<&'a str>, u32>,
    /// The ordinary VTEPs, by name.
    vteps: BTreeSet<String>,
}

impl<'a> Neighbors<'a> {
    /// How many goals a flooded frame has at most: the ports of one host, all other hosts and all
    /// VTEPs.
    fn longest_list(&self) -> u32 {
        let most = self.n_workloads.values().max().copied().unwrap_or(0);
        let others = self.n_workloads.len().saturating_sub(1) + self.vteps.len();
        most.saturating_add(u32::try_from(others).unwrap_or(u32::MAX))
    }

    fn add(&mut self, station: &Station<'a>, problems: &mut Vec<Problem>) {
        let network = &station.network;
        let holder = |origin: &Origin| Holder {
            plug: station.plug.clone(),
            origin: origin.clone(),
        };
        for address in &station.addresses {
            let again = holder(&address.origin);
            if let Some(first) = self.addresses.get(&address.addr()) {
                let value = format!("address {} in network {network}", address.addr());
                let help = "give each port an address of its own";
                problems.push(taken(&value, first, &again, help));
            } else {
                self.addresses.insert(address.addr(), again);
            }
        }
        if let Some(mac) = &station.mac {
            let again = holder(&mac.origin);
            if let Some(first) = self.macs.get(mac) {
                let value = format!("mac {} in network {network}", mac.value);
                let help = "choose another one, or leave it out to have it derived";
                problems.push(taken(&value, first, &again, help));
            } else {
                self.macs.insert(mac.value, again);
            }
        }
        self.learning |= station.learning;
        match station.plug.owner {
            Owner::Workload(host) => *self.n_workloads.entry(host).or_default() += 1,
            Owner::Router(_) => {}
            Owner::Vtep => {
                self.vteps.insert(station.plug.name.clone());
            }
        }
    }
}

/// The problem of two ports that have the same value.
fn taken(value: &str, first: &Holder<'_>, again: &Holder<'_>, help: &str) -> Problem {
    let (there, here) = (&first.origin, &again.origin);
    let [first, again] = [first, again].map(|holder| holder.plug.title());
    if first == again && there.same_file(here) {
        return Problem::new(format!("{value} is given to {first} twice"))
            .at(here, "given again here")
            .at(there, "first given here")
            .help("keep one of the two");
    }
    Problem::new(format!(
        "{value} belongs to both {} and {}",
        across(&first, there, here),
        across(&again, here, there)
    ))
    .at(here, format!("{again} has it too"))
    .at(there, format!("{first} has it"))
    .help(help)
}
