//! Case files: a topology, the frames that its workloads send, and what must become of each.
//!
//! A file holds two YAML documents. The first is a topology in bowline's own format; the second is a
//! list of steps, taken in order with the tables as the steps before left them:
//!
//! ```yaml
//! - from: web                           # a workload, or WORKLOAD/INTERFACE
//!   send: { ipv4: { to: db }, udp: [40000, 53] }        # see the module `frame`
//!   expect: { deliver: db }
//! - wait: 2                             # seconds pass
//! - unplug: db                          # the workload is gone, its addresses are still known
//! ```
//!
//! In a topology with hosts, the case plays on the one that is called `here`. What a workload of another
//! one sends comes from the underlay in its host's tunnel, and what is for it leaves that way. `through`
//! says what is unusual about the packet of the underlay (`case/underlay.rs`):
//!
//! ```yaml
//! - from: far
//!   through: { from: 192.0.2.99 }       # or peer, to, tunnel, vni, class, options, change, cut
//!   send: { ipv4: { to: db }, udp: [1, 2] }
//!   expect: { drop: unknown_peer }
//! ```
//!
//! What may be expected is `deliver: PORT`, `flood: [PORT, ...]`, `drop: REASON` or
//! `reply: { ... }`, with the answer described like a frame that is sent; in place of a port there may be
//! the name of a host or a VTEP. What comes from the underlay may also be expected to `pass: host`, or to
//! `mark: { to: db, class: 3 }`, which is delivered with another traffic class. Of routers one expects
//!
//! ```yaml
//! consume: core/back                                  # the router's port that was told something
//! forward: { to: db, by: core/back }                  # through one router, or `hops: N`
//! forward: { to: db, by: core/back, station: MAC }    # one of several stations behind the port
//! forward: { to: db, by: core/back, mss: [22, 1260] }  # the segment size in the TCP header's byte 22
//! error: { drop: no_route, by: core/front, icmp: [3, 0] }   # and `mtu: N` where one is named
//! reset: { drop: router_service, by: core/front, flags: "R.", acknowledgment: 2 }
//! ask: { by: core/back, for: 10.2.0.99, of: [db, cache] }
//! ```
//!
//! whose bytes follow from the frame that was sent. Everything else follows too and is checked each
//! time: which counters move, that all others stay, and that the frame is as it was unless it became
//! another one.
//!
//! The same files run on the host ([`host::Host`]) and in the kernel (the test binary), and each
//! runner's [`Outcome`] is compared with what the file expects.

pub mod host;
mod outcome;
mod routed;
mod underlay;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bowline::document;
use bowline::instance::Instance;
use bowline::plan::{Plan, Situation, Uplink};
use bowline::topology::{self, PortName, Topology};
use maps_schema::{DropReason, IfIndex};
use serde::Deserialize;

use crate::cast::Cast;
use crate::frame::Description;
pub use outcome::{Counters, Fate, Outcome, Receiver};
use underlay::Through;
pub use underlay::{Peer, receiver_of, without_macs};

/// What a case's own host is called in a topology with hosts.
pub const HERE: &str = "here";
/// What its interface to the underlay is called.
pub const UPLINK: &str = "up0";
/// What its underlay carries, in bytes.
const UNDERLAY_MTU: u32 = 1500;

/// A case file, read.
#[derive(Debug)]
pub struct Case {
    /// The file's name without its ending.
    pub name: String,
    /// Its topology.
    pub topology: Topology,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Debug)]
pub enum Step {
    /// A workload sends a frame.
    Send(Box<Send>),
    /// Time passes.
    Wait(Duration),
    /// A workload is gone: nothing is behind its port any more.
    Unplug(PortName),
}

/// A frame and what must become of it.
#[derive(Debug)]
pub struct Send {
    /// Who sends it.
    pub from: PortName,
    /// Its bytes, as the workload sends them.
    pub frame: Vec<u8>,
    /// What brings it, if the workload is on another host.
    pub arrival: Option<Arrival>,
    /// The network that it is in at the end of its way.
    pub vni: u32,
    /// What must become of it.
    pub expect: Fate,
}

/// A packet on the underlay.
#[derive(Debug)]
pub struct Arrival {
    /// Who sends it.
    pub peer: String,
    /// Its bytes.
    pub wire: Vec<u8>,
}

