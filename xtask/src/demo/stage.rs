//! Where the story's commands run: in the lab's namespace, with the lab's engine and the
//! bowline that was just built. What is shown is, to the letter, what is run.

use super::{engine, lab};
use crate::failure::{Failure, Result};
use crate::workspace::Workspace;
use crate::{process, terminal};
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// The instance keeps the demo's bowline apart from a real one on the same machine.
const INSTANCE: &str = "demo";

/// Where bowline keeps its state; in the demo, in the lab's folder, which goes away as a whole.
const STATE_VARIABLE: &str = "BOWLINE_STATE_DIR";

pub(super) struct Stage {
    root: PathBuf,
    path: OsString,
}

impl Stage {
    pub(super) fn new(workspace: &Workspace) -> Result<Self> {
        Ok(Self {
            root: workspace.root.clone(),
            path: path(workspace)?,
        })
    }

    /// A program in the lab's namespace, in a session of its own.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setsid");
        command.args(["nsenter", &lab::entry(lab::HOST), program]);
        self.surround(&mut command);
        command
    }

    /// Shows a command line and runs it.
    pub(super) fn run(&self, line: &str) -> Result<()> {
        terminal::say(terminal::prompt(line));
        let status = process::status(&mut self.shell(line))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(format!(
            "`{line}` {}",
            process::ending(status)
        )))
    }

    /// Shows a command line, runs it, and returns what it printed as well as showing it.
    pub(super) fn run_and_read(&self, line: &str) -> Result<String> {
        terminal::say(terminal::prompt(line));
        let output = self.read(line)?;
        terminal::say(output.trim_end());
        Ok(output)
    }

    /// Runs a command line silently.
    pub(super) fn read(&self, line: &str) -> Result<String> {
        process::output(&mut self.shell(line))
    }

    /// The command line by which a user enters the stage.
    pub(super) fn way_in(&self, workspace: &Workspace) -> String {
        let folder = workspace.target.join("release");
        format!(
            "sudo nsenter {} env DOCKER_HOST={} {STATE_VARIABLE}={} \"PATH={}:$PATH\" bash",
            lab::entry(lab::HOST),
            engine::address(),
            state_folder().display(),
            folder.display()
        )
    }

    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([&lab::entry(lab::HOST), "sh", "-c", line]);
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        command.current_dir(&self.root).env("PATH", &self.path);
        command
            .env("DOCKER_HOST", engine::address())
            .env(STATE_VARIABLE, state_folder());
    }
}

/// The words with which every bowline command of the demo starts.
pub(super) fn bowline_words() -> String {
    format!("bowline --instance {INSTANCE}")
}

/// The same as a command, for the clean-up, which shows nothing.
pub(super) fn bowline(workspace: &Workspace) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(lab::entry(lab::HOST))
        .arg(workspace.binary())
        .args(["--instance", INSTANCE])
        .env(STATE_VARIABLE, state_folder());
    command
}

fn state_folder() -> PathBuf {
    lab::path("state")
}

fn path(workspace: &Workspace) -> Result<OsString> {
    let old = env::var_os("PATH").unwrap_or_default();
    let folders = [workspace.target.join("release")]
        .into_iter()
        .chain(env::split_paths(&old));
    env::join_paths(folders)
        .map_err(|error| Failure::new(format!("cannot put bowline on PATH: {error}")))
}
