//! What a topology file may contain. The descriptions here are also those of the JSON schema, and
//! each type stands next to the list of its keys; a test holds the two together.

mod connections;
mod nat;
mod policy;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use maps_schema::Mac;
use schemars::JsonSchema;

pub use connections::Connections;
pub(super) use connections::Timeouts;
pub(super) use connections::{CONNECTIONS_KEYS, TIMEOUTS_KEYS};
pub(super) use nat::{NAT_KEYS, UPLINK_KEYS};
pub use nat::{Nat, Publish, Translation, Uplink};
pub(super) use policy::{DEFAULT_ACTIONS_KEYS, GROUP_KEYS, POLICY_KEYS, RULE_KEYS};
pub use policy::{DefaultActions, Group, Member, Party, Policy, PolicyDefault, Rule, Verb};

use super::read::Located;
use super::scalar::{Address, Destination, Gateway, Hop, Mtu, OBJECT_NAME, Peer, SOURCE_NAME};
use super::schema;
use crate::source::{Origin, SourceFile};
use crate::topology::{Mss, Spoofing, Tunnel, UnknownUnicast, Xdp};

/// The version of the file format that this release reads.
pub(super) const VERSION: u64 = 1;

pub(super) const DOCUMENT_KEYS: &[&str] = &[
    "version",
    "name",
    "defaults",
    "hosts",
    "tunnels",
    "vteps",
    "networks",
    "routers",
    "workloads",
    "groups",
    "chains",
    "policies",
];

/// A bowline topology file.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(title = "bowline topology file", deny_unknown_fields)]
pub struct Document {
    /// The file.
    #[schemars(skip)]
    pub file: Arc<SourceFile>,
    /// Whether objects that others refer to may be missing because a part of the file could not be
    /// read.
    #[schemars(skip)]
    pub(crate) incomplete: bool,
    /// Whether ports may be missing, or groups that ports carry.
    #[schemars(skip)]
    pub(crate) incomplete_ports: bool,
    /// The version of the file format.
    #[schemars(extend("const" = VERSION))]
    pub version: u64,
    /// The name of this source of objects. What was loaded under a name is unloaded under it.
    #[schemars(with = "String", extend("pattern" = SOURCE_NAME))]
    pub name: Located<String>,
    /// What holds for all objects of this file that do not say otherwise.
    #[schemars(default, transform = schema::or_empty)]
    pub defaults: Defaults,
    /// The machines that run the workloads, by name. None needs to be named if all workloads are on
    /// this one. All loaded files mean the same host by the same name.
    #[schemars(
        default,
        extend("propertyNames" = {"pattern": OBJECT_NAME}),
        transform = schema::or_empty
    )]
    pub hosts: BTreeMap<String, Host>,
    /// How frames travel between two hosts, where it is not as `defaults` say.
    #[schemars(default, transform = schema::or_empty)]
    pub tunnels: Vec<TunnelPair>,
    /// Tunnel endpoints that are no hosts of bowline, such as switches, by name. No host has the name
    /// of a VTEP.
    #[schemars(
        default,
        extend("propertyNames" = {"pattern": OBJECT_NAME}),
        transform = schema::or_empty
    )]
    pub vteps: BTreeMap<String, Vtep>,
    /// Virtual L2 segments, by name. The names of all loaded sources are in one namespace.
    #[schemars(
        default,
        extend("propertyNames" = {"pattern": OBJECT_NAME}),
        transform = schema::or_empty
    )]
    pub networks: BTreeMap<String, Network>,
    /// What networks are joined by, by name. No workload has the name of a router.
    #[schemars(
        default,
        extend("propertyNames" = {"pattern": OBJECT_NAME}),
        transform = schema::or_empty
    )]
    pub routers: BTreeMap<String, Router>,
    /// What is plugged into the networks, by name.
    #[schemars(
        default,
        extend("propertyNames" = {"pattern": OBJECT_NAME}),
        transform = schema::or_empty
    )]
    pub workloads: BTreeMap<String, Workload>,
    /// Security groups, by name. One that a port carries need not be declared.
    #[schemars(
        default,
        extend("propertyNames" = {"pattern": OBJECT_NAME}),
        transform = schema::or_empty
    )]
    pub groups: BTreeMap<String, Group>,
    /// Lists of rules, by name, which other rules jump to. Behind the last rule of a chain it goes on
    /// behind the jump.
    #[schemars(
        default,
        with = "BTreeMap<String, Vec<Rule>>",
        extend("propertyNames" = {"pattern": OBJECT_NAME}),
        transform = schema::or_empty_lists
    )]
    pub chains: BTreeMap<String, Located<Vec<Rule>>>,
    /// Which connections are let through, by the name of the group whose ports a policy holds for, or
    /// by a name that networks and routers refer to.
    #[schemars(
        default,
        extend("propertyNames" = {"pattern": OBJECT_NAME}),
        transform = schema::or_empty
    )]
    pub policies: BTreeMap<String, Policy>,
}

