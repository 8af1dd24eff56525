//! What would become of a packet from one workload to another, decision by decision, and which line
//! of the file is behind each of them.
//!
//! The datapath itself decides: its library runs over tables in memory, and all that it looks up on
//! the way is recorded and told. The one thing that is modelled here is what the workload's own
//! kernel does before a frame leaves it: choose a route, and ask for the MAC address of the next hop.
//!
//! There is no I/O. The caller brings the tables: those that the plan wants ([`planned_tables`]), or
//! those that the kernel holds ([`tables_of`]).

mod departure;
mod hops;
mod journey;
mod judge;
mod mend;
mod onward;
mod outcome;
mod packet;
mod party;
mod record;
mod render;
mod route;
mod story;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use datapath::memory::MemoryTables;
use etherparse::err::packet::BuildVecWriteError;
use maps_schema::IfIndex;
use maps_schema::map::{FdbKey, LearnedEntry, NeighborKey, Resolved};
use serde::Serialize;

pub use onward::Arrival;
pub use outcome::{Outcome, Refusal, Told};

use crate::instance::Instance;
use crate::plan::{self, Plan};
use crate::similar::Similar;
use crate::topology::Topology;

/// Whose packet is to be traced, and to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query<'a> {
    /// The sender: a workload (`web`), or one of its ports (`web/eth0`), which the packet then leaves
    /// by.
    pub from: &'a str,
    /// The receiver: a workload, a router, a port of either, or an IP address.
    pub to: &'a str,
    /// What the packet carries.
    pub protocol: Protocol,
    /// The receiver's TCP or UDP port; [`Query::DEFAULT_PORT`] unless given.
    pub port: Option<u16>,
}

impl Query<'_> {
    /// The TCP or UDP port that packets are for when none is given.
    pub const DEFAULT_PORT: u16 = 80;
}

/// What the packet carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// The first segment of a TCP connection.
    #[default]
    Tcp,
    /// A UDP datagram.
    Udp,
    /// An echo request of ICMP or ICMPv6.
    Icmp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        })
    }
}

impl FromStr for Protocol {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let all = [Self::Tcp, Self::Udp, Self::Icmp];
        all.into_iter()
            .find(|protocol| protocol.to_string() == name)
            .ok_or_else(|| Error::UnknownProtocol(name.to_owned()))
    }
}

/// Why there is nothing to trace.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that the topology does not have.
    #[error("there is no workload, router or port `{name}`: {similar}")]
    UnknownName {
        /// The name.
        name: String,
        /// What was probably meant.
        similar: Similar,
    },
    /// A router where only workloads send.
    #[error("`{0}` is a router's, and routers send nothing of their own: trace from a workload")]
    RouterSends(String),
    /// A protocol that is none of ours.
    #[error("`{0}` cannot be traced: tcp, udp and icmp can")]
    UnknownProtocol(String),
    /// A port where the protocol has none.
    #[error("icmp has no ports: leave the {0} out")]
    PortOfIcmp(u16),
    /// The packet could not be made.
    #[error("make the packet to be traced")]
    Packet(#[from] BuildVecWriteError),
}

/// What becomes of the packet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Trace {
    /// What happens on the way, in order.
    pub steps: Vec<Step>,
    /// What becomes of the packet on the host that it starts on.
    pub verdict: Outcome,
    /// What becomes of it on the hosts that it is sent to from there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Arrival>,
    /// Whether it gets to where it was sent, or to the next hop on the way there.
    pub arrives: bool,
}

/// One thing that happens on the way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Step {
    /// Which part of the journey it belongs to.
    pub stage: Stage,
    /// The host that it happens on, if the topology has hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The router that it happens in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// What happens.
    pub text: String,
    /// The place in the file that is behind it, as `file:line:column`.
    pub origin: Option<String>,
}

/// The parts of the journey.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The workload's own kernel decides where to send the packet.
    Workload,
    /// The workload asks for the MAC address of the next hop: a frame of its own.
    Question,
    /// The frame with the packet.
    Frame,
    /// A router on its way; the step names it.
    Router,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Workload => "workload",
            Self::Question => "question",
            Self::Frame => "frame",
            Self::Router => "router",
        })
    }
}

/// The tables of a host on which the plan is in force. The indexes of its interfaces are made up, but for
/// that of the uplink.
#[must_use]
pub fn planned_tables(plan: &Plan) -> MemoryTables {
    let uplink = plan.uplink.as_ref().map(|uplink| uplink.ifindex);
    let indexes = (1..).map(IfIndex).filter(|&index| Some(index) != uplink);
    let interfaces = plan.links.keys().cloned().zip(indexes).collect();
    tables_of(&plan.rows(&interfaces), Observed::default())
}

/// What a host's datapath has noted by itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// Where MAC addresses were seen.
    pub learned: BTreeMap<FdbKey, LearnedEntry>,
    /// Neighbors that routers asked for.
    pub resolved: BTreeMap<NeighborKey, Resolved>,
    /// The time by the clock of both, in nanoseconds.
    pub now_ns: u64,
}

/// The tables with these rows, and with what the datapath has noted.
#[must_use]
pub fn tables_of(rows: &plan::Tables, observed: Observed) -> MemoryTables {
    let mut tables = MemoryTables::default();
    for (&map, rows) in rows {
        for (key, value) in rows {
            let inserted = tables.insert(map, key, value);
            // The plan makes no others, and the kernel edge opens no map of other widths.
            debug_assert!(inserted.is_some(), "a row of {map:?} has a foreign width");
        }
    }
    tables.learned.replace(observed.learned);
    tables.resolved.replace(observed.resolved);
    tables.now_ns.set(observed.now_ns);
    tables
}

/// Traces one packet. `plan` is that of `topology` for the host that the packet starts on; `tables` may be
/// the plan's own, or what that host holds at this moment, whether it is up to date or not. Other hosts
/// are taken to be as the topology has them.
///
/// # Errors
///
/// The query names something that is not there.
pub fn trace(
    topology: &Topology,
    instance: &Instance,
    plan: &Plan,
    tables: MemoryTables,
    query: &Query<'_>,
) -> Result<Trace, Error> {
    if let (Protocol::Icmp, Some(port)) = (query.protocol, query.port) {
        return Err(Error::PortOfIcmp(port));
    }
    journey::travel(topology, instance, plan, &tables, query)
}
