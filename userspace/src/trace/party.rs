//! The two ends of a trace, as the user named them.

use std::fmt;
use std::net::IpAddr;

use maps_schema::PortId;

use super::Error;
use crate::link::link_local;
use crate::similar::Similar;
use crate::source::Origin;
use crate::topology::{Port, PortName, RouterPort, Topology};

/// A port of the topology with its name.
pub(super) type NamedPort<'a> = (&'a PortName, &'a Port);

/// Who sends.
pub(super) struct Sender<'a> {
    /// What the user calls it.
    pub(super) name: &'a str,
    /// The workload.
    pub(super) workload: &'a str,
    /// The ports that the packet may leave by.
    pub(super) ports: Vec<NamedPort<'a>>,
}

/// Who receives.
pub(super) enum Receiver<'a> {
    /// An address, whoever has it.
    Address(IpAddr),
    /// The stations behind these ports.
    Ports(Vec<Holder<'a>>),
}

/// Who has addresses: a workload's port, or a router's.
#[derive(Clone, Copy)]
pub(super) enum Holder<'a> {
    /// A port of a workload.
    Workload(&'a PortName, &'a Port),
    /// A port of a router, with the names of both.
    Router(&'a str, &'a str, &'a RouterPort),
}

impl<'a> Holder<'a> {
    /// Every port that has addresses.
    pub(super) fn all(topology: &'a Topology) -> impl Iterator<Item = Self> {
        let workloads = topology.ports.iter();
        let workloads = workloads.map(|(name, port)| Self::Workload(name, port));
        let routers = topology.routers.iter().flat_map(|(router, it)| {
            let ports = it.ports.iter();
            ports.map(move |(name, port)| Self::Router(router, name, port))
        });
        workloads.chain(routers)
    }

    pub(super) fn id(&self) -> PortId {
        match self {
            Self::Workload(_, port) => port.id,
            Self::Router(_, _, port) => port.id,
        }
    }

    pub(super) fn network(&self) -> &'a str {
        match self {
            Self::Workload(_, port) => &port.network,
            Self::Router(_, _, port) => &port.network,
        }
    }

    /// The largest IP packet that it takes, in bytes, where tunnels carry packets of `carried` bytes.
    pub(super) fn mtu(&self, topology: &Topology, carried: u32) -> u32 {
        let own = match self {
            Self::Workload(_, port) => port.mtu,
            Self::Router(_, _, port) => port.mtu,
        };
        let network = topology.networks.get(self.network());
        own.within(network.map_or(own, |network| network.mtu), carried)
    }

    pub(super) fn origin(&self) -> &'a Origin {
        match self {
            Self::Workload(_, port) => &port.origin,
            Self::Router(_, _, port) => &port.origin,
        }
    }

    pub(super) fn mac(&self) -> maps_schema::Mac {
        match self {
            Self::Workload(_, port) => port.mac,
            Self::Router(_, _, port) => port.mac,
        }
    }

    /// The addresses that it was given.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        let addresses = match self {
            Self::Workload(_, port) => &port.addresses,
            Self::Router(_, _, port) => &port.addresses,
        };
        addresses.iter().map(|address| address.addr())
    }

    /// Whether it was given this address, or has it as its link-local one.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.addresses().any(|address| address == ip) || ip == IpAddr::V6(link_local(self.mac()))
    }

    /// What to do if it was given an address, but is not there.
    pub(super) fn plug_in(&self) -> String {
        match self {
            Self::Workload(name, _) => super::outcome::plug_in(&name.workload),
            Self::Router(..) => super::outcome::LOAD_AGAIN.to_owned(),
        }
    }
}

impl fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(name, _) => name.fmt(f),
            Self::Router(router, port, _) => write!(f, "{router}/{port}"),
        }
    }
}

/// Finds the sender.
pub(super) fn sender<'a>(topology: &'a Topology, name: &'a str) -> Result<Sender<'a>, Error> {
    if topology
        .routers
        .contains_key(name.split('/').next().unwrap_or(name))
    {
        return Err(Error::RouterSends(name.to_owned()));
    }
    let ports = ports(topology, name, false)?.into_iter();
    let ports: Vec<NamedPort<'a>> = ports
        .filter_map(|holder| match holder {
            Holder::Workload(name, port) => Some((name, port)),
            Holder::Router(..) => None,
        })
        .collect();
    Ok(Sender {
        name,
        workload: ports.first().map_or(name, |(name, _)| &name.workload),
        ports,
    })
}

/// Finds the receiver.
pub(super) fn receiver<'a>(topology: &'a Topology, name: &str) -> Result<Receiver<'a>, Error> {
    match name.parse::<IpAddr>() {
        // A socket for `::ffff:10.1.0.1` speaks IPv4.
        Ok(ip) => Ok(Receiver::Address(ip.to_canonical())),
        Err(_) => Ok(Receiver::Ports(ports(topology, name, true)?)),
    }
}

/// The ports of the workload or router, or the port, of this name.
fn ports<'a>(
    topology: &'a Topology,
    name: &str,
    with_routers: bool,
) -> Result<Vec<Holder<'a>>, Error> {
    let all = || {
        let all = Holder::all(topology);
        all.filter(|holder| with_routers || matches!(holder, Holder::Workload(..)))
            .map(|holder| (holder.to_string(), holder))
    };
    let device = name.split_once('/').map_or(name, |(device, _)| device);
    let prefix = format!("{device}/");
    let is_port = device != name;
    let found: Vec<_> = all()
        .filter(|(port, _)| port == name || !is_port && port.starts_with(&prefix))
        .map(|(_, holder)| holder)
        .collect();
    let is_known = topology.workloads.contains_key(device)
        || with_routers && topology.routers.contains_key(device);
    if !found.is_empty() || is_known && !is_port {
        return Ok(found);
    }
    let existing: Vec<String> = if is_port {
        let near = all().filter(|(port, _)| !is_known || port.starts_with(&prefix));
        near.map(|(port, _)| port).collect()
    } else {
        let routers = topology.routers.keys().filter(|_| with_routers);
        topology.workloads.keys().chain(routers).cloned().collect()
    };
    Err(Error::UnknownName {
        name: name.to_owned(),
        similar: Similar::new(name, existing),
    })
}
