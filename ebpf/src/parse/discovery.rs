//! Neighbor discovery messages (RFC 4861 section 4).

use core::ops::ControlFlow;

use maps_schema::{DropReason, Ip, Mac};

use super::{Claim, Message, Packet, Resolution, Span, TransportKind, transport};
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
/// [`DropReason::MalformedIpv6`] if it is cut short before its options: such a message could hide
/// what it claims from the checks but not from a tolerant receiver.
#[inline(always)]
pub(super) fn parse<F: Frame>(frame: &F, packet: &mut Packet) -> Result<(), DropReason> {
    if packet.protocol != transport::ICMPV6 || !matches!(packet.transport.kind, TransportKind::Icmp)
    {
        return Ok(());
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
    let malformed = DropReason::MalformedIpv6;
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
