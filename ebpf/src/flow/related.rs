//! Errors of ICMP that concern a flow (RFC 792, RFC 4443): they quote the packet that they are about.

use maps_schema::Ip;
use maps_schema::map::{Flow, FlowKey};

use super::Store;
use super::track::{Track, echo_ports, enter};
use crate::departure::Origin;
use crate::frame::Frame;
use crate::parse::{Kind, Packet, TransportKind, ipv4, ipv6, transport};
use crate::tables::Tables;

/// Length of the ICMP header before the quoted packet, in bytes.
const ICMP_LEN: u32 = 8;

/// Notes whether the packet is an error about one of a flow that goes the other way, and what is
/// translated of that.
#[inline(never)]
pub(super) fn note<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    origin: &Origin,
    packet: &Packet,
    track: &mut Track,
) {
    let is_ip = matches!(packet.kind, Kind::Ipv4 | Kind::Ipv6);
    if !is_ip || !is_error(packet) || !quote(frame, packet, &mut track.key) {
        return;
    }
    // It is told to who sent what it is about. All else in it is what its own sender likes.
    if track.key.destination != packet.ip_destination || packet.is_mapped() {
        return;
    }
    (track.key.port, track.key.vni) = enter(origin);
    let key = track.key;
    let connection = tables.visit_flow(Store::Connections, &key, |flow| track.take(flow));
    track.is_related = connection.is_some()
        || tables
            .visit_flow(Store::Embryos, &key, |flow| track.take(flow))
            .is_some();
    if track.flags & Flow::REFUSED != 0 {
        track.clear();
    }
}

/// Whether a packet says that another one did not arrive.
#[inline(always)]
pub(crate) fn is_error(packet: &Packet) -> bool {
    matches!(packet.transport.kind, TransportKind::Icmp)
        && match packet.kind {
            Kind::Ipv4 => matches!(packet.transport.source, 3 | 11 | 12),
            _ => matches!(packet.transport.source, 1..=4),
        }
}

/// Reads the packet that an error quotes, as its answers would look; `false` if it belongs to no flow.
#[inline(always)]
fn quote<F: Frame>(frame: &F, packet: &Packet, key: &mut FlowKey) -> bool {
    let start = packet.payload.start + ICMP_LEN;
    let transport = if matches!(packet.kind, Kind::Ipv4) {
        let words = frame.load::<[u32; 5]>(start).unwrap_or([0; 5]);
        let [first, _, third, source, destination] = words;
        let [version, _, _, _] = first.to_ne_bytes();
        let [_, protocol, _, _] = third.to_ne_bytes();
        key.protocol = protocol;
        key.source = Ip::v4_from_word(destination);
        key.destination = Ip::v4_from_word(source);
        let len = u32::from(version & 0x0f) * 4;
        if len < ipv4::MIN_HEADER_LEN as u32 {
            return false;
        }
        start + len
    } else {
        let [_, second] = frame.load::<[u32; 2]>(start).unwrap_or([0; 2]);
        let [_, _, protocol, _] = second.to_ne_bytes();
        key.protocol = protocol;
        key.source = Ip::from_words(frame.load::<[u32; 4]>(start + 24).unwrap_or([0; 4]));
        key.destination = Ip::from_words(frame.load::<[u32; 4]>(start + 8).unwrap_or([0; 4]));
        start + ipv6::HEADER_LEN as u32
    };
    let [first, second, identifier, _] = frame.load::<[u16; 4]>(transport).unwrap_or([0; 4]);
    (key.source_port, key.destination_port) = match key.protocol {
        transport::TCP | transport::UDP => (u16::from_be(second), u16::from_be(first)),
        transport::ICMP | transport::ICMPV6 => {
            let (own, other) = echo_ports(u16::from_be(first) >> 8, u16::from_be(identifier));
            (other, own)
        }
        _ => (0, 0),
    };
    true
}
