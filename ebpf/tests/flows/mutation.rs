//! Conversations with the outside whose frames were changed or cut off anywhere.

use datapath::Action;

use super::edge::{PUBLISHED, WORLD, answer, from_world};
use super::journey::Journey;
use super::line::ip;
use super::packet::{ACK, FIN, ICMP, ICMPV6, Packet, RST, SYN, TCP, UDP};
use super::random::Random;
use super::site::{OUTSIDE, Station, gateway};

/// How many conversations are held, with some fifty frames each.
const CONVERSATIONS: u64 = 4_000;

/// Nearly what a workload sends to the outside.
fn outwards(random: &mut Random) -> (Station, Packet) {
    let station = random.one_of(&Station::all(1));
    let family = random.below(2) as usize;
    let protocol = random.one_of(&[TCP, UDP, [ICMP, ICMPV6][family], 50]);
    let echo = [8, 128][family];
    let packet = Packet {
        destination: gateway(&station, 1),
        source: station.mac,
        ip_source: station.ips()[family],
        ip_destination: ip(random.one_of(&[WORLD[family], super::edge::HOST[family]])),
        ports: if matches!(protocol, ICMP | ICMPV6) {
            [echo, random.below(4) as u16]
        } else {
            let own = random.one_of(&[4000, 5000, 40_000]);
            [own, random.one_of(&[53, 80, PUBLISHED])]
        },
        fragment: random.one_of(&[0, 0, 0, 0x2000, 0x0004]),
        flags: random.one_of(&[SYN, ACK, ACK, FIN | ACK, RST]),
        sequence: random.one_of(&[1, 90, 1 << 31]),
        len: random.below(40) as usize,
        ..from_world(family, protocol, [0; 2])
    };
    (station, packet)
}

/// Some bits are other ones, or the end is missing.
fn mutate(random: &mut Random, wire: &mut Vec<u8>) {
    for _ in 0..random.below(3) {
        let at = random.below(wire.len() as u64) as usize;
        wire[at] ^= 1 << random.below(8);
    }
    if random.once_in(6) {
        wire.truncate(random.below(wire.len() as u64) as usize);
    }
}

#[test]
fn changed_frames_tell_nobody_of_the_inside() {
    let (mut left, mut delivered, mut dropped, mut passed) = (0_u32, 0_u32, 0_u32, 0_u32);
    for seed in 0..CONVERSATIONS {
        let mut random = Random(seed);
        let journey = Journey::new();
        let mut answers: Vec<Packet> = Vec::new();
        for _ in 0..50 {
            let (from, mut wire) = match random.below(5) {
                0 | 1 => {
                    let (station, packet) = outwards(&mut random);
                    (station.interface(), packet.wire())
                }
                2 => {
                    let family = random.below(2) as usize;
                    let ports = [4000, random.one_of(&[PUBLISHED, 5000, 22])];
                    let call = from_world(family, random.one_of(&[TCP, UDP]), ports);
                    (OUTSIDE, call.wire())
                }
                3 if !answers.is_empty() => (OUTSIDE, random.one_of(&answers).wire()),
                _ => {
                    journey.wait(random.one_of(&[0, 1, 31, 200]));
                    continue;
                }
            };
            if random.once_in(2) {
                mutate(&mut random, &mut wire);
            }
            let (action, after) = journey.check(from, &wire);
            match action {
                Action::Underlay { .. } => {
                    left += 1;
                    answers.extend(answer(&after));
                }
                Action::Deliver(_) => delivered += 1,
                Action::Drop { .. } => dropped += 1,
                Action::Pass => passed += 1,
                _ => {}
            }
        }
    }
    // A test in which all frames fare alike would not say much.
    for count in [left, delivered, dropped, passed] {
        assert!(count > 5_000, "{left} {delivered} {dropped} {passed}");
    }
}

#[test]
fn what_the_fuzzer_makes_up_does_not_either() {
    let mut random = Random(1);
    for _ in 0..50_000 {
        let bytes: Vec<u8> = (0..random.below(240))
            .map(|_| random.next() as u8)
            .collect();
        Journey::new().play(&bytes);
    }
}
