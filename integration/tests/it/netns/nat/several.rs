//! Several gateways: the outside may send by another one than is sent to it by.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::ops::RangeInclusive;

use integration::lab::{Family, Fleet, Talk, Underlay, eventually, patience, ping};

use rustix::process::Signal;

use super::super::agent::{Agent, QUICK};
use super::super::hosts::{drops, fleet};
use super::{at, tcp, udp};

/// The workloads are on a host that is no gateway; two others are. What they are known by outside is behind
/// both of them: the world has routes to there, which the tests lead by one or the other. Nothing is
/// translated of `plain`, whose router lets nobody begin a conversation from outside.
const SITE: &str = r#"
version: 1
name: several
hosts: { alpha: @address alpha, beta: @address beta, gamma: @address gamma }
networks: { front: [10.1.0.0/24, "fd00:1::/64"], bare: [10.4.0.0/24, "fd00:4::/64"] }
routers:
  core:
    ports: { front: [10.1.0.1, "fd00:1::1"] }
    uplink: { hosts: [beta, gamma] }
    nat:
      - { floating: 203.0.113.50, to: 10.1.0.10 }
      - { floating: "2001:db8:9::50", to: "fd00:1::10" }
      - { snat: 10.1.0.0/24, to: 203.0.113.100-203.0.113.103 }
      - { snat: "fd00:1::/64", to: "2001:db8:9::100-2001:db8:9::103" }
  open:
    ports: { bare: [10.4.0.1, "fd00:4::1"] }
    uplink: { hosts: [beta, gamma] }
    policy: closed
policies:
  closed:
    forward:
      - { from: [10.4.0.0/24, "fd00:4::/64"], deny: udp/9 }
      - { from: [10.4.0.0/24, "fd00:4::/64"], allow: any }
    default: deny
workloads:
  web:
    host: alpha
    netns: @web
    ports: [{ network: front, addresses: [10.1.0.10, "fd00:1::10"], publish: ["8080:80"] }]
  db: { host: alpha, netns: @db, ports: [{ network: front, addresses: [10.1.0.20, "fd00:1::20"] }] }
  plain: { host: alpha, netns: @plain, ports: [{ network: bare, addresses: [10.4.0.10, "fd00:4::10"] }] }
"#;

const GATEWAYS: [&str; 2] = ["beta", "gamma"];

/// What differs between the families.
struct Names {
    floating: &'static str,
    web: &'static str,
    db: &'static str,
    plain: &'static str,
    pool: RangeInclusive<IpAddr>,
    /// What the world has routes to.
    outside: [&'static str; 2],
}

fn names(family: Family) -> Names {
    let range = |first: &str, last: &str| first.parse().unwrap()..=last.parse().unwrap();
    match family {
        Family::V4 => Names {
            floating: "203.0.113.50",
            web: "10.1.0.10",
            db: "10.1.0.20",
            plain: "10.4.0.10",
            pool: range("203.0.113.100", "203.0.113.103"),
            outside: ["203.0.113.0/24", "10.4.0.0/24"],
        },
        Family::V6 => Names {
            floating: "2001:db8:9::50",
            web: "fd00:1::10",
            db: "fd00:1::20",
            plain: "fd00:4::10",
            pool: range("2001:db8:9::100", "2001:db8:9::103"),
            outside: ["2001:db8:9::/64", "fd00:4::/64"],
        },
    }
}

fn site(family: Family) -> Option<Underlay> {
    let hosts = ["alpha", "beta", "gamma", "world"];
    Underlay::new(family, 1500, &hosts, &["web", "db", "plain"])
}

fn load<'a>(underlay: &'a Underlay, family: Family) -> Fleet<'a> {
    let fleet = fleet(underlay);
    let text = underlay.topology(SITE);
    for host in ["alpha", "beta", "gamma"] {
        fleet.on(host).load(&text);
    }
    lead(underlay, family, "beta");
    let world = underlay.address("world");
    for name in ["web", "db", "plain"] {
        eventually(&format!("{name} reaches the world"), || {
            ping(underlay.workload(name), world)
        });
    }
    fleet
}

/// From now on the world sends by way of this gateway.
fn lead(underlay: &Underlay, family: Family, gateway: &str) {
    let via = underlay.address(gateway).to_string();
    for prefix in names(family).outside {
        let world = underlay.host("world");
        world.ip(&["route", "replace", prefix, "via", &via]);
    }
}

