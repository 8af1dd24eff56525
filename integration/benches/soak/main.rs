//! Two hosts under load, and whatever may go wrong, again and again: every packet is accounted for, and
//! in the end nothing is left.
//!
//! It runs in mount and process namespaces of its own, which `cargo xtask soak` makes: there it may take
//! the BPF file system away, and nothing survives it.

mod fault;
mod machine;
mod random;
mod site;
mod tally;
mod traffic;

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use integration::lab::{Snapshot, is_usable};

use fault::Fault;
use random::Random;
use site::Site;
use tally::Tally;
use traffic::{Talks, Traffic};

const USAGE: &str = "Usage: soak [--minutes N] [--seed N] [--only WORD] [--light]\n";

struct Options {
    time: Duration,
    seed: u64,
    /// What the names of the faults must contain.
    only: String,
    /// Whether floods and the table of connections are a 32nd of what they are, for a processor that is
    /// emulated.
    is_light: bool,
}

impl Options {
    fn chooses(&self, fault: Fault) -> bool {
        fault.name().contains(&self.only)
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
    if std::process::id() != 1 {
        eprintln!("not in namespaces of its own: start it with `cargo xtask soak`");
        return ExitCode::FAILURE;
    }
    for (kind, place) in [("bpf", "/sys/fs/bpf"), ("tmpfs", "/run/netns")] {
        let _ = std::fs::create_dir_all(place);
        let mounted = Command::new("mount")
            .args(["-t", kind, kind, place])
            .status();
        assert!(mounted.expect("start mount").success(), "{kind} on {place}");
    }
    match soak(&options) {
        Some(tally) if tally.is_good() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Nothing if this kernel lacks what it takes.
fn soak(options: &Options) -> Option<Tally> {
    println!("seed {}", options.seed);
    let mut random = Random::new(options.seed);
    let site = Site::new()?;
    let faults = Fault::ALL.iter().copied();
    let faults = faults.filter(|fault| *fault != Fault::DockerRestarted || site.machine.is_some());
    let faults: Vec<_> = faults.filter(|fault| options.chooses(*fault)).collect();
    if faults.is_empty() {
        eprintln!("nothing of what was chosen can happen here");
        return None;
    }
    let mut tally = Tally::default();
    {
        let mut stage = site.stage(options.is_light);
        let before = stage.snapshots();
        stage.rise();
        let shape = stage.shape();
        let mut talks = Talks::start(&site);
        let began = Instant::now();
        'all: loop {
            // Every fault once, in another order each time.
            for fault in random.shuffled(&faults) {
                if began.elapsed() >= options.time {
                    break 'all;
                }
                let at = began.elapsed();
                let traffic = Traffic::start(&site);
                let done = fault.happen(&mut stage, &mut random);
                stage.is_whole();
                stage.assert_shape(&shape);
                talks.go_on();
                let losses = traffic.finish();
                tally.add(at, fault, &done, losses);
            }
        }
        talks.finish();
        stage.fall();
        let after = stage.snapshots();
        before
            .iter()
            .zip(&after)
            .for_each(|(before, after)| Snapshot::assert_same(before, after));
    }
    println!("links, addresses, routes, queues, filters and pins are as they were before");
    tally.print();
    Some(tally)
}

fn parse(words: impl Iterator<Item = String>) -> Option<Options> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut options = Options {
        time: Duration::from_secs(120),
        seed: now.map_or(1, |now| now.as_secs()),
        only: String::new(),
        is_light: false,
    };
    let mut words = words;
    while let Some(word) = words.next() {
        match word.as_str() {
            // Cargo gives this to every benchmark.
            "--bench" => {}
            "--minutes" => {
                let minutes: f64 = words.next()?.parse().ok().filter(|n| *n > 0.0)?;
                options.time = Duration::from_secs_f64(minutes * 60.0);
            }
            "--light" => options.is_light = true,
            "--only" => options.only = words.next()?,
            "--seed" => options.seed = words.next()?.parse().ok()?,
            _ => return None,
        }
    }
    Fault::ALL
        .iter()
        .any(|fault| options.chooses(*fault))
        .then_some(options)
}
