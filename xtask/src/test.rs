//! `test`: the levels of tests from cheap to dear, with one table and one line at the end.
//!
//! Everything is built in one go by the ordinary user, which keeps cargo from resolving the
//! workspace's features twice; only the privileged executable then runs as root.

use crate::artifact::{self, Executable};
use crate::failure::{Failure, Result};
use crate::libtest::{self, Counts};
use crate::setup::{self, Purpose};
use crate::workspace::Workspace;
use crate::{binary, bpf, process, terminal, vm};
use std::ffi::OsString;
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) const HELP: &str = "\
Run the tests, from cheap to dear.

Usage: cargo xtask test [LEVEL...]

Levels (default: all of them but vm, in this order):
  unit      unit, property and doc tests of every crate; no root, no BPF toolchain
  cases     case files through the datapath on the host; no root, no BPF toolchain
  edge      links, maps and programs in the kernel, one by one
  kernel    case files through the loaded programs; the kernel must agree with the host
  netns     namespaces as hosts and workloads: real frames
  docker    a real Docker engine in a namespace of its own
  vm        the quick part of `cargo xtask vm`: some of edge, kernel and netns on other kernels

Levels edge to docker run as root (sudo when not root). The last line is always of the form
`N passed, N failed, N skipped`. A failed test, or a level without any, gives exit code 1.

Examples:
  cargo xtask test
  cargo xtask test unit cases
";

/// The tests that start containers.
const DOCKER: &str = "docker";
/// Where these find a bowline that runs in a container of any image.
const STATIC_BINARY: &str = "BOWLINE_STATIC";

/// One level: what it is called, and what it runs.
struct Level {
    name: &'static str,
    tests: Tests,
}