impl Document {
    /// The document of a file of which nothing could be read.
    pub(super) fn unreadable(file: Arc<SourceFile>, origin: Origin) -> Self {
        Self {
            name: Located {
                value: file.name.clone(),
                origin,
            },
            file,
            incomplete: true,
            incomplete_ports: true,
            version: VERSION,
            defaults: Defaults::default(),
            hosts: BTreeMap::new(),
            tunnels: Vec::new(),
            vteps: BTreeMap::new(),
            networks: BTreeMap::new(),
            routers: BTreeMap::new(),
            workloads: BTreeMap::new(),
            groups: BTreeMap::new(),
            chains: BTreeMap::new(),
            policies: BTreeMap::new(),
        }
    }
}

pub(super) const DEFAULTS_KEYS: &[&str] = &["tunnel", "mtu", "mss", "drop_events", "connections"];

/// What holds for all objects of a file that do not say otherwise.
#[derive(Clone, Default, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Defaults {
    /// How frames travel between hosts. All loaded files that say it say the same. `vxlan` unless
    /// given.
    #[schemars(with = "Option<Tunnel>")]
    pub tunnel: Option<Located<Tunnel>>,
    /// The largest IP packet of the file's networks: a number of bytes, or `auto` for what fits the
    /// underlay through every tunnel. `auto` unless given, if there are several hosts or a VTEP; 1500
    /// otherwise.
    #[schemars(with = "Option<u16>", range(min = 68), transform = schema::or_auto)]
    pub mtu: Option<Located<Mtu>>,
    /// What becomes of the maximum segment size in TCP segments that begin a connection, in all of the
    /// file's networks. `keep` unless given.
    #[schemars(with = "Option<Mss>")]
    pub mss: Option<Located<Mss>>,
    /// Whether every dropped frame is reported as an event. Off unless given; on for the host as
    /// soon as one loaded source switches it on.
    #[schemars(with = "Option<bool>")]
    pub drop_events: Option<Located<bool>>,
    /// How many connections hosts remember, and for how long.
    #[schemars(default, transform = schema::or_empty)]
    pub connections: Connections,
}

pub(super) const HOST_KEYS: &[&str] = &["address", "uplink", "mtu", "xdp"];

/// A machine that runs workloads. Short form: its address.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, transform = schema::or_its_address)]
pub struct Host {
    /// Where it is declared.
    #[schemars(skip)]
    pub origin: Origin,
    /// Whether parts of it could not be read.
    #[schemars(skip)]
    pub(crate) incomplete: bool,
    /// Its address in the underlay, from which its tunnels come. All hosts have addresses of one
    /// family.
    #[schemars(with = "String")]
    pub address: Option<Located<IpAddr>>,
    /// The interface to the underlay. The one that has the address unless given.
    #[schemars(with = "Option<String>")]
    pub uplink: Option<Located<String>>,
    /// The largest IP packet that the underlay carries from and to the host, in bytes. That of the
    /// interface unless given.
    #[schemars(with = "Option<u16>", range(min = 68))]
    pub mtu: Option<Located<u64>>,
    /// How the uplink drops early, by XDP, what cannot be from a peer. `auto` unless given: natively,
    /// if the driver can and loses nothing by it.
    #[schemars(with = "Option<Xdp>")]
    pub xdp: Option<Located<Xdp>>,
}

