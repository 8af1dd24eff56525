//! Running other programs: what they are called in messages, where they are found, and how to
//! become root for the few that need it.

use crate::failure::{Context as _, Failure, Result};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// Runs a program with our own terminal; anything but success is a failure.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "`{}` {}",
        display(command),
        ending(status)
    )))
}

/// Runs a program with our own terminal and leaves the judgement to the caller.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command
        .status()
        .context(|| format!("cannot start `{}`", name(command)))
}

/// Runs a program in place of this one: its exit code becomes ours.
pub(crate) fn stand_in(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Failure::Exit(u8::try_from(code).unwrap_or(1))),
        None => Err(Failure::new(format!(
            "`{}` {}",
            name(command),
            ending(status)
        ))),
    }
}

/// Runs a program silently and returns what it wrote to stdout; its stderr becomes the message.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .context(|| format!("cannot start `{}`", name(command)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let detail = stderr.trim();
    Err(Failure::new(format!(
        "`{}` {}: {detail}",
        display(command),
        ending(output.status)
    )))
}

/// Runs a program silently for the answer in its exit code.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Sends a signal. The program `kill` is missing on small systems, but every shell has the word.
/// A process that is gone already is no failure.
pub(crate) fn signal(name: &str, pid: u32) {
    let pid = pid.to_string();
    succeeds(Command::new("sh").args(["-c", r#"kill -s "$1" "$2""#, "sh", name, &pid]));
}

/// The words of a command, for messages.
pub(crate) fn display(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|arg| arg.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

/// How a process ended, as the rest of a sentence.
pub(crate) fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// Finds a program the way a shell would, and in the sbin folders that Debian leaves out of an
/// ordinary user's PATH although their programs work once root runs them.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| is_executable(candidate))
}

pub(crate) fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether this process has user id 0.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// A command that runs as root: directly when we are root, through sudo otherwise.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Result<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    if find("sudo").is_none() {
        let program = program.as_ref().to_string_lossy();
        return Err(Failure::new(format!(
            "`{program}` needs root and there is no sudo here: run the same cargo xtask as root"
        )));
    }
    let mut command = Command::new("sudo");
    command.arg("-E").arg("--").arg(program);
    Ok(command)
}
