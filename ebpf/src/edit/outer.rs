//! The outer headers of a frame that goes to a peer (RFC 7348, RFC 8926, RFC 2890), and what changes in
//! one that came from there.

use maps_schema::map::EgressPort;
use maps_schema::{Ip, Vni};

use super::sum::sum_all;
use super::{L3, TTL, replace};
use crate::checksum;
use crate::frame::{self, Checksum, Frame, Refused};
use crate::parse::outer::{
    GENEVE_PORT, GRE_KEY, Outer, TRANSPARENT_ETHERNET, TUNNEL_LEN, UDP_LEN, VXLAN_PORT, VXLAN_VNI,
};
use crate::parse::{Fragment, Kind, Packet, ethernet, ipv4, ipv6, transport};
use crate::{ecmp, ecn};

/// The first of the source ports that flows are spread over: the dynamic ones (RFC 6335 section 6,
/// RFC 7348 section 5).
const FIRST_PORT: u32 = 0xc000;
/// Not to be fragmented (RFC 791).
const DONT_FRAGMENT: u16 = 0x4000;
/// Where the word is in an Ethernet header whose lower half is the type. Behind it are whole words.
const ETHERTYPE: u32 = 10;
/// Where the UDP checksum is behind the IP header.
const UDP_CHECKSUM: u32 = 6;

/// Puts the frame, which `packet` is parsed from, into a packet for the peer that `exit` leads to. The
/// outer Ethernet header gets its type only: addresses are the underlay's matter, which overwrites what
/// the room holds in their place.
///
/// The outer packet must not be fragmented, has the DSCP and ECN of the inner one (RFC 6040 section
/// 4.1) and a source port, where it has ports, that follows from the flow. Its UDP checksum is zero
/// over IPv4. Over IPv6 it is the right one, unless segmentation offload left the frame whole: the
/// kernel would copy one checksum into all of the packets, so they have none (RFC 6935 section 5); nor
/// have frames with a VLAN tag, which is not among their bytes when they are summed.
///
/// A frame that was rewritten, into an answer, is another packet than `packet`.
///
/// # Errors
/// [`Refused`] if the kernel has no memory for it.
#[inline(always)]
pub fn write<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    exit: &EgressPort,
    vni: Vni,
    is_rewritten: bool,
) -> Result<(), Refused> {
    let is_udp = exit.kind != EgressPort::GRE;
    let is_v6 = !exit.remote.is_v4();
    let tunnel_len = if is_udp {
        UDP_LEN + TUNNEL_LEN
    } else {
        TUNNEL_LEN
    };
    let ip_len = if is_v6 {
        ipv6::HEADER_LEN as u32
    } else {
        ipv4::MIN_HEADER_LEN as u32
    };
    let len = L3 + ip_len + tunnel_len;
    // The tag is not among the frame's bytes yet.
    let tag_len = match packet.kind {
        Kind::Arp | Kind::Opaque if frame.outer_tag().is_some() => ethernet::TAG_LEN,
        _ => 0,
    };
    let payload_len = tunnel_len + frame.len() + tag_len;
    let mut tunnel = if is_udp {
        udp(packet, exit, vni, payload_len)
    } else {
        gre(vni)
    };
    if is_udp && is_v6 && frame.segment_len() == 0 && frame.outer_tag().is_none() {
        let inner = if is_rewritten {
            sum_all(frame)?
        } else {
            sum(frame, packet)?
        };
        let sum = inner + checksum::sum32(&tunnel);
        let [_, ref mut second, ..] = tunnel;
        *second |= udp_checksum(exit, payload_len, sum);
    }
    let outer = frame::Outer { len, is_v6, is_udp };
    match packet.kind {
        Kind::Ipv4 | Kind::Ipv6 => frame.push(outer)?,
        Kind::Arp | Kind::Opaque => frame.push_opaque(outer)?,
    }
    // One call of the kernel for all of it: each takes as long as a lookup.
    let [t0, t1, t2, t3] = tunnel;
    if packet.destination.is_group() {
        // The kernel sends no frame to the underlay that is for a group (`__bpf_redirect_neigh` in
        // net/core/filter.c).
        frame.store(0, &[0_u32; 3])?;
    }
    if is_v6 {
        let [i0, i1] = ipv6(packet, exit, payload_len);
        let ([s0, s1, s2, s3], [d0, d1, d2, d3]) = (exit.local.words(), exit.remote.words());
        let e = u32::from(ethernet::IPV6).to_be();
        if is_udp {
            let header = [e, i0, i1, s0, s1, s2, s3, d0, d1, d2, d3, t0, t1, t2, t3];
            frame.store(ETHERTYPE, &header)
        } else {
            let header = [e, i0, i1, s0, s1, s2, s3, d0, d1, d2, d3, t0, t1];
            frame.store(ETHERTYPE, &header)
        }
    } else {
        let [i0, i1, i2, i3, i4] = ipv4(packet, exit, payload_len);
        let e = u32::from(ethernet::IPV4).to_be();
        if is_udp {
            frame.store(ETHERTYPE, &[e, i0, i1, i2, i3, i4, t0, t1, t2, t3])
        } else {
            frame.store(ETHERTYPE, &[e, i0, i1, i2, i3, i4, t0, t1])
        }
    }
}

