//! What XDP refuses, and that it refuses nothing that TC would take in.

use std::net::Ipv4Addr;

use maps_schema::Ip;
use maps_schema::map::PortCounters;
use proptest::prelude::*;

use super::*;
use crate::memory::{self, MemoryFrame, MemoryTables};
use crate::scene::{DB, WEB, counters, ethernet, ipv4, tables};

const UPLINK: IfIndex = IfIndex(2);
const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 12);
const GENEVE_PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 13);
const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
const PEER_PORT: PortId = PortId(50);
const GENEVE_PORT: PortId = PortId(51);
/// No network has this number.
const NOBODY: u32 = 99;

fn host() -> MemoryTables {
    let mut tables = tables();
    let uplink = Uplink {
        address: Ip::from(OWN),
        flags: 0,
    };
    tables.uplinks.insert(UPLINK, uplink);
    for (address, port, kind) in [
        (PEER, PEER_PORT, EgressPort::VXLAN),
        (GENEVE_PEER, GENEVE_PORT, EgressPort::GENEVE),
    ] {
        let flags = u32::from(IngressPort::PEER);
        tables
            .peers
            .insert(Ip::from(address), Peer { port, kind, flags });
        let counters = tables.counters.get_mut();
        counters.insert(port, PortCounters::ZERO);
    }
    let counters = tables.counters.get_mut();
    counters.insert(PortId::NONE, PortCounters::ZERO);
    tables
}

/// A packet in UDP; the ports are those of RFC 7348 and RFC 8926.
fn in_udp(from: Ipv4Addr, port: u16, header: [u8; 8], inner: &[u8]) -> Vec<u8> {
    let len = (16 + inner.len()) as u16;
    let udp = [[0xc0, 1], port.to_be_bytes(), len.to_be_bytes(), [0, 0]].concat();
    let packet = ipv4(from, OWN, 17, &[&udp, &header as &[u8], inner].concat());
    ethernet(DB.mac, WEB.mac, 0x0800, &packet)
}

fn vxlan(from: Ipv4Addr, vni: u32, inner: &[u8]) -> Vec<u8> {
    let [_, v0, v1, v2] = vni.to_be_bytes();
    in_udp(from, 4789, [0x08, 0, 0, 0, v0, v1, v2, 0], inner)
}

fn geneve(from: Ipv4Addr, vni: u32, flags: u8, inner: &[u8]) -> Vec<u8> {
    let [_, v0, v1, v2] = vni.to_be_bytes();
    let header = [0, flags, 0x65, 0x58, v0, v1, v2, 0];
    in_udp(from, 6081, header, inner)
}

fn gre(from: Ipv4Addr, key: u32, inner: &[u8]) -> Vec<u8> {
    let header = [&[0x20, 0, 0x65, 0x58], &key.to_be_bytes() as &[u8]].concat();
    let packet = ipv4(from, OWN, 47, &[&header, inner].concat());
    ethernet(DB.mac, WEB.mac, 0x0800, &packet)
}

fn screen(tables: &MemoryTables, wire: &[u8]) -> Result<(), Refusal> {
    let frame = MemoryFrame::from_wire(wire);
    uplink_xdp(&frame, tables, &mut Scratch::new(), UPLINK)
}

/// XDP refuses the frame for this reason at this port, counts it once, and what TC would have
/// counted without XDP is the same.
#[track_caller]
fn assert_refused(wire: &[u8], port: PortId, reason: DropReason) {
    let tables = host();
    assert_eq!(screen(&tables, wire), Err(Refusal { port, reason }));
    assert_eq!(counters(&tables, port).drops[reason as usize], 1);
    let alone = host();
    let action = memory::uplink_ingress(&mut MemoryFrame::from_wire(wire), &alone, UPLINK);
    assert_eq!(action, Action::Drop { port, reason });
    assert_eq!(tables.counters, alone.counters);
    assert_eq!(tables.peer_states, alone.peer_states);
}

/// XDP lets the frame pass and counts nothing.
#[track_caller]
fn assert_passed(wire: &[u8]) {
    let tables = host();
    assert_eq!(screen(&tables, wire), Ok(()));
    assert_eq!(tables.counters, host().counters);
    assert_eq!(tables.peer_states, host().peer_states);
}

