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
use integration::lab::Bowline;
use serde_json::Value;

use crate::empty;
use crate::report::Report;
use crate::site::{Site, TOPOLOGY};

/// How often a frame that stays as it is goes through the program in one call.
const REPEAT: u32 = 1_000_000;
/// How often one that is turned into an answer does, once a call: the next one must be a question
/// again.
const CALLS: u32 = 20_000;

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
    let program = pinned(&bowline);
    let empty = empty::load(&bowline.instance().pin_dir().join("empty")).expect("an empty program");
    let text = TOPOLOGY.replace('@', "");
    let topology = compile("bench.yaml", &text).expect("a topology");
    let ifindex = ingress(&site, &bowline);
    let rounds = report.rounds();
    let run = |program: &SchedClassifier, frame: &[u8], repeat: u32| {
        site.host.run(|| test_run(program, frame, ifindex, repeat))
    };
    for (name, frame) in FRAMES {
        let frame = bytes(&topology, frame);
        let values = (0..rounds).map(|_| {
            let all = run(&program, &frame, REPEAT);
            all - run(&empty, &frame, REPEAT)
        });
        report.add(name, "ns", values.collect());
    }
    let _stats = enable_stats(Stats::RunTime).expect("run-time statistics");
    for (name, question) in QUESTIONS {
        let question = bytes(&topology, question);
        let values = (0..rounds).map(|_| {
            let per_call = |program: &SchedClassifier| {
                let before = run_time(program);
                for _ in 0..CALLS {
                    test_run(program, &question, ifindex, 1);
                }
                let (time, count) = run_time(program);
                (time - before.0).as_nanos() as f64 / (count - before.1) as f64
            };
            site.host.run(|| per_call(&program) - per_call(&empty))
        });
        report.add(name, "ns", values.collect());
    }
}

fn bytes(topology: &Topology, frame: &str) -> Vec<u8> {
    let web = topology.ports.keys().find(|name| name.workload == "web");
    let cast = Cast::of(topology, web.expect("a port of web"));
    let frame: Description = serde_saphyr::from_str(frame).expect("a description");
    frame.bytes(&cast).expect("a frame")
}

/// Nanoseconds for one run.
fn test_run(program: &SchedClassifier, frame: &[u8], ifindex: u32, repeat: u32) -> f64 {
    let mut context = [0; 192];
    // The interface is the eleventh field of `struct __sk_buff`.
    context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
    let options = TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&context),
        repeat,
        ..TestRunOptions::default()
    };
    let result = program.test_run(options).expect("a test run");
    result.duration.as_nanos() as f64
}

fn run_time(program: &SchedClassifier) -> (Duration, u64) {
    let info = program.info().expect("the kernel knows the program");
    (info.run_time(), info.run_count())
}

fn pinned(bowline: &Bowline<'_>) -> SchedClassifier {
    let folder = bowline.instance().pin_dir().join("programs");
    let mut pins = std::fs::read_dir(Path::new(&folder)).expect("the instance's pins");
    let pin = pins.next().expect("the program is pinned").expect("a pin");
    SchedClassifier::from_pin(pin.path()).expect("the pinned program")
}

/// The index of the host's end of the client's link.
fn ingress(site: &Site, bowline: &Bowline<'_>) -> u32 {
    let ports = bowline.json(&["show", "ports"]);
    let ports = ports["ports"].as_array().expect("ports");
    let web = ports.iter().find(|port| port["name"] == "web/eth0");
    let name = web.expect("the client's port")["host_interface"].as_str();
    let link = site
        .host
        .ip(&["-j", "link", "show", "dev", name.expect("a link")]);
    let link: Value = serde_json::from_str(&link).expect("ip prints JSON");
    let index = link[0]["ifindex"].as_u64().expect("an index");
    u32::try_from(index).expect("a small index")
}
