//! Neighbor discovery messages (RFC 4861 section 4).

use core::ops::ControlFlow;

use maps_schema::{DropReason, Ip, Mac};

use super::{Claim, Fragment, Message, Packet, Resolution, Span, TransportKind, transport};
use crate::frame::{Frame, Step};

/// ICMPv6 type of a router solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// ICMPv6 type of a router advertisement.
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// ICMPv6 type of a neighbor solicitation.
pub const NEIGHBOR_SOLICITATION: u8 = 135;
/// ICMPv6 type of a neighbor advertisement.
pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// ICMPv6 type of a redirect.
pub const REDIRECT: u8 = 137;

/// Type of the option with the sender's MAC address.
pub const SOURCE_LINK_LAYER: u8 = 1;
/// Type of the option with the target's MAC address.
pub const TARGET_LINK_LAYER: u8 = 2;

/// How many options of one message the datapath reads.
const MAX_OPTIONS: u32 = 16;

/// Parses the message that an ICMPv6 packet is, if it is one of neighbor discovery.
///
/// # Errors
/// [`DropReason::MalformedIpv6`] if it is cut short before its options, or spread over fragments,
/// which RFC 6980 forbids: such a message could hide what it claims from the checks but not from a
/// tolerant receiver. The same goes for a first fragment that ends before the message's type
/// (RFC 7112).
#[inline(always)]
pub(super) fn parse<F: Frame>(frame: &F, packet: &mut Packet) -> Result<(), DropReason> {
    let malformed = DropReason::MalformedIpv6;
    if packet.protocol != transport::ICMPV6 {
        return Ok(());
    }
    if !matches!(packet.transport.kind, TransportKind::Icmp) {
        return match packet.fragment {
            Fragment::First => Err(malformed),
            Fragment::Whole | Fragment::Later => Ok(()),
        };
    }
    let (message, fixed_len, option) = match packet.transport.source as u8 {
        ROUTER_SOLICITATION => (Message::RouterSolicitation, 8, SOURCE_LINK_LAYER),
        ROUTER_ADVERTISEMENT | REDIRECT => (Message::FromRouter, 0, 0),
        NEIGHBOR_SOLICITATION => (Message::NeighborSolicitation, 24, SOURCE_LINK_LAYER),
        NEIGHBOR_ADVERTISEMENT => (Message::NeighborAdvertisement, 24, TARGET_LINK_LAYER),
        _ => return Ok(()),
    };
    packet.resolution.message = message;
    if matches!(message, Message::FromRouter) {
        return Ok(());
    }
    if !matches!(packet.fragment, Fragment::Whole) {
        return Err(malformed);
    }
    let Span { start, len } = packet.payload;
    let options = Span {
        start: start + fixed_len,
        len: len.checked_sub(fixed_len).ok_or(malformed)?,
    };
    let target = match message {
        Message::RouterSolicitation => Ip::UNSPECIFIED_V6,
        _ => frame.load(start + 8).map_err(|_short| malformed)?,
    };
    let claim = claim(frame, options, option, packet.source);
    packet.resolution = Resolution {
        message,
        target,
        claim,
    };
    Ok(())
}

/// Looks for the first option of the type `wanted`; receivers ignore further ones.
#[inline(always)]
fn claim<F: Frame>(frame: &F, rest: Span, wanted: u8, sender: Mac) -> Claim {
    // Until an option tells otherwise, the message is too contrived to tell.
    let mut options = Options {
        frame,
        rest,
        wanted,
        sender,
        claim: Claim::Foreign,
    };
    F::repeat(MAX_OPTIONS + 1, &mut options);
    options.claim
}

/// A position in the options of a message.
struct Options<'a, F> {
    frame: &'a F,
    /// The options that follow.
    rest: Span,
    /// Type of the option that is looked for.
    wanted: u8,
    sender: Mac,
    claim: Claim,
}

