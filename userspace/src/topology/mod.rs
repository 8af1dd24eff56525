//! The second stage of a document's journey: names resolved, ids assigned, every rule of consistency
//! checked. A value of [`Topology`] is consistent by construction; there is no other way to make one
//! than from documents.

mod address;
mod carried;
mod compile;
mod connections;
mod direct;
mod family;
mod gateway;
mod hosts;
mod identity;
mod interface;
mod merge;
mod mtu;
mod nat;
mod network;
mod place;
mod plug;
mod policy;
mod port;
#[cfg(test)]
mod properties;
mod range;
mod route;
mod router;
mod station;
#[cfg(test)]
mod tests;
mod tunnel;
mod vtep;
mod xdp;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use maps_schema::{Mac, PortId, RouterId, Vni};

pub use compile::{compile, compile_drafts};
pub use mtu::Mtu;
pub use nat::{Nat, Pool, Publish, Translation, Uplink};
pub use policy::{
    Action, Chain, Direction, Group, Party, Policy, PortRange, Rule, RuleList, Service, Services,
    Verb,
};
pub use tunnel::Tunnel;
use tunnel::Tunnels;
pub use xdp::Xdp;

use crate::link::Route;
pub use crate::problem::{Label, Problem};
use crate::program::Settings;
pub use crate::source::{Origin, SourceFile};

/// Everything that the loaded sources describe together.
#[derive(Clone, PartialEq, Debug)]
pub struct Topology {
    /// Virtual L2 segments, by name. A direct link between two routers is one too; its name,
    /// `core/up--edge/down`, is one that no file can give.
    pub networks: BTreeMap<String, Network>,
    /// Virtual L3 devices, by name. None of them is called as a workload is.
    pub routers: BTreeMap<String, Router>,
    /// Workloads, by name.
    pub workloads: BTreeMap<String, Workload>,
    /// Ports, by name.
    pub ports: BTreeMap<PortName, Port>,
    /// The machines that run the workloads, by name. None at all means that everything is on this
    /// one, whichever it is.
    pub hosts: BTreeMap<String, Host>,
    /// Tunnel endpoints that are none of ours, by name. None of them is called as a host is.
    pub vteps: BTreeMap<String, Vtep>,
    /// Security groups, by name: those that are declared and those that ports carry.
    pub groups: BTreeMap<String, Group>,
    /// Lists of rules that others jump to, by name.
    pub chains: BTreeMap<String, Chain>,
    /// Policies, by name: that of the group whose ports they hold for, or the one by which networks
    /// and routers refer to them.
    pub policies: BTreeMap<String, Policy>,
    /// How frames travel between hosts.
    tunnels: Tunnels,
    /// What the programs are loaded with.
    pub settings: Settings,
    /// What is consistent and yet hardly meant.
    pub warnings: Vec<Problem>,
}

impl Topology {
    /// How frames travel between two hosts.
    #[must_use]
    pub fn tunnel(&self, one: &str, other: &str) -> Tunnel {
        self.tunnels.between(one, other)
    }

    /// What the largest of all tunnels takes of the underlay's packets, in bytes.
    #[must_use]
    pub fn overhead(&self) -> u32 {
        let vteps = self.vteps.values();
        let mut addresses = self.hosts.values().map(|host| host.address);
        let Some(underlay) = addresses.next() else {
            return 0;
        };
        let kinds = self.tunnels.kinds(self.hosts.len());
        let kinds = kinds.chain(vteps.map(|vtep| vtep.tunnel));
        let overheads = kinds.map(|tunnel| tunnel.overhead(underlay));
        overheads.max().unwrap_or(0)
    }

    /// The networks that files name: all but direct links.
    pub fn declared_networks(&self) -> impl Iterator<Item = (&String, &Network)> {
        let networks = self.networks.iter();
        networks.filter(|(_, network)| network.kind == NetworkKind::Declared)
    }
}

/// A machine that runs workloads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// The id of the port that leads there from every other host: derived from the name, unique
    /// among all ports and never [`PortId::NONE`].
    pub id: PortId,
    /// Its underlay address, which nobody else has.
    pub address: IpAddr,
    /// The interface that has the address, if it is given.
    pub uplink: Option<String>,
    /// The largest IP packet that the underlay carries from and to there, in bytes, if it is given.
    pub mtu: Option<u32>,
    /// How its uplink uses XDP.
    pub xdp: Xdp,
    /// Where it is declared.
    pub origin: Origin,
}

/// A tunnel endpoint that is none of ours, such as a switch or a kernel's `vxlan` device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vtep {
    /// The id of the port that leads there, as that of a host.
    pub id: PortId,
    /// Its underlay address, which nobody else has.
    pub address: IpAddr,
    /// How frames travel to it: never [`Tunnel::Direct`].
    pub tunnel: Tunnel,
    /// The networks that it takes part in, which are in [`Topology::networks`], with what is behind
    /// it there.
    pub networks: BTreeMap<String, Stations>,
    /// Where it is declared.
    pub origin: Origin,
}

/// What is behind an ordinary VTEP in one network.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stations {
    /// The stations that are declared: unique in the network.
    pub macs: BTreeSet<Mac>,
    /// Whether there are others, whose MAC addresses are learned.
    pub learn: bool,
}

