//! The long-running half of bowline: it asks the other hosts whether they are alive, and keeps what
//! is loaded true while the world around it changes. No packet needs it, and it may be killed at any
//! moment: on return it goes on from what it has written down.
//!
//! Seven things go on at the same time, on one thread. `prober` sends echoes and writes down what came
//! of them; `planner` plans again what is loaded, when that, the record or the host's own situation
//! makes a difference; `plugin` carries out what Docker asks for; `exchange` tells other hosts which containers
//! are here, and hears which are there; `indoors` answers workloads inside their namespaces; `doorman` lets the
//! host itself in to what is published; `metrics` are told to whoever asks. They know of one another by what each
//! of them published last.

pub mod attach;
mod commit;
mod doorman;
pub mod echo;
mod exchange;
mod files;
mod following;
mod http;
mod indoors;
pub mod liveness;
pub mod metrics;
mod networks;
mod notify;
pub mod path_mtu;
mod planner;
pub mod plugin;
mod prober;
pub mod reconcile;
mod socket;
pub mod store;
mod upstream;

use std::collections::BTreeMap;
use std::fmt;
use std::future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use maps_schema::PortId;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use doorman::Doorman;
use exchange::Exchange;
use indoors::{Indoors, Residence, Sandboxes};
use liveness::State;
use planner::Planner;
use plugin::{Plugin, Progress};
use prober::Prober;
use socket::Socket;

use crate::conditions::Surroundings;
use crate::counted::counted;
use crate::directory::Directory;
use crate::doorways::{Doorway, Inside};
use crate::driver::finding::Finding;
use crate::exchange::List;
use crate::instance::Instance;
use crate::kernel::clock;
use crate::kernel::doors::raise_limit;
use crate::plan::Names;
use crate::topology::Tunnel;
use crate::verdicts::{Claim, Verdicts};

/// What the user decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How long it is from one echo to the next.
    pub interval: Duration,
    /// How many echoes in a row must be missed before a peer is down, and how many must come back
    /// before it is up again.
    pub missed: u32,
    /// Where metrics can be read.
    pub metrics: Option<SocketAddr>,
    /// The socket that Docker finds the network driver by; without one there is no driver.
    pub docker: Option<PathBuf>,
}

impl Settings {
    /// What Docker calls the driver: the name of its socket.
    fn driver(&self) -> Option<String> {
        let name = self.docker.as_ref()?.file_stem()?;
        Some(name.to_string_lossy().into_owned())
    }
}

/// Another host, as the agent asks it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Target {
    address: IpAddr,
    /// This host's underlay address.
    local: IpAddr,
    tunnel: Tunnel,
    port: PortId,
    /// The largest IP packet that the uplink carries, in bytes.
    uplink_mtu: u32,
    /// The largest IP packet that the underlay should carry there, in bytes.
    promised_mtu: u32,
}

/// What is loaded, as far as the agent needs it all the time.
#[derive(Default, Debug)]
struct Scene {
    targets: BTreeMap<String, Target>,
    names: Names,
    /// What this host is called in the topology.
    host: Option<String>,
    /// The largest IP packet that fits the underlay through every tunnel, in bytes.
    carried: Option<u32>,
    directory: Directory,
    surroundings: Surroundings,
    /// How the host itself reaches what is published on it.
    doorways: BTreeMap<Doorway, Inside>,
    /// Where the workloads of this host are.
    residences: BTreeMap<String, Residence>,
}

/// What happens that somebody may want to read in a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The agent runs, and asks so many other hosts.
    Started(usize),
    /// A host answers now, or does not answer any more.
    Peer {
        /// Its name.
        name: String,
        /// How it is now.
        state: State,
    },
    /// It became known what the underlay carries to a host.
    PathMtu {
        /// Its name.
        name: String,
        /// The largest IP packet that gets there, in bytes.
        found: u32,
        /// What it should be.
        promised: u32,
    },
    /// What is loaded was planned again, and this was changed in the kernel.
    Changed {
        /// How many links.
        links: usize,
        /// How many rows.
        rows: usize,
    },
    /// Another host has said which containers are there.
    Heard {
        /// Its name.
        name: String,
        /// How many containers.
        members: usize,
    },
    /// Docker was refused something.
    Refused {
        /// The method that it called.
        method: String,
        /// Why.
        why: String,
    },
    /// Docker, what is recorded of it and the kernel differed.
    Found(Finding),
    /// Something went wrong, and will be tried again.
    Failed(String),
}