/// The IPv4 header of a packet to a peer.
#[inline(always)]
fn ipv4(packet: &Packet, exit: &EgressPort, payload_len: u32) -> [u32; 5] {
    let protocol = protocol(exit);
    let len = wire_len(payload_len + ipv4::MIN_HEADER_LEN as u32);
    let [l0, l1] = len.to_be_bytes();
    let ([_, _, _, source], [_, _, _, destination]) = (exit.local.words(), exit.remote.words());
    let w0 = u32::from_ne_bytes([0x45, packet.traffic_class, l0, l1]);
    // Not to be fragmented, so that it needs no identification (RFC 6864 section 4.1).
    let w1 = u32::from(DONT_FRAGMENT).to_be();
    let unsummed = u32::from_ne_bytes([TTL, protocol, 0, 0]);
    let sum = checksum::sum32(&[w0, w1, unsummed, source, destination]);
    let [c0, c1] = checksum::finish(sum).to_ne_bytes();
    let w2 = u32::from_ne_bytes([TTL, protocol, c0, c1]);
    [w0, w1, w2, source, destination]
}

/// The IPv6 header of a packet to a peer, without the addresses.
#[inline(always)]
fn ipv6(packet: &Packet, exit: &EgressPort, payload_len: u32) -> [u32; 2] {
    let class = packet.traffic_class;
    let [l0, l1] = wire_len(payload_len).to_be_bytes();
    [
        u32::from_ne_bytes([0x60 | class >> 4, class << 4, 0, 0]),
        u32::from_ne_bytes([l0, l1, protocol(exit), TTL]),
    ]
}

/// UDP without a checksum, and VXLAN or Geneve.
#[inline(always)]
fn udp(packet: &Packet, exit: &EgressPort, vni: Vni, len: u32) -> [u32; 4] {
    let source = FIRST_PORT | ecmp::entropy(packet) & !FIRST_PORT & 0xffff;
    let (port, tunnel) = if exit.kind == EgressPort::GENEVE {
        (GENEVE_PORT, u32::from(TRANSPARENT_ETHERNET))
    } else {
        (VXLAN_PORT, u32::from(VXLAN_VNI) << 24)
    };
    [
        (source << 16 | u32::from(port)).to_be(),
        (u32::from(wire_len(len)) << 16).to_be(),
        tunnel.to_be(),
        (vni.number() << 8).to_be(),
    ]
}

/// GRE, in the first two words.
#[inline(always)]
fn gre(vni: Vni) -> [u32; 4] {
    let first = u32::from(GRE_KEY) << 16 | u32::from(TRANSPARENT_ETHERNET);
    [first.to_be(), vni.number().to_be(), 0, 0]
}

/// The UDP checksum, in its place in the second word of the header.
#[inline(always)]
fn udp_checksum(exit: &EgressPort, len: u32, sum: u64) -> u32 {
    let pseudo_header = [len.to_be(), u32::from(transport::UDP).to_be()];
    let checksum = checksum::finish(
        sum + checksum::sum32(&pseudo_header)
            + checksum::sum32(&exit.local.words())
            + checksum::sum32(&exit.remote.words()),
    );
    // Zero would mean that there is none (RFC 768).
    let [c0, c1] = if checksum == 0 { u16::MAX } else { checksum }.to_ne_bytes();
    u32::from_ne_bytes([0, 0, c0, c1])
}

const fn protocol(exit: &EgressPort) -> u8 {
    if exit.kind == EgressPort::GRE {
        transport::GRE
    } else {
        transport::UDP
    }
}

/// A length as headers say it: 0 stands for more than 64 KiB, which segmentation offload cuts.
#[inline(always)]
const fn wire_len(len: u32) -> u16 {
    if len > u16::MAX as u32 { 0 } else { len as u16 }
}

