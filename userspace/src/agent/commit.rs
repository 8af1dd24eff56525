//! The one way in which what is recorded of Docker's side changes: it is compiled together with the files,
//! kept on the disk, and then told to everybody whom it concerns.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{sleep, timeout};

use super::plugin::{Plugin, State};
use super::store::{LocalStore, Store};
use crate::driver::member::Member;
use crate::driver::records::Records;
use crate::driver::source;
use crate::exchange::List;
use crate::ledger::{LockError, Locked};
use crate::topology::Topology;

/// How long to wait for another process that changes the instance, before anything of Docker's is
/// recorded for the first time.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Why something else is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// Docker asks for it, and waits.
    Request,
    /// Labels or a user ask for it: whoever plans has to ask Docker where the container is.
    Attachment,
    /// It has happened, or Docker takes something away, which nobody can refuse.
    Event,
}

/// What is recorded now.
pub(super) struct Kept {
    /// What it is together with the files, if it had to hold together with them.
    pub(super) topology: Option<Arc<Topology>>,
    /// Whether there is anything to be planned.
    is_new: bool,
}

impl Plugin<'_> {
    /// Makes `after` what is recorded, and has it planned. What somebody asks for has to hold together with
    /// the files, or nothing is changed.
    pub(super) async fn commit(
        &self,
        state: &mut State,
        after: Records,
        cause: Cause,
    ) -> Result<()> {
        let kept = self.keep(state, after, cause).await?;
        self.have_planned(&kept, cause);
        Ok(())
    }

    /// As above, but that it is not planned before [`Plugin::have_planned`] says so.
    pub(super) async fn keep(
        &self,
        state: &mut State,
        after: Records,
        cause: Cause,
    ) -> Result<Kept> {
        let text = source::text(&after);
        let topology = match cause {
            Cause::Request | Cause::Attachment => Some(state.files.with(text.as_deref())?),
            // If the rest does not hold together, the planner tells; what is gone is gone nevertheless.
            Cause::Event => None,
        };
        if after == state.records {
            let is_new = false;
            return Ok(Kept { topology, is_new });
        }
        let store = match &state.store {
            Some(store) => store,
            None => {
                // The state folder must not be taken away for being empty in between.
                let lock = self.lock().await?;
                let store = LocalStore::open(&self.instance.driver_store())?;
                drop(lock);
                state.store.insert(store)
            }
        };
        store.write(&state.records, &after)?;
        let is_new = text != source::text(&state.records);
        if is_new && let Err(error) = self.ledger.put_driver_source(text.as_deref()) {
            // On the disk is what Docker was told, and no more.
            store.write(&after, &state.records)?;
            return Err(error);
        }
        state.records = after;
        self.share(&state.records);
        Ok(Kept { topology, is_new })
    }

    /// Has planned what is recorded now, if that is anything new.
    pub(super) fn have_planned(&self, kept: &Kept, cause: Cause) {
        if kept.is_new {
            let planner = match cause {
                Cause::Request | Cause::Event => &self.progress.wanted,
                Cause::Attachment => &self.progress.heard,
            };
            planner.send_modify(|number| *number += 1);
        }
    }

    /// Tells other hosts and the workloads themselves what is on the disk.
    pub(super) fn share(&self, records: &Records) {
        let housed = records.endpoints.iter().filter_map(|(id, endpoint)| {
            let sandbox = endpoint.sandbox.clone()?;
            Some((id.clone(), sandbox))
        });
        self.housed.send_replace(housed.collect());
        let list = List::of(Member::shared(records));
        self.shared.send_if_modified(|told| {
            let is_new = *told != list;
            *told = list;
            is_new
        });
    }

    async fn lock(&self) -> Result<Locked> {
        let again = async {
            loop {
                match self.ledger.lock(Duration::ZERO) {
                    Err(LockError::Busy { .. }) => {
                        sleep(Duration::from_millis(20)).await;
                    }
                    lock => return Ok(lock?),
                }
            }
        };
        match timeout(LOCK_PATIENCE, again).await {
            Ok(lock) => lock,
            Err(_) => bail!("another bowline is changing the instance: try again"),
        }
    }
}
