//! The programs of an instance, and what they take for a frame by the kernel's own clock, less what an
//! empty program takes.

pub mod assembled;

use std::path::Path;
use std::time::Duration;

use ::bowline::topology::Topology;
use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
use serde_json::Value;

use crate::case::compile;
use crate::cast::Cast;
use crate::frame::Description;
use crate::lab::{Bowline, Namespace};
use crate::number::Numbers;

/// How often a frame that stays as it is goes through the program in one call.
const REPEAT: u32 = 1_000_000;
/// How often one that is changed does, once a call: the next one must be as it was.
const CALLS: usize = 20_000;
/// Where the source port of an IPv4 packet without options is in its frame.
const SOURCE_PORT: usize = 34;
/// How much longer a frame may become.
const ROOM: usize = 128;
/// `TC_ACT_REDIRECT`.
const REDIRECT: u32 = 7;

/// A program of an instance, and what is needed to run it on frames.
#[derive(Debug)]
pub struct Subject<'a> {
    host: &'a Namespace,
    program: SchedClassifier,
    empty: SchedClassifier,
    /// The interface that frames come in on.
    ifindex: u32,
}

impl<'a> Subject<'a> {
    /// The program of this name of an instance on a host.
    pub fn new(host: &'a Namespace, bowline: &Bowline<'_>, name: &str, ifindex: u32) -> Self {
        Self {
            host,
            program: pinned(bowline, name),
            empty: assembled::drop_all().expect("an empty program"),
            ifindex,
        }
    }

    /// The program that frames of the workload `web` meet.
    pub fn port(host: &'a Namespace, bowline: &Bowline<'_>) -> Self {
        Self::new(host, bowline, "port_ingress", ingress(host, bowline))
    }

    /// What the program takes for a frame that stays as it is, again and again, less what an empty
    /// one takes.
    pub fn time_repeated(&self, frame: &[u8]) -> f64 {
        let run = |program| test_run(program, frame, self.ifindex, REPEAT);
        self.host.run(|| run(&self.program) - run(&self.empty))
    }

    /// What the program takes for each of the frames that it meets while something is done, less
    /// what an empty one takes that runs again and again: like one that meets many frames, and unlike one that
    /// is called for each. Run-time statistics must be enabled.
    pub fn time_during(&self, work: impl FnOnce()) -> f64 {
        let again = || {
            let _duration = test_run(&self.empty, &[0; 64], self.ifindex, CALLS as u32);
        };
        spent(&self.program, work) - spent(&self.empty, || self.host.run(again))
    }

    /// What the program takes for one of these frames, each of which meets it as it is here, less
    /// what an empty one takes. Run-time statistics must be enabled.
    pub fn time(&self, frames: &[Vec<u8>]) -> f64 {
        let per_call = |program| per_call(program, frames, self.ifindex);
        self.host
            .run(|| per_call(&self.program) - per_call(&self.empty))
    }

    /// What the program takes for the first frames of connections, less what an empty one takes. All
    /// are made from these by giving each another source port, and those of rounds that follow one
    /// another have others, too. The checksum of UDP is left as it was: nobody looks. Run-time
    /// statistics must be enabled.
    pub fn time_first(&self, frames: &[Vec<u8>], round: usize) -> f64 {
        let first = 1024 + (round % 3) * CALLS;
        let ports = (first..first + CALLS).map(|port| port as u16);
        let with = |(frame, port): (&Vec<u8>, u16)| {
            let mut frame = frame.clone();
            frame[SOURCE_PORT..SOURCE_PORT + 2].copy_from_slice(&port.to_be_bytes());
            frame
        };
        let frames: Vec<_> = frames.iter().cycle().zip(ports).map(with).collect();
        self.time(&frames)
    }

    /// What the program makes of a frame that goes on.
    pub fn result(&self, frame: &[u8]) -> Vec<u8> {
        let mut after = vec![0; frame.len() + ROOM];
        let context = context(self.ifindex);
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut after),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let run = || self.program.test_run(options).expect("a test run");
        let result = self.host.run(run);
        assert_eq!(result.return_value, REDIRECT, "the frame goes on");
        after.truncate(result.data_size_out as usize);
        after
    }
}

/// The topology of the site, for frames that name its workloads.
pub fn topology(text: &str) -> Topology {
    compile("bench.yaml", &text.replace('@', "")).expect("a topology")
}

/// Nanoseconds for a run, by the kernel's statistics, of frames that are given one a call.
fn per_call(program: &SchedClassifier, frames: &[Vec<u8>], ifindex: u32) -> f64 {
    spent(program, || {
        for frame in frames.iter().cycle().take(CALLS) {
            test_run(program, frame, ifindex, 1);
        }
    })
}

/// Nanoseconds for a run, by the kernel's statistics, of those while something is done.
fn spent(program: &SchedClassifier, work: impl FnOnce()) -> f64 {
    let before = run_time(program);
    work();
    let after = run_time(program);
    (after.0 - before.0).as_nanos() as f64 / (after.1 - before.1) as f64
}

/// The bytes of a frame of `web`.
pub fn bytes(topology: &Topology, frame: &str) -> Vec<u8> {
    let web = topology.ports.keys().find(|name| name.workload == "web");
    let cast = Cast::of(topology, web.expect("a port of web"));
    let frame: Description = serde_saphyr::from_str(frame).expect("a description");
    frame.bytes(&cast, &Numbers::default()).expect("a frame")
}

/// Nanoseconds for one run.
fn test_run(program: &SchedClassifier, frame: &[u8], ifindex: u32, repeat: u32) -> f64 {
    let context = context(ifindex);
    let options = TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&context),
        repeat,
        ..TestRunOptions::default()
    };
    let result = program.test_run(options).expect("a test run");
    result.duration.as_nanos() as f64
}

/// A `struct __sk_buff` of this interface, which is its eleventh field.
fn context(ifindex: u32) -> [u8; 192] {
    let mut context = [0; 192];
    context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
    context
}

fn run_time(program: &SchedClassifier) -> (Duration, u64) {
    let info = program.info().expect("the kernel knows the program");
    (info.run_time(), info.run_count())
}

fn pinned(bowline: &Bowline<'_>, name: &str) -> SchedClassifier {
    let folder = bowline.instance().pin_dir().join("programs");
    let pins = std::fs::read_dir(Path::new(&folder)).expect("the instance's pins");
    let mut pins = pins.map(|pin| pin.expect("a pin"));
    let pin = pins.find(|pin| pin.file_name().to_string_lossy().starts_with(name));
    let pin = pin.expect("the program is pinned");
    SchedClassifier::from_pin(pin.path()).expect("the pinned program")
}

/// The index of the host's end of the client's link.
fn ingress(host: &Namespace, bowline: &Bowline<'_>) -> u32 {
    let ports = bowline.json(&["show", "ports"]);
    let ports = ports["ports"].as_array().expect("ports");
    let web = ports.iter().find(|port| port["name"] == "web/eth0");
    let name = web.expect("the client's port")["host_interface"].as_str();
    index(host, name.expect("a link"))
}

/// The index of an interface.
pub fn index(host: &Namespace, name: &str) -> u32 {
    let link = host.ip(&["-j", "link", "show", "dev", name]);
    let link: Value = serde_json::from_str(&link).expect("ip prints JSON");
    let index = link[0]["ifindex"].as_u64().expect("an index");
    u32::try_from(index).expect("a small index")
}
