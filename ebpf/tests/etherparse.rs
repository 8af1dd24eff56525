//! The parser against another one: whatever frame etherparse understands, the datapath reads the same
//! from it.

use datapath::memory::{MemoryFrame, parse};
use datapath::parse::{Fragment, Kind, Packet, Span, TransportKind};
use etherparse::{
    IpAuthHeader, IpFragOffset, IpNumber, IpPayloadSlice, Ipv4Header, Ipv4Slice,
    Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, Ipv6Slice, PacketBuilder, UdpHeaderSlice,
};
use maps_schema::{DropReason, Ip, Mac};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Protocol number of the mobility header (RFC 6275 section 6.1).
const MOBILITY: u8 = 135;
const TO: [u8; 6] = [2, 0, 0, 0, 0, 20];
const FROM: [u8; 6] = [2, 0, 0, 0, 0, 10];

fn parse_wire(wire: &[u8]) -> Result<Packet, DropReason> {
    parse(&MemoryFrame::from_wire(wire))
}

/// What etherparse reads from an IP packet.
struct Expected {
    kind: Kind,
    source: Ip,
    destination: Ip,
    ttl: u8,
    protocol: u8,
    fragmented: bool,
    payload: Span,
    /// The transport protocol's ports, or type and code.
    transport: Option<(u16, u16)>,
}

/// What etherparse reads from an untagged frame; nothing if it refuses it or means something else.
fn expected(wire: &[u8]) -> Option<Expected> {
    let (head, packet) = wire.split_at_checked(14)?;
    let (kind, source, destination, ttl, payload) = match head.get(12..)? {
        [0x08, 0x00] => {
            let slice = Ipv4Slice::from_slice(packet).ok()?;
            let header = slice.header();
            // To etherparse an authentication header is part of IPv4's.
            if slice.extensions().auth.is_some() {
                return None;
            }
            let source = Ip::from(header.source_addr());
            let destination = Ip::from(header.destination_addr());
            (
                Kind::Ipv4,
                source,
                destination,
                header.ttl(),
                slice.payload().clone(),
            )
        }
        [0x86, 0xdd] => {
            let slice = Ipv6Slice::from_slice(packet).ok()?;
            let header = slice.header();
            // To etherparse a length of 0 means all that there is.
            if header.payload_length() == 0 {
                return None;
            }
            let source = Ip::from(header.source_addr());
            let destination = Ip::from(header.destination_addr());
            (
                Kind::Ipv6,
                source,
                destination,
                header.hop_limit(),
                slice.payload().clone(),
            )
        }
        _ => return None,
    };
    let IpPayloadSlice {
        ip_number,
        payload: bytes,
        fragmented,
        ..
    } = payload;
    let transport = match ip_number {
        IpNumber::TCP | IpNumber::UDP => UdpHeaderSlice::from_slice(bytes)
            .ok()
            .map(|header| (header.source_port(), header.destination_port())),
        IpNumber::ICMP | IpNumber::IPV6_ICMP => match bytes {
            [kind, code, _, _, ..] => Some((u16::from(*kind), u16::from(*code))),
            _ => None,
        },
        _ => None,
    };
    Some(Expected {
        kind,
        source,
        destination,
        ttl,
        protocol: ip_number.0,
        fragmented,
        payload: Span {
            start: (bytes.as_ptr() as usize - wire.as_ptr() as usize) as u32,
            len: bytes.len() as u32,
        },
        transport,
    })
}

/// Compares the two parsers; tells whether there was something to compare.
fn check(wire: &[u8]) -> Result<bool, TestCaseError> {
    let Some(expected) = expected(wire) else {
        return Ok(false);
    };
    let packet = match parse_wire(wire) {
        Ok(packet) => packet,
        // The datapath is stricter about the number of extension headers and neighbor discovery.
        Err(DropReason::MalformedIpv6) => return Ok(false),
        Err(reason) => return Err(TestCaseError::fail(format!("{reason:?}"))),
    };
    if expected.protocol == MOBILITY {
        // etherparse does not look behind a mobility header; the datapath does, so that nothing can
        // hide there from its checks.
        return Ok(true);
    }
    prop_assert_eq!(packet.kind, expected.kind);
    prop_assert_eq!(packet.ip_source, expected.source);
    prop_assert_eq!(packet.ip_destination, expected.destination);
    prop_assert_eq!(packet.ttl, expected.ttl);
    prop_assert_eq!(packet.fragment != Fragment::Whole, expected.fragmented);
    let transport = (packet.transport.kind != TransportKind::Absent)
        .then_some((packet.transport.source, packet.transport.destination));
    if packet.fragment == Fragment::Later {
        prop_assert_eq!(transport, None);
        // etherparse takes a later fragment's data for what its first bytes look like.
        return Ok(true);
    }
    prop_assert_eq!(packet.protocol, expected.protocol);
    prop_assert_eq!(packet.payload, expected.payload);
    prop_assert_eq!(transport, expected.transport);
    Ok(true)
}

