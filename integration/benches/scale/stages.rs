//! The stages of a document's journey that need no kernel, in a process of their own.

use std::process::{Command, ExitCode, Stdio};
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
    /// The most memory that the process had, in bytes. It held the text, the topology and one plan.
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
    let sampled = kind.sampled(size);
    let mut situations: Vec<_> = sampled
        .iter()
        .map(|host| Situation::from_afar(&topology, host))
        .collect();
    if situations.is_empty() {
        situations.push(Situation::default());
    }
    let mut stages = Stages {
        text: text.len(),
        compile,
        plan: Duration::ZERO,
        rows: 0,
        bytes: 0,
        memory: 0,
    };
    let mut times = Vec::new();
    for situation in &situations {
        let began = Instant::now();
        let plan = Plan::new(&topology, &instance, situation);
        times.push(began.elapsed());
        let tables = plan.rows(&std::collections::BTreeMap::new());
        let rows = || tables.values().flatten();
        stages.rows = stages.rows.max(rows().count());
        let bytes = rows().map(|(key, value)| key.len() + value.len()).sum();
        stages.bytes = stages.bytes.max(bytes);
    }
    times.sort();
    stages.plan = times[times.len() / 2];
    stages
}

/// The most memory that this process had so far, in bytes (`proc(5)`).
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
