//! `bowline`, run as a user runs it.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use ::bowline::instance::{Instance, STATE_DIR_VARIABLE};
use ::bowline::kernel::datapath::remove_all;
use serde_json::Value;
use tempfile::TempDir;

use super::{Engine, Namespace};

/// An instance of the test's own on a host of the lab. Its pins are gone when it is dropped.
#[derive(Debug)]
pub struct Bowline<'a> {
    host: Host<'a>,
    program: PathBuf,
    instance: Instance,
    folder: TempDir,
}

/// Where it runs.
#[derive(Clone, Copy, Debug)]
enum Host<'a> {
    Space(&'a Namespace),
    Machine(&'a Engine),
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Run {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl<'a> Bowline<'a> {
    /// A new instance on a host. `program` is the binary, which cargo tells tests as
    /// `env!("CARGO_BIN_EXE_lab-bowline")`.
    ///
    /// # Panics
    /// No folder can be made for its state.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, host: &'a Namespace) -> Self {
        Self::at(program.into(), Host::Space(host))
    }

    /// The same on a machine with an engine.
    ///
    /// # Panics
    /// As [`Bowline::new`].
    #[must_use]
    pub fn on_machine(program: impl Into<PathBuf>, engine: &'a Engine) -> Self {
        Self::at(program.into(), Host::Machine(engine))
    }

    fn at(program: PathBuf, host: Host<'a>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lab-{}-{count}", std::process::id());
        let folder = TempDir::with_prefix("bowline-lab-").expect("make a folder");
        let instance = Instance::new(Some(&name)).expect("a short name");
        Self {
            host,
            program,
            instance: instance.with_state_root(folder.path()),
            folder,
        }
    }

    /// The instance.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The command `bowline ARGUMENTS` on the host, for this instance.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = self.program.to_str().expect("a path in UTF-8");
        let folder = self.folder.path();
        let mut command = match self.host {
            Host::Space(host) => host.command(program),
            // Whoever enters a machine is in its root folder.
            Host::Machine(engine) => {
                let folder = folder.to_str().expect("a path in UTF-8");
                engine.command(&["env", "--chdir", folder, program])
            }
        };
        command
            .current_dir(folder)
            .env(STATE_DIR_VARIABLE, folder)
            .env_remove("BOWLINE_INSTANCE")
            .args(["--instance", self.instance.name()])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs `bowline ARGUMENTS` to its end.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let output = self.command(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("bowline {arguments:?}: {error}"));
        Run {
            status: output.status,
            stdout: String::from_utf8(output.stdout).expect("bowline prints UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("bowline prints UTF-8"),
        }
    }

    /// Runs `bowline ARGUMENTS`, which must succeed; returns what it printed.
    ///
    /// # Panics
    /// It fails.
    #[track_caller]
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert!(run.status.success(), "bowline {arguments:?}: {run}");
        run.stdout
    }

    /// What `bowline ARGUMENTS -o json` prints.
    ///
    /// # Panics
    /// It fails, or prints no JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.succeed(&[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Writes a topology file into the folder that commands run in; returns its name.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write<'b>(&self, name: &'b str, text: &str) -> &'b str {
        fs::write(self.folder.path().join(name), text).expect("write a topology file");
        name
    }

    /// Writes and loads a topology, which must succeed.
    ///
    /// # Panics
    /// It fails.
    #[track_caller]
    pub fn load(&self, text: &str) -> String {
        let file = self.write("topology.yaml", text);
        self.succeed(&["load", file])
    }

    /// The same through the standard input.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn load_stdin(&self, text: &str) -> Run {
        let mut command = self.command(&["load", "-"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("start bowline");
        let mut stdin = child.stdin.take().expect("a standard input");
        stdin.write_all(text.as_bytes()).expect("write to bowline");
        drop(stdin);
        let output = child.wait_with_output().expect("wait for bowline");
        Run {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Drop for Bowline<'_> {
    fn drop(&mut self) {
        // Links go with the host; pins would stay. There is nobody to tell about errors.
        let _ = remove_all(&self.instance);
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{}{}", self.status, self.stdout, self.stderr)
    }
}
