//! The TCP reset.

use maps_schema::Ip;

use super::ip::Header;
use super::{L3, write_macs};
use crate::checksum;
use crate::frame::{Frame, Refused};
use crate::parse::{Kind, Packet, ipv4, ipv6, transport};
use crate::tcp::{HEADER_LEN, Reset};

/// Type of service of resets: none.
const TOS: u8 = 0;
/// The data offset of a header without options.
const OFFSET: u8 = (HEADER_LEN as u8 / 4) << 4;

/// Turns a TCP segment into the reset that answers it, and sends it back to where it came from, as if
/// `source` had made it.
///
/// # Errors
/// [`Refused`] if the kernel cannot make the frame's bytes writable.
#[inline(always)]
pub fn write_reset<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    source: Ip,
    reset: &Reset,
) -> Result<(), Refused> {
    // Up to the end of the segment's own header, for the kernel cuts off nothing that it has noted the
    // place of. Where that had options before it, what is left of them pads the frame.
    frame.resize(packet.payload.start + HEADER_LEN)?;
    write_macs(frame, packet.source, packet.destination)?;
    let header = Header {
        source,
        destination: packet.ip_source,
        protocol: transport::TCP,
        len: HEADER_LEN,
    };
    let is_v4 = matches!(packet.kind, Kind::Ipv4);
    let start = if is_v4 {
        header.write_v4(frame, TOS)?;
        L3 + ipv4::MIN_HEADER_LEN as u32
    } else {
        header.write_v6(frame)?;
        L3 + ipv6::HEADER_LEN as u32
    };
    let ([s0, s1], [d0, d1]) = (
        packet.transport.destination.to_be_bytes(),
        packet.transport.source.to_be_bytes(),
    );
    let ports = u32::from_ne_bytes([s0, s1, d0, d1]);
    let (sequence, acknowledgment) = (reset.sequence.to_be(), reset.acknowledgment.to_be());
    // No window: nothing is to follow.
    let control = u32::from_ne_bytes([OFFSET, reset.flags, 0, 0]);
    let sum = checksum::sum32(&[ports, sequence, acknowledgment, control]);
    let checksum = checksum::finish(sum + header.pseudo_sum(is_v4));
    frame.store(start, &[ports, sequence, acknowledgment, control])?;
    frame.store(start + 16, &[checksum, 0_u16])
}
