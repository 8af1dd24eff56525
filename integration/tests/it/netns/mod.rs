//! Bowline as a user has it: a topology file is written, `bowline` is run, and real programs in
//! namespaces talk to one another.

mod agent;
mod bridging;
mod flows;
mod guarding;
mod hosts;
mod learning;
mod lifecycle;
mod mounts;
mod nat;
mod pair;
mod policy;
mod reference;
mod refusal;
mod routing;
mod source;
mod tracing;
mod xdp;

use std::collections::BTreeMap;
use std::net::IpAddr;

use integration::lab::{Bowline, Namespace, Snapshot, eventually, is_usable, ping};
use serde_json::Value;

/// A host and its workloads, by the names that the test's topology gives them.
struct Site {
    host: Namespace,
    workloads: BTreeMap<&'static str, Namespace>,
}

impl Site {
    /// A site with these workloads; nothing if the test cannot run here.
    fn new<const N: usize>(workloads: [&'static str; N]) -> Option<Self> {
        is_usable().then(|| Self {
            host: Namespace::new("host"),
            workloads: workloads
                .map(|name| (name, Namespace::new(name)))
                .into_iter()
                .collect(),
        })
    }

    fn bowline(&self) -> Bowline<'_> {
        Bowline::new(env!("CARGO_BIN_EXE_lab-bowline"), &self.host)
    }

    fn workload(&self, name: &str) -> &Namespace {
        &self.workloads[name]
    }

    /// A topology in which `@NAME` stands for the namespace of a workload.
    fn topology(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, space) in &self.workloads {
            text = text.replace(&format!("@{name}"), space.name());
        }
        text
    }

    fn snapshot(&self, bowline: &Bowline<'_>) -> Snapshot {
        let mut spaces: Vec<_> = self.workloads.values().collect();
        spaces.push(&self.host);
        Snapshot::take(&spaces, bowline.instance())
    }

    /// Waits until one workload reaches an address: a new IPv6 address is not usable at once.
    #[track_caller]
    fn assert_reaches(&self, from: &str, to: &str) {
        let to: IpAddr = to.parse().unwrap();
        eventually(&format!("{from} reaches {to}"), || {
            ping(self.workload(from), to)
        });
    }

    #[track_caller]
    fn assert_does_not_reach(&self, from: &str, to: &str) {
        let to: IpAddr = to.parse().unwrap();
        // A namespace that was destroyed lives on until the kernel has cleaned it up.
        eventually(&format!("{from} does not reach {to}"), || {
            !ping(self.workload(from), to)
        });
    }
}

/// Two workloads on one network.
const PAIR: &str = r#"
version: 1
name: pair
networks:
  front: [10.77.0.0/24, "fd00:77::/64"]
workloads:
  web: { netns: @web, ports: [{ network: front, addresses: [10.77.0.10, "fd00:77::10"] }] }
  db: { netns: @db, ports: [{ network: front, addresses: [10.77.0.20, "fd00:77::20"] }] }
"#;

/// Three workloads on one network.
const TRIO: &str = r#"
version: 1
name: pair
networks:
  front: [10.77.0.0/24, "fd00:77::/64"]
workloads:
  web: { netns: @web, ports: [{ network: front, addresses: [10.77.0.10, "fd00:77::10"] }] }
  db: { netns: @db, ports: [{ network: front, addresses: [10.77.0.20, "fd00:77::20"] }] }
  cache: { netns: @cache, ports: [{ network: front, addresses: [10.77.0.30, "fd00:77::30"] }] }
"#;

/// What `bowline stats` says about a port.
fn stats(bowline: &Bowline<'_>, port: &str) -> Value {
    let all = bowline.json(&["stats"]);
    let found = all["ports"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["port"] == port);
    found
        .unwrap_or_else(|| panic!("no port {port} in {all}"))
        .clone()
}

/// How many frames of a port were dropped for a reason.
fn drops(bowline: &Bowline<'_>, port: &str, reason: &str) -> u64 {
    stats(bowline, port)["drops"][reason].as_u64().unwrap_or(0)
}

/// An Ethernet frame of a protocol that is for experiments (IEEE 802, table of EtherTypes), so that
/// no kernel answers it.
fn experiment(to: [u8; 6], from: [u8; 6], data: &[u8]) -> Vec<u8> {
    let mut frame = [&to as &[u8], &from, &[0x88, 0xb5], data].concat();
    frame.resize(60.max(frame.len()), 0);
    frame
}

fn is_experiment(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x88, 0xb5])
}
