//! Bytes into values, once, before anything is decided.
//!
//! The result is one flat record in which every field always has a value. An enum with a payload per
//! protocol would read better, but LLVM leaves the parts of it that a variant does not have
//! undefined, may spill them to the stack all the same, and the verifier refuses a program that
//! stores a register which was never written.

pub mod arp;
pub mod discovery;
pub mod ethernet;
pub mod ipv4;
pub mod ipv6;
pub mod outer;
pub mod transport;

use maps_schema::{DropReason, Ip, Mac};

use self::ethernet::Ethernet;

use crate::frame::Frame;

/// A parsed frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Who it is for.
    pub destination: Mac,
    /// Who sent it.
    pub source: Mac,
    /// The VLAN that it belongs to; 0 if it belongs to none.
    pub vlan: u16,
    /// What it carries, as far as the datapath looks inside.
    pub kind: Kind,
    /// Who sent the IP packet; in ARP, the sender's protocol address. Unspecified if `Opaque`.
    pub ip_source: Ip,
    /// Who the IP packet is for; in ARP, the target's protocol address. Unspecified if `Opaque`.
    pub ip_destination: Ip,
    /// Time to live or hop limit of the IP packet.
    pub ttl: u8,
    /// Type of service or traffic class of the IP packet: DSCP (RFC 2474) and ECN (RFC 3168).
    pub traffic_class: u8,
    /// What the IP packet carries behind all its headers, as IANA numbers protocols.
    pub protocol: u8,
    /// Where the header before says that, in bytes from the beginning of the frame; 0 if none does.
    pub protocol_at: u32,
    /// Which part of an IP packet this is.
    pub fragment: Fragment,
    /// What lies behind the IP header and its options or extension headers.
    pub payload: Span,
    /// The transport header.
    pub transport: Transport,
    /// What ARP or neighbor discovery says.
    pub resolution: Resolution,
}

/// What a frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Something that the datapath carries without looking inside: another protocol, or a frame of
    /// a VLAN, whose addresses are not the network's.
    Opaque,
    /// Address resolution for IPv4.
    Arp,
    /// An IPv4 packet.
    Ipv4,
    /// An IPv6 packet.
    Ipv6,
}

/// Which part of a packet an IP packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fragment {
    /// All of it.
    Whole,
    /// The first of several: the transport header is here.
    First,
    /// A later one.
    Later,
}

impl Fragment {
    #[inline(always)]
    const fn new(at_start: bool, more: bool) -> Self {
        match (at_start, more) {
            (true, false) => Self::Whole,
            (true, true) => Self::First,
            (false, _) => Self::Later,
        }
    }
}

/// A part of the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Where it begins, in bytes from the beginning of the frame.
    pub start: u32,
    /// Its length in bytes, as the headers before it say.
    pub len: u32,
}

/// A transport header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transport {
    /// Whether there is one.
    pub kind: TransportKind,
    /// TCP and UDP: the sender's port, in host byte order. ICMP and ICMPv6: the type.
    pub source: u16,
    /// TCP and UDP: the receiver's port, in host byte order. ICMP and ICMPv6: the code.
    pub destination: u16,
}

/// Whether there is a transport header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransportKind {
    /// A protocol without a header that the datapath reads, a later fragment, or a packet that ends
    /// too early. Bridges carry such packets; whoever needs the header decides.
    Absent,
    /// TCP or UDP.
    Ports,
    /// ICMP or ICMPv6.
    Icmp,
}

/// What ARP or neighbor discovery says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resolution {
    /// The message.
    pub message: Message,
    /// The address that is asked for or claimed; unspecified where the message has none.
    pub target: Ip,
    /// Which MAC address the message makes its receivers note.
    pub claim: Claim,
}

/// The messages of ARP and neighbor discovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// The frame carries none.
    None,
    /// "Who has the target?", in ARP.
    ArpRequest,
    /// Any other ARP packet; all of them claim the sender's addresses.
    ArpOther,
    /// "Where are routers?"
    RouterSolicitation,
    /// "Who has the target?", in IPv6.
    NeighborSolicitation,
    /// "I have the target."
    NeighborAdvertisement,
    /// A router advertisement or a redirect: only routers send these.
    FromRouter,
}

/// Which MAC address a message makes its receivers note.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// None.
    Absent,
    /// That of the frame's sender.
    Sender,
    /// Another station's; or the message is too contrived to tell.
    Foreign,
}

impl Packet {
    /// Whether it is an IPv6 packet from or to an IPv4 address in mapped form, which is the form that the
    /// tables have IPv4 addresses in.
    #[inline(always)]
    #[must_use]
    pub const fn is_mapped(&self) -> bool {
        matches!(self.kind, Kind::Ipv6) && (self.ip_source.is_v4() || self.ip_destination.is_v4())
    }

    /// No frame at all.
    pub const NONE: Self = Self::opaque(&Ethernet {
        destination: Mac::ZERO,
        source: Mac::ZERO,
        vlan: 0,
        ethertype: 0,
    });

