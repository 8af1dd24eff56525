//! Ethernet II (IEEE 802.3-2022, 3.1.1) and VLAN tags (IEEE 802.1Q-2022, 9.3).

use maps_schema::{DropReason, Mac};

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
/// Length of a VLAN tag, in bytes.
pub const TAG_LEN: u32 = 4;
/// The bits of the tag control information that are the VLAN's number; the others are priority.
pub const VID_MASK: u16 = 0x0fff;

/// An Ethernet header and its tags.
#[derive(Clone, Copy)]
pub(super) struct Ethernet {
    pub(super) destination: Mac,
    pub(super) source: Mac,
    pub(super) vlan: u16,
    /// EtherType of what follows.
    pub(super) ethertype: u16,
}

/// Parses the header and its tags.
///
/// A tag with VLAN 0 carries a priority only: such a frame belongs to no VLAN, and receivers take it
/// as untagged (IEEE 802.1Q-2022, 6.9.1).
///
/// # Errors
/// [`DropReason::TruncatedEthernet`], or [`DropReason::NestedPriorityTag`] if a tag without a VLAN
/// hides what it is wrapped around: receivers would look behind it.
#[inline(always)]
pub(super) fn parse<F: Frame>(frame: &F) -> Result<Ethernet, DropReason> {
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
    Ok(Ethernet {
        destination,
        source,
        vlan,
        ethertype,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryFrame;
    use crate::memory::parse as parse_frame;
    use crate::parse::Kind;
    use crate::scene::{DB, WEB, ethernet, tag};

    #[track_caller]
    fn assert_parsed(wire: &[u8], vlan: u16, kind: Kind) {
        let packet = parse_frame(&MemoryFrame::from_wire(wire)).unwrap();
        assert_eq!((packet.destination, packet.source), (DB.mac, WEB.mac));
        assert_eq!((packet.vlan, packet.kind), (vlan, kind));
    }

    #[test]
    fn a_frame_without_tag_belongs_to_no_vlan() {
        assert_parsed(&WEB.udp_to(&DB), 0, Kind::Ipv4);
    }

    #[test]
    fn a_frame_of_a_vlan_is_carried_unseen() {
        for ethertype in [CUSTOMER_TAG, SERVICE_TAG] {
            // Priority 5, drop eligible, VLAN 4094.
            let tagged = tag(&WEB.udp_to(&DB), ethertype, 0xbffe);
            assert_parsed(&tagged, 4094, Kind::Opaque);
        }
    }

    #[test]
    fn a_tag_without_a_vlan_changes_nothing() {
        assert_parsed(&tag(&WEB.udp_to(&DB), CUSTOMER_TAG, 0xe000), 0, Kind::Ipv4);
    }

    #[test]
    fn the_outermost_vlan_counts() {
        let inner = tag(&WEB.udp_to(&DB), CUSTOMER_TAG, 5);
        assert_parsed(&tag(&inner, SERVICE_TAG, 9), 9, Kind::Opaque);
        assert_parsed(&tag(&inner, CUSTOMER_TAG, 0xe000), 5, Kind::Opaque);
        let priority = tag(&WEB.udp_to(&DB), CUSTOMER_TAG, 0);
        assert_parsed(&tag(&priority, CUSTOMER_TAG, 9), 9, Kind::Opaque);
    }

    #[test]
    fn a_priority_tag_must_not_hide_another() {
        let nested = tag(
            &tag(&WEB.udp_to(&DB), CUSTOMER_TAG, 0x2000),
            CUSTOMER_TAG,
            0,
        );
        let frame = MemoryFrame::from_wire(&nested);
        assert_eq!(parse_frame(&frame), Err(DropReason::NestedPriorityTag));
    }

    #[test]
    fn a_header_or_tag_cut_short_is_refused() {
        let truncated = Err(DropReason::TruncatedEthernet);
        let header = ethernet(DB.mac, WEB.mac, CUSTOMER_TAG, &[]);
        for len in 0..=header.len() {
            let frame = MemoryFrame::from_wire(&header[..len]);
            assert_eq!(parse_frame(&frame), truncated);
        }
        let frame = MemoryFrame::from_wire(&tag(&header, CUSTOMER_TAG, 0));
        assert_eq!(parse_frame(&frame), truncated);
    }
}
