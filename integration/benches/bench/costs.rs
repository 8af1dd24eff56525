//! What the programs take for a frame: of flows that are known, while traffic goes on, and of flows
//! that have only begun.

use std::net::Ipv4Addr;

use aya::sys::{Stats, enable_stats};
use integration::lab::Bowline;
use integration::program::{Subject, bytes, index, topology};

use crate::hosts::pair::{Family, Pair, UPLINK};
use crate::lane::Lane;
use crate::made::{generator, made};
use crate::nat::{self, Edge};
use crate::packets::rate;
use crate::report::Report;
use crate::routers::line;
use crate::rules;
use crate::site::{Site, TOPOLOGY};

/// What is known of a flow, while traffic goes on.
struct Case<'a> {
    name: &'static str,
    /// Nanoseconds that it should take at most.
    aim: f64,
    lane: Lane<'a>,
    subject: Subject<'a>,
}

const SPOOFED: &str = "{ ipv4: { from: db, to: db }, udp: [7, 7], len: 64 }";
const QUESTION: &str = "{ arp: { target: db }, len: 64 }";
const FRAME: &str = "{ ipv4: { to: db }, udp: [7, 7], len: 64 }";
/// Frames that are dropped in a round.
const DROPPED: u32 = 200_000;

/// Routers on the way and rules before the one that decides, which should make no difference to a flow that is
/// known.
const DEPTHS: [usize; 3] = [0, 1, 8];
const RULES: [u32; 3] = [0, 100, 10_000];
/// Nanoseconds that it should take at most, and how much more than with less of them.
const HIT: f64 = 150.0;
const FLAT: f64 = 1.1;

pub(crate) fn run(report: &mut Report) {
    report.begin(
        "costs",
        "What the program that a 64-byte UDP frame meets takes for it, by the kernel's own run-time statistics \
         (`kernel.bpf_stats_enabled`), less what an empty program takes. \"known\": on an established connection, \
         with frames that the kernel makes by itself, in batches; \"sent\": the same, one frame at a time from a \
         sender in user space, whose system calls are between two runs of the program. \"first\": every frame begins \
         another connection, and is given to the program by itself (`BPF_PROG_TEST_RUN`). Redirecting the frame \
         comes after the program and is not in the figure.",
    );
    known(report);
    flat(report);
    first(report);
    report.note(
        "By `perf`, half of what a bridged frame of a known flow takes are six look-ups in hash tables: the \
         interface, its counters, the epoch, the flow, the port that it leaves by, and its counters. Only the \
         flow's remembers a decision; the others depend on interfaces, or count",
    );
}

fn known(report: &mut Report) {
    let [bridged, routed, policed] = std::array::from_fn(|_| Site::new());
    let (edge, pair) = (Edge::new(), Pair::new(Family::V4));
    let bridged_by = bridged.bowline(TOPOLOGY);
    let routed_by = routed.bowline(&line(1));
    let policed_by = policed.bowline(&rules::guarded(&line(1), 0));
    let edge_by = edge.bowline();
    let [near_by, far_by] = pair.bowline("vxlan");
    let [near, far] = &pair.hosts;
    let uplink = |host, bowline: &Bowline<'_>, name| {
        Subject::new(host, bowline, "uplink_ingress", index(host, name))
    };
    let case = |name, aim, lane, subject| Case {
        name,
        aim,
        lane,
        subject,
    };
    let cases = [
        case(
            "bridged",
            60.0,
            bridged.lane(""),
            Subject::port(&bridged.host, &bridged_by),
        ),
        case(
            "routed",
            100.0,
            routed.lane(""),
            Subject::port(&routed.host, &routed_by),
        ),
        case(
            "routed, policy",
            100.0,
            policed.lane(""),
            Subject::port(&policed.host, &policed_by),
        ),
        case(
            "masqueraded",
            120.0,
            edge.outwards(""),
            Subject::port(&edge.host, &edge_by),
        ),
        case(
            "to a published port",
            120.0,
            edge.published(""),
            uplink(&edge.host, &edge_by, "eth0"),
        ),
        case(
            "into VXLAN",
            120.0,
            pair.lane(""),
            Subject::port(near, &near_by),
        ),
        case(
            "out of VXLAN",
            120.0,
            pair.lane(""),
            uplink(far, &far_by, UPLINK),
        ),
    ];
    let topology = topology(TOPOLOGY);
    let dropped = bytes(&topology, SPOOFED);
    let question = [bytes(&topology, QUESTION)];
    let _stats = enable_stats(Stats::RunTime).expect("run-time statistics");
    let mut times = cases.each_ref().map(|_| [Vec::new(), Vec::new()]);
    let [mut drops, mut answers] = [Vec::new(), Vec::new()];
    for _ in 0..report.rounds() {
        for (case, [kernel, user]) in cases.iter().zip(&mut times) {
            kernel.push(case.subject.time_during(|| {
                made(&case.lane);
            }));
            user.push(case.subject.time_during(|| {
                rate(&case.lane);
            }));
        }
        let [bridged, ..] = &cases;
        let generator = generator(&bridged.lane, &dropped);
        drops.push(bridged.subject.time_during(|| {
            generator.send(DROPPED).expect("the kernel sends frames");
        }));
        answers.push(bridged.subject.time(&question));
    }
    let (kernel, user): (Vec<_>, Vec<_>) = times.into_iter().map(|[a, b]| (a, b)).unzip();
    for (how, times) in [("known", kernel), ("sent", user)] {
        for (case, times) in cases.iter().zip(times) {
            report.add(
                &format!("{how}, {}", case.name),
                "ns",
                Some(case.aim),
                times,
            );
        }
    }
    report.add("a spoofed source, dropped", "ns", Some(40.0), drops);
    report.add("an ARP question, answered", "ns", None, answers);
}

