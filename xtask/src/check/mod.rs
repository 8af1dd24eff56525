//! `check`: everything about the source that needs no running program.
//!
//! Every check runs even when an earlier one fails, so that one run shows all there is to mend.

mod direction;
mod tidy;

use crate::failure::{Failure, Result};
use crate::setup::{self, CARGO_DENY, Purpose};
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;
use crate::{bpf, figures, process, terminal};
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) const HELP: &str = "\
Check the source: form, lints, documentation, dependencies.

Usage: cargo xtask check

  format         cargo fmt --check
  lints          clippy with -D warnings, every target of every crate
  lints-bpf      the same for the programs, compiled for BPF
  documentation  cargo doc with -D warnings
  direction      crates depend on each other in one direction only; aya-ebpf stays off the host
  figures        the programs ask no more of this kernel than ebpf/figures.toml says
  tidy           no file over 600 lines, no path of this machine in a tracked file
  dependencies   cargo-deny: licences, bans, sources
  advisories     cargo-deny: known vulnerabilities, where the database can be reached

All of them run even if one fails; a table at the end shows each with its time.

Example:
  cargo xtask check
";

/// What a check found, when it found no fault.
enum Verdict {
    Passed,
    Skipped(String),
}

type Check = fn(&Workspace) -> Result<Verdict>;

const CHECKS: [(&str, Check); 9] = [
    ("format", format),
    ("lints", lints),
    ("lints-bpf", lints_bpf),
    ("documentation", documentation),
    ("direction", direction::check),
    ("figures", figures),
    ("tidy", tidy::check),
    ("dependencies", dependencies),
    ("advisories", advisories),
];

/// Runs all checks and prints one table.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    setup::ensure(&[Purpose::Check])?;
    ensure_components(workspace)?;
    let mut outcomes = Vec::new();
    for (name, check) in CHECKS {
        terminal::step(name);
        let started = Instant::now();
        let outcome = check(workspace);
        match &outcome {
            Ok(Verdict::Passed) => {}
            Ok(Verdict::Skipped(reason)) => terminal::note(&format!("{name}: skipped: {reason}")),
            Err(failure) => terminal::error(&format!("{name}: {failure}")),
        }
        outcomes.push((name, outcome, started.elapsed()));
    }
    report(&outcomes)
}

fn report(outcomes: &[(&str, Result<Verdict>, Duration)]) -> Result<()> {
    terminal::say("");
    terminal::say(terminal::heading("check          verdict        time"));
    for (name, outcome, took) in outcomes {
        let (word, reason) = match outcome {
            Ok(Verdict::Passed) => ("passed", ""),
            Ok(Verdict::Skipped(reason)) => ("skipped", reason.as_str()),
            Err(_) => ("FAILED", ""),
        };
        let (word, time) = (terminal::verdict(word, 8), terminal::seconds(*took));
        terminal::say(format!("{name:<13}  {word}  {time:>9}  {reason}").trim_end());
    }
    let failed = outcomes
        .iter()
        .filter(|(_, outcome, _)| outcome.is_err())
        .count();
    terminal::say("");
    match failed {
        0 => {
            terminal::say("all checks passed");
            Ok(())
        }
        _ => Err(Failure::new(format!(
            "{failed} of {} checks failed; see above",
            outcomes.len()
        ))),
    }
}

/// Gets rustfmt and clippy, which a minimal rustup profile leaves out.
fn ensure_components(workspace: &Workspace) -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if process::succeeds(workspace.cargo().args([subcommand, "--version"])) {
            continue;
        }
        if process::find("rustup").is_none() {
            return Err(Failure::new(format!(
                "`cargo {subcommand}` is missing: install {component} for your Rust toolchain"
            )));
        }
        terminal::step(&format!("rustup component add {component}"));
        process::run(Command::new("rustup").args(["component", "add", component]))?;
    }
    Ok(())
}

fn format(workspace: &Workspace) -> Result<Verdict> {
    process::run(workspace.cargo().args(["fmt", "--all", "--check"]))
        .map_err(|_| Failure::new("not formatted: run `cargo fmt --all`"))?;
    Ok(Verdict::Passed)
}

fn lints(workspace: &Workspace) -> Result<Verdict> {
    let mut command = workspace.cargo();
    command.args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]);
    process::run(&mut command)?;
    Ok(Verdict::Passed)
}

fn lints_bpf(workspace: &Workspace) -> Result<Verdict> {
    let toolchain = Toolchain::ensure()?;
    toolchain.ensure_clippy()?;
    let mut command = bpf::cargo(&toolchain, workspace, "clippy")?;
    process::run(command.args(["--", "-D", "warnings"]))?;
    Ok(Verdict::Passed)
}

fn documentation(workspace: &Workspace) -> Result<Verdict> {
    let mut command = workspace.cargo();
    command
        .args(["doc", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings");
    process::run(&mut command)?;
    Ok(Verdict::Passed)
}

fn figures(workspace: &Workspace) -> Result<Verdict> {
    if !process::is_root() && process::find("sudo").is_none() {
        let reason = "loading the programs needs root, and there is no sudo";
        return Ok(Verdict::Skipped(reason.to_owned()));
    }
    let counts = figures::compare(workspace)?;
    match counts.verdict() {
        "passed" => Ok(Verdict::Passed),
        "skipped" => Ok(Verdict::Skipped("see above".to_owned())),
        _ => Err(Failure::new(
            "the programs have moved; if that is meant, run `cargo xtask figures`",
        )),
    }
}

fn dependencies(workspace: &Workspace) -> Result<Verdict> {
    process::run(deny(workspace)?.args(["licenses", "bans", "sources"]))?;
    Ok(Verdict::Passed)
}

fn advisories(workspace: &Workspace) -> Result<Verdict> {
    const DATABASE: &str = "https://github.com/rustsec/advisory-db";
    // Without a limit, a network that swallows packets would hold the checks up for minutes.
    let mut probe = Command::new("timeout");
    probe.args(["15", "git", "ls-remote", "--exit-code", DATABASE, "HEAD"]);
    if !process::succeeds(probe.env("GIT_TERMINAL_PROMPT", "0")) {
        return Ok(Verdict::Skipped(
            "the advisory database is out of reach".to_owned(),
        ));
    }
    process::run(deny(workspace)?.arg("advisories"))?;
    Ok(Verdict::Passed)
}

fn deny(workspace: &Workspace) -> Result<Command> {
    let folder = CARGO_DENY.ensure()?;
    let mut command = Command::new(folder.join(CARGO_DENY.name));
    workspace.prepare(&mut command);
    // The lock file has been resolved by now; anything that is missing is an error to show.
    command.args(["--workspace", "--locked", "check"]);
    Ok(command)
}
