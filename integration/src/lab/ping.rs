//! Pings, and what came back.

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Namespace, eventually, patience};

/// Whether one ping is answered within a second.
///
/// # Panics
/// There is no `ping`.
#[must_use]
pub fn ping(from: &Namespace, to: IpAddr) -> bool {
    ping_within(from, to, Duration::from_secs(1))
}

/// Whether one ping is answered, however long that takes. What is lost is not sent again, so this is
/// how to tell that not even the first one is lost.
///
/// # Panics
/// There is no `ping`.
#[must_use]
pub fn ping_once(from: &Namespace, to: IpAddr) -> bool {
    ping_within(from, to, patience())
}

fn ping_within(from: &Namespace, to: IpAddr, time: Duration) -> bool {
    let mut command = from.command("ping");
    let seconds = time.as_secs().to_string();
    command.args(["-n", "-c", "1", "-W", &seconds, &to.to_string()]);
    let output = command.output().expect("start ping");
    output.status.success()
}

/// Pings that go on while something else happens, one every two milliseconds.
#[derive(Debug)]
pub struct Pings {
    child: Child,
    /// The numbers of those that were answered.
    answered: Arc<Mutex<Vec<u64>>>,
    reader: Option<JoinHandle<()>>,
}

impl Pings {
    /// Once so many more were answered, those before them are lost and not on their way any more.
    const MORE: u64 = 100;

    /// Begins to ping.
    ///
    /// # Panics
    /// There is no `ping`.
    #[must_use]
    pub fn start(from: &Namespace, to: IpAddr) -> Self {
        let mut command = from.command("ping");
        command.args(["-n", "-i", "0.002", &to.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("start ping");
        let stdout = child.stdout.take().expect("an output");
        let answered = Arc::default();
        let into = Arc::clone(&answered);
        Self {
            child,
            answered,
            reader: Some(thread::spawn(move || read(stdout, &into))),
        }
    }

    /// Ends it, as soon as it is known of every ping that was sent until now what became of it;
    /// returns how many these were and how many of them were answered.
    ///
    /// # Panics
    /// No ping is answered any more.
    #[track_caller]
    #[must_use]
    pub fn finish(mut self) -> (u64, u64) {
        let last = || self.answered.lock().expect("no panic").last().copied();
        let sent = last().unwrap_or(0);
        eventually("pings are answered", || last() >= Some(sent + Self::MORE));
        self.end();
        let answered = self.answered.lock().expect("no panic");
        let of_those = answered.iter().filter(|number| **number <= sent);
        (sent, of_those.count() as u64)
    }

    fn end(&mut self) {
        // Ended already, unless the test panicked.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let ended = reader.join();
            assert!(ended.is_ok() || thread::panicking(), "the reader panicked");
        }
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        self.end();
    }
}

/// Notes the numbers of answered pings, which `ping` counts from 1, modulo 65536.
fn read(stdout: ChildStdout, answered: &Mutex<Vec<u64>>) {
    let mut last = 0_u64;
    for line in BufReader::new(stdout).lines() {
        let line = line.expect("ping prints UTF-8");
        let number = line.split_once(" icmp_seq=").and_then(|(_, rest)| {
            let (number, rest) = rest.split_once(' ')?;
            // An error has a number, too, but no time.
            rest.contains(" time=")
                .then(|| number.parse::<u16>().ok())?
        });
        if let Some(number) = number {
            // The one of this number that is nearest to the last one.
            let ahead = number.wrapping_sub(last as u16) as i16;
            last = last.saturating_add_signed(ahead.into());
            answered.lock().expect("no panic").push(last);
        }
    }
}
