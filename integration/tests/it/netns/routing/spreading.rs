//! Several equal next hops: flows are spread over them, and each one stays where it is.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use integration::lab::eventually;

use super::super::Site;
use super::ip;

const ALL: &str = "10.2.0.20, 10.2.0.30, 10.2.0.40";
const ALL_V6: &str = r#""fd00:2::20", "fd00:2::30", "fd00:2::40""#;
const RECEIVERS: [&str; 3] = ["one", "two", "three"];
const FLOWS: u16 = 120;

/// Three stations that all have the same addresses, behind a router that may choose.
fn topology(v4: &str, v6: &str) -> String {
    format!(
        r#"
version: 1
name: equal
networks:
  front: [10.1.0.0/24, "fd00:1::/64"]
  back: [10.2.0.0/24, "fd00:2::/64"]
routers:
  core:
    ports: {{ front: [10.1.0.1, "fd00:1::1"], back: [10.2.0.1, "fd00:2::1"] }}
    routes:
      - {{ to: 10.9.0.1/32, via: [{v4}] }}
      - {{ to: "fd00:9::1/128", via: [{v6}] }}
workloads:
  web: {{ netns: @web, ports: [{{ network: front, addresses: [10.1.0.10, "fd00:1::10"] }}] }}
  one: {{ netns: @one, ports: [{{ network: back, addresses: [10.2.0.20, "fd00:2::20"] }}] }}
  two: {{ netns: @two, ports: [{{ network: back, addresses: [10.2.0.30, "fd00:2::30"] }}] }}
  three: {{ netns: @three, ports: [{{ network: back, addresses: [10.2.0.40, "fd00:2::40"] }}] }}
"#
    )
}

/// Flows that go on and on, each from a socket of its own, and those who receive them.
struct Flows {
    senders: Vec<UdpSocket>,
    receivers: [UdpSocket; 3],
    to: SocketAddr,
}

impl Flows {
    fn new(site: &Site, to: IpAddr) -> Self {
        let receivers = RECEIVERS.map(|name| {
            let space = site.workload(name);
            let prefix = if to.is_ipv4() { 32 } else { 128 };
            let address = format!("{to}/{prefix}");
            space.ip(&["address", "add", &address, "dev", "lo"]);
            // A new IPv6 address cannot be bound at once.
            let mut socket = None;
            eventually("the address is usable", || {
                socket = space.run(|| UdpSocket::bind((to, 7000))).ok();
                socket.is_some()
            });
            let socket = socket.unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        });
        let any: IpAddr = ip(if to.is_ipv4() { "0.0.0.0" } else { "::" });
        let sender = |number: u16| {
            let bind = || UdpSocket::bind((any, 20_000 + number));
            site.workload("web").run(bind).unwrap()
        };
        Self {
            senders: (0..FLOWS).map(sender).collect(),
            receivers,
            to: SocketAddr::new(to, 7000),
        }
    }

    /// Sends a packet of each flow; returns which receiver got it, by the flow's port.
    fn send(&self) -> BTreeMap<u16, usize> {
        for sender in &self.senders {
            sender.send_to(b"flow", self.to).unwrap();
        }
        let mut got = BTreeMap::new();
        eventually("all flows arrive", || {
            for (number, receiver) in self.receivers.iter().enumerate() {
                while let Ok((_, from)) = receiver.recv_from(&mut [0; 16]) {
                    let before = got.insert(from.port(), number);
                    assert_eq!(before, None, "{from} arrived twice");
                }
            }
            got.len() == self.senders.len()
        });
        got
    }
}

#[test]
fn flows_are_spread_stay_and_move_only_if_they_must() {
    let Some(site) = Site::new(["web", "one", "two", "three"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(&topology(ALL, ALL_V6)));
    for to in [
        "10.2.0.20",
        "10.2.0.30",
        "10.2.0.40",
        "fd00:2::20",
        "fd00:2::30",
        "fd00:2::40",
    ] {
        site.assert_reaches("web", to);
    }
    for to in ["10.9.0.1", "fd00:9::1"] {
        let flows = Flows::new(&site, ip(to));
        let first = flows.send();
        for number in 0..RECEIVERS.len() {
            let share = first.values().filter(|got| **got == number).count();
            assert!(share >= 20, "{share} of {FLOWS} for {number}: {first:?}");
        }
        for _ in 0..5 {
            assert_eq!(flows.send(), first);
        }
        // The second one goes away: only its flows move, and to both of the others.
        let fewer = ALL.replace("10.2.0.30, ", "");
        let fewer_v6 = ALL_V6.replace(r#""fd00:2::30", "#, "");
        bowline.load(&site.topology(&topology(&fewer, &fewer_v6)));
        let second = flows.send();
        let mut moved = [0; 3];
        for (port, got) in &second {
            if first[port] == 1 {
                moved[*got] += 1;
            } else {
                assert_eq!(*got, first[port], "flow {port} moved for nothing");
            }
        }
        assert!(moved[0] > 0 && moved[2] > 0, "{moved:?}");
        assert_eq!(moved[1], 0);
        // It comes back, and so do its flows.
        bowline.load(&site.topology(&topology(ALL, ALL_V6)));
        assert_eq!(flows.send(), first);
    }
}
