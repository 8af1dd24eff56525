//! Tools that `cargo install` builds, once per user and version, into the cache.
//!
//! A tool is installed beside its place and then renamed, so that an interrupted installation
//! is never taken for a finished one.

use crate::failure::{Context as _, Failure, Result};
use crate::{process, terminal, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program from crates.io, at the one version that is known to work here.
#[derive(Debug)]
pub(crate) struct CargoTool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) arguments: &'static [&'static str],
    pub(crate) environment: &'static [(&'static str, &'static str)],
    /// What it is for, and how long it takes to build on two cores.
    pub(crate) reason: &'static str,
    pub(crate) minutes: u32,
}

impl CargoTool {
    /// The folder that goes to the front of PATH, if the tool is there.
    pub(crate) fn present(&self) -> Option<PathBuf> {
        let folder = self.place().ok()?.join("bin");
        process::is_executable(&folder.join(self.name)).then_some(folder)
    }

    /// Installs the tool unless it is there, and returns the folder it lies in.
    pub(crate) fn ensure(&self) -> Result<PathBuf> {
        if let Some(folder) = self.present() {
            return Ok(folder);
        }
        let place = self.place()?;
        let tools = place.parent().unwrap_or(Path::new("/"));
        terminal::step(&format!(
            "installing {} {} into {} (about {} minutes): {}",
            self.name,
            self.version,
            tools.display(),
            self.minutes,
            self.reason
        ));
        fs::create_dir_all(tools).context(|| format!("cannot make {}", tools.display()))?;
        self.remove_abandoned(tools);

        let partial = tools.join(format!("{}{}", self.partial_prefix(), std::process::id()));
        let installed = self.install_into(&partial).and_then(|()| {
            // A folder in the way holds no working program, or `present` would have found it.
            if place.exists() && self.present().is_none() {
                fs::remove_dir_all(&place)
                    .context(|| format!("cannot remove {}", place.display()))?;
            }
            fs::rename(&partial, &place).context(|| format!("cannot make {}", place.display()))
        });
        if installed.is_err() {
            // The failure below is what the user needs to read; the next run removes the rest.
            let _ = fs::remove_dir_all(&partial);
        }
        match (installed, self.present()) {
            (_, Some(folder)) => Ok(folder),
            (Err(failure), None) => Err(failure),
            (Ok(()), None) => Err(Failure::new(format!(
                "{} was built but {} lacks it",
                self.name,
                place.display()
            ))),
        }
    }

    fn install_into(&self, folder: &Path) -> Result<()> {
        let mut command = Command::new("cargo");
        command.args(["install", "--locked", self.name, "--version", self.version]);
        command.args(self.arguments).arg("--root").arg(folder);
        if !terminal::is_watched() {
            command.arg("--quiet");
        }
        command.envs(self.environment.iter().copied());
        // The user's own flags and target folder are meant for bowline, not for its tools.
        command
            .current_dir("/")
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTFLAGS");
        process::run(&mut command)
    }

    /// Removes what earlier runs left that were killed while they installed.
    fn remove_abandoned(&self, tools: &Path) {
        for entry in fs::read_dir(tools).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let owner = name
                .to_str()
                .and_then(|name| name.strip_prefix(&self.partial_prefix()));
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn partial_prefix(&self) -> String {
        format!(".{}-{}.partial-", self.name, self.version)
    }

    fn place(&self) -> Result<PathBuf> {
        Ok(workspace::cache()?
            .join("tools")
            .join(format!("{}-{}", self.name, self.version)))
    }
}
