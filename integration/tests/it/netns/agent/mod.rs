//! The long-running half, as a user notices it.

mod asking;
mod doors;
mod dying;
mod following;
mod indoors;
mod running;
mod sizing;

use std::fs::{self, File};
use std::process::{Child, ExitStatus, Stdio};

use integration::lab::{Bowline, Fleet, Underlay, eventually_some};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::NamedTempFile;

/// An interval that is as short as a busy machine allows.
pub(super) const QUICK: [&str; 2] = ["--interval", "0.1"];

/// An agent that runs; it is killed when this is dropped.
pub(super) struct Agent {
    child: Child,
    log: NamedTempFile,
}

impl Agent {
    pub(super) fn start(bowline: &Bowline<'_>, arguments: &[&str]) -> Self {
        Self::start_with(bowline, arguments, &[])
    }

    fn start_with(bowline: &Bowline<'_>, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let log = NamedTempFile::new().unwrap();
        let mut command = bowline.command(&[&["agent"], arguments].concat());
        command
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(File::create(log.path()).unwrap());
        let child = command.spawn().unwrap();
        Self { child, log }
    }

    /// What it has said so far.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn stop(mut self, signal: Signal) -> ExitStatus {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An instance on every host.
fn fleet(underlay: &Underlay) -> Fleet<'_> {
    underlay.instances(env!("CARGO_BIN_EXE_lab-bowline"))
}

/// What is shown of a peer.
fn peer(bowline: &Bowline<'_>, name: &str) -> Value {
    let shown = bowline.json(&["show", "peers"]);
    let peers = shown["peers"].as_array().unwrap();
    let found = peers.iter().find(|peer| peer["name"] == name);
    found.unwrap_or_else(|| panic!("{shown}")).clone()
}

/// Waits until a peer is shown as it should be; returns it.
#[track_caller]
fn eventually_peer(
    bowline: &Bowline<'_>,
    name: &str,
    what: &str,
    is_so: impl Fn(&Value) -> bool,
) -> Value {
    let mut last = Value::Null;
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually_some(what, || {
            last = peer(bowline, name);
            is_so(&last).then(|| last.clone())
        })
    }));
    found.unwrap_or_else(|_| panic!("not in time: {name} {what}: {last}"))
}

#[track_caller]
fn eventually_is(bowline: &Bowline<'_>, name: &str, state: &str) -> Value {
    eventually_peer(bowline, name, state, |peer| peer["state"] == state)
}
