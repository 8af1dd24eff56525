//! Virtual routers in a line, against as many namespaces of the kernel's own that route.

use std::fmt::Write;

use aya::sys::{Stats, enable_stats};
use integration::lab::{Bowline, Namespace, veth};

use crate::figure::percentile;
use crate::packets::rate;
use crate::program::{Subject, bytes, topology};
use crate::report::Report;
use crate::rtt::round_trips;
use crate::site::{Site, TOPOLOGY};

/// How many routers are in the line.
const DEPTHS: [usize; 3] = [1, 3, 8];
const WAYS: [&str; 2] = ["Linux namespaces", "bowline"];

/// A frame, and where in it the packet's time to live is.
const FRAMES: &[(&str, &str, usize)] = &[
    ("IPv4", "{ ipv4: { to: db }, udp: [7, 7], len: 64 }", 22),
    ("IPv6", "{ ipv6: { to: db }, udp: [7, 7], len: 64 }", 21),
];

pub(crate) fn measure(report: &mut Report) {
    traffic(report);
    frames(report);
}

/// The topology of `web` and `db` with this many routers between them, which know the way to both;
/// with none, of one network.
pub(crate) fn line(routers: usize) -> String {
    if routers == 0 {
        return TOPOLOGY.to_owned();
    }
    let mut text = r#"
version: 1
name: bench
networks:
  front: [10.76.0.0/24, "fd00:76::/64"]
  back: [10.77.0.0/24, "fd00:77::/64"]
workloads:
  web: { netns: @web, ports: [{ network: front, addresses: [10.76.0.10, "fd00:76::10"] }] }
  db: { netns: @db, ports: [{ network: back, addresses: [10.77.0.20, "fd00:77::20"] }] }
routers:
"#
    .to_owned();
    for n in 1..=routers {
        let mut ports = Vec::new();
        let mut routes = Vec::new();
        if n == 1 {
            ports.push("front: [10.76.0.1, \"fd00:76::1\"]".to_owned());
        } else {
            ports.push(peer("left", n - 1, n - 1, 2));
            routes.extend(["10.76.0.0/24, via: left", "\"fd00:76::/64\", via: left"]);
        }
        if n == routers {
            ports.push("back: [10.77.0.1, \"fd00:77::1\"]".to_owned());
        } else {
            ports.push(peer("right", n + 1, n, 1));
            routes.extend(["10.77.0.0/24, via: right", "\"fd00:77::/64\", via: right"]);
        }
        let routes: Vec<_> = routes.iter().map(|to| format!("{{ to: {to} }}")).collect();
        let (ports, routes) = (ports.join(", "), routes.join(", "));
        let _ = writeln!(
            text,
            "  r{n}: {{ ports: {{ {ports} }}, routes: [{routes}] }}"
        );
    }
    text
}

/// A port to another router over the link of this number.
fn peer(name: &str, peer: usize, number: usize, end: usize) -> String {
    format!(
        "{name}: {{ peer: r{peer}, addresses: [192.168.{number}.{end}/30, \
         \"fd00:99:{number}::{end}/64\"] }}"
    )
}

/// The namespaces of a client, of routers in a line, and of a server.
struct Chain {
    spaces: Vec<Namespace>,
}

impl Chain {
    fn new(routers: usize) -> Self {
        let spaces = (0..routers + 2).map(|_| Namespace::new("chain"));
        let chain = Self {
            spaces: spaces.collect(),
        };
        let ends = |number: usize| match number {
            0 => ("10.76.0.10".to_owned(), "10.76.0.1".to_owned()),
            last if last == routers => ("10.77.0.1".to_owned(), "10.77.0.20".to_owned()),
            _ => (format!("192.168.{number}.1"), format!("192.168.{number}.2")),
        };
        for (number, pair) in chain.spaces.windows(2).enumerate() {
            let [near, far] = pair else { continue };
            veth((near, "right"), (far, "left"));
            let (near_ip, far_ip) = ends(number);
            for (space, ip, end) in [(near, near_ip, "right"), (far, far_ip, "left")] {
                space.ip(&["address", "add", &format!("{ip}/24"), "dev", end]);
            }
        }
        for (number, space) in chain.spaces.iter().enumerate() {
            space.sysctl("net/ipv4/ip_forward", "1");
            if number < routers {
                let (_, via) = ends(number);
                space.ip(&["route", "add", "10.77.0.0/24", "via", &via]);
            }
            if number > 1 {
                let (via, _) = ends(number - 1);
                space.ip(&["route", "add", "10.76.0.0/24", "via", &via]);
            }
        }
        chain
    }

