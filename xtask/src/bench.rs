//! `bench` and `scale`: the benchmarks of the integration crate, against the release build, as root.

use crate::failure::{Failure, Result};
use crate::setup::{self, Purpose};
use crate::workspace::Workspace;
use crate::{artifact, bpf, process};
use std::ffi::OsString;

pub(crate) const HELP: &str = "\
Measure bowline against what else there is.

Usage: cargo xtask bench [SCENARIO...] [--rounds N] [-o json] [--write FOLDER] [--compare FILE]

Builds in release form, then measures as root (sudo when not root) in network namespaces of its
own; all scenarios take about three minutes. All ways are measured in turns; a figure is the median
of the rounds (5 by default), with its quartiles. --write puts figures, tables and pictures into a
folder, as in docs/benchmarks; --compare sets the figures against those of an earlier run.

Scenarios (default: all of them):
  same-host  two workloads of one host: a bare veth pair, a Linux bridge, nftables, Docker
  hosts      two hosts: the kernel's VXLAN, Docker's overlay, each kind of tunnel
  routers    1, 3 and 8 routers
  rules      0, 100 and 10000 rules
  nat        masquerading and published ports
  costs      nanoseconds that the programs take for a frame
  tunnels    the same into each kind of tunnel and out of it
  routes     the same among up to a million routes
  memory     what a connection takes

Examples:
  cargo xtask bench same-host hosts
  cargo xtask bench --rounds 15 --write docs/benchmarks
  cargo xtask bench nat --compare docs/benchmarks/figures.json
";

pub(crate) const SCALE_HELP: &str = "\
Measure how far it goes: many workloads, routes and hosts.

Usage: cargo xtask scale [--write FILE | --up-to N]

Builds in release form, then measures what compiling, planning and loading take in time and memory, up
to 100,000 workloads, a million routes, and a simulation of 1000 hosts with 100 workloads each. Loads as
root (sudo when not root) in network namespaces of its own. Takes a few minutes and 3 GB of memory. --write
makes the page, as docs/scale.md; --up-to leaves out what is larger.

Example:
  cargo xtask scale --write docs/scale.md
";

/// Builds and runs the benchmark.
pub(crate) fn bench(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    run(workspace, "bench", arguments)
}

/// Builds and runs the other one.
pub(crate) fn scale(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    run(workspace, "scale", arguments)
}

fn run(workspace: &Workspace, name: &str, arguments: &[OsString]) -> Result<()> {
    setup::ensure(&[Purpose::Bench])?;
    bpf::build(workspace)?;
    let mut command = workspace.cargo();
    command.args(["bench", "--package", "integration", "--bench", name]);
    let executables = artifact::build(&mut command)
        .map_err(|_| Failure::new("the benchmark does not build; cargo says why above"))?;
    let [executable] = executables.as_slice() else {
        return Err(Failure::new(format!(
            "the integration crate has no benchmark called `{name}`"
        )));
    };
    let arguments = match arguments {
        [first, rest @ ..] if first == "--" => rest,
        all => all,
    };
    let mut command = process::as_root(&executable.path)?;
    // Cargo passes this to every benchmark, and harnesses tell a test run by its absence.
    command.arg("--bench").args(arguments);
    process::stand_in(&mut command)
}