/// However many routers and rules there are.
fn flat(report: &mut Report) {
    let ways: Vec<_> = DEPTHS
        .into_iter()
        .flat_map(|depth| RULES.map(|count| (depth, count, Site::new())))
        .collect();
    let bowlines: Vec<_> = ways
        .iter()
        .map(|(depth, count, site)| site.bowline(&rules::guarded(&line(*depth), *count)))
        .collect();
    let subjects = ways.iter().zip(&bowlines);
    let subjects: Vec<_> = subjects
        .map(|((_, _, site), bowline)| (site.lane(""), Subject::port(&site.host, bowline)))
        .collect();
    let _stats = enable_stats(Stats::RunTime).expect("run-time statistics");
    let mut times = vec![Vec::new(); ways.len()];
    for _ in 0..report.rounds() {
        for ((lane, subject), times) in subjects.iter().zip(&mut times) {
            times.push(subject.time_during(|| {
                made(lane);
            }));
        }
    }
    // By the rounds' own ratios, of all ways that differ in nothing else.
    let ratios = |more: (usize, u32), less: (usize, u32)| {
        let of = |wanted| {
            let at = ways
                .iter()
                .position(|(depth, count, _)| (*depth, *count) == wanted);
            &times[at.expect("it was measured")]
        };
        let pairs = of(more).iter().zip(of(less));
        pairs.map(|(more, less)| more / less).collect::<Vec<_>>()
    };
    let [_, one, eight] = DEPTHS;
    let [none, _, all] = RULES;
    let by_depth = RULES.map(|count| ratios((eight, count), (one, count)));
    let by_rules = DEPTHS.map(|depth| ratios((depth, all), (depth, none)));
    for ((depth, count, _), times) in ways.iter().zip(times) {
        let name = format!("known, routers: {depth}, rules: {count}");
        report.add(&name, "ns", Some(HIT), times);
    }
    for (name, ratios) in [
        ("known, by 8 routers in terms of 1", by_depth),
        ("known, by 10000 rules in terms of none", by_rules),
    ] {
        report.add(name, "times", Some(FLAT), ratios.concat());
    }
}

fn first(report: &mut Report) {
    let sites: [Site; 5] = std::array::from_fn(|_| Site::new());
    let edge = Edge::new();
    let texts = [
        ("first, bridged", TOPOLOGY.to_owned()),
        ("first, 1 router", line(1)),
        ("first, 8 routers", line(8)),
        ("first, 100 rules", rules::topology(100)),
        ("first, 10000 rules", rules::topology(10_000)),
    ];
    let joined = sites.iter().zip(&texts);
    let bowlines: Vec<_> = joined.map(|(site, (_, text))| site.bowline(text)).collect();
    let edge_by = edge.bowline();
    let subjects = sites.iter().zip(&bowlines).zip(texts);
    let mut subjects: Vec<_> = subjects
        .map(|((site, bowline), (name, text))| {
            let frame = bytes(&topology(&text), &FRAME.replace("[7, 7]", "[7, 7000]"));
            let frames = vec![frame; report.rounds()];
            (name, Subject::port(&site.host, bowline), frames)
        })
        .collect();
    let world = topology(nat::TOPOLOGY);
    let world_address: Ipv4Addr = nat::WORLD.parse().expect("an address");
    // Another destination in each round, where all ports are free.
    let out = (0..report.rounds()).map(|round| {
        let to = Ipv4Addr::from_bits(world_address.to_bits() + round as u32);
        bytes(
            &world,
            &format!("{{ ipv4: {{ to: {to} }}, udp: [7, 7000], len: 64 }}"),
        )
    });
    subjects.push((
        "first, masqueraded",
        Subject::port(&edge.host, &edge_by),
        out.collect(),
    ));
    let _stats = enable_stats(Stats::RunTime).expect("run-time statistics");
    let mut times = vec![Vec::new(); subjects.len()];
    for round in 0..report.rounds() {
        for ((_, subject, frames), times) in subjects.iter().zip(&mut times) {
            times.push(subject.time_first(&frames[round..=round], round));
        }
    }
    for ((name, ..), times) in subjects.iter().zip(times) {
        report.add(name, "ns", None, times);
    }
}
