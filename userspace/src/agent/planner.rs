//! Keeps what is loaded true: when the record changes, when hosts die or come back, and when this
//! host's own addresses, uplink or routes change.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::indoors::Residence;
use super::{Event, Scene, Settings, Stop, Target, notify};
use crate::conditions::Surroundings;
use crate::directory::Directory;
use crate::doorways::doorways;
use crate::host::{Host, Outlook};
use crate::instance::Instance;
use crate::kernel::changes::Changes;
use crate::ledger::{Ledger, LockError, Stamp};
use crate::plan::Situation;
use crate::topology::{Place, Topology};
use crate::verdicts::Verdicts;

/// How long changes of the host's situation are gathered.
const SETTLE: Duration = Duration::from_millis(200);
/// How long to wait for another process that changes the instance.
const BUSY: Duration = Duration::from_millis(100);
/// After how long something that failed is tried again.
const AGAIN: Duration = Duration::from_secs(10);

pub(super) struct Planner<'a> {
    host: Host,
    ledger: Ledger,
    scenes: watch::Sender<Arc<Scene>>,
    verdicts: watch::Receiver<Arc<Verdicts>>,
    say: &'a dyn Fn(&Event),
    changes: Changes,
    wishes: Wishes,
    /// How often to look at the record.
    look: Duration,
    stamp: Option<Stamp>,
    /// What the last plan was made of; nothing if nothing is loaded.
    planned: Option<Planned>,
    /// Whether the kernel may hold what nothing asks for any more.
    may_hold: bool,
    trouble: Option<String>,
}

/// What Docker's driver has changed, by number, and up to which change it is in force.
pub(super) struct Wishes {
    pub(super) wanted: watch::Receiver<u64>,
    /// Docker's containers have changed, or what is recorded of them has.
    pub(super) heard: watch::Receiver<u64>,
    pub(super) done: watch::Sender<u64>,
}

