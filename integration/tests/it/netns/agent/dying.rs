//! A host goes away and comes back: so do equal next hops behind it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use integration::lab::{Family, Fleet, Underlay, eventually, ping};
use rustix::process::Signal;

use super::{Agent, QUICK, eventually_is, fleet, peer};

const EQUAL: &str = "version: 1
name: equal
@hosts
networks:
  front: [10.1.0.0/24]
  back: [10.2.0.0/24]
routers:
  core:
    ports: { front: 10.1.0.1, back: 10.2.0.1 }
    routes: [{ to: 10.9.0.1/32, via: [10.2.0.20, 10.2.0.30] }]
workloads:
  web: { host: alpha, netns: @web, ports: [{ network: front, addresses: [10.1.0.10] }] }
  one: { host: beta, netns: @one, ports: [{ network: back, addresses: [10.2.0.20] }] }
  two: { host: gamma, netns: @two, ports: [{ network: back, addresses: [10.2.0.30] }] }
";

const TO: &str = "10.9.0.1:7000";
const FLOWS: u16 = 40;

/// Flows from `web` to an address that `one` and `two` both have.
struct Flows {
    senders: Vec<UdpSocket>,
    receivers: [UdpSocket; 2],
}

impl Flows {
    fn new(underlay: &Underlay) -> Self {
        let to: SocketAddr = TO.parse().unwrap();
        let receivers = ["one", "two"].map(|name| {
            let space = underlay.workload(name);
            space.ip(&["address", "add", "10.9.0.1/32", "dev", "lo"]);
            let socket = space.run(|| UdpSocket::bind(to)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        });
        let sender = |number| {
            let bind = || UdpSocket::bind(("0.0.0.0", 20_000 + number));
            underlay.workload("web").run(bind).unwrap()
        };
        Self {
            senders: (0..FLOWS).map(sender).collect(),
            receivers,
        }
    }

    /// Sends packets of each flow until all flows have arrived somewhere; which receiver got them, by
    /// the flow's port. What was sent before is forgotten.
    fn send(&self) -> BTreeMap<u16, usize> {
        let mut buffer = [0; 16];
        for receiver in &self.receivers {
            while receiver.recv_from(&mut buffer).is_ok() {}
        }
        let mut got = BTreeMap::new();
        eventually("all flows arrive", || {
            for sender in &self.senders {
                sender.send_to(b"flow", TO).unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
            for (number, receiver) in self.receivers.iter().enumerate() {
                while let Ok((_, from)) = receiver.recv_from(&mut buffer) {
                    got.insert(from.port(), number);
                }
            }
            got.len() == self.senders.len()
        });
        got
    }
}

fn load(underlay: &Underlay) -> Fleet<'_> {
    let fleet = fleet(underlay);
    fleet.load(&underlay.topology(EQUAL));
    for to in ["10.2.0.20", "10.2.0.30"] {
        let to = to.parse().unwrap();
        eventually("web reaches them", || ping(underlay.workload("web"), to));
    }
    fleet
}

const HOSTS: [&str; 3] = ["alpha", "beta", "gamma"];
const WORKLOADS: [&str; 3] = ["web", "one", "two"];

#[test]
fn only_flows_to_a_dead_host_move_and_they_come_back() {
    let Some(underlay) = Underlay::new(Family::V4, 1500, &HOSTS, &WORKLOADS) else {
        return;
    };
    let fleet = load(&underlay);
    let alpha = fleet.on("alpha");
    let agent = Agent::start(alpha, &QUICK);
    for name in ["beta", "gamma"] {
        eventually_is(alpha, name, "up");
    }
    let flows = Flows::new(&underlay);
    let first = flows.send();
    for number in [0, 1] {
        let share = first.values().filter(|got| **got == number).count();
        assert!(share >= 5, "{share} for {number}: {first:?}");
    }

    underlay.set_link("beta", false);
    let moved = flows.send();
    assert!(moved.values().all(|got| *got == 1), "{moved:?}");
    let dead = eventually_is(alpha, "beta", "down");
    assert!(dead["loss_percent"].as_u64() > Some(0), "{dead}");
    assert!(agent.log().contains("peer beta is down"), "{}", agent.log());
    // A load by hand knows of it, and so does the next agent, also of one that was killed.
    assert_eq!(alpha.json(&["load"])["changed"], false);
    assert!(!agent.stop(Signal::KILL).success());
    let agent = Agent::start(alpha, &QUICK);
    eventually("it runs", || agent.log().contains("running"));
    assert!(!agent.log().contains("planned again"), "{}", agent.log());
    assert_eq!(flows.send(), moved);

    underlay.set_link("beta", true);
    eventually_is(alpha, "beta", "up");
    let other = peer(alpha, "gamma");
    assert_eq!(other["state"], "up", "{other}");
    eventually("the flows are back", || flows.send() == first);
    assert_eq!(alpha.json(&["load"])["changed"], false);
}

#[test]
fn what_an_agent_says_that_has_ended_is_not_believed_for_long() {
    let Some(underlay) = Underlay::new(Family::V4, 1500, &HOSTS, &WORKLOADS) else {
        return;
    };
    let fleet = load(&underlay);
    let alpha = fleet.on("alpha");
    let agent = Agent::start(alpha, &QUICK);
    eventually_is(alpha, "gamma", "up");
    underlay.set_link("beta", false);
    eventually_is(alpha, "beta", "down");
    eventually("it is planned again", || {
        agent.log().contains("planned again")
    });
    let _killed = agent.stop(Signal::KILL);
    eventually("the next load takes all next hops", || {
        alpha.json(&["load"])["changed"] == true
    });
    let shown = alpha.succeed(&["show", "peers"]);
    assert!(shown.contains("no agent runs since "), "{shown}");
}
