//! The maximum segment size of TCP connections.
//!
//! A segment that begins a connection says how much each segment in the other direction may carry
//! (RFC 9293 section 3.7.1). Who lowers that on the way spares the connection the discovery of the
//! path's MTU, which fails where ICMP is filtered.

use core::ops::ControlFlow;

use super::replace;
use crate::frame::{Checksum, Frame, Refused, Step};
use crate::parse::{Fragment, Kind, Packet, TransportKind, ipv4, ipv6, transport};
use crate::tcp::{HEADER_LEN, SYN};

/// Where the checksum is in the header.
const CHECKSUM: u32 = 16;
/// Where the data offset and the flags are.
const OFFSET_AND_FLAGS: u32 = 12;

/// The kinds of options that are of interest (RFC 9293 section 3.1).
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
/// Length of that option, in bytes.
const OPTION_LEN: u32 = 4;
/// As many options as there can be before one of this length.
const OPTIONS_MAX: u32 = 40 - OPTION_LEN + 1;

/// Lowers the maximum segment size that a TCP segment speaks of, if it does, to what fits a packet of
/// `mtu` bytes without options (RFC 6691 section 3).
///
/// # Errors
/// [`Refused`] if the kernel cannot make the frame's bytes writable.
#[inline(never)]
pub fn clamp<F: Frame>(frame: &mut F, packet: &Packet, mtu: u32) -> Result<(), Refused> {
    if !matches!(packet.fragment, Fragment::Whole)
        || !matches!(packet.transport.kind, TransportKind::Ports)
        || packet.protocol != transport::TCP
    {
        return Ok(());
    }
    let start = packet.payload.start;
    let Ok([offset, flags]) = frame.load::<[u8; 2]>(start + OFFSET_AND_FLAGS) else {
        return Ok(());
    };
    let header_len = u32::from(offset >> 4) * 4;
    // Only segments that begin a connection have the option.
    if flags & SYN == 0 || header_len > packet.payload.len {
        return Ok(());
    }
    let mut search = Search {
        frame,
        at: start + HEADER_LEN,
        end: start + header_len,
        size_at: 0,
    };
    F::repeat(OPTIONS_MAX, &mut search);
    let size_at = search.size_at;
    if size_at == 0 {
        return Ok(());
    }
    let Ok(old) = frame.load::<u16>(size_at) else {
        return Ok(());
    };
    let ip_len = match packet.kind {
        Kind::Ipv4 => ipv4::MIN_HEADER_LEN,
        _ => ipv6::HEADER_LEN,
    };
    let limit = mtu.saturating_sub(ip_len as u32 + HEADER_LEN);
    if u32::from(u16::from_be(old)) <= limit {
        return Ok(());
    }
    // Not larger than what 16 bits hold: it is less than `old`.
    let checksum = Checksum {
        at: start + CHECKSUM,
        is_optional: false,
    };
    replace(frame, checksum, size_at, old, (limit as u16).to_be())
}

/// A position among the options.
struct Search<'a, F> {
    frame: &'a F,
    at: u32,
    end: u32,
    /// Where the size is; 0 until it is found.
    size_at: u32,
}

impl<F: Frame> Step for Search<'_, F> {
    #[inline(always)]
    fn step(&mut self, _idx: u32) -> ControlFlow<()> {
        if self.at + OPTION_LEN > self.end {
            return ControlFlow::Break(());
        }
        let Ok([kind, len]) = self.frame.load::<[u8; 2]>(self.at) else {
            return ControlFlow::Break(());
        };
        match (kind, len) {
            (NO_OPERATION, _) => self.at += 1,
            (MAXIMUM_SEGMENT_SIZE, 4) => {
                self.size_at = self.at + 2;
                return ControlFlow::Break(());
            }
            (END, _) | (_, 0 | 1) => return ControlFlow::Break(()),
            (_, len) => self.at += u32::from(len),
        }
        ControlFlow::Continue(())
    }
}
