//! The fourth stage of a document's journey: what must change so that the kernel holds what the plan
//! says. It is a comparison and nothing more: nothing is read or written here.

use std::collections::BTreeMap;
use std::fmt;

use maps_schema::IfIndex;
use maps_schema::map::MapName;

use crate::kernel::datapath::Attachment;
use crate::kernel::link::{Observed, Peer};
use crate::link::Link;
use crate::plan::{Names, Plan, Tables};

/// What the kernel holds of an instance.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    /// The links, by the name of the host's end.
    pub links: BTreeMap<String, Observed>,
    /// The rows of the maps; no map at all if no datapath is loaded.
    pub tables: Tables,
    /// Where programs run.
    pub attached: BTreeMap<IfIndex, Attachment>,
    /// What the loaded program was made from.
    pub fingerprint: Option<String>,
}

impl Holdings {
    /// The index of every link that is there and leads to where it should.
    #[must_use]
    pub fn interfaces(&self) -> BTreeMap<String, IfIndex> {
        self.links
            .iter()
            .filter(|(_, observed)| observed.link().is_some())
            .map(|(name, observed)| (name.clone(), observed.ifindex))
            .collect()
    }
}

/// Everything that must change, in the order in which it is done.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Diff {
    /// Another program is to be loaded.
    pub program: bool,
    /// Links, by the name of the host's end.
    pub links: BTreeMap<String, LinkChange>,
    /// Links, by the name of the host's end, at which the program is to be attached or replaced.
    pub attach: Vec<String>,
    /// Rows to be written and removed.
    pub rows: Vec<RowChange>,
}

/// What becomes of a link.
#[derive(Clone, PartialEq, Debug)]
pub enum LinkChange {
    /// It is made.
    Create(Link),
    /// It is deleted and made again.
    Recreate(Link),
    /// It is changed while it is up.
    Adjust {
        /// As it is.
        from: Link,
        /// As it should be.
        to: Link,
    },
    /// It is deleted.
    Delete,
}

/// What becomes of a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowChange {
    /// The map.
    pub map: MapName,
    /// The row's key.
    pub key: Vec<u8>,
    /// Its value as it is, if it is there.
    pub from: Option<Vec<u8>>,
    /// Its value as it should be, if it should be there.
    pub to: Option<Vec<u8>>,
}

impl Diff {
    /// Compares.
    #[must_use]
    pub fn new(plan: &Plan, fingerprint: &str, holdings: &Holdings) -> Self {
        let links = link_changes(plan, holdings);
        let stays = |name: &str| matches!(links.get(name), None | Some(LinkChange::Adjust { .. }));
        let attach = plan
            .links
            .keys()
            .filter(|name| !stays(name) || !is_current(holdings, name, fingerprint))
            .cloned()
            .collect();
        Self {
            program: holdings.fingerprint.as_deref() != Some(fingerprint),
            links,
            attach,
            rows: row_changes(&holdings.tables, &plan.rows(&holdings.interfaces())),
        }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.program && self.links.is_empty() && self.attach.is_empty() && self.rows.is_empty()
    }
}

fn is_current(holdings: &Holdings, host_end: &str, fingerprint: &str) -> bool {
    holdings
        .links
        .get(host_end)
        .and_then(|observed| holdings.attached.get(&observed.ifindex))
        .is_some_and(|found| found.sound && found.fingerprint.as_deref() == Some(fingerprint))
}

fn link_changes(plan: &Plan, holdings: &Holdings) -> BTreeMap<String, LinkChange> {
    let mut changes = BTreeMap::new();
    for (name, planned) in &plan.links {
        let to = planned.link.clone();
        let change = match holdings.links.get(name).map(|observed| &observed.peer) {
            None => LinkChange::Create(to),
            Some(Peer::Inside(from)) if *from == to => continue,
            Some(Peer::Inside(from)) if !from.needs_recreation(&to) => LinkChange::Adjust {
                from: from.clone(),
                to,
            },
            Some(_) => LinkChange::Recreate(to),
        };
        changes.insert(name.clone(), change);
    }
    for name in holdings.links.keys() {
        if !plan.links.contains_key(name) {
            changes.insert(name.clone(), LinkChange::Delete);
        }
    }
    changes
}

