//! Policies of few and of many rules, against a bridge with as many rules of nftables.

use std::fmt::Write;
use std::net::Ipv4Addr;

use crate::lane::{Metric, measure};
use crate::report::Report;
use crate::site::{Site, TOPOLOGY};

/// How many rules stand before those that decide.
const COUNTS: [u32; 3] = [0, 100, 10_000];
/// What the ways are called.
const NAMES: [[&str; 2]; 3] = [
    ["nftables, no rules", "bowline, no rules"],
    ["nftables, 100 rules", "bowline, 100 rules"],
    ["nftables, 10000 rules", "bowline, 10000 rules"],
];

pub(crate) fn run(report: &mut Report) {
    report.begin(
        "rules",
        "Two workloads of one host behind rules that do not match, each with another source and port, before \
         the ones that let the measured ports in: on a Linux bridge by a chain of nftables behind connection \
         tracking, and by a policy of bowline's. The aim is twice the small frames of nftables.",
    );
    let sites = COUNTS.map(|count| {
        let [kernel, bowline] = [Site::new(), Site::new()];
        kernel.bridge(Some(&nftables(count)));
        (kernel, bowline, count)
    });
    let loaded = sites
        .iter()
        .map(|(_, site, count)| site.bowline(&topology(*count)));
    let _bowlines: Vec<_> = loaded.collect();
    let lanes = sites
        .iter()
        .zip(NAMES)
        .flat_map(|((kernel, bowline, _), names)| {
            let [first, second] = names;
            [kernel.lane(first), bowline.lane(second)]
        });
    let lanes: Vec<_> = lanes.collect();
    measure(report, "", &lanes, Metric::SMALL);
}

/// What a rule refuses: from whom, and which port.
fn refused(count: u32) -> impl Iterator<Item = (Ipv4Addr, u32)> {
    let first = Ipv4Addr::new(192, 168, 0, 0).to_bits();
    (0..count).map(move |number| (Ipv4Addr::from_bits(first + number), 1000 + number % 50))
}

/// So many rules of nftables for what is forwarded, and those that decide.
pub(crate) fn nftables(count: u32) -> String {
    let mut text =
        "table ip filter {\nchain forward {\ntype filter hook forward priority 0\npolicy drop\n\
                    ct state established,related accept\n"
            .to_owned();
    for (source, port) in refused(count) {
        let _ = writeln!(text, "ip saddr {source} tcp dport {port} drop");
    }
    text += "tcp dport 7000-7003 accept\nudp dport 7000-7003 accept\nicmp type echo-request accept\n}\n}\n";
    text
}

/// The same as a policy of the server, in a topology of `web` and `db`.
pub(crate) fn topology(count: u32) -> String {
    guarded(TOPOLOGY, count)
}

/// A topology of `web` and `db` with such a policy.
pub(crate) fn guarded(text: &str, count: u32) -> String {
    let port = "addresses: [10.77.0.20, \"fd00:77::20\"]";
    let mut text = text.replace(port, &format!("{port}, groups: [db]"));
    text += "policies:\n  db:\n    ingress:\n";
    for (source, port) in refused(count) {
        let _ = writeln!(text, "      - {{ from: {source}/32, deny: tcp/{port} }}");
    }
    text += "      - { allow: [tcp/7000-7003, udp/7000-7003, icmp/echo-request] }\n";
    text
}
