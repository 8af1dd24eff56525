//! What changes while traffic goes on.

use std::net::UdpSocket;

use integration::lab::{
    Family, Feature, Namespace, Numbered, PacketSocket, Pings, Snapshot, Talk, Underlay,
    eventually, ping, ping_once,
};

use super::{assert_reaches, drops, fleet, ip};

/// `web` and `db` are guarded; behind `left` and `right` are stations that nobody declared.
const LEARNING: &str = r#"
version: 1
name: moving
@hosts
networks:
  front: [10.1.0.0/24, "fd00:1::/64"]
  back: [10.2.0.0/24, "fd00:2::/64"]
routers:
  core: { ports: { front: [10.1.0.1, "fd00:1::1"], back: [10.2.0.1, "fd00:2::1"] } }
workloads:
  web: { host: alpha, netns: @web, ports: [{ network: front, addresses: [10.1.0.10, "fd00:1::10"] }] }
  far: { host: alpha, netns: @far, ports: [{ network: back, addresses: [10.2.0.10, "fd00:2::10"] }] }
  left: { host: beta, netns: @left, ports: [{ network: front, learning: true }] }
  right: { host: gamma, netns: @right, ports: [{ network: front, learning: true }] }
"#;

const HOSTS: [&str; 3] = ["alpha", "beta", "gamma"];

/// The station that moves: it takes the place of the workload's own.
fn move_in(space: &Namespace) {
    for command in [
        "link set eth0 address 02:00:00:00:aa:01",
        "address add 10.1.0.77/24 dev eth0",
        "address add fd00:1::77/64 dev eth0 nodad",
        "route replace 10.2.0.0/24 via 10.1.0.1",
        "-6 route replace fd00:2::/64 via fd00:1::1",
    ] {
        let words: Vec<_> = command.split(' ').collect();
        space.ip(&words);
    }
}

fn move_out(space: &Namespace) {
    space.ip(&["address", "flush", "dev", "eth0", "scope", "global"]);
    space.ip(&["link", "set", "eth0", "address", "02:00:00:00:aa:02"]);
}

#[test]
fn a_station_that_moves_to_another_host_is_followed_at_once() {
    let Some(underlay) = Underlay::new(Family::V4, 1500, &HOSTS, &["web", "far", "left", "right"])
    else {
        return;
    };
    let fleet = fleet(&underlay);
    fleet.load(&underlay.topology(LEARNING));
    move_in(underlay.workload("left"));
    for from in ["web", "far"] {
        for to in ["10.1.0.77", "fd00:1::77"] {
            assert_reaches(&underlay, from, to);
        }
    }
    for (here, there, peer) in [("left", "right", "gamma"), ("right", "left", "beta")] {
        move_out(underlay.workload(here));
        move_in(underlay.workload(there));
        let mac = underlay.workload(there).mac("eth0");
        // It says that it is there, as the kernel does when a link comes up.
        let announcement: [&[u8]; 7] = [
            &[0xff; 6],
            &mac,
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
            &mac,
            &[10, 1, 0, 77],
            &[0; 6],
            &[10, 1, 0, 77],
        ];
        PacketSocket::new(underlay.workload(there), "eth0").send(&announcement.concat());
        eventually("alpha hears of it", || {
            let learned = fleet.on("alpha").json(&["show", "learned"])["learned"].take();
            let mut entries = learned.as_array().expect("a list").iter();
            entries
                .any(|it| it["mac"] == "02:00:00:00:aa:01" && it["port"] == format!("peer {peer}"))
        });
        // Nothing is lost from then on.
        for from in ["web", "far"] {
            assert!(
                ping_once(underlay.workload(from), ip("10.1.0.77")),
                "{from}"
            );
        }
    }
}

#[test]
fn routers_ask_on_other_hosts_for_whom_nobody_declared() {
    let Some(underlay) = Underlay::new(Family::V4, 1500, &HOSTS, &["web", "far", "left", "right"])
    else {
        return;
    };
    let fleet = fleet(&underlay);
    fleet.load(&underlay.topology(LEARNING));
    move_in(underlay.workload("left"));
    // Nobody in `front` has heard of it before: the router's question crosses the underlay, and so
    // does the answer.
    for to in ["10.1.0.77", "fd00:1::77"] {
        assert_reaches(&underlay, "far", to);
    }
    for to in ["10.2.0.10", "fd00:2::10"] {
        assert_reaches(&underlay, "left", to);
    }
    for host in HOSTS {
        assert_eq!(drops(&fleet, host, "split_horizon"), 0, "{host}");
    }
}

