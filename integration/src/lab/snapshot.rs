//! Everything that bowline could leave behind, to be compared before and after.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;

use ::bowline::instance::Instance;
use serde_json::Value;

use super::Namespace;
use super::namespace::succeed;

/// The state of some namespaces and of an instance.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<String, String>);

/// What changes by itself: lifetimes, counters, indexes that are counted up, and what the kernel
/// finds out about a new link or address a moment later.
const RESTLESS: &[&str] = &[
    "operstate",
    "tentative",
    "valid_life_time",
    "preferred_life_time",
    "bytes",
    "packets",
    "stats64",
    "ifindex",
    "link_index",
    "link_netnsid",
];

impl Snapshot {
    /// Links, addresses, routes, rules, neighbors and traffic control of the namespaces; pins and
    /// state of the instance; BPF programs and maps that belong to it.
    ///
    /// # Panics
    /// A program of iproute2 or bpftool fails.
    #[must_use]
    pub fn take(spaces: &[&Namespace], instance: &Instance) -> Self {
        let mut parts = BTreeMap::new();
        for space in spaces {
            for (what, program, arguments) in [
                ("links", "ip", "-d -j link"),
                ("addresses", "ip", "-d -j address"),
                ("routes", "ip", "-j route show table all"),
                ("routes of IPv6", "ip", "-6 -j route show table all"),
                ("rules", "ip", "-j rule"),
                ("queues", "tc", "-j qdisc"),
                ("attachments", "bpftool", "-j net"),
            ] {
                let mut command = space.command(program);
                let output = succeed(command.args(arguments.split(' ')));
                let text = String::from_utf8_lossy(&output.stdout);
                parts.insert(format!("{what} of {}", space.name()), tidy(&text));
            }
        }
        let root = instance.bpffs_dir();
        parts.insert("pins".to_owned(), tree(&root));
        Self(parts)
    }
}

/// What a program or a pin has for a name or a number, and what is different in another version of it.
const NUMBERS: &[&str] = &["id", "prog_id", "link_id", "tag"];

/// JSON without what changes by itself.
fn tidy(text: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(text) else {
        return text.to_owned();
    };
    calm(&mut value);
    serde_json::to_string_pretty(&value).expect("JSON stays JSON")
}

fn calm(value: &mut Value) {
    match value {
        Value::Array(values) => {
            values.retain(|value| !is_link_local(value));
            values.iter_mut().for_each(calm);
        }
        Value::Object(fields) => {
            fields.retain(|name, _| !RESTLESS.contains(&name.as_str()));
            if let Some(Value::Array(flags)) = fields.get_mut("flags") {
                // A new link is told to have a carrier a moment later.
                flags.retain(|flag| !matches!(flag.as_str(), Some("NO-CARRIER" | "LOWER_UP")));
            }
            fields.values_mut().for_each(calm);
        }
        _ => {}
    }
}

/// Whether this is an address or a route that the kernel makes by itself for every link, as soon as
/// it has a carrier and nobody else has the address.
fn is_link_local(value: &Value) -> bool {
    ["dst", "local"].iter().any(|field| {
        let address = value.get(field).and_then(Value::as_str);
        address.is_some_and(|address| address.starts_with("fe80:") || address == "ff00::/8")
    })
}

fn tree(root: &Path) -> String {
    if !root.exists() {
        return String::new();
    }
    let output = succeed(Command::new("find").arg(root));
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// JSON without [`NUMBERS`], and pins of programs without what says which version of them it is.
fn unnumbered(text: &str) -> String {
    fn strip(value: &mut Value) {
        match value {
            Value::Array(values) => values.iter_mut().for_each(strip),
            Value::Object(fields) => {
                fields.retain(|name, _| !NUMBERS.contains(&name.as_str()));
                fields.values_mut().for_each(strip);
            }
            _ => {}
        }
    }
    let Ok(mut value) = serde_json::from_str::<Value>(text) else {
        let name = |line: &str| match line.rsplit_once('-') {
            Some((name, _)) if line.contains("/programs/") => name.to_owned(),
            _ => line.to_owned(),
        };
        return text.lines().map(name).collect::<Vec<_>>().join("\n");
    };
    strip(&mut value);
    serde_json::to_string_pretty(&value).expect("JSON stays JSON")
}

/// Only what is worth reading: differences are shown by `assert_eq` in full otherwise.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, text) in &self.0 {
            writeln!(f, "{what}:\n{text}")?;
        }
        Ok(())
    }
}

impl Snapshot {
    /// The same without what programs and pins have for numbers, for what runs on: programs may have been
    /// exchanged for others that do the same.
    #[must_use]
    pub fn shape(&self) -> Self {
        let parts = self.0.iter();
        Self(
            parts
                .map(|(what, text)| (what.clone(), unnumbered(text)))
                .collect(),
        )
    }

    /// Checks that nothing changed.
    ///
    /// # Panics
    /// Something did; the message shows the lines that differ.
    #[track_caller]
    pub fn assert_same(&self, after: &Self) {
        let mut differences = String::new();
        for (what, before) in &self.0 {
            let now = after.0.get(what).map(String::as_str).unwrap_or_default();
            if now == before {
                continue;
            }
            differences += &format!("{what}:\n");
            for line in before.lines().filter(|line| !now.contains(line)) {
                differences += &format!("- {line}\n");
            }
            for line in now.lines().filter(|line| !before.contains(line)) {
                differences += &format!("+ {line}\n");
            }
        }
        assert!(self == after, "what was there has changed:\n{differences}");
    }
}