/// The sum of the words of the frame as it will be on the wire.
///
/// A transport checksum may be left to the device, so that what the frame holds is not yet what the
/// wire will. But in the end the words of the payload and of its pseudo-header add up to zero in the
/// arithmetic of checksums, so that the sum follows from the headers alone, whatever the length. Only
/// what has no such checksum is summed.
#[inline(never)]
fn sum<F: Frame>(frame: &mut F, packet: &Packet) -> Result<u64, Refused> {
    let headers = packet.payload.start;
    let is_whole =
        matches!(packet.fragment, Fragment::Whole) && headers + packet.payload.len == frame.len();
    let is_v4 = matches!(packet.kind, Kind::Ipv4);
    let is_plain = if is_v4 {
        headers == L3 + ipv4::MIN_HEADER_LEN as u32
    } else {
        matches!(packet.kind, Kind::Ipv6) && headers == L3 + ipv6::HEADER_LEN as u32
    };
    let has_checksum = match packet.protocol {
        transport::TCP => true,
        // Zero in UDP over IPv4 means that there is none (RFC 768).
        transport::UDP => frame
            .load::<u16>(headers + UDP_CHECKSUM)
            .is_ok_and(|checksum| checksum != 0),
        transport::ICMPV6 => !is_v4,
        _ => false,
    };
    if !(is_whole && is_plain && has_checksum) {
        return sum_all(frame);
    }
    let macs = frame.load::<[u16; 7]>(0).map_err(|_short| Refused)?;
    let (source, destination) = (packet.ip_source.words(), packet.ip_destination.words());
    let pseudo_header = if is_v4 {
        let ([_, _, _, source], [_, _, _, destination]) = (source, destination);
        checksum::sum32(&[source, destination])
    } else {
        checksum::sum32(&source) + checksum::sum32(&destination)
    } + checksum::sum32(&[
        packet.payload.len.to_be(),
        u32::from(packet.protocol).to_be(),
    ]);
    // An IPv4 header adds up to zero by itself; one of IPv6 has no checksum.
    let header = if is_v4 {
        0
    } else {
        let words = frame.load::<[u32; 10]>(L3).map_err(|_short| Refused)?;
        checksum::sum32(&words)
    };
    Ok(checksum::sum16(&macs) + header + u64::from(checksum::finish(pseudo_header)))
}

/// Writes the ECN that the inner packet has after the tunnel, if it is another one.
///
/// # Errors
/// [`Refused`] if the kernel cannot make the frame's bytes writable.
#[inline(always)]
pub fn write_ecn<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    traffic_class: u8,
) -> Result<(), Refused> {
    if packet.traffic_class & ecn::MASK == traffic_class & ecn::MASK {
        return Ok(());
    }
    let [first, second] = frame.load::<[u8; 2]>(L3).map_err(|_short| Refused)?;
    if !matches!(packet.kind, Kind::Ipv4) {
        return frame.store(L3 + 1, &(second & 0x0f | traffic_class << 4));
    }
    let old = u16::from_ne_bytes([first, second]);
    let new = u16::from_ne_bytes([first, traffic_class]);
    let checksum = frame.load::<u16>(L3 + 10).map_err(|_short| Refused)?;
    frame.store(L3, &new)?;
    frame.store(L3 + 10, &checksum::update(checksum, old, new))
}

/// Turns an echo into its answer: everything that says from where to where is swapped, which changes no
/// checksum, and the word `old` at `offset` becomes `new`, both as they lie in memory.
///
/// # Errors
/// [`Refused`] if the kernel cannot make the frame's bytes writable.
#[inline(always)]
pub fn write_echo_answer<F: Frame>(
    frame: &mut F,
    outer: &Outer,
    offset: u32,
    old: u16,
    new: u16,
) -> Result<(), Refused> {
    let refused = |_short| Refused;
    let [d0, d1, d2, s0, s1, s2] = frame.fixed::<0, [u16; 6]>().map_err(refused)?;
    frame.store(0, &[s0, s1, s2, d0, d1, d2])?;
    let l4 = if outer.source.is_v4() {
        let [source, destination] = frame.fixed::<26, [u32; 2]>().map_err(refused)?;
        frame.store(L3 + 12, &[destination, source])?;
        L3 + ipv4::MIN_HEADER_LEN as u32
    } else {
        let [source, destination] = frame.fixed::<22, [Ip; 2]>().map_err(refused)?;
        frame.store(L3 + 8, &[destination, source])?;
        L3 + ipv6::HEADER_LEN as u32
    };
    if outer.kind == EgressPort::GRE {
        return frame.store(offset, &new);
    }
    let checksum = Checksum {
        at: l4 + UDP_CHECKSUM,
        is_optional: true,
    };
    replace(frame, checksum, offset, old, new)
}