struct Planned {
    topology: Topology,
    situation: Situation,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        instance: &'a Instance,
        settings: &Settings,
        scenes: watch::Sender<Arc<Scene>>,
        verdicts: watch::Receiver<Arc<Verdicts>>,
        wishes: Wishes,
        say: &'a dyn Fn(&Event),
    ) -> Result<Self> {
        Ok(Self {
            host: Host::new(instance)?,
            ledger: Ledger::new(instance),
            scenes,
            verdicts,
            say,
            changes: Changes::listen()?,
            wishes,
            look: settings.interval.min(Duration::from_secs(1)),
            stamp: None,
            planned: None,
            // The agent before this one may have died before it had taken everything away.
            may_hold: true,
            trouble: None,
        })
    }

    /// Plans until it is told to stop. What has begun is finished first.
    pub(super) async fn run(mut self, stop: &mut Stop) -> Result<()> {
        let mut looks = interval(self.look);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // When to plan again, and when to look whether the host's situation has changed.
        let mut due = Some(Instant::now());
        let mut moved: Option<Instant> = None;
        let mut is_ready = false;
        loop {
            let now = Instant::now();
            if moved.is_some_and(|at| at <= now) {
                moved = None;
                if self.has_moved().await {
                    due = Some(now);
                }
            }
            if due.is_some_and(|at| at <= now) {
                due = self.plan().await.map(|pause| Instant::now() + pause);
                if !is_ready && due.is_none_or(|_| self.trouble.is_some()) {
                    is_ready = true;
                    (self.say)(&Event::Started(self.scenes.borrow().targets.len()));
                    notify::ready();
                }
            }
            let wake = [due, moved].into_iter().flatten().min();
            tokio::select! {
                biased;
                () = stop.wait() => return Ok(()),
                () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
                Ok(()) = self.verdicts.changed() => {
                    if self.makes_difference() {
                        due = Some(Instant::now());
                    }
                }
                // The mark stays: whoever plans takes it. Who is to plan later anyhow, because somebody else is
                // busy, does so then.
                true = has_changed(&mut self.wishes.wanted), if due.is_none() => {
                    due = Some(Instant::now());
                }
                Ok(()) = self.wishes.heard.changed() => {
                    if self.stamp != Some(self.ledger.stamp()) || self.has_containers() {
                        due = Some(Instant::now());
                    }
                }
                result = self.changes.next() => {
                    result?;
                    moved = moved.or(Some(Instant::now() + SETTLE));
                }
                _ = looks.tick() => {
                    if self.stamp != Some(self.ledger.stamp()) {
                        due = Some(Instant::now());
                    }
                }
            }
        }
    }

    /// Whether what was found out about other hosts is not yet in the plan.
    fn makes_difference(&mut self) -> bool {
        let verdicts = Arc::clone(&self.verdicts.borrow_and_update());
        self.planned.as_ref().is_some_and(|planned| {
            let mut situation = planned.situation.clone();
            verdicts.apply(&planned.topology, &mut situation);
            situation != planned.situation
        })
    }

    /// Whether containers are plugged in that Docker gives no network.
    fn has_containers(&self) -> bool {
        let workloads = self
            .planned
            .iter()
            .flat_map(|it| it.topology.workloads.values());
        let mut places = workloads.map(|it| &it.place);
        places.any(|place| matches!(place, Place::Container(_)))
    }

    /// Whether this host is in another situation than the one that was planned for.
    async fn has_moved(&self) -> bool {
        let Some(planned) = &self.planned else {
            return false;
        };
        // An error is told by the plan.
        let now = self.host.underlay_of(&planned.topology).await;
        now.map_or(true, |(uplink, next_hops)| {
            (&uplink, &next_hops) != (&planned.situation.uplink, &planned.situation.next_hops)
        })
    }

    /// Plans again what is recorded, and applies it. Returns after how long to do so again, if that is
    /// to be.
    async fn plan(&mut self) -> Option<Duration> {
        let stamp = self.ledger.stamp();
        let mut asking = Asking::of(&mut self.wishes.wanted);
        match self.try_plan(&mut asking).await {
            Ok(true) => {
                // A change that nobody asked the engine about is looked at again soon.
                if asking.may_ask {
                    self.stamp = Some(stamp);
                }
                self.trouble = None;
                self.wishes.done.send_replace(asking.number);
                None
            }
            Ok(false) => {
                self.wishes.wanted.mark_changed();
                Some(BUSY)
            }
            // What is half done looks wrong.
            Err(_) if self.is_busy() => {
                self.wishes.wanted.mark_changed();
                Some(BUSY)
            }
            Err(error) => {
                self.stamp = Some(stamp);
                let trouble = format!("{error:#}");
                if self.trouble.as_ref() != Some(&trouble) {
                    (self.say)(&Event::Failed(trouble.clone()));
                    self.trouble = Some(trouble);
                }
                Some(AGAIN)
            }
        }
    }

    /// Whether another process is changing the instance.
    fn is_busy(&self) -> bool {
        match self.ledger.lock(Duration::ZERO) {
            Err(LockError::Busy { .. }) => true,
            Err(LockError::File { .. }) => false,
            Ok(lock) => {
                // If that fails, an empty folder is left over.
                let _left = lock.remove_if_empty();
                false
            }
        }
    }

    /// Looks at what is there. The engine, once it waits for us, has no answer for us any more: then it is
    /// not waited for.
    async fn look(&mut self, asking: &mut Asking) -> Result<Outlook> {
        if asking.may_ask {
            let interrupted = tokio::select! {
                biased;
                is_new = has_changed(&mut self.wishes.wanted) => is_new,
                outlook = self.host.look(None) => return outlook,
            };
            if interrupted {
                *asking = Asking::of(&mut self.wishes.wanted);
            }
        }
        self.host.look_aside().await
    }

    /// Whether another process did not come first.
    async fn try_plan(&mut self, asking: &mut Asking) -> Result<bool> {
        if self.ledger.sources()?.is_empty() {
            // The last network of Docker's is gone; who unloads the last file clears up by itself.
            if self.may_hold && self.ledger.is_dockers() {
                let lock = match self.ledger.lock(Duration::ZERO) {
                    Err(LockError::Busy { .. }) => return Ok(false),
                    lock => lock?,
                };
                let outlook = self.look(asking).await?;
                self.host.load(&lock, &outlook).await?;
                lock.remove_if_empty()?;
            }
            (self.planned, self.may_hold) = (None, false);
            self.scenes.send_replace(Arc::default());
            return Ok(true);
        }
        // Where Docker waits there is something to do; else who loads by hand meanwhile is not held up for
        // nothing.
        let mut lock = None;
        if !asking.may_ask {
            lock = match self.ledger.lock(Duration::ZERO) {
                Err(LockError::Busy { .. }) => return Ok(false),
                lock => Some(lock?),
            };
        }
        let mut outlook = self.look(asking).await?;
        if lock.is_none() && !outlook.diff.is_empty() {
            lock = match self.ledger.lock(Duration::ZERO) {
                Err(LockError::Busy { .. }) => return Ok(false),
                lock => Some(lock?),
            };
            outlook = self.look(asking).await?;
        }
        if let Some(lock) = lock {
            let summary = self.host.load(&lock, &outlook).await?;
            lock.remove_if_empty()?;
            if !summary.is_empty() {
                (self.say)(&Event::Changed {
                    links: summary.created + summary.adjusted + summary.deleted,
                    rows: summary.written + summary.removed,
                });
            }
        }
        self.may_hold = true;
        let targets = targets(&outlook);
        let residences = residences(&outlook, &self.scenes.borrow());
        let Outlook {
            topology,
            situation,
            plan,
            ..
        } = outlook;
        self.scenes.send_replace(Arc::new(Scene {
            targets,
            directory: Directory::of(&topology),
            surroundings: Surroundings::of(&topology, situation.host.as_deref(), plan.carried),
            doorways: doorways(&topology, situation.host.as_deref(), addresses(&situation)),
            residences,
            names: plan.names,
            host: plan.host,
            carried: Some(plan.carried),
        }));
        self.planned = Some(Planned {
            topology,
            situation,
        });
        Ok(true)
    }
}

