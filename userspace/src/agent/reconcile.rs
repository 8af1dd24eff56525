//! Keeps Docker's side true: what Docker has is compared with what is recorded and what the kernel holds,
//! whenever the agent or the engine has started, whenever something has changed there, and on demand.
//!
//! Docker is asked here and nowhere else, and never by somebody that Docker waits for.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};

use super::Event;
use super::commit::Cause;
use super::plugin::{Plugin, State, now};
use crate::docker::Docker;
use crate::driver::inventory::Inventory;
use crate::driver::reconcile::{CONFIRM_SECONDS, Outcome, Sight, obscure, reconcile};
use crate::driver::records::Records;
use crate::driver::{Refusal, Setting, source};

/// How long changes are gathered.
const SETTLE: Duration = Duration::from_millis(100);
/// How often Docker is asked although it has not said that anything has changed.
const LOOK: Duration = Duration::from_secs(60);
/// How long to wait for an engine that is not there.
const AGAIN: Duration = Duration::from_secs(2);
/// A difference must be there for so long.
const CONFIRM: Duration = Duration::from_secs(CONFIRM_SECONDS);

/// What the command line asks for.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct RepairRequest {
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Repaired {
    /// What was found.
    pub findings: Vec<Repair>,
}

/// One thing that was wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Repair {
    /// What it is, and what is to be done.
    pub finding: String,
    /// Whether it is put right by us; else the user has to.
    pub mended: bool,
}