/// The tests of a level.
#[derive(PartialEq, Eq)]
enum Tests {
    /// All that are not of the integration test binary.
    Others,
    /// A module of the integration test binary that needs nothing but a processor.
    OnHost(&'static str),
    /// A module of it that loads programs, and so needs root and the BPF object.
    InKernel(&'static str),
    /// Some of the former on other kernels.
    InMachines,
}

const LEVELS: [Level; 7] = [
    Level {
        name: "unit",
        tests: Tests::Others,
    },
    Level {
        name: "cases",
        tests: Tests::OnHost("host_cases"),
    },
    Level {
        name: "edge",
        tests: Tests::InKernel("kernel_edge"),
    },
    Level {
        name: "kernel",
        tests: Tests::InKernel("kernel_cases"),
    },
    Level {
        name: "netns",
        tests: Tests::InKernel("netns"),
    },
    Level {
        name: "docker",
        tests: Tests::InKernel(DOCKER),
    },
    Level {
        name: "vm",
        tests: Tests::InMachines,
    },
];

struct Outcome {
    name: &'static str,
    counts: Counts,
    took: Duration,
}

/// Runs the chosen levels and judges them.
pub(crate) fn test(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let levels = choose(arguments)?;
    let in_kernel = |level: &&Level| matches!(level.tests, Tests::InKernel(_) | Tests::InMachines);
    if levels.iter().any(in_kernel) {
        setup::ensure(&[Purpose::Test])?;
        bpf::build(workspace)?;
    }
    terminal::step("building the tests");
    let mut command = workspace.cargo();
    let executables = artifact::build(command.args(["test", "--workspace"]))
        .map_err(|_| Failure::new("the tests do not build; cargo says why above"))?;

    let mut outcomes = Vec::new();
    for level in levels {
        let started = Instant::now();
        let counts = run(workspace, level, &executables)?;
        outcomes.push(Outcome {
            name: level.name,
            counts,
            took: started.elapsed(),
        });
    }
    report(&outcomes)
}

fn choose(arguments: &[OsString]) -> Result<Vec<&'static Level>> {
    for argument in arguments {
        if !LEVELS.iter().any(|level| argument == level.name) {
            let names: Vec<_> = LEVELS.iter().map(|level| level.name).collect();
            return Err(Failure::usage(format!(
                "no test level `{}`: there are {}",
                argument.to_string_lossy(),
                names.join(", ")
            )));
        }
    }
    let chosen = |level: &&Level| {
        // Other kernels take as long as all the rest: whoever wants them says so.
        let is_default = level.tests != Tests::InMachines;
        arguments.is_empty() && is_default || arguments.iter().any(|word| word == level.name)
    };
    Ok(LEVELS.iter().filter(chosen).collect())
}

fn run(workspace: &Workspace, level: &Level, executables: &[Executable]) -> Result<Counts> {
    let is_lab = |e: &&Executable| e.package == "integration" && e.target == "it";
    let skip_file = workspace.target.join(format!("skipped-{}", level.name));
    let Some(lab) = executables.iter().find(is_lab) else {
        terminal::error("the integration crate has no test binary `it`");
        return Ok(Counts::default());
    };
    let (module, env) = match level.tests {
        Tests::InMachines => {
            terminal::step("vm: the quick part on other kernels");
            // What the other levels found is worth its table, even if there is no kernel to be had.
            return vm::quick(workspace, lab).or_else(|failure| {
                terminal::error(&failure.to_string());
                Ok(Counts {
                    failed: 1,
                    ..Counts::default()
                })
            });
        }
        Tests::OnHost(module) => (module, Command::new("env")),
        Tests::InKernel(module) => {
            let mut command = process::as_root("env")?;
            if module == DOCKER {
                let binary = binary::build_for_tests(workspace)?;
                command.arg(format!("{STATIC_BINARY}={}", binary.display()));
            }
            (module, command)
        }
        Tests::Others => {
            let mut counts = Counts::default();
            for executable in executables.iter().filter(|executable| !is_lab(executable)) {
                terminal::step(&format!(
                    "{}: {} {}",
                    level.name, executable.package, executable.target
                ));
                counts += libtest::run(
                    &mut prepare(executable, Command::new(&executable.path)),
                    &skip_file,
                )?;
            }
            terminal::step(&format!("{}: documentation", level.name));
            let mut doc = workspace.cargo();
            doc.args(["test", "--workspace", "--doc", "--quiet"]);
            counts += libtest::run(&mut doc, &skip_file)?;
            return Ok(counts);
        }
    };
    terminal::step(&format!("{}: integration {module}", level.name));
    let mut command = env;
    // sudo may drop variables; as arguments of env they arrive.
    command
        .arg(format!("{}={}", libtest::SKIPPED, skip_file.display()))
        .arg(&lab.path);
    let mut command = prepare(lab, command);
    // The filter is a path from the root of the binary, so no other module's name can match.
    command.arg(format!("{module}::"));
    libtest::run(&mut command, &skip_file)
}

fn prepare(executable: &Executable, mut command: Command) -> Command {
    command
        .current_dir(&executable.folder)
        .env("CARGO_MANIFEST_DIR", &executable.folder);
    if terminal::stdout_is_coloured() {
        command.arg("--color=always");
    }
    command
}

fn report(outcomes: &[Outcome]) -> Result<()> {
    terminal::say("");
    terminal::say(terminal::heading(
        "level     verdict   passed   failed  skipped        time",
    ));
    let mut sum = Counts::default();
    let mut good = true;
    for Outcome { name, counts, took } in outcomes {
        let verdict = counts.verdict();
        good &= matches!(verdict, "passed" | "skipped");
        terminal::say(format!(
            "{name:<8}  {}  {:>7}  {:>7}  {:>7}  {:>10}",
            terminal::verdict(verdict, 8),
            counts.passed,
            counts.failed,
            counts.skipped,
            terminal::seconds(*took)
        ));
        sum += *counts;
    }
    terminal::say("");
    terminal::say(format!(
        "{} passed, {} failed, {} skipped",
        sum.passed, sum.failed, sum.skipped
    ));
    if good { Ok(()) } else { Err(Failure::Exit(1)) }
}
