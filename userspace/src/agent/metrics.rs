//! What can be measured, in the text format that Prometheus reads (version 0.0.4), for whoever asks
//! for it by HTTP.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::{Method, StatusCode};
use maps_schema::record::PortCounters;
use maps_schema::{DropReason, PortId};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Scene;
use super::http::{Question, Reply, converse};
use super::liveness::State;
use crate::instance::Instance;
use crate::kernel::datapath::Datapath;
use crate::plan::Names;
use crate::verdicts::Verdicts;

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(2);

/// Answers for as long as it is polled.
pub(super) async fn serve(
    listener: &TcpListener,
    instance: &Instance,
    scene: &watch::Receiver<Arc<Scene>>,
    verdicts: &watch::Receiver<Arc<Verdicts>>,
) {
    let answer = async |question: Question| {
        let scene = Arc::clone(&scene.borrow());
        let verdicts = Arc::clone(&verdicts.borrow());
        reply(&question, || {
            let datapath = Datapath::open(instance)?;
            let Some(datapath) = datapath else {
                return Ok(text(&verdicts, &BTreeMap::new(), [(0, 0); 2], &scene.names));
            };
            let (counters, flows) = (datapath.counters()?, datapath.count_flows()?);
            Ok(text(&verdicts, &counters, flows, &scene.names))
        })
    };
    let mut conversations = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _from)) => conversations.push(converse(stream, &answer)),
                // There are no more file descriptors, for example.
                Err(_) => sleep(PAUSE).await,
            },
            Some(()) = conversations.next() => {}
        }
    }
}

