//! What TCP segments say, and what one is answered with that is for nobody (RFC 9293 section 3.10.7.1).

use crate::frame::Frame;
use crate::parse::{Fragment, Packet, TransportKind};

/// Length of a header without options, in bytes.
pub const HEADER_LEN: u32 = 20;

/// Control bit: the sender has nothing more to say.
pub const FIN: u8 = 0x01;
/// Control bit: a connection begins.
pub const SYN: u8 = 0x02;
/// Control bit: the connection is no more.
pub const RST: u8 = 0x04;
/// Control bit: the segment acknowledges something.
pub const ACK: u8 = 0x10;

/// What a segment says. Numbers are in host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Its sequence number.
    pub sequence: u32,
    /// The sequence number behind it.
    pub end: u32,
    /// What it acknowledges.
    pub acknowledgment: u32,
    /// Its control bits.
    pub flags: u8,
}

impl Segment {
    /// A segment that says nothing.
    pub const NONE: Self = Self {
        sequence: 0,
        end: 0,
        acknowledgment: 0,
        flags: 0,
    };
}

/// Reads a whole segment; nothing if it is cut short or contradicts itself.
#[inline(always)]
pub fn read<F: Frame>(frame: &F, packet: &Packet) -> Option<Segment> {
    if !matches!(packet.fragment, Fragment::Whole)
        || !matches!(packet.transport.kind, TransportKind::Ports)
    {
        return None;
    }
    let [sequence, acknowledgment, rest] = frame.load::<[u32; 3]>(packet.payload.start + 4).ok()?;
    let [offset, flags, _, _] = rest.to_ne_bytes();
    let header_len = u32::from(offset >> 4) * 4;
    if header_len < HEADER_LEN || header_len > packet.payload.len {
        return None;
    }
    // The beginning and the end of a connection count like a byte each.
    let controls = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
    let len = packet.payload.len - header_len + controls;
    let sequence = u32::from_be(sequence);
    Some(Segment {
        sequence,
        end: sequence.wrapping_add(len),
        acknowledgment: u32::from_be(acknowledgment),
        flags,
    })
}

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
    let segment = read(frame, packet)?;
    if segment.flags & RST != 0 {
        return None;
    }
    if segment.flags & ACK != 0 {
        return Some(Reset {
            sequence: segment.acknowledgment,
            acknowledgment: 0,
            flags: RST,
        });
    }
    Some(Reset {
        sequence: 0,
        acknowledgment: segment.end,
        flags: RST | ACK,
    })
}