const PAIR: &str = r#"
version: 1
name: pair
@hosts
networks:
  front: [10.1.0.0/24, "fd00:1::/64"]
workloads:
  web: { host: alpha, netns: @web, ports: [{ network: front, addresses: [10.1.0.10, "fd00:1::10"] }] }
  db: { host: beta, netns: @db, ports: [{ network: front, addresses: [10.1.0.20, "fd00:1::20"] }] }
"#;

/// One more network, with one more router, on the second host alone.
const MORE: &str = r#"
  back: 10.2.0.0/24
routers:
  core: { ports: { front: 10.1.0.1, back: 10.2.0.1 } }
workloads:
  cache: { host: beta, netns: @cache, ports: [{ network: back, addresses: 10.2.0.30 }] }
"#;

fn pair(family: Family) -> Option<Underlay> {
    Underlay::new(family, 1500, &["alpha", "beta"], &["web", "db", "cache"])
}

#[test]
fn when_a_link_comes_back_traffic_goes_on() {
    for family in [Family::V4, Family::V6] {
        let Some(underlay) = pair(family) else {
            return;
        };
        let fleet = fleet(&underlay);
        fleet.load(&underlay.topology(PAIR));
        let mut talk = talk(&underlay);
        underlay.set_link("beta", false);
        eventually("the link is down", || {
            !ping(underlay.workload("web"), ip("10.1.0.20"))
        });
        underlay.set_link("beta", true);
        assert_reaches(&underlay, "web", "10.1.0.20");
        assert_reaches(&underlay, "web", "fd00:1::20");
        talk.go_on(5);
        talk.finish();
    }
}

fn talk(underlay: &Underlay) -> Talk {
    let address = std::net::SocketAddr::new(ip("10.1.0.20"), 7000);
    let listen = || std::net::TcpListener::bind(address).unwrap();
    let listener = underlay.workload("db").run(listen);
    Talk::start(underlay.workload("web"), address, &[listener])
}

#[test]
fn connections_survive_an_underlay_that_delays_and_loses() {
    if !Feature::Netem.is_there() {
        return;
    }
    let Some(underlay) = pair(Family::V4) else {
        return;
    };
    let fleet = fleet(&underlay);
    fleet.load(&underlay.topology(PAIR));
    underlay.disturb("beta", "delay 5ms 2ms loss 5%");
    let mut talk = talk(&underlay);
    talk.go_on(20);
    talk.finish();
}

#[test]
fn one_host_loads_another_file_and_nothing_is_lost() {
    let Some(underlay) = pair(Family::V4) else {
        return;
    };
    let fleet = fleet(&underlay);
    let before: Vec<_> = fleet
        .iter()
        .map(|(_, bowline)| Snapshot::take(&underlay.spaces(), bowline.instance()))
        .collect();
    let text = underlay.topology(PAIR);
    let more = PAIR.replace("workloads:\n", &MORE[1..]);
    let more = underlay.topology(&more);
    fleet.load(&text);
    for to in ["10.1.0.20", "fd00:1::20"] {
        assert_reaches(&underlay, "web", to);
    }
    let pings = [("web", "10.1.0.20"), ("db", "fd00:1::10")]
        .map(|(from, to)| Pings::start(underlay.workload(from), ip(to)));
    let numbered = flows(&underlay);
    let mut talk = talk(&underlay);
    for _ in 0..3 {
        fleet.on("beta").load(&more);
        fleet.on("beta").load(&text);
    }
    fleet.load(&more);
    assert_reaches(&underlay, "web", "10.2.0.30");
    talk.go_on(1);
    talk.finish();
    for flow in numbered.finish() {
        flow.assert_complete();
    }
    for pings in pings {
        let (sent, answered) = pings.finish();
        assert!(answered == sent && sent > 10, "{answered} of {sent}");
    }
    fleet.unload("pair");
    for ((_, bowline), before) in fleet.iter().zip(before) {
        before.assert_same(&Snapshot::take(&underlay.spaces(), bowline.instance()));
    }
}

fn flows(underlay: &Underlay) -> Numbered {
    let pairs = [
        ("web", "db", "10.1.0.20:7001", "0.0.0.0:0"),
        ("db", "web", "[fd00:1::10]:7001", "[::]:0"),
    ];
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for (from, to, address, any) in pairs {
        receivers.push(
            underlay
                .workload(to)
                .run(|| UdpSocket::bind(address).unwrap()),
        );
        senders.push(underlay.workload(from).run(|| {
            let socket = UdpSocket::bind(any).unwrap();
            socket.connect(address).unwrap();
            socket
        }));
    }
    Numbered::start(senders, receivers)
}
