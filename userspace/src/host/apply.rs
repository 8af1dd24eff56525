//! The last stage of a document's journey: the difference is applied, make before break.
//!
//! What is new is made first: links, still down; the program; the rows, in the order in which they
//! refer to one another; then the links are completed. If a step fails, those before it are undone.
//! Only when all of it is there is the old taken away, and that goes on whatever fails.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Error, Result, anyhow};
use maps_schema::IfIndex;

use super::Outlook;
use crate::diff::{Holdings, LinkChange, RowChange, row_changes};
use crate::instance::Instance;
use crate::kernel::datapath::{self, Datapath};
use crate::kernel::link::Links;
use crate::kernel::netns::Netns;
use crate::link::Link;
use crate::plan::Plan;

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

/// How to take a step back.
enum Undo {
    /// A link was made.
    Delete(String),
    /// A link was changed.
    Adjust(Link),
    /// A row was changed.
    Row(RowChange),
    /// A link was given another program.
    Attach(IfIndex, String),
}

struct Work<'a> {
    instance: &'a Instance,
    links: &'a Links,
    outlook: &'a Outlook,
    netns: BTreeMap<String, &'a Netns>,
    /// The datapath as it was.
    former: Option<Datapath>,
    undo: Vec<Undo>,
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
) -> Result<Summary> {
    if outlook.diff.is_empty() {
        return Ok(Summary::default());
    }
    let mut work = Work {
        instance,
        links,
        outlook,
        netns: outlook.places.by_host_end(&outlook.plan),
        former: Datapath::open(instance)?,
        undo: Vec::new(),
        summary: Summary {
            program: outlook.diff.program,
            ..Summary::default()
        },
    };
    match work.make().await {
        Ok((datapath, removals)) => work.clear(datapath, removals).await,
        Err(error) => Err(work.take_back(error).await),
    }
}

impl Work<'_> {
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
        for host_end in &diff.attach {
            let &ifindex = interfaces
                .get(host_end)
                .with_context(|| format!("{host_end} has gone while it was being made"))?;
            datapath.attach(ifindex, host_end)?;
            if !diff.links.contains_key(host_end) {
                self.undo.push(Undo::Attach(ifindex, host_end.clone()));
            }
        }
        let changes = row_changes(&holdings.tables, &plan.rows(&interfaces));
        let (writes, removals): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| change.to.is_some());
        for change in writes {
            write(&mut datapath, &change, plan)?;
            self.undo.push(Undo::Row(change));
            self.summary.written += 1;
        }
        self.complete_links().await?;
        Ok((datapath, removals))
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

    async fn complete_links(&mut self) -> Result<()> {
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

    /// Takes the old away.
    async fn clear(mut self, mut datapath: Datapath, removals: Vec<RowChange>) -> Result<Summary> {
        let mut errors = Vec::new();
        for change in removals {
            match datapath.remove(change.map, &change.key) {
                Ok(()) => self.summary.removed += 1,
                Err(error) => errors.push(error),
            }
        }
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
        match all(errors) {
            None => Ok(self.summary),
            Some(error) => {
                Err(error
                    .context("everything new is in place, but something old could not be removed"))
            }
        }
    }

    /// Undoes what was done, last step first, and says so beside the reason.
    async fn take_back(mut self, reason: Error) -> Error {
        let mut errors = Vec::new();
        while let Some(step) = self.undo.pop() {
            if let Err(error) = self.step_back(step).await {
                errors.push(error);
            }
        }
        let pins = match &self.former {
            None => datapath::remove_all(self.instance),
            Some(former) => former.prune(&self.outlook.holdings.links.keys().cloned().collect()),
        };
        errors.extend(pins.err().into_iter().flatten());
        match all(errors) {
            None => reason.context("nothing was changed"),
            Some(error) => {
                reason.context(format!("taking back what was done failed too: {error:#}"))
            }
        }
    }

    async fn step_back(&mut self, step: Undo) -> Result<()> {
        match step {
            Undo::Delete(name) => self.links.delete(&name).await,
            Undo::Adjust(link) => self.links.adjust(&link, self.netns(&link.name)?).await,
            Undo::Row(change) => match (&mut self.former, &change.from) {
                (Some(former), Some(value)) => former.write(change.map, &change.key, value),
                (Some(former), None) => former.remove(change.map, &change.key),
                // The maps go as a whole.
                (None, _) => Ok(()),
            },
            Undo::Attach(ifindex, host_end) => match &mut self.former {
                Some(former) => former.attach(ifindex, &host_end),
                None => Ok(()),
            },
        }
    }

    fn netns(&self, host_end: &str) -> Result<&Netns> {
        self.netns
            .get(host_end)
            .copied()
            .with_context(|| format!("nobody knows where the workload behind {host_end} is"))
    }
}

fn write(datapath: &mut Datapath, change: &RowChange, plan: &Plan) -> Result<()> {
    let value = change.to.as_deref().unwrap_or_default();
    datapath
        .write(change.map, &change.key, value)
        .with_context(|| plan.names.describe(change.map, &change.key, value))
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
fn all(errors: Vec<Error>) -> Option<Error> {
    let mut texts = errors.iter().map(|error| format!("{error:#}"));
    let first = texts.next()?;
    Some(texts.fold(anyhow!(first), |all, text| anyhow!("{all}; {text}")))
}
