//! `build` and `run`: the release build of `bowline`, with the BPF object inside.

use crate::failure::{Failure, Result};
use crate::workspace::Workspace;
use crate::{bpf, process};
use std::ffi::OsString;

pub(crate) const BUILD_HELP: &str = "\
Build the BPF object, then bowline in release form around it.

Usage: cargo xtask build [CARGO-ARGS...]

Prints the path of the binary. Arguments go to `cargo build`.

Examples:
  cargo xtask build
  cargo xtask build --locked
  sudo $(cargo xtask build) load examples/two-containers.yaml
";

pub(crate) const RUN_HELP: &str = "\
Build bowline and run it, as root.

Usage: cargo xtask run -- [BOWLINE-ARGS...]

Uses `sudo -E` when not root. The exit code is bowline's own.

Examples:
  cargo xtask run -- load examples/two-containers.yaml
  cargo xtask run -- show -o json
";

/// Builds the object and the binary.
pub(crate) fn build(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    bpf::build(workspace)?;
    let mut command = workspace.cargo();
    command
        .args(["build", "--release", "--package", "bowline"])
        .args(arguments);
    process::run(&mut command)
        .map_err(|_| Failure::new("bowline does not build; cargo says why above"))
}

/// Builds, then becomes the binary with the user's arguments, in the user's folder.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    build(workspace, &[])?;
    let arguments = match arguments {
        [first, rest @ ..] if first == "--" => rest,
        all => all,
    };
    process::stand_in(process::as_root(workspace.binary())?.args(arguments))
}
