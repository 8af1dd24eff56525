//! Frames get where they should, and nowhere else.

use std::net::{SocketAddr, TcpListener};
use std::thread;

use integration::lab::{Capture, PacketSocket, eventually, receive_all, send_all};

use super::{PAIR, Site, TRIO, drops, experiment, is_experiment, stats};

#[test]
fn ping_works_in_both_families() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(PAIR));
    for (from, to) in [("web", "20"), ("db", "10")] {
        site.assert_reaches(from, &format!("10.77.0.{to}"));
        site.assert_reaches(from, &format!("fd00:77::{to}"));
    }
}

#[test]
fn arp_and_neighbor_discovery_are_answered_on_the_spot() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(PAIR));
    // Both have told everybody about themselves, and know one another.
    site.assert_reaches("web", "10.77.0.20");
    site.assert_reaches("web", "fd00:77::20");
    let capture = Capture::start(site.workload("db"), "eth0");
    site.workload("web")
        .ip(&["neighbor", "flush", "dev", "eth0"]);
    site.assert_reaches("web", "10.77.0.20");
    site.assert_reaches("web", "fd00:77::20");
    capture.settle();
    let frames = capture.finish();
    assert!(frames.iter().any(|frame| frame[12..14] == [0x08, 0x00]));
    let is_question = |frame: &&Vec<u8>| {
        let is_arp = frame[12..14] == [0x08, 0x06] && frame[20..22] == [0, 1];
        // A question without a sender is the check whether an address is taken, and is for everybody.
        let is_nd = frame[12..14] == [0x86, 0xdd]
            && frame[20] == 58
            && frame[54] == 135
            && frame[22..38] != [0; 16];
        frame[0] & 1 != 0 && (is_arp || is_nd)
    };
    let questions: Vec<_> = frames.iter().filter(is_question).collect();
    assert!(questions.is_empty(), "{questions:02x?}");
}

/// Segmentation offload leaves TCP's segments whole on their way: the receiver sees frames longer
/// than the MTU, which is why the bridge is as fast as no bridge.
#[test]
fn tcp_arrives_complete_and_in_long_frames() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(PAIR));
    for address in ["10.77.0.20:5000", "[fd00:77::20]:5000"] {
        let address: SocketAddr = address.parse().unwrap();
        site.assert_reaches("web", &address.ip().to_string());
        let listener = site.workload("db").run(|| TcpListener::bind(address));
        let listener = listener.unwrap();
        let receiver = thread::spawn(move || receive_all(&listener));
        let capture = Capture::start(site.workload("db"), "eth0");
        let sent = send_all(site.workload("web"), address, 16 << 20);
        assert_eq!(receiver.join().unwrap(), sent);
        let longest = capture.finish().iter().map(Vec::len).max().unwrap();
        assert!(
            longest > 1514 + 1448,
            "the longest frame has {longest} bytes"
        );
    }
    let counted = stats(&bowline, "db/eth0");
    assert!(
        counted["out_bytes"].as_u64().unwrap() > 32 << 20,
        "{counted}"
    );
}

