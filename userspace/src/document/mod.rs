//! The first stage of a document's journey: YAML text becomes a typed [`Document`].
//!
//! Form is judged here and nothing else: known keys, types, what an address looks like. Whether the
//! parts fit one another is the business of `topology`, which comes next. Nothing else knows YAML,
//! and there is no I/O: the caller reads the file.
//!
//! All mistakes of a file are reported at once. What could be read despite them is kept in a
//! [`Draft`], so that the next stage can report its own findings on the rest at the same time.

mod connections;
#[cfg(test)]
mod examples;
mod host;
mod model;
mod nat;
mod network;
mod policy;
mod read;
mod router;
mod scalar;
mod schema;
mod service;
#[cfg(test)]
mod tests;
mod workload;
mod yaml;

use std::sync::Arc;

pub use model::{
    Connections, DefaultActions, Defaults, Document, Group, Host, Member, Nat, Network, Party,
    Policy, PolicyDefault, Port, Publish, Route, Router, RouterPort, RouterRoute, Rule,
    Translation, TunnelPair, Uplink, Verb, Vtep, VtepNetwork, Workload,
};
pub use read::Located;
pub use scalar::{Address, Destination, Gateway, Hop, Mtu, Peer};
pub(crate) use scalar::{OF_HOST, is_object_name, parse_mac};
pub use schema::schema;

use self::read::{Fields, Reader};
use self::scalar::is_source_name;
use self::yaml::{Node, Value};
use crate::problem::Problem;
use crate::source::{Origin, SourceFile};

/// What could be read of a file, and what could not.
#[derive(Debug)]
pub struct Draft {
    /// What could be read. It must not be used as it is when there are problems: parts are missing.
    pub document: Document,
    /// What is wrong with the rest; empty for a document in good form.
    pub problems: Vec<Problem>,
}

/// Reads the text of a topology file, which the user calls `path`.
///
/// # Errors
///
/// Everything that is wrong with the form of the file.
pub fn parse(path: &str, text: &str) -> Result<Document, Vec<Problem>> {
    let Draft { document, problems } = draft(path, text);
    if problems.is_empty() {
        Ok(document)
    } else {
        Err(problems)
    }
}

/// Reads as much of a topology file as can be read.
#[must_use]
pub fn draft(path: &str, text: &str) -> Draft {
    // The mark would count as a character of the first line (YAML 1.2, section 5.2).
    let text = text.trim_start_matches('\u{feff}');
    let read = yaml::read(text);
    let file = Arc::new(SourceFile {
        name: read.as_ref().ok().and_then(source_name).unwrap_or_default(),
        path: path.to_owned(),
        text: text.to_owned(),
    });
    match read {
        Ok(root) => document(&root, file),
        Err(error) => {
            let origin = Origin {
                file: Arc::clone(&file),
                offset: error.spot.offset,
                len: error.spot.len,
                line: error.spot.line,
                column: error.spot.column,
            };
            let problem = Problem::new(error.message).at(&origin, "reading stops here");
            Draft {
                document: Document::unreadable(file, origin),
                problems: vec![problem],
            }
        }
    }
}

/// A value as YAML, for output.
///
/// # Errors
///
/// The value cannot be written, as one with a key that is no scalar.
pub fn to_yaml(value: &serde_json::Value) -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(value)?)
}

/// The name of the source, which every place in the file is to carry, before the file is judged.
fn source_name(root: &Node) -> Option<String> {
    let Value::Map(entries) = &root.value else {
        return None;
    };
    entries
        .iter()
        .find_map(|(key, value)| match (&key.value, &value.value) {
            (Value::Scalar(_, key), Value::Scalar(_, name))
                if key == "name" && is_source_name(name) =>
            {
                Some(name.clone())
            }
            _ => None,
        })
}