#[test]
fn an_answer_finds_the_gateway_that_it_is_for() {
    for family in [Family::V4, Family::V6] {
        let Some(underlay) = site(family) else { return };
        let _fleet = load(&underlay, family);
        let to = at(&underlay.address("world").to_string(), 80);
        let mut sources = BTreeSet::new();
        for gateway in GATEWAYS {
            lead(&underlay, family, gateway);
            // Enough of them that both gateways have some.
            for _ in 0..8 {
                let peer = tcp(underlay.workload("db"), to, (underlay.host("world"), to));
                sources.insert(peer.ip());
                udp(underlay.workload("db"), to, (underlay.host("world"), to));
            }
        }
        // Each gateway gives one workload always the same address of its own part.
        assert_eq!(sources.len(), 2, "{sources:?}");
        assert!(sources.iter().all(|it| names(family).pool.contains(it)));
    }
}

#[test]
fn what_came_in_by_a_gateway_is_answered_by_way_of_it() {
    for family in [Family::V4, Family::V6] {
        let Some(underlay) = site(family) else { return };
        let _fleet = load(&underlay, family);
        let names = names(family);
        for gateway in GATEWAYS {
            lead(&underlay, family, gateway);
            let published = at(&underlay.address(gateway).to_string(), 8080);
            let floating = at(names.floating, 80);
            let web = (underlay.workload("web"), at(names.web, 80));
            for to in [published, floating] {
                for _ in 0..6 {
                    let peer = tcp(underlay.host("world"), to, web);
                    assert_eq!(peer.ip(), underlay.address("world"));
                }
            }
        }
    }
}

/// Connections of every kind: to the outside, translated in three ways, and one from there.
fn conversations(underlay: &Underlay, family: Family) -> Vec<Talk> {
    let names = names(family);
    let listen = |space: &str, to| {
        let space = if space == "world" {
            underlay.host(space)
        } else {
            underlay.workload(space)
        };
        space.run(|| TcpListener::bind(to)).unwrap()
    };
    let world = at(&underlay.address("world").to_string(), 80);
    let outside = listen("world", world);
    let inside = listen("web", at(names.web, 80));
    let outwards = ["web", "db", "plain"].map(|name| {
        let talks = (0..3).map(|_| {
            let listeners = std::slice::from_ref(&outside);
            Talk::start(underlay.workload(name), world, listeners)
        });
        talks.collect::<Vec<_>>()
    });
    let inwards = Talk::start(underlay.host("world"), at(names.floating, 80), &[inside]);
    outwards.into_iter().flatten().chain([inwards]).collect()
}

#[test]
fn a_connection_stays_when_the_outside_finds_another_way() {
    let family = Family::V4;
    let Some(underlay) = site(family) else { return };
    let _fleet = load(&underlay, family);
    let mut talks = conversations(&underlay, family);
    for gateway in ["gamma", "beta", "gamma"] {
        lead(&underlay, family, gateway);
        for talk in &mut talks {
            talk.go_on(5);
        }
    }
    for talk in talks {
        talk.finish();
    }
}

/// Nobody brings state from host to host: agents die while the way to the outside moves, and come again.
#[test]
fn no_connection_needs_an_agent() {
    let family = Family::V4;
    let Some(underlay) = site(family) else { return };
    let fleet = load(&underlay, family);
    let start = |host: &str| Agent::start(fleet.on(host), &QUICK);
    let mut agents = BTreeMap::from(["alpha", "beta", "gamma"].map(|host| (host, start(host))));
    for (host, agent) in &agents {
        eventually(&format!("the agent of {host} runs"), || {
            agent.log().contains("running")
        });
    }
    let mut talks = conversations(&underlay, family);
    for gateway in ["gamma", "beta", "gamma", "beta"] {
        for host in ["alpha", gateway] {
            let agent = agents.remove(host).unwrap();
            assert!(!agent.stop(Signal::KILL).success());
        }
        lead(&underlay, family, gateway);
        for talk in &mut talks {
            talk.go_on(5);
        }
        // Those that begin while there is none go both ways, too.
        for talk in conversations(&underlay, family) {
            talk.finish();
        }
        agents.extend(["alpha", gateway].map(|host| (host, start(host))));
    }
    for mut talk in talks {
        talk.go_on(5);
        talk.finish();
    }
}

