//! What a plan must know of the host that it is for. The host finds it out; the plan decides.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use maps_schema::IfIndex;

/// What a plan must know of the host that it is for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Situation {
    /// The host's name in the topology; `None` if it has none there (a topology without hosts).
    pub host: Option<String>,
    /// Its interface to the underlay.
    pub uplink: Option<Uplink>,
    /// Workloads of this host that are not running. Their ports are left out: nobody is told that
    /// their addresses can be reached.
    pub absent: BTreeSet<String>,
    /// Hosts that were found dead: equal next hops behind them are left out, as long as others are
    /// left.
    pub dead: BTreeSet<String>,
    /// For peers without a tunnel: the next hop on the way to their address.
    pub next_hops: BTreeMap<IpAddr, IpAddr>,
}

/// A host's interface to the underlay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uplink {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub ifindex: IfIndex,
    /// The largest IP packet that it carries, in bytes.
    pub mtu: u32,
    /// What its driver is called, if it says so.
    pub driver: Option<String>,
}
