//! The last stage of a document's journey: the difference is applied, make before break.
//!
//! What is new is made first: the program; links, still down; the rows, in the order in which they
//! refer to one another; only then does the program run where another one did, so that it finds its
//! rows. Then the links are completed, and only now does anything lead to them: frames to an interface
//! that is down would be refused by the kernel. Last, the workloads announce themselves. If a step
//! fails, those before it are undone. Only when all of it is there is the old taken away, and that goes
//! on whatever fails.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Error, Result, anyhow};
use ipnet::IpNet;
use maps_schema::IfIndex;
use maps_schema::map::{IngressPort, MapName};

use super::Outlook;
use super::undo::Undo;
use crate::diff::{LinkChange, RowChange, row_changes};
use crate::holdings::Holdings;
use crate::instance::Instance;
use crate::kernel::datapath::{self, Datapath};
use crate::kernel::link::Links;
use crate::kernel::netns::Netns;
use crate::link::{Link, Route};

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
        Ok((datapath, removals)) => Ok(work.clear(datapath, removals).await),
        Err(error) => Err(work.take_back(error).await),
    }
}

impl<'a> Work<'a> {
    /// Makes what is new. What is left to be removed is returned.
    async fn make(&mut self) -> Result<(Datapath, Vec<RowChange>)> {
        let Outlook {
            plan,
            holdings,
            diff,
            object,
            ..
        } = self.outlook;
        let mut datapath = Datapath::load(self.instance, object, plan.drop_events)?;
        let interfaces = self.create_links().await?;
        // The maps of a datapath that was there in parts may hold rows that nobody has looked at.
        let held = match &self.former {
            Some(_) => holdings.tables.clone(),
            None => datapath.tables()?,
        };
        let changes = row_changes(&held, &plan.rows(&interfaces));
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
            datapath.attach(ifindex, host_end)?;
        }
        self.complete_links().await?;
        self.write(&mut datapath, ways_out)?;
        self.announce_links().await?;
        Ok((datapath, removals))
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
    async fn clear(mut self, mut datapath: Datapath, removals: Vec<RowChange>) -> Applied {
        let mut errors = Vec::new();
        for change in removals {
            match datapath.remove(change.map, &change.key) {
                Ok(()) => self.summary.removed += 1,
                Err(error) => errors.push(error),
            }
        }
        errors.extend(self.forget(&mut datapath).err());
        for (name, change) in &self.outlook.diff.links {
            if *change == LinkChange::Delete {
                match self.links.delete(name).await {
                    Ok(()) => self.summary.deleted += 1,
                    Err(error) => errors.push(error),
                }
            }
        }
        let host_ends: BTreeSet<String> = self.outlook.plan.links.keys().cloned().collect();
        errors.extend(datapath.prune(&host_ends).err().into_iter().flatten());
        Applied {
            summary: self.summary,
            leftover: all(errors),
        }
    }

    /// Forgets the stations that were learned behind ports which are not in their network any more,
    /// or do not learn any more: nothing would ever say that they are gone, and a port that was moved
    /// to another network would get their frames.
    fn forget(&self, datapath: &mut Datapath) -> Result<()> {
        let learning: BTreeSet<_> = self
            .outlook
            .plan
            .links
            .values()
            .map(|planned| planned.ingress)
            .filter(|port| port.flags & IngressPort::LEARNING != 0)
            .map(|port| (port.vni, port.port))
            .collect();
        for (station, entry) in datapath.learned()? {
            if !learning.contains(&(station.vni, entry.port)) {
                datapath.forget(&station)?;
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

/// Removes everything of an instance from the kernel; it goes on after an error.
///
/// # Errors
///
/// All that went wrong.
pub(super) async fn remove_everything(
    instance: &Instance,
    links: &Links,
    holdings: &Holdings,
) -> Result<Summary> {
    let mut summary = Summary {
        program: holdings.fingerprint.is_some(),
        ..Summary::default()
    };
    let mut errors = Vec::new();
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
