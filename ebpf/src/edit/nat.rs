//! Addresses and ports that are translated.
//!
//! Checksums are updated and not made anew (RFC 1624), so that one that is wrong stays so.

use maps_schema::Ip;
use maps_schema::map::Translation;

use super::L3;
use crate::checksum::{self, difference};
use crate::flow::Track;
use crate::frame::{Checksum, Covered, Frame, Refused};
use crate::parse::{Fragment, Packet, TransportKind, ipv6, transport};

/// Where checksum and addresses are in an IPv4 header, and addresses in an IPv6 header.
const IPV4_CHECKSUM: u32 = 10;
const IPV4_ADDRESSES: u32 = 12;
const IPV6_ADDRESSES: u32 = 8;
/// Where the checksums of transport headers are.
const TCP_CHECKSUM: u32 = 16;
const UDP_CHECKSUM: u32 = 6;
const ICMP_CHECKSUM: u32 = 2;
/// Where the identifier of an echo is.
const IDENTIFIER: u32 = 4;
/// Length of the ICMP header before a quoted packet, in bytes.
const ICMP_LEN: u32 = 8;

/// Writes the addresses and ports that a packet leaves with.
///
/// # Errors
/// [`Refused`] if the kernel cannot make the frame's bytes writable.
#[inline(never)]
pub(crate) fn write<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    track: &mut Track,
) -> Result<(), Refused> {
    (track.old, track.new) = (track.endpoints(), track.outcome());
    let (old, new) = (&track.old, &track.new);
    let addresses = source_difference(old, new) + destination_difference(old, new);
    if track.is_related {
        return write_related(frame, packet, track, addresses);
    }
    if let Some(checksum) = checksum(packet) {
        let is_covered = !new.source.is_v4() || packet.protocol != transport::ICMP;
        if is_covered {
            frame.adjust(checksum, Covered::Pseudo, checksum::fold(addresses))?;
        }
        let start = packet.payload.start;
        let (old, new) = (ports(old), ports(new));
        write_ports(frame, packet.protocol, (start, checksum), old, new)?;
    }
    write_addresses(frame, L3, &new.source, &new.destination, addresses)
}

/// Writes an ICMP error, and the packet that it quotes, which goes the other way. The quoted packet's own
/// checksum is left alone: often it is not there as a whole, and nobody looks at it.
#[inline(never)]
fn write_related<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    track: &Track,
    inner: u64,
) -> Result<(), Refused> {
    let (old, new) = (&track.old, &track.new);
    // A router on the way speaks for itself.
    let is_endpoint = packet.ip_source == old.source;
    let (speaker, outer) = if is_endpoint {
        (&new.source, inner)
    } else {
        (&packet.ip_source, destination_difference(old, new))
    };
    let checksum = Checksum {
        at: packet.payload.start + ICMP_CHECKSUM,
        is_optional: false,
    };
    let quote = packet.payload.start + ICMP_LEN;
    let header_len = if new.source.is_v4() {
        // The checksum of the quoted header makes up for its addresses.
        let [first] = frame.load::<[u8; 1]>(quote).map_err(|_short| Refused)?;
        u32::from(first & 0x0f) * 4
    } else {
        frame.adjust(checksum, Covered::Pseudo, checksum::fold(outer))?;
        frame.adjust(checksum, Covered::Message, checksum::fold(inner))?;
        ipv6::HEADER_LEN as u32
    };
    let ([a, b], [c, d]) = (ports(old), ports(new));
    let start = quote + header_len;
    write_ports(frame, track.key.protocol, (start, checksum), [b, a], [d, c])?;
    write_addresses(frame, quote, &new.destination, &new.source, inner)?;
    write_addresses(frame, L3, speaker, &new.destination, outer)
}

/// The checksum of a packet's transport header; nothing if the header is not there.
#[inline(always)]
fn checksum(packet: &Packet) -> Option<Checksum> {
    if matches!(packet.fragment, Fragment::Later)
        || matches!(packet.transport.kind, TransportKind::Absent)
    {
        return None;
    }
    let (offset, is_optional) = match packet.protocol {
        transport::TCP => (TCP_CHECKSUM, false),
        transport::UDP => (UDP_CHECKSUM, true),
        _ => (ICMP_CHECKSUM, false),
    };
    Some(Checksum {
        at: packet.payload.start + offset,
        is_optional,
    })
}

/// The ports, in network byte order.
#[inline(always)]
const fn ports(it: &Translation) -> [u16; 2] {
    [it.source_port.to_be(), it.destination_port.to_be()]
}

/// Writes the ports, or the identifier of an echo, of the transport header that is at `start`.
#[inline(always)]
fn write_ports<F: Frame>(
    frame: &mut F,
    protocol: u8,
    (start, checksum): (u32, Checksum),
    old: [u16; 2],
    new: [u16; 2],
) -> Result<(), Refused> {
    if old == new {
        return Ok(());
    }
    let ports = difference(&old.map(u32::from), &new.map(u32::from));
    frame.adjust(checksum, Covered::Message, ports)?;
    if matches!(protocol, transport::TCP | transport::UDP) {
        return frame.exchange(start, &new);
    }
    // One of the two is 0.
    let [source, destination] = new;
    frame.exchange(start + IDENTIFIER, &(source | destination))
}

/// Writes the addresses of the IP header that is at `start`, and its checksum.
#[inline(never)]
fn write_addresses<F: Frame>(
    frame: &mut F,
    start: u32,
    source: &Ip,
    destination: &Ip,
    difference: u64,
) -> Result<(), Refused> {
    if !source.is_v4() {
        let at = start + IPV6_ADDRESSES;
        if start == L3 {
            // For a checksum that covers a pseudo-header, the kernel changes the packet's sum as if another
            // one made up for the addresses. IPv6 has none, so that they change the sum, too.
            frame.store(at, source)?;
            return frame.store(at + 16, destination);
        }
        frame.exchange(at, source)?;
        return frame.exchange(at + 16, destination);
    }
    let checksum = Checksum {
        at: start + IPV4_CHECKSUM,
        is_optional: false,
    };
    frame.adjust(checksum, Covered::Header, checksum::fold(difference))?;
    let ([.., source], [.., destination]) = (source.words(), destination.words());
    frame.exchange(start + IPV4_ADDRESSES, &[source, destination])
}

/// What checksums that cover the source change by. What the mapped form of IPv4 addresses has before
/// them cancels out.
#[inline(always)]
fn source_difference(old: &Translation, new: &Translation) -> u64 {
    u64::from(difference(&old.source.words(), &new.source.words()))
}

/// As above, for the destination.
#[inline(always)]
fn destination_difference(old: &Translation, new: &Translation) -> u64 {
    let (old, new) = (old.destination.words(), new.destination.words());
    u64::from(difference(&old, &new))
}
