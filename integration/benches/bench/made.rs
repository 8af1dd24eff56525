//! Packets per second where the kernel itself makes the frames: what the way takes, and neither a sender's
//! system calls nor a receiver's socket.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Instant;

use aya::programs::TcAttachType;
use integration::checksum;
use integration::lab::{Generator, PacketSocket, eventually_some, other_end};
use integration::program::assembled;
use rustix::time::ClockId;
use serde_json::Value;

use crate::lane::{Lane, PORTS, TIME};
use crate::packets::{PAYLOAD, Rate, answer, processor_time};

/// Frames that are asked for at a time.
const COUNT: u32 = 16_384;
/// The headers of Ethernet and IPv4, and all three.
const IP: usize = 14;
const UDP: usize = 34;
const HEADERS: usize = 42;

/// How fast 64-byte frames of an established connection go from the client's interface to the server's, where
/// they end.
pub(crate) fn made(lane: &Lane<'_>) -> Rate {
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
    let before = received(lane);
    let begin = Instant::now();
    // The frames are sent by a thread in the client's namespace; no other one has anything to do.
    let clock = ClockId::ProcessCPUTime;
    let used = processor_time(clock);
    let mut sent = 0;
    while begin.elapsed() < TIME {
        generator.send(COUNT).expect("the kernel sends frames");
        sent += u64::from(COUNT);
    }
    let used = processor_time(clock).saturating_sub(used);
    let seconds = begin.elapsed().as_secs_f64() * 1e3;
    let arrived = received(lane) - before;
    assert!(
        arrived * 10 > sent * 9,
        "{}: {arrived} of {sent} arrived",
        lane.name
    );
    Rate {
        sent: sent as f64 / seconds,
        received: arrived as f64 / seconds,
        cost: used.as_nanos() as f64 / sent as f64,
    }
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
