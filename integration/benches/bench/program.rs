//! What the program itself takes for a frame, by the kernel's own clock, less what an empty program
//! takes.

use std::path::Path;
use std::time::Duration;

use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
use aya::sys::{Stats, enable_stats};
use bowline::topology::Topology;
use integration::case::compile;
use integration::cast::Cast;
use integration::frame::Description;
use integration::lab::{Bowline, Namespace};
use serde_json::Value;

use crate::empty;
use crate::report::Report;
use crate::site::{Site, TOPOLOGY};

/// How often a frame that stays as it is goes through the program in one call.
const REPEAT: u32 = 1_000_000;
/// How often one that is turned into an answer does, once a call: the next one must be a question
/// again.
const CALLS: usize = 20_000;
/// How much longer a frame may become.
const ROOM: usize = 128;
/// `TC_ACT_REDIRECT`.
const REDIRECT: u32 = 7;

const FRAMES: &[(&str, &str)] = &[
    (
        "IPv4 to a known address",
        "{ ipv4: { to: db }, udp: [7, 7], len: 64 }",
    ),
    (
        "IPv6 to a known address",
        "{ ipv6: { to: db }, udp: [7, 7], len: 64 }",
    ),
    (
        "a spoofed source, dropped",
        "{ ipv4: { from: db, to: db }, udp: [7, 7], len: 64 }",
    ),
    (
        "to an unknown address, dropped",
        "{ to: 02:00:00:00:00:99, ipv4: { to: 10.77.0.99 }, udp: [7, 7], len: 64 }",
    ),
];

const QUESTIONS: &[(&str, &str)] = &[
    (
        "an ARP question, answered",
        "{ arp: { target: db }, len: 64 }",
    ),
    (
        "a neighbor solicitation, answered",
        "{ ipv6: { to: solicited-node db }, \
         nd: { message: neighbor_solicitation, target: db, options: [{ source: web }] } }",
    ),
];

pub(crate) fn measure(report: &mut Report) {
    let site = Site::new();
    let bowline = site.bowline();
    let subject = Subject::of_site(&site, &bowline);
    let topology = topology(TOPOLOGY);
    let rounds = report.rounds();
    let run = |program: &SchedClassifier, frame: &[u8], repeat: u32| {
        let ifindex = subject.ifindex;
        site.host.run(|| test_run(program, frame, ifindex, repeat))
    };
    for (name, frame) in FRAMES {
        let frame = bytes(&topology, frame);
        let values = (0..rounds).map(|_| {
            let all = run(&subject.program, &frame, REPEAT);
            all - run(&subject.empty, &frame, REPEAT)
        });
        report.add(name, "ns", values.collect());
    }
    let _stats = enable_stats(Stats::RunTime).expect("run-time statistics");
    for (name, question) in QUESTIONS {
        let question = [bytes(&topology, question)];
        let values = (0..rounds).map(|_| subject.time(&question));
        report.add(name, "ns", values.collect());
    }
}

/// A program of an instance, and what is needed to run it on frames.
pub(crate) struct Subject<'a> {
    host: &'a Namespace,
    program: SchedClassifier,
    empty: SchedClassifier,
    /// The interface that frames come in on.
    ifindex: u32,
}

impl<'a> Subject<'a> {
    /// The program of this name of an instance on a host.
    pub(crate) fn new(
        host: &'a Namespace,
        bowline: &Bowline<'_>,
        name: &str,
        ifindex: u32,
    ) -> Self {
        let path = bowline.instance().pin_dir().join("empty");
        Self {
            host,
            program: pinned(bowline, name),
            empty: empty::load(&path).expect("an empty program"),
            ifindex,
        }
    }

    /// The program that frames of the client meet.
    pub(crate) fn of_site(site: &'a Site, bowline: &Bowline<'_>) -> Self {
        let ifindex = ingress(&site.host, bowline);
        Self::new(&site.host, bowline, "port_ingress", ifindex)
    }

    /// What the program takes for one of these frames, each of which meets it as it is here, less
    /// what an empty one takes. Run-time statistics must be enabled.
    pub(crate) fn time(&self, frames: &[Vec<u8>]) -> f64 {
        let per_call = |program| per_call(program, frames, self.ifindex);
        self.host
            .run(|| per_call(&self.program) - per_call(&self.empty))
    }

    /// What the program makes of a frame that goes on.
    pub(crate) fn result(&self, frame: &[u8]) -> Vec<u8> {
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
pub(crate) fn topology(text: &str) -> Topology {
    compile("bench.yaml", &text.replace('@', "")).expect("a topology")
}

/// Nanoseconds for a run, by the kernel's statistics, of frames that are given one a call.
fn per_call(program: &SchedClassifier, frames: &[Vec<u8>], ifindex: u32) -> f64 {
    let before = run_time(program);
    for frame in frames.iter().cycle().take(CALLS) {
        test_run(program, frame, ifindex, 1);
    }
    let (time, count) = run_time(program);
    (time - before.0).as_nanos() as f64 / (count - before.1) as f64
}

/// The bytes of a frame of `web`.
pub(crate) fn bytes(topology: &Topology, frame: &str) -> Vec<u8> {
    let web = topology.ports.keys().find(|name| name.workload == "web");
    let cast = Cast::of(topology, web.expect("a port of web"));
    let frame: Description = serde_saphyr::from_str(frame).expect("a description");
    frame.bytes(&cast).expect("a frame")
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
pub(crate) fn ingress(host: &Namespace, bowline: &Bowline<'_>) -> u32 {
    let ports = bowline.json(&["show", "ports"]);
    let ports = ports["ports"].as_array().expect("ports");
    let web = ports.iter().find(|port| port["name"] == "web/eth0");
    let name = web.expect("the client's port")["host_interface"].as_str();
    index(host, name.expect("a link"))
}

/// The index of an interface.
pub(crate) fn index(host: &Namespace, name: &str) -> u32 {
    let link = host.ip(&["-j", "link", "show", "dev", name]);
    let link: Value = serde_json::from_str(&link).expect("ip prints JSON");
    let index = link[0]["ifindex"].as_u64().expect("an index");
    u32::try_from(index).expect("a small index")
}
