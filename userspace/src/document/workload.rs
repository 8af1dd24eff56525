//! Reading the section `workloads`.

use std::collections::BTreeMap;

use super::model::{PORT_KEYS, Port, ROUTE_KEYS, Route, WORKLOAD_KEYS, Workload};
use super::nat;
use super::network::illegal_name;
use super::policy;
use super::read::{Fields, Located, Named, Reader, at};
use super::scalar::{self, is_object_name};
use super::yaml::{Node, Value};
use crate::topology::Spoofing;

/// Reads all workloads that can be read.
pub(super) fn read_all(
    reader: &mut Reader,
    node: &Node,
    what: &str,
) -> Option<BTreeMap<String, Workload>> {
    let mut workloads = BTreeMap::new();
    for entry in reader.named(node, what, "workloads")? {
        if !is_object_name(entry.name) {
            illegal_name(reader, &entry, "workload");
        }
        if let Some(workload) = workload(reader, &entry, &format!("{what}.{}", entry.name)) {
            workloads.insert(entry.name.to_owned(), workload);
        }
    }
    Some(workloads)
}

fn workload(reader: &mut Reader, entry: &Named<'_>, what: &str) -> Option<Workload> {
    let before = reader.problems.len();
    let fields = reader.fields(entry.node, what, WORKLOAD_KEYS)?;
    let help = "list its networks, for example `ports: [front]`";
    let ports = fields.required(reader, "ports", help, |reader, node, what| {
        let items = reader.list(node, what, "ports")?.iter().enumerate();
        let read = items.filter_map(|(i, node)| port(reader, node, &at(what, i), i));
        Some(read.collect())
    });
    Some(Workload {
        origin: entry.origin.clone(),
        host: fields.optional(reader, "host", Reader::text),
        container: fields.optional(reader, "container", Reader::text),
        netns: fields.optional(reader, "netns", Reader::text),
        pid: fields.optional(reader, "pid", Reader::number),
        endpoint: fields.optional(reader, "endpoint", Reader::text),
        host_network: fields.optional(reader, "host_network", Reader::switch),
        names: fields
            .optional(reader, "names", |reader, node, what| {
                Some(reader.one_or_many(node, what, other_name))
            })
            .unwrap_or_default(),
        ports: ports.unwrap_or_default(),
        incomplete: reader.problems.len() > before,
    })
}

fn other_name(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<String>> {
    let name = reader.text(node, what)?;
    if is_object_name(&name) {
        return Some(name);
    }
    reader.wrong(node, what, "a name of letters, digits, `_`, `.` and `-`")
}

fn port(reader: &mut Reader, node: &Node, what: &str, position: usize) -> Option<Port> {
    let before = reader.problems.len();
    let mut port = match &node.value {
        Value::Scalar(_, network) => unadorned(reader, node, network.clone()),
        Value::Map(_) => {
            let fields = reader.fields(node, what, PORT_KEYS)?;
            let help = "name the network that the port is plugged into";
            let network = fields.required(reader, "network", help, Reader::text)?;
            let mut port = unadorned(reader, node, network.value.clone());
            port.network = network;
            details(reader, &fields, &mut port);
            port
        }
        _ => {
            let expected = "the name of a network or a map with the key `network`";
            return reader.wrong(node, what, expected);
        }
    };
    port.position = position;
    port.incomplete = reader.problems.len() > before;
    Some(port)
}

/// A port that is just plugged in.
fn unadorned(reader: &Reader, node: &Node, network: String) -> Port {
    Port {
        origin: reader.origin(node),
        incomplete: false,
        position: 0,
        network: reader.located(node, network),
        addresses: Vec::new(),
        interface: None,
        mac: None,
        mtu: None,
        routes: Vec::new(),
        gateway: None,
        learning: None,
        spoofing: None,
        groups: Vec::new(),
        publish: Vec::new(),
    }
}

fn details(reader: &mut Reader, fields: &Fields<'_>, port: &mut Port) {
    let addresses = fields.optional(reader, "addresses", |reader, node, what| {
        Some(reader.one_or_many(node, what, scalar::address))
    });
    port.addresses = addresses.unwrap_or_default();
    port.interface = fields.optional(reader, "interface", Reader::text);
    port.mac = fields.optional(reader, "mac", scalar::mac);
    port.mtu = fields.optional(reader, "mtu", Reader::number);
    let routes = fields.optional(reader, "routes", |reader, node, what| {
        let items = reader.list(node, what, "routes")?.iter().enumerate();
        let read = items.filter_map(|(i, node)| route(reader, node, &at(what, i)));
        Some(read.collect())
    });
    port.routes = routes.unwrap_or_default();
    port.gateway = fields.optional(reader, "gateway", scalar::gateway);
    port.learning = fields.optional(reader, "learning", Reader::switch);
    port.spoofing = fields.optional(reader, "spoofing", |reader, node, what| {
        let words = [("deny", Spoofing::Deny), ("allow", Spoofing::Allow)];
        reader.word(node, what, &words)
    });
    let groups = fields.optional(reader, "groups", |reader, node, what| {
        Some(policy::carried(reader, node, what))
    });
    port.groups = groups.unwrap_or_default();
    let publish = fields.optional(reader, "publish", |reader, node, what| {
        Some(nat::publications(reader, node, what))
    });
    port.publish = publish.unwrap_or_default();
}

fn route(reader: &mut Reader, node: &Node, what: &str) -> Option<Route> {
    let fields = reader.fields(node, what, ROUTE_KEYS)?;
    let help = "write a route as `{ to: 0.0.0.0/0, via: 10.1.0.1 }`";
    let to = fields.required(reader, "to", help, scalar::destination);
    let via: Option<Located<_>> = fields.required(reader, "via", help, scalar::next_hop);
    Some(Route {
        origin: reader.origin(node),
        to: to?,
        via: via?,
    })
}
