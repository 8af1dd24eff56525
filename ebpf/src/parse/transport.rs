//! Transport headers: TCP (RFC 9293), UDP (RFC 768), ICMP (RFC 792) and ICMPv6 (RFC 4443).

use super::{Fragment, Packet, Transport, TransportKind};
use crate::frame::Short;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

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
