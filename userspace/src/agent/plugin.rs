//! Docker's network and IPAM driver: Docker's requests are carried out on what is recorded, and what
//! follows is put into force.
//!
//! Everything that is answered is on the disk first. Then the links of endpoints are made, down, and the
//! planner is told, who knows of Docker's side by its source as of any file. Only when it has attached
//! the datapath do the links go up. Docker waits for that when a container joins, but not long: whoever
//! holds up the planner, Docker's containers start nevertheless, and their links go up later.
//!
//! Docker is not asked for anything while it waits for an answer: it would wait for us, and we for it.

use std::collections::{BTreeMap, BTreeSet};
use std::future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::StatusCode;
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use super::commit::{Cause, LOCK_PATIENCE};
use super::files::Files;
use super::http::{Question, Reply, converse};
use super::indoors::Sandboxes;
use super::socket::{Socket, accept};
use super::store::{LocalStore, Store};
use super::{Event, Scene};
use crate::driver::finding::Finding;
use crate::driver::protocol::{Answer, Call, Unreadable};
use crate::driver::reconcile::Suspects;
use crate::driver::records::{Records, object_name};
use crate::driver::source;
use crate::driver::{self, Setting};
use crate::exchange::List;
use crate::instance::Instance;
use crate::kernel::link::Links;
use crate::ledger::Ledger;
use crate::link::Handover;
use crate::topology::{PortName, Topology};

/// How long Docker waits for the planner: Docker itself would wait for ever, its users would not.
const PATIENCE: Duration = Duration::from_millis(1200);
/// How often it is looked whether containers have died of which nobody said so.
const LOOK_AFTER: Duration = Duration::from_secs(30);
/// What Docker's requests and our answers are (moby, `pkg/plugins/transport`).
const CONTENT_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";
/// What the command line asks for what is recorded.
pub const RECORDS: &str = "Bowline.Records";
/// What it asks for to have a container plugged in.
pub const ATTACH: &str = "Bowline.Attach";
/// What it asks for to have one plugged out.
pub const DETACH: &str = "Bowline.Detach";
/// What it asks for to have the addresses looked through.
pub const CHECK: &str = "Bowline.Check";
/// What it asks for to have an address forgotten that nobody has.
pub const RELEASE: &str = "Bowline.Release";
/// What it asks for to be told the agent's version.
pub const VERSION: &str = "Bowline.Version";
/// What it asks for to have Docker, records and kernel made one again.
pub const REPAIR: &str = "Bowline.Repair";
/// What the interface of an endpoint is called in the topology, where nobody can know how Docker names
/// it.
const INTERFACE: &str = "eth0";

/// How the driver and the planner know of one another: what the driver has changed, by number, and up to
/// which change the planner has put into force.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) wanted: watch::Sender<u64>,
    /// Something has changed that Docker does not wait for: the planner may ask it.
    pub(super) heard: watch::Sender<u64>,
    pub(super) done: watch::Receiver<u64>,
}

pub(super) struct Plugin<'a> {
    pub(super) instance: Instance,
    /// What Docker calls the driver, if there is one.
    pub(super) driver: Option<String>,
    pub(super) ledger: Ledger,
    pub(super) links: Links,
    pub(super) scene: watch::Receiver<Arc<Scene>>,
    pub(super) progress: Progress,
    /// What other hosts are told.
    pub(super) shared: watch::Sender<List>,
    /// Where containers are.
    pub(super) housed: watch::Sender<Sandboxes>,
    pub(super) say: &'a dyn Fn(&Event),
    pub(super) state: Mutex<State>,
}

/// What one request after the other changes.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) records: Records,
    /// It is made when there is something to record.
    pub(super) store: Option<LocalStore>,
    /// Endpoints whose links are not up yet, by the number of the change that they wait for.
    pub(super) rising: BTreeMap<String, u64>,
    pub(super) files: Files,
    /// Where Docker, records and kernel differ.
    pub(super) suspects: Suspects,
    /// What the user was told to do.
    pub(super) said: BTreeSet<Finding>,
    /// Containers that cannot be plugged in as their labels say, by id, and why.
    pub(super) unattached: BTreeMap<String, String>,
    /// Networks of files that cannot be made Docker's, and why.
    pub(super) unmade: BTreeMap<String, String>,
}

impl<'a> Plugin<'a> {
    /// The driver with what is recorded. What it asked for and is not recorded any more is removed.
    pub(super) async fn new(
        instance: &Instance,
        driver: Option<String>,
        scene: watch::Receiver<Arc<Scene>>,
        progress: Progress,
        (shared, housed): (watch::Sender<List>, watch::Sender<Sandboxes>),
        say: &'a dyn Fn(&Event),
    ) -> Result<Self> {
        let plugin = Self {
            instance: instance.clone(),
            driver,
            ledger: Ledger::new(instance),
            links: Links::new(instance)?,
            scene,
            progress,
            shared,
            housed,
            say,
            state: Mutex::default(),
        };
        let mut state = plugin.state.lock().await;
        let path = instance.driver_store();
        if path.exists() {
            let store = LocalStore::open(&path)?;
            state.records = store.read()?;
            state.store = Some(store);
        }
        plugin
            .ledger
            .put_driver_source(source::text(&state.records).as_deref())?;
        state.rising = state
            .records
            .endpoints
            .keys()
            .map(|id| (id.clone(), 0))
            .collect();
        plugin.bury(&mut state).await?;
        plugin.share(&state.records);
        drop(state);
        Ok(plugin)
    }

