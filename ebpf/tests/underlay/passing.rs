//! What arrives is what was sent.

use datapath::Action;
use maps_schema::DropReason;
use maps_schema::map::EgressPort;

use super::pair::{
    INSIDE, MTU, OWN, PEER, Side, all_dropped, counters, datagram, dropped, host, receive, send,
    sum, wrapped,
};

const TUNNELS: [u32; 3] = [EgressPort::VXLAN, EgressPort::GENEVE, EgressPort::GRE];

#[test]
fn every_tunnel_over_either_family_delivers_what_was_sent() {
    for kind in TUNNELS {
        for is_v6 in [false, true] {
            let (alpha, beta) = (
                host(Side::Alpha, kind, is_v6),
                host(Side::Beta, kind, is_v6),
            );
            for payload in [0, 1, 17, 1000] {
                let wire = datagram(Side::Alpha, 0xb8, payload);
                let outer = wrapped(&alpha, &wire);
                let (action, frame) = receive(&beta, &outer);
                assert_eq!(action, Action::Deliver(INSIDE), "{kind} {is_v6} {payload}");
                assert_eq!(frame.to_wire(), wire);
            }
            assert_eq!(counters(&alpha, PEER).egress_packets, 4);
            assert_eq!(counters(&beta, PEER).ingress_packets, 4);
            assert_eq!(
                counters(&beta, PEER).ingress_bytes,
                counters(&alpha, PEER).egress_bytes
            );
            assert_eq!(counters(&beta, OWN).egress_packets, 4);
            assert_eq!(all_dropped(&alpha) + all_dropped(&beta), 0);
        }
    }
}

#[test]
fn questions_that_nobody_here_answers_cross_once_and_go_nowhere_else() {
    for is_v6 in [false, true] {
        let (alpha, beta) = (
            host(Side::Alpha, EgressPort::VXLAN, is_v6),
            host(Side::Beta, EgressPort::VXLAN, is_v6),
        );
        let (mac, ip) = (Side::Alpha.mac().octets(), Side::Alpha.ip().octets());
        let arp = [
            &[0xff; 6][..],
            &mac,
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
            &mac,
            &ip,
            &[0; 6],
            &[10, 1, 0, 99],
        ]
        .concat();
        let (action, frame) = send(&alpha, &arp);
        assert_eq!(action, Action::Copied);
        let [(_, outer)] = frame.copies.as_slice() else {
            panic!("one copy: {:?}", frame.copies);
        };
        let (action, frame) = receive(&beta, outer);
        assert_eq!(action, Action::Deliver(INSIDE));
        assert_eq!((frame.to_wire(), frame.copies.len()), (arp, 0));
    }
}

#[test]
fn marks_of_congestion_come_out_of_the_tunnel() {
    // ECN of the inner packet, the mark that the underlay sets, and what arrives.
    let cases = [
        (0b10, 0b11, Some(0b11)),
        (0b01, 0b11, Some(0b11)),
        (0b00, 0b11, None),
    ];
    for kind in TUNNELS {
        let (alpha, beta) = (host(Side::Alpha, kind, true), host(Side::Beta, kind, true));
        for (inner, mark, expected) in cases {
            let wire = datagram(Side::Alpha, 0xb8 | inner, 20);
            let mut outer = wrapped(&alpha, &wire);
            assert_eq!(
                outer[15] >> 4 & 3,
                inner,
                "the outer header has the inner one's"
            );
            outer[15] |= mark << 4;
            let (action, frame) = receive(&beta, &outer);
            match expected {
                Some(mark) => {
                    assert_eq!(action, Action::Deliver(INSIDE));
                    let arrived = frame.to_wire();
                    assert_eq!(arrived[15], 0xb8 | mark);
                    assert_eq!(sum(&arrived[14..34]), 0xffff, "the checksum is right");
                }
                None => assert_eq!(dropped(&beta, DropReason::Congestion), 1),
            }
        }
    }
}

#[test]
fn who_sends_too_much_for_the_tunnel_is_told_what_fits() {
    let alpha = host(Side::Alpha, EgressPort::VXLAN, false);
    let fits = datagram(Side::Alpha, 0, MTU as usize - 28);
    wrapped(&alpha, &fits);
    let (action, frame) = send(&alpha, &datagram(Side::Alpha, 0, MTU as usize - 27));
    assert_eq!(action, Action::Deliver(INSIDE));
    let told = frame.to_wire();
    assert_eq!(told[..6], Side::Alpha.mac().octets());
    assert_eq!(
        (told[23], &told[34..36]),
        (1, &[3, 4][..]),
        "fragmentation needed"
    );
    assert_eq!(told[40..42], (MTU as u16).to_be_bytes());
    assert_eq!(dropped(&alpha, DropReason::TooBig), 1);
}
