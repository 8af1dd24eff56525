//! `setup`: what the chores need beyond cargo, who needs it and why.
//!
//! Each chore ensures its own needs, so nobody installs a Docker engine to compile a program.
//! A need that is met costs a look at PATH and no network.

use crate::cargo_tool::CargoTool;
use crate::failure::{Failure, Result};
use crate::toolchain::Toolchain;
use crate::{apt, process, terminal};

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Check,
    Test,
    Demo,
    Engine,
    Bench,
    Vm,
}

/// A program that comes from the system's packages.
struct Need {
    program: &'static str,
    package: &'static str,
    reason: &'static str,
    purposes: &'static [Purpose],
}

const NEEDS: &[Need] = &[
    Need {
        program: "ip",
        package: "iproute2",
        reason: "namespaces, links and filters of tests and demo",
        purposes: &[Purpose::Test, Purpose::Demo, Purpose::Bench, Purpose::Vm],
    },
    Need {
        program: "nsenter",
        package: "util-linux",
        reason: "running programs inside those namespaces",
        purposes: &[Purpose::Test, Purpose::Demo, Purpose::Bench, Purpose::Vm],
    },
    Need {
        program: "ping",
        package: "iputils-ping",
        reason: "first sign of life between two workloads",
        purposes: &[Purpose::Test, Purpose::Demo, Purpose::Bench, Purpose::Vm],
    },
    Need {
        program: "busybox",
        package: "busybox-static",
        reason: "a container image made on the spot, without a registry",
        purposes: &[Purpose::Test, Purpose::Demo, Purpose::Bench, Purpose::Vm],
    },
    Need {
        program: "tcpdump",
        package: "tcpdump",
        reason: "tests and demo look at the frames on the wire",
        purposes: &[Purpose::Test, Purpose::Demo],
    },
    Need {
        program: "tshark",
        package: "tshark",
        reason: "tests have an independent reader judge our frames",
        purposes: &[Purpose::Test],
    },
    Need {
        program: "bpftool",
        package: "bpftool",
        reason: "tests compare what the kernel holds before and after",
        purposes: &[Purpose::Test, Purpose::Vm],
    },
    Need {
        program: "ethtool",
        package: "ethtool",
        reason: "tests and benchmarks switch offloads",
        purposes: &[Purpose::Test, Purpose::Bench, Purpose::Vm],
    },
    Need {
        program: "nft",
        package: "nftables",
        reason: "tests meet its rules, and benchmarks compare with them",
        purposes: &[Purpose::Test, Purpose::Bench, Purpose::Vm],
    },
    Need {
        program: "dockerd",
        package: "docker.io",
        reason: "a real engine (Debian starts it as a service, too)",
        purposes: &[Purpose::Test, Purpose::Engine, Purpose::Bench],
    },
    Need {
        program: "qemu-system-x86_64",
        package: "qemu-system-x86",
        reason: "tests run on other kernels, too",
        purposes: &[Purpose::Vm],
    },
    Need {
        program: "modprobe",
        package: "kmod",
        reason: "the modules of those kernels",
        purposes: &[Purpose::Vm],
    },
    Need {
        program: "git",
        package: "git",
        reason: "checks look at the tracked files",
        purposes: &[Purpose::Check],
    },
];

/// Judges licences, bans and sources of the dependencies.
pub(crate) const CARGO_DENY: CargoTool = CargoTool {
    name: "cargo-deny",
    version: "0.20.2",
    arguments: &[],
    environment: &[],
    reason: "checks licences, bans and sources of dependencies",
    minutes: 5,
};

/// Drives libFuzzer.
pub(crate) const CARGO_FUZZ: CargoTool = CargoTool {
    name: "cargo-fuzz",
    version: "0.13.2",
    arguments: &[],
    environment: &[],
    reason: "builds and runs the fuzz targets",
    minutes: 2,
};

pub(crate) const HELP: &str = "\
Make sure that everything the other subcommands need is there.

Usage: cargo xtask setup

Installs only what is missing, and says what and why: a Rust toolchain for BPF with
bpf-linker, the packages of the tests and the demo, cargo-deny and cargo-fuzz. Packages come
through apt-get (with sudo when not root); tools that cargo builds go into $BOWLINE_CACHE,
else $XDG_CACHE_HOME/bowline, else ~/.cache/bowline. A second run takes seconds and needs no
network. Every other subcommand does its own part of this by itself.

Examples:
  cargo xtask setup
  BOWLINE_CACHE=/var/cache/bowline cargo xtask setup
";

/// Meets every need at once.
pub(crate) fn setup() -> Result<()> {
    use Purpose::{Bench, Check, Demo, Engine, Test, Vm};
    let toolchain = Toolchain::ensure()?;
    terminal::step(&format!("BPF toolchain: {}", toolchain.describe()));
    toolchain.ensure_clippy()?;
    ensure(&[Check, Test, Demo, Engine, Bench, Vm])?;
    terminal::step("packages: all present");
    for tool in [CARGO_DENY, CARGO_FUZZ] {
        let folder = tool.ensure()?;
        terminal::step(&format!(
            "{} {}: in {}",
            tool.name,
            tool.version,
            folder.display()
        ));
    }
    terminal::say("everything is in place; next: cargo xtask demo");
    Ok(())
}

/// Installs the packages that these purposes need and this system lacks.
pub(crate) fn ensure(purposes: &[Purpose]) -> Result<()> {
    let missing: Vec<&Need> = NEEDS
        .iter()
        .filter(|need| {
            need.purposes
                .iter()
                .any(|purpose| purposes.contains(purpose))
        })
        .filter(|need| process::find(need.program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        terminal::step(&format!("{} is missing: {}", need.package, need.reason));
    }
    if !apt::is_available() {
        let programs: Vec<_> = missing.iter().map(|need| need.program).collect();
        return Err(Failure::new(format!(
            "there is no apt-get here: install these programs with your system's own package \
             manager: {}",
            programs.join(" ")
        )));
    }
    let packages: Vec<_> = missing.iter().map(|need| need.package).collect();
    apt::install(&packages)
}
