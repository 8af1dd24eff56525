//! The Rust toolchain that compiles for BPF, by one of two routes.
//!
//! - rustup's nightly with `rust-src`: `core` is compiled on the spot.
//! - Debian's packages: a stable compiler with a prebuilt `core` for BPF.
//!
//! A route that is complete wins over one that needs installing, nightly before Debian.

use crate::cargo_tool::CargoTool;
use crate::failure::{Failure, Result};
use crate::workspace::Workspace;
use crate::{apt, process, terminal};
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// bpf-linker reads the bitcode that rustc writes: its LLVM must not be older than rustc's.
const LLVM: u32 = 22;
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
const LLVM_PACKAGE: &str = "llvm-22-dev";

const LINKER: CargoTool = CargoTool {
    name: "bpf-linker",
    version: "0.13.0",
    arguments: &["--no-default-features", "--features", "llvm-22"],
    environment: &[("LLVM_PREFIX", LLVM_PREFIX)],
    reason: "it links Rust's bitcode into a BPF object with BTF",
    minutes: 2,
};

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";
const DEBIAN_PACKAGES: [(&str, &str); 3] = [
    ("rustc-web", "a rustc new enough for the programs"),
    (
        "libstd-rust-web-dev-bpf",
        "`core` compiled for BPF, to match that rustc",
    ),
    (LLVM_PACKAGE, "the LLVM that bpf-linker is built on"),
];
const CLIPPY_PACKAGE: &str = "rust-web-clippy";

/// A route to BPF with everything it needs in place.
#[derive(Debug)]
pub(crate) struct Toolchain {
    route: Route,
    /// Where bpf-linker lies.
    linker_folder: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Nightly,
    Debian,
}

impl Toolchain {
    /// Finds a complete toolchain, or installs what is missing of one.
    pub(crate) fn ensure() -> Result<Self> {
        if let Some(toolchain) = Self::find() {
            return Ok(toolchain);
        }
        if let Some(llvm) = nightly_llvm() {
            if let Some(linker_folder) = install_linker_for_nightly(llvm)? {
                return Ok(Self {
                    route: Route::Nightly,
                    linker_folder,
                });
            }
            terminal::note(&format!(
                "rustup's nightly has LLVM {llvm} and no bpf-linker fits it here; trying Debian's \
                 toolchain (to use nightly, put bpf-linker on PATH: github.com/aya-rs/bpf-linker)"
            ));
        }
        install_debian()?;
        Ok(Self {
            route: Route::Debian,
            linker_folder: LINKER.ensure()?,
        })
    }

    /// Finds a toolchain that needs no installing.
    fn find() -> Option<Self> {
        if let Some(llvm) = nightly_llvm() {
            let on_path = process::find(LINKER.name)
                .and_then(|program| Some(program.parent()?.to_path_buf()));
            let built = || LINKER.present().filter(|_| llvm <= LLVM);
            if let Some(linker_folder) = on_path.or_else(built) {
                return Some(Self {
                    route: Route::Nightly,
                    linker_folder,
                });
            }
        }
        let llvm = debian_llvm()?;
        let linker_folder = LINKER.present().filter(|_| llvm <= LLVM)?;
        Some(Self {
            route: Route::Debian,
            linker_folder,
        })
    }

    /// What is used, for the user.
    pub(crate) fn describe(&self) -> String {
        let compiler = match self.route {
            Route::Nightly => "rustup's nightly with rust-src",
            Route::Debian => "Debian's rustc-web with its prebuilt core for BPF",
        };
        format!("{compiler}, bpf-linker in {}", self.linker_folder.display())
    }

