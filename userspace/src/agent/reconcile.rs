//! Keeps Docker's side true: what Docker has is compared with what is recorded and what the kernel holds,
//! whenever the agent or the engine has started, whenever something has changed there, and on demand.
//!
//! Docker is asked here and nowhere else, and never by somebody that Docker waits for.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};

use super::Event;
use super::plugin::{Plugin, State, now};
use crate::docker::Docker;
use crate::driver::inventory::{Aliases, Inventory};
use crate::driver::reconcile::{CONFIRM_SECONDS, Outcome, Sight, reconcile};
use crate::driver::{Setting, source};

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
        let inventory = docker.inventory(&self.driver).await?;
        let outcome = {
            let mut state = self.state.lock().await;
            let outcome = self.compare(&mut state, Some(&inventory)).await?;
            self.adopt(&mut state, &outcome).await?;
            self.attach_labelled(&mut state, &inventory).await?;
            outcome
        };
        self.learn_aliases(docker, &inventory).await?;
        if news {
            self.progress.heard.send_modify(|number| *number += 1);
        }
        self.strike(docker, &outcome).await;
        self.make_networks(docker, &inventory).await;
        let recently = now().saturating_sub(2 * CONFIRM_SECONDS);
        Ok(outcome.suspects.values().any(|since| *since > recently))
    }

    /// Asks what else containers are called, of which that is not known yet. Docker may be waiting for whoever
    /// changes the state, so nobody has to wait meanwhile.
    async fn learn_aliases(&self, docker: &Docker, inventory: &Inventory) -> Result<()> {
        let unasked = inventory.unasked(&self.state.lock().await.records);
        let mut aliases = Aliases::new();
        for container in unasked {
            aliases.extend(docker.aliases(&container).await?);
        }
        if aliases.is_empty() {
            return Ok(());
        }
        let mut state = self.state.lock().await;
        let mut after = state.records.clone();
        after.note_aliases(&aliases);
        let is_new = source::text(&after) != source::text(&state.records);
        self.record(&mut state, after).await?;
        if is_new {
            self.progress.heard.send_modify(|number| *number += 1);
        }
        Ok(())
    }

    /// Compares because somebody asks for it.
    pub(super) async fn repair(&self, request: RepairRequest) -> Result<Repaired> {
        let docker = connect().await?;
        let mut patience = Some(CONFIRM);
        let outcome = loop {
            let inventory = docker.inventory(&self.driver).await?;
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

    /// What is to be done, given what Docker has, if that is known.
    pub(super) async fn compare(
        &self,
        state: &mut State,
        inventory: Option<&Inventory>,
    ) -> Result<Outcome> {
        let own = self.scene.borrow().host.clone();
        // What files say matters only for what is recorded again; they are complained about elsewhere.
        let _unreadable = state.files.read(&self.ledger, own);
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
        Ok(reconcile(&state.records, sight, setting))
    }

    /// Does what is to be done, but for what Docker has to do.
    pub(super) async fn adopt(&self, state: &mut State, outcome: &Outcome) -> Result<()> {
        let before = source::text(&state.records);
        for id in state.records.endpoints.keys() {
            if !outcome.records.endpoints.contains_key(id) {
                state.rising.remove(id);
            }
        }
        self.record(state, outcome.records.clone()).await?;
        for end in &outcome.links {
            self.links.take_back(end).await?;
        }
        state.suspects = outcome.suspects.clone();
        if source::text(&state.records) != before {
            self.progress.wanted.send_modify(|number| *number += 1);
        }
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
