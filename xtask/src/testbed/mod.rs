//! `testbed`: hosts that are real virtual machines, made by Vagrant, with Docker and bowline on them.
//!
//! Where libvirt does not run, it is started here, in a network namespace of its own: without systemd,
//! and away from the machine's own network. Without KVM processors are emulated.

mod libvirt;
mod trial;

use crate::failure::{Context as _, Failure, Result};
use crate::setup::{self, Purpose};
use crate::workspace::Workspace;
use crate::{apt, binary, process, terminal, vm};
use libvirt::Libvirt;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

pub(crate) const HELP: &str = "\
Real virtual machines as hosts, by Vagrant.

Usage: cargo xtask testbed up [--hosts N] [--kernel SERIES]
       cargo xtask testbed test
       cargo xtask testbed ssh HOST [COMMAND...]
       cargo xtask testbed down

  up    builds bowline and, from Debian's packages, a box; starts hosts h1, h2 and so on with Docker
        and bowline on them (2 hosts and Linux 6.12, unless told otherwise; or 6.1)
  test  loads vagrant/testbed.yaml everywhere and tries it with containers: over a network, through a
        router, against a policy, by a published port, and after a host has started anew
  ssh   a shell on a host, or one command
  down  takes the hosts away with everything that was started for them; the box stays

Needs root (sudo when not root), Debian's apt and 2 GB of memory for each host. KVM is used where it is
there; without it `up` takes a quarter of an hour. The machines are described in vagrant/Vagrantfile, which
works without this, too: with VirtualBox, or with a public box (TESTBED_PUBLIC).

Example:
  cargo xtask testbed up && cargo xtask testbed test; cargo xtask testbed down
";

/// What Vagrant needs.
const PACKAGES: [&str; 9] = [
    "vagrant",
    "vagrant-libvirt",
    "libvirt-daemon-system",
    "libvirt-clients",
    "qemu-utils",
    "qemu-system-x86",
    "dnsmasq-base",
    "mmdebstrap",
    "cpio",
];

/// How many hosts there are; the topology of the test is for two.
const HOSTS: u8 = 2;

/// The testbed's files, and how its programs are started.
struct Testbed<'a> {
    workspace: &'a Workspace,
    libvirt: Libvirt,
}

/// Does what the first word says.
pub(crate) fn testbed(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let words: Vec<_> = arguments
        .iter()
        .map(|word| word.to_string_lossy())
        .collect();
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    let testbed = Testbed {
        workspace,
        libvirt: Libvirt::new(folder(workspace)),
    };
    match words.as_slice() {
        ["up", options @ ..] => testbed.up(options),
        ["test"] => trial::run(&testbed),
        ["ssh", host, command @ ..] => process::stand_in(testbed.ssh(host)?.args(command)),
        ["down"] => testbed.down(),
        _ => Err(Failure::usage("one of up, test, ssh HOST, down")),
    }
}

/// Box, disks and state.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("testbed")
}

