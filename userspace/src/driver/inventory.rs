//! What Docker says that it has: the other side of what is recorded.

use std::collections::BTreeMap;

use super::protocol::PortMapping;

/// Docker's networks and containers at one moment.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Inventory {
    /// Its networks, whoever drives them, by id.
    pub networks: BTreeMap<String, ListedNetwork>,
    /// Its containers, whether they run or not, by id.
    pub containers: BTreeMap<String, ListedContainer>,
}

/// A network as Docker lists it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ListedNetwork {
    /// What the user calls it.
    pub name: String,
    /// Its driver, if that is not this one.
    pub other_driver: Option<String>,
    /// Whether its addresses come from this driver.
    pub is_leased: bool,
    /// `--internal`.
    pub internal: bool,
    /// `-o`.
    pub options: BTreeMap<String, String>,
    /// `--ipam-opt`.
    pub pool_options: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// Its subnets.
    pub pools: Vec<ListedPool>,
    /// What is plugged in, by Docker's id; of networks of other drivers nobody asks.
    pub endpoints: BTreeMap<String, ListedEndpoint>,
}

/// A subnet as Docker lists it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ListedPool {
    /// The subnet.
    pub subnet: String,
    /// The part of it that addresses are from, or nothing.
    pub range: String,
    /// The gateway's address, or nothing.
    pub gateway: String,
    /// `--aux-address`.
    pub auxiliary: BTreeMap<String, String>,
}

/// An endpoint as Docker lists it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ListedEndpoint {
    /// The name of its container.
    pub name: String,
    /// Whether it is in a container. If not, it is on its way, or was left over.
    pub is_joined: bool,
    /// Its IPv4 address with the subnet's length, or nothing.
    pub address: String,
    /// Its IPv6 address with the subnet's length, or nothing.
    pub address_ipv6: String,
    /// Its MAC address.
    pub mac: String,
    /// What only its container tells, which is asked if that is needed.
    pub details: Option<Details>,
}

/// What a container tells of an endpoint.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Details {
    /// Docker's name of the network namespace.
    pub sandbox: String,
    /// `--driver-opt`.
    pub options: BTreeMap<String, String>,
    /// `-p`, if this is the container's way to the outside. A port of the host that Docker has left to its
    /// driver is 0.
    pub published: Vec<PortMapping>,
    /// What else the container is called on the network, which never changes.
    pub aliases: Vec<String>,
}

/// A container as Docker lists it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ListedContainer {
    /// Its name.
    pub name: String,
    /// Whether it has processes, or will soon have some again by itself.
    pub is_alive: bool,
    /// Its network mode: `none`, `host`, `container:ID`, `default` or the name of a network.
    pub mode: String,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
}

impl ListedNetwork {
    /// Whether this driver drives it.
    #[must_use]
    pub const fn is_driven(&self) -> bool {
        self.other_driver.is_none()
    }
}

impl Inventory {
    /// The container of a name, or of an id or the beginning of one.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<(&String, &ListedContainer)> {
        let named = self.containers.iter().find(|(_, it)| it.name == name);
        named.or_else(|| {
            let begun = self.containers.iter();
            let mut begun = begun.filter(|(id, _)| !name.is_empty() && id.starts_with(name));
            match (begun.next(), begun.next()) {
                (Some(only), None) => Some(only),
                _ => None,
            }
        })
    }

    /// Whether a container of this name is alive.
    #[must_use]
    pub fn is_alive(&self, container: &str) -> bool {
        let mut containers = self.containers.values();
        containers.any(|it| it.name == container && it.is_alive)
    }
}
