//! Reading the sections `hosts`, `tunnels` and `vteps`.

use std::collections::BTreeMap;

use super::model::{
    Document, HOST_KEYS, Host, TUNNEL_KEYS, TunnelPair, VTEP_KEYS, VTEP_NETWORK_KEYS, Vtep,
    VtepNetwork,
};
use super::network::illegal_name;
use super::read::{Located, Named, Reader, at};
use super::scalar::{self, is_object_name};
use super::yaml::{Node, Value};

/// Reads all hosts into the document; tells whether every name that is there could be read.
pub(super) fn read_all(
    reader: &mut Reader,
    node: &Node,
    what: &str,
    document: &mut Document,
) -> Option<bool> {
    let Some(named) = reader.named(node, what, "hosts") else {
        return Some(false);
    };
    for entry in named {
        if !is_object_name(entry.name) {
            illegal_name(reader, &entry, "host");
        }
        let host = host(reader, &entry, &format!("{what}.{}", entry.name));
        document.hosts.insert(entry.name.to_owned(), host);
    }
    Some(document.hosts.len() == node.entries())
}

fn host(reader: &mut Reader, entry: &Named<'_>, what: &str) -> Host {
    let before = reader.problems.len();
    let mut host = Host {
        origin: entry.origin.clone(),
        incomplete: false,
        address: None,
        uplink: None,
        mtu: None,
        xdp: None,
    };
    match &entry.node.value {
        Value::Scalar(..) => host.address = scalar::underlay(reader, entry.node, what),
        Value::Map(_) => {
            if let Some(fields) = reader.fields(entry.node, what, HOST_KEYS) {
                let help = "give its address in the underlay: `address: 192.0.2.11`";
                host.address = fields.required(reader, "address", help, scalar::underlay);
                host.uplink = fields.optional(reader, "uplink", Reader::text);
                host.mtu = fields.optional(reader, "mtu", Reader::number);
                host.xdp = fields.optional(reader, "xdp", scalar::xdp);
            }
        }
        _ => {
            let expected = "an address or a map with the key `address`";
            let _: Option<()> = reader.wrong(entry.node, what, expected);
        }
    }
    host.incomplete = reader.problems.len() > before;
    host
}

/// Reads which pairs of hosts have a tunnel of their own.
pub(super) fn tunnels(reader: &mut Reader, node: &Node, what: &str) -> Option<Vec<TunnelPair>> {
    // A section whose entries are all commented out is an empty section.
    if matches!(node.value, Value::Null) {
        return Some(Vec::new());
    }
    let items = reader.list(node, what, "pairs of hosts")?.iter();
    let pairs = items
        .enumerate()
        .filter_map(|(i, node)| tunnel_pair(reader, node, &at(what, i)));
    Some(pairs.collect())
}

fn tunnel_pair(reader: &mut Reader, node: &Node, what: &str) -> Option<TunnelPair> {
    let fields = reader.fields(node, what, TUNNEL_KEYS)?;
    let help = "write a pair as `{ between: [alpha, beta], tunnel: geneve }`";
    let between = fields.required(reader, "between", help, between);
    let tunnel = fields.required(reader, "tunnel", help, scalar::tunnel);
    Some(TunnelPair {
        origin: reader.origin(node),
        between: between?,
        tunnel: tunnel?,
    })
}

fn between(reader: &mut Reader, node: &Node, what: &str) -> Option<[Located<String>; 2]> {
    let items = reader.list(node, what, "two hosts")?;
    let [one, other] = items else {
        return reader.wrong(node, what, "a list of two hosts");
    };
    let one = reader.text(one, &at(what, 0));
    let other = reader.text(other, &at(what, 1));
    Some([one?, other?])
}

/// Reads all ordinary VTEPs that can be read.
pub(super) fn vteps(
    reader: &mut Reader,
    node: &Node,
    what: &str,
) -> Option<BTreeMap<String, Vtep>> {
    let mut vteps = BTreeMap::new();
    for entry in reader.named(node, what, "vteps")? {
        if !is_object_name(entry.name) {
            illegal_name(reader, &entry, "vtep");
        }
        if let Some(vtep) = vtep(reader, &entry, &format!("{what}.{}", entry.name)) {
            vteps.insert(entry.name.to_owned(), vtep);
        }
    }
    Some(vteps)
}

fn vtep(reader: &mut Reader, entry: &Named<'_>, what: &str) -> Option<Vtep> {
    let before = reader.problems.len();
    let fields = reader.fields(entry.node, what, VTEP_KEYS)?;
    let help = "give its address in the underlay: `address: 192.0.2.50`";
    let address = fields.required(reader, "address", help, scalar::underlay);
    let help = "name the networks that it takes part in: `networks: { front: learn }`";
    let networks = fields.required(reader, "networks", help, |reader, node, what| {
        let named = reader.named(node, what, "what is behind the vtep")?;
        let read = named.into_iter().map(|entry| {
            let what = format!("{what}.{}", entry.name);
            let network = vtep_network(reader, &entry, &what);
            (entry.name.to_owned(), network)
        });
        Some(read.collect())
    });
    Some(Vtep {
        origin: entry.origin.clone(),
        address,
        tunnel: fields.optional(reader, "tunnel", scalar::tunnel),
        networks: networks.unwrap_or_default(),
        incomplete: reader.problems.len() > before,
    })
}

fn vtep_network(reader: &mut Reader, entry: &Named<'_>, what: &str) -> VtepNetwork {
    let mut network = VtepNetwork {
        origin: entry.origin.clone(),
        macs: Vec::new(),
        learn: None,
    };
    match &entry.node.value {
        Value::Scalar(_, word) if word == "learn" => {
            network.learn = Some(reader.located(entry.node, true));
        }
        Value::Scalar(..) | Value::List(_) => {
            network.macs = reader.one_or_many(entry.node, what, scalar::mac);
        }
        Value::Map(_) => {
            if let Some(fields) = reader.fields(entry.node, what, VTEP_NETWORK_KEYS) {
                let macs = fields.optional(reader, "macs", |reader, node, what| {
                    Some(reader.one_or_many(node, what, scalar::mac))
                });
                network.macs = macs.unwrap_or_default();
                network.learn = fields.optional(reader, "learn", Reader::switch);
            }
        }
        Value::Null => {
            let expected = "`learn`, MAC addresses or a map with the keys `macs` and `learn`";
            let _: Option<()> = reader.wrong(entry.node, what, expected);
        }
    }
    network
}
