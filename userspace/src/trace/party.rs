//! The two ends of a trace, as the user named them.

use std::net::IpAddr;

use super::Error;
use crate::similar::Similar;
use crate::topology::{Port, PortName, Topology};

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
    Ports(Vec<NamedPort<'a>>),
}

/// Finds the sender.
pub(super) fn sender<'a>(topology: &'a Topology, name: &'a str) -> Result<Sender<'a>, Error> {
    let ports = ports(topology, name)?;
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
        Err(_) => Ok(Receiver::Ports(ports(topology, name)?)),
    }
}

/// The ports of the workload, or the port, of this name.
fn ports<'a>(topology: &'a Topology, name: &str) -> Result<Vec<NamedPort<'a>>, Error> {
    let all = || topology.ports.iter();
    let (workload, interface) = match name.split_once('/') {
        Some((workload, interface)) => (workload, Some(interface)),
        None => (name, None),
    };
    let found: Vec<_> = all()
        .filter(|(port, _)| port.workload == workload)
        .filter(|(port, _)| interface.is_none_or(|interface| port.interface == interface))
        .collect();
    let is_known = topology.workloads.contains_key(workload);
    if !found.is_empty() || is_known && interface.is_none() {
        return Ok(found);
    }
    let existing: Vec<String> = if interface.is_none() {
        topology.workloads.keys().cloned().collect()
    } else {
        let near = all().filter(|(port, _)| !is_known || port.workload == workload);
        near.map(|(port, _)| port.to_string()).collect()
    };
    Err(Error::UnknownName {
        name: name.to_owned(),
        similar: Similar::new(name, existing),
    })
}
