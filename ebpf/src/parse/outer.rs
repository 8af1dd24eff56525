//! The outer headers of a packet from the underlay: VXLAN (RFC 7348), Geneve (RFC 8926) and GRE with a
//! key (RFC 2784, RFC 2890).

use maps_schema::map::EgressPort;
use maps_schema::{DropReason, Ip};

use super::ethernet::{self, HEADER_LEN};
use super::{ipv4, ipv6, transport};
use crate::checksum;
use crate::frame::Bytes;

/// UDP port of VXLAN (RFC 7348 section 5).
pub const VXLAN_PORT: u16 = 4789;
/// UDP port of Geneve (RFC 8926 section 3.3).
pub const GENEVE_PORT: u16 = 6081;
/// The EtherType of Ethernet in a tunnel: "transparent Ethernet bridging" (RFC 1701).
pub const TRANSPARENT_ETHERNET: u16 = 0x6558;
/// The only flag of the VXLAN header that counts: the VNI is valid (RFC 7348 section 5).
pub const VXLAN_VNI: u8 = 0x08;
/// GRE has a key and nothing else (RFC 2890 section 2).
pub const GRE_KEY: u16 = 0x2000;

/// Length of a UDP header, in bytes.
pub const UDP_LEN: u32 = 8;
/// Length of the header of each of the three tunnels without options, in bytes.
pub const TUNNEL_LEN: u32 = 8;

/// Where an IPv4 packet begins to be something else: flags and offset of a fragment.
const FRAGMENT: u16 = 0x3fff;
/// The offset of a fragment.
const FRAGMENT_OFFSET: u16 = 0x1fff;
/// The next header is one with options for the destination (RFC 8200 section 4.6).
const DESTINATION_OPTIONS: u8 = 60;
/// It has 8 bytes, of which these are the second to the fourth: how many more tunnels the packet may enter
/// (RFC 2473 section 4.1.1). Linux puts that before GRE, unless it is told not to.
const ENCAPSULATION_LIMIT: [u8; 3] = [0, 4, 1];
/// Its length, in bytes.
const LIMIT_LEN: usize = 8;
/// Geneve carries a control message, or options that a receiver must understand (RFC 8926 section 3.4).
const GENEVE_SPECIAL: u8 = 0xc0;

/// What the outer headers say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outer {
    /// The tunnel, as [`EgressPort::kind`]; [`EgressPort::WORKLOAD`] if the packet is in none.
    pub kind: u32,
    /// The VNI, in host byte order; 0 for an echo.
    pub vni: u32,
    /// Length of the outer headers with the Ethernet header, in bytes.
    pub len: u32,
    /// Type of service or traffic class.
    pub traffic_class: u8,
    /// Who sent it.
    pub source: Ip,
}

impl Outer {
    /// A packet in no tunnel.
    pub const NONE: Self = Self {
        kind: EgressPort::WORKLOAD,
        vni: 0,
        len: 0,
        traffic_class: 0,
        source: Ip::UNSPECIFIED_V6,
    };
}

/// Parses the outer headers of a packet to `address`. Whatever is for another address, is in no tunnel
/// that we know, or is not even whole IP, is none of ours.
///
/// # Errors
/// The reason why a packet in a tunnel must be dropped.
#[inline(always)]
pub fn parse<F: Bytes>(frame: &F, address: Ip, outer: &mut Outer) -> Result<(), DropReason> {
    *outer = Outer::NONE;
    let Ok(ethertype) = frame.fixed::<12, u16>() else {
        return Ok(());
    };
    match u16::from_be(ethertype) {
        ethernet::IPV4 => parse_ipv4(frame, address, outer),
        ethernet::IPV6 => parse_ipv6(frame, address, outer),
        _ => Ok(()),
    }
}

#[inline(always)]
fn parse_ipv4<F: Bytes>(frame: &F, address: Ip, outer: &mut Outer) -> Result<(), DropReason> {
    const L4: usize = HEADER_LEN + ipv4::MIN_HEADER_LEN;
    let Ok([w0, w1, w2, source, destination]) = frame.fixed::<HEADER_LEN, [u32; 5]>() else {
        return Ok(());
    };
    let [first, traffic_class, ..] = w0.to_ne_bytes();
    let [_, _, f0, f1] = w1.to_ne_bytes();
    let [_, protocol, ..] = w2.to_ne_bytes();
    let fragment = u16::from_be_bytes([f0, f1]);
    // A later fragment does not say whose it is, and no peer sends options.
    if Ip::v4_from_word(destination) != address || first != 0x45 || fragment & FRAGMENT_OFFSET != 0
    {
        return Ok(());
    }
    outer.source = Ip::v4_from_word(source);
    outer.traffic_class = traffic_class;
    let Ok(words) = frame.fixed::<L4, [u32; 4]>() else {
        return Ok(());
    };
    let end = end(frame, HEADER_LEN as u32, u32::from_be(w0) & 0xffff);
    parse_tunnel(protocol, words, L4 as u32, end, outer)?;
    if outer.kind == EgressPort::WORKLOAD {
        return Ok(());
    }
    if fragment & FRAGMENT != 0 {
        return Err(DropReason::OuterFragment);
    }
    // Nobody behind us looks at it any more.
    if checksum::finish(checksum::sum32(&[w0, w1, w2, source, destination])) != 0 {
        return Err(DropReason::MalformedOuter);
    }
    check(frame, end, outer)
}

