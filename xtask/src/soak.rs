//! `soak`: two hosts under load while one thing after another goes wrong, as root, in mount and process
//! namespaces that take everything with them when they end.

use crate::artifact::{self, Executable};
use crate::failure::{Failure, Result};
use crate::setup::{self, Purpose};
use crate::workspace::Workspace;
use crate::{bpf, process};
use std::ffi::OsString;

pub(crate) const HELP: &str = "\
Let everything go wrong under load, and count what is lost.

Usage: cargo xtask soak [--minutes N] [--seed N] [--only WORD] [--light]

Two hosts in network namespaces, with agents, carry TCP, UDP and pings on one host and between both. Every
packet is counted while, in an order that the seed decides, files are loaded again and changed, programs
exchanged, loaders and agents killed, tables flooded, frames mutated, the uplink cut, a peer lost, the BPF
file system unmounted, Docker restarted on a third host, and a second instance comes and goes. After each,
links, addresses, routes, queues, filters, pins and namespaces must be as before. Prints what was done and
what was lost; fails if something was lost that need not have been, if a TCP connection broke, or if
anything is left in the end.

Options:
  --minutes N  for how long (default: 2)
  --seed N     the order and the moments of an earlier run, which printed its seed
  --light      floods, and a table of connections, of a 32nd, for processors that are emulated
  --only WORD  only that which has this in its name, as the last table has it

Example:
  cargo xtask soak --minutes 30

`cargo xtask vm --soak` runs it on other kernels.
";

/// What it runs in. With its path: a shell may have a program of this name in itself, which can less.
pub(crate) const APART: [&str; 6] = [
    "/usr/bin/unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
];

/// Builds and runs it.
pub(crate) fn soak(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    setup::ensure(&[Purpose::Test])?;
    bpf::build(workspace)?;
    let executable = build(workspace)?;
    let [unshare, options @ ..] = APART;
    let mut command = process::as_root(unshare)?;
    command.args(options).arg(&executable.path).args(arguments);
    process::stand_in(&mut command)
}

/// Builds it, optimized: who looks for what is lost must keep up with what is sent.
pub(crate) fn build(workspace: &Workspace) -> Result<Executable> {
    let mut command = workspace.cargo();
    command.args(["bench", "--package", "integration", "--bench", "soak"]);
    let executables = artifact::build(&mut command)
        .map_err(|_| Failure::new("the soak does not build; cargo says why above"))?;
    let mut executables = executables.into_iter();
    executables
        .next()
        .ok_or_else(|| Failure::new("the integration crate has no benchmark called `soak`"))
}
