//! A Docker engine on a small machine of its own: own network, own processes, own /run and /etc. It
//! never meets the engine of the machine that the tests run on, and whatever becomes of the tests,
//! nothing of it is left: the kernel takes the machine away with its namespaces.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{Namespace, eventually, patience};

/// The image that every container is made from.
pub const IMAGE: &str = "busybox:lab";
/// The folder of the engine on its machine.
pub const FOLDER: &str = "/run/lab";
/// What the machine is made of.
const PROGRAMS: [&str; 6] = [
    "unshare",
    "nsenter",
    "busybox",
    "containerd",
    "dockerd",
    "docker",
];

/// The machine with a running engine.
#[derive(Debug)]
pub struct Engine {
    /// Started the machine and cleans up after it. The machine lives while its standard input is open.
    keeper: Child,
    /// The process whose namespaces are the machine's.
    entry: u32,
}

impl Engine {
    /// Starts an engine that makes no rules of iptables, which bowline needs none of.
    ///
    /// # Errors
    /// There is no engine, or it cannot run here.
    pub fn start() -> Result<Self> {
        Self::start_as(false)
    }

    /// Starts an engine that filters and translates by rules of iptables, as it does by itself.
    ///
    /// # Errors
    /// There is no engine, or it cannot run here; nor may there be what it makes rules of.
    pub fn start_with_rules() -> Result<Self> {
        Self::start_as(true)
    }

    fn start_as(has_rules: bool) -> Result<Self> {
        // An ordinary user's PATH lacks the folders of some programs that root runs.
        let find = r#"PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin command -v "$1""#;
        for program in PROGRAMS {
            let mut command = Command::new("sh");
            command.args(["-c", find, "sh", program]);
            if !command.stdout(Stdio::null()).status()?.success() {
                bail!("there is no {program}");
            }
        }
        let mut engine = Self::boot(has_rules)?;
        engine.wait()?;
        engine.make_image()?;
        Ok(engine)
    }

    /// Starts the machine.
    fn boot(has_rules: bool) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let group = format!("bowline-test-{}-{count}", std::process::id());
        let mut keeper = Command::new("sh");
        keeper.args(["-c", include_str!("engine/keeper.sh"), "keeper"]);
        let has_rules = if has_rules { "true" } else { "false" };
        keeper.args([include_str!("engine/machine.sh"), &group, has_rules]);
        let mut keeper = keeper
            // Ctrl-C is for the tests; the machine follows them.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Whoever reads the output of the tests to its end waits until the machine is gone.
            .stderr(io::stdout())
            .spawn()?;
        let stdout = keeper.stdout.take().context("the keeper has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let entry = line.trim().parse().context("the keeper did not start")?;
        Ok(Self { keeper, entry })
    }

    /// Waits until the engine answers.
    fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + patience();
        let gone = self.path(&format!("{FOLDER}/engine-is-gone"));
        // Until the new namespaces are entered, commands would run in the old ones.
        while !self.path(&format!("{FOLDER}/docker.sock")).exists()
            || !self.run(&["docker", "version"])?.status.success()
        {
            if gone.exists() {
                bail!("it ended: {}", self.last_words("dockerd"));
            }
            if self.keeper.try_wait()?.is_some() {
                bail!("its machine could not be set up; the output above says why");
            }
            if Instant::now() > deadline {
                let (engine, below) = (self.last_words("dockerd"), self.last_words("containerd"));
                bail!(
                    "it does not answer after {:?}: {engine}; {below}",
                    patience()
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn make_image(&self) -> Result<()> {
        let import = format!("tar -C {FOLDER}/image -c . | docker import - {IMAGE}");
        let probe = format!("docker run --rm --network none {IMAGE} true");
        for line in [import, probe] {
            let output = self.run(&["sh", "-c", &line])?;
            if !output.status.success() {
                bail!(
                    "`{line}`: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
            }
        }
        Ok(())
    }

    /// The network namespace of the machine.
    #[must_use]
    pub fn namespace(&self) -> Namespace {
        let file = format!("/proc/{}/ns/net", self.entry);
        Namespace::of_file("engine", Path::new(&file))
    }

    /// The network namespace of a process, by its id on the machine.
    #[must_use]
    pub fn namespace_of(&self, pid: u32) -> Namespace {
        Namespace::of_file("container", &self.path(&format!("/proc/{pid}/ns/net")))
    }

    /// A command on the machine. What a user there would have in the environment is set.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let entry = self.entry;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{entry}/ns/net"))
            .arg(format!("--mount=/proc/{entry}/ns/mnt"))
            .arg(format!("--pid=/proc/{entry}/ns/pid_for_children"))
            .args(words)
            .env("DOCKER_HOST", format!("unix://{FOLDER}/docker.sock"))
            .stdin(Stdio::null());
        command
    }

    /// Ends the engine by a signal, as `kill` calls it, and starts it again as it was started. The value is the
    /// new engine, which goes with its machine.
    ///
    /// # Panics
    /// It does not end, or does not come back.
    pub fn restart(&self, signal: &str) -> Child {
        self.restart_as(signal, |_| {})
    }

    /// The same with other words of its command line.
    ///
    /// # Panics
    /// As for [`Engine::restart`].
    pub fn restart_as(&self, signal: &str, change: impl FnOnce(&mut Vec<String>)) -> Child {
        let read = |path: &str| fs::read_to_string(self.path(path));
        let pid = read(&format!("{FOLDER}/docker.pid")).expect("the engine runs");
        let process = format!("/proc/{}", pid.trim());
        let line = read(&format!("{process}/cmdline")).expect("the engine runs");
        let killed = self.run(&["kill", signal, pid.trim()]);
        assert!(
            killed.is_ok_and(|killed| killed.status.success()),
            "kill the engine"
        );
        eventually("the engine has ended", || !self.path(&process).exists());
        let mut words: Vec<String> = line.split_terminator('\0').map(str::to_owned).collect();
        change(&mut words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = self.command(&words);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        eventually("the engine answers", || {
            let version = self.run(&["docker", "version"]);
            version.is_ok_and(|version| version.status.success())
        });
        child.expect("start the engine")
    }

    fn run(&self, words: &[&str]) -> Result<Output> {
        let run = || format!("run {words:?}");
        self.command(words).output().with_context(run)
    }

    /// The path by which a file of the machine is found from outside.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.entry))
    }

    /// The last line of a log, which is where a program says why it gives up.
    fn last_words(&self, program: &str) -> String {
        let log = fs::read_to_string(self.path(&format!("{FOLDER}/{program}.log")));
        let log = log.unwrap_or_default();
        let last = log.lines().rfind(|line| !line.trim().is_empty());
        format!("{program}: {}", last.unwrap_or("its log is empty"))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The machine ends when nobody holds the other end of this, and the keeper after it.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
