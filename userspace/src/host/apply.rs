//! The last stage of a document's journey: the difference is applied, make before break.
//!
//! What is new is made first: the program; links, still down; the rows, in the order in which they
//! refer to one another; only then do programs run where others did, so that they find their rows.
//! Then the links are completed, and only now does anything lead to them: frames to an interface that
//! is down would be refused by the kernel. Last, the program comes to the uplink, and the workloads
//! announce themselves. If a step fails, those before it are undone. Only when all of it is there is
//! the old taken away, the program at a former uplink before the rows that it reads, and that goes on
//! whatever fails.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Error, Result, anyhow};
use ipnet::IpNet;
use maps_schema::map::{EgressPort, IngressPort, MapName, Network};
use maps_schema::plain::{bytes_of, from_bytes};
use maps_schema::{IfIndex, PortId, Vni};

use super::Outlook;
use super::undo::Undo;
use crate::diff::{Diff, LinkChange, RowChange, UplinkChange, XdpChange, row_changes};
use crate::holdings::Holdings;
use crate::instance::Instance;
use crate::kernel::clock;
use crate::kernel::datapath::{self, Datapath};
use crate::kernel::link::Links;
use crate::kernel::netns::Netns;
use crate::link::{Link, Route};
use crate::plan::{PlannedXdp, Tables};
use crate::program::Program;

/// What was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Whether another program was loaded.
    pub program: bool,
    /// How many links were made or made again.
    pub created: usize,
    /// How many links were changed.
    pub adjusted: usize,
    /// How many links were deleted.
    pub deleted: usize,
    /// How many uplinks were attached to, or given another program.
    pub attached: usize,
    /// How many former uplinks were left.
    pub detached: usize,
    /// At how many uplinks XDP came, changed or went.
    pub xdp: usize,
    /// How many rows were written.
    pub written: usize,
    /// How many rows were removed.
    pub removed: usize,
}

impl Summary {
    /// Whether nothing was changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A change that took place.
#[derive(Debug)]
pub(super) struct Applied {
    /// What was changed.
    pub(super) summary: Summary,
    /// What could not be removed of the old; the new is in force nevertheless.
    leftover: Option<Error>,
}

impl Applied {
    /// What was changed, unless something is left over.
    ///
    /// # Errors
    ///
    /// What could not be removed.
    pub(super) fn finish(self) -> Result<Summary> {
        let Some(error) = self.leftover else {
            return Ok(self.summary);
        };
        Err(error.context(
            "everything new is in place, but something old could not be removed; try again",
        ))
    }
}

pub(super) struct Work<'a> {
    pub(super) instance: &'a Instance,
    pub(super) links: &'a Links,
    pub(super) outlook: &'a Outlook,
    netns: BTreeMap<String, &'a Netns>,
    /// The datapath as it was.
    pub(super) former: Option<Datapath>,
    pub(super) undo: Vec<Undo>,
    summary: Summary,
}

/// What is new is in place.
struct Made {
    datapath: Datapath,
    /// The rows that are left to be removed.
    removals: Vec<RowChange>,
    /// What becomes of the epochs afterwards.
    epochs: Vec<RowChange>,
}

/// Applies an outlook's difference.
///
/// # Errors
///
/// A step failed; what was done before it is undone.
pub(super) async fn apply(
    instance: &Instance,
    links: &Links,
    outlook: &Outlook,
) -> Result<Applied> {
    if outlook.diff.is_empty() {
        return Ok(Applied {
            summary: Summary::default(),
            leftover: None,
        });
    }
    let mut work = Work {
        instance,
        links,
        outlook,
        netns: outlook
            .places
            .by_host_end(instance, &outlook.plan, &outlook.holdings.links),
        former: Datapath::open(instance)?,
        undo: Vec::new(),
        summary: Summary {
            program: outlook.diff.program,
            ..Summary::default()
        },
    };
    match work.make().await {
        Ok(made) => Ok(work.clear(made).await),
        Err(error) => Err(work.take_back(error).await),
    }
}