/// An Ethernet header in front of an IP packet.
fn frame(ethertype: u16, packet: Vec<u8>) -> Vec<u8> {
    [&TO as &[u8], &FROM, &ethertype.to_be_bytes(), &packet].concat()
}

prop_compose! {
    fn ipv4_packet()(
        source: [u8; 4],
        destination: [u8; 4],
        ttl: u8,
        protocol in select(vec![1_u8, 6, 17, 2, 47, 58, 132]),
        options in 0..=10_usize,
        offset in select(vec![0_u16, 0, 0, 1, 185]),
        more: bool,
        payload in vec(any::<u8>(), 0..80),
        padding in 0..20_usize,
    ) -> Vec<u8> {
        let mut header = Ipv4Header::new(
            payload.len() as u16, ttl, IpNumber(protocol), source, destination,
        ).unwrap();
        header.options = vec![1; options * 4].as_slice().try_into().unwrap();
        header.set_payload_len(payload.len()).unwrap();
        header.fragment_offset = IpFragOffset::try_new(offset).unwrap();
        header.more_fragments = more;
        let mut packet = header.to_bytes().to_vec();
        packet.extend(payload);
        packet.extend(vec![0xa5; padding]);
        frame(0x0800, packet)
    }
}

/// Extension headers: what they are and how much is in them.
fn extensions() -> impl Strategy<Value = Vec<(u8, u8)>> {
    vec((select(vec![43_u8, 60, 44, 51]), 0..4_u8), 0..8)
}

prop_compose! {
    fn ipv6_packet()(
        source: [u8; 16],
        destination: [u8; 16],
        ttl: u8,
        protocol in select(vec![6_u8, 17, 58, 59, 50, 132]),
        mut chain in extensions(),
        hop_by_hop: bool,
        offset in select(vec![0_u16, 0, 0, 1, 185]),
        more: bool,
        payload in vec(any::<u8>(), 0..80),
        padding in 0..20_usize,
    ) -> Vec<u8> {
        if hop_by_hop {
            chain.insert(0, (0, 0));
        }
        let mut bytes = Vec::new();
        let nexts = chain.iter().skip(1).map(|&(kind, _)| kind).chain([protocol]);
        for (&(kind, units), next) in chain.iter().zip(nexts) {
            bytes.extend(extension(kind, IpNumber(next), units, offset, more));
        }
        bytes.extend(payload);
        let header = Ipv6Header {
            payload_length: bytes.len() as u16,
            next_header: IpNumber(chain.first().map_or(protocol, |&(kind, _)| kind)),
            hop_limit: ttl,
            source,
            destination,
            ..Ipv6Header::default()
        };
        let mut packet = header.to_bytes().to_vec();
        packet.extend(bytes);
        packet.extend(vec![0xa5; padding]);
        frame(0x86dd, packet)
    }
}

