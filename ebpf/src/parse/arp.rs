//! ARP for IPv4 over Ethernet (RFC 826).

use maps_schema::{DropReason, Ip, Mac};

use super::ethernet::{Ethernet, HEADER_LEN};
use super::{Claim, Kind, Message, Packet, Resolution};
use crate::frame::Frame;

/// The fixed beginning: hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
const PREAMBLE: [u16; 3] = [1, 0x0800, 0x0604];

/// Offset of the operation within the packet.
pub const OPERATION: u32 = 6;
/// Offset of the addresses within the packet: the sender's MAC and IP, then the target's.
pub const ADDRESSES: u32 = 8;
/// Offset of the sender's MAC address within the frame.
const SENDER_MAC: usize = HEADER_LEN + ADDRESSES as usize;
/// Operation code of a request.
pub const REQUEST: u16 = 1;
/// Operation code of a reply.
pub const REPLY: u16 = 2;

/// Parses an ARP packet.
///
/// # Errors
/// [`DropReason::MalformedArp`] if it is cut short or for other protocols.
#[inline(always)]
pub(super) fn parse<'a, F: Frame>(
    frame: &F,
    ethernet: &Ethernet,
    out: &'a mut Packet,
) -> Result<&'a mut Packet, DropReason> {
    let malformed = DropReason::MalformedArp;
    let [hardware, protocol, lengths, operation] = frame
        .fixed::<HEADER_LEN, [u16; 4]>()
        .map_err(|_short| malformed)?;
    let sender_mac = frame
        .fixed::<SENDER_MAC, Mac>()
        .map_err(|_short| malformed)?;
    let sender_ip = frame
        .fixed::<{ SENDER_MAC + 6 }, u32>()
        .map_err(|_short| malformed)?;
    let target_ip = frame
        .fixed::<{ SENDER_MAC + 16 }, u32>()
        .map_err(|_short| malformed)?;
    if [hardware, protocol, lengths].map(u16::from_be) != PREAMBLE {
        return Err(malformed);
    }
    let truthful = sender_mac == ethernet.source;
    *out = Packet {
        kind: Kind::Arp,
        ip_source: Ip::v4_from_word(sender_ip),
        ip_destination: Ip::v4_from_word(target_ip),
        resolution: Resolution {
            message: match u16::from_be(operation) {
                REQUEST => Message::ArpRequest,
                _ => Message::ArpOther,
            },
            target: Ip::v4_from_word(target_ip),
            claim: if truthful {
                Claim::Sender
            } else {
                Claim::Foreign
            },
        },
        ..Packet::opaque(ethernet)
    };
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryFrame;
    use crate::memory::parse as parse_frame;
    use crate::scene::{self, DB, STRANGER, WEB, ethernet};

    fn parse_packet(packet: &[u8]) -> Result<Packet, DropReason> {
        let wire = ethernet(Mac::BROADCAST, WEB.mac, 0x0806, packet);
        parse_frame(&MemoryFrame::from_wire(&wire))
    }

    #[test]
    fn a_request_says_who_asks_for_whom() {
        let packet = scene::arp(1, (WEB.mac, WEB.v4), (Mac::ZERO, DB.v4));
        let packet = parse_packet(&packet).unwrap();
        assert_eq!(packet.kind, Kind::Arp);
        assert_eq!(packet.ip_source, Ip::from(WEB.v4));
        assert_eq!(packet.ip_destination, Ip::from(DB.v4));
        let expected = Resolution {
            message: Message::ArpRequest,
            target: Ip::from(DB.v4),
            claim: Claim::Sender,
        };
        assert_eq!(packet.resolution, expected);
    }

    #[test]
    fn a_sender_other_than_the_frames_is_foreign() {
        let packet = scene::arp(1, (STRANGER, WEB.v4), (Mac::ZERO, DB.v4));
        let packet = parse_packet(&packet).unwrap();
        assert_eq!(packet.resolution.claim, Claim::Foreign);
    }

    #[test]
    fn whatever_is_no_request_is_a_claim() {
        for operation in [0, 2, 3, 8, 0x0100, 0xffff] {
            let packet = scene::arp(operation, (WEB.mac, WEB.v4), (DB.mac, DB.v4));
            let packet = parse_packet(&packet).unwrap();
            assert_eq!(packet.resolution.message, Message::ArpOther);
        }
    }

    #[test]
    fn cut_short_or_for_other_protocols_is_malformed() {
        let packet = scene::arp(1, (WEB.mac, WEB.v4), (Mac::ZERO, DB.v4));
        for len in 0..packet.len() {
            assert_eq!(
                parse_packet(&packet[..len]),
                Err(DropReason::MalformedArp),
                "{len}"
            );
        }
        for idx in 0..6 {
            let mut other = packet.clone();
            other[idx] ^= 0x10;
            assert_eq!(parse_packet(&other), Err(DropReason::MalformedArp), "{idx}");
        }
        let padded = [&packet as &[u8], &[0; 18]].concat();
        assert!(parse_packet(&padded).is_ok());
    }
}