impl<'a> Work<'a> {
    /// Makes what is new. What is left to be done is returned.
    async fn make(&mut self) -> Result<Made> {
        let Outlook {
            plan,
            holdings,
            diff,
            object,
            ..
        } = self.outlook;
        self.undo.push(Undo::Tables);
        let began_ns = clock::coarse_ns();
        let mut datapath = Datapath::load(self.instance, object, &plan.settings)?;
        let interfaces = self.create_links().await?;
        // The maps of a datapath that was there in parts may hold rows that nobody has looked at.
        let held = match &self.former {
            Some(_) => holdings.tables.clone(),
            None => datapath.tables()?,
        };
        let changes = row_changes(&held, &plan.rows(&interfaces));
        let (epochs, changes): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .partition(|change| change.map == MapName::Epochs);
        self.end_epochs(&mut datapath, &epochs)?;
        let (writes, removals): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| change.to.is_some());
        let (ways_out, rows): (Vec<_>, Vec<_>) = writes
            .into_iter()
            .partition(|change| change.map == MapName::Ports);
        self.write(&mut datapath, rows)?;
        let before = holdings.interfaces();
        for host_end in &diff.attach {
            let &ifindex = interfaces
                .get(host_end)
                .with_context(|| format!("{host_end} has gone while it was being made"))?;
            if before.get(host_end) == Some(&ifindex) {
                // First the note: the step may fail half-way.
                self.undo.push(Undo::Attach(ifindex, host_end.clone()));
            }
            datapath.attach(Program::PortIngress, ifindex, host_end)?;
        }
        self.complete_links().await?;
        self.write(&mut datapath, ways_out)?;
        self.attach_uplink(&mut datapath)?;
        if let Some(former) = &self.former {
            datapath.catch_up(former, began_ns)?;
        }
        self.announce_links().await?;
        Ok(Made {
            datapath,
            removals,
            epochs,
        })
    }

    /// Nothing that is found out from now on is remembered, where something changes, until all of it
    /// has: it might be half of the old and half of the new.
    fn end_epochs(&mut self, datapath: &mut Datapath, epochs: &[RowChange]) -> Result<()> {
        for change in epochs.iter().filter(|change| change.from.is_some()) {
            self.undo.push(Undo::Row(RowChange {
                to: None,
                ..change.clone()
            }));
            datapath.remove(change.map, &change.key)?;
            if change.to.is_none() {
                self.summary.removed += 1;
            }
        }
        Ok(())
    }

    /// All has changed: ways are remembered again. Those of before are not used any more.
    fn begin_epochs(&mut self, datapath: &mut Datapath, epochs: Vec<RowChange>) -> Result<()> {
        for change in epochs {
            if let Some(value) = &change.to {
                datapath.write(change.map, &change.key, value)?;
                self.summary.written += 1;
            }
        }
        Ok(())
    }

    fn attach_uplink(&mut self, datapath: &mut Datapath) -> Result<()> {
        for change in &self.outlook.diff.uplinks {
            if let UplinkChange::Attach(uplink) = change {
                self.undo.push(Undo::Uplink(uplink.clone()));
                datapath.attach(Program::UplinkIngress, uplink.ifindex, &uplink.interface)?;
                self.summary.attached += 1;
            }
        }
        for change in &self.outlook.diff.xdp {
            if let Some(xdp) = change.to {
                self.undo.push(Undo::Xdp(change.clone()));
                attach_xdp(datapath, change, xdp)?;
                self.summary.xdp += 1;
            }
        }
        Ok(())
    }

    fn write(&mut self, datapath: &mut Datapath, changes: Vec<RowChange>) -> Result<()> {
        let names = &self.outlook.plan.names;
        for change in changes {
            let value = change.to.as_deref().unwrap_or_default();
            datapath
                .write(change.map, &change.key, value)
                .with_context(|| names.describe(change.map, &change.key, value))?;
            self.undo.push(Undo::Row(change));
            self.summary.written += 1;
        }
        Ok(())
    }

    /// Makes the new links, both ends down. Returns the index of every planned one.
    async fn create_links(&mut self) -> Result<BTreeMap<String, IfIndex>> {
        let mut interfaces = self.outlook.holdings.interfaces();
        for (name, change) in &self.outlook.diff.links {
            let link = match change {
                LinkChange::Create(link) => link,
                LinkChange::Recreate(link) => {
                    // It leads nowhere, or to an interface that must not be there any more under the
                    // same name: it cannot stay until the new one is made.
                    self.links.delete(name).await?;
                    if let Some((old, ifindex)) = self.held(name) {
                        self.undo.push(Undo::Restore(old.clone(), ifindex));
                    }
                    link
                }
                LinkChange::Adjust { .. } | LinkChange::Delete => continue,
            };
            let ifindex = self.links.create(link, self.netns(name)?).await?;
            self.undo.push(Undo::Delete(name.clone()));
            self.summary.created += 1;
            interfaces.insert(name.clone(), ifindex);
        }
        interfaces.retain(|name, _| self.outlook.plan.links.contains_key(name));
        Ok(interfaces)
    }

    /// A link that leads where it should, as it was, and its index.
    fn held(&self, host_end: &str) -> Option<(&'a Link, IfIndex)> {
        let observed = self.outlook.holdings.links.get(host_end)?;
        Some((observed.link()?, observed.ifindex))
    }

    async fn complete_links(&mut self) -> Result<()> {
        self.make_way().await?;
        for (name, change) in &self.outlook.diff.links {
            match change {
                LinkChange::Create(link) | LinkChange::Recreate(link) => {
                    self.links.adjust(link, self.netns(name)?).await?;
                }
                LinkChange::Adjust { from, to } => {
                    self.undo.push(Undo::Adjust(from.clone()));
                    self.links.adjust(to, self.netns(name)?).await?;
                    self.summary.adjusted += 1;
                }
                LinkChange::Delete => {}
            }
        }
        for change in self.outlook.diff.links.values() {
            if let LinkChange::Create(link)
            | LinkChange::Recreate(link)
            | LinkChange::Adjust { to: link, .. } = change
                && link.up
            {
                self.links.await_carrier(link).await?;
            }
        }
        Ok(())
    }

    /// Lets the workloads that have come, or have got addresses that they had not, tell the others, who
    /// may still send what is for them to another MAC address. Only now are all of them there to hear it.
    async fn announce_links(&self) -> Result<()> {
        for (name, change) in &self.outlook.diff.links {
            let link = match change {
                LinkChange::Create(link) | LinkChange::Recreate(link) => link,
                LinkChange::Adjust { from, to }
                    if !to.inside.addresses.is_subset(&from.inside.addresses) =>
                {
                    to
                }
                LinkChange::Adjust { .. } | LinkChange::Delete => continue,
            };
            if link.up {
                self.links.announce(link, self.netns(name)?).await?;
            }
        }
        Ok(())
    }

    /// A namespace has one route to a destination: where it moves from one link of a workload to
    /// another one, it leaves the former before it comes to the latter.
    async fn make_way(&mut self) -> Result<()> {
        let mut destinations: BTreeMap<(&str, IpNet), &str> = BTreeMap::new();
        for (name, planned) in &self.outlook.plan.links {
            for route in &planned.link.inside.routes {
                destinations.insert((&planned.name.workload, route.to), name);
            }
        }
        for (name, change) in &self.outlook.diff.links {
            let (old, target) = match (change, self.held(name)) {
                (LinkChange::Adjust { to, .. }, Some((old, _))) => (old, to),
                (LinkChange::Delete, Some((old, _))) => (old, old),
                // What is made again has lost its routes already.
                _ => continue,
            };
            let Some(port) = self.instance.port_of_alias(&old.alias) else {
                continue;
            };
            let moves = |route: &Route| {
                let owner = destinations.get(&(port.workload.as_str(), route.to));
                owner.is_some_and(|owner| owner != name)
            };
            if !old.inside.routes.iter().any(moves) {
                continue;
            }
            let mut link = target.clone();
            let routes = &mut link.inside.routes;
            routes.retain(|route| old.inside.routes.contains(route) && !moves(route));
            self.undo.push(Undo::Adjust(old.clone()));
            self.links.adjust(&link, self.netns(name)?).await?;
        }
        Ok(())
    }

    /// Takes the old away.
    async fn clear(mut self, made: Made) -> Applied {
        let Made {
            mut datapath,
            removals,
            epochs,
        } = made;
        let mut errors = Vec::new();
        for change in &self.outlook.diff.xdp {
            if change.to.is_none() {
                match datapath.detach_xdp(change.ifindex, &change.interface) {
                    Ok(()) => self.summary.xdp += 1,
                    Err(error) => errors.push(error),
                }
            }
        }
        for change in &self.outlook.diff.uplinks {
            if let UplinkChange::Detach { ifindex, interface } = change {
                match datapath.detach(Program::UplinkIngress, *ifindex, interface) {
                    Ok(()) => self.summary.detached += 1,
                    Err(error) => errors.push(error),
                }
            }
        }
        for change in removals {
            match datapath.remove(change.map, &change.key) {
                Ok(()) => self.summary.removed += 1,
                Err(error) => errors.push(error),
            }
        }
        errors.extend(self.forget(&mut datapath).err());
        if errors.is_empty() {
            errors.extend(self.begin_epochs(&mut datapath, epochs).err());
        }
        for (name, change) in &self.outlook.diff.links {
            if *change == LinkChange::Delete {
                match self.links.delete(name).await {
                    Ok(()) => self.summary.deleted += 1,
                    Err(error) => errors.push(error),
                }
            }
        }
        let plan = &self.outlook.plan;
        let mut interfaces: BTreeSet<String> = plan.links.keys().cloned().collect();
        interfaces.extend(plan.uplink.as_ref().map(|uplink| uplink.interface.clone()));
        errors.extend(datapath.prune(&interfaces).err().into_iter().flatten());
        Applied {
            summary: self.summary,
            leftover: all(errors),
        }
    }

    /// Forgets the stations that were learned behind ports which are not in their network any more,
    /// or do not learn any more: nothing would ever say that they are gone, and a port that was moved
    /// to another network would get their frames. What was heard from hosts that have left is
    /// forgotten too.
    fn forget(&self, datapath: &mut Datapath) -> Result<()> {
        let plan = &self.outlook.plan;
        let learning: BTreeSet<_> = plan
            .links
            .values()
            .map(|planned| planned.ingress)
            .filter(|port| port.flags & IngressPort::LEARNING != 0)
            .map(|port| (port.vni, port.port))
            .collect();
        let rows = plan.rows(&BTreeMap::new());
        let peers = peers(&rows);
        let learns = |vni: &Vni| -> bool {
            let row = rows
                .get(&MapName::Networks)
                .and_then(|rows| rows.get(bytes_of(vni)));
            let network = row.and_then(|row| from_bytes(row));
            network.is_some_and(|network: Network| network.flags & Network::LEARNS != 0)
        };
        for (station, entry) in datapath.learned()? {
            let behind_peer = peers.contains(&entry.port) && learns(&station.vni);
            if !behind_peer && !learning.contains(&(station.vni, entry.port)) {
                datapath.forget(&station)?;
            }
        }
        for peer in datapath.peer_states()?.into_keys() {
            if !peers.contains(&peer) {
                datapath.forget_peer(peer)?;
            }
        }
        Ok(())
    }

    /// Where the workload's end of a link is, or should be.
    pub(super) fn netns(&self, host_end: &str) -> Result<&'a Netns> {
        self.netns
            .get(host_end)
            .copied()
            .with_context(|| format!("nobody knows where the workload behind {host_end} is"))
    }
}

