//! Where the story's commands run: on a host of the lab, with the host's engine and the bowline
//! that was just built. What is shown is, to the letter, what is run.

use super::host::Host;
use super::lab;
use crate::failure::{Failure, Result};
use crate::workspace::Workspace;
use crate::{process, terminal};
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The instance keeps a host's bowline apart from that of another, and from a real one on the same
/// machine.
const INSTANCE_VARIABLE: &str = "BOWLINE_INSTANCE";

/// Where bowline keeps its state; in the demo, in the host's folder, which goes away as a whole.
const STATE_VARIABLE: &str = "BOWLINE_STATE_DIR";

pub(super) struct Stage {
    pub(super) host: &'static Host,
    root: PathBuf,
    path: OsString,
}

impl Stage {
    pub(super) fn new(workspace: &Workspace, host: &'static Host) -> Result<Self> {
        Ok(Self {
            host,
            root: workspace.root.clone(),
            path: path(workspace)?,
        })
    }

    /// A program in the host's namespace, in a session of its own.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setsid");
        command.args(["nsenter", &lab::entry(self.host.name), program]);
        self.surround(&mut command);
        command
    }

    /// Shows a command line and runs it.
    pub(super) fn run(&self, line: &str) -> Result<()> {
        self.show(line);
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
        self.show(line);
        let output = self.read(line)?;
        terminal::say(output.trim_end());
        Ok(output)
    }

    /// Shows a command line as a user would type it there.
    pub(super) fn show(&self, line: &str) {
        terminal::say(terminal::prompt(self.host.prompt, line));
    }

    /// Runs a command line silently.
    pub(super) fn read(&self, line: &str) -> Result<String> {
        process::output(&mut self.shell(line))
    }

    /// The command line by which a user enters the stage.
    pub(super) fn way_in(&self, workspace: &Workspace) -> String {
        let folder = workspace.target.join("release");
        format!(
            "sudo nsenter {} env DOCKER_HOST={} {INSTANCE_VARIABLE}={} {STATE_VARIABLE}={} \
             \"PATH={}:$PATH\" bash",
            lab::entry(self.host.name),
            self.host.engine(),
            self.host.name,
            state_folder(self.host).display(),
            folder.display()
        )
    }

    /// A command line that goes on beside the others; what it says about itself is not shown.
    pub(super) fn start(&self, line: &str) -> Result<Child> {
        self.show(line);
        let mut shell = self.shell(&format!("exec {line}"));
        shell.stdout(Stdio::piped()).stderr(Stdio::null());
        shell
            .spawn()
            .map_err(|error| Failure::new(format!("cannot start `{line}`: {error}")))
    }

    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([&lab::entry(self.host.name), "sh", "-c", line]);
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        command.current_dir(&self.root).env("PATH", &self.path);
        command.env("DOCKER_HOST", self.host.engine());
        identify(command, self.host);
    }
}

/// A bowline command for the clean-up, which shows nothing.
pub(super) fn bowline(workspace: &Workspace, host: &Host) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(lab::entry(host.name)).arg(workspace.binary());
    identify(&mut command, host);
    command
}

fn identify(command: &mut Command, host: &Host) {
    command
        .env(INSTANCE_VARIABLE, host.name)
        .env(STATE_VARIABLE, state_folder(host));
}

fn state_folder(host: &Host) -> PathBuf {
    host.path("state")
}

fn path(workspace: &Workspace) -> Result<OsString> {
    let old = env::var_os("PATH").unwrap_or_default();
    let folders = [workspace.target.join("release")]
        .into_iter()
        .chain(env::split_paths(&old));
    env::join_paths(folders)
        .map_err(|error| Failure::new(format!("cannot put bowline on PATH: {error}")))
}
