//! What a TCP segment is answered with that is for nobody (RFC 9293 section 3.10.7.1).

use crate::frame::Frame;
use crate::parse::{Fragment, Packet, TransportKind};

/// Length of a header without options, in bytes.
pub const HEADER_LEN: u32 = 20;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// A reset: the numbers are in host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reset {
    /// Its sequence number.
    pub sequence: u32,
    /// What it acknowledges; 0 if its flags say that it does not.
    pub acknowledgment: u32,
    /// Its control bits.
    pub flags: u8,
}

/// The reset that answers a segment; nothing if the segment is a reset itself, or cannot be read whole.
/// Its checksum is not verified: segments that offload has left to the last interface have none yet.
#[inline(always)]
pub fn reset<F: Frame>(frame: &F, packet: &Packet) -> Option<Reset> {
    if !matches!(packet.fragment, Fragment::Whole)
        || !matches!(packet.transport.kind, TransportKind::Ports)
    {
        return None;
    }
    let [sequence, acknowledgment, rest] = frame.load::<[u32; 3]>(packet.payload.start + 4).ok()?;
    let [offset, flags, _, _] = rest.to_ne_bytes();
    let header_len = u32::from(offset >> 4) * 4;
    if flags & RST != 0 || header_len < HEADER_LEN || header_len > packet.payload.len {
        return None;
    }
    if flags & ACK != 0 {
        return Some(Reset {
            sequence: u32::from_be(acknowledgment),
            acknowledgment: 0,
            flags: RST,
        });
    }
    // The beginning and the end of a connection count like a byte each.
    let controls = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
    let len = packet.payload.len - header_len + controls;
    Some(Reset {
        sequence: 0,
        acknowledgment: u32::from_be(sequence).wrapping_add(len),
        flags: RST | ACK,
    })
}
