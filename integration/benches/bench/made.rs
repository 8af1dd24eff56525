//! Packets per second where the kernel itself makes the frames: what the way takes, and neither a sender's
//! system calls nor a receiver's socket.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use aya::programs::TcAttachType;
use integration::checksum;
use integration::lab::{Generator, PacketSocket, eventually_some, octets, other_end};
use integration::program::assembled;
use rustix::time::ClockId;
use serde_json::Value;

use crate::lane::{Lane, PORTS, TIME};
use crate::packets::{PAYLOAD, answer, processor_time};

/// Frames that are asked for at a time: so few that the kernel's queues do not fill up before it has gone
/// through them.
const COUNT: u32 = 16_384;
/// How long a portion may be waited for that arrives as a whole.
const PATIENCE: Duration = Duration::from_secs(20);
/// The headers of Ethernet and IPv4, and all three.
const IP: usize = 14;
const UDP: usize = 34;
const HEADERS: usize = 42;

/// How many thousands of 64-byte frames of an established connection one processor brings in a second from the
/// client's interface to the server's, where they end. That a processor has nothing to do now and then is not in
/// it: the kernel waits for others after every portion that it is asked for. Portions of which something is lost
/// are not counted.
pub(crate) fn made(lane: &Lane<'_>) -> f64 {
    let [_, port, ..] = PORTS;
    let [_, interface] = lane.interfaces;
    let sink = lane.sink(port);
    let source = lane.source(port);
    answer(&source, &sink);
    let frame = sample(lane, &source);
    let generator = generator(lane, &frame);
    let mut end = assembled::drop_all().expect("a program that drops everything");
    let attach = || end.attach(interface, TcAttachType::Ingress);
    lane.server
        .run(attach)
        .expect("a program at the server's interface");
    let begin = Instant::now();
    let (mut whole, mut used) = (0_u32, Duration::ZERO);
    while begin.elapsed() < TIME || whole == 0 {
        assert!(
            begin.elapsed() < PATIENCE,
            "{}: no portion arrives as a whole",
            lane.name
        );
        let before = received(lane);
        // The frames are sent by a thread in the client's namespace; no other one has anything to do.
        let busy = processor_time(ClockId::ProcessCPUTime);
        generator.send(COUNT).expect("the kernel sends frames");
        let busy = processor_time(ClockId::ProcessCPUTime).saturating_sub(busy);
        // Where somebody else has the processor the queues overflow, and what is lost is cheap.
        if received(lane) - before >= u64::from(COUNT) {
            whole += 1;
            used += busy;
        }
    }
    f64::from(whole) * f64::from(COUNT) / used.as_secs_f64() / 1e3
}

/// A sender of this frame at the client's interface.
pub(crate) fn generator<'a>(lane: &Lane<'a>, frame: &[u8]) -> Generator<'a> {
    let [interface, _] = lane.interfaces;
    let generator = Generator::new(lane.client, interface, lane.entry, frame, None);
    generator.expect("live frames of XDP (Linux 5.18)")
}

/// A frame as the client sends it, with the checksum that a network card would have filled in.
pub(crate) fn sample(lane: &Lane<'_>, source: &UdpSocket) -> Vec<u8> {
    let [interface, _] = lane.interfaces;
    let tap = PacketSocket::new(lane.entry, &other_end(lane.client, interface, lane.entry));
    let to = source
        .peer_addr()
        .expect("a destination")
        .port()
        .to_be_bytes();
    let mut frame = eventually_some("the client's frame", || {
        source.send(&[0; PAYLOAD]).expect("send");
        let frames = tap.drain();
        let is_it = |frame: &Vec<u8>| {
            frame.len() == HEADERS + PAYLOAD && frame[UDP - 11] == 17 && frame[UDP + 2..][..2] == to
        };
        frames.into_iter().find(is_it)
    });
    // The socket shares the frame's bytes with the kernel, which has written those of the next link by now.
    frame[..IP].copy_from_slice(&[&macs(lane)[..], &[8, 0]].concat());
    let address = |at: usize| -> IpAddr {
        let octets: [u8; 4] = frame[at..at + 4].try_into().expect("four octets");
        Ipv4Addr::from(octets).into()
    };
    let (from, to) = (address(IP + 12), address(IP + 16));
    frame[UDP + 6..][..2].fill(0);
    let covered = checksum::pseudo_header(from, to, 17, frame.len() - UDP);
    let sum = checksum::of(&[&covered, &frame[UDP..]].concat());
    frame[UDP + 6..][..2].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// The MAC addresses of what the client sends to its target.
fn macs(lane: &Lane<'_>) -> Vec<u8> {
    let ip = |words: &[&str]| -> Value {
        let text = lane.client.ip(&[&["-j"], words].concat());
        serde_json::from_str(&text).expect("ip prints JSON")
    };
    let [interface, _] = lane.interfaces;
    let target = lane.target.to_string();
    let route = &ip(&["route", "get", &target])[0];
    let next_hop = route["gateway"].as_str().unwrap_or(&target);
    let neighbor = &ip(&["neigh", "show", "to", next_hop])[0];
    let to = octets(neighbor["lladdr"].as_str().expect("a neighbor"));
    [to, lane.client.mac(interface)].concat()
}

/// How many frames have come to the server's interface.
fn received(lane: &Lane<'_>) -> u64 {
    let [_, interface] = lane.interfaces;
    let link = lane
        .server
        .ip(&["-s", "-j", "link", "show", "dev", interface]);
    let link: Value = serde_json::from_str(&link).expect("ip prints JSON");
    let count = link[0]["stats64"]["rx"]["packets"].as_u64();
    count.expect("a count of frames")
}
