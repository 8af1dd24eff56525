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
//! says what is unusual about the packet of the underlay (see `case/underlay.rs`):
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
//! whose bytes follow from the frame that was sent.
//!
//! Where a router has an `uplink`, what comes from the outside is `from: core/uplink`, and what goes there
//! arrives `at: core/uplink`. A frame that is translated is described like one that is sent; `by` is the
//! router's port that sends it. A number that the datapath chooses has a name, which means the number that
//! was seen first:
//!
//! ```yaml
//! - from: web
//!   send: { ipv4: { to: 198.51.100.7 }, udp: [40000, 53] }
//!   expect: { arrive: { at: core/uplink, as: { ipv4: { from: here, to: 198.51.100.7, ttl: 63 }, udp: [chosen, 53] } } }
//! - from: core/uplink
//!   send: { ipv4: { from: 198.51.100.7, to: here }, udp: [53, chosen] }
//!   expect: { arrive: { at: web, by: core/front, as: { ipv4: { from: 198.51.100.7, to: web, ttl: 63 }, udp: [53, 40000] } } }
//! ```
//!
//! Everything else follows too and is checked each
//! time: which counters move, that all others stay, and that the frame is as it was unless it became
//! another one.
//!
//! The same files run on the host ([`host::Host`]) and in the kernel (the test binary), and each
//! runner's [`Outcome`] is compared with what the file expects.

mod draft;
pub mod host;
mod outcome;
mod routed;
mod underlay;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bowline::document;
use bowline::instance::Instance;
use bowline::plan::{Plan, Situation, Uplink};
use bowline::topology::{self, PortName, Topology};
use maps_schema::{IfIndex, PortId};

use crate::cast::UPLINK_MAC;
pub use draft::Draft;
pub use outcome::{Counters, Fate, Flows, Outcome, Receiver};
pub use underlay::{Peer, WORLD, receiver_of, without_macs};

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
    /// Somebody sends a frame.
    Send(Box<Draft>),
    /// Time passes.
    Wait(Duration),
    /// A workload is gone: nothing is behind its port any more.
    Unplug(PortName),
}

/// A frame and what must become of it.
#[derive(Debug)]
pub struct Send {
    /// Where it comes from, as the case's host sees it.
    pub origin: Receiver,
    /// The bytes that come in.
    pub wire: Vec<u8>,
    /// The frame's bytes, as its sender sends them: from another host they come in a packet.
    pub frame: Vec<u8>,
    /// The router's uplink that it came to, if another gateway brings it here.
    pub exit: Option<PortId>,
    /// The network that it is in at the end of its way.
    pub vni: u32,
    /// What must become of it.
    pub expect: Fate,
    /// A number that is to be chosen for it: its name, and where it will be in the frame.
    pub open: Option<(String, usize)>,
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
        let steps = draft::read(&topology, steps)?;
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
                    mac: UPLINK_MAC,
                    addresses: Vec::new(),
                    local_ports: (32768, 60999),
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