/// What turns the rows `from` into the rows `to`: first what is written, each map after those that it
/// refers to; then what is removed, the other way round.
#[must_use]
pub fn row_changes(from: &Tables, to: &Tables) -> Vec<RowChange> {
    let empty = BTreeMap::new();
    let mut changes = Vec::new();
    for &map in MapName::ALL {
        let (from, to) = (
            from.get(&map).unwrap_or(&empty),
            to.get(&map).unwrap_or(&empty),
        );
        for (key, value) in to {
            let old = from.get(key);
            if old != Some(value) {
                changes.push(RowChange {
                    map,
                    key: key.clone(),
                    from: old.cloned(),
                    to: Some(value.clone()),
                });
            }
        }
    }
    for &map in MapName::ALL.iter().rev() {
        let (from, to) = (
            from.get(&map).unwrap_or(&empty),
            to.get(&map).unwrap_or(&empty),
        );
        for (key, value) in from {
            if !to.contains_key(key) {
                changes.push(RowChange {
                    map,
                    key: key.clone(),
                    from: Some(value.clone()),
                    to: None,
                });
            }
        }
    }
    changes
}

/// One line of a listing of changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// `+` is added, `~` is changed, `-` is removed.
    pub sign: char,
    /// What kind of thing.
    pub kind: &'static str,
    /// Which one, and how.
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sign, kind, text } = self;
        write!(f, "{sign} {kind:<10} {text}")
    }
}

impl Diff {
    /// The changes in words.
    #[must_use]
    pub fn lines(&self, plan: &Plan, holdings: &Holdings) -> Vec<Line> {
        let mut lines = Vec::new();
        if self.program {
            let sign = if holdings.fingerprint.is_some() {
                '~'
            } else {
                '+'
            };
            lines.push(Line {
                sign,
                kind: "program",
                text: "port_ingress".to_owned(),
            });
        }
        for (name, change) in &self.links {
            lines.push(link_line(name, change, plan, holdings));
        }
        for name in &self.attach {
            let changed = !matches!(self.links.get(name), Some(LinkChange::Create(_)));
            let sign = if changed { '~' } else { '+' };
            let text = format!("port_ingress at {name} ({})", port_of(name, plan, holdings));
            lines.push(Line {
                sign,
                kind: "attachment",
                text,
            });
        }
        lines.extend(self.rows.iter().map(|change| row_line(change, &plan.names)));
        lines
    }
}

fn port_of(host_end: &str, plan: &Plan, holdings: &Holdings) -> String {
    if let Some(planned) = plan.links.get(host_end) {
        return planned.name.to_string();
    }
    let alias = holdings
        .links
        .get(host_end)
        .and_then(|observed| observed.alias.as_deref());
    alias
        .and_then(|alias| alias.rsplit(':').next())
        .unwrap_or("half-made")
        .to_owned()
}

fn link_line(name: &str, change: &LinkChange, plan: &Plan, holdings: &Holdings) -> Line {
    let port = port_of(name, plan, holdings);
    let (sign, text) = match change {
        LinkChange::Create(_) => ('+', format!("{port} ({name})")),
        LinkChange::Recreate(_) => ('~', format!("{port} ({name}), made again")),
        LinkChange::Adjust { from, to } => ('~', format!("{port} ({name}): {}", changed(from, to))),
        LinkChange::Delete => ('-', format!("{port} ({name})")),
    };
    Line {
        sign,
        kind: "link",
        text,
    }
}

fn changed(from: &Link, to: &Link) -> String {
    let mut parts = Vec::new();
    if from.mtu != to.mtu {
        parts.push(format!("mtu {}", to.mtu));
    }
    if from.up != to.up {
        parts.push("up".to_owned());
    }
    if from.alias != to.alias {
        parts.push("alias".to_owned());
    }
    let (old, new) = (&from.inside, &to.inside);
    parts.extend(
        new.addresses
            .difference(&old.addresses)
            .map(|it| format!("+{it}")),
    );
    parts.extend(
        old.addresses
            .difference(&new.addresses)
            .map(|it| format!("-{it}")),
    );
    let route = |it: &crate::link::Route| format!("{} via {}", it.to, it.via);
    parts.extend(
        new.routes
            .difference(&old.routes)
            .map(|it| format!("+{}", route(it))),
    );
    parts.extend(
        old.routes
            .difference(&new.routes)
            .map(|it| format!("-{}", route(it))),
    );
    parts.join(", ")
}

fn row_line(change: &RowChange, names: &Names) -> Line {
    let (sign, value) = match (&change.from, &change.to) {
        (None, Some(to)) => ('+', to.as_slice()),
        (Some(_), Some(to)) => ('~', to.as_slice()),
        (Some(from), None) => ('-', from.as_slice()),
        (None, None) => (' ', [].as_slice()),
    };
    let kind = match change.map {
        MapName::Counters => "counters",
        MapName::Ports => "port",
        MapName::Neighbors => "neighbor",
        MapName::Fdb => "fdb",
        MapName::Flood => "flood",
        MapName::Networks => "network",
        MapName::Interfaces => "interface",
    };
    Line {
        sign,
        kind,
        text: names.describe(change.map, &change.key, value),
    }
}
