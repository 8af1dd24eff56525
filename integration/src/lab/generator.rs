//! Frames that the kernel makes by itself, so that no sender in user space is the limit.
//!
//! An XDP program that is run on frames of its own ("live frames", Linux 5.18 or newer, see
//! `Documentation/bpf/bpf_prog_run.rst`) writes them and sends them through one end of a veth pair. They come
//! in at the other end as from a network card: in batches, as fast as they are taken.

use std::ffi::CString;
use std::io;

use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use serde_json::Value;

use super::Namespace;
use super::namespace::succeed;
use crate::program::assembled;

/// How many frames are on their way at once; the ring of the other end holds four times as many.
const BATCH: u32 = 64;

/// A sender at one end of a veth pair.
#[derive(Debug)]
pub struct Generator<'a> {
    space: &'a Namespace,
    program: Xdp,
    /// One frame, for the kernel to begin with.
    frame: Vec<u8>,
    /// The end where the frames come in.
    entry: (&'a Namespace, String),
}

impl<'a> Generator<'a> {
    /// A sender of `frame` through an interface of a namespace; the other end is in the namespace `entry`.
    /// With `chance`, four bytes at this offset of each frame are random.
    ///
    /// # Errors
    /// The kernel has no live frames.
    ///
    /// # Panics
    /// `interface` is no end of a veth pair to `entry`.
    pub fn new(
        space: &'a Namespace,
        interface: &str,
        entry: &'a Namespace,
        frame: &[u8],
        chance: Option<u16>,
    ) -> io::Result<Self> {
        let peer = other_end(space, interface, entry);
        let ifindex = space.run(|| index(interface));
        let program = assembled::sender(frame, ifindex, chance)?;
        let generator = Self {
            space,
            program,
            frame: frame.to_vec(),
            entry: (entry, peer),
        };
        // A veth pair takes frames without socket buffers only if the other end asks for frames in batches.
        generator.batches(true);
        generator.send(1)?;
        Ok(generator)
    }

    /// Sends so many frames. When it returns, they have been dealt with; where a processor is kept from that by
    /// others, those that the ring has no room for are lost.
    ///
    /// # Errors
    /// The kernel has no live frames.
    pub fn send(&self, count: u32) -> io::Result<()> {
        let options = TestRunOptions {
            data_in: Some(&self.frame),
            repeat: count,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH.min(count)),
            ..TestRunOptions::default()
        };
        let run = || self.program.test_run(options).map_err(io::Error::other);
        self.space.run(run).map(drop)
    }

    fn batches(&self, is_on: bool) {
        let (space, interface) = &self.entry;
        let state = if is_on { "on" } else { "off" };
        let mut command = space.command("ethtool");
        succeed(command.args(["-K", interface, "gro", state]));
    }
}

impl Drop for Generator<'_> {
    fn drop(&mut self) {
        // It is off at every veth pair that nobody has changed.
        self.batches(false);
    }
}

/// The index of an interface of this thread's namespace.
fn index(interface: &str) -> u32 {
    let name = CString::new(interface).expect("a name");
    // SAFETY: the name is a C string.
    unsafe { libc::if_nametoindex(name.as_ptr()) }
}

/// The name of the other end of a veth pair, which is in the namespace `entry`.
///
/// # Panics
/// It is not there.
#[must_use]
pub fn other_end(space: &Namespace, interface: &str, entry: &Namespace) -> String {
    let links = |space: &Namespace| -> Vec<Value> {
        let text = space.ip(&["-j", "link"]);
        serde_json::from_str(&text).expect("ip prints JSON")
    };
    let here = links(space);
    let here = here.iter().find(|link| link["ifname"] == interface);
    let here = here.unwrap_or_else(|| panic!("no {interface} in {}", space.name()));
    let is_other = |link: &&Value| {
        link["ifindex"] == here["link_index"] && link["link_index"] == here["ifindex"]
    };
    let there = links(entry);
    let name = there
        .iter()
        .find(is_other)
        .and_then(|link| link["ifname"].as_str());
    name.unwrap_or_else(|| panic!("no other end of {interface} in {}", entry.name()))
        .to_owned()
}