pub(super) const TUNNEL_KEYS: &[&str] = &["between", "tunnel"];

/// How frames travel between two hosts.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TunnelPair {
    /// Where it is said.
    #[schemars(skip)]
    pub origin: Origin,
    /// The names of the two hosts.
    #[schemars(with = "Vec<String>", length(min = 2, max = 2))]
    pub between: [Located<String>; 2],
    /// How frames travel from either of them to the other.
    #[schemars(with = "Tunnel")]
    pub tunnel: Located<Tunnel>,
}

pub(super) const VTEP_KEYS: &[&str] = &["address", "tunnel", "networks"];

/// A tunnel endpoint that is no host of bowline: a switch, or a kernel's `vxlan` device. What it is
/// sent it delivers by itself, and it takes part in the networks that it names.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Vtep {
    /// Where it is declared.
    #[schemars(skip)]
    pub origin: Origin,
    /// Whether parts of it could not be read.
    #[schemars(skip)]
    pub(crate) incomplete: bool,
    /// Its address in the underlay.
    #[schemars(with = "String")]
    pub address: Option<Located<IpAddr>>,
    /// How frames travel to it, which is never `none`. As `defaults` say unless given.
    #[schemars(with = "Option<Tunnel>")]
    pub tunnel: Option<Located<Tunnel>>,
    /// The networks that it takes part in, by name, and which stations are behind it there.
    pub networks: BTreeMap<String, VtepNetwork>,
}

pub(super) const VTEP_NETWORK_KEYS: &[&str] = &["macs", "learn"];

/// The stations of one network that are behind a VTEP. Short forms: `learn`, or their MAC
/// addresses.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, transform = schema::or_macs_or_learn)]
pub struct VtepNetwork {
    /// Where it is said.
    #[schemars(skip)]
    pub origin: Origin,
    /// The MAC addresses of the stations that are known, one or a list.
    #[schemars(default, with = "Vec<String>", transform = schema::or_one)]
    pub macs: Vec<Located<Mac>>,
    /// Whether there are others, whose MAC addresses are learned. Off unless given.
    #[schemars(with = "Option<bool>")]
    pub learn: Option<Located<bool>>,
}

pub(super) const NETWORK_KEYS: &[&str] = &[
    "subnets",
    "internal",
    "names",
    "conditions",
    "vni",
    "mtu",
    "mss",
    "unknown_unicast",
    "ageing",
    "policy",
    "routers",
    "docker",
];

