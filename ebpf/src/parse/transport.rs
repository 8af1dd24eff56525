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

/// Parses the transport header, of which `head` is the first four bytes.
#[inline(always)]
pub(super) fn parse(head: Result<[u16; 2], Short>, packet: &mut Packet) {
    let Ok([first, second]) = head else {
        return;
    };
    if matches!(packet.fragment, Fragment::Later) {
        return;
    }
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
