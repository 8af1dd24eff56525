//! `vm`: the tests on other kernels than this machine's, in virtual machines.
//!
//! Each kernel boots with an image that holds the test binary and what it needs, and nothing else;
//! no disk, no network card, no installation. The first process is `init.sh`.

mod archive;
mod image;
mod kernel;
mod machine;

use crate::artifact::{self, Executable};
use crate::failure::{Context as _, Failure, Result};
use crate::libtest::Counts;
use crate::setup::{self, Purpose};
use crate::workspace::Workspace;
use crate::{apt, bpf, soak, terminal};
use image::Payload;
use kernel::{SERIES, Series};
use machine::{Accelerator, Cable, Machine};
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

pub(crate) const HELP: &str = "\
Run the tests on other kernels, in virtual machines.

Usage: cargo xtask vm [OPTIONS] [KERNEL...]

Kernels (default: all of them):
  6.1    of Debian 12, the oldest that bowline runs on: programs attached as clsact filters
  6.12   of Debian 13: programs attached by TCX links

Runs the levels edge, kernel and netns of `cargo xtask test` on each kernel. Kernels are Debian's
packages, downloaded once and unpacked into $BOWLINE_CACHE, else $XDG_CACHE_HOME/bowline, else
~/.cache/bowline; remove tools/linux-* there to get newer ones. Needs x86-64, Debian's apt, and no
root. KVM is used where it works; without it everything is about ten times slower. This
machine's own kernel is what `cargo xtask test` runs on.

Options:
  --quick           a few tests of each level: what `cargo xtask test vm` runs
  --filter PATTERN  only tests with this in their names; several mean any of them
  --soak            instead of tests, two hosts while everything goes wrong: `cargo xtask soak`, for three minutes
  --minutes N       or so many
  --pair            two virtual machines that a cable joins, as two hosts, and the tests that are for those
  --tcg             do without KVM

What tests print is also in target/vm/KERNEL.log, what the kernel says in target/vm/KERNEL.console.

Examples:
  cargo xtask vm
  cargo xtask vm 6.1 --filter netns::routing
  cargo xtask vm --pair
  cargo xtask vm 6.1 --soak --minutes 5
";

/// After this, a virtual machine hangs; what it is told to go on for comes on top.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// The levels of tests that need a kernel and no Docker.
const LEVELS: [&str; 3] = ["kernel_edge::", "kernel_cases::", "netns::"];

/// Of them, what shows within a few minutes whether a kernel takes the programs and carries frames.
const QUICK: [&str; 15] = [
    "kernel_edge::datapath",
    "kernel_edge::figures",
    "kernel_edge::link",
    "kernel_cases::wire::nat_hairpin",
    "kernel_cases::wire::nat_masquerade",
    "kernel_cases::wire::nat_published",
    "kernel_cases::wire::route_echo",
    "kernel_cases::wire::route_forward",
    "kernel_cases::wire::route_too_big",
    "kernel_cases::wire::underlay_vxlan",
    "netns::bridging::ping_works",
    "netns::bridging::tcp_arrives",
    "netns::lifecycle::unload_leaves_nothing",
    "netns::nat::nftables::",
    "netns::routing::reaching::ping_works",
];

/// What two machines do together. Each finds in a variable which of the two it is.
const PAIR: &str = "netns::pair::";
const END: &str = "BOWLINE_PAIR";
const ENDS: [&str; 2] = ["alpha", "beta"];

struct Options {
    series: Vec<&'static Series>,
    patterns: Vec<String>,
    accelerator: Accelerator,
    environment: &'static [(&'static str, &'static str)],
    /// What starts what is run.
    starter: &'static [&'static str],
    /// How many minutes everything goes wrong for, if it is not tests that are run.
    soak: Option<u64>,
    /// Whether there are two of each kernel, joined by a cable.
    is_pair: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            series: SERIES.iter().collect(),
            patterns: LEVELS.map(str::to_owned).to_vec(),
            accelerator: Accelerator::choose(),
            environment: &[],
            starter: &[],
            soak: None,
            is_pair: false,
        }
    }
}