impl Event {
    /// Whether it is a reason to worry.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        match self {
            Self::Peer { state, .. } => *state == State::Down,
            Self::PathMtu {
                found, promised, ..
            } => found < promised,
            Self::Found(finding) => !finding.is_mended(),
            Self::Failed(_) | Self::Refused { .. } => true,
            Self::Started(_) | Self::Changed { .. } | Self::Heard { .. } => false,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(peers) => write!(f, "running, other hosts: {peers}"),
            Self::Peer { name, state } => write!(f, "peer {name} is {}", state.word()),
            Self::PathMtu {
                name,
                found,
                promised,
            } if found < promised => f.write_str(&narrow(name, *found, *promised)),
            Self::PathMtu { name, found, .. } => {
                write!(f, "packets of up to {found} bytes get to peer {name}")
            }
            Self::Changed { links, rows } => {
                write!(f, "planned again, links changed: {links}, rows: {rows}")
            }
            Self::Heard { name, members } => {
                write!(f, "host {name} shares {}", counted(*members, "container"))
            }
            Self::Found(finding) => write!(f, "{finding}"),
            Self::Refused { method, why } => write!(f, "refused {method}: {why}"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

/// What to say of a host to which only smaller packets get than should.
#[must_use]
pub fn narrow(name: &str, found: u32, promised: u32) -> String {
    format!(
        "packets of up to {found} bytes get to peer {name} and not of {promised}, as its uplink and ours \
         should carry: senders are told, but those who do not listen lose packets; declare the host's \
         `mtu:`, or raise that of the link between"
    )
}

/// Runs until the process is told to end (`SIGTERM`, `SIGINT`). What is in the kernel stays as it is.
///
/// # Errors
///
/// It cannot begin: another agent of the instance runs, the kernel is too old or rights are missing,
/// or the address for metrics is taken.
pub async fn run(instance: &Instance, settings: &Settings, say: &dyn Fn(&Event)) -> Result<()> {
    let _claim = Claim::take(instance)?;
    let mut stop = Stop::listen()?;
    let metrics = match settings.metrics {
        Some(address) => {
            let listener = TcpListener::bind(address).await;
            Some(listener.with_context(|| format!("listen at {address} for metrics"))?)
        }
        None => None,
    };
    // What an agent before this one found holds until more is known: nothing moves because of a restart.
    let former = Verdicts {
        pid: std::process::id(),
        written_ns: clock::precise_ns(),
        interval_ms: settings.interval.as_millis() as u64,
        ..Verdicts::read(instance).unwrap_or_default()
    };
    former.write(instance)?;
    let (scenes, scene) = watch::channel(Arc::new(Scene::default()));
    let (found, verdicts) = watch::channel(Arc::new(former));
    let prober = Prober::new(instance, settings, scene.clone(), found, say);
    // What the agent before this one was asked for is still to be planned.
    let (wanted, wishes) = watch::channel(1);
    let (carried_out, done) = watch::channel(0);
    let (heard, news) = watch::channel(0);
    let wishes = planner::Wishes {
        wanted: wishes,
        heard: news,
        done: carried_out,
    };
    let planner = Planner::new(instance, settings, scenes, verdicts.clone(), wishes, say)?;
    // Whoever connects meanwhile waits.
    let docker = settings.docker.as_deref();
    let docker = docker.map(Socket::of_docker).transpose()?;
    let own = Socket::at(&instance.driver_socket())?;
    let (shared, own_list) = watch::channel(List::default());
    let (housed, sandboxes) = watch::channel(Sandboxes::default());
    let doorman = Doorman::new(scene.clone(), sandboxes.clone(), say, raise_limit())?;
    let indoors = Indoors::new(instance, scene.clone(), sandboxes, verdicts.clone(), say);
    let exchange = Exchange::new(instance, scene.clone(), own_list, heard.clone(), say);
    let progress = Progress {
        wanted,
        heard,
        done,
    };
    let driver = settings.driver();
    let plugin = Plugin::new(
        instance,
        driver,
        scene.clone(),
        progress,
        (shared, housed),
        say,
    )
    .await?;
    let serve = async {
        match metrics {
            Some(listener) => metrics::serve(&listener, instance, &scene, &verdicts).await,
            None => future::pending().await,
        }
    };
    tokio::select! {
        () = prober.run() => {}
        () = exchange.run() => {}
        () = indoors.run() => {}
        () = doorman.run() => {}
        () = serve => {}
        () = plugin.serve(&own, docker.as_ref()) => {}
        result = planner.run(&mut stop) => result?,
    }
    notify::stopping();
    indoors.finish().await;
    drop((own, docker));
    plugin.finish()?;
    // Whoever reads it need not wait to find out that nobody asks any more.
    let last = Verdicts {
        written_ns: 0,
        ..verdicts.borrow().as_ref().clone()
    };
    last.write(instance)
}

/// The signals that end the agent.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("wait for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
