//! Answers for stations that are known: a broadcast question for a declared address is answered where
//! it is asked instead of being flooded (ARP, RFC 826; neighbor discovery, RFC 4861 section 7.2).
//!
//! Unicast questions are left alone: they check whether the station is alive, and only the station
//! can say so.

use maps_schema::Ip;
use maps_schema::map::{IngressPort, NeighborKey};

use crate::edit::{Protocol, Reply};
use crate::parse::{Claim, Message, Packet, Span, ethernet, ipv6};
use crate::tables::Tables;

/// A solicitation with one link-layer address option and nothing else: the answer is just as long.
const ANSWERABLE: Span = Span {
    start: (ethernet::HEADER_LEN + ipv6::HEADER_LEN) as u32,
    len: 32,
};

/// The answer to a frame, if it is a question that can be answered.
#[inline(always)]
pub fn answer<T: Tables>(tables: &T, port: &IngressPort, packet: &Packet) -> Option<Reply> {
    if !packet.destination.is_group() {
        return None;
    }
    let protocol = match packet.resolution.message {
        Message::ArpRequest => Protocol::Arp,
        Message::NeighborSolicitation if is_answerable(packet) => Protocol::NeighborDiscovery,
        _ => return None,
    };
    let ip = packet.resolution.target;
    let neighbor = tables.neighbor(&NeighborKey { vni: port.vni, ip })?;
    // A question for an address behind the asking port itself is an announcement, or the check
    // whether the address is taken, and others should hear it.
    (neighbor.port != port.port).then_some(Reply {
        protocol,
        ip,
        mac: neighbor.mac,
        asker_ip: packet.ip_source,
        asker_mac: packet.source,
    })
}

/// Only a solicitation of the usual form is answered in place. Others, among them duplicate address
/// detection, are flooded and answered by the station itself.
#[inline(always)]
fn is_answerable(packet: &Packet) -> bool {
    packet.payload == ANSWERABLE
        && matches!(packet.resolution.claim, Claim::Sender)
        && packet.ttl == u8::MAX
        && packet.ip_source != Ip::UNSPECIFIED_V6
}
