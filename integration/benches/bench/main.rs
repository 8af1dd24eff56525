//! Bowline against a bare veth pair and against a Linux bridge, on this machine, in one run.
//!
//! Two namespaces are joined in each of the three ways, and measured in turns, so that whatever else
//! the machine does meets all of them. A figure is the median of the rounds, with the lowest and the
//! highest beside it. Virtual routers are compared with as many namespaces that route, and tunnels between
//! two hosts with those of the kernel and of Docker, in the same way.

mod bulk;
mod empty;
mod figure;
mod hosts;
mod packets;
mod program;
mod report;
mod routers;
mod routes;
mod rtt;
mod site;

use std::process::ExitCode;

use integration::lab::is_usable;

use report::Report;

const USAGE: &str = "\
Measure bowline against a bare veth pair, a Linux bridge, Linux namespaces that route, and other
tunnels.

Usage: bench [SCENARIO...] [--rounds N] [-o json]

  rtt       round trips of small UDP packets
  packets   64-byte UDP frames per second, from one sender
  program   nanoseconds that the program takes for a frame (BPF_PROG_TEST_RUN)
  routers   all of these through 1, 3 and 8 virtual routers, against namespaces that route, and
            what a route costs among up to a million
  hosts     round trips, packets, processor time and TCP between two hosts in each kind of tunnel,
            against the kernel's VXLAN with a bridge and against Docker's overlay driver
  tunnels   nanoseconds that the programs take for a frame into each kind of tunnel and out of it

Without SCENARIO, all of them. N is 5 by default.
";

/// What to measure.
struct Options {
    scenarios: Vec<Scenario>,
    rounds: usize,
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Rtt,
    Packets,
    Program,
    Routers,
    Hosts,
    Tunnels,
}

impl Scenario {
    const ALL: [Self; 6] = [
        Self::Rtt,
        Self::Packets,
        Self::Program,
        Self::Routers,
        Self::Hosts,
        Self::Tunnels,
    ];

    fn named(name: &str) -> Option<Self> {
        match name {
            "rtt" => Some(Self::Rtt),
            "packets" => Some(Self::Packets),
            "program" => Some(Self::Program),
            "routers" => Some(Self::Routers),
            "hosts" => Some(Self::Hosts),
            "tunnels" => Some(Self::Tunnels),
            _ => None,
        }
    }
}

fn main() -> ExitCode {
    let Some(options) = parse(std::env::args().skip(1)) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    if !is_usable() {
        return ExitCode::FAILURE;
    }
    let mut report = Report::new(options.rounds);
    for scenario in &options.scenarios {
        match scenario {
            Scenario::Rtt => rtt::measure(&mut report),
            Scenario::Packets => packets::measure(&mut report),
            Scenario::Program => program::measure(&mut report),
            Scenario::Routers => {
                routers::measure(&mut report);
                routes::measure(&mut report);
            }
            Scenario::Hosts => hosts::measure(&mut report),
            Scenario::Tunnels => hosts::frames::measure(&mut report),
        }
    }
    report.print(options.json);
    ExitCode::SUCCESS
}

fn parse(words: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options {
        scenarios: Vec::new(),
        rounds: 5,
        json: false,
    };
    let mut words = words;
    while let Some(word) = words.next() {
        match word.as_str() {
            // Cargo gives this to every benchmark.
            "--bench" => {}
            "--rounds" => options.rounds = words.next()?.parse().ok().filter(|n| *n > 0)?,
            "-o" | "--output" => options.json = words.next()? == "json",
            "--json" => options.json = true,
            name => options.scenarios.push(Scenario::named(name)?),
        }
    }
    if options.scenarios.is_empty() {
        options.scenarios = Scenario::ALL.to_vec();
    }
    Some(options)
}