/// A virtual L2 segment. Short forms: its one subnet, or a list of its subnets.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, transform = schema::or_its_subnets)]
pub struct Network {
    /// Where it is declared.
    #[schemars(skip)]
    pub origin: Origin,
    /// Whether parts of it could not be read.
    #[schemars(skip)]
    pub(crate) incomplete: bool,
    /// The subnets that the addresses of its ports come from, one or a list. An empty list makes a
    /// network without addresses.
    #[schemars(with = "Vec<String>", transform = schema::or_one)]
    pub subnets: Vec<Located<IpNet>>,
    /// Whether its ports get no default route by themselves. Off unless given.
    #[schemars(with = "Option<bool>")]
    pub internal: Option<Located<bool>>,
    /// Whether workloads on it can ask 169.254.0.53 for one another's names; `true` unless given. A workload
    /// that is a DNS server itself may not get port 53 otherwise.
    #[schemars(with = "Option<bool>")]
    pub names: Option<Located<bool>>,
    /// Whether workloads on it are told how it is doing, at http://169.254.0.53:947; `true` unless given.
    #[schemars(with = "Option<bool>")]
    pub conditions: Option<Located<bool>>,
    /// The network's identifier, of 24 bits. Derived from the name unless given.
    #[schemars(with = "Option<u32>", range(min = 1, max = 16_777_214))]
    pub vni: Option<Located<u64>>,
    /// The largest IP packet: a number of bytes or `auto`, as in `defaults`, and as there unless
    /// given.
    #[schemars(with = "Option<u16>", range(min = 68), transform = schema::or_auto)]
    pub mtu: Option<Located<Mtu>>,
    /// What becomes of the maximum segment size in TCP segments that begin a connection: `keep`, or
    /// `clamp` to what fits the way from one workload to the other. Connections are clamped that begin,
    /// end or pass in the network. As `defaults` say unless given.
    #[schemars(with = "Option<Mss>")]
    pub mss: Option<Located<Mss>>,
    /// What becomes of a frame to a MAC address that nobody is known to have. `drop` unless given.
    #[schemars(with = "Option<UnknownUnicast>")]
    pub unknown_unicast: Option<Located<UnknownUnicast>>,
    /// The age after which a learned MAC address is forgotten: seconds, or a number with the unit
    /// s, m, h or d. 300s unless given.
    #[schemars(with = "Option<u64>", transform = schema::or_duration)]
    pub ageing: Option<Located<Duration>>,
    /// The policy that holds for all its ports, behind those of their groups.
    #[schemars(with = "Option<String>")]
    pub policy: Option<Located<String>>,
    /// Whether the agent makes it a network of Docker's, of the same name, on every host that has this
    /// loaded. Off unless given.
    #[schemars(with = "Option<bool>")]
    pub docker: Option<Located<bool>>,
    /// Routers of any loaded file that it is plugged into, by name, with their addresses here. It is
    /// the same as a port of that name under the router, for who cannot change the router's file.
    #[schemars(
        default,
        extend("propertyNames" = {"pattern": OBJECT_NAME}),
        transform = schema::or_empty
    )]
    pub routers: BTreeMap<String, RouterPort>,
}

pub(super) const ROUTER_KEYS: &[&str] = &["ports", "uplink", "routes", "nat", "policy"];

/// A virtual L3 device: it forwards between the networks and routers that its ports lead to.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Router {
    /// Where it is declared.
    #[schemars(skip)]
    pub origin: Origin,
    /// Whether parts of it could not be read.
    #[schemars(skip)]
    pub(crate) incomplete: bool,
    /// Where it is plugged in. A port is named after the network that it is on; one that leads to
    /// another router has any name.
    #[schemars(
        extend("propertyNames" = {"pattern": OBJECT_NAME}),
        transform = schema::or_empty
    )]
    pub ports: BTreeMap<String, RouterPort>,
    /// Its way to the outside, through the own routing of hosts: `true`, or which hosts. None unless
    /// given. Its default route leads there, unless another one is given.
    #[schemars(with = "Option<Uplink>")]
    pub uplink: Option<Uplink>,
    /// Routes, besides those to the subnets of its ports.
    #[schemars(default)]
    pub routes: Vec<RouterRoute>,
    /// How it changes addresses of what goes through its uplink. Floating addresses come first, and of
    /// the others the first one that has the source.
    #[schemars(default, transform = schema::or_empty)]
    pub nat: Vec<Nat>,
    /// The policy by whose `forward` rules it judges what it forwards.
    #[schemars(with = "Option<String>")]
    pub policy: Option<Located<String>>,
}

pub(super) const ROUTER_PORT_KEYS: &[&str] = &["peer", "addresses", "mac", "mtu"];