    /// Answers for as long as it is polled: who asks at the one socket and who asks at the other.
    pub(super) async fn serve(&self, own: &Socket, docker: Option<&Socket>) {
        let answer = async |question: Question| self.reply(&question).await;
        let mut done = self.progress.done.clone();
        let raise = async {
            while done.changed().await.is_ok() {
                self.raise().await;
            }
            future::pending().await
        };
        let converse_with_all = async {
            let mut conversations = FuturesUnordered::new();
            loop {
                tokio::select! {
                    stream = accept(docker) => conversations.push(converse(stream, &answer)),
                    stream = accept(Some(own)) => conversations.push(converse(stream, &answer)),
                    Some(()) = conversations.next() => {}
                }
            }
        };
        let look_after = async {
            loop {
                sleep(LOOK_AFTER).await;
                let mut state = self.state.lock().await;
                if let Err(error) = self.bury(&mut state).await {
                    (self.say)(&Event::Failed(format!("{error:#}")));
                }
            }
        };
        let follow = async {
            match docker {
                Some(_) => self.follow().await,
                None => future::pending().await,
            }
        };
        // Each of them may wait for the other: all are polled all the time.
        tokio::select! {
            () = look_after => {}
            () = follow => {}
            () = raise => {}
            () = converse_with_all => {}
        }
    }

    /// Removes what is empty.
    pub(super) fn finish(self) -> Result<()> {
        let state = self.state.into_inner();
        if !state.records.is_empty() {
            return Ok(());
        }
        if let Some(store) = state.store {
            let lock = self.ledger.lock(LOCK_PATIENCE)?;
            store.remove()?;
            lock.remove_if_empty()?;
        }
        Ok(())
    }

    async fn reply(&self, question: &Question) -> Reply {
        let (status, body) = match self.answer(question).await {
            Ok(body) => (StatusCode::OK, body),
            Err(error) => {
                let status = match error.downcast_ref() {
                    Some(Unreadable::NoSuchMethod(_)) => StatusCode::NOT_FOUND,
                    Some(Unreadable::Malformed { .. }) => StatusCode::BAD_REQUEST,
                    // Docker reads the reason under this status only.
                    None => StatusCode::INTERNAL_SERVER_ERROR,
                };
                let text = format!("{error:#}").replace('\n', "; ");
                (self.say)(&Event::Refused {
                    method: question.path.clone(),
                    why: text.clone(),
                });
                (status, serde_json::json!({ "Err": text }).to_string())
            }
        };
        Reply {
            status,
            content_type: CONTENT_TYPE,
            body,
        }
    }

    async fn answer(&self, question: &Question) -> Result<String> {
        if question.path == REPAIR {
            let request = serde_json::from_slice(&question.body)?;
            return Ok(serde_json::to_string(&self.repair(request).await?)?);
        }
        if question.path == ATTACH {
            let request = serde_json::from_slice(&question.body)?;
            return Ok(serde_json::to_string(&self.attach(request).await?)?);
        }
        if question.path == DETACH {
            let request = serde_json::from_slice(&question.body)?;
            return Ok(serde_json::to_string(&self.detach(request).await?)?);
        }
        if question.path == RELEASE {
            let mut state = self.state.lock().await;
            let mut after = state.records.clone();
            after.release(serde_json::from_slice(&question.body)?, now())?;
            self.commit(&mut state, after, Cause::Event).await?;
            return Ok(serde_json::to_string(&())?);
        }
        if question.path == CHECK {
            let mut state = self.state.lock().await;
            let own = self.scene.borrow().host.clone();
            state.files.read(&self.ledger, own)?;
            return Ok(serde_json::to_string(
                &state.records.check(&state.files.world),
            )?);
        }
        if question.path == VERSION {
            return Ok(serde_json::to_string(env!("CARGO_PKG_VERSION"))?);
        }
        if question.path == RECORDS {
            let state = self.state.lock().await;
            return Ok(serde_json::to_string(&state.records)?);
        }
        let call = Call::read(&question.path, &question.body)?;
        let answer = self.carry_out(&call).await?;
        Ok(serde_json::to_string(&answer)?)
    }

