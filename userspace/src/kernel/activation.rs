//! Sockets that systemd holds for a service (`sd_listen_fds(3)`): who connects waits until it runs.

use std::env;
use std::os::fd::{FromRawFd, OwnedFd};

/// The first of such sockets.
const FIRST: i32 = 3;

/// Takes the socket that was handed to this process, if one was. It must be called once, before
/// anything else opens files.
#[must_use]
pub fn socket() -> Option<OwnedFd> {
    let said = |name: &str| env::var(name).ok()?.parse::<u32>().ok();
    let is_for_us = said("LISTEN_PID") == Some(std::process::id());
    if !is_for_us || said("LISTEN_FDS").is_none_or(|count| count == 0) {
        return None;
    }
    // SAFETY: whoever sets the two variables for this very process has opened the descriptor for it
    // (sd_listen_fds(3)), and nobody else in the process takes it.
    Some(unsafe { OwnedFd::from_raw_fd(FIRST) })
}
