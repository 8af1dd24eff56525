//! The fourth stage of a document's journey: what must change so that the kernel holds what the plan
//! says. It is a comparison and nothing more: nothing is read or written here.

mod lines;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use maps_schema::IfIndex;
use maps_schema::map::MapName;

pub use lines::Line;

use crate::holdings::{Attachment, Holdings, XdpState, is_left_alone};
use crate::link::Link;
use crate::plan::{Plan, PlannedUplink, PlannedXdp, Tables};
use crate::program::XdpMode;

/// Everything that must change, in the order in which it is done.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Diff {
    /// Another program is to be loaded.
    pub program: bool,
    /// Links, by the name of the host's end.
    pub links: BTreeMap<String, LinkChange>,
    /// Links, by the name of the host's end, at which the program is to be attached or replaced.
    pub attach: Vec<String>,
    /// Interfaces to the underlay at which the program is to be attached, replaced or detached.
    pub uplinks: Vec<UplinkChange>,
    /// Interfaces to the underlay at which XDP comes, changes or goes.
    pub xdp: Vec<XdpChange>,
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

/// What becomes of the program at an interface to the underlay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UplinkChange {
    /// It is attached, or takes the place of another one.
    Attach(PlannedUplink),
    /// It is detached: the interface is not the uplink any more.
    Detach {
        /// The interface's index.
        ifindex: IfIndex,
        /// Its name.
        interface: String,
    },
}

/// What becomes of XDP at an interface to the underlay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct XdpChange {
    /// The interface's index.
    pub ifindex: IfIndex,
    /// Its name.
    pub interface: String,
    /// How our program runs, if it does.
    pub from: Option<XdpMode>,
    /// How it should run, if it should.
    pub to: Option<PlannedXdp>,
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
            uplinks: uplink_changes(plan.uplink.as_ref(), fingerprint, holdings),
            xdp: xdp_changes(plan.uplink.as_ref(), fingerprint, holdings),
            rows: row_changes(&holdings.tables, &plan.rows(&holdings.interfaces())),
        }
    }

    /// Everything goes: no source is left, and without one there is no datapath either.
    #[must_use]
    pub fn removal(holdings: &Holdings) -> Self {
        let links = holdings.links.keys();
        Self {
            links: links
                .map(|name| (name.clone(), LinkChange::Delete))
                .collect(),
            uplinks: uplink_changes(None, "", holdings),
            xdp: xdp_changes(None, "", holdings),
            rows: row_changes(&holdings.tables, &Tables::new()),
            ..Self::default()
        }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.program
            && self.links.is_empty()
            && self.attach.is_empty()
            && self.uplinks.is_empty()
            && self.xdp.is_empty()
            && self.rows.is_empty()
    }
}

fn is_current(holdings: &Holdings, host_end: &str, fingerprint: &str) -> bool {
    holdings
        .links
        .get(host_end)
        .and_then(|observed| holdings.attached.get(&observed.ifindex))
        .is_some_and(|found| is_made_from(found, fingerprint))
}

fn is_made_from(found: &Attachment, fingerprint: &str) -> bool {
    found.sound && found.fingerprint.as_deref() == Some(fingerprint)
}

/// First the program is attached where frames are to be taken in, then it leaves all other
/// interfaces.
fn uplink_changes(
    planned: Option<&PlannedUplink>,
    fingerprint: &str,
    holdings: &Holdings,
) -> Vec<UplinkChange> {
    let is_current = |uplink: &PlannedUplink| {
        let held = holdings.uplinks.get(&uplink.ifindex);
        held.is_some_and(|held| is_made_from(&held.ingress, fingerprint))
    };
    let attached = planned.filter(|uplink| !is_current(uplink));
    let attached = attached.map(|uplink| UplinkChange::Attach(uplink.clone()));
    let others = holdings.uplinks.iter();
    let others = others.filter(|(ifindex, _)| planned.is_none_or(|it| it.ifindex != **ifindex));
    let detached = others.map(|(&ifindex, held)| UplinkChange::Detach {
        ifindex,
        interface: held.interface.clone(),
    });
    attached.into_iter().chain(detached).collect()
}

/// XDP comes to the uplink, as far as it is wanted there and nobody is in its way, and leaves all other
/// interfaces.
fn xdp_changes(
    planned: Option<&PlannedUplink>,
    fingerprint: &str,
    holdings: &Holdings,
) -> Vec<XdpChange> {
    let wanted = planned.and_then(|uplink| Some((uplink, uplink.xdp?)));
    let comes = wanted.and_then(|(uplink, xdp)| {
        let held = holdings.xdp.get(&uplink.ifindex);
        let from = match held.map(|held| &held.state) {
            Some(XdpState::Foreign(_)) => return None,
            Some(XdpState::Refused) if !xdp.required => return None,
            Some(XdpState::Ours { mode, attachment }) => {
                if *mode == xdp.mode && is_made_from(attachment, fingerprint) {
                    return None;
                }
                Some(*mode)
            }
            Some(XdpState::Refused) | None => None,
        };
        Some(XdpChange {
            ifindex: uplink.ifindex,
            interface: uplink.interface.clone(),
            from,
            to: Some(xdp),
        })
    });
    let stays = |ifindex: &IfIndex| wanted.is_some_and(|(uplink, _)| uplink.ifindex == *ifindex);
    let goes = holdings.xdp.iter().filter_map(|(ifindex, held)| {
        let XdpState::Ours { mode, .. } = held.state else {
            return None;
        };
        (!stays(ifindex)).then(|| XdpChange {
            ifindex: *ifindex,
            interface: held.interface.clone(),
            from: Some(mode),
            to: None,
        })
    });
    comes.into_iter().chain(goes).collect()
}

fn link_changes(plan: &Plan, holdings: &Holdings) -> BTreeMap<String, LinkChange> {
    let mut changes = BTreeMap::new();
    for (name, planned) in &plan.links {
        let to = planned.link.clone();
        let change = match holdings.links.get(name) {
            None => LinkChange::Create(to),
            Some(observed) if is_left_alone(observed) => continue,
            Some(observed) => match observed.link() {
                Some(from) if *from == to => continue,
                Some(from) if !from.needs_recreation(&to) => LinkChange::Adjust {
                    from: from.clone(),
                    to,
                },
                _ => LinkChange::Recreate(to),
            },
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
