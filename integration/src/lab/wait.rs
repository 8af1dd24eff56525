//! Waiting for something to become so, with a deadline.

use std::io;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

/// The variable that says how many times longer than usual the lab waits: a whole number. A processor
/// that is emulated needs it.
const PATIENCE_VARIABLE: &str = "BOWLINE_LAB_PATIENCE";

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait for what must come.
///
/// # Panics
/// The variable is no number.
#[must_use]
pub fn patience() -> Duration {
    static FACTOR: LazyLock<u32> = LazyLock::new(|| {
        let text = std::env::var(PATIENCE_VARIABLE).unwrap_or_else(|_| "1".to_owned());
        text.parse()
            .unwrap_or_else(|_| panic!("{PATIENCE_VARIABLE}: `{text}` is no whole number"))
    });
    PATIENCE * *FACTOR
}

/// Waits until it is so.
///
/// # Panics
/// It is not so in time.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    eventually_some(what, || is_so().then_some(()));
}

/// Waits until there is a value.
///
/// # Panics
/// There is none in time.
#[track_caller]
pub fn eventually_some<T>(what: &str, mut value: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience();
    loop {
        if let Some(value) = value() {
            return value;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Does something with a socket, and again if it was interrupted. A call with a time limit ends so when
/// the process was stopped for a while (`signal(7)`), which says nothing about the socket.
///
/// # Errors
/// Any other error.
pub fn uninterrupted<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
