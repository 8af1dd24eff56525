//! Neighbors that nobody declared.

use datapath::Action;
use datapath::memory::{MemoryFrame, port_ingress};
use etherparse::{NetSlice, SlicedPacket};
use maps_schema::map::IngressPort;
use maps_schema::{DropReason, IfIndex};
use std::net::Ipv6Addr;

use super::line::*;

#[test]
fn a_neighbor_that_nobody_declared_is_asked_for() {
    for family in [0, 1] {
        let mut line = Line::new(1);
        let undeclared = line.db()[family];
        line.tables.neighbors.retain(|key, _| key.ip != undeclared);
        let to = line.db()[family];
        let wire = Sent::to(to).udp();
        let (action, frame) = line.send(&wire);
        assert_eq!(
            action,
            Action::Drop {
                port: WEB,
                reason: DropReason::NeighborPending
            }
        );
        let [(IfIndex(2), question)] = frame.copies.as_slice() else {
            panic!("{:?}", frame.copies)
        };
        let asked = SlicedPacket::from_ethernet(question).unwrap();
        assert_eq!(question[6..12], router_mac(0, 1).octets());
        match asked.net.unwrap() {
            NetSlice::Arp(arp) => {
                assert_eq!(question[..6], [0xff; 6]);
                assert_eq!(arp.operation(), etherparse::ArpOperation::REQUEST);
                assert_eq!(arp.sender_hw_addr(), router_mac(0, 1).octets());
                assert_eq!(arp.sender_protocol_addr(), [10, 0, 1, 100]);
                assert_eq!(arp.target_protocol_addr(), [10, 0, 1, 12]);
            }
            NetSlice::Ipv6(packet) => {
                assert_checksums(question);
                assert_eq!(question[..6], [0x33, 0x33, 0xff, 0, 0, 12]);
                assert_eq!(
                    packet.header().destination_addr(),
                    "ff02::1:ff00:c".parse::<Ipv6Addr>().unwrap()
                );
                assert_eq!(packet.header().hop_limit(), 255);
                assert_eq!(question[54], 135);
                assert_eq!(question[62..78], to.octets());
            }
            NetSlice::Ipv4(_) => panic!("an IPv4 question"),
        }
        // At once again, nobody is asked.
        assert!(line.send(&wire).1.copies.is_empty());
        answer(&line, family, question);
        assert_eq!(line.send(&wire).0, Action::Deliver(IfIndex(2)));
    }
}

/// `db` answers a question as its kernel would; its port may, because it learns.
fn answer(line: &Line, family: usize, question: &[u8]) {
    let mut tables = line.tables.clone();
    tables.interfaces.get_mut(&IfIndex(2)).unwrap().flags = IngressPort::LEARNING;
    let mut wire = Vec::new();
    let router = &question[6..12];
    wire.extend([router, &db_mac().octets()].concat());
    if family == 0 {
        wire.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
        wire.extend(
            [
                &db_mac().octets()[..],
                &[10, 0, 1, 12],
                router,
                &[10, 0, 1, 100],
            ]
            .concat(),
        );
    } else {
        let message: Vec<u8> = [
            &[136, 0, 0, 0, 0x60, 0, 0, 0][..],
            &line.db()[1].octets(),
            &[2, 1],
            &db_mac().octets(),
        ]
        .concat();
        wire.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]);
        wire.extend(line.db()[1].octets());
        wire.extend(addresses(100, 1)[1].octets());
        wire.extend(message);
    }
    let mut frame = MemoryFrame::from_wire(&wire);
    let action = port_ingress(&mut frame, &tables, IfIndex(2));
    assert_eq!(action, Action::Consume(router_port(0, 1)));
    assert_eq!(frame.to_wire(), wire);
    *line.tables.resolved.borrow_mut() = tables.resolved.into_inner();
}

#[test]
fn a_neighbor_that_does_not_answer_is_given_up_and_tried_again() {
    let mut line = Line::new(1);
    line.tables
        .neighbors
        .retain(|key, _| key.ip != addresses(12, 1)[0]);
    let wire = Sent::to(line.db()[0]).udp();
    let mut asked = Vec::new();
    for second in 0..12_u64 {
        line.tables.now_ns.set(1_000_000_000 * (second + 1));
        let (action, frame) = line.send(&wire);
        asked.push(match action {
            Action::Drop {
                reason: DropReason::NeighborPending,
                ..
            } => frame.copies.len(),
            Action::Deliver(IfIndex(1)) => 9,
            other => panic!("{other:?}"),
        });
    }
    // Three questions, then the sender is told, then it is tried again.
    assert_eq!(asked, [1, 1, 1, 9, 9, 9, 9, 1, 1, 1, 9, 9]);
}
