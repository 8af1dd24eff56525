//! `bench`: the benchmarks of the integration crate, against the release build, as root.

use crate::failure::{Failure, Result};
use crate::setup::{self, Purpose};
use crate::workspace::Workspace;
use crate::{artifact, binary, process};
use std::ffi::OsString;

pub(crate) const HELP: &str = "\
Measure bowline against a bare veth pair, a Linux bridge and other tunnels.

Usage: cargo xtask bench [ARGS...]

Builds in release form, then runs the benchmark as root (sudo when not root) in namespaces of
its own. ARGS go to the benchmark.

Examples:
  cargo xtask bench
  cargo xtask bench hosts --rounds 9
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
    command.current_dir(&executable.folder);
    // Cargo passes this to every benchmark, and harnesses tell a test run by its absence.
    command.arg("--bench").args(arguments);
    process::stand_in(&mut command)
}
