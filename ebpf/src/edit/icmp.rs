//! Packets that routers make of those they got: echo replies and errors.

use maps_schema::Ip;

use super::forward::write_ttl;
use super::ip::Header;
use super::sum::{PIECE, sum};
use super::{L3, TTL, write_macs};
use crate::checksum;
use crate::frame::{Frame, Refused};
use crate::icmp::{ECHO_REPLY, ECHO_REPLY_V6, Message};
use crate::parse::{Kind, Packet, ipv4, ipv6, transport};

/// Length of the ICMP header of an error, in bytes.
const ICMP_LEN: u32 = 8;
/// Length of what is inserted before the quoted packet, in bytes.
const INSERTED_V4: u32 = ipv4::MIN_HEADER_LEN as u32 + ICMP_LEN;
/// As above.
const INSERTED_V6: u32 = ipv6::HEADER_LEN as u32 + ICMP_LEN;
/// How much is quoted: an ICMP error has 576 bytes at most (RFC 1812 section 4.3.2.3).
const QUOTED_V4: u32 = 576 - INSERTED_V4;
/// How much is quoted: an ICMPv6 error has 1280 bytes at most (RFC 4443 section 3).
const QUOTED_V6: u32 = 1280 - INSERTED_V6;
/// Type of service of ICMP errors: precedence "internetwork control" (RFC 1812 section 4.3.2.5).
const TOS: u8 = 0xc0;

/// Turns an echo request into the reply to it, and sends it back to where it came from. Swapping the
/// addresses changes no checksum.
///
/// # Errors
/// [`Refused`] if the kernel cannot make the frame's bytes writable.
#[inline(always)]
pub fn write_echo_reply<F: Frame>(frame: &mut F, packet: &Packet) -> Result<(), Refused> {
    write_macs(frame, packet.source, packet.destination)?;
    write_ttl(frame, packet, TTL)?;
    let reply = match packet.kind {
        Kind::Ipv4 => {
            let [_, _, _, source] = packet.ip_source.words();
            let [_, _, _, destination] = packet.ip_destination.words();
            frame.store(L3 + 12, &[destination, source])?;
            ECHO_REPLY
        }
        _ => {
            frame.store(L3 + 8, &packet.ip_destination)?;
            frame.store(L3 + 24, &packet.ip_source)?;
            ECHO_REPLY_V6
        }
    };
    let start = packet.payload.start;
    let [old, checksum] = frame.load::<[u16; 2]>(start).map_err(|_short| Refused)?;
    let [_, code] = old.to_ne_bytes();
    let new = u16::from_ne_bytes([reply, code]);
    frame.store(start, &[new, checksum::update(checksum, old, new)])
}

/// Turns a packet into an error about it, and sends it back to where it came from. `detail` is the word
/// behind the checksum, in host byte order.
///
/// # Errors
/// [`Refused`] if the kernel has no memory for it.
#[inline(always)]
pub fn write_error<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    source: Ip,
    message: Message,
    detail: u32,
) -> Result<(), Refused> {
    let is_v4 = matches!(packet.kind, Kind::Ipv4);
    let (inserted, limit) = if is_v4 {
        (INSERTED_V4, QUOTED_V4)
    } else {
        (INSERTED_V6, QUOTED_V6)
    };
    let available = frame.len() - L3;
    // The packet without what pads its frame.
    let packet_len = packet.payload.start + packet.payload.len - L3;
    let quoted = if packet_len < limit {
        packet_len
    } else {
        limit
    };
    if quoted < available {
        frame.resize(L3 + quoted)?;
    }
    // Padded with zeros, the quoted packet is summed in whole pieces.
    let pieces = quoted.div_ceil(PIECE);
    frame.resize(L3 + pieces * PIECE)?;
    frame.insert(inserted)?;
    let quote = sum(frame, L3 + inserted, pieces);
    frame.resize(L3 + inserted + quoted)?;
    write_macs(frame, packet.source, packet.destination)?;
    let [kind, code] = if is_v4 { message.v4() } else { message.v6() };
    let kind = u16::from_ne_bytes([kind, code]);
    let len = ICMP_LEN + quoted;
    // An MTU is in the lower half of the word in ICMP (RFC 1191 section 4) and fills it in ICMPv6.
    let detail = detail.to_be();
    let message = u64::from(kind) + checksum::sum32(&[detail]) + quote;
    let mut header = Header {
        source,
        destination: packet.ip_source,
        protocol: transport::ICMP,
        len,
    };
    let checksum = if is_v4 {
        header.write_v4(frame, TOS)?;
        checksum::finish(message)
    } else {
        header.protocol = transport::ICMPV6;
        header.write_v6(frame)?;
        checksum::finish(message + header.pseudo_sum(is_v4))
    };
    let start = L3 + inserted - ICMP_LEN;
    frame.store(start, &[kind, checksum])?;
    frame.store(start + 4, &detail)
}
