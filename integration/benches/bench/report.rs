//! The figures, for people and for programs.

use std::fs;
use std::io::{IsTerminal, stderr};
use std::thread;

use serde::Serialize;

use crate::figure::Figure;
use crate::site::Way;

/// What was measured so far.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    rounds: usize,
    comparisons: Vec<Comparison>,
    programs: Vec<Program>,
    /// What could not be measured, and why.
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Machine {
    kernel: String,
    processors: usize,
    load_average: String,
}

/// The same thing in each of the ways.
#[derive(Serialize)]
struct Comparison {
    name: String,
    unit: &'static str,
    ways: Vec<Compared>,
}

#[derive(Serialize)]
struct Compared {
    way: &'static str,
    #[serde(flatten)]
    figure: Figure,
    /// In terms of the first way: the median of the rounds' own ratios.
    ratio: Figure,
}

#[derive(Serialize)]
struct Program {
    frame: String,
    unit: &'static str,
    #[serde(flatten)]
    figure: Figure,
}

impl Report {
    pub(crate) fn new(rounds: usize) -> Self {
        Self {
            machine: Machine::this(),
            rounds,
            comparisons: Vec::new(),
            programs: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds
    }

    /// Adds what was measured in each of the ways, by round.
    pub(crate) fn compare(&mut self, name: &str, unit: &'static str, values: [Vec<f64>; 3]) {
        let ways = Way::ALL.map(Way::name).into_iter().zip(values);
        self.compare_ways(name, unit, ways.collect());
    }

    /// Adds what was measured in each of these ways, by round; the others are put in terms of the
    /// first.
    pub(crate) fn compare_ways(
        &mut self,
        name: &str,
        unit: &'static str,
        ways: Vec<(&'static str, Vec<f64>)>,
    ) {
        progress(name);
        let first = ways.first().map(|(_, values)| values.clone());
        let first = first.unwrap_or_default();
        let compared = |(way, values): (&'static str, Vec<f64>)| {
            let ratios = values
                .iter()
                .zip(&first)
                .map(|(value, first)| value / first);
            Compared {
                way,
                ratio: Figure::of(ratios.collect()),
                figure: Figure::of(values),
            }
        };
        self.comparisons.push(Comparison {
            name: name.to_owned(),
            unit,
            ways: ways.into_iter().map(compared).collect(),
        });
    }

    /// Adds what was measured of the program alone, by round.
    pub(crate) fn add(&mut self, frame: &str, unit: &'static str, values: Vec<f64>) {
        progress(frame);
        self.programs.push(Program {
            frame: frame.to_owned(),
            unit,
            figure: Figure::of(values),
        });
    }

    /// Notes what could not be measured, and why.
    pub(crate) fn note(&mut self, text: &str) {
        progress(text);
        self.notes.push(text.to_owned());
    }

    pub(crate) fn print(&self, json: bool) {
        if json {
            let text = serde_json::to_string_pretty(self).expect("figures are JSON");
            println!("{text}");
            return;
        }
        let Machine {
            kernel,
            processors,
            load_average,
        } = &self.machine;
        println!("Linux {kernel}, {processors} processors, load average {load_average}");
        println!(
            "medians of {} rounds, lowest and highest in brackets",
            self.rounds
        );
        for Comparison { name, unit, ways } in &self.comparisons {
            println!("\n{name}");
            for Compared { way, figure, ratio } in ways {
                println!("  {way:<18}{} {unit:<4} x{:.2}", show(figure), ratio.median);
            }
        }
        for note in &self.notes {
            println!("\n{note}");
        }
        if !self.programs.is_empty() {
            println!("\nthe program alone, an empty one's time taken off");
        }
        for Program {
            frame,
            unit,
            figure,
        } in &self.programs
        {
            println!("  {frame:<36}{} {unit}", show(figure));
        }
    }
}

impl Machine {
    fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let load = read("/proc/loadavg");
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processors: thread::available_parallelism().map_or(0, usize::from),
            load_average: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
        }
    }
}

fn show(figure: &Figure) -> String {
    let Figure { median, min, max } = figure;
    let digits = if *median < 100.0 { 1 } else { 0 };
    let range = format!("({min:.digits$} to {max:.digits$})");
    format!("{median:>9.digits$} {range:<20}")
}

/// Tells a waiting person that something is happening.
fn progress(what: &str) {
    if stderr().is_terminal() {
        eprintln!("measured: {what}");
    }
}