/// Whoever has something to say: the outside is heard by another gateway, and what the workload says finds
/// that one when the agent there knows that the first one is dead. Without agents it would wait for the
/// outside to speak.
#[test]
fn a_connection_from_outside_outlives_the_gateway_that_it_came_by() {
    let family = Family::V4;
    let Some(underlay) = site(family) else { return };
    let fleet = load(&underlay, family);
    let _agent = Agent::start(fleet.on("alpha"), &QUICK);
    let names = names(family);
    let (world, floating) = (underlay.host("world"), at(names.floating, 80));
    let web = underlay.workload("web");
    let inside = web.run(|| TcpListener::bind(at(names.web, 80))).unwrap();
    let mut outsider = world.run(|| TcpStream::connect(floating)).unwrap();
    outsider.set_read_timeout(Some(patience())).unwrap();
    let (mut workload, _peer) = inside.accept().unwrap();
    let mut talk = Talk::start(world, floating, &[inside]);
    talk.go_on(5);
    underlay.set_link("beta", false);
    lead(&underlay, family, "gamma");
    workload.write_all(b"still here").unwrap();
    let mut heard = [0; 10];
    outsider.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"still here");
    talk.go_on(5);
    talk.finish();
}

#[test]
fn who_lets_nobody_in_gets_answers_by_any_gateway() {
    for family in [Family::V4, Family::V6] {
        let Some(underlay) = site(family) else { return };
        let fleet = load(&underlay, family);
        let names = names(family);
        let world = underlay.address("world");
        let to = at(&world.to_string(), 80);
        let plain = names.plain.parse().unwrap();
        for gateway in GATEWAYS {
            lead(&underlay, family, gateway);
            for _ in 0..6 {
                let peer = tcp(underlay.workload("plain"), to, (underlay.host("world"), to));
                assert_eq!(peer.ip(), plain);
            }
            let before = drops(&fleet, "alpha", "policy_forward");
            assert!(!ping(underlay.host("world"), plain), "by {gateway}");
            eventually("alpha refuses it", || {
                drops(&fleet, "alpha", "policy_forward") > before
            });
        }
    }
}

/// The error about what left by one gateway may come by the other one.
#[test]
fn an_error_finds_whom_it_is_about_by_any_gateway() {
    for family in [Family::V4, Family::V6] {
        let Some(underlay) = site(family) else { return };
        let _fleet = load(&underlay, family);
        let names = names(family);
        for limit in ["ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit"] {
            underlay.host("world").sysctl(&format!("net/{limit}"), "0");
        }
        let closed = at(&underlay.address("world").to_string(), 9999);
        for gateway in GATEWAYS {
            lead(&underlay, family, gateway);
            // Enough of them that both gateways have some.
            for _ in 0..8 {
                for (name, address) in [("db", names.db), ("plain", names.plain)] {
                    let socket = underlay
                        .workload(name)
                        .run(|| UdpSocket::bind(at(address, 0)));
                    let socket = socket.unwrap();
                    socket.connect(closed).unwrap();
                    eventually(&format!("{name} is told by {gateway}"), || {
                        socket
                            .send(b"anybody?")
                            .is_err_and(|it| it.kind() == ErrorKind::ConnectionRefused)
                    });
                }
            }
        }
    }
}

/// What a workload has tried in vain is nothing that might be answered.
#[test]
fn what_the_router_lets_neither_side_begin_does_not_come_in() {
    for family in [Family::V4, Family::V6] {
        let Some(underlay) = site(family) else { return };
        let fleet = load(&underlay, family);
        let world = at(&underlay.address("world").to_string(), 9);
        let plain = at(names(family).plain, 5000);
        let [inside, outside] = [
            (underlay.workload("plain"), plain),
            (underlay.host("world"), world),
        ]
        .map(|(space, at)| space.run(|| UdpSocket::bind(at)).unwrap());
        let refused = || GATEWAYS.map(|gateway| drops(&fleet, gateway, "policy_forward"));
        inside.send_to(b"out", world).unwrap();
        eventually("a gateway refuses what goes out", || refused() != [0, 0]);
        for gateway in GATEWAYS {
            lead(&underlay, family, gateway);
            let before = refused();
            outside.send_to(b"in", plain).unwrap();
            eventually("a gateway refuses what comes in", || refused() != before);
        }
        inside.set_nonblocking(true).unwrap();
        let nothing = inside.recv(&mut [0; 8]).expect_err("nothing came in");
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock, "{family:?}");
    }
}
