//! IPv6 and its extension headers (RFC 8200).

use core::ops::ControlFlow;

use maps_schema::{DropReason, Ip};

use super::ethernet::{Ethernet, HEADER_LEN as ETHERNET_LEN};
use super::transport::{self, Head};
use super::{Fragment, Kind, Packet, Span, discovery};
use crate::frame::{Frame, Step};

/// Length of the fixed header in bytes.
pub const HEADER_LEN: usize = 40;

/// How many extension headers the datapath follows. RFC 8200 section 4.1 has seven kinds, each at
/// most once but for one; what is longer is either an error or an attempt to hide something.
const MAX_EXTENSIONS: u32 = 7;

/// The fragment's offset in the field that it shares with "more fragments" (RFC 8200 section 4.5).
const FRAGMENT_OFFSET: u16 = 0xfff8;
/// "More fragments" in that field.
const MORE_FRAGMENTS: u16 = 1;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;

/// Parses the fixed header, follows the extension headers, and parses the transport header or the
/// neighbor discovery message.
///
/// # Errors
/// [`DropReason::MalformedIpv6`] if a header is cut short, the version is another, the length field
/// promises more bytes than the frame has, or there are too many extension headers.
#[inline(always)]
pub(super) fn parse<'a, F: Frame>(
    frame: &F,
    ethernet: &Ethernet,
    out: &'a mut Packet,
) -> Result<&'a mut Packet, DropReason> {
    let malformed = DropReason::MalformedIpv6;
    let [w0, w1, s0, s1, s2, s3, d0, d1, d2, d3] = frame
        .fixed::<ETHERNET_LEN, [u32; 10]>()
        .map_err(|_short| malformed)?;
    let [first, second, ..] = w0.to_ne_bytes();
    let [l0, l1, next_header, hop_limit] = w1.to_ne_bytes();
    let available = frame
        .len()
        .saturating_sub((ETHERNET_LEN + HEADER_LEN) as u32);
    // As with IPv4, 0 stands for more than 64 KiB (RFC 2675; "BIG TCP" since Linux 5.19).
    let len = match u32::from(u16::from_be_bytes([l0, l1])) {
        0 if available > u32::from(u16::MAX) => available,
        len => len,
    };
    if first >> 4 != 6 || len > available {
        return Err(malformed);
    }
    *out = Packet {
        kind: Kind::Ipv6,
        ip_source: Ip::from_words([s0, s1, s2, s3]),
        ip_destination: Ip::from_words([d0, d1, d2, d3]),
        ttl: hop_limit,
        traffic_class: first << 4 | second >> 4,
        protocol: next_header,
        protocol_at: ETHERNET_LEN as u32 + 6,
        payload: Span {
            start: (ETHERNET_LEN + HEADER_LEN) as u32,
            len,
        },
        ..Packet::opaque(ethernet)
    };
    let packet = out;
    let head = if is_extension(next_header) {
        follow(frame, packet)?;
        Head::from(frame.load(packet.payload.start))
    } else {
        Head::from(frame.fixed::<{ ETHERNET_LEN + HEADER_LEN }, [u16; 2]>())
    };
    transport::parse(&head, packet);
    discovery::parse(frame, packet)?;
    Ok(packet)
}

#[inline(always)]
const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY | AUTHENTICATION | FRAGMENT
    )
}

/// Follows the extension headers to the end of their chain.
#[inline(always)]
fn follow<F: Frame>(frame: &F, packet: &mut Packet) -> Result<(), DropReason> {
    let mut chain = Chain {
        frame,
        protocol: packet.protocol,
        protocol_at: packet.protocol_at,
        cuts: 0,
        rest: packet.payload,
        complete: false,
    };
    F::repeat(MAX_EXTENSIONS, &mut chain);
    packet.protocol = chain.protocol;
    packet.protocol_at = chain.protocol_at;
    packet.fragment = chain.fragment();
    packet.payload = chain.rest;
    if chain.complete {
        Ok(())
    } else {
        Err(DropReason::MalformedIpv6)
    }
}

/// A position in the chain of extension headers.
struct Chain<'a, F> {
    frame: &'a F,
    /// Protocol of what follows.
    protocol: u8,
    /// Where that is said.
    protocol_at: u32,
    /// What the fragment headers say together: the offset in the upper bits, "more" in the last. A
    /// packet may have several of them, and what one has cut no other one makes whole. It is a number
    /// and no `Fragment` because of what `Frame::repeat` says about branches and constants.
    cuts: u16,
    /// What follows.
    rest: Span,
    /// Whether the end of the chain was reached.
    complete: bool,
}

