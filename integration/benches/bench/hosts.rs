//! Two hosts: bowline's tunnels against the kernel's VXLAN and bridge, and against Docker's overlay
//! driver.

pub(crate) mod frames;
mod pair;
mod swarm;

use integration::lab::Namespace;

use crate::bulk::throughput;
use crate::figure::percentile;
use crate::packets::rate;
use crate::report::Report;
use crate::rtt::round_trips;
use crate::site::{Site, Way};
use pair::{Family, Pair};
use swarm::Swarm;

/// The tunnels, and what they are called in the report.
const TUNNELS: [(&str, &str); 4] = [
    ("vxlan", "bowline vxlan"),
    ("geneve", "bowline geneve"),
    ("gre", "bowline gre"),
    ("none", "bowline, no tunnel"),
];

/// What was measured in one way, by round.
#[derive(Default)]
struct Measured {
    median: Vec<f64>,
    high: Vec<f64>,
    sent: Vec<f64>,
    received: Vec<f64>,
    cost: Vec<f64>,
    bulk: Vec<f64>,
}

/// Measures everything in all ways, in turns.
pub(crate) fn measure(report: &mut Report) {
    let kernel = Pair::new(Family::V4);
    kernel.kernel();
    let swarm = Swarm::new()
        .inspect_err(|error| report.note(&format!("Docker overlay was not measured: {error:#}")))
        .ok();
    let cable = Site::new();
    cable.join(Way::Veth);
    let pairs = TUNNELS.map(|_| Pair::new(Family::V4));
    let joined = pairs.iter().zip(TUNNELS);
    let _bowlines: Vec<_> = joined
        .map(|(pair, (tunnel, _))| pair.bowline(tunnel))
        .collect();

    let mut ways: Vec<(&'static str, &Namespace, &Namespace)> =
        vec![("kernel vxlan", &kernel.client, &kernel.server)];
    if let Some(swarm) = &swarm {
        ways.push(("Docker overlay", &swarm.client, &swarm.server));
    }
    for (pair, (_, name)) in pairs.iter().zip(TUNNELS) {
        ways.push((name, &pair.client, &pair.server));
    }
    // What sending and receiving take by themselves.
    ways.push((Way::Veth.name(), &cable.client, &cable.server));
    let mut results: Vec<Measured> = ways.iter().map(|_| Measured::default()).collect();
    // The first round warms everything up and is thrown away.
    for round in 0..=report.rounds() {
        for ((_, client, server), result) in ways.iter().zip(&mut results) {
            let times = round_trips(client, server);
            let rate = rate(client, server);
            let bulk = throughput(client, server);
            if round > 0 {
                result.median.push(percentile(&times, 50));
                result.high.push(percentile(&times, 99));
                result.sent.push(rate.sent);
                result.received.push(rate.received);
                result.cost.push(rate.cost);
                result.bulk.push(bulk);
            }
        }
    }
    let mut add = |name: &str, unit, values: fn(&Measured) -> &Vec<f64>| {
        let values = results.iter().map(|result| values(result).clone());
        let names = ways.iter().map(|(name, ..)| *name);
        report.compare_ways(name, unit, names.zip(values).collect());
    };
    add("round trip, median", "us", |result| &result.median);
    add("round trip, 99th percentile", "us", |result| &result.high);
    add("64-byte frames sent", "k/s", |result| &result.sent);
    add("64-byte frames received", "k/s", |result| &result.received);
    add("processor time per frame sent", "ns", |result| &result.cost);
    add("one TCP connection", "Gb/s", |result| &result.bulk);
}
