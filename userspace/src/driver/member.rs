//! A container on a network, as far as the topology and other hosts must know it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use maps_schema::Mac;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::protocol::{PortMapping, protocol_name};
use super::records::{AttachedPort, Attachment, Endpoint, Records, mac_text, object_name};
use crate::document::is_object_name;
use crate::fnv::fnv1a_64;

/// A container on one network, plugged in by Docker or by us.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Docker's id of the endpoint; where we have plugged it in ourselves, one that follows from the
    /// container's id and the interface.
    pub endpoint: String,
    /// What the network is called in the topology.
    pub network: String,
    /// What the container is called, as far as that is known: its own name first.
    #[serde(default)]
    pub names: Vec<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its MAC address.
    #[serde(with = "mac_text")]
    pub mac: Mac,
    /// The security groups that it belongs to.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The ports that are published, as files have them.
    #[serde(default)]
    pub publish: Vec<String>,
}

impl Member {
    /// The container of an endpoint, whose network is recorded.
    #[must_use]
    pub fn of(records: &Records, id: &str, endpoint: &Endpoint) -> Option<Self> {
        let network = records.networks.get(&endpoint.network)?;
        Some(Self {
            endpoint: id.to_owned(),
            network: network.name(&endpoint.network),
            names: names(
                records
                    .container_name(id)
                    .iter()
                    .chain(endpoint.aliases.iter().flatten()),
            ),
            addresses: endpoint.addresses.iter().map(|it| it.addr()).collect(),
            mac: endpoint.mac,
            groups: endpoint.groups.clone(),
            publish: published(&endpoint.published),
        })
    }

    /// A container that we have plugged in, by one of its interfaces.
    fn of_attached(id: &str, attachment: &Attachment, port: &AttachedPort) -> Self {
        let place = format!("{id}/{}", port.interface);
        Self {
            endpoint: format!("{:016x}", fnv1a_64([place.as_bytes()])),
            network: port.network.clone(),
            names: attachment.names(),
            addresses: port.addresses.iter().map(|it| it.addr()).collect(),
            mac: port.mac,
            groups: port.groups.clone(),
            publish: Vec::new(),
        }
    }

    /// What is plugged into networks of files, which other hosts may share.
    #[must_use]
    pub fn shared(records: &Records) -> Vec<Self> {
        let networks = records.networks.iter();
        let own: BTreeSet<String> = networks
            .filter(|(_, network)| network.net.is_none())
            .map(|(id, network)| network.name(id))
            .collect();
        let endpoints = records.endpoints.iter();
        let endpoints = endpoints.filter_map(|(id, endpoint)| Self::of(records, id, endpoint));
        let attached = records.attachments.iter().flat_map(|(id, attachment)| {
            let ports = attachment.ports.iter();
            ports.map(move |port| Self::of_attached(id, attachment, port))
        });
        let all = endpoints.chain(attached);
        all.filter(|it| !own.contains(&it.network)).collect()
    }

    /// What it is called in the topology.
    #[must_use]
    pub fn name(&self) -> String {
        object_name(&self.endpoint)
    }

    /// The workload that it is in a topology file, on a host if one is named.
    #[must_use]
    pub fn workload(&self, host: Option<&str>) -> Value {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let mut port = json!({
            "network": self.network,
            "addresses": addresses,
            "mac": self.mac.to_string(),
        });
        if !self.groups.is_empty() {
            port["groups"] = self.groups.clone().into();
        }
        if !self.publish.is_empty() {
            port["publish"] = self.publish.clone().into();
        }
        let mut entry = json!({ "endpoint": self.endpoint, "ports": [port] });
        if !self.names.is_empty() {
            entry["names"] = self.names.clone().into();
        }
        if let Some(host) = host {
            entry["host"] = host.into();
        }
        entry
    }
}

/// What a container can be called in the topology, each name once. Docker takes names that DNS has no room
/// for (RFC 1035 section 2.3.4).
pub(super) fn names<'a>(all: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in all.filter(|name| is_object_name(name)) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// Published ports as files have them. Those that follow one another both on the host and in the container
/// are one range.
fn published(mappings: &[PortMapping]) -> Vec<String> {
    let known = mappings
        .iter()
        .filter(|it| protocol_name(it.proto).is_some());
    let mut sorted: Vec<&PortMapping> = known.collect();
    sorted.sort_by_key(|it| (it.proto, &it.host_ip, it.host_port, it.port));
    let mut ranges: Vec<(&PortMapping, &PortMapping)> = Vec::new();
    for mapping in sorted {
        match ranges.last_mut() {
            Some((_, last)) if follows(mapping, last) => *last = mapping,
            _ => ranges.push((mapping, mapping)),
        }
    }
    let ranges = ranges.into_iter();
    ranges
        .map(|(first, last)| published_range(first, last))
        .collect()
}

fn follows(next: &PortMapping, last: &PortMapping) -> bool {
    (next.proto, &next.host_ip) == (last.proto, &last.host_ip)
        && last.host_port.checked_add(1) == Some(next.host_port)
        && last.port.checked_add(1) == Some(next.port)
}

fn published_range(first: &PortMapping, last: &PortMapping) -> String {
    let address = match first.host_ip.as_str() {
        "" => String::new(),
        ip if ip.contains(':') => format!("[{ip}]:"),
        ip => format!("{ip}:"),
    };
    let range = |first: u16, last: u16| match last {
        last if last == first => first.to_string(),
        last => format!("{first}-{last}"),
    };
    let host_ports = range(first.host_port, last.host_port);
    let ports = range(first.port, last.port);
    let protocol = protocol_name(first.proto).unwrap_or_default();
    format!("{address}{host_ports}:{ports}/{protocol}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(host_ip: &str, host_port: u16, port: u16) -> PortMapping {
        PortMapping {
            proto: 6,
            port,
            host_ip: host_ip.to_owned(),
            host_port,
            host_port_end: host_port,
        }
    }

    #[test]
    fn ports_that_follow_one_another_are_a_range() {
        let mut all: Vec<PortMapping> = (5000..=6000).map(|port| mapping("", port, port)).collect();
        all.extend([
            mapping("", 7001, 80),
            mapping("", 7000, 79),
            mapping("", 7002, 80),
            mapping("::1", 7003, 81),
            mapping("192.0.2.1", 65535, 65535),
            PortMapping {
                proto: 17,
                ..mapping("", 6001, 6001)
            },
        ]);
        assert_eq!(
            published(&all),
            [
                "5000-6000:5000-6000/tcp",
                "7000-7001:79-80/tcp",
                "7002:80/tcp",
                "192.0.2.1:65535:65535/tcp",
                "[::1]:7003:81/tcp",
                "6001:6001/udp",
            ]
        );
    }

    #[test]
    fn only_what_dns_has_room_for_is_a_name() {
        let long = "x".repeat(64);
        let given = ["web-1", "web", &long, "web", "-x", "a b"].map(str::to_owned);
        assert_eq!(names(given.iter()), ["web-1", "web"]);
    }
}
