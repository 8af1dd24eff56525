//! The figures, for people and for programs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{IsTerminal, stderr};
use std::thread;

use serde::{Deserialize, Serialize};

use crate::figure::Figure;

/// What was measured so far.
#[derive(Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) rounds: usize,
    pub(crate) sections: Vec<Section>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) processors: usize,
}

/// What was measured of one scenario.
#[derive(Serialize, Deserialize)]
pub(crate) struct Section {
    pub(crate) scenario: String,
    /// What was compared, and how.
    pub(crate) about: String,
    /// Over the last minute before it began: what the machine had to do besides.
    pub(crate) load_average: String,
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) costs: Vec<Cost>,
    /// What could not be measured, and why.
    pub(crate) notes: Vec<String>,
}

/// The same thing in each of the ways.
#[derive(Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// Tells comparisons of one name in one scenario apart.
    pub(crate) case: String,
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
    pub(crate) ways: Vec<Compared>,
}

/// Which figures are the better ones.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Less,
    More,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Compared {
    pub(crate) way: String,
    pub(crate) figure: Figure,
    /// In terms of the first way: the median of the rounds' own ratios.
    pub(crate) ratio: f64,
}

/// Something that is compared with nothing but what was aimed at.
#[derive(Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) figure: Figure,
    pub(crate) aim: Option<f64>,
}

/// A way, with what was measured in it by round.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) values: Vec<f64>,
}

impl Report {
    pub(crate) fn new(rounds: usize) -> Self {
        Self {
            machine: Machine::this(),
            rounds,
            sections: Vec::new(),
        }
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds
    }

    /// Begins a scenario; what is added from now on belongs to it.
    pub(crate) fn begin(&mut self, scenario: &str, about: &str) {
        progress(&format!("{scenario} ..."));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        self.sections.push(Section {
            scenario: scenario.to_owned(),
            about: about.to_owned(),
            load_average: load.split(' ').next().unwrap_or_default().to_owned(),
            comparisons: Vec::new(),
            costs: Vec::new(),
            notes: Vec::new(),
        });
    }

    /// Adds what was measured in each of these ways; the others are put in terms of the first.
    pub(crate) fn compare(
        &mut self,
        case: &str,
        name: &str,
        unit: &str,
        better: Better,
        ways: Vec<Way>,
    ) {
        progress(name);
        let first = ways.first().map(|way| way.values.clone());
        let first = first.unwrap_or_default();
        let compared = |Way { name, values }: Way| {
            let ratios = values.iter().zip(&first);
            let ratios = ratios.map(|(value, first)| value / first);
            Compared {
                way: name.to_owned(),
                ratio: Figure::of(ratios.collect()).median,
                figure: Figure::of(values),
            }
        };
        let ways = ways.into_iter().map(compared).collect();
        let (case, name, unit) = (case.to_owned(), name.to_owned(), unit.to_owned());
        let comparison = Comparison {
            case,
            name,
            unit,
            better,
            ways,
        };
        self.section().comparisons.push(comparison);
    }

    /// Adds what is compared with nothing, by round, and what it should be at most.
    pub(crate) fn add(&mut self, name: &str, unit: &str, aim: Option<f64>, values: Vec<f64>) {
        progress(name);
        let cost = Cost {
            name: name.to_owned(),
            unit: unit.to_owned(),
            figure: Figure::of(values),
            aim,
        };
        self.section().costs.push(cost);
    }

    /// Notes what could not be measured, and why.
    pub(crate) fn note(&mut self, text: &str) {
        progress(text);
        self.section().notes.push(text.to_owned());
    }

    fn section(&mut self) -> &mut Section {
        self.sections.last_mut().expect("a scenario has begun")
    }

    /// Every figure, by what it is of.
    pub(crate) fn figures(&self) -> BTreeMap<[&str; 4], (Figure, &str)> {
        let mut figures = BTreeMap::new();
        for section in &self.sections {
            let scenario = section.scenario.as_str();
            for Comparison {
                case,
                name,
                unit,
                ways,
                ..
            } in &section.comparisons
            {
                for way in ways {
                    figures.insert(
                        [scenario, case, name, &way.way],
                        (way.figure, unit.as_str()),
                    );
                }
            }
            for Cost {
                name, unit, figure, ..
            } in &section.costs
            {
                figures.insert([scenario, "", name, ""], (*figure, unit.as_str()));
            }
        }
        figures
    }

    pub(crate) fn print(&self) {
        println!("{}", self.machine);
        println!("medians of {} rounds, with their quartiles", self.rounds);
        for section in &self.sections {
            section.print();
        }
    }

    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("figures are JSON") + "\n"
    }
}

impl Section {
    fn print(&self) {
        println!("\n{} (load average {})", self.scenario, self.load_average);
        for Comparison {
            case,
            name,
            unit,
            ways,
            ..
        } in &self.comparisons
        {
            let case = if case.is_empty() {
                String::new()
            } else {
                format!("{case}: ")
            };
            println!("\n  {case}{name}, {unit}");
            for Compared { way, figure, ratio } in ways {
                println!("    {way:<24}{:<28} x{ratio:.2}", figure.to_string());
            }
        }
        if !self.costs.is_empty() {
            println!();
        }
        for Cost {
            name,
            unit,
            figure,
            aim,
        } in &self.costs
        {
            let aim = aim.map(|aim| format!("aim {aim}")).unwrap_or_default();
            println!("  {name:<44}{:<28} {unit:<6}{aim}", figure.to_string());
        }
        for note in &self.notes {
            println!("\n  {note}");
        }
    }
}

impl Machine {
    fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let about = read("/proc/cpuinfo");
        let model = about
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let model = model.and_then(|line| line.split_once(": "));
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor: model.map_or("unknown", |(_, name)| name).to_owned(),
            processors: thread::available_parallelism().map_or(0, usize::from),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            kernel,
            processor,
            processors,
        } = self;
        write!(f, "Linux {kernel}, {processors} processors ({processor})")
    }
}

/// Tells a waiting person that something is happening.
fn progress(what: &str) {
    if stderr().is_terminal() {
        eprintln!("{what}");
    }
}
