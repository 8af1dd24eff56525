//! Answers for stations that are known: a broadcast question for a declared address is answered where
//! it is asked instead of being flooded (ARP, RFC 826; neighbor discovery, RFC 4861 section 7.2).
//!
//! Unicast questions are left alone: they check whether the station is alive, and only the station
//! can say so. For the addresses of virtual routers nobody else can answer, so every question is
//! answered here.

use maps_schema::Ip;
use maps_schema::map::{IngressPort, Neighbor, NeighborKey};

use crate::edit::resolution::{ALL_NODES, ALL_NODES_MAC, Protocol, Reply};
use crate::parse::{Claim, Message, Packet, Span, ethernet, ipv6};
use crate::tables::Tables;

/// A solicitation with one link-layer address option and nothing else: the answer is just as long.
const PLAIN: Span = Span {
    start: (ethernet::HEADER_LEN + ipv6::HEADER_LEN) as u32,
    len: 32,
};

/// The answer to a frame, if it is a question that can be answered.
#[inline(always)]
pub fn answer<T: Tables>(tables: &T, port: &IngressPort, packet: &Packet) -> Option<Reply> {
    // Another host has answered already what could be answered.
    if port.is_host() {
        return None;
    }
    let protocol = match packet.resolution.message {
        Message::ArpRequest => Protocol::Arp,
        Message::NeighborSolicitation if packet.ttl == u8::MAX => Protocol::NeighborDiscovery,
        _ => return None,
    };
    let ip = packet.resolution.target;
    let neighbor = tables.neighbor(&NeighborKey { vni: port.vni, ip })?;
    let is_router = neighbor.flags & Neighbor::ROUTER != 0;
    // A question for an address behind the asking port itself is an announcement, or the check
    // whether the address is taken, and others should hear it.
    let is_other = neighbor.port != port.port && packet.destination.is_group();
    let is_plain = matches!(protocol, Protocol::Arp) || is_plain_solicitation(packet);
    if !(is_router || is_other && is_plain) {
        return None;
    }
    // Who checks whether an address is taken has none yet: the answer goes to all nodes
    // (RFC 4861 section 7.2.4).
    let is_check = packet.ip_source == Ip::UNSPECIFIED_V6;
    Some(Reply {
        protocol,
        ip,
        mac: neighbor.mac,
        asker_ip: if is_check {
            ALL_NODES
        } else {
            packet.ip_source
        },
        asker_mac: if is_check {
            ALL_NODES_MAC
        } else {
            packet.source
        },
    })
}

