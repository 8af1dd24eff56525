//! Loading it, as a user does.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant};

use aya::maps::MapData;
use integration::lab::{Bowline, Namespace, veth};

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
}

/// Loads a topology of this kind on a host that has one of its workloads.
pub(crate) fn load(kind: Kind, size: u32) -> Loads {
    let [host, other, web] = ["host", "other", "web"].map(Namespace::new);
    veth((&host, "up0"), (&other, "up0"));
    host.ip(&["address", "add", "192.0.2.11/24", "dev", "up0"]);
    other.ip(&["address", "add", "192.0.2.12/24", "dev", "up0"]);
    let text = |is_changed| kind.topology(size, is_changed).replace("@web", web.name());
    loads(&host, &text(false), &text(true))
}

/// Loads a topology of so many workloads of one host.
pub(crate) fn links(count: u32) -> Loads {
    let host = Namespace::new("host");
    let spaces: Vec<_> = (0..=count).map(|_| Namespace::quiet("work")).collect();
    let names: Vec<_> = spaces.iter().map(|space| space.name().to_owned()).collect();
    loads(&host, &local(&names[..count as usize]), &local(&names))
}

fn loads(host: &Namespace, text: &str, changed: &str) -> Loads {
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
    let changed = bowline.write("changed.yaml", changed);
    Loads {
        first,
        again,
        changed: timed(&["load", changed]),
        maps,
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
