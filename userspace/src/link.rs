//! A veth pair between the host and a workload's namespace, as data: the plan says how it should be,
//! the kernel edge says how it is, and the two are compared field by field.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use maps_schema::Mac;

/// One veth pair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Name of the host's end; carries the instance's prefix.
    pub name: String,
    /// Alias of the host's end: who owns it and which port it is.
    pub alias: String,
    /// Both ends' MTU: the largest IP packet in bytes.
    pub mtu: u32,
    /// Whether both ends are administratively up.
    pub up: bool,
    /// The workload's end.
    pub inside: Inside,
}

/// The workload's end of a veth pair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inside {
    /// The interface's name in the workload's namespace.
    pub interface: String,
    /// Its MAC address.
    pub mac: Mac,
    /// Its addresses with the length of their subnet's prefix. The addresses that the kernel makes
    /// by itself (IPv6 link-local) are not among them.
    pub addresses: BTreeSet<IpNet>,
    /// The routes that bowline put there, besides those that follow from the addresses.
    pub routes: BTreeSet<Route>,
}

/// A route in a workload's namespace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Route {
    /// Which destinations; the default route is `0.0.0.0/0` or `::/0`.
    pub to: IpNet,
    /// The next hop, of the same family.
    pub via: IpAddr,
}
