//! Which of several equal next hops a packet takes.

use maps_schema::Ip;

use crate::parse::{Kind, Packet};

/// A hash of the packet's flow. Both directions of a conversation have the same one, so that they take
/// the same way where the topology offers it to both; and so have the fragments of a packet behind the first
/// one, of which those that come before it have no ports.
#[inline(always)]
pub fn flow_hash(packet: &Packet) -> u32 {
    let (source, destination) = (fold(packet.ip_source), fold(packet.ip_destination));
    let (source_port, destination_port) = (packet.transport.source, packet.transport.destination);
    let ports = mix(u32::from(source_port)) ^ mix(u32::from(destination_port));
    mix((source ^ destination)
        .wrapping_add(ports)
        .wrapping_add(u32::from(packet.protocol)))
}

/// What tells the packet's flow from others between the same two hosts; for frames that are no IP
/// packets, their stations.
#[inline(always)]
pub fn entropy(packet: &Packet) -> u32 {
    match packet.kind {
        Kind::Ipv4 | Kind::Ipv6 => flow_hash(packet),
        Kind::Arp | Kind::Opaque => {
            let ([a, b, c], [d, e, f]) = (packet.source.words(), packet.destination.words());
            let word = |upper: u16, lower: u16| u32::from(upper) << 16 | u32::from(lower);
            mix(mix(mix(word(a, b)) ^ word(c, d)) ^ word(e, f))
        }
    }
}

#[inline(always)]
fn fold(ip: Ip) -> u32 {
    let [a, b, c, d] = ip.words();
    mix(mix(mix(mix(a) ^ b) ^ c) ^ d)
}

/// The finalizer of MurmurHash3 with 32 bits: every bit of the result depends on every bit given.
#[inline(always)]
const fn mix(word: u32) -> u32 {
    let word = (word ^ (word >> 16)).wrapping_mul(0x85eb_ca6b);
    let word = (word ^ (word >> 13)).wrapping_mul(0xc2b2_ae35);
    word ^ (word >> 16)
}
