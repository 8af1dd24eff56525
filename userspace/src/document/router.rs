//! Reading the section `routers`.

use std::collections::BTreeMap;

use super::model::{
    Document, ROUTER_KEYS, ROUTER_PORT_KEYS, ROUTER_ROUTE_KEYS, Router, RouterPort, RouterRoute,
};
use super::nat;
use super::network::illegal_name;
use super::read::{Fields, Named, Reader, at};
use super::scalar::{self, is_object_name};
use super::yaml::{Node, Value};

/// Reads all routers into the document; tells whether every name that is there could be read.
pub(super) fn read_all(
    reader: &mut Reader,
    node: &Node,
    what: &str,
    document: &mut Document,
) -> Option<bool> {
    let Some(named) = reader.named(node, what, "routers") else {
        return Some(false);
    };
    for entry in named {
        if !is_object_name(entry.name) {
            illegal_name(reader, &entry, "router");
        }
        let router = router(reader, &entry, &format!("{what}.{}", entry.name));
        document.routers.insert(entry.name.to_owned(), router);
    }
    // Only a name that could not be read hides a router from those who refer to it.
    Some(document.routers.len() == node.entries())
}

fn router(reader: &mut Reader, entry: &Named<'_>, what: &str) -> Router {
    let before = reader.problems.len();
    let mut router = Router {
        origin: entry.origin.clone(),
        incomplete: false,
        ports: BTreeMap::new(),
        uplink: None,
        routes: Vec::new(),
        nat: Vec::new(),
        policy: None,
    };
    if let Some(fields) = reader.fields(entry.node, what, ROUTER_KEYS) {
        let help = "list its networks, for example `ports: { front: 10.1.0.1 }`";
        fields.required(reader, "ports", help, |reader, node, what| {
            router.ports = ports(reader, node, what)?;
            Some(())
        });
        let uplink = fields.optional(reader, "uplink", nat::uplink);
        // A mistake in what follows hides no port: it is not counted.
        router.incomplete = reader.problems.len() > before;
        router.uplink = uplink.flatten();
        routes(reader, &fields, &mut router);
        let translations = fields.optional(reader, "nat", nat::translations);
        router.nat = translations.unwrap_or_default();
        router.policy = fields.optional(reader, "policy", Reader::text);
    } else {
        router.incomplete = true;
    }
    router
}

/// Reads ports by the names of what they lead to.
pub(super) fn ports(
    reader: &mut Reader,
    node: &Node,
    what: &str,
) -> Option<BTreeMap<String, RouterPort>> {
    let mut ports = BTreeMap::new();
    for entry in reader.named(node, what, "ports")? {
        if !is_object_name(entry.name) {
            illegal_name(reader, &entry, "port");
        }
        let port = port(reader, &entry, &format!("{what}.{}", entry.name));
        ports.insert(entry.name.to_owned(), port);
    }
    Some(ports)
}

fn port(reader: &mut Reader, entry: &Named<'_>, what: &str) -> RouterPort {
    let before = reader.problems.len();
    let mut port = RouterPort {
        origin: entry.origin.clone(),
        incomplete: false,
        peer: None,
        addresses: Vec::new(),
        mac: None,
        mtu: None,
    };
    match &entry.node.value {
        Value::Scalar(..) | Value::List(_) => {
            port.addresses = reader.one_or_many(entry.node, what, scalar::address);
        }
        Value::Map(_) => long_form(reader, entry.node, what, &mut port),
        Value::Null => {
            let expected = "an address, a list of addresses or a map with the key `addresses`";
            let _: Option<()> = reader.wrong(entry.node, what, expected);
        }
    }
    port.incomplete = reader.problems.len() > before;
    port
}

fn long_form(reader: &mut Reader, node: &Node, what: &str, port: &mut RouterPort) {
    let Some(fields) = reader.fields(node, what, ROUTER_PORT_KEYS) else {
        return;
    };
    port.peer = fields.optional(reader, "peer", scalar::peer);
    let help = "give the port an address, for example `addresses: 10.1.0.1`";
    let addresses = fields.required(reader, "addresses", help, |reader, node, what| {
        Some(reader.one_or_many(node, what, scalar::address))
    });
    port.addresses = addresses.unwrap_or_default();
    port.mac = fields.optional(reader, "mac", scalar::mac);
    port.mtu = fields.optional(reader, "mtu", Reader::number);
}

fn routes(reader: &mut Reader, fields: &Fields<'_>, router: &mut Router) {
    let routes = fields.optional(reader, "routes", |reader, node, what| {
        let items = reader.list(node, what, "routes")?.iter().enumerate();
        let read = items.filter_map(|(i, node)| route(reader, node, &at(what, i)));
        Some(read.collect())
    });
    router.routes = routes.unwrap_or_default();
}

fn route(reader: &mut Reader, node: &Node, what: &str) -> Option<RouterRoute> {
    let fields = reader.fields(node, what, ROUTER_ROUTE_KEYS)?;
    let help = "write a route as `{ to: 10.9.0.0/16, via: 10.1.0.9 }`";
    let to = fields.required(reader, "to", help, scalar::destination);
    let via = fields.required(reader, "via", help, |reader, node, what| {
        if matches!(&node.value, Value::List(items) if items.is_empty()) {
            return reader.wrong(node, what, "one next hop at least");
        }
        Some(reader.one_or_many(node, what, scalar::via))
    });
    let metric = fields.optional(reader, "metric", Reader::number);
    Some(RouterRoute {
        origin: reader.origin(node),
        to: to?,
        via: via?,
        metric,
    })
}
