//! What is recorded of Docker's side as a source of the topology: the text of a file like any other.

use serde_json::{Map, Value, json};

use super::member::Member;
use super::records::{AttachedPort, Network, Records, object_name};

/// The name of the source. No file may have it.
pub const NAME: &str = "docker";

/// The text of the topology file, or nothing if Docker has no networks of ours.
#[must_use]
pub fn text(records: &Records) -> Option<String> {
    if records.networks.is_empty() && records.attachments.is_empty() {
        return None;
    }
    let mut networks = Map::new();
    let mut routers = Map::new();
    for (id, network) in records.networks.iter().filter(|(_, it)| it.net.is_none()) {
        let name = network.name(id);
        networks.insert(name.clone(), network_entry(network));
        if has_own_router(network) {
            let port = json!({ (name.clone()): gateways(network) });
            let masquerade = json!([{ "masquerade": true }]);
            let mut router = json!({ "ports": port, "uplink": true });
            if network.subnets.iter().any(|it| it.subnet.addr().is_ipv4()) {
                router["nat"] = masquerade;
            }
            routers.insert(name, router);
        }
    }
    let workloads = records.endpoints.iter().filter_map(|(id, endpoint)| {
        let member = Member::of(records, id, endpoint)?;
        Some((member.name(), member.workload(None)))
    });
    let attachments = records.attachments.iter().map(|(id, attachment)| {
        let ports = attachment.ports.iter();
        let ports: Vec<Value> = ports.map(attached_entry).collect();
        let mut entry = json!({ "container": id, "ports": ports });
        let names = attachment.names();
        if !names.is_empty() {
            entry["names"] = names.into();
        }
        (object_name(id), entry)
    });
    let workloads: Map<String, Value> = workloads.chain(attachments).collect();
    let mut file = json!({ "version": 1, "name": NAME });
    for (key, section) in [
        ("networks", networks),
        ("routers", routers),
        ("workloads", workloads),
    ] {
        if !section.is_empty() {
            file[key] = Value::Object(section);
        }
    }
    // A tree of texts, numbers and lists can always be written.
    let yaml = crate::document::to_yaml(&file).unwrap_or_default();
    Some(format!(
        "# What Docker has of bowline. Written by `bowline agent`; changes are lost.\n{yaml}"
    ))
}

/// Whether a router of the network's own answers for its gateway.
fn has_own_router(network: &Network) -> bool {
    !network.internal && network.router.is_none() && !gateways(network).is_empty()
}

fn gateways(network: &Network) -> Vec<String> {
    let gateways = network.subnets.iter().filter_map(|subnet| subnet.gateway);
    gateways.map(|ip| ip.to_string()).collect()
}

fn network_entry(network: &Network) -> Value {
    let subnets = network.subnets.iter();
    let subnets: Vec<String> = subnets.map(|it| it.subnet.to_string()).collect();
    let mut entry = json!({ "subnets": subnets });
    if network.internal {
        entry["internal"] = true.into();
    }
    if let Some(mtu) = network.mtu {
        entry["mtu"] = mtu.into();
    }
    if let Some(conditions) = network.conditions {
        entry["conditions"] = conditions.into();
    }
    if let Some(policy) = &network.policy {
        entry["policy"] = policy.clone().into();
    }
    if let Some(router) = network.router.as_ref().filter(|_| !network.internal) {
        entry["routers"] = json!({ (router.clone()): gateways(network) });
    }
    entry
}

fn attached_entry(port: &AttachedPort) -> Value {
    let addresses = port.addresses.iter();
    let addresses: Vec<String> = addresses.map(|it| it.addr().to_string()).collect();
    let mut entry = json!({
        "network": port.network,
        "interface": port.interface,
        "addresses": addresses,
        "mac": port.mac.to_string(),
    });
    if !port.groups.is_empty() {
        entry["groups"] = port.groups.clone().into();
    }
    entry
}