/// Runs the tests on the chosen kernels and judges them.
pub(crate) fn vm(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let options = parse(arguments)?;
    if let Some(reason) = obstacle() {
        return Err(Failure::new(reason));
    }
    setup::ensure(&[Purpose::Vm])?;
    bpf::build(workspace)?;
    let tests = match options.soak {
        Some(_) => soak::build(workspace)?,
        None => artifact::tests(workspace)?,
    };
    let outcomes = run(workspace, &options, &tests)?;
    terminal::say("");
    terminal::say(terminal::heading(
        "kernel                      verdict   passed   failed  skipped        time",
    ));
    let mut good = true;
    for (release, counts, took) in outcomes {
        let verdict = counts.verdict();
        good &= matches!(verdict, "passed" | "skipped");
        terminal::say(format!(
            "{release:<26}  {}  {:>7}  {:>7}  {:>7}  {:>10}",
            terminal::verdict(verdict, 8),
            counts.passed,
            counts.failed,
            counts.skipped,
            terminal::seconds(took)
        ));
    }
    if good { Ok(()) } else { Err(Failure::Exit(1)) }
}

fn parse(arguments: &[OsString]) -> Result<Options> {
    let mut options = Options::default();
    let mut chosen = Vec::new();
    let mut filters = Vec::new();
    let mut words = arguments.iter().map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        match &*word {
            "--quick" => options.patterns = QUICK.map(str::to_owned).to_vec(),
            "--pair" => {
                options.is_pair = true;
                options.patterns = vec![PAIR.to_owned()];
            }
            "--soak" => {
                options.soak.get_or_insert(3);
            }
            "--minutes" => {
                let minutes = words.next().and_then(|word| word.parse().ok());
                let needed = || Failure::usage("--minutes needs a whole number");
                options.soak = Some(minutes.ok_or_else(needed)?);
            }
            "--tcg" => options.accelerator = Accelerator::Tcg,
            "--filter" => {
                let pattern = words.next();
                let pattern = pattern.ok_or_else(|| Failure::usage("--filter needs a pattern"))?;
                filters.push(pattern.into_owned());
            }
            name => {
                chosen.push(series(name).ok_or_else(|| {
                    let names = SERIES.map(|series| series.name).join(", ");
                    Failure::usage(format!("no kernel or option `{name}`: kernels are {names}"))
                })?);
            }
        }
    }
    if !filters.is_empty() {
        options.patterns = filters;
    }
    if !chosen.is_empty() {
        options.series = chosen;
    }
    if let Some(minutes) = options.soak {
        options.starter = &soak::APART;
        options.patterns = vec!["--minutes".to_owned(), minutes.to_string()];
        if options.accelerator == Accelerator::Tcg {
            options.patterns.push("--light".to_owned());
        }
    }
    Ok(options)
}

fn series(name: &str) -> Option<&'static Series> {
    SERIES.iter().find(|series| series.name == name)
}

/// Whether virtual machines get a real processor here.
pub(crate) fn is_accelerated() -> bool {
    Accelerator::choose() == Accelerator::Kvm
}

/// The names of all kernels.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    SERIES.iter().map(|series| series.name)
}

/// What one test prints on these kernels when it finds a variable.
pub(crate) fn said(
    workspace: &Workspace,
    tests: &Executable,
    kernels: &[&str],
    test: &str,
    environment: &'static [(&'static str, &'static str)],
) -> Result<String> {
    if let Some(reason) = obstacle() {
        return Err(Failure::new(reason));
    }
    setup::ensure(&[Purpose::Vm])?;
    let options = Options {
        series: kernels.iter().filter_map(|name| series(name)).collect(),
        patterns: vec![test.to_owned(), "--nocapture".to_owned()],
        environment,
        ..Options::default()
    };
    let mut said = String::new();
    for (release, counts, _) in run(workspace, &options, tests)? {
        if counts.failed > 0 {
            return Err(Failure::new(format!("{test} failed on Linux {release}")));
        }
    }
    for series in options.series {
        let log = log(workspace, series);
        let text = fs::read(&log).context(|| format!("cannot read {}", log.display()))?;
        said += &String::from_utf8_lossy(&text);
    }
    Ok(said)
}