    /// A frame that the datapath does not look into.
    #[inline(always)]
    const fn opaque(ethernet: &Ethernet) -> Self {
        Self {
            destination: ethernet.destination,
            source: ethernet.source,
            vlan: ethernet.vlan,
            kind: Kind::Opaque,
            ip_source: Ip::UNSPECIFIED_V6,
            ip_destination: Ip::UNSPECIFIED_V6,
            ttl: 0,
            traffic_class: 0,
            protocol: 0,
            protocol_at: 0,
            fragment: Fragment::Whole,
            payload: Span { start: 0, len: 0 },
            transport: Transport {
                kind: TransportKind::Absent,
                source: 0,
                destination: 0,
            },
            resolution: Resolution {
                message: Message::None,
                target: Ip::UNSPECIFIED_V6,
                claim: Claim::Absent,
            },
        }
    }
}

/// Parses a whole frame. Each protocol writes the record itself and once: it is too large to be handed
/// from one to the other.
///
/// # Errors
/// The reason why it must be dropped.
#[inline(always)]
pub fn parse<'a, F: Frame>(frame: &F, out: &'a mut Packet) -> Result<&'a mut Packet, DropReason> {
    let ethernet = ethernet::parse(frame)?;
    match ethernet.ethertype {
        ethernet::ARP if ethernet.vlan == 0 => arp::parse(frame, &ethernet, out),
        ethernet::IPV4 if ethernet.vlan == 0 => ipv4::parse(frame, &ethernet, out),
        ethernet::IPV6 if ethernet.vlan == 0 => ipv6::parse(frame, &ethernet, out),
        _ => {
            *out = Packet::opaque(&ethernet);
            Ok(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Bytes;
    use crate::memory::{MemoryFrame, parse};
    use crate::scene::{DB, UDP, WEB, ethernet, icmpv6, ipv6, nd, option, tag};

    fn parse_wire(wire: &[u8]) -> Result<Packet, DropReason> {
        parse(&MemoryFrame::from_wire(wire))
    }

    #[test]
    fn unknown_protocols_are_carried_unseen() {
        // Among them an 802.3 length, LLDP, and IPv4 in an obsolete tag that Linux does not know.
        for ethertype in [0, 0x002e, 0x05dc, 0x0801, 0x8035, 0x88cc, 0x9100, 0xffff] {
            let packet = parse_wire(&ethernet(DB.mac, WEB.mac, ethertype, &[])).unwrap();
            let (destination, source) = (DB.mac, WEB.mac);
            let expected = Ethernet {
                destination,
                source,
                vlan: 0,
                ethertype,
            };
            assert_eq!(packet, Packet::opaque(&expected), "{ethertype:#x}");
        }
    }

    /// Every frame cut off at every length, as it comes and with its length fields put right: an
    /// error or values from within the frame, and no panic.
    #[test]
    fn frames_cut_off_anywhere_yield_nothing_from_beyond() {
        let solicitation = nd(135, DB.v6, &[option(1, WEB.mac)]);
        let message = icmpv6(WEB.v6, DB.v6, &solicitation);
        let chain = [
            &[60_u8, 0, 1, 4, 0, 0, 0, 0] as &[u8],
            &[58, 0, 1, 4, 0, 0, 0, 0],
        ]
        .concat();
        let extended = ipv6(WEB.v6, DB.v6, 0, &[&chain as &[u8], &message].concat());
        let frames = [
            WEB.udp_to(&DB),
            WEB.asks_arp(DB.v4),
            WEB.asks_nd(DB.v6),
            ethernet(DB.mac, WEB.mac, 0x86dd, &extended),
            ethernet(DB.mac, WEB.mac, 0x86dd, &ipv6(WEB.v6, DB.v6, 17, &UDP)),
            tag(&WEB.udp_to(&DB), 0x8100, 0),
            tag(&tag(&WEB.udp_to(&DB), 0x8100, 5), 0x88a8, 0),
        ];
        for frame in frames {
            assert!(parse_wire(&frame).is_ok());
            for len in 0..frame.len() {
                let mut short = frame[..len].to_vec();
                check_span(&short);
                put_length_right(&mut short);
                check_span(&short);
            }
        }
    }

    fn check_span(wire: &[u8]) {
        let frame = MemoryFrame::from_wire(wire);
        let Ok(packet) = parse(&frame) else { return };
        let end = packet.payload.start + packet.payload.len;
        assert!(end <= frame.len(), "{packet:?} of {wire:02x?}");
        if packet.transport.kind == TransportKind::Ports {
            assert!(packet.payload.len >= 8);
        }
    }

    fn put_length_right(wire: &mut [u8]) {
        let len = wire.len() as u16;
        match wire.get(12..14) {
            Some([0x08, 0x00]) if len >= 18 => {
                wire[16..18].copy_from_slice(&(len - 14).to_be_bytes());
            }
            Some([0x86, 0xdd]) if len >= 54 => {
                wire[18..20].copy_from_slice(&(len - 54).to_be_bytes());
            }
            _ => {}
        }
    }
}
