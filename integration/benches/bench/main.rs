//! Bowline against what else there is, on this machine, in one run.
//!
//! Two namespaces are joined in each of the ways, and measured in turns, so that whatever else the
//! machine does meets all of them. A figure is the median of the rounds, with its quartiles.

mod bulk;
mod compare;
mod connections;
mod costs;
mod docker;
mod figure;
mod hosts;
mod lane;
mod made;
mod memory;
mod nat;
mod packets;
mod page;
mod plot;
mod report;
mod round_trip;
mod routers;
mod routes;
mod rules;
mod same_host;
mod site;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use integration::lab::is_usable;

use report::Report;

const USAGE: &str = "\
Measure bowline against what else there is.

Usage: bench [SCENARIO...] [--rounds N] [-o json] [--write FOLDER] [--compare FILE]

  same-host  two workloads of one host: a bare veth pair, a Linux bridge, one with nftables, Docker's
  hosts      two hosts: the kernel's VXLAN with a bridge, Docker's overlay, each kind of tunnel
  routers    1, 3 and 8 virtual routers, against namespaces that route
  rules      policies of 0, 100 and 10000 rules, against a bridge with nftables
  nat        masquerading and published ports, against the kernel's routing with nftables
  costs      nanoseconds that the programs take for a frame
  tunnels    the same into each kind of tunnel and out of it
  routes     the same among up to a million routes
  memory     what a connection takes

Without SCENARIO, all of them. N is 5 by default. `--write` puts figures, tables and pictures into a
folder; `--compare` sets the figures against those of an earlier run, its `-o json` or `figures.json`.
";

/// Measures and adds to the report.
type Scenario = fn(&mut Report);

/// What is measured, by name.
const SCENARIOS: [(&str, Scenario); 9] = [
    ("same-host", same_host::run),
    ("hosts", hosts::run),
    ("routers", routers::run),
    ("rules", rules::run),
    ("nat", nat::run),
    ("costs", costs::run),
    ("tunnels", hosts::tunnels::run),
    ("routes", routes::run),
    ("memory", memory::run),
];

struct Options {
    scenarios: Vec<Scenario>,
    rounds: usize,
    json: bool,
    folder: Option<PathBuf>,
    compare: Option<Report>,
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
        scenario(&mut report);
    }
    if options.json {
        print!("{}", report.json());
    } else {
        report.print();
    }
    if let Some(old) = &options.compare {
        compare::print(old, &report);
    }
    if let Some(folder) = &options.folder
        && let Err(error) = page::write(&report, folder)
    {
        eprintln!("{}: {error}", folder.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn parse(words: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options {
        scenarios: Vec::new(),
        rounds: 5,
        json: false,
        folder: None,
        compare: None,
    };
    let mut words = words;
    while let Some(word) = words.next() {
        match word.as_str() {
            // Cargo gives this to every benchmark.
            "--bench" => {}
            "--rounds" => options.rounds = words.next()?.parse().ok().filter(|n| *n > 0)?,
            "-o" | "--output" => {
                words.next().filter(|format| format == "json")?;
                options.json = true;
            }
            "--write" => options.folder = Some(words.next()?.into()),
            "--compare" => options.compare = Some(read(&words.next()?)?),
            name => {
                let known = SCENARIOS.iter().find(|(known, _)| *known == name);
                options.scenarios.push(known?.1);
            }
        }
    }
    if options.json && options.compare.is_some() {
        eprintln!("-o json has the figures alone: compare them without it");
        return None;
    }
    if options.scenarios.is_empty() {
        options.scenarios = SCENARIOS.map(|(_, run)| run).to_vec();
    }
    Some(options)
}

/// An earlier run's figures.
fn read(path: &str) -> Option<Report> {
    let text = fs::read_to_string(path).inspect_err(|error| eprintln!("{path}: {error}"));
    let report = serde_json::from_str(&text.ok()?);
    report
        .inspect_err(|error| eprintln!("{path}: {error}"))
        .ok()
}
