//! A difference in words, one line for each change, for `bowline plan`.

use std::collections::BTreeMap;
use std::fmt;

use maps_schema::map::{IngressPort, MapName};
use maps_schema::plain::{bytes_of, from_bytes};
use maps_schema::{IfIndex, PortId};

use super::{Diff, Holdings, LinkChange, RowChange, UplinkChange, XdpChange};
use crate::link::{Link, Route};
use crate::plan::{Names, Plan};
use crate::program::{Program, UPLINK_XDP, XdpMode};

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
                text: Program::PortIngress.symbol().to_owned(),
            });
        }
        for (name, change) in &self.links {
            lines.push(link_line(name, change, plan, holdings));
        }
        for name in &self.attach {
            let changed = !matches!(self.links.get(name), Some(LinkChange::Create(_)));
            let sign = if changed { '~' } else { '+' };
            let text = format!(
                "{} at {name} ({})",
                Program::PortIngress.symbol(),
                port_of(name, plan, holdings)
            );
            lines.push(Line {
                sign,
                kind: "attachment",
                text,
            });
        }
        for change in &self.uplinks {
            lines.push(uplink_line(change, holdings));
        }
        lines.extend(self.xdp.iter().map(xdp_line));
        let mut names = plan.names.clone();
        names.former = former_ports(holdings);
        lines.extend(self.rows.iter().map(|change| row_line(change, &names)));
        lines
    }
}

/// What the ports that the kernel holds are called, as far as their links say so: the topology does
/// not name those that are taken out.
fn former_ports(holdings: &Holdings) -> BTreeMap<PortId, String> {
    let rows = holdings.tables.get(&MapName::Interfaces);
    let port_at = |ifindex: &IfIndex| {
        let row = rows?.get(bytes_of(ifindex))?;
        from_bytes(row).map(|ingress: IngressPort| ingress.port)
    };
    let named = holdings.links.values().filter_map(|observed| {
        let name = observed.alias.as_deref().and_then(port_in)?;
        Some((port_at(&observed.ifindex)?, name.to_owned()))
    });
    named.collect()
}

/// The port that an alias names.
fn port_in(alias: &str) -> Option<&str> {
    alias.rsplit(':').next()
}

fn port_of(host_end: &str, plan: &Plan, holdings: &Holdings) -> String {
    if let Some(planned) = plan.links.get(host_end) {
        return planned.name.to_string();
    }
    let observed = holdings.links.get(host_end);
    let alias = observed.and_then(|observed| observed.alias.as_deref());
    alias.and_then(port_in).unwrap_or("half-made").to_owned()
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

fn uplink_line(change: &UplinkChange, holdings: &Holdings) -> Line {
    let (sign, interface) = match change {
        UplinkChange::Attach(uplink) if holdings.uplinks.contains_key(&uplink.ifindex) => {
            ('~', &uplink.interface)
        }
        UplinkChange::Attach(uplink) => ('+', &uplink.interface),
        UplinkChange::Detach { interface, .. } => ('-', interface),
    };
    Line {
        sign,
        kind: "attachment",
        text: format!("{} at {interface}", Program::UplinkIngress.symbol()),
    }
}

fn xdp_line(change: &XdpChange) -> Line {
    let mode = change.to.map(|xdp| xdp.mode);
    let sign = match (change.from, mode) {
        (None, _) => '+',
        (Some(_), Some(_)) => '~',
        (Some(_), None) => '-',
    };
    let word = mode.or(change.from).map_or("", XdpMode::word);
    Line {
        sign,
        kind: "attachment",
        text: format!("{UPLINK_XDP} at {} ({word})", change.interface),
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
    let route = |it: &Route| format!("{} via {}", it.to, it.via);
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
        MapName::RuleCounters => "rule counters",
        MapName::Rules => "rule",
        MapName::Matches => "matches",
        MapName::Services => "service",
        MapName::Prefixes => "prefix",
        MapName::IdentityPrefixes => "group",
        MapName::Identities => "group",
        MapName::Policies => "policy",
        MapName::Ports => "port",
        MapName::RouterPorts => "router",
        MapName::RouterAddresses => "address",
        MapName::NextHops => "next hop",
        MapName::Routes => "route",
        MapName::Gateways => "gateway",
        MapName::Sources => "source",
        MapName::Public => "public",
        MapName::Neighbors => "neighbor",
        MapName::Fdb => "fdb",
        MapName::Flood => "flood",
        MapName::Networks => "network",
        MapName::Interfaces => "interface",
        MapName::Direct => "direct",
        MapName::Members => "member",
        MapName::Peers => "peer",
        MapName::Uplinks => "uplink",
        MapName::Epochs => "epoch",
    };
    Line {
        sign,
        kind,
        text: names.describe(change.map, &change.key, value),
    }
}
