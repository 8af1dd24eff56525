//! `build` and `run`: the release build of `bowline`, with the BPF object inside.
//!
//! It is linked statically, so that `bowline wait` runs in a container of any image. Nothing in it asks the C
//! library for names of hosts or users, which static programs cannot do well.

use crate::failure::{Failure, Result};
use crate::workspace::Workspace;
use crate::{bpf, process};
use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) const BUILD_HELP: &str = "\
Build the BPF object, then bowline in release form around it.

Usage: cargo xtask build [CARGO-ARGS...]

Prints the path of the binary, which is linked statically: it runs in containers of
any image, too. Arguments go to `cargo rustc`.

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
    let mut release = vec![OsString::from("--release")];
    release.extend_from_slice(arguments);
    link(workspace, &release)
}

/// Builds the binary as it is for tests, and tells where it lies.
pub(crate) fn build_for_tests(workspace: &Workspace) -> Result<PathBuf> {
    link(workspace, &[])?;
    Ok(workspace.target.join("debug/bowline"))
}

/// Only the last step links statically: libraries and build scripts are those of any other build.
fn link(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let mut command = workspace.cargo();
    command
        .args(["rustc", "--package", "bowline", "--bin", "bowline"])
        .args(arguments)
        .args(["--", "-C", "target-feature=+crt-static"]);
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
