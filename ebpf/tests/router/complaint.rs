//! What senders are told, and when they are not.

use datapath::Action;
use datapath::memory::{MemoryFrame, port_ingress};
use etherparse::{Icmpv4Type, Icmpv6Type, icmpv4, icmpv6};
use maps_schema::map::Route;
use maps_schema::{DropReason, IfIndex};

use super::line::*;

#[test]
fn each_router_on_the_way_answers_a_traceroute() {
    let line = Line::new(3);
    for (family, to) in line.db().into_iter().enumerate() {
        for ttl in 1..=3_u8 {
            let wire = Sent {
                ttl,
                ..Sent::to(to)
            }
            .udp();
            let (action, frame) = line.send(&wire);
            assert_eq!(action, Action::Deliver(IfIndex(1)));
            let told = told(&frame);
            let router = ttl - 1;
            let from = addresses(100 + u16::from(router), router)[family];
            assert_eq!(told.from, from.to_std(), "ttl {ttl}");
            assert!(matches!(
                (told.v4, told.v6),
                (
                    Some(Icmpv4Type::TimeExceeded(
                        icmpv4::TimeExceededCode::TtlExceededInTransit
                    )),
                    None
                ) | (
                    None,
                    Some(Icmpv6Type::TimeExceeded(
                        icmpv6::TimeExceededCode::HopLimitExceeded
                    ))
                )
            ));
            assert_eq!(told.payload, wire[14..]);
        }
        let (action, _) = line.send(
            &Sent {
                ttl: 4,
                ..Sent::to(to)
            }
            .udp(),
        );
        assert_eq!(action, Action::Deliver(IfIndex(2)));
    }
    assert_eq!(line.drops(DropReason::TtlExceeded), 6);
}

#[test]
fn any_address_of_a_router_answers_echo_requests() {
    let line = Line::new(2);
    for network in 0..=1 {
        for to in addresses(100, network) {
            let wire = Sent {
                ttl: 1,
                ..Sent::to(to)
            }
            .echo();
            let (action, frame) = line.send(&wire);
            assert_eq!(action, Action::Deliver(IfIndex(1)));
            let told = told(&frame);
            assert_eq!(told.from, to.to_std());
            assert_eq!(told.payload, b"payload");
            assert!(matches!(
                (told.v4, told.v6),
                (Some(Icmpv4Type::EchoReply(echo)), None) | (None, Some(Icmpv6Type::EchoReply(echo)))
                    if echo.id == 7 && echo.seq == 1
            ));
        }
    }
    // Nothing but echo is offered there.
    let [to, _] = addresses(100, 0);
    let (_, frame) = line.send(&Sent::to(to).udp());
    let code = icmpv4::DestUnreachableHeader::Port;
    assert_eq!(
        told(&frame).v4,
        Some(Icmpv4Type::DestinationUnreachable(code))
    );
}

#[test]
fn what_cannot_be_forwarded_is_told_or_not_as_its_route_says() {
    let mut line = Line::new(1);
    for (kind, net) in [(Route::BLACKHOLE, 66), (Route::REJECT, 77)] {
        let [v4, v6] = addresses(0, net);
        line.add_route(0, v4, 96 + 24, of_kind(kind));
        line.add_route(0, v6, 64, of_kind(kind));
    }
    for to in addresses(1, 66) {
        let (action, frame) = line.send(&Sent::to(to).udp());
        assert_eq!(
            action,
            Action::Drop {
                port: WEB,
                reason: DropReason::Blackhole
            }
        );
        assert_eq!(frame.to_wire(), Sent::to(to).udp());
    }
    let [v4, v6] = addresses(1, 77);
    let prohibited =
        Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::FilterProhibited);
    assert_eq!(told(&line.send(&Sent::to(v4).udp()).1).v4, Some(prohibited));
    let prohibited = Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Prohibited);
    assert_eq!(told(&line.send(&Sent::to(v6).udp()).1).v6, Some(prohibited));
    let no_route = Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::Network);
    assert_eq!(
        told(&line.send(&Sent::to(ip("192.0.2.1")).udp()).1).v4,
        Some(no_route)
    );
    let no_route = Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::NoRoute);
    assert_eq!(
        told(&line.send(&Sent::to(ip("2001:db8::1")).udp()).1).v6,
        Some(no_route)
    );
}

