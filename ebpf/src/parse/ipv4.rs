//! IPv4 (RFC 791) with options and fragments.

use maps_schema::{DropReason, Ip};

use super::ethernet::{Ethernet, HEADER_LEN};
use super::transport::{self, Head};
use super::{Fragment, Kind, Packet, Span};
use crate::frame::Frame;

/// Length of a header without options, in bytes.
pub const MIN_HEADER_LEN: usize = 20;

/// "More fragments" in the flags-and-offset field.
const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment's offset in that field.
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// Parses the header, its length fields, and the transport header behind it.
///
/// # Errors
/// [`DropReason::MalformedIpv4`] if the header is cut short, has another version, a length below 20
/// bytes, or promises more bytes than the frame has.
#[inline(always)]
pub(super) fn parse<'a, F: Frame>(
    frame: &F,
    ethernet: &Ethernet,
    out: &'a mut Packet,
) -> Result<&'a mut Packet, DropReason> {
    let malformed = DropReason::MalformedIpv4;
    let [w0, w1, w2, source, destination] = frame
        .fixed::<HEADER_LEN, [u32; 5]>()
        .map_err(|_short| malformed)?;
    let [first, traffic_class, l0, l1] = w0.to_ne_bytes();
    let [_, _, f0, f1] = w1.to_ne_bytes();
    let [ttl, protocol, _, _] = w2.to_ne_bytes();
    let header_len = u32::from(first & 0x0f) * 4;
    let available = frame.len().saturating_sub(HEADER_LEN as u32);
    // A packet beyond 64 KiB that segmentation offload left whole ("BIG TCP", since Linux 6.3) has 0
    // in its length field.
    let total_len = match u32::from(u16::from_be_bytes([l0, l1])) {
        0 if available > u32::from(u16::MAX) => available,
        total_len => total_len,
    };
    if first >> 4 != 4
        || header_len < MIN_HEADER_LEN as u32
        || total_len < header_len
        || total_len > available
    {
        return Err(malformed);
    }
    let field = u16::from_be_bytes([f0, f1]);
    *out = Packet {
        kind: Kind::Ipv4,
        ip_source: Ip::v4_from_word(source),
        ip_destination: Ip::v4_from_word(destination),
        ttl,
        traffic_class,
        protocol,
        protocol_at: HEADER_LEN as u32 + 9,
        fragment: Fragment::new(field & FRAGMENT_OFFSET == 0, field & MORE_FRAGMENTS != 0),
        payload: Span {
            start: HEADER_LEN as u32 + header_len,
            len: total_len - header_len,
        },
        ..Packet::opaque(ethernet)
    };
    let packet = out;
    let head = match header_len as usize {
        MIN_HEADER_LEN => Head::from(frame.fixed::<{ HEADER_LEN + MIN_HEADER_LEN }, [u16; 2]>()),
        _with_options => Head::from(frame.load(packet.payload.start)),
    };
    transport::parse(&head, packet);
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryFrame;
    use crate::memory::parse as parse_frame;
    use crate::parse::{Transport, TransportKind};
    use crate::scene::{self, DB, UDP, WEB, ethernet};

    fn parse_packet(packet: &[u8]) -> Result<Packet, DropReason> {
        let wire = ethernet(DB.mac, WEB.mac, 0x0800, packet);
        parse_frame(&MemoryFrame::from_wire(&wire))
    }

    fn udp() -> Vec<u8> {
        scene::ipv4(WEB.v4, DB.v4, 17, &UDP)
    }

    #[test]
    fn every_field_has_its_value() {
        let packet = parse_packet(&udp()).unwrap();
        assert_eq!(packet.kind, Kind::Ipv4);
        assert_eq!(packet.ip_source, Ip::from(WEB.v4));
        assert_eq!(packet.ip_destination, Ip::from(DB.v4));
        assert_eq!((packet.ttl, packet.protocol), (64, 17));
        assert_eq!(packet.fragment, Fragment::Whole);
        assert_eq!(packet.payload, Span { start: 34, len: 8 });
        let ports = Transport {
            kind: TransportKind::Ports,
            source: 0x1234,
            destination: 0x5678,
        };
        assert_eq!(packet.transport, ports);
    }

    #[test]
    fn options_are_skipped() {
        for units in 6..=15_u8 {
            let mut packet = udp();
            let options = vec![1; usize::from(units - 5) * 4];
            packet.splice(20..20, options);
            packet[0] = 0x40 | units;
            let [l0, l1] = (packet.len() as u16).to_be_bytes();
            packet[2..4].copy_from_slice(&[l0, l1]);
            let packet = parse_packet(&packet).unwrap();
            assert_eq!(packet.payload.start, 14 + u32::from(units) * 4);
            assert_eq!(packet.payload.len, 8);
            assert_eq!(packet.transport.source, 0x1234);
        }
    }

    #[test]
    fn fragments_are_told_apart() {
        let ports = TransportKind::Ports;
        for (field, fragment, kind) in [
            ([0x00, 0], Fragment::Whole, ports),
            ([0x40, 0], Fragment::Whole, ports),
            ([0x20, 0], Fragment::First, ports),
            ([0x20, 1], Fragment::Later, TransportKind::Absent),
            ([0x1f, 0xff], Fragment::Later, TransportKind::Absent),
        ] {
            let mut packet = udp();
            packet[6..8].copy_from_slice(&field);
            let packet = parse_packet(&packet).unwrap();
            assert_eq!((packet.fragment, packet.transport.kind), (fragment, kind));
        }
    }

    #[test]
    fn padding_is_no_payload() {
        let packet = [&udp() as &[u8], &[0xa5; 18]].concat();
        assert_eq!(parse_packet(&packet).unwrap().payload.len, 8);
    }

    #[test]
    fn contradictions_are_malformed() {
        let malformed = Err(DropReason::MalformedIpv4);
        let changed = |at: usize, bytes: &[u8]| {
            let mut packet = udp();
            packet[at..at + bytes.len()].copy_from_slice(bytes);
            parse_packet(&packet)
        };
        assert_eq!(changed(0, &[0x65]), malformed, "another version");
        for ihl in 0..5 {
            assert_eq!(changed(0, &[0x40 | ihl]), malformed, "a header too short");
        }
        assert_eq!(changed(0, &[0x48]), malformed, "a header beyond the packet");
        assert_eq!(
            changed(2, &[0, 19]),
            malformed,
            "a packet within its header"
        );
        assert_eq!(changed(2, &[0, 29]), malformed, "a packet beyond the frame");
        assert_eq!(
            changed(2, &[0, 0]),
            malformed,
            "no length, but no room for more"
        );
        for len in 0..28 {
            assert_eq!(parse_packet(&udp()[..len]), malformed, "{len}");
        }
    }

    #[test]
    fn beyond_64_kib_the_length_field_is_zero() {
        let mut packet = udp();
        packet.resize(20 + 65_535, 0);
        packet[2..4].copy_from_slice(&[0, 0]);
        let parsed = parse_packet(&packet).unwrap();
        assert_eq!(parsed.payload.len, 65_535);
        packet.truncate(65_535);
        assert_eq!(parse_packet(&packet), Err(DropReason::MalformedIpv4));
    }

    #[test]
    fn a_packet_may_end_before_its_transport_header_does() {
        for len in 0..8 {
            let packet = scene::ipv4(WEB.v4, DB.v4, 17, &UDP[..len]);
            let packet = parse_packet(&packet).unwrap();
            assert_eq!(packet.transport.kind, TransportKind::Absent, "{len}");
        }
    }
}