impl Testbed<'_> {
    fn up(&self, options: &[&str]) -> Result<()> {
        let (hosts, series) = parse(options)?;
        setup::ensure(&[Purpose::Vm])?;
        ensure_packages()?;
        binary::build(self.workspace, &[])?;
        let began = Instant::now();
        self.ensure_box(series)?;
        self.libvirt.start()?;
        let add = ["box", "add", "--force", "--name", "bowline", "bowline.box"];
        let mut command = self.vagrant()?;
        process::output(command.current_dir(folder(self.workspace)).args(add))?;
        terminal::step(&format!("starting {hosts} hosts"));
        let mut command = self.vagrant()?;
        command.arg("up").env("TESTBED_HOSTS", hosts.to_string());
        process::run(&mut command)?;
        let config = process::output(self.vagrant()?.arg("ssh-config"))?;
        let path = self.ssh_config();
        // One connection for all commands: making one takes seconds where processors are emulated. A
        // host that starts anew does not end it.
        let shared = "ControlMaster auto\nControlPersist 10m\nControlPath /tmp/bowline-testbed-%C\n\
                      ConnectTimeout 20\nServerAliveInterval 5\nServerAliveCountMax 4\n";
        let config = format!("{config}\nHost *\n{shared}");
        fs::write(&path, config).context(|| format!("cannot write {}", path.display()))?;
        let took = terminal::seconds(began.elapsed());
        terminal::say(format!(
            "{hosts} hosts are up after {took}; next: cargo xtask testbed test"
        ));
        Ok(())
    }

    /// Builds the box, unless there is one with this kernel.
    fn ensure_box(&self, series: &str) -> Result<()> {
        let folder = folder(self.workspace);
        let kernel = fs::read_to_string(folder.join("kernel")).unwrap_or_default();
        if kernel.starts_with(&format!("{series}.")) {
            return Ok(());
        }
        terminal::step(&format!(
            "building the box with Linux {series} in {} (a minute or two)",
            folder.display()
        ));
        let script = self.workspace.root.join("vagrant/box.sh");
        process::run(process::as_root(script)?.arg(&folder).arg(series))
    }

    fn down(&self) -> Result<()> {
        if self.libvirt.is_there() {
            process::run(self.vagrant()?.args(["destroy", "--force"]))?;
        }
        self.libvirt.stop()?;
        let _ = fs::remove_file(self.ssh_config());
        terminal::say("the hosts are gone; the box is kept for the next time");
        Ok(())
    }

    fn ssh_config(&self) -> PathBuf {
        folder(self.workspace).join("ssh-config")
    }

    /// `vagrant`, where libvirt is, with all that the file reads.
    fn vagrant(&self) -> Result<Command> {
        let folder = folder(self.workspace);
        let driver = if vm::is_accelerated() { "kvm" } else { "qemu" };
        let variables = [
            ("VAGRANT_HOME", folder.join("home")),
            ("VAGRANT_DOTFILE_PATH", folder.join("state")),
            ("VAGRANT_DEFAULT_PROVIDER", "libvirt".into()),
            ("VAGRANT_CHECKPOINT_DISABLE", "1".into()),
            ("TESTBED_BOX", folder),
            ("TESTBED_BINARY", self.workspace.binary()),
            ("TESTBED_DRIVER", driver.into()),
        ];
        let mut command = self.libvirt.command("env")?;
        for (name, value) in variables {
            command.arg(format!("{name}={}", value.display()));
        }
        command.args(["vagrant"]);
        command.current_dir(self.workspace.root.join("vagrant"));
        Ok(command)
    }

    /// A shell on a host, or what follows.
    fn ssh(&self, host: &str) -> Result<Command> {
        let config = self.ssh_config();
        if !config.is_file() {
            return Err(Failure::new(
                "there is no testbed: `cargo xtask testbed up` first",
            ));
        }
        let mut command = self.libvirt.command("ssh")?;
        command.arg("-F").arg(config).arg(host);
        Ok(command)
    }
}

fn parse<'a>(options: &[&'a str]) -> Result<(u8, &'a str)> {
    let (mut hosts, mut series) = (HOSTS, "6.12");
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let value = words.next().copied();
        match (*word, value) {
            ("--hosts", Some(number)) => {
                let number = number
                    .parse()
                    .ok()
                    .filter(|number| (2..=9).contains(number));
                hosts =
                    number.ok_or_else(|| Failure::usage("--hosts needs a number from 2 to 9"))?;
            }
            ("--kernel", Some(name @ ("6.1" | "6.12"))) => series = name,
            _ => {
                return Err(Failure::usage(
                    "options are --hosts N and --kernel 6.1 or 6.12",
                ));
            }
        }
    }
    Ok((hosts, series))
}

fn ensure_packages() -> Result<()> {
    if !apt::is_available() {
        return Err(Failure::new(
            "the box is made of Debian's packages, and there is no apt-get here; see vagrant/Vagrantfile",
        ));
    }
    let missing: Vec<_> = PACKAGES
        .into_iter()
        .filter(|name| !apt::is_installed(name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    terminal::step(&format!(
        "{} missing: Vagrant, and what it drives",
        missing.join(", ")
    ));
    apt::install(&missing)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn options_are_read_and_refused() {
        assert_eq!(parse(&[]).unwrap(), (2, "6.12"));
        assert_eq!(
            parse(&["--kernel", "6.1", "--hosts", "3"]).unwrap(),
            (3, "6.1")
        );
        for wrong in [
            &["--hosts"][..],
            &["--hosts", "1"],
            &["--kernel", "5.10"],
            &["now"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
