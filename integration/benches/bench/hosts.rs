//! Two hosts: bowline's tunnels against the kernel's VXLAN and bridge, and against Docker's overlay
//! driver.

pub(crate) mod pair;
mod swarm;
pub(crate) mod tunnels;

use crate::lane::{Lane, Metric, measure};
use crate::report::Report;
use crate::site::{SERVER, Site};
use pair::{Family, Pair};
use swarm::Swarm;

/// The tunnels, and what they are called in the report.
const TUNNELS: [(&str, &str); 4] = [
    ("vxlan", "bowline vxlan"),
    ("geneve", "bowline geneve"),
    ("gre", "bowline gre"),
    ("none", "bowline, no tunnel"),
];

pub(crate) fn run(report: &mut Report) {
    report.begin(
        "hosts",
        "Two workloads on one network, on two hosts that a veth pair joins. The kernel's VXLAN device is a port of \
         a bridge, and has every advantage that bowline has: the same MTU as bowline's VXLAN, no checksum of the \
         outer header, nothing to learn. Docker's overlay driver joins two engines that form a swarm. The aims are half of the \
         kernel's round trip and twice its small frames.",
    );
    let kernel = Pair::new(Family::V4);
    kernel.kernel();
    let swarm = Swarm::new()
        .inspect_err(|error| report.note(&format!("Docker's overlay was not measured: {error:#}")))
        .ok();
    let cable = Site::new();
    cable.veth();
    let pairs = TUNNELS.map(|_| Pair::new(Family::V4));
    let joined = pairs.iter().zip(TUNNELS);
    let _bowlines: Vec<_> = joined
        .map(|(pair, (tunnel, _))| pair.bowline(tunnel))
        .collect();
    let mut lanes = vec![kernel.lane("kernel vxlan")];
    if let Some(Swarm {
        client,
        server,
        inside,
        ..
    }) = &swarm
    {
        lanes.push(Lane::new("Docker overlay", client, inside, server, SERVER));
    }
    for (pair, (_, name)) in pairs.iter().zip(TUNNELS) {
        lanes.push(pair.lane(name));
    }
    // What sending and receiving take by themselves.
    lanes.push(cable.cable("bare veth"));
    measure(report, "", &lanes, Metric::ALL);
}
