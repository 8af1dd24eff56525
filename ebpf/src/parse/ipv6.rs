//! IPv6 and its extension headers (RFC 8200).

use core::ops::ControlFlow;

use maps_schema::{DropReason, Ip};

use super::ethernet::HEADER_LEN as ETHERNET_LEN;
use super::transport::{self, Head};
use super::{Fragment, Kind, Packet, Span, discovery};
use crate::frame::{Frame, Step};

/// Length of the fixed header in bytes.
pub const HEADER_LEN: usize = 40;

/// How many extension headers the datapath follows. RFC 8200 section 4.1 has seven kinds, each at
/// most once but for one; what is longer is either an error or an attempt to hide something.
const MAX_EXTENSIONS: u32 = 7;

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
pub(super) fn parse<F: Frame>(frame: &F, packet: &mut Packet) -> Result<(), DropReason> {
    let malformed = DropReason::MalformedIpv6;
    let [w0, w1, s0, s1, s2, s3, d0, d1, d2, d3] = frame
        .fixed::<ETHERNET_LEN, [u32; 10]>()
        .map_err(|_short| malformed)?;
    let [first, ..] = w0.to_ne_bytes();
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
    packet.kind = Kind::Ipv6;
    packet.ip_source = Ip::from_words([s0, s1, s2, s3]);
    packet.ip_destination = Ip::from_words([d0, d1, d2, d3]);
    packet.ttl = hop_limit;
    packet.protocol = next_header;
    packet.payload = Span {
        start: (ETHERNET_LEN + HEADER_LEN) as u32,
        len,
    };
    let head = if is_extension(next_header) {
        follow(frame, packet)?;
        Head::from(frame.load(packet.payload.start))
    } else {
        Head::from(frame.fixed::<{ ETHERNET_LEN + HEADER_LEN }, [u16; 2]>())
    };
    transport::parse(&head, packet);
    discovery::parse(frame, packet)
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
        fragment: packet.fragment,
        rest: packet.payload,
        complete: false,
    };
    F::repeat(MAX_EXTENSIONS, &mut chain);
    packet.protocol = chain.protocol;
    packet.fragment = chain.fragment;
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
    fragment: Fragment,
    /// What follows.
    rest: Span,
    /// Whether the end of the chain was reached.
    complete: bool,
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
                self.fragment = Fragment::new(field >> 3 == 0, field & 1 != 0);
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
        self.rest = Span {
            start: self.rest.start + len,
            len: self.rest.len - len,
        };
        // Behind the header of a later fragment there is data, whatever its first byte looks like.
        if is_extension(next) && !matches!(self.fragment, Fragment::Later) {
            return ControlFlow::Continue(());
        }
        self.complete = true;
        ControlFlow::Break(())
    }
}
