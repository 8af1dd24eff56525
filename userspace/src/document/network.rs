//! Reading the section `networks`.

use std::collections::BTreeMap;

use super::model::{Document, NETWORK_KEYS, Network};
use super::read::{Located, Named, Reader};
use super::router;
use super::scalar::{self, is_object_name};
use super::yaml::{Node, Value};
use crate::problem::Problem;
use crate::topology::{Mss, UnknownUnicast};

/// Reads all networks into the document; tells whether every name that is there could be read.
pub(super) fn read_all(
    reader: &mut Reader,
    node: &Node,
    what: &str,
    document: &mut Document,
) -> Option<bool> {
    let before = reader.problems.len();
    let Some(named) = reader.named(node, what, "networks") else {
        return Some(false);
    };
    for entry in named {
        if !is_object_name(entry.name) {
            illegal_name(reader, &entry, "network");
        }
        let network = network(reader, &entry, &format!("{what}.{}", entry.name));
        document.networks.insert(entry.name.to_owned(), network);
    }
    // Only a name that could not be read hides a network from those who refer to it; that is told
    // by fewer networks than entries.
    Some(reader.problems.len() == before || document.networks.len() == node.entries())
}

/// Notes that an object's name is not a legal one.
pub(super) fn illegal_name(reader: &mut Reader, entry: &Named<'_>, kind: &str) {
    let name: String = entry.name.chars().take(80).collect();
    reader.problems.push(
        Problem::new(format!("{name:?} cannot be the name of a {kind}"))
            .at(&entry.origin, "this name")
            .help(
                "use letters, digits, `_`, `.` and `-`, 63 at most, beginning with a letter or digit",
            ),
    );
}

fn network(reader: &mut Reader, entry: &Named<'_>, what: &str) -> Network {
    let before = reader.problems.len();
    let mut network = Network {
        origin: entry.origin.clone(),
        incomplete: false,
        subnets: Vec::new(),
        internal: None,
        names: None,
        conditions: None,
        vni: None,
        mtu: None,
        mss: None,
        unknown_unicast: None,
        ageing: None,
        policy: None,
        docker: None,
        routers: BTreeMap::new(),
    };
    match &entry.node.value {
        Value::Scalar(..) | Value::List(_) => {
            network.subnets = reader.one_or_many(entry.node, what, scalar::subnet);
        }
        Value::Map(_) => long_form(reader, entry.node, what, &mut network),
        Value::Null => {
            let expected = "a subnet, a list of subnets or a map with the key `subnets`";
            let _: Option<()> = reader.wrong(entry.node, what, expected);
        }
    }
    network.incomplete = reader.problems.len() > before;
    network
}

fn long_form(reader: &mut Reader, node: &Node, what: &str, network: &mut Network) {
    let Some(fields) = reader.fields(node, what, NETWORK_KEYS) else {
        return;
    };
    let help = "add `subnets: [10.1.0.0/24]`, or `subnets: []` for a network without addresses";
    let subnets = fields.required(reader, "subnets", help, |reader, node, what| {
        Some(reader.one_or_many(node, what, scalar::subnet))
    });
    network.subnets = subnets.unwrap_or_default();
    network.internal = fields.optional(reader, "internal", Reader::switch);
    network.names = fields.optional(reader, "names", Reader::switch);
    network.conditions = fields.optional(reader, "conditions", Reader::switch);
    network.vni = fields.optional(reader, "vni", Reader::number);
    network.mtu = fields.optional(reader, "mtu", scalar::mtu);
    network.mss = fields.optional(reader, "mss", mss);
    network.unknown_unicast = fields.optional(reader, "unknown_unicast", |reader, node, what| {
        let words = [
            ("drop", UnknownUnicast::Drop),
            ("flood", UnknownUnicast::Flood),
        ];
        reader.word(node, what, &words)
    });
    network.ageing = fields.optional(reader, "ageing", scalar::duration);
    network.policy = fields.optional(reader, "policy", Reader::text);
    network.docker = fields.optional(reader, "docker", Reader::switch);
    fields.optional(reader, "routers", |reader, node, what| {
        network.routers = router::ports(reader, node, what)?;
        Some(())
    });
}

/// What becomes of the maximum segment size.
pub(super) fn mss(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<Mss>> {
    let words = [("keep", Mss::Keep), ("clamp", Mss::Clamp)];
    reader.word(node, what, &words)
}