fn inner() -> Vec<u8> {
    DB.udp_to(&WEB)
}

#[test]
fn what_peers_send_and_what_is_none_of_ours_passes() {
    let inner = inner();
    assert_passed(&vxlan(PEER, 7, &inner));
    assert_passed(&geneve(GENEVE_PEER, 7, 0, &inner));
    // An echo: TC answers it.
    assert_passed(&vxlan(PEER, 0, &inner));
    // The host's own: another address, another UDP port, an ordinary fragment, ARP, nothing whole.
    let mut other = vxlan(STRANGER, 7, &inner);
    other[33] = 12;
    assert_passed(&other);
    assert_passed(&in_udp(STRANGER, 53, [0; 8], &inner));
    let mut later = vxlan(PEER, 7, &inner);
    later[21] = 1;
    assert_passed(&later);
    assert_passed(&WEB.asks_arp(DB.v4));
    for len in 0..50 {
        assert_passed(&vxlan(STRANGER, 7, &inner)[..len]);
    }
}

#[test]
fn what_cannot_be_ours_is_refused_as_tc_would() {
    let inner = inner();
    let nowhere = PortId::NONE;
    assert_refused(
        &vxlan(STRANGER, 7, &inner),
        nowhere,
        DropReason::UnknownPeer,
    );
    assert_refused(&gre(STRANGER, 7, &inner), nowhere, DropReason::UnknownPeer);
    assert_refused(&gre(PEER, 7, &inner), nowhere, DropReason::WrongTunnel);
    let wrong = geneve(PEER, 7, 0, &inner);
    assert_refused(&wrong, nowhere, DropReason::WrongTunnel);
    let unknown = vxlan(PEER, NOBODY, &inner);
    assert_refused(&unknown, PEER_PORT, DropReason::UnknownVni);
    let critical = geneve(GENEVE_PEER, 7, 0x40, &inner);
    assert_refused(&critical, nowhere, DropReason::CriticalOption);
    let mut without_vni = vxlan(PEER, 7, &inner);
    without_vni[42] = 0;
    assert_refused(&without_vni, nowhere, DropReason::MalformedOuter);
    let cut_off = &vxlan(PEER, 7, &inner)[..60];
    assert_refused(cut_off, nowhere, DropReason::MalformedOuter);
    let mut fragment = vxlan(PEER, 7, &inner);
    fragment[20] = 0x20;
    assert_refused(&fragment, nowhere, DropReason::OuterFragment);
}

#[test]
fn an_interface_that_is_no_uplink_is_left_alone() {
    let mut tables = host();
    tables.uplinks.clear();
    assert_eq!(screen(&tables, &vxlan(STRANGER, 7, &inner())), Ok(()));
}

proptest! {
    /// Whatever arrives: what XDP refuses TC would have dropped, at the same port and with the same
    /// counters; what passes is not touched, so that TC finds all as if there were no XDP.
    #[test]
    fn nothing_is_refused_that_would_be_taken_in(
        (kind, from, vni) in (0..3_u8, prop::sample::select(vec![PEER, GENEVE_PEER, STRANGER]),
            prop::sample::select(vec![0, 7, NOBODY])),
        changes in prop::collection::vec((0..64_usize, any::<u8>()), 0..4),
        len in 0..120_usize,
    ) {
        let inner = inner();
        let mut wire = match kind {
            0 => vxlan(from, vni, &inner),
            1 => geneve(from, vni, 0, &inner),
            _ => gre(from, vni, &inner),
        };
        for (at, byte) in changes {
            if let Some(place) = wire.get_mut(at) {
                *place = byte;
            }
        }
        wire.truncate(len.max(14));
        let tables = host();
        match screen(&tables, &wire) {
            Ok(()) => {
                prop_assert_eq!(&tables.counters, &host().counters);
                prop_assert_eq!(&tables.peer_states, &host().peer_states);
            }
            Err(Refusal { port, reason }) => {
                let alone = host();
                let mut frame = MemoryFrame::from_wire(&wire);
                let action = memory::uplink_ingress(&mut frame, &alone, UPLINK);
                prop_assert_eq!(action, Action::Drop { port, reason });
                prop_assert_eq!(&tables.counters, &alone.counters);
                prop_assert_eq!(&tables.peer_states, &alone.peer_states);
            }
        }
    }
}
