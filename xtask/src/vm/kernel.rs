//! Debian's kernels: downloaded and unpacked into the cache, never installed.

use crate::failure::{Context as _, Failure, Result};
use crate::{apt, process, terminal, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A series of kernels, by the package that depends on its newest one.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: &'static str,
    package: &'static str,
}

/// Debian 12's own kernel, which is the oldest that bowline runs on, and the one of Debian 13.
pub(super) const SERIES: [Series; 2] = [
    Series {
        name: "6.1",
        package: "linux-image-cloud-amd64",
    },
    Series {
        name: "6.12",
        package: "linux-image-6.12-cloud-amd64",
    },
];

/// An unpacked kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) release: String,
    folder: PathBuf,
}

impl Series {
    /// The kernel, from the cache or else from Debian.
    pub(super) fn ensure(&self) -> Result<Kernel> {
        let folder = workspace::cache()?
            .join("tools")
            .join(format!("linux-{}", self.name));
        if folder.is_dir() {
            return Kernel::find(folder);
        }
        terminal::step(&format!(
            "downloading Linux {} into {} (about 30 MB): it is booted, not installed",
            self.name,
            folder.display()
        ));
        let partial = folder.with_extension(format!("partial-{}", std::process::id()));
        fs::create_dir_all(&partial).context(|| format!("cannot make {}", partial.display()))?;
        let unpacked = self.unpack(&partial).and_then(|()| {
            fs::rename(&partial, &folder).context(|| format!("cannot make {}", folder.display()))
        });
        if unpacked.is_err() {
            // The failure below is what the user needs to read.
            let _ = fs::remove_dir_all(&partial);
        }
        unpacked?;
        Kernel::find(folder)
    }

    fn unpack(&self, folder: &Path) -> Result<()> {
        if !apt::offers(self.package)? {
            return Err(Failure::new(format!(
                "no package {}: the sources of apt need Debian 12 with its security updates",
                self.package
            )));
        }
        let mut depends = Command::new("apt-cache");
        // Its words are translated otherwise.
        depends.env("LC_ALL", "C").args(["depends", self.package]);
        let depends = process::output(&mut depends)?;
        let image = depends
            .lines()
            .find_map(|line| line.trim().strip_prefix("Depends: linux-image-"))
            .ok_or_else(|| Failure::new(format!("{} depends on no kernel", self.package)))?;
        let image = format!("linux-image-{image}");
        process::output(
            Command::new("apt-get")
                .current_dir(folder)
                .args(["--quiet", "download", &image]),
        )?;
        let package = find(folder, |name| name.ends_with(".deb"))?;
        process::run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(folder))?;
        fs::remove_file(&package).context(|| format!("cannot remove {}", package.display()))?;
        let kernel = Kernel::find(folder.to_path_buf())?;
        process::run(
            Command::new(tool("depmod")?)
                .arg("-b")
                .arg(folder)
                .arg(&kernel.release),
        )
    }
}

impl Kernel {
    fn find(folder: PathBuf) -> Result<Self> {
        let modules = find(&folder.join("lib/modules"), |_| true)?;
        let release = modules.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self {
            release: release.into_owned(),
            folder,
        })
    }

    /// What a boot loader would load.
    pub(super) fn image(&self) -> PathBuf {
        self.folder.join(format!("boot/vmlinuz-{}", self.release))
    }

    /// Files of the kernel that a system with these modules needs: the modules with those that they
    /// depend on, and the tables by which `modprobe` finds them. Each is given as it lies here and
    /// as the running kernel looks for it.
    pub(super) fn files(&self, modules: &[&str]) -> Result<Vec<(PathBuf, PathBuf)>> {
        let mut sources = Vec::new();
        for module in modules {
            let steps = process::output(
                Command::new(tool("modprobe")?)
                    .arg("-d")
                    .arg(&self.folder)
                    .args(["-S", &self.release, "--show-depends", module]),
            )?;
            // What is built in needs no file.
            let files = steps
                .lines()
                .filter_map(|line| line.strip_prefix("insmod "));
            sources
                .extend(files.filter_map(|rest| rest.split_whitespace().next().map(PathBuf::from)));
        }
        let tables = self.folder.join("lib/modules").join(&self.release);
        let entries =
            fs::read_dir(&tables).context(|| format!("cannot read {}", tables.display()))?;
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with("modules.") {
                sources.push(entry.path());
            }
        }
        let place = |source: PathBuf| {
            let inside = source.strip_prefix(&self.folder).ok()?;
            let place = Path::new("/").join(inside);
            Some((source, place))
        };
        Ok(sources.into_iter().filter_map(place).collect())
    }
}

/// A program that may lie where an ordinary user's PATH does not lead.
fn tool(name: &str) -> Result<PathBuf> {
    process::find(name).ok_or_else(|| Failure::new(format!("there is no `{name}`")))
}

/// The first entry of a folder whose name is as wanted.
fn find(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .find(|entry| wanted(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .ok_or_else(|| {
            Failure::new(format!(
                "{} is not a whole kernel: remove it, and it is downloaded again",
                folder.display()
            ))
        })
}
