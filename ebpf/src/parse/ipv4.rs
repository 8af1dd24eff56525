//! IPv4 (RFC 791) with options and fragments.

use maps_schema::{DropReason, Ip};

use super::ethernet::HEADER_LEN;
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
pub(super) fn parse<F: Frame>(frame: &F, packet: &mut Packet) -> Result<(), DropReason> {
    let malformed = DropReason::MalformedIpv4;
    let [w0, w1, w2, source, destination] = frame
        .fixed::<HEADER_LEN, [u32; 5]>()
        .map_err(|_short| malformed)?;
    let [first, _tos, l0, l1] = w0.to_ne_bytes();
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
    packet.kind = Kind::Ipv4;
    packet.ip_source = Ip::v4_from_word(source);
    packet.ip_destination = Ip::v4_from_word(destination);
    packet.ttl = ttl;
    packet.protocol = protocol;
    packet.fragment = Fragment::new(field & FRAGMENT_OFFSET == 0, field & MORE_FRAGMENTS != 0);
    packet.payload = Span {
        start: HEADER_LEN as u32 + header_len,
        len: total_len - header_len,
    };
    let head = match header_len as usize {
        MIN_HEADER_LEN => Head::from(frame.fixed::<{ HEADER_LEN + MIN_HEADER_LEN }, [u16; 2]>()),
        _with_options => Head::from(frame.load(packet.payload.start)),
    };
    transport::parse(&head, packet);
    Ok(())
}
