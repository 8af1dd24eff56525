//! Echoes through every kind of tunnel.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use integration::checksum;
use integration::lab::{Family, Namespace, Underlay, eventually_some};
use rustix::process::Signal;

use super::{Agent, QUICK, eventually_is, eventually_peer, fleet, peer};

/// Another tunnel to every other host.
const TUNNELS: &str = "version: 1
name: tunnels
@hosts
networks:
  front: [10.1.0.0/24]
tunnels:
  - { between: [alpha, gamma], tunnel: geneve }
  - { between: [alpha, delta], tunnel: gre }
  - { between: [alpha, epsilon], tunnel: none }
";

const HOSTS: [&str; 5] = ["alpha", "beta", "delta", "epsilon", "gamma"];

#[test]
fn every_host_answers_whatever_the_tunnel() {
    for family in [Family::V4, Family::V6] {
        let Some(underlay) = Underlay::new(family, 1500, &HOSTS, &[]) else {
            return;
        };
        let fleet = fleet(&underlay);
        fleet.load(&underlay.topology(TUNNELS));
        let alpha = fleet.on("alpha");
        let shown = alpha.succeed(&["show", "peers"]);
        assert!(shown.contains("no agent runs: "), "{shown}");
        let agent = Agent::start(alpha, &QUICK);
        for (name, tunnel) in [
            ("beta", "vxlan"),
            ("gamma", "geneve"),
            ("delta", "gre"),
            ("epsilon", "none"),
        ] {
            // A busy machine may be late with an answer, but not all the time.
            let found = eventually_peer(alpha, name, "is known", |peer| {
                peer["state"] == "up" && peer["path_mtu"] == 1500 && peer["loss_percent"] == 0
            });
            assert_eq!(found["tunnel"], tunnel, "{found}");
            let rtt_us = found["rtt_us"].as_u64().unwrap();
            assert!(rtt_us < 1_000_000, "{found}");
            assert!(found["warning"].is_null(), "{found}");
            assert_eq!(found["drops"], 0, "{found}");
            // Who is asked needs no agent, and drops nothing.
            let asked = peer(fleet.on(name), "alpha");
            assert_eq!(asked["drops"], 0, "{asked}");
        }
        let shown = alpha.json(&["show", "peers"]);
        assert_eq!(shown["agent"]["running"], true, "{shown}");
        assert_eq!(shown["agent"]["pid"], agent.pid(), "{shown}");
        // Nothing is different from what a load by hand would do.
        assert_eq!(alpha.json(&["load"])["changed"], false);

        assert!(agent.stop(Signal::TERM).success());
        let shown = alpha.json(&["show", "peers"]);
        assert_eq!(shown["agent"]["running"], false, "{shown}");
        assert!(peer(alpha, "beta")["path_mtu"].is_null());
    }
}

/// Nobody but a stranger on the way would notice a wrong checksum.
#[test]
fn echoes_and_answers_have_right_checksums() {
    for offloads in [false, true] {
        let Some(underlay) = Underlay::new(Family::V6, 1500, &["alpha", "beta"], &[]) else {
            return;
        };
        if !offloads {
            underlay.without_offloads();
        }
        check_checksums(&underlay, offloads);
    }
}

fn check_checksums(underlay: &Underlay, offloads: bool) {
    let fleet = fleet(underlay);
    let text = "version: 1\nname: pair\n@hosts\nnetworks: { front: [10.1.0.0/24] }\n";
    fleet.load(&underlay.topology(text));
    let captures = ["alpha", "beta"].map(|host| underlay.sent_by(host));
    let _agent = Agent::start(fleet.on("alpha"), &QUICK);
    eventually_is(fleet.on("alpha"), "beta", "up");
    for (capture, from, to) in [
        (&captures[0], "alpha", "beta"),
        (&captures[1], "beta", "alpha"),
    ] {
        // UDP to VXLAN's port over IPv6.
        let is_echo = |frame: &[u8]| frame.get(20) == Some(&17) && frame[56..58] == [0x12, 0xb5];
        let echoes = capture.matching(is_echo);
        assert!(!echoes.is_empty());
        for echo in echoes {
            let message = &echo[54..];
            assert_ne!(message[6..8], [0, 0]);
            let (from, to) = (underlay.address(from), underlay.address(to));
            let pseudo = checksum::pseudo_header(from, to, 17, message.len());
            if offloads {
                // What is left to the device is the sum of this alone, not complemented, in the echo and
                // in its answer.
                let begun = !checksum::of(&pseudo);
                assert_eq!(message[6..8], begun.to_be_bytes(), "{echo:02x?}");
            } else {
                let summed = [&pseudo, message].concat();
                assert_eq!(checksum::of(&summed), 0, "{echo:02x?}");
            }
        }
    }
}

fn get(space: &Namespace, at: &str, what: &str) -> Option<String> {
    let at: SocketAddr = at.parse().unwrap();
    space.run(|| {
        let mut stream = TcpStream::connect(at).ok()?;
        let question = format!("GET {what} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(question.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    })
}

#[test]
fn metrics_are_told_to_whoever_asks() {
    let Some(underlay) = Underlay::new(Family::V4, 1500, &["alpha", "beta"], &[]) else {
        return;
    };
    let fleet = fleet(&underlay);
    let text = "version: 1\nname: pair\n@hosts\nnetworks: { front: [10.1.0.0/24] }\n";
    fleet.load(&underlay.topology(text));
    let at = "127.0.0.1:9476";
    let _agent = Agent::start(
        fleet.on("alpha"),
        &[&QUICK, &["--metrics", at][..]].concat(),
    );
    let space = underlay.host("alpha");
    let up = "bowline_peer_up{peer=\"beta\"} 1\n";
    let page = eventually_some("the peer is up", || {
        get(space, at, "/metrics").filter(|page| page.contains(up))
    });
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(
        page.contains("bowline_port_packets_total{port=\"peer beta\",direction=\"in\"} "),
        "{page}"
    );
    assert!(page.contains("bowline_peer_rtt_seconds{peer=\"beta\"} 0."));
    let other = get(space, at, "/").unwrap();
    assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
}