impl<F> Chain<'_, F> {
    #[inline(always)]
    const fn fragment(&self) -> Fragment {
        Fragment::new(
            self.cuts & FRAGMENT_OFFSET == 0,
            self.cuts & MORE_FRAGMENTS != 0,
        )
    }
}

impl<F: Frame> Step for Chain<'_, F> {
    #[inline(always)]
    fn step(&mut self, _idx: u32) -> ControlFlow<()> {
        let Ok([next, units, f0, f1]) = self.frame.load::<[u8; 4]>(self.rest.start) else {
            return ControlFlow::Break(());
        };
        let len = match self.protocol {
            // RFC 8200 section 4.5.
            FRAGMENT => {
                let field = u16::from_be_bytes([f0, f1]);
                self.cuts |= field & (FRAGMENT_OFFSET | MORE_FRAGMENTS);
                8
            }
            // RFC 4302 section 2.2.
            AUTHENTICATION => (u32::from(units) + 2) * 4,
            // RFC 8200 section 4.
            _ => (u32::from(units) + 1) * 8,
        };
        if len > self.rest.len {
            return ControlFlow::Break(());
        }
        self.protocol = next;
        self.protocol_at = self.rest.start;
        self.rest = Span {
            start: self.rest.start + len,
            len: self.rest.len - len,
        };
        // Behind the header of a later fragment there is data, whatever its first byte looks like.
        if is_extension(next) && !matches!(self.fragment(), Fragment::Later) {
            return ControlFlow::Continue(());
        }
        self.complete = true;
        ControlFlow::Break(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryFrame;
    use crate::memory::parse as parse_frame;
    use crate::parse::{Message, TransportKind};
    use crate::scene::{self, DB, UDP, WEB, ethernet};

    const NO_NEXT_HEADER: u8 = 59;

    fn parse_packet(packet: &[u8]) -> Result<Packet, DropReason> {
        let wire = ethernet(DB.mac, WEB.mac, 0x86dd, packet);
        parse_frame(&MemoryFrame::from_wire(&wire))
    }

    /// A packet with these extension headers, each of them its type and its bytes behind the first,
    /// and UDP at the end.
    fn chain(headers: &[(u8, &[u8])], last: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let nexts = headers.iter().skip(1).map(|&(kind, _)| kind).chain([last]);
        for ((_, header), next) in headers.iter().zip(nexts) {
            bytes.push(next);
            bytes.extend(*header);
        }
        bytes.extend(payload);
        let first = headers.first().map_or(last, |&(kind, _)| kind);
        scene::ipv6(WEB.v6, DB.v6, first, &bytes)
    }

    /// Padding options, 8 bytes with the first.
    const OPTIONS: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
    /// 16 bytes with the first: the length counts units of 8 beyond the first 8.
    const LONG_OPTIONS: &[u8] = &[1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    /// 24 bytes with the first: the length counts units of 4, less 2 (RFC 4302).
    const AUTHENTICATOR: &[u8] = &[
        4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9,
    ];

    /// Found by comparison with etherparse: the inner header said "whole" and was believed.
    #[test]
    fn a_fragment_of_a_fragment_stays_one() {
        let (first, whole) = ([0, 0, 1, 0, 0, 0, 7], [0, 0, 0, 0, 0, 0, 8]);
        let packet = chain(&[(FRAGMENT, &first), (FRAGMENT, &whole)], 17, &UDP);
        assert_eq!(parse_packet(&packet).unwrap().fragment, Fragment::First);
    }

    #[test]
    fn every_field_has_its_value() {
        let packet = parse_packet(&scene::ipv6(WEB.v6, DB.v6, 17, &UDP)).unwrap();
        assert_eq!(packet.kind, Kind::Ipv6);
        assert_eq!(packet.ip_source, Ip::from(WEB.v6));
        assert_eq!(packet.ip_destination, Ip::from(DB.v6));
        assert_eq!((packet.ttl, packet.protocol), (255, 17));
        assert_eq!(packet.fragment, Fragment::Whole);
        assert_eq!(packet.payload, Span { start: 54, len: 8 });
        assert_eq!(packet.transport.kind, TransportKind::Ports);
        assert_eq!(packet.transport.source, 0x1234);
        assert_eq!(packet.transport.destination, 0x5678);
    }

    #[test]
    fn extension_headers_are_followed_whatever_their_order() {
        let all: &[(u8, &[u8])] = &[
            (HOP_BY_HOP, OPTIONS),
            (DESTINATION_OPTIONS, LONG_OPTIONS),
            (ROUTING, OPTIONS),
            (FRAGMENT, &[0, 0, 0, 0, 0, 0, 7]),
            (AUTHENTICATION, AUTHENTICATOR),
            (MOBILITY, OPTIONS),
            (DESTINATION_OPTIONS, OPTIONS),
        ];
        let mut start = 54;
        for count in 0..=all.len() {
            for headers in [
                all[..count].to_vec(),
                all[..count].iter().rev().copied().collect(),
            ] {
                let packet = parse_packet(&chain(&headers, 17, &UDP)).unwrap();
                assert_eq!(packet.payload, Span { start, len: 8 }, "{headers:?}");
                assert_eq!(packet.protocol, 17);
                let last = headers
                    .last()
                    .map_or(34, |(_, header)| 1 + header.len() as u32);
                let expected = if headers.is_empty() { 20 } else { start - last };
                assert_eq!(packet.protocol_at, expected);
                assert_eq!(packet.transport.destination, 0x5678);
            }
            start += all
                .get(count)
                .map_or(0, |(_, header)| 1 + header.len() as u32);
        }
    }

    #[test]
    fn more_extension_headers_than_there_are_kinds_are_malformed() {
        let seven = [(DESTINATION_OPTIONS, OPTIONS); 7];
        assert!(parse_packet(&chain(&seven, 17, &UDP)).is_ok());
        let eight = [(DESTINATION_OPTIONS, OPTIONS); 8];
        let refused = parse_packet(&chain(&eight, 17, &UDP));
        assert_eq!(refused, Err(DropReason::MalformedIpv6));
    }

    #[test]
    fn a_header_that_leaves_the_packet_is_malformed() {
        let malformed = Err(DropReason::MalformedIpv6);
        for (kind, units) in [(HOP_BY_HOP, 1), (ROUTING, 255), (AUTHENTICATION, 3)] {
            let packet = chain(&[(kind, &[units, 0, 0, 0, 0, 0, 0])], 17, &UDP[..7]);
            assert_eq!(parse_packet(&packet), malformed, "{kind}");
        }
        // The frame's padding is not part of the packet.
        let mut packet = chain(&[(HOP_BY_HOP, OPTIONS)], 17, &UDP);
        packet[5] = 7;
        assert_eq!(parse_packet(&packet), malformed);
        packet[5] = 0;
        assert_eq!(parse_packet(&packet), malformed);
    }

    #[test]
    fn fragments_are_told_apart() {
        for (field, fragment, kind) in [
            ([0, 0], Fragment::Whole, TransportKind::Ports),
            ([0, 1], Fragment::First, TransportKind::Ports),
            ([0, 8], Fragment::Later, TransportKind::Absent),
            ([0xff, 0xf9], Fragment::Later, TransportKind::Absent),
        ] {
            let header = [0, field[0], field[1], 0, 0, 0, 7];
            let packet = chain(&[(FRAGMENT, &header)], 17, &UDP);
            let packet = parse_packet(&packet).unwrap();
            assert_eq!((packet.fragment, packet.transport.kind), (fragment, kind));
        }
    }

    #[test]
    fn behind_a_later_fragments_header_is_data() {
        // What would be read as an extension header beyond the packet is somebody's data.
        let header = [0, 0, 8, 0, 0, 0, 7];
        let packet = chain(&[(FRAGMENT, &header)], DESTINATION_OPTIONS, &[255; 8]);
        let packet = parse_packet(&packet).unwrap();
        assert_eq!(packet.fragment, Fragment::Later);
        assert_eq!(packet.resolution.message, Message::None);
    }

    #[test]
    fn nothing_may_follow() {
        let packet = parse_packet(&scene::ipv6(WEB.v6, DB.v6, NO_NEXT_HEADER, &[])).unwrap();
        assert_eq!(packet.payload, Span { start: 54, len: 0 });
    }

    #[test]
    fn contradictions_are_malformed() {
        let malformed = Err(DropReason::MalformedIpv6);
        let packet = scene::ipv6(WEB.v6, DB.v6, 17, &UDP);
        for len in 0..packet.len() {
            assert_eq!(parse_packet(&packet[..len]), malformed, "{len}");
        }
        let mut version = packet.clone();
        version[0] = 0x40;
        assert_eq!(parse_packet(&version), malformed);
        let mut long = packet;
        long[5] = 9;
        assert_eq!(parse_packet(&long), malformed);
    }

    #[test]
    fn beyond_64_kib_the_length_field_is_zero() {
        let mut packet = scene::ipv6(WEB.v6, DB.v6, 17, &UDP);
        packet.resize(40 + 65_536, 0);
        packet[4..6].copy_from_slice(&[0, 0]);
        assert_eq!(parse_packet(&packet).unwrap().payload.len, 65_536);
        packet.truncate(40 + 65_535);
        assert_eq!(parse_packet(&packet).unwrap().payload.len, 0);
    }
}
