//! Ethernet II (IEEE 802.3-2022, 3.1.1) and VLAN tags (IEEE 802.1Q-2022, 9.3).

use maps_schema::{DropReason, Mac};

use super::Packet;
use crate::frame::Frame;

/// EtherType of IPv4 (RFC 894).
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP (RFC 826).
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6 (RFC 2464).
pub const IPV6: u16 = 0x86dd;
/// EtherType of a customer VLAN tag (IEEE 802.1Q-2022, table 9-1).
pub const CUSTOMER_TAG: u16 = 0x8100;
/// EtherType of a service VLAN tag (IEEE 802.1Q-2022, table 9-1).
pub const SERVICE_TAG: u16 = 0x88a8;

/// Length of the header in bytes. The outermost tag is never among the frame's bytes, so whatever
/// the datapath looks into begins here.
pub const HEADER_LEN: usize = 14;
/// The bits of the tag control information that are the VLAN's number; the others are priority.
const VID_MASK: u16 = 0x0fff;

/// Parses the header and its tags; returns the EtherType of what follows.
///
/// A tag with VLAN 0 carries a priority only: such a frame belongs to no VLAN, and receivers take it
/// as untagged (IEEE 802.1Q-2022, 6.9.1).
///
/// # Errors
/// [`DropReason::TruncatedEthernet`], or [`DropReason::NestedPriorityTag`] if a tag without a VLAN
/// hides what it is wrapped around: receivers would look behind it.
#[inline(always)]
pub(super) fn parse<F: Frame>(frame: &F) -> Result<(Packet, u16), DropReason> {
    let truncated = DropReason::TruncatedEthernet;
    let [d0, d1, d2, s0, s1, s2, ethertype] =
        frame.fixed::<0, [u16; 7]>().map_err(|_short| truncated)?;
    let ethertype = u16::from_be(ethertype);
    let mut vlan = frame.outer_tag().unwrap_or(0) & VID_MASK;
    if matches!(ethertype, CUSTOMER_TAG | SERVICE_TAG) && vlan == 0 {
        let tci = frame
            .fixed::<HEADER_LEN, u16>()
            .map_err(|_short| truncated)?;
        vlan = u16::from_be(tci) & VID_MASK;
        if vlan == 0 {
            return Err(DropReason::NestedPriorityTag);
        }
    }
    let destination = Mac::from_words([d0, d1, d2]);
    let source = Mac::from_words([s0, s1, s2]);
    Ok((Packet::opaque(destination, source, vlan), ethertype))
}