    async fn carry_out(&self, call: &Call) -> Result<Answer> {
        if must_fit(call) {
            // Until the first plan is made nobody knows which host this is. Nothing here marks what was seen,
            // so that this has come to pass once and for all; who cannot plan is no reason to wait for ever.
            let mut scene = self.scene.clone();
            let _late = timeout(PATIENCE, scene.changed()).await;
        }
        let (answer, change) = {
            let mut state = self.state.lock().await;
            let answer = match self.change(&mut state, call).await {
                // Whoever is in the way may be dead.
                Err(_) if must_fit(call) && self.bury(&mut state).await? => {
                    self.change(&mut state, call).await?
                }
                answer => answer?,
            };
            (answer, *self.progress.wanted.borrow())
        };
        // From here on the container could send.
        if matches!(call, Call::Join(_) | Call::Program(_)) {
            let mut done = self.progress.done.clone();
            // What it waits for must not be borrowed any longer than that: the planner writes it.
            let is_late = timeout(PATIENCE, done.wait_for(|done| *done >= change))
                .await
                .is_err();
            if is_late {
                (self.say)(&Event::Failed(
                    "Docker's container starts before its network is ready: something else is being \
                     changed"
                        .to_owned(),
                ));
            }
            self.raise().await;
        }
        Ok(answer)
    }

    /// Carries a request out, so that it survives whatever comes.
    async fn change(&self, state: &mut State, call: &Call) -> Result<Answer> {
        let own = self.scene.borrow().host.clone();
        let read = state.files.read(&self.ledger, own);
        if must_fit(call) {
            read?;
        }
        let setting = Setting {
            world: &state.files.world,
            instance: &self.instance,
            now: now(),
        };
        let (after, answer) = driver::handle(&state.records, call, setting)?;
        let endpoint = match call {
            Call::CreateEndpoint(request) => Some(&request.endpoint),
            Call::Join(request) => Some(&request.endpoint),
            _ => None,
        };
        if after == state.records && endpoint.is_none() {
            return Ok(answer);
        }
        let before = state.records.clone();
        let cause = if must_fit(call) {
            Cause::Request
        } else {
            Cause::Event
        };
        let kept = self.keep(state, after, cause).await?;
        let link = endpoint.and_then(|id| self.link(kept.topology.as_deref()?, id));
        if let Some(link) = link
            && let Err(error) = self.links.hand_over(&link).await
        {
            // Docker does not say that an endpoint is gone that it was refused.
            self.commit(state, before, Cause::Event).await?;
            self.links.take_back(&link.name).await?;
            return Err(error);
        }
        // Who plans leaves out what has no link yet.
        self.have_planned(&kept, cause);
        for id in before.endpoints.keys() {
            if !state.records.endpoints.contains_key(id) {
                self.links
                    .take_back(&self.instance.endpoint_end(id))
                    .await?;
                state.rising.remove(id);
            }
        }
        if let Some(id) = endpoint {
            let change = *self.progress.wanted.borrow();
            state.rising.insert(id.clone(), change);
        }
        Ok(answer)
    }

    /// Forgets the endpoints of containers that are dead, and tells whether there were any. We hear of their
    /// death from Docker, unless nobody was there to hear it.
    async fn bury(&self, state: &mut State) -> Result<bool> {
        let before = state.records.endpoints.len();
        let outcome = self.compare(state, None).await?;
        self.adopt(state, &outcome).await?;
        Ok(state.records.endpoints.len() < before)
    }

    /// The link of an endpoint, as the plan will have it.
    fn link(&self, topology: &Topology, id: &str) -> Option<Handover> {
        let name = PortName {
            workload: object_name(id),
            interface: INTERFACE.to_owned(),
        };
        let port = topology.ports.get(&name)?;
        let network = topology.networks.get(&port.network)?;
        // Until the first plan is made nobody knows what the underlay carries; Ethernet does this.
        let carried = self.scene.borrow().carried;
        let carried = carried.unwrap_or_else(|| 1500 - topology.overhead().min(1500));
        Some(Handover {
            name: self.instance.endpoint_end(id),
            inside: self.instance.endpoint_inside(id),
            alias: self.instance.alias(&name),
            mac: port.mac,
            mtu: port.mtu.within(network.mtu, carried),
        })
    }

    /// Lets the links up that the datapath is attached to.
    async fn raise(&self) {
        let mut state = self.state.lock().await;
        let done = *self.progress.done.borrow();
        let ready = state.rising.iter().filter(|(_, change)| **change <= done);
        let ready: Vec<String> = ready.map(|(id, _)| id.clone()).collect();
        for id in ready {
            let end = self.instance.endpoint_end(&id);
            // A container whose namespace is gone has taken its link with it, and its endpoint goes soon.
            // Until then it is tried again.
            if self.links.raise(&end).await.is_ok() {
                state.rising.remove(&id);
            }
        }
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

/// Whether a request must fit what files declare, and is refused if nobody knows what they do.
const fn must_fit(call: &Call) -> bool {
    matches!(
        call,
        Call::RequestPool(_)
            | Call::RequestAddress(_)
            | Call::CreateNetwork(_)
            | Call::CreateEndpoint(_)
            | Call::Join(_)
            | Call::Program(_)
    )
}