fn extension(kind: u8, next: IpNumber, units: u8, offset: u16, more: bool) -> Vec<u8> {
    match kind {
        44 => {
            let offset = IpFragOffset::try_new(offset).unwrap();
            Ipv6FragmentHeader::new(next, offset, more, 7)
                .to_bytes()
                .to_vec()
        }
        51 => {
            let icv = vec![9; usize::from(units) * 4];
            let header = IpAuthHeader::new(next, 1, 1, &icv).unwrap();
            header.to_bytes().to_vec()
        }
        _ => {
            let content = vec![0; usize::from(units) * 8 + 6];
            let header = Ipv6RawExtHeader::new_raw(next, &content).unwrap();
            header.to_bytes().to_vec()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn ipv4_is_read_as_etherparse_reads_it(wire in ipv4_packet()) {
        prop_assert!(check(&wire)?);
    }

    #[test]
    fn ipv6_is_read_as_etherparse_reads_it(wire in ipv6_packet()) {
        check(&wire)?;
    }

    /// Frames with a few bytes changed, which are mostly still frames, and cut off somewhere.
    #[test]
    fn damaged_frames_are_read_as_etherparse_reads_them(
        wire in prop_oneof![ipv4_packet(), ipv6_packet()],
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
    ) {
        let mut wire = wire;
        for (at, byte) in damage {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        check(&wire)?;
        wire.truncate(end.index(wire.len()));
        check(&wire)?;
    }

    /// Nothing is accepted as an IP packet that etherparse finds too short for its headers.
    #[test]
    fn nothing_is_accepted_that_etherparse_refuses_for_its_length(
        wire in prop_oneof![ipv4_packet(), ipv6_packet()],
        damage in vec((14..60_usize, any::<u8>()), 0..4),
    ) {
        let mut wire = wire;
        for (at, byte) in damage {
            if let Some(place) = wire.get_mut(at) {
                *place = byte;
            }
        }
        let Ok(packet) = parse_wire(&wire) else { return Ok(()) };
        let too_short = match packet.kind {
            // An authentication header is no part of IPv4 to the datapath.
            Kind::Ipv4 if packet.protocol != IpNumber::AUTHENTICATION_HEADER.0 => matches!(
                Ipv4Slice::from_slice(&wire[14..]),
                Err(etherparse::err::ipv4::SliceError::Len(_))
            ),
            Kind::Ipv6 if packet.fragment != Fragment::Later => matches!(
                Ipv6Slice::from_slice(&wire[14..]),
                Err(etherparse::err::ipv6::SliceError::Len(_))
            ),
            _ => false,
        };
        prop_assert!(!too_short);
    }

    #[test]
    fn vlan_tags_are_read_as_etherparse_reads_them(outer in 1..4095_u16, inner in 1..4095_u16) {
        let builder = PacketBuilder::ethernet2(FROM, TO)
            .double_vlan(outer.try_into().unwrap(), inner.try_into().unwrap())
            .ipv4([10, 77, 0, 10], [10, 77, 0, 20], 64)
            .udp(1, 2);
        let mut wire = Vec::new();
        builder.write(&mut wire, &[]).unwrap();
        let packet = parse_wire(&wire).unwrap();
        prop_assert_eq!((packet.vlan, packet.kind), (outer, Kind::Opaque));
        prop_assert_eq!(packet.source, Mac::new(FROM));
        prop_assert_eq!(packet.destination, Mac::new(TO));
    }
}

/// Frames that etherparse builds are read as they were meant.
#[test]
fn built_frames_are_read_as_they_were_meant() {
    let (v4, v6) = (Ipv4Addr::new(10, 77, 0, 10), Ipv6Addr::LOCALHOST);
    let ethernet = || PacketBuilder::ethernet2(FROM, TO);
    let mut tcp = Vec::new();
    let builder = ethernet().ipv4(v4.octets(), [10, 77, 0, 20], 61);
    builder
        .tcp(1000, 80, 7, 8)
        .syn()
        .write(&mut tcp, b"hello")
        .unwrap();
    let mut echo = Vec::new();
    let builder = ethernet().ipv6(v6.octets(), [1; 16], 62);
    builder
        .icmpv6_echo_request(1, 2)
        .write(&mut echo, b"hello")
        .unwrap();

    let packet = parse_wire(&tcp).unwrap();
    assert_eq!((packet.ip_source, packet.ttl), (Ip::from(v4), 61));
    assert_eq!(packet.payload, Span { start: 34, len: 25 });
    let transport = packet.transport;
    assert_eq!((transport.source, transport.destination), (1000, 80));

    let packet = parse_wire(&echo).unwrap();
    assert_eq!((packet.ip_source, packet.ttl), (Ip::from(v6), 62));
    assert_eq!(packet.payload, Span { start: 54, len: 13 });
    let transport = packet.transport;
    assert_eq!(transport.kind, TransportKind::Icmp);
    assert_eq!((transport.source, transport.destination), (128, 0));
}