impl<F: Frame> Step for Options<'_, F> {
    #[inline(always)]
    fn step(&mut self, _idx: u32) -> ControlFlow<()> {
        if self.rest.len == 0 {
            self.claim = Claim::Absent;
            return ControlFlow::Break(());
        }
        let Ok([head, mac @ ..]) = self.frame.load::<[u16; 4]>(self.rest.start) else {
            return ControlFlow::Break(());
        };
        let [kind, units] = head.to_ne_bytes();
        let len = u32::from(units) * 8;
        if len == 0 || len > self.rest.len {
            return ControlFlow::Break(());
        }
        if kind == self.wanted {
            if Mac::from_words(mac) == self.sender {
                self.claim = Claim::Sender;
            }
            return ControlFlow::Break(());
        }
        self.rest = Span {
            start: self.rest.start + len,
            len: self.rest.len - len,
        };
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryFrame;
    use crate::memory::parse as parse_frame;
    use crate::scene::{DB, STRANGER, WEB, ethernet, ipv6, nd, option};

    const FRAGMENT: u8 = 44;
    const DESTINATION_OPTIONS: u8 = 60;

    fn parse_message(message: &[u8]) -> Result<Packet, DropReason> {
        parse_behind(58, message)
    }

    fn parse_behind(next_header: u8, payload: &[u8]) -> Result<Packet, DropReason> {
        let packet = ipv6(WEB.v6, DB.v6, next_header, payload);
        let wire = ethernet(DB.mac, WEB.mac, 0x86dd, &packet);
        parse_frame(&MemoryFrame::from_wire(&wire))
    }

    #[track_caller]
    fn assert_claim(kind: u8, options: &[Vec<u8>], claim: Claim) {
        let packet = parse_message(&nd(kind, DB.v6, options)).unwrap();
        assert_eq!(packet.resolution.claim, claim, "{options:02x?}");
    }

    /// An option that nobody asked for (a nonce, RFC 3971 section 5.3.2).
    fn nonce() -> Vec<u8> {
        vec![14, 1, 1, 2, 3, 4, 5, 6]
    }

    #[test]
    fn messages_are_recognized() {
        for (kind, message) in [
            (135, Message::NeighborSolicitation),
            (136, Message::NeighborAdvertisement),
        ] {
            let packet = parse_message(&nd(kind, DB.v6, &[])).unwrap();
            let expected = Resolution {
                message,
                target: Ip::from(DB.v6),
                claim: Claim::Absent,
            };
            assert_eq!(packet.resolution, expected);
        }
        let packet = parse_message(&[133, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(packet.resolution.message, Message::RouterSolicitation);
        assert_eq!(packet.resolution.target, Ip::UNSPECIFIED_V6);
        for kind in [134, 137] {
            let packet = parse_message(&[kind, 0, 0, 0]).unwrap();
            assert_eq!(packet.resolution.message, Message::FromRouter);
        }
        for kind in [1, 128, 129, 130, 143] {
            let packet = parse_message(&[kind, 0, 0, 0, 0, 0, 0, 0]).unwrap();
            assert_eq!(packet.resolution.message, Message::None);
        }
    }

    #[test]
    fn a_solicitation_is_about_its_sender_and_an_advertisement_about_its_target() {
        for (kind, wanted, other) in [(135, 1, 2), (136, 2, 1)] {
            assert_claim(kind, &[option(wanted, WEB.mac)], Claim::Sender);
            assert_claim(kind, &[option(wanted, STRANGER)], Claim::Foreign);
            assert_claim(kind, &[option(other, STRANGER)], Claim::Absent);
        }
    }

    #[test]
    fn the_first_of_several_options_counts_wherever_it_is() {
        let (own, foreign) = (option(1, WEB.mac), option(1, STRANGER));
        assert_claim(135, &[nonce(), own.clone()], Claim::Sender);
        assert_claim(135, &[nonce(), foreign.clone()], Claim::Foreign);
        assert_claim(135, &[own.clone(), foreign.clone()], Claim::Sender);
        assert_claim(135, &[foreign, nonce(), own.clone()], Claim::Foreign);
        let mut many = vec![nonce(); 15];
        many.push(own);
        assert_claim(135, &many, Claim::Sender);
    }

    #[test]
    fn too_many_options_are_too_contrived() {
        assert_claim(135, &vec![nonce(); 16], Claim::Absent);
        assert_claim(135, &vec![nonce(); 17], Claim::Foreign);
    }

    #[test]
    fn broken_options_are_too_contrived() {
        assert_claim(135, &[vec![14, 0, 0, 0, 0, 0, 0, 0]], Claim::Foreign);
        assert_claim(135, &[vec![14, 2, 0, 0, 0, 0, 0, 0]], Claim::Foreign);
        for len in 1..8 {
            assert_claim(135, &[option(1, WEB.mac)[..len].to_vec()], Claim::Foreign);
        }
    }

    #[test]
    fn a_message_cut_short_before_its_options_is_malformed() {
        let malformed = Err(DropReason::MalformedIpv6);
        for kind in [135, 136] {
            let message = nd(kind, DB.v6, &[]);
            for len in 4..message.len() {
                assert_eq!(parse_message(&message[..len]), malformed, "{len}");
            }
        }
        for len in 4..8 {
            assert_eq!(parse_message(&[133, 0, 0, 0, 0, 0, 0, 0][..len]), malformed);
        }
    }

    #[test]
    fn extension_headers_hide_nothing() {
        let header = [58_u8, 0, 1, 4, 0, 0, 0, 0];
        let advertisement = [&header as &[u8], &[134, 0, 0, 0, 0, 0, 0, 0]].concat();
        let packet = parse_behind(DESTINATION_OPTIONS, &advertisement).unwrap();
        assert_eq!(packet.resolution.message, Message::FromRouter);
        let claim = nd(136, DB.v6, &[option(2, STRANGER)]);
        let packet = parse_behind(DESTINATION_OPTIONS, &[&header as &[u8], &claim].concat());
        assert_eq!(packet.unwrap().resolution.claim, Claim::Foreign);
    }

    /// RFC 6980: nobody may send such a message in fragments, and the checks would only see a part
    /// of it.
    #[test]
    fn a_message_in_fragments_is_malformed() {
        let malformed = Err(DropReason::MalformedIpv6);
        let first = [58_u8, 0, 0, 1, 0, 0, 0, 7];
        for kind in [135, 136] {
            let message = nd(kind, DB.v6, &[]);
            let packet = parse_behind(FRAGMENT, &[&first as &[u8], &message].concat());
            assert_eq!(packet, malformed);
        }
        let whole = [58_u8, 0, 0, 0, 0, 0, 0, 7];
        let message = nd(135, DB.v6, &[]);
        let packet = parse_behind(FRAGMENT, &[&whole as &[u8], &message].concat());
        assert_eq!(
            packet.unwrap().resolution.message,
            Message::NeighborSolicitation
        );
    }

    /// RFC 7112: the first fragment has all headers. Otherwise the type of the message would be in
    /// a later one, where nobody looks for it.
    #[test]
    fn a_first_fragment_without_the_messages_type_is_malformed() {
        let headers = [60, 0, 0, 1, 0, 0, 0, 7, 58, 0, 1, 4, 0, 0, 0, 0];
        assert_eq!(
            parse_behind(FRAGMENT, &headers),
            Err(DropReason::MalformedIpv6)
        );
    }
}
