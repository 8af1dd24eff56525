//! Libvirt: the machine's own, or one that is started for the testbed.
//!
//! Ours lives in a network namespace with a fixed name: its bridges, its DHCP server and its firewall
//! rules never meet the machine's.

use crate::failure::{Context as _, Result};
use crate::{process, terminal};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The namespace.
const NAMESPACE: &str = "bowline-testbed";
/// The folder of disks, as libvirt calls it.
const POOL: &str = "bowline-testbed";
/// The programs, in the order in which they are started.
const DAEMONS: [&str; 2] = ["virtlogd", "libvirtd"];
/// How long they may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Libvirt {
    /// Where the pool of disks and the files with process ids are.
    folder: PathBuf,
}

impl Libvirt {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Starts it if there is none, and makes the pool.
    pub(super) fn start(&self) -> Result<()> {
        if !self.answers() {
            terminal::step("starting libvirt in a network namespace of its own");
            process::run(process::as_root("ip")?.args(["netns", "add", NAMESPACE]))?;
            let lo = ["-n", NAMESPACE, "link", "set", "lo", "up"];
            process::run(process::as_root("ip")?.args(lo))?;
            for name in DAEMONS {
                let mut command = self.command(name)?;
                process::run(
                    command
                        .arg("--daemon")
                        .arg("--pid-file")
                        .arg(self.pid_file(name)),
                )?;
            }
            let deadline = Instant::now() + PATIENCE;
            while !self.answers() && Instant::now() < deadline {
                sleep(Duration::from_millis(200));
            }
        }
        let disks = self.folder.join("pool");
        fs::create_dir_all(&disks).context(|| format!("cannot make {}", disks.display()))?;
        if !self.virsh(&["pool-info", POOL])? {
            let disks = disks.display().to_string();
            let define = ["pool-define-as", POOL, "dir", "--target", &disks];
            process::output(self.virsh_command()?.args(define))?;
        }
        // It may be active already.
        self.virsh(&["pool-start", POOL])?;
        Ok(())
    }

    /// Takes away what [`Libvirt::start`] made.
    pub(super) fn stop(&self) -> Result<()> {
        if self.is_there() {
            for action in ["pool-destroy", "pool-undefine"] {
                self.virsh(&[action, POOL])?;
            }
        }
        for name in DAEMONS.into_iter().rev() {
            let path = self.pid_file(name);
            let pid = fs::read_to_string(&path)
                .ok()
                .and_then(|pid| pid.trim().parse::<u32>().ok());
            if let Some(pid) = pid.filter(|pid| runs(*pid, name)) {
                let kill = r#"kill -s TERM "$1""#;
                let mut command = process::as_root("sh")?;
                process::run(command.args(["-c", kill, "sh", &pid.to_string()]))?;
                while runs(pid, name) {
                    sleep(Duration::from_millis(50));
                }
            }
            let _ = fs::remove_file(path);
        }
        if is_own() {
            // What gives addresses outlives libvirt, which finds it again when it is started again.
            end_all_inside()?;
            process::run(process::as_root("ip")?.args(["netns", "delete", NAMESPACE]))?;
        }
        Ok(())
    }

    /// Whether libvirt answers.
    pub(super) fn is_there(&self) -> bool {
        self.answers()
    }

    fn answers(&self) -> bool {
        self.virsh(&["version"]).unwrap_or(false)
    }

    fn virsh(&self, arguments: &[&str]) -> Result<bool> {
        Ok(process::succeeds(self.virsh_command()?.args(arguments)))
    }

    fn virsh_command(&self) -> Result<Command> {
        let mut command = process::as_root("virsh")?;
        command.args(["--connect", "qemu:///system"]);
        Ok(command)
    }

    fn pid_file(&self, program: &str) -> PathBuf {
        self.folder.join(format!("{program}.pid"))
    }

    /// A program that works where libvirt does. `ip netns exec` and not `nsenter`: libvirt needs the
    /// `/sys` of its network.
    pub(super) fn command(&self, program: &str) -> Result<Command> {
        if !is_own() {
            return process::as_root(program);
        }
        let mut command = process::as_root("ip")?;
        command.args(["netns", "exec", NAMESPACE, program]);
        Ok(command)
    }
}

/// Whether libvirt is ours.
fn is_own() -> bool {
    Path::new("/run/netns").join(NAMESPACE).exists()
}

/// Whether a process is there and runs this program.
fn runs(pid: u32, program: &str) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim() == program
}

/// Ends every process in the namespace.
fn end_all_inside() -> Result<()> {
    let listed = process::output(process::as_root("ip")?.args(["netns", "pids", NAMESPACE]))?;
    for pid in listed.split_whitespace() {
        let mut command = process::as_root("sh")?;
        // It may have ended by now.
        process::succeeds(command.args(["-c", r#"kill -s TERM "$1""#, "sh", pid]));
    }
    Ok(())
}
