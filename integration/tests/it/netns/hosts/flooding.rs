//! What is for everybody crosses the underlay once for every host that has anybody.

use std::fmt::Write;
use std::net::UdpSocket;

use integration::lab::{Capture, Family, PacketSocket, Underlay, eventually};

use super::{assert_reaches, drops, fleet};
use crate::netns::{experiment, is_experiment};

const HOSTS: [&str; 8] = ["h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8"];
const WORKLOADS: [&str; 12] = [
    "a1", "a2", "a3", "a4", "a5", "a6", "a7", "b1", "b2", "b3", "c8", "d8",
];

/// `front` has ports on the first seven hosts, two of them on the first three; `other` on the last.
fn eight() -> String {
    let mut text =
        "version: 1\nname: eight\n@hosts\nnetworks: { front: [10.1.0.0/24, \"fd00:1::/64\"], \
                    other: 10.2.0.0/24 }\nworkloads:\n"
            .to_owned();
    for name in WORKLOADS {
        let host = &name[1..];
        let port = match &name[..1] {
            "a" => {
                format!("{{ network: front, addresses: [10.1.0.1{host}, \"fd00:1::1{host}\"] }}")
            }
            "b" => {
                format!("{{ network: front, addresses: [10.1.0.2{host}, \"fd00:1::2{host}\"] }}")
            }
            _ => "{ network: other }".to_owned(),
        };
        let _ = writeln!(
            text,
            "  {name}: {{ host: h{host}, netns: @{name}, ports: [{port}] }}"
        );
    }
    text
}

/// Whether this is a frame in VXLAN whose inner frame is as wanted.
fn carries(frame: &[u8], wanted: impl Fn(&[u8]) -> bool) -> bool {
    let is_vxlan = frame.get(12..14) == Some(&[8, 0])
        && frame.get(23) == Some(&17)
        && frame.get(36..38) == Some(&4789_u16.to_be_bytes());
    is_vxlan && frame.get(50..).is_some_and(wanted)
}

fn is_from(frame: &[u8], mac: [u8; 6]) -> bool {
    frame.get(6..12) == Some(&mac)
}

#[test]
fn a_broadcast_crosses_the_wire_once_for_each_host_that_has_ports() {
    let Some(underlay) = Underlay::new(Family::V4, 1500, &HOSTS, &WORKLOADS) else {
        return;
    };
    let fleet = fleet(&underlay);
    fleet.load(&underlay.topology(&eight()));
    for to in [
        "10.1.0.12",
        "10.1.0.17",
        "fd00:1::14",
        "10.1.0.21",
        "10.1.0.23",
    ] {
        assert_reaches(&underlay, "a1", to);
    }
    assert_reaches(&underlay, "b3", "fd00:1::15");

    // While links were made, some copies were for ports that were not there yet.
    let refused = HOSTS.map(|host| drops(&fleet, host, "kernel_refused"));
    let wires: Vec<(&str, Capture)> = HOSTS.map(|host| (host, underlay.sent_by(host))).into();
    let receivers: Vec<(&str, PacketSocket)> = WORKLOADS
        .iter()
        .filter(|name| **name != "a1")
        .map(|name| (*name, PacketSocket::new(underlay.workload(name), "eth0")))
        .collect();
    let a1 = underlay.workload("a1").mac("eth0");

    // A question for an address that nobody has, one that answers itself, and a broadcast over UDP.
    let sender = PacketSocket::new(underlay.workload("a1"), "eth0");
    let question: [&[u8]; 7] = [
        &[0xff; 6],
        &a1,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &a1,
        &[10, 1, 0, 11],
        &[0; 6],
        &[10, 1, 0, 99],
    ];
    let question = question.concat();
    sender.send(&question);
    let experiment = experiment([0xff; 6], a1, b"everybody");
    sender.send(&experiment);
    underlay.workload("a1").run(|| {
        let socket = UdpSocket::bind("10.1.0.11:0").unwrap();
        socket.set_broadcast(true).unwrap();
        socket.send_to(b"hello", "10.1.0.255:7").unwrap();
    });
    let is_datagram = |frame: &[u8]| frame.get(42..47) == Some(b"hello");

    let mut seen: Vec<(&str, [usize; 3])> =
        receivers.iter().map(|(name, _)| (*name, [0; 3])).collect();
    let is_in_front = |name: &str| !name.ends_with('8');
    eventually("everybody has got all three", || {
        for ((_, socket), (_, seen)) in receivers.iter().zip(&mut seen) {
            for frame in socket.drain() {
                seen[0] += usize::from(frame == question);
                seen[1] += usize::from(frame == experiment);
                seen[2] += usize::from(is_datagram(&frame));
            }
        }
        seen.iter()
            .all(|(name, seen)| !is_in_front(name) || seen.iter().all(|count| *count > 0))
    });
    for (_, wire) in &wires {
        wire.settle();
    }
    for (name, seen) in seen {
        let times = usize::from(is_in_front(name));
        assert_eq!(seen, [times; 3], "how often {name} has got each");
    }
    for (host, wire) in &wires {
        let count = |wanted: &dyn Fn(&[u8]) -> bool| {
            wire.matching(|frame| carries(frame, |inner| is_from(inner, a1) && wanted(inner)))
                .len()
        };
        let counted = [
            count(&|inner| inner == question),
            count(&is_experiment),
            count(&is_datagram),
        ];
        // Six other hosts have ports; the eighth has none, and nobody sends again what came by tunnel.
        let times = if *host == "h1" { 6 } else { 0 };
        assert_eq!(counted, [times; 3], "what {host} has sent");
    }
    for (host, refused) in HOSTS.into_iter().zip(refused) {
        assert_eq!(drops(&fleet, host, "kernel_refused"), refused, "{host}");
        assert_eq!(drops(&fleet, host, "unknown_vni"), 0, "{host}");
    }
}

