//! The page of all of it.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use crate::kernel::Loads;
use crate::stages::Stages;
use crate::topologies::Kind;

/// The rows of the tables.
#[derive(Default)]
pub(crate) struct Page {
    stations: String,
    routes: String,
    hosts: String,
    links: String,
}

impl Page {
    pub(crate) fn add(&mut self, kind: Kind, size: u32, stages: &Stages, loads: Option<&Loads>) {
        let Stages {
            text,
            compile,
            plan,
            rows,
            bytes,
            memory,
        } = stages;
        let mut row = format!(
            "| {size} | {} | {} | {} | {} | {rows} | {} |",
            mebibytes(*text as u64),
            seconds(*compile),
            seconds(*plan),
            mebibytes(*memory),
            mebibytes(*bytes as u64)
        );
        match loads {
            Some(loads) => row += &cells(loads),
            None if kind == Kind::Hosts => {}
            None => row += " | | | | | | |",
        }
        let table = match kind {
            Kind::Stations => &mut self.stations,
            Kind::Routes => &mut self.routes,
            Kind::Hosts => &mut self.hosts,
        };
        let _ = writeln!(table, "{row}");
    }

    pub(crate) fn add_links(&mut self, count: u32, loads: &Loads) {
        let _ = writeln!(self.links, "| {count} |{}", cells(loads));
    }

    pub(crate) fn text(&self) -> String {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let kernel = read("/proc/sys/kernel/osrelease");
        let load = read("/proc/loadavg");
        let load = load.split(' ').next().unwrap_or_default();
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        let Self {
            stations,
            routes,
            hosts,
            links,
        } = self;
        let stages = "file, MiB | compile, s | plan, s | memory, MiB | rows | rows, MiB";
        let loads = "load, s | again, s | one more, s | unload, s | maps, MiB";
        let frames = "known flow, ns | first packet, ns";
        let lines = |count| " --- |".repeat(count);
        let (six, seven, fourteen) = (lines(6), lines(7), lines(14));
        format!(
            "# How far it goes

Written by `cargo xtask scale --write docs/scale.md`: Linux {kernel_}, {processors} processors, load average {load} at the
end. Each figure is from one run.

- *compile* is from the text of the file to a topology in which all is checked, *plan* from there to the rows of
  one host's maps; *memory* is the most that a process had which did both.
- *load* is the whole of `bowline load` on a host that carries nothing, *again* the same file once more, *one
  more* a file with one more of them. *maps* is what the kernel accounts for all maps of the instance; with
  nothing in them it is what the first row of the table shows, most of it for the tables of connections.
- Times are those of a clock on the wall: whatever else the machine does is in them.
- *known flow* and *first packet* are what the program takes for a 64-byte frame, by the kernel's run-time
  statistics less what an empty program takes: of one flow, and of 20,000 flows to a thousand of the destinations.
  Each frame is given to it by itself (`BPF_PROG_TEST_RUN`). All tables but those of prefixes are hash tables.

## Workloads of another host

What a host holds of workloads that it does not carry, on networks of a thousand each that a router joins with
one of its own: a MAC address and a neighbor each. A network has 1024 ports at most, because that is as far as a
broadcast is copied.

| workloads | {stages} | {loads} | {frames} |
|{fourteen}
{stations}
## Routes of one router

A million are compiled and planned, and not loaded: `routes` of the [benchmarks](benchmarks/README.md) measures a
million rows.

| routes | {stages} | {loads} | {frames} |
|{fourteen}
{routes}
## Workloads of one host

Each has a network namespace and a veth pair of its own, which is what takes the time and why there are no more.

| workloads | {loads} |
|{six}
{links}
## Hosts with 100 workloads each: a simulation

Each ten hosts share ten networks of a hundred workloads, which a router joins. The file has all of them, and the
plans of all hosts were made: the time is their median. The rows are what was computed from the numbers of hosts,
workloads and networks alone; the plan of each host has exactly so many.

| hosts | {stages} |
|{seven}
{hosts}
A host holds rows for those networks only that it has a part in, and three for each other host. What grows with
their number is the file, which every `load` reads as a whole. Rows that hold the number of an interface are not
among them: they come when there is one.
",
            kernel_ = kernel.trim(),
        )
    }
}

fn cells(loads: &Loads) -> String {
    let Loads {
        first,
        again,
        changed,
        maps,
        unload,
        frames,
    } = loads;
    let times = [first, again, changed, unload].map(|time| seconds(*time));
    let mut row = format!(" {} | {} |", times.join(" | "), mebibytes(*maps));
    for nanoseconds in frames.iter().flatten() {
        let _ = write!(row, " {nanoseconds:.0} |");
    }
    row
}

fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let digits = if seconds < 1.0 { 3 } else { 1 };
    format!("{seconds:.digits$}")
}

fn mebibytes(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    let digits = if mebibytes < 10.0 { 2 } else { 0 };
    format!("{mebibytes:.digits$}")
}
