//! Loading it, as a user does.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant};

use aya::maps::MapData;
use aya::sys::{Stats, enable_stats};
use integration::lab::{Bowline, Namespace, veth};
use integration::program::{self, Subject};

use crate::topologies::{Kind, local};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lab-bowline");

/// What loading took.
pub(crate) struct Loads {
    /// Onto a host that carries nothing.
    pub(crate) first: Duration,
    /// The same file again.
    pub(crate) again: Duration,
    /// A file with one more.
    pub(crate) changed: Duration,
    /// All maps of the instance, in bytes.
    pub(crate) maps: u64,
    pub(crate) unload: Duration,
    /// What the program takes for a frame of a known flow, and for the first one of a flow, in nanoseconds.
    pub(crate) frames: Option<[f64; 2]>,
}

/// Loads a topology of this kind on a host that has one of its workloads.
pub(crate) fn load(kind: Kind, size: u32) -> Loads {
    let [host, other, web, hop] = ["host", "other", "web", "hop"].map(Namespace::new);
    veth((&host, "up0"), (&other, "up0"));
    host.ip(&["address", "add", "192.0.2.11/24", "dev", "up0"]);
    other.ip(&["address", "add", "192.0.2.12/24", "dev", "up0"]);
    let text = |is_changed| {
        let text = kind.topology(size, is_changed);
        text.replace("@web", web.name()).replace("@hop", hop.name())
    };
    let measure = |bowline: &Bowline<'_>| frames(kind, size, &host, bowline);
    loads(&host, &text(false), &text(true), Some(&measure))
}

/// Loads a topology of so many workloads of one host.
pub(crate) fn links(count: u32) -> Loads {
    let host = Namespace::new("host");
    let spaces: Vec<_> = (0..=count).map(|_| Namespace::quiet("work")).collect();
    let names: Vec<_> = spaces.iter().map(|space| space.name().to_owned()).collect();
    let (text, changed) = (local(&names[..count as usize]), local(&names));
    loads(&host, &text, &changed, None)
}

/// What frames of `web` to many destinations take.
fn frames(kind: Kind, size: u32, host: &Namespace, bowline: &Bowline<'_>) -> [f64; 2] {
    // Whom it sends its frames to is the same in a small topology.
    let topology = program::topology(&kind.topology(1, false));
    let frames = kind.destinations(size).into_iter().map(|to| {
        let frame = format!("{{ ipv4: {{ to: {to} }}, udp: [7, 7000], len: 64 }}");
        program::bytes(&topology, &frame)
    });
    let frames: Vec<_> = frames.collect();
    let subject = Subject::port(host, bowline);
    let _stats = enable_stats(Stats::RunTime).expect("run-time statistics");
    [subject.time(&frames[..1]), subject.time_first(&frames, 0)]
}

/// Measures something of what is loaded.
type Measure<'a> = &'a dyn Fn(&Bowline<'_>) -> [f64; 2];

fn loads(host: &Namespace, text: &str, changed: &str, measure: Option<Measure<'_>>) -> Loads {
    let bowline = Bowline::new(PROGRAM, host);
    let timed = |arguments: &[&str]| {
        let began = Instant::now();
        bowline.succeed(arguments);
        began.elapsed()
    };
    let text = bowline.write("scale.yaml", text);
    let first = timed(&["load", text]);
    let again = timed(&["load", text]);
    let maps = memory(&bowline);
    let frames = measure.map(|measure| measure(&bowline));
    let changed = bowline.write("changed.yaml", changed);
    Loads {
        first,
        again,
        changed: timed(&["load", changed]),
        maps,
        frames,
        unload: timed(&["unload", "scale"]),
    }
}

/// What the kernel accounts for all pinned maps of an instance.
fn memory(bowline: &Bowline<'_>) -> u64 {
    let pins = fs::read_dir(bowline.instance().pin_dir().join("maps"));
    let pins = pins.expect("the instance's pins").flatten();
    let locked = pins.map(|pin| {
        let map = MapData::from_pin(pin.path()).expect("a pinned map");
        let info = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
        let info = fs::read_to_string(info).expect("the kernel tells of the map");
        let bytes = info.lines().find_map(|line| line.strip_prefix("memlock:"));
        let bytes = bytes.and_then(|bytes| bytes.trim().parse::<u64>().ok());
        bytes.expect("how much memory the map has")
    });
    locked.sum()
}