#[test]
fn a_packet_that_does_not_fit_is_told_which_size_does() {
    let mut line = Line::new(2);
    line.tables
        .router_ports
        .get_mut(&router_port(1, 2))
        .unwrap()
        .mtu = 1300;
    for to in line.db() {
        let sent = Sent {
            payload: vec![0xab; 1300],
            ..Sent::to(to)
        };
        let wire = sent.udp();
        let told = told(&line.send(&wire).1);
        match (told.v4, told.v6) {
            (Some(Icmpv4Type::DestinationUnreachable(code)), None) => {
                let needed =
                    icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1300 };
                assert_eq!(code, needed);
                // An ICMP error has 576 bytes at most.
                assert_eq!(told.payload, wire[14..14 + 576 - 28]);
            }
            (None, Some(Icmpv6Type::PacketTooBig { mtu: 1300 })) => {
                assert_eq!(told.payload, wire[14..14 + 1280 - 48]);
            }
            other => panic!("{other:?}"),
        }
        let fits = Sent {
            payload: vec![0; 1300 - 48],
            ..Sent::to(to)
        }
        .udp();
        assert_eq!(line.send(&fits).0, Action::Deliver(IfIndex(2)));
        // A frame that offload left whole is judged by what it will be cut into.
        let mut frame = MemoryFrame::from_wire(&wire);
        frame.segment_len = 1200;
        let action = port_ingress(&mut frame, &line.tables, IfIndex(1));
        assert_eq!(action, Action::Deliver(IfIndex(2)));
    }
}

#[test]
fn nobody_is_told_about_errors_later_fragments_and_martians() {
    let line = Line::new(1);
    let mut error = Sent {
        ttl: 1,
        ..Sent::to(line.db()[0])
    }
    .echo();
    error[34] = 3;
    let mut fragment = Sent {
        ttl: 1,
        ..Sent::to(line.db()[0])
    }
    .udp();
    fragment[21] = 9;
    for wire in [error, fragment] {
        let (action, frame) = line.send(&wire);
        assert_eq!(
            action,
            Action::Drop {
                port: WEB,
                reason: DropReason::TtlExceeded
            }
        );
        assert_eq!(frame.to_wire(), wire);
    }
    for to in [
        "127.0.0.1",
        "169.254.1.1",
        "224.0.0.9",
        "0.0.0.0",
        "255.255.255.255",
        "fe80::1",
        "ff02::1",
        "::1",
    ] {
        let (action, _) = line.send(&Sent::to(ip(to)).udp());
        assert_eq!(
            action,
            Action::Drop {
                port: WEB,
                reason: DropReason::Martian
            },
            "{to}"
        );
    }
}

#[test]
fn resets_share_the_budget_of_errors() {
    let line = Line::new(1);
    let [v4, v6] = addresses(100, 0);
    for (to, seq_at) in [(v4, 38), (v6, 58)] {
        let wire = Sent::to(to).tcp();
        let frames: Vec<_> = (0..100).map(|_| line.send(&wire)).collect();
        let is_reset = |(action, frame): &&(Action, MemoryFrame)| {
            let wire = frame.to_wire();
            *action == Action::Deliver(IfIndex(1)) && wire[seq_at + 9] == 0x14
        };
        assert_eq!(frames.iter().filter(is_reset).count(), 16);
        // No error is left either.
        assert_eq!(line.send(&Sent::to(to).udp()).0, dropped());
        // A reset is not reset, and costs nothing.
        let mut reset = wire.clone();
        reset[seq_at + 9] = 0x04;
        line.tables
            .now_ns
            .set(line.tables.now_ns.get() + 50_000_000);
        assert_eq!(line.send(&reset).0, dropped());
        assert_eq!(line.send(&wire).0, Action::Deliver(IfIndex(1)));
    }
}

fn dropped() -> Action {
    Action::Drop {
        port: WEB,
        reason: DropReason::RouterService,
    }
}

#[test]
fn errors_to_one_receiver_are_limited_and_the_budget_refills() {
    let line = Line::new(1);
    let wire = Sent {
        ttl: 1,
        ..Sent::to(line.db()[0])
    }
    .udp();
    let told = |count: usize| {
        (0..count)
            .filter(|_| line.send(&wire).0 == Action::Deliver(IfIndex(1)))
            .count()
    };
    assert_eq!(told(100), 16);
    line.tables.now_ns.set(100_000_000);
    assert_eq!(told(100), 2);
    assert_eq!(line.drops(DropReason::TtlExceeded), 200);
}
