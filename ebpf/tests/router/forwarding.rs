//! Packets that arrive, and how they look then.

use datapath::Action;
use maps_schema::map::{EgressPort, NextHop, NextHopKey, Route};
use maps_schema::{DropReason, IfIndex, Ip, Mac, NextHopList, PortId, RouterId};
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::line::*;

#[test]
fn a_packet_passes_routers_and_arrives_with_its_last_addresses() {
    for routers in [1, 2, 3, 8, 16] {
        let line = Line::new(routers);
        for to in line.db() {
            let wire = Sent::to(to).udp();
            let (action, frame) = line.send(&wire);
            assert_eq!(
                action,
                Action::Deliver(IfIndex(2)),
                "{routers} routers, {to}"
            );
            let out = frame.to_wire();
            assert_checksums(&out);
            let last = router_mac(routers - 1, routers);
            assert_eq!(out[..12], [db_mac().octets(), last.octets()].concat());
            let ttl = if to.is_v4() { 22 } else { 21 };
            assert_eq!(out[ttl], 64 - routers);
            // Nothing else was changed: not the payload, not its checksum.
            assert_eq!(out[34..], wire[34..]);
        }
    }
}

#[test]
fn a_loop_of_routes_ends() {
    let mut line = Line::new(2);
    let to = ip("198.51.100.1");
    let via = |router: u16, network| addresses(100 + router, network)[0];
    line.add_route(0, to, 128, forward(router_port(0, 1), via(1, 1)));
    line.add_route(1, to, 128, forward(router_port(1, 1), via(0, 1)));
    let sent = |ttl| {
        Sent {
            ttl,
            ..Sent::to(to)
        }
        .udp()
    };
    assert_eq!(
        line.send(&sent(255)).0,
        Action::Drop {
            port: WEB,
            reason: DropReason::TooManyRouters
        }
    );
    // With a short life the packet dies as it should, and its sender hears of it.
    assert_eq!(line.send(&sent(5)).0, Action::Deliver(IfIndex(1)));
    assert_eq!(line.drops(DropReason::TtlExceeded), 1);
}

#[test]
fn equal_next_hops_share_flows_and_both_directions_agree() {
    let mut line = Line::new(1);
    let hops = [db_mac(), Mac::new([2, 0, 0, 0, 0, 3])];
    let other = PortId(3);
    line.know(1, hops[1], other, RouterId::NONE, &[ip("10.0.1.13")]);
    line.tables
        .ports
        .insert(other, EgressPort::workload(IfIndex(3)));
    let list = NextHopList(9);
    for bucket in 0..64 {
        let via = if bucket % 2 == 0 {
            ip("10.0.1.12")
        } else {
            ip("10.0.1.13")
        };
        let hop = NextHop {
            port: router_port(0, 1),
            via,
        };
        line.tables
            .next_hops
            .insert(NextHopKey { list, bucket }, hop);
    }
    let route = Route {
        buckets: 64,
        next_hops: list,
        ..forward(PortId::NONE, Ip::UNSPECIFIED_V6)
    };
    line.add_route(0, ip("198.51.0.0"), 96 + 16, route);
    let mut taken = [0; 2];
    for host in 0..400_u16 {
        let [high, low] = host.to_be_bytes();
        let wire = Sent::to(Ip::from(Ipv4Addr::new(198, 51, high, low))).udp();
        let (first, second) = (line.send(&wire).0, line.send(&wire).0);
        assert_eq!(first, second);
        match first {
            Action::Deliver(IfIndex(2)) => taken[0] += 1,
            Action::Deliver(IfIndex(3)) => taken[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(
        taken.iter().all(|&count| (140..260).contains(&count)),
        "{taken:?}"
    );
}

fn addresses_of_all_kinds() -> impl Strategy<Value = Ip> {
    let known = [
        "10.0.1.12",
        "fd00:0:0:1::c",
        "10.0.0.100",
        "10.0.1.77",
        "fd00::64",
    ];
    prop_oneof![
        any::<[u8; 16]>().prop_map(|octets| Ip::from(Ipv6Addr::from(octets))),
        any::<[u8; 4]>().prop_map(|octets| Ip::from(Ipv4Addr::from(octets))),
        prop::sample::select(known.map(ip).to_vec()),
    ]
}

proptest! {
    /// Whatever the packet, a dropped frame is unchanged, what goes back is well formed and goes
    /// to its sender only, and what is forwarded has lived shorter.
    #[test]
    fn any_packet_is_forwarded_answered_or_dropped_whole(
        to in addresses_of_all_kinds(),
        ttl: u8,
        payload in prop::collection::vec(any::<u8>(), 0..1400),
        noise in prop::collection::vec((14..90_usize, any::<u8>()), 0..3),
    ) {
        let line = Line::new(1);
        let mut wire = Sent { to, ttl, payload }.udp();
        for (at, byte) in noise {
            if let Some(target) = wire.get_mut(at) {
                *target = byte;
            }
        }
        let (action, frame) = line.send(&wire);
        match action {
            Action::Drop { reason: DropReason::NeighborPending, .. } => {}
            Action::Drop { .. } => prop_assert_eq!(frame.to_wire(), wire),
            Action::Consume(_) => prop_assert!(false, "nothing was asked for"),
            Action::Deliver(IfIndex(1)) => {
                prop_assert_eq!(&frame.to_wire()[..6], web_mac().octets());
                prop_assert!(frame.to_wire().len() <= 14 + 1280.max(wire.len()));
            }
            Action::Deliver(interface) => {
                prop_assert_eq!(interface, IfIndex(2));
                prop_assert_eq!(frame.to_wire().len(), wire.len());
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
