//! How much memory a connection takes.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::maps::MapData;
use maps_schema::map::{EMBRYO_ROWS, EMBRYOS, FLOW_ROWS, FLOWS};

use crate::report::Report;
use crate::site::{Site, TOPOLOGY};

/// Rows of a connection, one for each direction.
const DIRECTIONS: f64 = 2.0;

pub(crate) fn run(report: &mut Report) {
    report.begin(
        "memory",
        "What the kernel accounts for the tables of connections (`memlock` of their file descriptors), which have all \
         of their memory from the beginning, by the connections that they hold.",
    );
    let site = Site::new();
    let bowline = site.bowline(TOPOLOGY);
    let pins = bowline.instance().pin_dir().join("maps");
    for (name, rows, one, table) in [
        (
            FLOWS,
            FLOW_ROWS,
            "established connection",
            "the table of established connections",
        ),
        (
            EMBRYOS,
            EMBRYO_ROWS,
            "connection that has only begun",
            "the table of those",
        ),
    ] {
        let map = MapData::from_pin(pins.join(name)).expect("a pinned map");
        let bytes = locked(&map);
        report.add(
            &format!("one {one}"),
            "bytes",
            None,
            vec![DIRECTIONS * bytes / f64::from(rows)],
        );
        report.add(table, "MiB", None, vec![bytes / f64::from(1 << 20)]);
    }
    match conntrack() {
        Some(bytes) => {
            report.add(
                "one connection of the kernel's own tracking",
                "bytes",
                None,
                vec![bytes],
            );
        }
        None => {
            report.note("what a connection of nf_conntrack takes is not told here (/proc/slabinfo)")
        }
    }
}

/// Bytes that the kernel accounts for a map.
fn locked(map: &MapData) -> f64 {
    let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    let text = fs::read_to_string(path).expect("the kernel tells of the map");
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    let bytes = line.and_then(|bytes| bytes.trim().parse().ok());
    bytes.expect("how much memory the map has")
}

/// The size of an object of the kernel's own table of connections.
fn conntrack() -> Option<f64> {
    let text = fs::read_to_string("/proc/slabinfo").ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("nf_conntrack "))?;
    line.split_whitespace().nth(3)?.parse().ok()
}
