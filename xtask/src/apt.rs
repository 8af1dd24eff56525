//! Debian packages: which are there, and how to add the missing ones without asking questions.

use crate::failure::{Failure, Result};
use crate::{process, terminal};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Lists older than this may name versions that the mirror no longer has.
const LISTS_MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether this system has apt and dpkg.
pub(crate) fn is_available() -> bool {
    process::find("apt-get").is_some() && process::find("dpkg-query").is_some()
}

/// Whether a package is installed and configured.
pub(crate) fn is_installed(package: &str) -> bool {
    process::output(Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}", package]))
        .is_ok_and(|status| status == "installed")
}

/// Whether the mirrors offer a package. Lists that are missing or old are fetched first.
pub(crate) fn offers(package: &str) -> Result<bool> {
    refresh_lists()?;
    let shown = process::output(Command::new("apt-cache").args(["show", package]));
    Ok(shown.is_ok_and(|text| !text.is_empty()))
}

/// Installs packages; the caller has said what they are for.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    refresh_lists()?;
    terminal::step(&format!("apt-get install {}", packages.join(" ")));
    let mut command = apt_get()?;
    command
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages);
    process::run(&mut command).map_err(|failure| {
        Failure::new(format!(
            "{failure}; mend what apt-get says above, then run this again"
        ))
    })
}

fn refresh_lists() -> Result<()> {
    if lists_are_fresh() {
        return Ok(());
    }
    terminal::step("apt-get update (the package lists are missing or older than a day)");
    process::run(apt_get()?.arg("update"))
}

fn apt_get() -> Result<Command> {
    // sudo drops most of the environment, so the variable travels as an argument of env.
    let mut command = process::as_root("env")?;
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]);
    command.args(["-o", "DPkg::Lock::Timeout=600", "-o", "Dpkg::Use-Pty=0"]);
    Ok(command)
}

fn lists_are_fresh() -> bool {
    let folder = Path::new("/var/lib/apt/lists");
    let has_lists = fs::read_dir(folder).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    });
    // An update always rewrites `partial`, even when no list has changed.
    let age = fs::metadata(folder.join("partial"))
        .and_then(|meta| meta.modified())
        .ok()
        .and_then(|time| time.elapsed().ok());
    has_lists && age.is_none_or(|age| age < LISTS_MAX_AGE)
}