impl Plugin<'_> {
    /// Follows the engine for as long as it is polled.
    pub(super) async fn follow(&self) {
        let mut trouble = None;
        loop {
            if let Err(error) = self.follow_engine().await {
                let text = format!("{error:#}");
                // An agent without an engine is nothing unusual.
                if trouble.as_ref() != Some(&text) && self.is_dockers().await {
                    (self.say)(&Event::Failed(format!(
                        "what Docker has is not known: {text}"
                    )));
                }
                trouble = Some(text);
            }
            sleep(AGAIN).await;
        }
    }

    /// Follows the engine for as long as it is there.
    async fn follow_engine(&self) -> Result<()> {
        let docker = connect().await?;
        let mut changes = docker.changes();
        let mut scene = self.scene.clone();
        scene.mark_unchanged();
        let mut due = Instant::now();
        // Whether Docker has told of something since the planner heard of it last.
        let mut news = true;
        loop {
            tokio::select! {
                biased;
                change = changes.next() => {
                    change.context("it has nothing more to say")??;
                    news = true;
                    due = due.min(Instant::now() + SETTLE);
                }
                // A file may have brought a network that is to be Docker's, or that a container waits for.
                Ok(()) = scene.changed() => {
                    due = due.min(Instant::now() + SETTLE);
                }
                () = sleep_until(due) => {
                    let is_open = self.look(&docker, news).await?;
                    news = false;
                    due = Instant::now() + if is_open { CONFIRM } else { LOOK };
                }
            }
        }
    }

    /// Compares once, does what is to be done, and lets the planner know if there are news. Tells whether something must be looked at again.
    async fn look(&self, docker: &Docker, news: bool) -> Result<bool> {
        let inventory = self.inventory(docker).await?;
        let outcome = {
            let mut state = self.state.lock().await;
            let outcome = self.compare(&mut state, Some(&inventory)).await?;
            self.adopt(&mut state, &outcome).await?;
            self.attach_labelled(&mut state, &inventory).await?;
            outcome
        };
        if news {
            self.progress.heard.send_modify(|number| *number += 1);
        }
        self.strike(docker, &outcome).await;
        self.make_networks(docker, &inventory).await;
        let recently = now().saturating_sub(2 * CONFIRM_SECONDS);
        Ok(outcome.suspects.values().any(|since| *since > recently))
    }

    /// Compares because somebody asks for it.
    pub(super) async fn repair(&self, request: RepairRequest) -> Result<Repaired> {
        if self.driver.is_none() {
            // Nothing in Docker is ours.
            if request.dry_run {
                return Ok(Repaired::default());
            }
            bail!(
                "this agent is no driver of Docker's (`--docker off`) and must not touch what is: start it \
                 without that"
            );
        }
        let docker = connect().await?;
        let mut patience = Some(CONFIRM);
        let outcome = loop {
            let inventory = self.inventory(&docker).await?;
            let mut state = self.state.lock().await;
            let outcome = self.compare(&mut state, Some(&inventory)).await?;
            state.suspects = outcome.suspects.clone();
            if !outcome.suspects.is_empty()
                && let Some(patience) = patience.take()
            {
                drop(state);
                sleep(patience).await;
                continue;
            }
            if !request.dry_run {
                self.adopt(&mut state, &outcome).await?;
            }
            break outcome;
        };
        if !request.dry_run {
            self.strike(&docker, &outcome).await;
        }
        let findings = outcome.findings.iter();
        let findings = findings.map(|finding| Repair {
            finding: finding.to_string(),
            mended: finding.is_mended(),
        });
        Ok(Repaired {
            findings: findings.collect(),
        })
    }

    /// What Docker has.
    pub(super) async fn inventory(&self, docker: &Docker) -> Result<Inventory> {
        let obscure = {
            let state = self.state.lock().await;
            obscure(&state.suspects, &state.records)
        };
        let driver = self.driver.as_deref();
        Ok(docker.inventory(driver, &obscure).await?)
    }

    /// What is to be done, given what Docker has, if that is known.
    pub(super) async fn compare(
        &self,
        state: &mut State,
        inventory: Option<&Inventory>,
    ) -> Result<Outcome> {
        let own = self.scene.borrow().host.clone();
        // What files say matters only for what is recorded again; they are complained about elsewhere.
        let read = state.files.read(&self.ledger, own);
        let read = read.map_err(|error| Refusal(format!("{error:#}")));
        let links = self.links.handed_over().await?;
        let setting = Setting {
            world: &state.files.world,
            instance: &self.instance,
            now: now(),
        };
        let sight = Sight {
            inventory,
            links: &links,
            suspects: &state.suspects,
        };
        let fits = |after: &Records| {
            read.clone()?;
            state.files.fit(source::text(after).as_deref())
        };
        Ok(reconcile(&state.records, sight, setting, &fits))
    }

    /// Does what is to be done, but for what Docker has to do.
    pub(super) async fn adopt(&self, state: &mut State, outcome: &Outcome) -> Result<()> {
        for id in state.records.endpoints.keys() {
            if !outcome.records.endpoints.contains_key(id) {
                state.rising.remove(id);
            }
        }
        let after = outcome.records.clone();
        self.commit(state, after, Cause::Event).await?;
        for end in &outcome.links {
            self.links.take_back(end).await?;
        }
        state.suspects = outcome.suspects.clone();
        // What the user has to mend is said once.
        for finding in &outcome.findings {
            if finding.is_mended() || !state.said.contains(finding) {
                (self.say)(&Event::Found(finding.clone()));
            }
        }
        let findings = outcome.findings.iter();
        let unmended: BTreeSet<_> = findings.filter(|it| !it.is_mended()).cloned().collect();
        if !unmended.is_empty() || outcome.suspects.is_empty() {
            state.said = unmended;
        }
        Ok(())
    }

    async fn strike(&self, docker: &Docker, outcome: &Outcome) {
        for strike in &outcome.strikes {
            if let Err(error) = docker.strike(strike).await {
                (self.say)(&Event::Failed(error.to_string()));
            }
        }
    }

    async fn is_dockers(&self) -> bool {
        !self.state.lock().await.records.is_empty()
    }
}

/// Connecting waits for the engine, and the engine may be waiting for us.
pub(super) async fn connect() -> Result<Docker> {
    Ok(tokio::task::spawn_blocking(Docker::connect).await??)
}
