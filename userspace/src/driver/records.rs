//! What is recorded of Docker's side: its networks and endpoints by Docker's own ids, and the pools and
//! addresses that were given to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use maps_schema::Mac;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::member::names;
use super::protocol::PortMapping;
use crate::document::parse_mac;

/// How many letters of an id people are shown, as Docker does it.
const SHORT: usize = 12;

/// Everything that must survive.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Records {
    /// Docker's networks, by id.
    pub networks: BTreeMap<String, Network>,
    /// What is plugged into them, by id. Each one's network is there.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// Containers that we plug in ourselves, by Docker's id.
    #[serde(default)]
    pub attachments: BTreeMap<String, Attachment>,
    /// Networks that a container's labels name and that somebody has plugged it out of, as the labels name them,
    /// by Docker's id of the container.
    #[serde(default)]
    pub detached: BTreeMap<String, BTreeSet<String>>,
    /// Pools that were given out, by the name that Docker was told.
    pub pools: BTreeMap<String, Pool>,
    /// Addresses that were given out, and those that were given back.
    #[serde(with = "lease_list")]
    pub leases: BTreeMap<LeaseKey, Lease>,
}

/// One of Docker's networks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Network {
    /// The network of a file that it is; without one it is a network of its own.
    pub net: Option<String>,
    /// What Docker calls it, as far as that is known.
    pub label: Option<String>,
    /// Where its addresses come from.
    pub subnets: Vec<Subnet>,
    /// Whether nothing but its own members can be reached.
    pub internal: bool,
    /// The largest IP packet in bytes, if somebody said so.
    pub mtu: Option<u16>,
    /// The router of a file that it is plugged into, instead of one of its own.
    pub router: Option<String>,
    /// The policy that holds for its ports.
    pub policy: Option<String>,
    /// Where its members' default routes lead.
    pub gateway: GatewayMode,
    /// Whether its members are told its conditions, if somebody said so.
    #[serde(default)]
    pub conditions: Option<bool>,
}

/// A subnet of one of Docker's networks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Subnet {
    /// The subnet.
    pub subnet: IpNet,
    /// The gateway's address, if it has one.
    pub gateway: Option<IpAddr>,
    /// Addresses that Docker has nothing to do with (`--aux-address`).
    pub auxiliary: Vec<IpAddr>,
    /// Whether its addresses are ours to give.
    pub leased: bool,
}

/// Where default routes lead.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayMode {
    /// To the network's virtual router.
    #[default]
    Native,
    /// To Docker's own bridge, `docker_gwbridge`, by a second interface.
    GwBridge,
    /// Nowhere.
    None,
}

/// What is plugged into one of Docker's networks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// Docker's id of the network.
    pub network: String,
    /// What the container is called, as far as that is known.
    pub label: Option<String>,
    /// Its addresses, with their subnets' lengths.
    pub addresses: Vec<IpNet>,
    /// The MAC address in the container.
    #[serde(with = "mac_text")]
    pub mac: Mac,
    /// Whether Docker chose the MAC address.
    pub mac_given: bool,
    /// What the interface is to be called in the container, if somebody said so.
    pub interface: Option<String>,
    /// The security groups that it belongs to.
    pub groups: Vec<String>,
    /// When it was plugged in or joined last, in seconds since 1970.
    pub since: u64,
    /// Docker's name of the container's network namespace, while it is in there.
    pub sandbox: Option<String>,
    /// The ports that are published while this is the container's way to the outside.
    pub published: Vec<PortMapping>,
    /// What else the container is called on the network; nothing while Docker was not asked yet.
    #[serde(default)]
    pub aliases: Option<Vec<String>>,
}

/// A container that Docker has given no network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attachment {
    /// What it is called.
    pub container: String,
    /// What else it is called.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Whether its labels say so; else somebody has asked for it.
    pub by_label: bool,
    /// Its interfaces.
    pub ports: Vec<AttachedPort>,
}

/// One of its interfaces.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttachedPort {
    /// The network, by its name in the topology.
    pub network: String,
    /// What the user calls the network.
    pub title: String,
    /// What the interface is called in the container.
    pub interface: String,
    /// Its addresses, with their subnets' lengths.
    pub addresses: Vec<IpNet>,
    /// The MAC address.
    #[serde(with = "mac_text")]
    pub mac: Mac,
    /// The security groups that it belongs to.
    pub groups: Vec<String>,
}

/// A subnet among those that have a name in common: networks of files may have the same subnets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Scope {
    /// The network of a file that the subnet is of.
    pub net: Option<String>,
    /// The subnet.
    pub subnet: IpNet,
}

/// A pool that was given out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pool {
    /// The subnet.
    pub scope: Scope,
    /// The part of it that addresses are taken from, if somebody said so.
    pub range: Option<IpNet>,
    /// Whether the network of a file was named, and not just its subnet.
    pub named: bool,
}

/// Which address.
pub type LeaseKey = (Scope, IpAddr);

/// An address that was given out, now or before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// Who has it.
    pub holder: Holder,
    /// The container that it was asked for, if Docker said so (29.0 and newer).
    pub container: Option<String>,
}

