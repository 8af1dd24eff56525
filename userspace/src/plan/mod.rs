//! The third stage of a document's journey: everything that the kernel of this host must contain so
//! that the topology is in force.
//!
//! A plan is a pure function of the topology: the same input gives the same bytes. What it cannot
//! know are the indexes that the kernel gives to interfaces; the few rows that hold them are made by
//! [`Plan::rows`] when the links exist. What comes next is `diff`, which compares a plan with what
//! the kernel holds.

mod epochs;
mod names;
mod nat;
mod peers;
mod policies;
mod routers;
mod rows;
mod situation;
#[cfg(test)]
pub(crate) mod tests;
mod view;

use std::collections::BTreeMap;

use maps_schema::map::{IngressPort, MapName};
use maps_schema::{IfIndex, PolicyList, PortId};

pub use names::{Named, NamedRule, Names};
pub(crate) use names::{destination, way};
#[cfg(test)]
pub(crate) use routers::route_key;
pub use situation::{Situation, Uplink};
use view::{Place, Station, View};

use crate::instance::Instance;
use crate::link::{Inside, Link};
use crate::program::{Settings, XdpMode};
use crate::topology::{self, Mss, Network, Port, PortName, Spoofing, Topology};

/// The rows of every planned map, by map and key, as the kernel has them.
pub type Tables = BTreeMap<MapName, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Everything that the kernel of this host must contain.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// The links, by the name of the host's end.
    pub links: BTreeMap<String, PlannedLink>,
    /// The host that it is for, if the topology names it.
    pub host: Option<String>,
    /// The interface to the underlay, if there are peers behind it.
    pub uplink: Option<PlannedUplink>,
    /// The largest IP packet that fits the underlay through every tunnel, in bytes: what
    /// [`Mtu::Auto`](crate::topology::Mtu::Auto) stands for.
    pub carried: u32,
    /// The rows that do not depend on interfaces that are made.
    constant: Tables,
    /// What ids stand for.
    pub names: Names,
    /// What the programs are loaded with.
    pub settings: Settings,
}

/// The interface to the underlay, at whose ingress frames from peers are taken in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedUplink {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub ifindex: IfIndex,
    /// How it uses XDP; nothing if it does not.
    pub xdp: Option<PlannedXdp>,
}

/// How the uplink uses XDP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlannedXdp {
    /// Who calls the program.
    pub mode: XdpMode,
    /// Whether it was asked for: if not, the driver may refuse it.
    pub required: bool,
}

/// A link and the port that it realizes.
#[derive(Clone, PartialEq, Debug)]
pub struct PlannedLink {
    /// The port.
    pub name: PortName,
    /// The port's row, as the datapath needs it when a frame comes in.
    pub ingress: IngressPort,
    /// The rules for what the workload is sent.
    pub delivery: PolicyList,
    /// The veth pair.
    pub link: Link,
}

impl Plan {
    /// Plans for one host, which is in this situation.
    #[must_use]
    pub fn new(topology: &Topology, instance: &Instance, situation: &Situation) -> Self {
        let view = View::new(topology, situation);
        let ids = policies::Ids::new(topology);
        let mut constant = rows::constant(&view);
        let held = policies::add_policies(&mut constant, &view, &ids);
        let here = view.ports.iter().filter(|it| it.place == Place::Here);
        let links = here.filter_map(|&Station { name, port, .. }| {
            let network = *view.networks.get(port.network.as_str())?;
            let place = &topology.workloads.get(&name.workload)?.place;
            let is_host = *place == topology::Place::Host;
            let planned = PlannedLink {
                name: name.clone(),
                ingress: ingress_port(network, port, is_host, held.of_sender(port.id)),
                delivery: held.of_receiver(port.id),
                link: link(
                    instance,
                    name,
                    port,
                    port.mtu.within(network.mtu, view.carried),
                    endpoint_of(place),
                ),
            };
            Some((planned.link.name.clone(), planned))
        });
        let links: BTreeMap<_, PlannedLink> = links.collect();
        routers::add_routers(&mut constant, &view, &held);
        let is_gateway = nat::add_nat(&mut constant, &view, &held);
        let uplink = peers::add_uplink(&mut constant, &view, is_gateway);
        let ports = links.values().map(|link| (&link.ingress, link.delivery));
        epochs::add_epochs(&mut constant, &view, ports);
        Self {
            links,
            uplink,
            host: view.own.map(|(name, _)| name.to_owned()),
            carried: view.carried,
            constant,
            names: Names::new(topology, &ids),
            settings: topology.settings,
        }
    }

    /// All rows, given the interfaces that exist so far, by the name of the host's end. A port whose
    /// interface does not exist yet has no rows that lead to it.
    #[must_use]
    pub fn rows(&self, interfaces: &BTreeMap<String, IfIndex>) -> Tables {
        let mut tables = self.constant.clone();
        for (host_end, planned) in &self.links {
            if let Some(&ifindex) = interfaces.get(host_end) {
                rows::add_interface(&mut tables, ifindex, planned);
            }
        }
        tables
    }

    /// The planned link of a port.
    #[must_use]
    pub fn link_of(&self, port: PortId) -> Option<&PlannedLink> {
        self.links
            .values()
            .find(|planned| planned.ingress.port == port)
    }
}

fn ingress_port(network: &Network, port: &Port, is_host: bool, policy: PolicyList) -> IngressPort {
    let host = if is_host { IngressPort::HOST_NETNS } else { 0 };
    let learning = if port.learning {
        IngressPort::LEARNING
    } else {
        0
    };
    let spoofing = match port.spoofing {
        Spoofing::Deny => 0,
        Spoofing::Allow => IngressPort::MAY_SPOOF,
    };
    IngressPort {
        port: port.id,
        vni: network.vni,
        mac: port.mac,
        flags: learning | spoofing | host | clamping(network),
        reserved: 0,
        policy,
    }
}

/// The flag of ports that lead out of a network.
const fn clamping(network: &Network) -> u8 {
    match network.mss {
        Mss::Keep => 0,
        Mss::Clamp => IngressPort::CLAMPS_MSS,
    }
}

/// The endpoint of Docker's that a port belongs to, if it is one.
fn endpoint_of(place: &topology::Place) -> Option<&str> {
    match place {
        topology::Place::Endpoint(id) => Some(id),
        _ => None,
    }
}

fn link(
    instance: &Instance,
    name: &PortName,
    port: &Port,
    mtu: u32,
    endpoint: Option<&str>,
) -> Link {
    Link {
        name: endpoint.map_or_else(
            || instance.host_end(port.id),
            |id| instance.endpoint_end(id),
        ),
        alias: instance.alias(name),
        mtu,
        up: true,
        inside: Inside {
            interface: name.interface.clone(),
            mac: port.mac,
            addresses: port.addresses.iter().copied().collect(),
            routes: port.routes.iter().copied().collect(),
        },
    }
}
