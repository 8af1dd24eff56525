//! What the virtual machine finds in its memory: the tests, what they run, and the kernel's modules.

use super::archive::Archive;
use super::kernel::Kernel;
use crate::artifact::Executable;
use crate::failure::{Context as _, Failure, Result};
use crate::process;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs that the tests run, and the one that the kernel runs when it needs a module. Busybox
/// has most of them too, but with other options or other output.
const PROGRAMS: [&str; 15] = [
    "bpftool", "bridge", "ethtool", "find", "ip", "modprobe", "mount", "nft", "nsenter", "ping",
    "setpriv", "stat", "tc", "umount", "unshare",
];

/// Modules that bowline or its tests use. The kernel loads them itself when they are asked for, as
/// everywhere.
const MODULES: [&str; 21] = [
    "act_bpf",
    "act_mirred",
    "bridge",
    "cls_bpf",
    "dummy",
    "geneve",
    "gre",
    "ip6_gre",
    "ip_gre",
    "nf_tables",
    "nft_chain_nat",
    "nft_ct",
    "nft_masq",
    "nft_nat",
    "sch_ingress",
    "sch_netem",
    "tun",
    "veth",
    "virtio_net",
    "virtio_pci",
    "vxlan",
];

const INIT: &str = include_str!("init.sh");

/// What is to run in a virtual machine.
pub(super) struct Payload<'a> {
    pub(super) tests: &'a Executable,
    /// What starts them, if something else than the first process does.
    pub(super) starter: &'a [&'a str],
    /// What tests run as `bowline`.
    pub(super) program: &'a Path,
    /// What they are told; libtest runs those that have one of these words in their names.
    pub(super) arguments: &'a [String],
    /// How many times longer than usual tests wait.
    pub(super) patience: u32,
    /// Variables that tests find.
    pub(super) environment: &'a [(&'static str, &'static str)],
}

impl Payload<'_> {
    /// Writes the image for a kernel.
    pub(super) fn write(&self, path: PathBuf, kernel: &Kernel) -> Result<()> {
        let mut archive = Archive::create(path)?;
        for folder in ["/dev", "/proc", "/run", "/sys", "/tmp", "/usr/bin"] {
            archive.folder(Path::new(folder))?;
        }
        for name in ["/bin", "/sbin", "/usr/sbin"] {
            archive.link(Path::new(name), "/usr/bin")?;
        }
        archive.file(Path::new("/init"), 0o755, INIT.as_bytes())?;
        let script = self.script();
        archive.file(Path::new("/tests.sh"), 0o644, script.as_bytes())?;

        archive.copy(Path::new("/usr/bin/busybox"), &find("busybox")?)?;
        for name in PROGRAMS {
            let program = find(name)?;
            archive.copy(&Path::new("/usr/bin").join(name), &program)?;
            copy_libraries(&mut archive, &program)?;
        }
        // What was built expects itself and its files at the places where they are here.
        for built in [&self.tests.path, self.program] {
            archive.file(built, 0o755, &stripped(built)?)?;
            copy_libraries(&mut archive, built)?;
        }
        let cases = self.tests.folder.join("cases");
        archive.copy(&cases, &cases)?;
        for (source, place) in kernel.files(&MODULES)? {
            archive.copy(&place, &source)?;
        }
        archive.finish()
    }

    /// What the first process runs.
    fn script(&self) -> String {
        let program = self.tests.path.display().to_string();
        let arguments = self.arguments.iter().map(String::as_str);
        let words = self.starter.iter().copied().chain([program.as_str()]);
        let words: Vec<_> = words.chain(arguments).map(quoted).collect();
        let variables = self.environment.iter();
        let variables = variables.map(|(name, value)| format!("export {name}={}\n", quoted(value)));
        format!(
            "export BOWLINE_LAB_PATIENCE={}\n{}cd {}\nexec {}\n",
            self.patience,
            variables.collect::<String>(),
            quoted(&self.tests.folder.display().to_string()),
            words.join(" ")
        )
    }
}

/// A word that the shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn find(program: &str) -> Result<PathBuf> {
    process::find(program)
        .ok_or_else(|| Failure::new(format!("there is no `{program}`; see `cargo xtask setup`")))
}

/// Copies the shared libraries of a program, and its loader, which `ldd` lists too.
fn copy_libraries(archive: &mut Archive, program: &Path) -> Result<()> {
    let listed = process::output(Command::new("ldd").arg(program))?;
    for word in listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        archive.copy(Path::new(word), Path::new(word))?;
    }
    Ok(())
}

/// An executable without its debug information, which is most of it.
fn stripped(executable: &Path) -> Result<Vec<u8>> {
    let small = executable.with_extension("stripped");
    process::output(
        Command::new("strip")
            .args(["--strip-debug", "-o"])
            .args([&small, executable]),
    )?;
    let bytes = fs::read(&small).context(|| format!("cannot read {}", small.display()));
    let _ = fs::remove_file(&small);
    bytes
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_word_with_a_quote_stays_one_word() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