/// Where everything is that tests print on a kernel.
fn log(workspace: &Workspace, series: &Series) -> PathBuf {
    workspace.target.join(format!("vm/{}.log", series.name))
}

/// The quick part on every kernel, for `cargo xtask test`.
pub(crate) fn quick(workspace: &Workspace, tests: &Executable) -> Result<Counts> {
    if let Some(reason) = obstacle() {
        terminal::say(format!("skipped: vm: {reason}"));
        let mut counts = Counts::default();
        counts.skip();
        return Ok(counts);
    }
    setup::ensure(&[Purpose::Vm])?;
    let options = Options {
        patterns: QUICK.map(str::to_owned).to_vec(),
        ..Options::default()
    };
    let mut sum = Counts::default();
    for (_, counts, _) in run(workspace, &options, tests)? {
        sum += counts;
    }
    Ok(sum)
}

/// Why there can be no virtual machine here.
fn obstacle() -> Option<&'static str> {
    if !cfg!(target_arch = "x86_64") {
        return Some("the kernels are for x86-64");
    }
    (!apt::is_available()).then_some("the kernels are Debian's, and there is no apt-get here")
}

/// Runs the tests on all chosen kernels at the same time; tells of each its release, what came of
/// the tests, and how long they took.
fn run(
    workspace: &Workspace,
    options: &Options,
    tests: &Executable,
) -> Result<Vec<(String, Counts, Duration)>> {
    let mut machines = Vec::new();
    for series in &options.series {
        if options.is_pair {
            for end in ENDS {
                machines.push(prepare(workspace, series, tests, options, Some(end))?);
            }
        } else {
            machines.push(prepare(workspace, series, tests, options, None)?);
        }
    }
    // Emulation of one processor keeps one processor busy.
    thread::scope(|scope| {
        let running: Vec<_> = machines
            .iter()
            .map(|machine| scope.spawn(|| machine.run()))
            .collect();
        let lost = || Failure::new("a virtual machine was lost");
        let ended = running.into_iter().zip(&machines).map(|(thread, machine)| {
            let (counts, took) = thread.join().map_err(|_| lost())??;
            Ok((machine.kernel.release.clone(), counts, took))
        });
        ended.collect()
    })
}

/// A kernel with its image, ready to boot; one end of a pair, or alone.
fn prepare(
    workspace: &Workspace,
    series: &'static Series,
    tests: &Executable,
    options: &Options,
    end: Option<&'static str>,
) -> Result<Machine> {
    let kernel = series.ensure()?;
    let folder = workspace.target.join("vm");
    fs::create_dir_all(&folder).context(|| format!("cannot make {}", folder.display()))?;
    let name = match end {
        Some(end) => format!("{}-{end}", series.name),
        None => series.name.to_owned(),
    };
    let file = |ending: &str| folder.join(format!("{name}.{ending}"));
    let socket = |end: &str| folder.join(format!("{}-{end}.socket", series.name));
    let cable = end.map(|own| {
        let number = ENDS.iter().position(|end| *end == own).unwrap_or_default();
        Cable {
            own: socket(own),
            other: socket(ENDS[1 - number]),
            number: number + 1,
        }
    });
    let variables = options.environment.iter().copied();
    let environment: Vec<_> = variables.chain(end.map(|end| (END, end))).collect();
    // Cargo puts programs one level above the tests that run them.
    let program = tests
        .path
        .ancestors()
        .nth(2)
        .map(|folder| folder.join("lab-bowline"))
        .ok_or_else(|| Failure::new("the test binary is in no folder of cargo's"))?;
    let image = file("cpio");
    let payload = Payload {
        tests,
        starter: options.starter,
        program: &program,
        arguments: &options.patterns,
        patience: options.accelerator.patience(),
        environment: &environment,
    };
    payload.write(image.clone(), &kernel)?;
    Ok(Machine {
        kernel,
        accelerator: options.accelerator,
        image,
        log: file("log"),
        console: file("console"),
        limit: LIMIT + Duration::from_secs(60 * options.soak.unwrap_or(0)),
        cable,
        name,
    })
}
