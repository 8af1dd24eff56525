//! What the programs take for a frame that goes into a tunnel, and for one that comes out of it.

use aya::sys::{Stats, enable_stats};
use integration::case::compile;
use integration::program::{Subject, bytes, index};

use super::TUNNELS;
use super::pair::{Family, Pair, UPLINK};
use crate::report::Report;

const FRAME: &str = "{ ipv4: { to: db }, udp: [7, 7], len: 64 }";

pub(crate) fn run(report: &mut Report) {
    report.begin(
        "tunnels",
        "What the programs take for a 64-byte UDP frame of a known flow into each kind of tunnel and out of it. Each \
         frame is given to them by itself (`BPF_PROG_TEST_RUN`), which is dearer than one of many.",
    );
    let ways: Vec<_> = [Family::V4, Family::V6]
        .into_iter()
        .flat_map(|family| TUNNELS.map(|(tunnel, _)| (family, tunnel)))
        // Without a tunnel, packets of one family only are sent to underlays of the same.
        .filter(|way| *way != (Family::V6, "none"))
        .collect();
    let pairs: Vec<_> = ways.iter().map(|(family, _)| Pair::new(*family)).collect();
    let joined = pairs.iter().zip(&ways);
    let fleets: Vec<_> = joined
        .map(|(pair, (_, tunnel))| pair.bowline(tunnel))
        .collect();
    let subjects: Vec<_> = pairs
        .iter()
        .zip(&fleets)
        .zip(&ways)
        .map(|((pair, [alpha, beta]), (_, tunnel))| {
            let [near, far] = &pair.hosts;
            let text = pair.topology(tunnel).replace("bllab-", "lab-");
            let topology = compile("bench.yaml", &text).expect("a topology");
            let frame = bytes(&topology, FRAME);
            let out = Subject::port(near, alpha);
            let wrapped = out.result(&frame);
            let back = Subject::new(far, beta, "uplink_ingress", index(far, UPLINK));
            back.result(&wrapped);
            [(out, frame), (back, wrapped)]
        })
        .collect();
    let _stats = enable_stats(Stats::RunTime).expect("run-time statistics");
    let mut results: Vec<[Vec<f64>; 2]> = ways.iter().map(|_| Default::default()).collect();
    for _ in 0..report.rounds() {
        for (subjects, results) in subjects.iter().zip(&mut results) {
            for ((subject, frame), result) in subjects.iter().zip(results) {
                result.push(subject.time(std::slice::from_ref(frame)));
            }
        }
    }
    for ((family, tunnel), [out, back]) in ways.into_iter().zip(results) {
        let underlay = family.name();
        report.add(&format!("into {tunnel} over {underlay}"), "ns", None, out);
        report.add(
            &format!("out of {tunnel} over {underlay}"),
            "ns",
            None,
            back,
        );
    }
}