impl Send {
    /// The bytes that come in.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        match &self.arrival {
            Some(arrival) => &arrival.wire,
            None => &self.frame,
        }
    }

    /// Where it comes from, as the case's host sees it.
    #[must_use]
    pub fn origin(&self) -> Receiver {
        match &self.arrival {
            Some(arrival) => Receiver::Peer(arrival.peer.clone()),
            None => Receiver::Port(self.from.clone()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    from: Option<String>,
    through: Option<Through>,
    send: Option<Description>,
    expect: Option<RawExpectation>,
    wait: Option<f64>,
    unplug: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawExpectation {
    Deliver(String),
    Mark(Mark),
    Pass(Host),
    Flood(Vec<String>),
    Consume(String),
    Drop(String),
    Reply(Box<Description>),
    Forward(routed::Forward),
    Error(routed::Error),
    Reset(routed::Reset),
    Ask(routed::Ask),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Host {
    Host,
}

/// The frame is delivered with what the outer header said about congestion.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    to: String,
    class: u8,
}

impl Case {
    /// The names of all case files, in order.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn names() -> Result<Vec<String>> {
        let folder = folder();
        let entries =
            fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
        let mut names = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "yaml") {
                let stem = path.file_stem().and_then(|stem| stem.to_str());
                names.push(stem.context("a file's name is no text")?.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Reads the case file of this name.
    ///
    /// # Errors
    /// There is none, or it is none; the message says where.
    pub fn read(name: &str) -> Result<Self> {
        let path = folder().join(name).with_extension("yaml");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(name, &text).with_context(|| format!("in {}", path.display()))
    }

    /// Reads a case from a file's text.
    ///
    /// # Errors
    /// The text is none.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let (topology, steps) = text
            .split_once("\n---\n")
            .context("the topology and the steps are parted by a line of three hyphens")?;
        let topology = compile(name, topology)?;
        let raw: Vec<RawStep> = serde_saphyr::from_str(steps)
            .map_err(|error| anyhow!("the steps cannot be read: {error}"))?;
        let steps = (1..)
            .zip(raw)
            .map(|(number, raw)| step(&topology, raw).with_context(|| format!("step {number}")))
            .collect::<Result<_>>()?;
        let name = name.to_owned();
        Ok(Self {
            name,
            topology,
            steps,
        })
    }

    /// Whether the case's host has an interface to the underlay.
    #[must_use]
    pub fn has_uplink(&self) -> bool {
        !self.topology.hosts.is_empty()
    }

    /// The plan of the topology, for an instance of the case's own, with the interface to the underlay
    /// if it has one.
    ///
    /// # Panics
    /// The case's name cannot name an instance.
    #[must_use]
    pub fn plan(&self, uplink: IfIndex) -> Plan {
        let instance = Instance::new(Some("case")).expect("a short name");
        let situation = if self.has_uplink() {
            Situation {
                host: Some(HERE.to_owned()),
                uplink: Some(Uplink {
                    interface: UPLINK.to_owned(),
                    ifindex: uplink,
                    mtu: UNDERLAY_MTU,
                    driver: None,
                }),
                ..Situation::default()
            }
        } else {
            Situation::default()
        };
        Plan::new(&self.topology, &instance, &situation)
    }

    /// Which name each port's interface has on the host, in a plan.
    #[must_use]
    pub fn host_ends(plan: &Plan) -> BTreeMap<PortName, String> {
        plan.links
            .iter()
            .map(|(host_end, planned)| (planned.name.clone(), host_end.clone()))
            .collect()
    }

    /// Interface indexes for a plan that is not realized: 1001 and so on.
    #[must_use]
    pub fn imagined_interfaces(plan: &Plan) -> BTreeMap<String, IfIndex> {
        let indexes = (1001..).map(IfIndex);
        plan.links.keys().cloned().zip(indexes).collect()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

/// Reads and compiles a topology.
///
/// # Errors
/// All that is wrong with it.
pub fn compile(path: &str, text: &str) -> Result<Topology> {
    let problems = match document::parse(path, text) {
        Ok(document) => match topology::compile(&[document]) {
            Ok(topology) => return Ok(topology),
            Err(problems) => problems,
        },
        Err(problems) => problems,
    };
    let messages: Vec<_> = problems
        .iter()
        .map(|problem| match problem.labels.first() {
            Some(label) => format!("{}: {}", label.origin, problem.message),
            None => problem.message.clone(),
        })
        .collect();
    bail!("the topology is none: {}", messages.join("; "))
}

fn step(topology: &Topology, raw: RawStep) -> Result<Step> {
    match raw {
        RawStep {
            from: Some(from),
            through,
            send: Some(send),
            expect: Some(expect),
            wait: None,
            unplug: None,
        } => {
            let from = port(topology, &from, None)?;
            let cast = Cast::of(topology, &from);
            let frame = send.bytes(&cast)?;
            Ok(Step::Send(Box::new(Send {
                arrival: arrival(topology, &from, through, &frame)?,
                vni: vni(topology, &from, &expect)?,
                expect: fate(topology, &from, &cast, &frame, expect)?,
                frame,
                from,
            })))
        }
        RawStep {
            from: None,
            through: None,
            send: None,
            expect: None,
            wait: Some(seconds),
            unplug: None,
        } => Ok(Step::Wait(Duration::try_from_secs_f64(seconds)?)),
        RawStep {
            from: None,
            through: None,
            send: None,
            expect: None,
            wait: None,
            unplug: Some(name),
        } => Ok(Step::Unplug(port(topology, &name, None)?)),
        _ => bail!("a step is `from`, `send` and `expect` together, or `wait`, or `unplug`"),
    }
}

/// The packet that brings a frame from another host.
fn arrival(
    topology: &Topology,
    from: &PortName,
    through: Option<Through>,
    frame: &[u8],
) -> Result<Option<Arrival>> {
    let host = underlay::host_of(topology, from).map(str::to_owned);
    let through = through.unwrap_or_default();
    let Some(name) = through.peer.clone().or(host) else {
        return Ok(None);
    };
    let peer = Peer::named(topology, &name).with_context(|| format!("no peer is called {name}"))?;
    let vni = topology.networks[&topology.ports[from].network]
        .vni
        .number();
    let wire = through.packet(topology, &peer, vni, frame)?;
    Ok(Some(Arrival { peer: name, wire }))
}

/// The network that a frame ends in: that of a router's port which sends it, or its sender's.
fn vni(topology: &Topology, from: &PortName, expect: &RawExpectation) -> Result<u32> {
    let by = match expect {
        RawExpectation::Forward(forward) => Some(&forward.by),
        RawExpectation::Ask(ask) => Some(&ask.by),
        _ => None,
    };
    let network = match by {
        None => &topology.ports[from].network,
        Some(by) => {
            let (router, port) = by.split_once('/').context("a router's port")?;
            let router = topology.routers.get(router).context("a router")?;
            &router.ports.get(port).context("a router's port")?.network
        }
    };
    Ok(topology.networks[network].vni.number())
}

fn fate(
    topology: &Topology,
    from: &PortName,
    cast: &Cast,
    wire: &[u8],
    expect: RawExpectation,
) -> Result<Fate> {
    Ok(match expect {
        RawExpectation::Deliver(to) => Fate::Deliver(receiver(topology, &to, Some(from))?),
        RawExpectation::Mark(Mark { to, class }) => {
            Fate::Forward(receiver(topology, &to, None)?, routed::marked(wire, class)?)
        }
        RawExpectation::Pass(Host::Host) => Fate::Pass,
        RawExpectation::Flood(to) => Fate::Flood(
            to.iter()
                .map(|to| receiver(topology, to, Some(from)))
                .collect::<Result<_>>()?,
        ),
        RawExpectation::Consume(by) => {
            let to = cast.mac(&by)?;
            ensure!(
                wire.starts_with(&to.octets()),
                "{by} takes what is sent to it"
            );
            Fate::Consume
        }
        RawExpectation::Drop(name) => Fate::Drop(reason(&name)?),
        RawExpectation::Reply(answer) => Fate::Reply(answer.bytes(cast)?),
        RawExpectation::Forward(forward) => {
            let to = port(topology, &forward.to, None)?;
            let mac = topology.ports[&to].mac;
            Fate::Forward(reached(topology, to), forward.bytes(cast, wire, mac)?)
        }
        RawExpectation::Error(error) => Fate::Error(reason(&error.drop)?, error.bytes(cast, wire)?),
        RawExpectation::Reset(reset) => Fate::Error(reason(&reset.drop)?, reset.bytes(cast, wire)?),
        RawExpectation::Ask(ask) => {
            let of = ask.of.iter().map(|of| receiver(topology, of, None));
            Fate::Ask(of.collect::<Result<_>>()?, ask.bytes(cast)?)
        }
    })
}

fn reason(name: &str) -> Result<DropReason> {
    let mut reasons = DropReason::ALL.iter().copied();
    let reason = reasons.find(|reason| reason.name() == name);
    reason.with_context(|| format!("no reason is called `{name}`"))
}

/// Who gets what is sent to a word: a peer, or a port as [`port`] finds it.
fn receiver(topology: &Topology, word: &str, near: Option<&PortName>) -> Result<Receiver> {
    if Peer::named(topology, word).is_some() {
        return Ok(Receiver::Peer(word.to_owned()));
    }
    Ok(reached(topology, port(topology, word, near)?))
}

/// Who gets what is sent to a port: the port, or the host that it is on.
fn reached(topology: &Topology, port: PortName) -> Receiver {
    match underlay::host_of(topology, &port) {
        Some(host) => Receiver::Peer(host.to_owned()),
        None => Receiver::Port(port),
    }
}

/// The port that a word names: `WORKLOAD/INTERFACE`, or a workload with one port in the network of
/// `near`, or at all.
fn port(topology: &Topology, word: &str, near: Option<&PortName>) -> Result<PortName> {
    let is_near = |port: &topology::Port| {
        near.is_none_or(|near| topology.ports[near].network == port.network)
    };
    let matches: Vec<_> = topology
        .ports
        .iter()
        .filter(|(name, port)| name.to_string() == word || name.workload == word && is_near(port))
        .collect();
    match matches.as_slice() {
        [(name, _)] => Ok((*name).clone()),
        [] => bail!("there is no port `{word}`"),
        _ => bail!("`{word}` has several ports: say which"),
    }
}