#[test]
fn a_group_reaches_every_other_port_once() {
    let Some(site) = Site::new(["web", "db", "cache"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(TRIO));
    let captures = ["web", "db", "cache"].map(|name| Capture::start(site.workload(name), "eth0"));
    let web = PacketSocket::new(site.workload("web"), "eth0");
    let own = site.workload("web").mac("eth0");
    let groups = [
        [0xff; 6],
        [0x01, 0x00, 0x5e, 0, 0, 0xfb],
        [0x33, 0x33, 0, 0, 0, 1],
    ];
    let frames: Vec<_> = groups.map(|group| experiment(group, own, b"hello")).into();
    for frame in &frames {
        web.send(frame);
    }
    let [at_web, others @ ..] = captures;
    for capture in others {
        eventually("all groups arrive", || {
            capture.matching(is_experiment).len() >= frames.len()
        });
        capture.settle();
        assert_eq!(capture.matching(is_experiment), frames);
    }
    assert_eq!(at_web.matching(is_experiment), [[0; 0]; 0]);
}

#[test]
fn networks_with_the_same_addresses_are_isolated() {
    let Some(site) = Site::new(["web", "db", "twin", "other"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(
        "
version: 1
name: twins
networks: { red: 10.77.0.0/24, blue: 10.77.0.0/24 }
workloads:
  web: { netns: @web, ports: [{ network: red, addresses: 10.77.0.10, mac: 02:00:00:00:00:10 }] }
  db: { netns: @db, ports: [{ network: red, addresses: 10.77.0.20, mac: 02:00:00:00:00:20 }] }
  twin: { netns: @twin, ports: [{ network: blue, addresses: 10.77.0.10, mac: 02:00:00:00:00:10 }] }
  other: { netns: @other, ports: [{ network: blue, addresses: 10.77.0.30 }] }
",
    ));
    let names = ["db", "twin", "other"];
    let captures = names.map(|name| Capture::start(site.workload(name), "eth0"));
    site.assert_reaches("web", "10.77.0.20");
    site.assert_reaches("twin", "10.77.0.30");
    site.assert_does_not_reach("web", "10.77.0.30");
    site.assert_does_not_reach("twin", "10.77.0.20");

    let web = PacketSocket::new(site.workload("web"), "eth0");
    web.send(&experiment([0xff; 6], [2, 0, 0, 0, 0, 0x10], b"red"));
    let [red, blue @ ..] = captures;
    eventually("red hears red", || !red.matching(is_experiment).is_empty());
    for capture in blue {
        capture.settle();
        assert_eq!(capture.matching(is_experiment), [[0; 0]; 0]);
    }
}

/// As large as they come: a tag does not count against the MTU.
#[test]
fn vlan_tags_are_carried() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(PAIR));
    let [from, to] = ["web", "db"].map(|name| site.workload(name).mac("eth0"));
    let socket = PacketSocket::new(site.workload("web"), "eth0");
    let capture = Capture::start(site.workload("db"), "eth0");
    let plain = experiment(to, from, &[0xa5; 1500]);
    let tagged = |tag: &[u8]| [&plain[..12], tag, &plain[12..]].concat();
    let frames = [
        plain.clone(),
        tagged(&[0x81, 0, 0x60, 5]),
        tagged(&[0x88, 0xa8, 0, 9, 0x81, 0, 0, 7])[..1514].to_vec(),
    ];
    for frame in &frames {
        socket.send(frame);
    }
    let is_ours = |frame: &[u8]| frame.ends_with(&[0xa5; 100]);
    eventually("all of them arrive", || {
        capture.matching(is_ours).len() >= frames.len()
    });
    assert_eq!(capture.matching(is_ours), frames);
}

#[test]
fn unknown_addresses_are_dropped_or_flooded_as_the_network_says() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    let nobody = [2, 0, 0, 0, 0, 0x99];
    bowline.load(&site.topology(PAIR));
    let web = PacketSocket::new(site.workload("web"), "eth0");
    let capture = Capture::start(site.workload("db"), "eth0");
    let frame = experiment(nobody, site.workload("web").mac("eth0"), b"anybody?");
    web.send(&frame);
    eventually("the frame is dropped", || {
        drops(&bowline, "web/eth0", "unknown_unicast") == 1
    });
    let flooding = PAIR.replace(
        r#"[10.77.0.0/24, "fd00:77::/64"]"#,
        r#"{ subnets: [10.77.0.0/24, "fd00:77::/64"], unknown_unicast: flood }"#,
    );
    bowline.load(&site.topology(&flooding));
    web.send(&frame);
    eventually("the frame is flooded", || {
        !capture.matching(is_experiment).is_empty()
    });
    assert_eq!(capture.matching(is_experiment), [frame]);
}