#[inline(always)]
fn parse_ipv6<F: Bytes>(frame: &F, address: Ip, outer: &mut Outer) -> Result<(), DropReason> {
    const L4: usize = HEADER_LEN + ipv6::HEADER_LEN;
    let Ok([w0, w1, s0, s1, s2, s3, d0, d1, d2, d3]) = frame.fixed::<HEADER_LEN, [u32; 10]>()
    else {
        return Ok(());
    };
    let [first, second, ..] = w0.to_ne_bytes();
    let [_, _, next_header, _] = w1.to_ne_bytes();
    let source = Ip::from_words([s0, s1, s2, s3]);
    // No address of IPv6 is one of IPv4, whatever its bits.
    let is_mapped = address.is_v4() || source.is_v4();
    if Ip::from_words([d0, d1, d2, d3]) != address || is_mapped || first >> 4 != 6 {
        return Ok(());
    }
    outer.source = source;
    outer.traffic_class = first << 4 | second >> 4;
    let Ok(mut words) = frame.fixed::<L4, [u32; 4]>() else {
        return Ok(());
    };
    let end = end(frame, L4 as u32, u32::from_be(w1) >> 16);
    let (mut protocol, mut start) = (next_header, L4 as u32);
    let [inner, rest @ ..] = words[0].to_ne_bytes();
    if next_header == DESTINATION_OPTIONS && rest == ENCAPSULATION_LIMIT {
        (protocol, start) = (inner, start + LIMIT_LEN as u32);
        match frame.fixed::<{ L4 + LIMIT_LEN }, [u32; 4]>() {
            Ok(behind) => words = behind,
            Err(_short) => return Ok(()),
        }
    }
    // Fragments have a header of their own, behind which nobody looks.
    parse_tunnel(protocol, words, start, end, outer)?;
    if outer.kind == EgressPort::WORKLOAD {
        return Ok(());
    }
    check(frame, end, outer)
}

/// Where a packet ends that has `len` bytes from `start` on, by what its header says. Segmentation
/// offload leaves packets whole that are too long for that: they say 0.
#[inline(always)]
fn end<F: Bytes>(frame: &F, start: u32, len: u32) -> u32 {
    if len == 0 && frame.len() > u32::from(u16::MAX) {
        frame.len()
    } else {
        start + len
    }
}

/// Parses what is behind the IP header, which all three tunnels have 16 bytes of before any payload.
/// By the IP header the packet ends at `end`.
#[inline(always)]
fn parse_tunnel(
    protocol: u8,
    [w0, w1, w2, w3]: [u32; 4],
    start: u32,
    end: u32,
    outer: &mut Outer,
) -> Result<(), DropReason> {
    match protocol {
        transport::UDP => {
            let port = u32::from_be(w0) as u16;
            let len = u32::from_be(w1) >> 16;
            let [first, second, p0, p1] = w2.to_ne_bytes();
            outer.vni = u32::from_be(w3) >> 8;
            outer.len = start + UDP_LEN + TUNNEL_LEN;
            match port {
                VXLAN_PORT => outer.kind = EgressPort::VXLAN,
                GENEVE_PORT => outer.kind = EgressPort::GENEVE,
                _ => return Ok(()),
            }
            // 0 in a packet that is too long, as in the IP header.
            if start + len != end && (len != 0 || end <= u32::from(u16::MAX)) {
                return Err(DropReason::MalformedOuter);
            }
            if port == VXLAN_PORT {
                return if first & VXLAN_VNI == 0 {
                    Err(DropReason::MalformedOuter)
                } else {
                    Ok(())
                };
            }
            // The version is in the two upper bits; what options say is of no use to us.
            outer.len += u32::from(first & 0x3f) * 4;
            if first >> 6 != 0 || u16::from_be_bytes([p0, p1]) != TRANSPARENT_ETHERNET {
                return Err(DropReason::MalformedOuter);
            }
            if second & GENEVE_SPECIAL != 0 {
                return Err(DropReason::CriticalOption);
            }
            Ok(())
        }
        transport::GRE => {
            // Other GRE may be the host's own.
            if u32::from_be(w0) != u32::from(GRE_KEY) << 16 | u32::from(TRANSPARENT_ETHERNET) {
                return Ok(());
            }
            outer.kind = EgressPort::GRE;
            outer.vni = u32::from_be(w1);
            outer.len = start + TUNNEL_LEN;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Checks that a packet in a tunnel is all there, and has an Ethernet header in it.
#[inline(always)]
fn check<F: Bytes>(frame: &F, end: u32, outer: &Outer) -> Result<(), DropReason> {
    // Short frames are padded, so that there may be more of them.
    if end > frame.len() || end < outer.len + HEADER_LEN as u32 {
        return Err(DropReason::MalformedOuter);
    }
    Ok(())
}