/// Who has an address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holder {
    /// It is a network's gateway.
    Gateway,
    /// Somebody that Docker has nothing to do with (`--aux-address`).
    Auxiliary,
    /// The endpoint of this id.
    Endpoint(String),
    /// The container of this id, which is plugged in by us.
    Attached(String),
    /// It was given out at this time, in seconds since 1970, and nobody came with it yet.
    Unclaimed(u64),
    /// Nobody, since this time, in seconds since 1970. Who had it last may still be known by it.
    Released(u64),
}

impl Attachment {
    /// What the container is called: its own name first.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        names([&self.container].into_iter().chain(&self.aliases))
    }
}

impl Scope {
    /// What people call it.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.net {
            Some(net) => format!("network {net} ({})", self.subnet),
            None => format!("subnet {}", self.subnet),
        }
    }
}

impl fmt::Display for Pool {
    /// The name that Docker is told.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let net = self.scope.net.as_deref().unwrap_or_default();
        write!(f, "bowline:{net}:{}", self.scope.subnet)?;
        match self.range {
            Some(range) => write!(f, ":{range}"),
            None => Ok(()),
        }
    }
}

impl Lease {
    /// Whether the address is somebody's.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !matches!(self.holder, Holder::Released(_))
    }
}

impl Network {
    /// What it is called in the topology, given its id.
    #[must_use]
    pub fn name(&self, id: &str) -> String {
        self.net.clone().unwrap_or_else(|| object_name(id))
    }

    /// The subnets that an address of ours can be from.
    pub fn scopes(&self) -> impl Iterator<Item = Scope> {
        let leased = self.subnets.iter().filter(|subnet| subnet.leased);
        leased.map(|subnet| self.scope(subnet.subnet))
    }

    /// The scope of one of its subnets.
    #[must_use]
    pub fn scope(&self, subnet: IpNet) -> Scope {
        Scope {
            net: self.net.clone(),
            subnet,
        }
    }
}

impl Records {
    /// Whether Docker has nothing of ours.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
            && self.endpoints.is_empty()
            && self.pools.is_empty()
            && self.attachments.is_empty()
            && self.detached.is_empty()
    }

    /// What people call a network.
    #[must_use]
    pub fn network_title(&self, id: &str) -> String {
        let network = self.networks.get(id);
        let known = network.and_then(|it| it.label.as_ref().or(it.net.as_ref()));
        known.map_or_else(
            || format!("network {}", short(id)),
            |name| format!("network {name}"),
        )
    }

    /// What people call an endpoint.
    #[must_use]
    pub fn endpoint_title(&self, id: &str) -> String {
        self.container_name(id).map_or_else(
            || format!("endpoint {}", short(id)),
            |name| format!("container {name}"),
        )
    }

    /// What the container of an endpoint is called, as far as that is known.
    #[must_use]
    pub fn container_name(&self, endpoint: &str) -> Option<String> {
        let label = self.endpoints.get(endpoint)?.label.clone();
        label.or_else(|| self.told(endpoint))
    }

    /// What people call a container that we have plugged in.
    #[must_use]
    pub fn attachment_title(&self, id: &str) -> String {
        let container = self.attachments.get(id).map(|it| it.container.as_str());
        format!("container {}", container.unwrap_or_else(|| short(id)))
    }

    /// The container's name as it was told with the request for an address.
    fn told(&self, endpoint: &str) -> Option<String> {
        let mut leases = self.leases.values();
        let own = Holder::Endpoint(endpoint.to_owned());
        leases.find(|lease| lease.holder == own)?.container.clone()
    }

    /// The endpoints of one of Docker's networks.
    pub fn endpoints_of(&self, network: &str) -> impl Iterator<Item = (&String, &Endpoint)> {
        let endpoints = self.endpoints.iter();
        endpoints.filter(move |(_, endpoint)| endpoint.network == network)
    }

    /// The endpoints that can meet those of a network: several of Docker's networks may be one in the
    /// topology.
    pub fn neighbors(&self, network: &Network, id: &str) -> impl Iterator<Item = &String> {
        let name = network.name(id);
        let mates = self.networks.iter();
        let mates: BTreeSet<&String> = mates
            .filter(|(other, it)| it.name(other) == name)
            .map(|(other, _)| other)
            .collect();
        let endpoints = self.endpoints.iter();
        endpoints
            .filter(move |(_, endpoint)| mates.contains(&endpoint.network))
            .map(|(id, _)| id)
    }
}

/// The beginning of one of Docker's ids.
#[must_use]
pub fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

/// What an object that only Docker has given an id is called in the topology.
#[must_use]
pub fn object_name(id: &str) -> String {
    format!("docker-{}", short(id))
}

/// Keys that are no texts.
mod lease_list {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        leases: &BTreeMap<LeaseKey, Lease>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(leases)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<LeaseKey, Lease>, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

/// MAC addresses as people write them.
pub(super) mod mac_text {
    use super::*;

    pub(in crate::driver) fn serialize<S: Serializer>(
        mac: &Mac,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(mac)
    }

    pub(in crate::driver) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Mac, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_mac(&text).ok_or_else(|| serde::de::Error::custom("no MAC address"))
    }
}