    /// `cargo SUBCOMMAND --target ...` for BPF.
    pub(crate) fn cargo(&self, workspace: &Workspace, subcommand: &str) -> Result<Command> {
        let mut command = match self.route {
            Route::Nightly => {
                let mut command = Command::new("rustup");
                command.args([
                    "run",
                    "nightly",
                    "cargo",
                    subcommand,
                    "-Z",
                    "build-std=core",
                ]);
                command.env_remove("RUSTC");
                command
            }
            Route::Debian if subcommand == "clippy" => {
                // Clippy's driver must be of the same build as the `core` it reads.
                let mut command = Command::new(DEBIAN_CLIPPY);
                command
                    .arg("clippy")
                    .env("CARGO", "cargo")
                    .env("RUSTC", DEBIAN_RUSTC);
                command
            }
            Route::Debian => {
                let mut command = Command::new("cargo");
                command.arg(subcommand).env("RUSTC", DEBIAN_RUSTC);
                command
            }
        };
        // aya-ebpf needs `asm_experimental_arch`, which a stable compiler refuses without this.
        if self.route == Route::Debian {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command.args(["--target", TARGET]).env("PATH", self.path()?);
        workspace.prepare(&mut command);
        Ok(command)
    }

    /// Makes sure that clippy can look at the programs.
    pub(crate) fn ensure_clippy(&self) -> Result<()> {
        if self.route == Route::Debian && !process::is_executable(Path::new(DEBIAN_CLIPPY)) {
            terminal::step(&format!(
                "{CLIPPY_PACKAGE} is missing: clippy for the BPF programs"
            ));
            apt::install(&[CLIPPY_PACKAGE])?;
        }
        Ok(())
    }

    fn path(&self) -> Result<OsString> {
        let old = env::var_os("PATH").unwrap_or_default();
        let folders = [self.linker_folder.clone()]
            .into_iter()
            .chain(env::split_paths(&old));
        env::join_paths(folders)
            .map_err(|error| Failure::new(format!("cannot put bpf-linker on PATH: {error}")))
    }
}

/// The LLVM of rustup's nightly, if nightly is there and can build `core`.
fn nightly_llvm() -> Option<u32> {
    process::find("rustup")?;
    let ask = |argument: &[&str]| {
        let mut command = Command::new("rustup");
        command.args(["run", "nightly", "rustc"]).args(argument);
        // Asking must not make rustup download a toolchain.
        process::output(command.env("RUSTUP_AUTO_INSTALL", "0")).ok()
    };
    let sysroot = ask(&["--print", "sysroot"])?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
    core.is_dir()
        .then(|| ask(&["-vV"]))
        .flatten()
        .and_then(|version| llvm_of(&version))
}

/// The LLVM of Debian's compiler, if its `core` for BPF is there.
fn debian_llvm() -> Option<u32> {
    let ask = |argument: &str| process::output(Command::new(DEBIAN_RUSTC).arg(argument)).ok();
    let sysroot = ask("--print=sysroot")?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET);
    core.is_dir()
        .then(|| ask("-vV"))
        .flatten()
        .and_then(|version| llvm_of(&version))
}

/// Reads `LLVM version: 22.1.2` out of `rustc -vV`.
fn llvm_of(version: &str) -> Option<u32> {
    let line = version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.parse().ok()
}

/// Gets bpf-linker for nightly where that is possible without guessing.
fn install_linker_for_nightly(llvm: u32) -> Result<Option<PathBuf>> {
    if llvm <= LLVM && Path::new(LLVM_PREFIX).join("bin/llvm-config").exists() {
        return LINKER.ensure().map(Some);
    }
    if llvm <= LLVM && apt::is_available() && apt::offers(LLVM_PACKAGE)? {
        terminal::step(&format!(
            "{LLVM_PACKAGE} is missing: the LLVM that bpf-linker is built on"
        ));
        apt::install(&[LLVM_PACKAGE])?;
        return LINKER.ensure().map(Some);
    }
    Ok(None)
}

fn install_debian() -> Result<()> {
    let missing: Vec<_> = DEBIAN_PACKAGES
        .into_iter()
        .filter(|(package, _)| !apt::is_installed(package))
        .collect();
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|(package, _)| *package).collect();
        for name in &names {
            if !apt::is_available() || !apt::offers(name)? {
                return Err(no_route());
            }
        }
        for (package, reason) in &missing {
            terminal::step(&format!("{package} is missing: {reason}"));
        }
        apt::install(&names)?;
    }
    match debian_llvm() {
        Some(llvm) if llvm <= LLVM => Ok(()),
        Some(llvm) => Err(Failure::new(format!(
            "Debian's rustc has LLVM {llvm}, newer than the LLVM {LLVM} that bpf-linker is built \
             on here: raise LLVM in xtask/src/toolchain.rs"
        ))),
        None => Err(Failure::new(format!(
            "{DEBIAN_RUSTC} knows no {TARGET} although its packages are installed: `apt-get \
             install --reinstall rustc-web libstd-rust-web-dev-bpf`"
        ))),
    }
}

fn no_route() -> Failure {
    Failure::new(
        "no toolchain for BPF here: run `rustup toolchain install nightly --component rust-src` \
         and put bpf-linker 0.13 on PATH (cargo binstall bpf-linker, or a release from \
         github.com/aya-rs/bpf-linker); on Debian 12, enable bookworm-security instead and run \
         this again",
    )
}

#[cfg(test)]
mod tests {
    use super::llvm_of;

    #[test]
    fn llvm_is_read_from_the_verbose_version() {
        let version = "rustc 1.96.0 (ac68faa20 2026-05-25)\nhost: x\nLLVM version: 22.1.2\n";
        assert_eq!(llvm_of(version), Some(22));
        assert_eq!(llvm_of("rustc 1.96.0\n"), None);
    }
}
