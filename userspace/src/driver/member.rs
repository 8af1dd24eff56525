//! A container that Docker has plugged in, as far as the topology and other hosts must know it.

use std::net::IpAddr;

use maps_schema::Mac;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::protocol::{PortMapping, protocol_name};
use super::records::{Endpoint, Records, mac_text, object_name};

/// What Docker has plugged into one network.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Docker's id of the endpoint.
    pub endpoint: String,
    /// What the network is called in the topology.
    pub network: String,
    /// What the container is called, as far as that is known.
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
            names: records.container_name(id).into_iter().collect(),
            addresses: endpoint.addresses.iter().map(|it| it.addr()).collect(),
            mac: endpoint.mac,
            groups: endpoint.groups.clone(),
            publish: endpoint.published.iter().filter_map(published).collect(),
        })
    }

    /// What Docker has plugged into networks of files, which other hosts may share.
    #[must_use]
    pub fn shared(records: &Records) -> Vec<Self> {
        let shared = records.endpoints.iter().filter(|(_, endpoint)| {
            let network = records.networks.get(&endpoint.network);
            network.is_some_and(|network| network.net.is_some())
        });
        shared
            .filter_map(|(id, endpoint)| Self::of(records, id, endpoint))
            .collect()
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

/// A published port as files have it.
fn published(mapping: &PortMapping) -> Option<String> {
    let protocol = protocol_name(mapping.proto)?;
    let address = match mapping.host_ip.as_str() {
        "" => String::new(),
        ip if ip.contains(':') => format!("[{ip}]:"),
        ip => format!("{ip}:"),
    };
    let (host_port, port) = (mapping.host_port, mapping.port);
    Some(format!("{address}{host_port}:{port}/{protocol}"))
}