/// Where a router is plugged into a network or linked with another router. Short forms: its one
/// address, or a list of its addresses.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, transform = schema::or_its_addresses)]
pub struct RouterPort {
    /// Where it is declared.
    #[schemars(skip)]
    pub origin: Origin,
    /// Whether parts of it could not be read.
    #[schemars(skip)]
    pub(crate) incomplete: bool,
    /// The router at the other end of a direct link, which has a port that names this router in
    /// turn; `ROUTER/PORT` where there are several. Without it the port is on the network of its
    /// own name.
    #[schemars(with = "Option<String>")]
    pub peer: Option<Located<Peer>>,
    /// The port's addresses, one or a list, with or without the subnet's prefix length. On a link
    /// with another router the length is needed.
    #[schemars(with = "Vec<String>", transform = schema::or_one)]
    pub addresses: Vec<Located<Address>>,
    /// The port's MAC address. Derived from its network and its first address unless given, so that a
    /// gateway keeps it that moves to another router.
    #[schemars(
        with = "Option<String>",
        extend("pattern" = "^[0-9A-Fa-f]{2}((:[0-9A-Fa-f]{2}){5}|(-[0-9A-Fa-f]{2}){5})$")
    )]
    pub mac: Option<Located<Mac>>,
    /// The largest IP packet in bytes: the network's unless given, and never more. A link between
    /// two routers carries the smaller of its two ports'.
    #[schemars(with = "Option<u16>", range(min = 68))]
    pub mtu: Option<Located<u64>>,
}

pub(super) const ROUTER_ROUTE_KEYS: &[&str] = &["to", "via", "metric"];

/// A route of a router.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RouterRoute {
    /// Where it is declared.
    #[schemars(skip)]
    pub origin: Origin,
    /// The destinations: a prefix, or `default` for all of the next hop's family, or of both
    /// families where the next hop is no address.
    #[schemars(with = "String")]
    pub to: Located<Destination>,
    /// The next hop, or a list of equal ones: an address in a subnet of one of the router's ports,
    /// or the name of a port. A port that leads to a router means that router, one on a network
    /// that the destinations are on it. Instead of a next hop, `uplink` leads to the
    /// outside, `blackhole` drops the packets and `reject` tells their senders so.
    #[schemars(with = "Vec<String>", length(min = 1), transform = schema::or_one)]
    pub via: Vec<Located<Hop>>,
    /// Of several routes to the same destinations the one with the lowest metric is in force. 0
    /// unless given.
    #[schemars(with = "Option<u32>")]
    pub metric: Option<Located<u64>>,
}

pub(super) const WORKLOAD_KEYS: &[&str] = &[
    "host",
    "container",
    "netns",
    "pid",
    "endpoint",
    "host_network",
    "names",
    "ports",
];

/// What is plugged in: a container, a network namespace, a process or the host itself. At most one of
/// `container`, `netns`, `pid`, `endpoint` and `host_network` is given; without any, it is the container
/// of the workload's own name.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, transform = schema::at_most_one_place)]
pub struct Workload {
    /// Where it is declared.
    #[schemars(skip)]
    pub origin: Origin,
    /// Whether parts of it could not be read.
    #[schemars(skip)]
    pub(crate) incomplete: bool,
    /// The host that it is on. It must be said in a file that names several; one that names a single
    /// host means that one, and one that names none the host that it is loaded on.
    #[schemars(with = "Option<String>")]
    pub host: Option<Located<String>>,
    /// The name or id of a Docker container.
    #[schemars(with = "Option<String>")]
    pub container: Option<Located<String>>,
    /// The name of a network namespace under /run/netns.
    #[schemars(with = "Option<String>")]
    pub netns: Option<Located<String>>,
    /// The id of a process; its network namespace is meant.
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub pid: Option<Located<u64>>,
    /// The id of an endpoint of Docker's: Docker itself brings the interface into its container, and
    /// gives it the addresses. It is for what `bowline agent` writes.
    #[schemars(with = "Option<String>")]
    pub endpoint: Option<Located<String>>,
    /// Whether it is the host itself: its own programs, and the containers that share its network
    /// namespace, take part in the networks. Off unless given.
    #[schemars(with = "Option<bool>")]
    pub host_network: Option<Located<bool>>,
    /// What it is called besides, for who asks for its address by name on one of its networks.
    #[schemars(default, with = "Vec<String>", transform = schema::or_one)]
    pub names: Vec<Located<String>>,
    /// Where it is plugged in.
    pub ports: Vec<Port>,
}

