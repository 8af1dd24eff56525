//! The second stage of a document's journey: names resolved, ids assigned, every rule of consistency
//! checked. A value of [`Topology`] is consistent by construction; there is no other way to make one
//! than from documents.

mod address;
mod compile;
mod identity;
mod interface;
mod merge;
mod mtu;
mod network;
mod place;
mod port;
#[cfg(test)]
mod properties;
mod range;
mod route;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use ipnet::IpNet;
use maps_schema::{Mac, PortId, Vni};

pub use compile::{compile, compile_drafts};

use crate::link::Route;
pub use crate::problem::{Label, Problem};
pub use crate::source::{Origin, SourceFile};

/// Everything that the loaded sources describe together.
#[derive(Clone, PartialEq, Debug)]
pub struct Topology {
    /// Virtual L2 segments, by name.
    pub networks: BTreeMap<String, Network>,
    /// Workloads, by name.
    pub workloads: BTreeMap<String, Workload>,
    /// Ports, by name.
    pub ports: BTreeMap<PortName, Port>,
    /// Whether dropped frames are reported as events.
    pub drop_events: bool,
}

/// A virtual L2 segment.
#[derive(Clone, PartialEq, Debug)]
pub struct Network {
    /// Its identifier, given or derived from the name.
    pub vni: Vni,
    /// The subnets that its ports' addresses come from; they do not overlap one another.
    pub subnets: Vec<IpNet>,
    /// The largest IP packet that its ports carry, in bytes.
    pub mtu: u32,
    /// What becomes of a frame to a MAC address that nobody is known to have.
    pub unknown_unicast: UnknownUnicast,
    /// Age after which a learned MAC address is forgotten.
    pub ageing: Duration,
    /// Where it is declared.
    pub origin: Origin,
}

/// What becomes of a frame to a MAC address that nobody is known to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, schemars::JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum UnknownUnicast {
    /// It is dropped: with declared ports there is nobody who could be missed.
    Drop,
    /// It goes to all other ports.
    Flood,
}

/// What is plugged in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workload {
    /// Where its network namespace is found.
    pub place: Place,
    /// Where it is declared.
    pub origin: Origin,
    /// Where its place is said: with the workload itself if the place follows from its name.
    pub place_origin: Origin,
}

/// Where a workload's network namespace is found.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// The Docker container of this name or id.
    Container(String),
    /// The network namespace of this name, under `/run/netns`.
    Netns(String),
    /// The network namespace of the process with this id.
    Pid(u32),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(name) => write!(f, "container {name}"),
            Self::Netns(name) => write!(f, "netns {name}"),
            Self::Pid(pid) => write!(f, "pid {pid}"),
        }
    }
}

/// A port's name: the workload and the interface in it, written `web/eth0`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortName {
    /// The workload's name.
    pub workload: String,
    /// The interface's name in the workload's namespace.
    pub interface: String,
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.workload, self.interface)
    }
}

/// Where one workload plugs into one network.
#[derive(Clone, PartialEq, Debug)]
pub struct Port {
    /// Derived from the name; unique and never [`PortId::NONE`].
    pub id: PortId,
    /// The network's name; it is in [`Topology::networks`].
    pub network: String,
    /// Given, or derived from the id; unique in the network and never a group address.
    pub mac: Mac,
    /// Host addresses out of the network's subnets, with the subnet's prefix length; each is unique
    /// in the network.
    pub addresses: Vec<IpNet>,
    /// Routes for the workload's namespace; each next hop is in one of the port's subnets.
    pub routes: Vec<Route>,
    /// The largest IP packet, in bytes: the network's, or smaller.
    pub mtu: u32,
    /// Whether more than one station is behind the port, so that MAC addresses are learned.
    pub learning: bool,
    /// Whether the workload may use source addresses that are not its own.
    pub spoofing: Spoofing,
    /// Where it is declared.
    pub origin: Origin,
}

/// Whether a workload may use source addresses that are not its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, schemars::JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Spoofing {
    /// Frames with another's MAC or IP address as their source are dropped.
    Deny,
    /// Any source is let through.
    Allow,
}
