//! The lab: throw-away network namespaces that stand for hosts and workloads, and what is needed to
//! do in them what a user does and to look at what happens.
//!
//! A test makes [`Namespace`]s, runs [`Bowline`] in one of them, sends and captures frames with
//! [`PacketSocket`]s, and waits with [`eventually`]. An [`Underlay`] is several hosts. Everything is gone when the values are dropped,
//! after a panic too; [`Snapshot`]s show whether that is so. Nothing touches the namespace that the
//! tests were started in.

mod bowline;
mod complaint;
pub mod dissector;
mod engine;
mod feature;
mod generator;
mod namespace;
mod numbered;
mod packet;
mod ping;
mod snapshot;
mod stream;
mod talk;
mod underlay;
mod wait;

use std::fs::OpenOptions;
use std::io::Write;
use std::thread;

pub use self::bowline::{Bowline, Run};
pub use complaint::{Complaint, Probe};
pub use engine::{Engine, FOLDER as ENGINE_FOLDER, IMAGE};
pub use feature::Feature;
pub use generator::{Generator, other_end};
pub use namespace::{Namespace, octets, veth};
pub use numbered::{Flow, Numbered};
pub use packet::{Capture, PacketSocket};
pub use ping::{Pings, ping, ping_once};
pub use snapshot::Snapshot;
pub use stream::{Transfer, receive_all, send_all};
pub use talk::Talk;
pub use underlay::{Family, Fleet, UPLINK, Underlay};
pub use wait::{eventually, eventually_some, patience, uninterrupted};

/// The variable that names the file where skipped tests are written down for whoever counts them.
const SKIPPED: &str = "BOWLINE_SKIPPED";

/// Whether the lab can be used: it needs root. If not, the running test is counted as skipped.
#[must_use]
pub fn is_usable() -> bool {
    match ::bowline::kernel::capability::check_capabilities() {
        Ok(()) => true,
        Err(error) => {
            skip(&format!("{error:#}"));
            false
        }
    }
}

/// Writes down that the running test could not do its work, and why.
///
/// # Panics
/// It cannot be written down.
pub fn skip(reason: &str) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("skipped: {name}: {reason}");
    let Some(path) = std::env::var_os(SKIPPED) else {
        return;
    };
    let reason = reason.replace('\n', " ");
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("open the file of skipped tests");
    // One write, so that the lines of parallel tests do not mix.
    file.write_all(format!("{name}: {reason}\n").as_bytes())
        .expect("write down a skipped test");
}