fn reply(question: &Question, answer: impl FnOnce() -> anyhow::Result<String>) -> Reply {
    let (status, body) = if question.method != Method::GET {
        (StatusCode::METHOD_NOT_ALLOWED, String::new())
    } else if question.path != "metrics" {
        (StatusCode::NOT_FOUND, "see /metrics\n".to_owned())
    } else {
        match answer() {
            Ok(text) => (StatusCode::OK, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")),
        }
    };
    Reply {
        status,
        content_type: "text/plain; version=0.0.4; charset=utf-8",
        body,
    }
}

/// What connections are counted by.
const STATES: [&str; 2] = ["established", "opening"];

/// Everything that can be measured, as text. `flows` says how many rows there are of established
/// connections, and of others, and how many there may be.
#[must_use]
pub fn text(
    verdicts: &Verdicts,
    counters: &BTreeMap<PortId, PortCounters>,
    flows: [(usize, u32); 2],
    names: &Names,
) -> String {
    let mut page = Page::default();
    let peers = || verdicts.peers.iter();
    page.metric("peer_up", "gauge", "Whether a host answers echoes: 1, or 0");
    for (name, verdict) in peers().filter(|(_, it)| it.state != State::Unknown) {
        let is_up = u32::from(verdict.state == State::Up);
        page.sample(&[("peer", name)], is_up);
    }
    page.metric("peer_rtt_seconds", "gauge", "How long the last answer took");
    for (name, verdict) in peers() {
        if let Some(rtt_ns) = verdict.rtt_ns {
            page.sample(&[("peer", name)], rtt_ns as f64 / 1e9);
        }
    }
    page.metric(
        "peer_path_mtu_bytes",
        "gauge",
        "The largest packet that gets there",
    );
    for (name, verdict) in peers() {
        if let Some(mtu) = verdict.path_mtu {
            page.sample(&[("peer", name)], mtu);
        }
    }
    page.metric("peer_echoes_total", "counter", "Echoes that were sent");
    for (name, verdict) in peers() {
        page.sample(&[("peer", name)], verdict.sent);
    }
    page.metric("peer_answers_total", "counter", "Echoes that came back");
    for (name, verdict) in peers() {
        page.sample(&[("peer", name)], verdict.answered);
    }
    let mut ports: Vec<(String, &PortCounters)> = counters
        .iter()
        .map(|(&port, counters)| (names.port(port), counters))
        .collect();
    ports.sort_by(|(a, _), (b, _)| a.cmp(b));
    page.metric(
        "port_packets_total",
        "counter",
        "Frames into and out of the networks",
    );
    for (port, it) in &ports {
        page.sample(&[("port", port), ("direction", "in")], it.ingress_packets);
        page.sample(&[("port", port), ("direction", "out")], it.egress_packets);
    }
    page.metric("port_bytes_total", "counter", "Bytes of the same");
    for (port, it) in &ports {
        page.sample(&[("port", port), ("direction", "in")], it.ingress_bytes);
        page.sample(&[("port", port), ("direction", "out")], it.egress_bytes);
    }
    page.metric("port_drops_total", "counter", "Frames that were dropped");
    for (port, it) in &ports {
        for &reason in DropReason::ALL {
            if let Some(&count) = it.drops.get(reason as usize).filter(|it| **it > 0) {
                page.sample(&[("port", port), ("reason", reason.name())], count);
            }
        }
    }
    page.metric("flows", "gauge", "Directions of connections remembered");
    for (state, (rows, _)) in STATES.iter().zip(flows) {
        page.sample(&[("state", state)], rows);
    }
    page.metric("flows_max", "gauge", "How many there may be");
    for (state, (_, room)) in STATES.iter().zip(flows) {
        page.sample(&[("state", state)], room);
    }
    page.text
}

/// The text as far as it is written.
#[derive(Default)]
struct Page {
    text: String,
    metric: &'static str,
}

impl Page {
    fn metric(&mut self, name: &'static str, kind: &str, help: &str) {
        self.metric = name;
        let _infallible = writeln!(
            self.text,
            "# HELP bowline_{name} {help}.\n# TYPE bowline_{name} {kind}"
        );
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| {
                let value = value
                    .replace('\\', r"\\")
                    .replace('"', "\\\"")
                    .replace('\n', r"\n");
                format!("{name}=\"{value}\"")
            })
            .collect();
        let labels = labels.join(",");
        let _infallible = writeln!(self.text, "bowline_{}{{{labels}}} {value}", self.metric);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdicts::Verdict;

    #[test]
    fn what_is_known_is_told_and_nothing_else() {
        let verdict = |state, rtt_ns, path_mtu| Verdict {
            address: "192.0.2.12".parse().unwrap(),
            state,
            rtt_ns,
            sent: 10,
            answered: 9,
            lost: (1, 10),
            path_mtu,
        };
        let verdicts = Verdicts {
            peers: [
                ("beta", verdict(State::Up, Some(123_000), Some(1500))),
                ("gamma", verdict(State::Unknown, None, None)),
            ]
            .map(|(name, verdict)| (name.to_owned(), verdict))
            .into(),
            ..Verdicts::default()
        };
        let mut dropped = PortCounters::ZERO;
        dropped.ingress_packets = 5;
        dropped.drops[DropReason::SpoofedIp as usize] = 3;
        let counters = BTreeMap::from([(PortId::NONE, dropped)]);
        let text = text(&verdicts, &counters, [(4, 128), (2, 64)], &Names::default());
        for line in [
            "# TYPE bowline_peer_up gauge",
            "bowline_peer_up{peer=\"beta\"} 1",
            "bowline_peer_rtt_seconds{peer=\"beta\"} 0.000123",
            "bowline_peer_path_mtu_bytes{peer=\"beta\"} 1500",
            "bowline_peer_answers_total{peer=\"gamma\"} 9",
            "# TYPE bowline_port_drops_total counter",
            "bowline_flows{state=\"opening\"} 2",
            "bowline_flows_max{state=\"established\"} 128",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
        }
        let port = Names::default().port(PortId::NONE);
        let drops = format!("bowline_port_drops_total{{port=\"{port}\",reason=\"spoofed_ip\"}} 3");
        assert!(text.contains(&drops), "{text}");
        assert!(!text.contains("peer_up{peer=\"gamma\"}"), "{text}");
        assert_eq!(text.matches("_drops_total{").count(), 1);
    }

    #[test]
    fn values_of_labels_are_escaped() {
        let mut page = Page::default();
        page.sample(&[("peer", "a\"b\\c\nd")], 1);
        assert_eq!(page.text, "bowline_{peer=\"a\\\"b\\\\c\\nd\"} 1\n");
    }
}
