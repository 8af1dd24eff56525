//! Pings, and what came back.

use std::net::IpAddr;
use std::process::{Child, Stdio};

use super::Namespace;

/// Whether one ping is answered within a second.
///
/// # Panics
/// There is no `ping`.
#[must_use]
pub fn ping(from: &Namespace, to: IpAddr) -> bool {
    let mut command = from.command("ping");
    command.args(["-n", "-c", "1", "-W", "1", &to.to_string()]);
    let output = command.output().expect("start ping");
    output.status.success()
}

/// Pings that go on while something else happens, one every two milliseconds.
#[derive(Debug)]
pub struct Pings {
    child: Child,
}

impl Pings {
    /// Begins to ping.
    ///
    /// # Panics
    /// There is no `ping`.
    #[must_use]
    pub fn start(from: &Namespace, to: IpAddr) -> Self {
        let mut command = from.command("ping");
        command.args(["-n", "-q", "-i", "0.002", "-W", "1", &to.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.spawn().expect("start ping");
        Self { child }
    }

    /// Ends it; returns how many were sent and how many of them were answered.
    ///
    /// # Panics
    /// Ping did not say so.
    #[must_use]
    pub fn finish(mut self) -> (u64, u64) {
        let pid = i32::try_from(self.child.id()).ok();
        let pid = pid.and_then(rustix::process::Pid::from_raw).expect("an id");
        // An interrupt makes it print its summary.
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("interrupt ping");
        let stdout = self.child.stdout.take().expect("an output");
        let text = std::io::read_to_string(stdout).expect("ping prints UTF-8");
        self.child.wait().expect("wait for ping");
        let counts = text.lines().find_map(|line| {
            let (sent, rest) = line.split_once(" packets transmitted, ")?;
            let (received, _) = rest.split_once(" received")?;
            Some((sent.parse().ok()?, received.parse().ok()?))
        });
        counts.unwrap_or_else(|| panic!("no summary: {text}"))
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        // Ended already, unless the test panicked.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
