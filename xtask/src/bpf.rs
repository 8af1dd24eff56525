//! `build-ebpf`: the one path by which the BPF object is built.
//!
//! Cargo decides what is stale. The object is then put where the build script of `bowline`
//! finds it, and only when its bytes have changed, so that user space is not rebuilt for nothing.

use crate::failure::{Context as _, Failure, Result};
use crate::toolchain::{TARGET, Toolchain};
use crate::workspace::Workspace;
use crate::{process, terminal};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const PACKAGE: &str = "bowline-ebpf";

pub(crate) const HELP: &str = "\
Build the BPF object: release, with BTF and debug info.

Usage: cargo xtask build-ebpf

The object goes to target/bpf/bowline-ebpf.o (below $CARGO_TARGET_DIR when that is set), where
the next build of bowline embeds it. It is checked for __bpf_trap, which kernels before 6.16
refuse. The toolchain is rustup's nightly with rust-src, else Debian's rustc-web; what is
missing is installed.

Examples:
  cargo xtask build-ebpf
  cargo xtask build-ebpf && bpftool prog load target/bpf/bowline-ebpf.o /sys/fs/bpf/try
";

/// Builds the object and says where it is.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let toolchain = Toolchain::ensure()?;
    let mut command = cargo(&toolchain, workspace, "build")?;
    process::run(&mut command)
        .map_err(|_| Failure::new("the BPF programs do not build; cargo says why above"))?;

    let built = folder(workspace).join(TARGET).join("release").join(PACKAGE);
    let bytes = fs::read(&built).context(|| format!("cannot read {}", built.display()))?;
    refuse_trap(&bytes, &workspace.shorten(&built))?;
    let object = workspace.object();
    let state = if replace_if_changed(&object, &bytes)? {
        "new"
    } else {
        "unchanged"
    };
    let size = bytes.len().div_ceil(1024);
    terminal::step(&format!(
        "{} ({size} KiB, {state})",
        workspace.shorten(&object)
    ));
    Ok(())
}

/// `cargo SUBCOMMAND` for the programs, with the flags and the target folder that they are
/// always built with.
pub(crate) fn cargo(
    toolchain: &Toolchain,
    workspace: &Workspace,
    subcommand: &str,
) -> Result<Command> {
    let mut command = toolchain.cargo(workspace, subcommand)?;
    command.args(["--release", "--package", PACKAGE, "--bin", PACKAGE]);
    command.arg("--target-dir").arg(folder(workspace));
    // One codegen unit: bpf-linker sees the whole program anyway, and the object is the same
    // on every machine, however many processors it has.
    command.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
    // The encoded form wins over every other source of flags, so the object does not depend on
    // the user's configuration.
    command
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags().join("\x1f"));
    Ok(command)
}

/// Cargo's folder for this build. The object is copied out of it, because cargo touches files in
/// here on every run, and the build script of `bowline` watches the folder of the object.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("bpf-build")
}

fn rustflags() -> Vec<String> {
    // aya-ebpf reads `bpf_target_arch` for the layout of the registers that probes see.
    let arch = std::env::consts::ARCH;
    let mut flags = vec![format!("--cfg=bpf_target_arch=\"{arch}\"")];
    let fixed = [
        "-Cdebuginfo=2",
        "-Clinker=bpf-linker",
        "-Clink-arg=--btf",
        // v3 has 32-bit arithmetic and comparisons; v4 would ask for Linux 6.6.
        "-Ctarget-cpu=v3",
    ];
    flags.extend(fixed.map(str::to_owned));
    flags
}

/// LLVM 21 and later end a path that must not be reached with a call of the kfunc `__bpf_trap`,
/// which only Linux 6.16 and later know. Its name then stands in the object's string tables.
fn refuse_trap(object: &[u8], name: &str) -> Result<()> {
    const TRAP: &[u8] = b"\0__bpf_trap\0";
    if !object.windows(TRAP.len()).any(|window| window == TRAP) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the object calls __bpf_trap, which kernels before 6.16 refuse: a panic or an \
         `unreachable` can be reached in the programs (an index, a slice, a division, an unwrap); \
         `llvm-objdump -dr {name} | grep -B20 __bpf_trap` shows where"
    )))
}

/// Writes a file by way of a neighbour that is renamed, unless it has these bytes already.
fn replace_if_changed(path: &Path, bytes: &[u8]) -> Result<bool> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).context(|| format!("cannot make {}", folder.display()))?;
    }
    let neighbour = path.with_extension(format!("o.{}", std::process::id()));
    fs::write(&neighbour, bytes).context(|| format!("cannot write {}", neighbour.display()))?;
    fs::rename(&neighbour, path).context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::refuse_trap;

    #[test]
    fn an_object_that_names_the_trap_is_refused() {
        assert!(refuse_trap(b"\0port_ingress\0__bpf_trap\0", "x.o").is_err());
        assert!(refuse_trap(b"\0port_ingress\0not__bpf_trap\0", "x.o").is_ok());
    }
}