#[test]
fn what_a_peer_floods_or_misdirects_never_goes_back_into_a_tunnel() {
    let hosts = ["h1", "h2", "h3"];
    let Some(underlay) = Underlay::new(Family::V4, 1500, &hosts, &["a1", "a2", "a3"]) else {
        return;
    };
    let fleet = fleet(&underlay);
    let text = eight();
    let wanted = |line: &&str| {
        !line.contains("netns:")
            || ["a1", "a2", "a3"]
                .iter()
                .any(|name| line.contains(&format!("@{name}")))
    };
    let text: Vec<&str> = text.lines().filter(wanted).collect();
    fleet.load(&underlay.topology(&(text.join("\n") + "\n")));
    assert_reaches(&underlay, "a1", "10.1.0.13");
    let wire = underlay.sent_by("h1");
    // Caught on its way, and sent once more: to the first host, as if from the second, for the third.
    let [a2, a3] = ["a2", "a3"].map(|name| underlay.workload(name).mac("eth0"));
    let caught = underlay.sent_by("h2");
    PacketSocket::new(underlay.workload("a2"), "eth0").send(&experiment([0xff; 6], a2, b"all"));
    let mut frame = integration::lab::eventually_some("it is on the wire", || {
        caught
            .matching(|frame| carries(frame, is_experiment) && frame[30..34] == [192, 0, 2, 11])
            .pop()
    });
    let to_h1 = underlay.socket_to("h1");
    to_h1.send(&frame);
    frame[50..56].copy_from_slice(&a3);
    let before = drops(&fleet, "h1", "split_horizon");
    to_h1.send(&frame);
    eventually("it is refused", || {
        drops(&fleet, "h1", "split_horizon") == before + 1
    });
    wire.settle();
    let again = wire.matching(|frame| carries(frame, is_experiment));
    assert!(again.is_empty(), "{again:02x?}");
}

/// How many hosts the file names, of which two are there.
const MANY: u8 = 64;

#[test]
fn a_broadcast_goes_to_each_of_64_hosts() {
    let Some(underlay) = Underlay::new(Family::V4, 1500, &["alpha", "beta"], &["web", "db"]) else {
        return;
    };
    let absent = 3..=MANY;
    let address = |number: u8| Family::V4.address(number);
    let mut text = "version: 1\nname: many\n@hosts\n".to_owned();
    for number in absent.clone() {
        let _ = writeln!(text, "  h{number}: {}", address(number));
        // Nobody is there who could be asked.
        let to = address(number).to_string();
        let mac = format!("02:00:00:00:ff:{number:02x}");
        let neighbor = ["neighbor", "add", &to, "lladdr", &mac, "dev", "up0"];
        underlay.host("alpha").ip(&neighbor);
    }
    text += "networks: { front: 10.1.0.0/24 }\nworkloads:\n";
    for (name, number) in [("web", 1), ("db", 2)] {
        let host = if number == 1 { "alpha" } else { "beta" };
        let _ = writeln!(
            text,
            "  {name}: {{ host: {host}, netns: @{name}, ports: [{{ network: front, addresses: \
             10.1.0.{number} }}] }}"
        );
    }
    for number in absent {
        let _ = writeln!(
            text,
            "  w{number}: {{ host: h{number}, netns: none, ports: [{{ network: front, addresses: \
             10.1.0.{number} }}] }}"
        );
    }
    let fleet = fleet(&underlay);
    fleet.load(&underlay.topology(&text));
    assert_reaches(&underlay, "web", "10.1.0.2");
    let wire = underlay.sent_by("alpha");
    let arrived = PacketSocket::new(underlay.workload("db"), "eth0");
    let web = underlay.workload("web").mac("eth0");
    let sent = experiment([0xff; 6], web, b"everybody");
    PacketSocket::new(underlay.workload("web"), "eth0").send(&sent);
    let copies = || wire.matching(|frame| carries(frame, |inner| inner == sent));
    eventually("a copy for every other host", || {
        copies().len() >= usize::from(MANY) - 1
    });
    eventually("db has got it", || arrived.drain().contains(&sent));
    wire.settle();
    let mut to: Vec<[u8; 4]> = copies()
        .iter()
        .map(|copy| copy[30..34].try_into().unwrap())
        .collect();
    to.sort_unstable();
    let expected: Vec<[u8; 4]> = (2..=MANY).map(|number| [192, 0, 2, 10 + number]).collect();
    assert_eq!(to, expected, "one for each");
    assert_eq!(drops(&fleet, "alpha", "kernel_refused"), 0);
}
