//! The process that outlives the story and takes the lab away after it.
//!
//! Ctrl-C reaches every process of the terminal's foreground group. The guard was started with
//! SIGINT, SIGTERM and SIGHUP blocked: they do not end it, but stay pending, and the kernel
//! shows pending signals in /proc. So a guard without a signal handler, and thus without unsafe
//! code, knows that it was asked to stop. std clears the mask for the processes it starts, so
//! the story itself dies of Ctrl-C at once.

use super::{Options, STORY, continuation, lab, this_program};
use crate::failure::{Context as _, Failure, Result};
use crate::process;
use crate::terminal;
use crate::workspace::Workspace;
use std::fs;
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(50);
/// How long the story may take to die of a signal that the terminal sent to it as well.
const GRACE: Duration = Duration::from_secs(1);

/// Starts the story, waits for its end, cleans up.
pub(super) fn guard(workspace: &Workspace, options: &Options) -> Result<()> {
    let mut story = Command::new(this_program()?)
        .args(continuation(STORY, options))
        .spawn()
        .context(|| "cannot start the story".to_owned())?;
    let (status, signal) = wait(&mut story)?;
    if signal.is_some() {
        terminal::say("");
        terminal::note("interrupted; cleaning up");
    }
    if status.success() && signal.is_none() && options.keep {
        return Ok(());
    }
    lab::clean(workspace)?;
    terminal::say(terminal::aside(
        "the lab is gone: containers, engine, namespaces, files",
    ));
    match (signal, status.success()) {
        (Some(signal), _) => Err(Failure::Exit(128 + signal)),
        (None, true) => Ok(()),
        // The story has said why.
        (None, false) => Err(Failure::Exit(1)),
    }
}

/// Waits for the story; passes a signal on that only the guard has got.
fn wait(story: &mut Child) -> Result<(ExitStatus, Option<u8>)> {
    let mut signalled: Option<(u8, Instant)> = None;
    loop {
        let status = story
            .try_wait()
            .context(|| "cannot wait for the story".to_owned())?;
        if signalled.is_none() {
            signalled = pending_signal().map(|signal| (signal, Instant::now()));
        }
        if let Some(status) = status {
            return Ok((status, signalled.map(|(signal, _)| signal)));
        }
        if signalled.is_some_and(|(_, since)| since.elapsed() > GRACE) {
            // The story runs one command at a time and keeps no state of its own, so there is
            // nothing that a gentler end would save.
            process::signal("KILL", story.id());
        }
        sleep(POLL);
    }
}

/// SIGHUP, SIGINT or SIGTERM, if one is pending for this process.
fn pending_signal() -> Option<u8> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    let pending = mask("ShdPnd:")? | mask("SigPnd:")?;
    [1_u8, 2, 15]
        .into_iter()
        .find(|signal| pending & (1 << (signal - 1)) != 0)
}
