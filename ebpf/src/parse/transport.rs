//! Transport headers: TCP (RFC 9293), UDP (RFC 768), ICMP (RFC 792) and ICMPv6 (RFC 4443).

use super::{Fragment, Packet, Transport, TransportKind};
use crate::frame::Short;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of GRE.
pub const GRE: u8 = 47;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;
/// "Nothing follows", in IPv6 (RFC 8200 section 4.7).
pub const NO_NEXT_HEADER: u8 = 59;

/// The first four bytes of what may be a transport header. They are zero where there are none: see
/// the module above about values that are not defined.
pub(super) struct Head {
    words: [u16; 2],
    present: bool,
}

impl From<Result<[u16; 2], Short>> for Head {
    #[inline(always)]
    fn from(words: Result<[u16; 2], Short>) -> Self {
        match words {
            Ok(words) => Self {
                words,
                present: true,
            },
            Err(Short) => Self {
                words: [0; 2],
                present: false,
            },
        }
    }
}

/// Parses the transport header.
#[inline(always)]
pub(super) fn parse(head: &Head, packet: &mut Packet) {
    if !head.present || matches!(packet.fragment, Fragment::Later) {
        return;
    }
    let [first, second] = head.words;
    packet.transport = match packet.protocol {
        TCP | UDP if packet.payload.len >= 8 => Transport {
            kind: TransportKind::Ports,
            source: u16::from_be(first),
            destination: u16::from_be(second),
        },
        ICMP | ICMPV6 if packet.payload.len >= 4 => Transport {
            kind: TransportKind::Icmp,
            source: u16::from_be(first) >> 8,
            destination: u16::from_be(first) & 0xff,
        },
        _ => return,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryFrame;
    use crate::memory::parse as parse_frame;
    use crate::scene::{DB, WEB, ethernet, ipv4};

    fn transport(protocol: u8, payload: &[u8]) -> Transport {
        let packet = ipv4(WEB.v4, DB.v4, protocol, payload);
        let wire = ethernet(DB.mac, WEB.mac, 0x0800, &packet);
        parse_frame(&MemoryFrame::from_wire(&wire))
            .unwrap()
            .transport
    }

    #[test]
    fn ports_and_types_are_read() {
        for protocol in [TCP, UDP] {
            let found = transport(protocol, &[0xc0, 0, 0, 80, 0, 0, 0, 0]);
            let expected = Transport {
                kind: TransportKind::Ports,
                source: 0xc000,
                destination: 80,
            };
            assert_eq!(found, expected);
        }
        let expected = Transport {
            kind: TransportKind::Icmp,
            source: 3,
            destination: 4,
        };
        assert_eq!(transport(ICMP, &[3, 4, 0, 0]), expected);
    }

    #[test]
    fn other_protocols_have_no_header_here() {
        for protocol in [0, 2, 47, 50, 132, 255] {
            let found = transport(protocol, &[1; 16]);
            assert_eq!(found.kind, TransportKind::Absent, "{protocol}");
        }
    }
}