/// A virtual L2 segment.
#[derive(Clone, PartialEq, Debug)]
pub struct Network {
    /// Its identifier, given or derived from the name.
    pub vni: Vni,
    /// The subnets that its ports' addresses come from; they do not overlap one another.
    pub subnets: Vec<IpNet>,
    /// The largest IP packet that its ports carry.
    pub mtu: Mtu,
    /// What becomes of the maximum segment size of the TCP connections in it.
    pub mss: Mss,
    /// What becomes of a frame to a MAC address that nobody is known to have.
    pub unknown_unicast: UnknownUnicast,
    /// Whether its ports get no default route by themselves.
    pub internal: bool,
    /// Whether its workloads can ask for one another's names.
    pub names: bool,
    /// Whether its workloads are told how it is doing.
    pub conditions: bool,
    /// Age after which a learned MAC address is forgotten.
    pub ageing: Duration,
    /// The policy that holds for all its ports, which is in [`Topology::policies`].
    pub policy: Option<String>,
    /// Whether it is to be a network of Docker's, too.
    pub docker: bool,
    /// Whether a file names it.
    pub kind: NetworkKind,
    /// Where it is declared.
    pub origin: Origin,
}

/// Whether a file names a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NetworkKind {
    /// It is declared under its name.
    Declared,
    /// It is what a direct link between two routers consists of.
    Link,
}

/// What becomes of the maximum segment size (RFC 9293 section 3.7.1) in TCP segments that begin a
/// connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, schemars::JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Mss {
    /// It stays as the workload said it.
    Keep,
    /// It is lowered to what fits every link on the way.
    Clamp,
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
    /// The host that it is on, which is in [`Topology::hosts`]; `None` if that is this host,
    /// whichever it is.
    pub host: Option<String>,
    /// Where its network namespace is found.
    pub place: Place,
    /// What it is called besides.
    pub names: Vec<String>,
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
    /// Wherever Docker brings the endpoint of this id: the interface is neither made nor changed for the
    /// plan, and counts as soon as it is there.
    Endpoint(String),
    /// The network namespace of the host itself.
    Host,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(name) => write!(f, "container {name}"),
            Self::Netns(name) => write!(f, "netns {name}"),
            Self::Pid(pid) => write!(f, "pid {pid}"),
            Self::Endpoint(id) => write!(f, "endpoint {id}"),
            Self::Host => f.write_str("the host itself"),
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
    /// Routes for the workload's namespace, given or following from the network's router; each next
    /// hop is in one of the port's subnets.
    pub routes: Vec<Route>,
    /// The largest IP packet: the network's, or smaller; never larger, even where the network's is
    /// [`Mtu::Auto`] and a number is given here.
    pub mtu: Mtu,
    /// Whether more than one station is behind the port, so that MAC addresses are learned.
    pub learning: bool,
    /// Whether the workload may use source addresses that are not its own.
    pub spoofing: Spoofing,
    /// The security groups that it belongs to, which are in [`Topology::groups`]; none twice.
    pub groups: Vec<String>,
    /// What hosts publish of it: no two of one host collide.
    pub publish: Vec<Publish>,
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

/// A virtual L3 device.
#[derive(Clone, PartialEq, Debug)]
pub struct Router {
    /// Derived from the name; unique and never [`RouterId::NONE`].
    pub id: RouterId,
    /// Where it is plugged in, by name: that of the network, or any for a link with another router.
    /// Their subnets are apart.
    pub ports: BTreeMap<String, RouterPort>,
    /// Its way to the outside, if it has one.
    pub uplink: Option<Uplink>,
    /// How it changes addresses of what goes through its uplink; nothing without one.
    pub nat: Vec<Nat>,
    /// The routes in force, one for each destination, in the order of the destinations: those to the
    /// ports' own subnets, and those that are given.
    pub routes: Vec<RouterRoute>,
    /// The policy by which it judges what it forwards: it is in [`Topology::policies`] and has rules for
    /// that.
    pub policy: Option<String>,
    /// Where it is declared.
    pub origin: Origin,
}

/// Where a router is plugged into a network.
#[derive(Clone, PartialEq, Debug)]
pub struct RouterPort {
    /// Derived from the name, which is written `core/front`; unique among all ports and never
    /// [`PortId::NONE`].
    pub id: PortId,
    /// The network's name; it is in [`Topology::networks`].
    pub network: String,
    /// Given, or derived from where it is plugged in and its first address; unique in the network and
    /// never a group address.
    pub mac: Mac,
    /// Host addresses with their subnet's prefix length, one at least; each is unique in the
    /// network.
    pub addresses: Vec<IpNet>,
    /// The largest IP packet: the network's, or smaller; never larger, even where the network's is
    /// [`Mtu::Auto`] and a number is given here.
    pub mtu: Mtu,
    /// Where it is declared.
    pub origin: Origin,
}

/// A route of a router.
#[derive(Clone, PartialEq, Debug)]
pub struct RouterRoute {
    /// Which destinations; the default route is `0.0.0.0/0` or `::/0`.
    pub to: IpNet,
    /// The metric by which it was preferred to others for the same destinations.
    pub metric: u32,
    /// What becomes of packets to there.
    pub target: RouteTarget,
    /// Where its destinations are given; for a port's own subnet, the port's address.
    pub origin: Origin,
}

/// What becomes of the packets that a route is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RouteTarget {
    /// They go to one of these equal next hops: one at least, and none twice.
    Forward(Vec<NextHop>),
    /// They go to the outside, through the router's uplink, which it has.
    Uplink,
    /// They are dropped.
    Blackhole,
    /// They are dropped, and their senders are told.
    Reject,
}

/// Where a router sends a packet to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NextHop {
    /// The port that the packet leaves by: a key of [`Router::ports`].
    pub port: String,
    /// The station that it goes to, in one of the port's subnets; `None` if that is the destination
    /// itself.
    pub via: Option<IpAddr>,
}