impl Workload {
    /// Whether it is the host itself.
    pub(crate) fn is_host(&self) -> bool {
        self.host_network.as_ref().is_some_and(|given| given.value)
    }
}

pub(super) const PORT_KEYS: &[&str] = &[
    "network",
    "addresses",
    "interface",
    "mac",
    "mtu",
    "routes",
    "gateway",
    "learning",
    "spoofing",
    "groups",
    "publish",
];

/// Where a workload is plugged into a network. Short form: the network's name, for a port without
/// an address.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, transform = schema::or_its_network)]
pub struct Port {
    /// Where it is declared.
    #[schemars(skip)]
    pub origin: Origin,
    /// Whether parts of it could not be read.
    #[schemars(skip)]
    pub(crate) incomplete: bool,
    /// Which of the workload's ports it is, from 0.
    #[schemars(skip)]
    pub position: usize,
    /// The name of the network.
    #[schemars(with = "String")]
    pub network: Located<String>,
    /// The port's addresses, one or a list, with or without the subnet's prefix length.
    #[schemars(default, with = "Vec<String>", transform = schema::or_one)]
    pub addresses: Vec<Located<Address>>,
    /// The name of the interface in the workload, of 15 bytes at most. eth0, eth1 and so on by
    /// position unless given; in the host itself, the network's name.
    #[schemars(with = "Option<String>")]
    pub interface: Option<Located<String>>,
    /// The interface's MAC address. Derived from the names of workload and interface unless given.
    #[schemars(
        with = "Option<String>",
        extend("pattern" = "^[0-9A-Fa-f]{2}((:[0-9A-Fa-f]{2}){5}|(-[0-9A-Fa-f]{2}){5})$")
    )]
    pub mac: Option<Located<Mac>>,
    /// The largest IP packet in bytes: the network's unless given, and never more.
    #[schemars(with = "Option<u16>", range(min = 68))]
    pub mtu: Option<Located<u64>>,
    /// Routes for the workload's namespace, besides those that follow from the addresses.
    #[schemars(default)]
    pub routes: Vec<Route>,
    /// The router that the workload's default routes lead to: its name, or its address on the
    /// network, one or a list; `false` for no default route. Unless given, the network's only
    /// router, if the network is not internal, no other port of the workload has a default route and
    /// the workload is not the host itself.
    #[schemars(with = "Option<Vec<String>>", transform = schema::or_off)]
    pub gateway: Option<Located<Gateway>>,
    /// Whether more than one station is behind the port, so that MAC addresses are learned. Off
    /// unless given.
    #[schemars(with = "Option<bool>")]
    pub learning: Option<Located<bool>>,
    /// Whether the workload may use source addresses that are not its own. `deny` unless given.
    #[schemars(with = "Option<Spoofing>")]
    pub spoofing: Option<Located<Spoofing>>,
    /// The security groups that the port belongs to, one or a list. The policies of their names hold
    /// for it, in this order.
    #[schemars(default, with = "Vec<String>", transform = schema::or_one)]
    pub groups: Vec<Located<String>>,
    /// Ports of the workload that are reached by ports of its host, one or a list, in Docker's words:
    /// `[HOST_IP:][HOST_PORT[-END]:]PORT[-END][/PROTOCOL]`. The host's port is the workload's, and the
    /// protocol TCP, unless given.
    #[schemars(default, with = "Vec<String>", transform = schema::or_publications)]
    pub publish: Vec<Located<Publish>>,
}

pub(super) const ROUTE_KEYS: &[&str] = &["to", "via"];

/// A route in the workload's namespace.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Route {
    /// Where it is declared.
    #[schemars(skip)]
    pub origin: Origin,
    /// The destinations: a prefix, or `default` for all of the next hop's family.
    #[schemars(with = "String")]
    pub to: Located<Destination>,
    /// The address of the next hop.
    #[schemars(with = "String")]
    pub via: Located<IpAddr>,
}
