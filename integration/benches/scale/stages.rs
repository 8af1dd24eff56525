//! The stages of a document's journey that need no kernel, in a process of their own.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bowline::instance::Instance;
use bowline::plan::{Plan, Situation};
use bowline::{document, topology};
use serde::{Deserialize, Serialize};

use crate::topologies::Kind;

/// What they took.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stages {
    /// Bytes of the file.
    pub(crate) text: usize,
    /// From text to typed values, with all names resolved and all rules checked.
    pub(crate) compile: Duration,
    /// One host's plan; the median of those that were made.
    pub(crate) plan: Duration,
    /// Rows of such a plan, the most of those that were made, and their bytes.
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    /// The most memory that the process had, in bytes. It held the text, the topology and a plan per processor.
    #[serde(default)]
    pub(crate) memory: u64,
}

/// Does it in another process.
pub(crate) fn measure(kind: Kind, size: u32) -> Stages {
    let own = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new(own);
    command.args(["--stages", kind.name(), &size.to_string()]);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.expect("start another process");
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).expect("what it measured")
}

/// What the other process does.
pub(crate) fn child(kind: &str, size: &str) -> ExitCode {
    let kind = Kind::ALL.into_iter().find(|it| it.name() == kind);
    let (Some(kind), Ok(size)) = (kind, size.parse()) else {
        return ExitCode::from(2);
    };
    let mut stages = run(kind, size);
    stages.memory = peak();
    println!("{}", serde_json::to_string(&stages).expect("JSON"));
    ExitCode::SUCCESS
}

fn run(kind: Kind, size: u32) -> Stages {
    let text = kind.topology(size, false).replace('@', "");
    let began = Instant::now();
    let document = document::parse("scale.yaml", &text);
    let document = document.unwrap_or_else(|problems| panic!("{:?}", problems.first()));
    let topology = topology::compile(&[document]);
    let topology = topology.unwrap_or_else(|problems| panic!("{:?}", problems.first()));
    let compile = began.elapsed();
    let instance = Instance::new(Some("scale")).expect("a short name");
    let hosts = kind.planned(size);
    let mut situations: Vec<_> = hosts
        .iter()
        .map(|host| Situation::from_afar(&topology, host))
        .collect();
    if situations.is_empty() {
        situations.push(Situation::default());
    }
    let plan = |situation: &Situation| {
        let began = Instant::now();
        let plan = Plan::new(&topology, &instance, situation);
        let time = began.elapsed();
        let tables = plan.rows(&BTreeMap::new());
        let rows = || tables.values().flatten();
        let count = rows().count();
        if let Some(computed) = kind.rows(size) {
            assert_eq!(count, computed, "rows of {:?}", plan.host);
        }
        let bytes: usize = rows().map(|(key, value)| key.len() + value.len()).sum();
        (time, count, bytes)
    };
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let shares = situations.chunks(situations.len().div_ceil(processors));
    let plans: Vec<_> = thread::scope(|scope| {
        let planning: Vec<_> = shares
            .map(|share| scope.spawn(|| share.iter().map(plan).collect::<Vec<_>>()))
            .collect();
        let plans = planning
            .into_iter()
            .flat_map(|it| it.join().expect("plans"));
        plans.collect()
    });
    let mut times: Vec<_> = plans.iter().map(|(time, ..)| *time).collect();
    times.sort();
    Stages {
        text: text.len(),
        compile,
        plan: times[times.len() / 2],
        rows: plans.iter().map(|(_, rows, _)| *rows).max().unwrap_or(0),
        bytes: plans.iter().map(|(.., bytes)| *bytes).max().unwrap_or(0),
        memory: 0,
    }
}

/// The most memory that this process had so far, in bytes (`proc(5)`).
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