fn document(root: &Node, file: Arc<SourceFile>) -> Draft {
    let mut reader = Reader::new(Arc::clone(&file));
    let mut document = Document::unreadable(file, reader.origin(root));
    if let Some(fields) = reader.fields(root, "", model::DOCUMENT_KEYS) {
        sections(&mut reader, &fields, &mut document);
    }
    let mut problems = reader.problems;
    problems.sort_by_key(|problem| problem.origin().map(|origin| origin.offset));
    Draft { document, problems }
}

fn sections(reader: &mut Reader, fields: &Fields<'_>, document: &mut Document) {
    // A mistake in the first level, such as `network:` for `networks:`, hides whole sections.
    document.incomplete = !reader.problems.is_empty();
    fields.required(reader, "version", "write `version: 1`", version);
    let name = fields.required(reader, "name", NAME_HELP, name);
    if let Some(name) = name {
        document.name = name;
    }
    if let Some(defaults) = fields.optional(reader, "defaults", defaults) {
        document.defaults = defaults;
    }
    if fields.optional(reader, "hosts", |reader, node, what| {
        host::read_all(reader, node, what, document)
    }) == Some(false)
    {
        document.incomplete = true;
    }
    if let Some(tunnels) = fields.optional(reader, "tunnels", host::tunnels) {
        document.tunnels = tunnels;
    }
    if let Some(vteps) = fields.optional(reader, "vteps", host::vteps) {
        document.vteps = vteps;
    }
    if fields.optional(reader, "networks", |reader, node, what| {
        network::read_all(reader, node, what, document)
    }) == Some(false)
    {
        document.incomplete = true;
    }
    if fields.optional(reader, "routers", |reader, node, what| {
        router::read_all(reader, node, what, document)
    }) == Some(false)
    {
        document.incomplete = true;
    }
    let before = reader.problems.len();
    fields.optional(reader, "workloads", |reader, node, what| {
        document.workloads = workload::read_all(reader, node, what)?;
        Some(())
    });
    document.incomplete_ports = document.incomplete || reader.problems.len() > before;
    for (section, read) in RULES {
        let complete = fields.optional(reader, section, |reader, node, what| {
            read(reader, node, what, document)
        });
        if complete == Some(false) {
            document.incomplete = true;
        }
    }
}

/// Reads a section into the document; tells whether every name that is there could be read.
type Section = fn(&mut Reader, &Node, &str, &mut Document) -> Option<bool>;

/// The sections that say who may talk to whom.
const RULES: [(&str, Section); 3] = [
    ("groups", policy::groups),
    ("chains", policy::chains),
    ("policies", policy::policies),
];

const NAME_HELP: &str = "name the source, for example `name: shop`";

fn version(reader: &mut Reader, node: &Node, what: &str) -> Option<()> {
    let version = reader.number(node, what)?;
    if version.value == model::VERSION {
        return Some(());
    }
    reader.wrong_with_help(
        node,
        what,
        "1",
        "this release reads version 1 of the format only",
    )
}

fn name(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<String>> {
    let name = reader.text(node, what)?;
    if is_source_name(&name) {
        return Some(name);
    }
    let expected = "a name of lower-case letters, digits and hyphens, 63 at most";
    reader.wrong(node, what, expected)
}

/// A section whose keys are all commented out is an empty section.
fn defaults(reader: &mut Reader, node: &Node, what: &str) -> Option<Defaults> {
    if matches!(node.value, Value::Null) {
        return Some(Defaults::default());
    }
    let fields = reader.fields(node, what, model::DEFAULTS_KEYS)?;
    Some(Defaults {
        tunnel: fields.optional(reader, "tunnel", scalar::tunnel),
        mtu: fields.optional(reader, "mtu", scalar::mtu),
        mss: fields.optional(reader, "mss", network::mss),
        drop_events: fields.optional(reader, "drop_events", Reader::switch),
        connections: fields
            .optional(reader, "connections", connections::connections)
            .unwrap_or_default(),
    })
}
