//! A packet as it leaves the last router.

use maps_schema::Mac;

use super::{L3, write_macs};
use crate::checksum;
use crate::frame::{Frame, Refused};
use crate::parse::{Kind, Packet, ethernet};

/// Where the time to live is in an IPv4 packet; protocol and checksum follow.
const IPV4_TTL: u32 = 8;
/// Where the hop limit is in an IPv6 packet.
const IPV6_HOP_LIMIT: u32 = 7;

/// Writes the MAC addresses of the last link, and counts the routers that were passed off the time to
/// live (RFC 1812 section 5.3.1), which the caller knows to be larger.
///
/// # Errors
/// [`Refused`] if the kernel cannot make the frame's bytes writable.
#[inline(always)]
pub fn write<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    destination: Mac,
    source: Mac,
    hops: u32,
) -> Result<(), Refused> {
    write_macs(frame, destination, source)?;
    write_ttl(frame, packet, packet.ttl.wrapping_sub(hops as u8))
}

/// Writes the time to live and the checksum that follows from it (RFC 1624).
#[inline(always)]
pub(super) fn write_ttl<F: Frame>(frame: &mut F, packet: &Packet, ttl: u8) -> Result<(), Refused> {
    if !matches!(packet.kind, Kind::Ipv4) {
        return frame.store(L3 + IPV6_HOP_LIMIT, &ttl);
    }
    let [old, checksum] = frame
        .fixed::<{ ethernet::HEADER_LEN + IPV4_TTL as usize }, [u16; 2]>()
        .map_err(|_short| Refused)?;
    let [_, protocol] = old.to_ne_bytes();
    let new = u16::from_ne_bytes([ttl, protocol]);
    frame.store(L3 + IPV4_TTL, &[new, checksum::update(checksum, old, new)])
}