    fn client(&self) -> &Namespace {
        &self.spaces[0]
    }

    fn server(&self) -> &Namespace {
        &self.spaces[self.spaces.len() - 1]
    }
}

/// What was measured in one way and at one depth, by round.
#[derive(Default)]
struct Measured {
    median: Vec<f64>,
    high: Vec<f64>,
    received: Vec<f64>,
}

/// Measures round trips and packets per second at all depths in turns.
fn traffic(report: &mut Report) {
    let chains = DEPTHS.map(Chain::new);
    let sites = DEPTHS.map(|_| Site::new());
    let lines = DEPTHS.map(line);
    let joined = sites.iter().zip(&lines);
    let _bowlines: Vec<Bowline<'_>> = joined.map(|(site, text)| site.bowline_of(text)).collect();
    let mut results: [[Measured; 2]; 3] = Default::default();
    // The first round warms everything up and is thrown away.
    for round in 0..=report.rounds() {
        for ((chain, site), results) in chains.iter().zip(&sites).zip(&mut results) {
            let pairs = [
                (chain.client(), chain.server()),
                (&site.client, &site.server),
            ];
            for ((client, server), result) in pairs.into_iter().zip(results) {
                let times = round_trips(client, server);
                let received = rate(client, server).received;
                if round > 0 {
                    result.median.push(percentile(&times, 50));
                    result.high.push(percentile(&times, 99));
                    result.received.push(received);
                }
            }
        }
    }
    for (depth, results) in DEPTHS.into_iter().zip(results) {
        let mut add = |name: &str, unit, values: fn(&Measured) -> &Vec<f64>| {
            let values = results.each_ref().map(|result| values(result).clone());
            let name = format!("{name}, {}", routers(depth));
            report.compare_ways(&name, unit, WAYS.into_iter().zip(values).collect());
        };
        add("round trip, median", "us", |result| &result.median);
        add("round trip, 99th percentile", "us", |result| &result.high);
        add("64-byte frames received", "k/s", |result| &result.received);
    }
}

/// Measures what the program takes for a frame at each depth, in turns. A routed frame is another one
/// afterwards, which is why each run is a call of its own; the bridged one is run in the same way.
fn frames(report: &mut Report) {
    let depths = [0, 1, 3, 8];
    let sites = depths.map(|_| Site::new());
    let lines = depths.map(line);
    let joined = sites.iter().zip(&lines);
    let bowlines: Vec<_> = joined.map(|(site, text)| site.bowline_of(text)).collect();
    let all = sites.iter().zip(&bowlines);
    let subjects: Vec<_> = all
        .map(|(site, bowline)| Subject::of_site(site, bowline))
        .collect();
    let topologies: Vec<_> = lines.iter().map(|text| topology(text)).collect();
    let _stats = enable_stats(Stats::RunTime).expect("run-time statistics");
    for (family, frame, ttl_at) in FRAMES {
        let mut results = depths.map(|_| Vec::new());
        for _ in 0..report.rounds() {
            let all = topologies.iter().zip(&subjects).zip(depths);
            for (((topology, subject), depth), values) in all.zip(&mut results) {
                let frame = bytes(topology, frame);
                let after = subject.result(&frame);
                let passed = usize::from(frame[*ttl_at] - after[*ttl_at]);
                assert_eq!(passed, depth, "the packet passes all routers");
                values.push(subject.time(&[frame]));
            }
        }
        for (depth, values) in depths.into_iter().zip(results) {
            report.add(&format!("{family}, {}", routers(depth)), "ns", values);
        }
    }
}

fn routers(number: usize) -> String {
    match number {
        0 => "bridged".to_owned(),
        1 => "1 router".to_owned(),
        _ => format!("{number} routers"),
    }
}