/// Only a solicitation of the usual form is answered for another station. Others, among them
/// duplicate address detection, are flooded and answered by the station itself.
#[inline(always)]
fn is_plain_solicitation(packet: &Packet) -> bool {
    packet.payload == PLAIN
        && matches!(packet.resolution.claim, Claim::Sender)
        && packet.ip_source != Ip::UNSPECIFIED_V6
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use etherparse::{
        ArpOperation, Icmpv6Header, Icmpv6Type, NetSlice, SlicedPacket, TransportSlice,
    };
    use maps_schema::Mac;

    use super::*;
    use crate::pipeline::Action;
    use crate::scene::{
        CACHE, DB, Station, TWIN, WEB, arp, assert_delivered, assert_flooded, counters, ethernet,
        group_mac, icmpv6, ipv6, nd, option, send, solicited_node, tables,
    };

    /// Sends a question that must be answered on the spot; returns the answer.
    #[track_caller]
    fn answered(from: &Station, question: &[u8]) -> Vec<u8> {
        let tables = tables();
        let outcome = send(&tables, from, question);
        assert_eq!(outcome.action, Action::Deliver(from.interface));
        assert!(outcome.frame.copies.is_empty());
        let answer = outcome.frame.to_wire();
        assert_eq!(answer.len(), question.len());
        let counted = counters(&tables, from.port);
        assert_eq!((counted.ingress_packets, counted.egress_packets), (1, 1));
        assert_eq!(counted.egress_bytes, answer.len() as u64);
        answer
    }

    #[test]
    fn an_arp_question_is_answered_byte_by_byte() {
        let expected = ethernet(
            WEB.mac,
            DB.mac,
            0x0806,
            &arp(2, (DB.mac, DB.v4), (WEB.mac, WEB.v4)),
        );
        assert_eq!(answered(&WEB, &WEB.asks_arp(DB.v4)), expected);
    }

    #[test]
    fn an_arp_answer_is_one_for_another_parser() {
        let answer = answered(&WEB, &WEB.asks_arp(DB.v4));
        let Some(NetSlice::Arp(packet)) = SlicedPacket::from_ethernet(&answer).unwrap().net else {
            panic!("no ARP packet");
        };
        assert_eq!(packet.operation(), ArpOperation::REPLY);
        assert_eq!(packet.sender_hw_addr(), DB.mac.octets());
        assert_eq!(packet.sender_protocol_addr(), DB.v4.octets());
        assert_eq!(packet.target_hw_addr(), WEB.mac.octets());
        assert_eq!(packet.target_protocol_addr(), WEB.v4.octets());
    }

    #[test]
    fn the_padding_of_a_question_stays() {
        let question = [&WEB.asks_arp(DB.v4) as &[u8], &[0xa5; 18]].concat();
        assert!(answered(&WEB, &question).ends_with(&[0xa5; 18]));
    }

    /// RFC 5227 section 2.1.1: who is about to take an address asks with an unspecified sender.
    #[test]
    fn an_arp_probe_for_a_taken_address_is_answered() {
        let asker = (WEB.mac, Ipv4Addr::UNSPECIFIED);
        let question = arp(1, asker, (Mac::ZERO, DB.v4));
        let question = ethernet(Mac::BROADCAST, WEB.mac, 0x0806, &question);
        let answer = arp(2, (DB.mac, DB.v4), asker);
        let answer = ethernet(WEB.mac, DB.mac, 0x0806, &answer);
        assert_eq!(answered(&WEB, &question), answer);
    }

    #[test]
    fn announcements_and_probes_for_the_own_address_are_for_everybody() {
        let tables = tables();
        for sender in [WEB.v4, Ipv4Addr::UNSPECIFIED] {
            let packet = arp(1, (WEB.mac, sender), (Mac::ZERO, WEB.v4));
            let frame = ethernet(Mac::BROADCAST, WEB.mac, 0x0806, &packet);
            assert_flooded(&tables, &WEB, &frame, &[DB, CACHE]);
        }
    }

    #[test]
    fn questions_for_nobody_are_for_everybody() {
        let tables = tables();
        let nobody = Ipv4Addr::new(10, 77, 0, 99);
        assert_flooded(&tables, &WEB, &WEB.asks_arp(nobody), &[DB, CACHE]);
        let nobody = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 99);
        assert_flooded(&tables, &WEB, &WEB.asks_nd(nobody), &[DB, CACHE]);
    }

    #[test]
    fn arp_replies_are_no_questions() {
        let packet = arp(2, (WEB.mac, WEB.v4), (Mac::ZERO, DB.v4));
        let frame = ethernet(Mac::BROADCAST, WEB.mac, 0x0806, &packet);
        assert_flooded(&tables(), &WEB, &frame, &[DB, CACHE]);
    }

    #[test]
    fn unicast_questions_reach_the_station() {
        let tables = tables();
        let packet = arp(1, (WEB.mac, WEB.v4), (DB.mac, DB.v4));
        let frame = ethernet(DB.mac, WEB.mac, 0x0806, &packet);
        assert_delivered(&tables, &WEB, &frame, &DB);
        let message = nd(135, DB.v6, &[option(1, WEB.mac)]);
        let packet = ipv6(WEB.v6, DB.v6, 58, &icmpv6(WEB.v6, DB.v6, &message));
        let frame = ethernet(DB.mac, WEB.mac, 0x86dd, &packet);
        assert_delivered(&tables, &WEB, &frame, &DB);
    }

    #[test]
    fn a_solicitation_is_answered_byte_by_byte() {
        let mut message = nd(136, DB.v6, &[option(2, DB.mac)]);
        message[4] = 0x60;
        let packet = ipv6(DB.v6, WEB.v6, 58, &icmpv6(DB.v6, WEB.v6, &message));
        let expected = ethernet(WEB.mac, DB.mac, 0x86dd, &packet);
        assert_eq!(answered(&WEB, &WEB.asks_nd(DB.v6)), expected);
    }

    #[test]
    fn an_advertisement_is_one_for_another_parser() {
        let answer = answered(&WEB, &WEB.asks_nd(DB.v6));
        let sliced = SlicedPacket::from_ethernet(&answer).unwrap();
        let Some(TransportSlice::Icmpv6(message)) = sliced.transport else {
            panic!("no ICMPv6 message");
        };
        let kind = message.icmp_type();
        let Icmpv6Type::NeighborAdvertisement(header) = kind else {
            panic!("{kind:?}");
        };
        assert!(header.solicited && header.r#override && !header.router);
        let header =
            Icmpv6Header::with_checksum(kind, DB.v6.octets(), WEB.v6.octets(), message.payload());
        assert_eq!(header.unwrap().checksum, message.checksum());
    }

    /// RFC 4861 section 7.1.1 lets no receiver take such a message, and a question of an unusual form
    /// is answered by the station itself.
    #[test]
    fn unusual_solicitations_are_for_everybody() {
        let group = solicited_node(DB.v6);
        let nonce = vec![14, 1, 1, 2, 3, 4, 5, 6];
        let usual = nd(135, DB.v6, &[option(1, WEB.mac)]);
        let frame = |next_header, payload: &[u8]| {
            let packet = ipv6(WEB.v6, group, next_header, payload);
            ethernet(group_mac(group), WEB.mac, 0x86dd, &packet)
        };
        let mut forwarded = frame(58, &usual);
        forwarded[21] = 254;
        let extended = [&[58_u8, 0, 1, 4, 0, 0, 0, 0] as &[u8], &usual].concat();
        for frame in [
            forwarded,
            frame(60, &extended),
            frame(58, &nd(135, DB.v6, &[])),
            frame(58, &nd(135, DB.v6, std::slice::from_ref(&nonce))),
            frame(58, &nd(135, DB.v6, &[option(1, WEB.mac), nonce])),
        ] {
            assert_flooded(&tables(), &WEB, &frame, &[DB, CACHE]);
        }
    }

    #[test]
    fn duplicate_address_detection_is_for_everybody() {
        let group = solicited_node(DB.v6);
        let from = Ipv6Addr::UNSPECIFIED;
        for options in [vec![], vec![option(1, WEB.mac)]] {
            let message = icmpv6(from, group, &nd(135, DB.v6, &options));
            let packet = ipv6(from, group, 58, &message);
            let frame = ethernet(group_mac(group), WEB.mac, 0x86dd, &packet);
            assert_flooded(&tables(), &WEB, &frame, &[DB, CACHE]);
        }
    }

    #[test]
    fn networks_do_not_answer_for_one_another() {
        let mut tables = tables();
        // The twin of `DB` asks for an address that only the other network knows.
        let outcome = send(&tables, &TWIN, &TWIN.asks_arp(WEB.v4));
        assert!(matches!(outcome.action, Action::Drop { .. }));
        // And is no answer to those who ask for `DB`.
        tables.neighbors.retain(|key, _| key.vni == TWIN.vni);
        assert_eq!(
            answer(
                &tables,
                &WEB.ingress(0),
                &crate::memory::parse(&crate::memory::MemoryFrame::from_wire(&WEB.asks_arp(DB.v4)))
                    .unwrap()
            ),
            None
        );
    }
}
