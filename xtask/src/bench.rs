//! `bench`: the benchmarks of the integration crate, against the release build, as root.

use crate::failure::{Failure, Result};
use crate::setup::{self, Purpose};
use crate::workspace::Workspace;
use crate::{artifact, binary, process};
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

/// Builds and runs the benchmark.
pub(crate) fn bench(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    setup::ensure(&[Purpose::Bench])?;
    binary::build(workspace, &[])?;
    let mut command = workspace.cargo();
    command.args(["bench", "--package", "integration", "--bench", "bench"]);
    let executables = artifact::build(&mut command)
        .map_err(|_| Failure::new("the benchmark does not build; cargo says why above"))?;
    let [executable] = executables.as_slice() else {
        return Err(Failure::new(
            "the integration crate has no benchmark called `bench`",
        ));
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
