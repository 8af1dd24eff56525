//! What a workload may not send, sent all the same: it does not arrive, and is counted for what it
//! is.

use std::net::{Ipv4Addr, Ipv6Addr};

use integration::case::compile;
use integration::cast::Cast;
use integration::frame::Description;
use integration::lab::{Capture, PacketSocket, eventually};
use integration::number::Numbers;

use super::{Site, TRIO, drops};

/// What `web` says, and why it is dropped.
const LIES: &[(&str, &str)] = &[
    (
        "{ from: db, ipv4: { from: web, to: cache }, udp: [7, 7] }",
        "spoofed_mac",
    ),
    (
        "{ from: zero, ipv4: { to: cache }, udp: [7, 7] }",
        "invalid_source_mac",
    ),
    (
        "{ ipv4: { from: db, to: cache }, udp: [7, 7] }",
        "spoofed_ip",
    ),
    (
        "{ ipv6: { from: db, to: cache }, udp: [7, 7] }",
        "spoofed_ip",
    ),
    (
        "{ to: broadcast, arp: { operation: 2, sender: db, target: db } }",
        "spoofed_arp",
    ),
    (
        "{ ipv6: { to: all-nodes }, nd: { message: neighbor_advertisement, target: db, \
         override: true, options: [{ target: web }] } }",
        "spoofed_neighbor",
    ),
    (
        "{ ipv6: { from: link-local web, to: all-nodes }, \
         nd: { message: router_advertisement } }",
        "rogue_router",
    ),
    (
        "{ to: 01:80:c2:00:00:0e, ethertype: 0x88cc, data: 0000 }",
        "reserved_group",
    ),
    (
        "{ ipv4: { to: cache, length: 99 }, udp: [7, 7] }",
        "malformed_ipv4",
    ),
];

#[test]
fn lies_do_not_arrive_and_are_counted() {
    let Some(site) = Site::new(["web", "db", "cache"]) else {
        return;
    };
    let bowline = site.bowline();
    let text = site.topology(TRIO);
    bowline.load(&text);
    let topology = compile("trio", &text).unwrap();
    let name = topology.ports.keys().find(|name| name.workload == "web");
    let cast = Cast::of(&topology, name.unwrap());
    let socket = PacketSocket::new(site.workload("web"), "eth0");
    let captures = ["db", "cache"].map(|name| Capture::start(site.workload(name), "eth0"));
    let mut sent = Vec::new();
    for (lie, reason) in LIES {
        let lie: Description = serde_saphyr::from_str(lie).unwrap();
        let frame = lie.bytes(&cast, &Numbers::default()).unwrap();
        let before = drops(&bowline, "web/eth0", reason);
        socket.send(&frame);
        eventually(reason, || drops(&bowline, "web/eth0", reason) == before + 1);
        sent.push(frame);
    }
    for capture in captures {
        capture.settle();
        let arrived = capture.matching(|frame| sent.iter().any(|sent| sent == frame));
        assert_eq!(arrived, [[0; 0]; 0]);
    }
}

/// A workload that gives itself another's address is cut off, and the other one is not.
#[test]
fn an_address_cannot_be_taken_over() {
    let Some(site) = Site::new(["web", "db", "cache"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(TRIO));
    site.assert_reaches("cache", "10.77.0.20");
    site.assert_reaches("cache", "fd00:77::20");
    let thief = site.workload("web");
    let (v4, v6) = (
        Ipv4Addr::new(10, 77, 0, 20),
        "fd00:77::20".parse::<Ipv6Addr>().unwrap(),
    );
    thief.ip(&["address", "add", &format!("{v4}/24"), "dev", "eth0"]);
    thief.ip(&[
        "address",
        "add",
        &format!("{v6}/64"),
        "dev",
        "eth0",
        "nodad",
    ]);
    // It tells everybody, and asks from its new address.
    for _ in 0..2 {
        let mut command = thief.command("ping");
        command.args(["-c", "1", "-W", "1", "-I", "10.77.0.20", "10.77.0.30"]);
        assert!(!command.output().unwrap().status.success());
    }
    let spoofed =
        drops(&bowline, "web/eth0", "spoofed_arp") + drops(&bowline, "web/eth0", "spoofed_ip");
    assert!(spoofed > 0);
    let neighbors = site.workload("cache");
    neighbors.ip(&["neighbor", "flush", "dev", "eth0"]);
    let capture = Capture::start(site.workload("db"), "eth0");
    site.assert_reaches("cache", "10.77.0.20");
    site.assert_reaches("cache", "fd00:77::20");
    let is_echo = |frame: &[u8]| frame[12..14] == [0x08, 0x00] && frame[34] == 8;
    eventually("db itself was asked", || {
        !capture.matching(is_echo).is_empty()
    });
}