/// Whether the Docker engine may be asked: not while it waits for what its driver has changed.
struct Asking {
    /// The change that is to be in force.
    number: u64,
    may_ask: bool,
}

impl Asking {
    fn of(wanted: &mut watch::Receiver<u64>) -> Self {
        let is_new = wanted.has_changed().unwrap_or(false);
        Self {
            number: *wanted.borrow_and_update(),
            may_ask: !is_new,
        }
    }
}

/// Waits until there is a change that nobody has taken yet.
async fn has_changed(wanted: &mut watch::Receiver<u64>) -> bool {
    let is_new = wanted.changed().await.is_ok();
    if is_new {
        wanted.mark_changed();
    }
    is_new
}

/// The addresses of the uplink.
fn addresses(situation: &Situation) -> &[IpAddr] {
    let uplink = situation.uplink.as_ref();
    uplink.map_or(&[], |uplink| uplink.addresses.as_slice())
}

/// Where the workloads of this host are. A container that nobody was asked about is where it was.
fn residences(outlook: &Outlook, former: &Scene) -> BTreeMap<String, Residence> {
    let own = outlook.situation.host.as_deref();
    let workloads = outlook.topology.workloads.iter();
    let here = workloads.filter(|(_, it)| it.host.is_none() || it.host.as_deref() == own);
    let found = here.filter_map(|(name, workload)| {
        let residence = match &workload.place {
            Place::Netns(netns) => Residence::Netns(netns.clone()),
            Place::Pid(pid) => Residence::Pid(*pid),
            Place::Endpoint(id) => Residence::Endpoint(id.clone()),
            // The host asks whom it always asks.
            Place::Host => return None,
            Place::Container(_) => match outlook.places.pid(name) {
                Some(pid) => Residence::Pid(pid),
                None => former.residences.get(name)?.clone(),
            },
        };
        Some((name.clone(), residence))
    });
    found.collect()
}

/// The hosts to ask.
fn targets(outlook: &Outlook) -> BTreeMap<String, Target> {
    let (topology, situation) = (&outlook.topology, &outlook.situation);
    let own = situation.host.as_ref();
    let own = own.and_then(|name| Some((name, topology.hosts.get(name)?.address)));
    let uplink = outlook.plan.uplink.as_ref().and(situation.uplink.as_ref());
    let (Some((own, local)), Some(uplink)) = (own, uplink) else {
        return Default::default();
    };
    let target = |name: &String, address: IpAddr, port| Target {
        address,
        local,
        tunnel: topology.tunnel(own, name),
        port,
        uplink_mtu: uplink.mtu,
        promised_mtu: situation.promised_mtu(topology, name).unwrap_or(uplink.mtu),
    };
    let others = topology.hosts.iter().filter(|(name, _)| *name != own);
    others
        .map(|(name, host)| (name.clone(), target(name, host.address, host.id)))
        .collect()
}