/// Lets the XDP program run at an uplink. Where nobody asked for it and the driver refuses, that is
/// noted, so that the next load has nothing to do.
fn attach_xdp(datapath: &mut Datapath, change: &XdpChange, xdp: PlannedXdp) -> Result<()> {
    let XdpChange {
        ifindex, interface, ..
    } = change;
    match datapath.attach_xdp(*ifindex, interface, xdp.mode) {
        Err(error) if xdp.required => Err(error.context(format!(
            "`xdp: {}` is not possible here; `xdp: auto` finds out what is",
            xdp.mode.word()
        ))),
        Err(_) => datapath.note_xdp_refusal(*ifindex, interface),
        Ok(()) => Ok(()),
    }
}

/// The ports that lead to peers.
fn peers(rows: &Tables) -> BTreeSet<PortId> {
    let ports = rows.get(&MapName::Ports).into_iter().flatten();
    ports
        .filter_map(|(key, value)| Some((from_bytes(key)?, from_bytes(value)?)))
        .filter(|(_, egress): &(PortId, EgressPort)| !egress.is_workload())
        .map(|(port, _)| port)
        .collect()
}

/// Removes everything of an instance from the kernel, first of all what runs at those of the
/// interfaces `uplinks` at which something does; it goes on after an error.
///
/// # Errors
///
/// All that went wrong.
pub(super) async fn remove_everything(
    instance: &Instance,
    links: &Links,
    holdings: &Holdings,
    uplinks: &BTreeMap<IfIndex, String>,
) -> Result<Summary> {
    let mut summary = Summary {
        program: holdings.fingerprint.is_some(),
        detached: holdings.uplinks.len(),
        xdp: Diff::removal(holdings).xdp.len(),
        ..Summary::default()
    };
    let xdp = datapath::detach_xdp_everywhere(instance, uplinks);
    let mut errors = xdp.err().unwrap_or_default();
    let detached = datapath::detach_everywhere(instance, Program::UplinkIngress, uplinks);
    errors.extend(detached.err().into_iter().flatten());
    for name in holdings.links.keys() {
        match links.delete(name).await {
            Ok(()) => summary.deleted += 1,
            Err(error) => errors.push(error),
        }
    }
    errors.extend(datapath::remove_all(instance).err().into_iter().flatten());
    summary.removed = holdings.tables.values().map(BTreeMap::len).sum();
    match all(errors) {
        None => Ok(summary),
        Some(error) => Err(error.context("not everything could be removed; try again")),
    }
}

/// Several errors as one.
pub(super) fn all(errors: Vec<Error>) -> Option<Error> {
    let mut texts = errors.iter().map(|error| format!("{error:#}"));
    let first = texts.next()?;
    Some(texts.fold(anyhow!(first), |all, text| anyhow!("{all}; {text}")))
}
