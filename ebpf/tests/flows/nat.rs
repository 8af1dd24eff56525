//! What is translated, and when it is not any more.

use datapath::Action;
use datapath::memory::{MemoryFrame, MemoryTables, port_ingress, uplink_ingress};
use maps_schema::map::{Flow, FlowKey};
use maps_schema::{DropReason, IfIndex, PortId, Vni};

use super::edge::{EXIT, HOST, PORTS, PUBLISHED, WORLD, add_uplink, answer, from_world, publish};
use super::line::{DB, WEB, ip};
use super::packet::{ACK, FIN, ICMP, Packet, RST, SYN, TCP, UDP};
use super::site::{OUTSIDE, Station, gateway, one_host, set_epoch};

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 24 * 3600 * SECOND;

fn edge() -> MemoryTables {
    let mut tables = one_host(1);
    tables.now_ns.set(DAY);
    add_uplink(&mut tables, 1);
    set_epoch(&mut tables, 1);
    tables
}

/// A packet from a station to the world.
fn out(station: PortId, protocol: u8, port: u16) -> Packet {
    let all = Station::all(1);
    let from = all.iter().find(|it| it.port == station).unwrap();
    Packet {
        destination: gateway(from, 1),
        source: from.mac,
        ip_source: from.ips()[0],
        ip_destination: ip(WORLD[0]),
        ports: if protocol == ICMP {
            [8, port]
        } else {
            [port, 53]
        },
        ..from_world(0, protocol, [0; 2])
    }
}

/// What becomes of it.
fn send(tables: &MemoryTables, station: PortId, packet: &Packet) -> (Action, Vec<u8>) {
    let mut frame = MemoryFrame::from_wire(&packet.wire());
    let action = port_ingress(&mut frame, tables, IfIndex(station.0));
    (action, frame.to_wire())
}

/// It leaves; returns the answer to it.
#[track_caller]
fn leaves(tables: &MemoryTables, station: PortId, packet: &Packet) -> Packet {
    let (action, wire) = send(tables, station, packet);
    assert!(
        matches!(
            action,
            Action::Underlay {
                uplink: OUTSIDE,
                ..
            }
        ),
        "{action:?}"
    );
    answer(&wire).unwrap()
}

fn receive(tables: &MemoryTables, packet: &Packet) -> (Action, Vec<u8>) {
    let mut frame = MemoryFrame::from_wire(&packet.wire());
    let action = uplink_ingress(&mut frame, tables, OUTSIDE);
    (action, frame.to_wire())
}

#[track_caller]
fn arrives(tables: &MemoryTables, packet: &Packet, station: PortId) -> Vec<u8> {
    let (action, wire) = receive(tables, packet);
    assert_eq!(action, Action::Deliver(IfIndex(station.0)));
    wire
}

fn wait(tables: &MemoryTables, time: u64) {
    tables.now_ns.set(tables.now_ns.get() + time);
}

fn dropped(action: Action) -> Option<DropReason> {
    match action {
        Action::Drop { reason, .. } => Some(reason),
        _ => None,
    }
}

/// The destination port of an IPv4 packet, and its source port.
fn ports(wire: &[u8]) -> [u16; 2] {
    let word = |at: usize| u16::from_be_bytes([wire[at], wire[at + 1]]);
    [word(36), word(34)]
}

#[test]
fn two_with_the_same_port_get_two_and_each_its_answer() {
    let tables = edge();
    for protocol in [TCP, UDP, ICMP] {
        let answers =
            [WEB, DB].map(|station| leaves(&tables, station, &out(station, protocol, 5000)));
        // Of echoes the second one is the identifier, too.
        let [first, second] = answers.map(|answer| answer.ports[1]);
        assert_eq!(first, 5000);
        assert_ne!(second, 5000);
        for (station, answer) in [WEB, DB].into_iter().zip(&answers) {
            arrives(&tables, answer, station);
        }
    }
}

#[test]
fn a_port_stays_the_same_for_every_destination() {
    let tables = edge();
    // 40000 is none of those that are given away.
    let given: Vec<u16> = ["198.51.100.1", "198.51.100.2", "203.0.113.9"]
        .into_iter()
        .map(|to| {
            let packet = Packet {
                ip_destination: ip(to),
                ..out(WEB, UDP, 40000)
            };
            leaves(&tables, WEB, &packet).ports[1]
        })
        .collect();
    assert!(PORTS.0 <= given[0] && given[0] <= PORTS.1);
    assert_eq!(given, [given[0]; 3]);
    assert_eq!(leaves(&tables, WEB, &out(WEB, UDP, 5000)).ports[1], 5000);
}

#[test]
fn a_range_that_is_full_is_a_named_drop() {
    let mut tables = edge();
    for source in tables.sources.values_mut() {
        (source.first_port, source.last_port) = (2000, 2001);
    }
    let answers = [1, 2].map(|port| leaves(&tables, WEB, &out(WEB, UDP, port)));
    let (action, _) = send(&tables, DB, &out(DB, UDP, 3));
    assert_eq!(dropped(action), Some(DropReason::NatExhausted));
    // Nobody lost what he has.
    for answer in &answers {
        arrives(&tables, answer, WEB);
    }
    // One that is over makes room.
    wait(&tables, 61 * SECOND);
    leaves(&tables, DB, &out(DB, UDP, 3));
}

#[test]
fn who_is_not_answered_keeps_his_port() {
    let mut tables = edge();
    for source in tables.sources.values_mut() {
        (source.first_port, source.last_port) = (2000, 2000);
    }
    leaves(&tables, WEB, &out(WEB, UDP, 514));
    // Many times as long as the outside may be silent.
    for _ in 0..20 {
        wait(&tables, 20 * SECOND);
        leaves(&tables, WEB, &out(WEB, UDP, 514));
    }
    let (action, _) = send(&tables, DB, &out(DB, UDP, 514));
    assert_eq!(dropped(action), Some(DropReason::NatExhausted));
}

#[test]
fn a_row_that_made_room_for_others_is_made_again_as_it_was() {
    let tables = edge();
    let packet = out(WEB, UDP, 5000);
    let reply = leaves(&tables, WEB, &packet);
    arrives(&tables, &reply, WEB);
    let is_outside = |key: &FlowKey, _: &mut Flow| key.vni != Vni::NONE;
    tables.embryos.borrow_mut().retain(is_outside);
    tables.connections.borrow_mut().retain(is_outside);
    wait(&tables, 2 * SECOND);
    let again = leaves(&tables, WEB, &packet);
    assert_eq!(again.ports, reply.ports);
    arrives(&tables, &reply, WEB);
}

#[test]
fn who_lost_his_port_to_another_gets_a_new_one() {
    let tables = edge();
    let (web, db) = (out(WEB, UDP, 5000), out(DB, UDP, 5000));
    leaves(&tables, WEB, &web);
    tables
        .embryos
        .borrow_mut()
        .retain(|key, _| key.vni != Vni::NONE);
    let taken = leaves(&tables, DB, &db);
    assert_eq!(taken.ports[1], 5000);
    wait(&tables, 2 * SECOND);
    // The first packet after a second notices.
    leaves(&tables, WEB, &web);
    let answer = leaves(&tables, WEB, &web);
    assert_ne!(answer.ports[1], 5000);
    arrives(&tables, &answer, WEB);
    arrives(&tables, &taken, DB);
}

#[test]
fn a_published_port_leads_to_whom_it_stands_for_now() {
    let mut tables = edge();
    let packet = from_world(0, UDP, [4000, PUBLISHED]);
    assert_eq!(ports(&arrives(&tables, &packet, DB)), [80, 4000]);
    let [web, ..] = Station::all(1);
    publish(&mut tables, (UDP, 0, PUBLISHED), (web.ips()[0], 81));
    set_epoch(&mut tables, 2);
    // The same client goes on sending.
    assert_eq!(ports(&arrives(&tables, &packet, WEB)), [81, 4000]);
    tables.public.clear();
    set_epoch(&mut tables, 3);
    assert_eq!(receive(&tables, &packet).0, Action::Pass);
}

#[test]
fn a_source_of_another_pool_begins_another_connection() {
    let mut tables = edge();
    let packet = out(WEB, UDP, 5000);
    assert_eq!(leaves(&tables, WEB, &packet).ip_destination, ip(HOST[0]));
    for source in tables.sources.values_mut() {
        source.first = ip("192.0.2.99");
    }
    set_epoch(&mut tables, 2);
    let (action, _) = send(&tables, WEB, &packet);
    assert_eq!(dropped(action), Some(DropReason::NatChanged));
    assert_eq!(
        leaves(&tables, WEB, &packet).ip_destination,
        ip("192.0.2.99")
    );
}

#[test]
fn two_ports_of_the_host_for_one_service_are_told_apart() {
    let mut tables = edge();
    let [_, db, _] = Station::all(1);
    publish(&mut tables, (UDP, 0, 9090), (db.ips()[0], 80));
    let first = arrives(&tables, &from_world(0, UDP, [4000, PUBLISHED]), DB);
    let second = arrives(&tables, &from_world(0, UDP, [4000, 9090]), DB);
    let ([_, first], [_, second]) = (ports(&first), ports(&second));
    assert_eq!(first, 4000);
    assert_ne!(second, 4000);
    for (client, public) in [(first, PUBLISHED), (second, 9090)] {
        let packet = Packet {
            ports: [80, client],
            ..out(DB, UDP, 80)
        };
        let (action, wire) = send(&tables, DB, &packet);
        assert!(matches!(action, Action::Underlay { .. }), "{action:?}");
        assert_eq!(ports(&wire), [4000, public]);
    }
}

#[test]
fn the_outside_cannot_claim_to_be_inside() {
    let tables = edge();
    let [web, ..] = Station::all(1);
    let packet = Packet {
        ip_source: web.ips()[0],
        ..from_world(0, UDP, [4000, PUBLISHED])
    };
    assert_eq!(
        dropped(receive(&tables, &packet).0),
        Some(DropReason::Martian)
    );
    assert_eq!(
        tables.counters.borrow()[&EXIT].drops[DropReason::Martian as usize],
        1
    );
}

/// A connection from `web` to the world; returns what the world's segments are like.
fn connect(tables: &MemoryTables) -> Packet {
    let say = |flags, sequence, acknowledgment| {
        let packet = Packet {
            flags,
            sequence,
            acknowledgment,
            len: 0,
            ..out(WEB, TCP, 5000)
        };
        leaves(tables, WEB, &packet)
    };
    let answer = say(SYN, 100, 0);
    let answer = Packet {
        flags: SYN | ACK,
        sequence: 500,
        acknowledgment: 101,
        len: 0,
        ..answer
    };
    arrives(tables, &answer, WEB);
    say(ACK, 101, 501);
    Packet {
        flags: ACK,
        sequence: 501,
        ..answer
    }
}

#[test]
fn what_is_over_has_no_place_among_what_goes_on() {
    let tables = edge();
    let world = connect(&tables);
    assert_eq!(tables.connections.borrow().len(), 2);
    let reset = Packet {
        flags: RST | ACK,
        ..world
    };
    arrives(&tables, &reset, WEB);
    assert_eq!(tables.connections.borrow().len(), 0);
    assert_eq!(tables.embryos.borrow().len(), 2);
}

#[test]
fn who_does_not_see_a_connection_cannot_end_it() {
    let tables = edge();
    let world = connect(&tables);
    let blind = |flags, sequence| {
        let packet = Packet {
            flags,
            sequence,
            acknowledgment: 0x7654_3210,
            len: 1,
            ..world
        };
        arrives(&tables, &packet, WEB);
    };
    // What he sends first does not make what he sends next plausible.
    for sequence in [0x4000_0000, 0x8000_0000, 0xc000_0000] {
        blind(ACK, sequence);
        blind(RST | ACK, sequence);
        blind(FIN | ACK, sequence);
    }
    // Nor does one of many hit, and lead all others on.
    for flags in [ACK, FIN | ACK, RST] {
        for step in 0..300_u32 {
            blind(flags, 0x0012_3456_u32.wrapping_add(step << 24));
        }
    }
    let rows = tables.connections.borrow();
    assert_eq!(rows.len(), 2);
    for row in rows.values() {
        assert_eq!(row.state, Flow::ESTABLISHED);
        assert_eq!(row.flags & (Flow::FINISHED | Flow::OTHER_FINISHED), 0);
    }
}

#[test]
fn addresses_that_meet_behind_two_ports_are_two() {
    // The same packet from another port of another network is of another flow, whatever its addresses.
    let tables = edge();
    let first = leaves(&tables, WEB, &out(WEB, UDP, 5000));
    let row = |key: &FlowKey| tables.embryos.borrow().get(key).copied();
    let key = *tables
        .embryos
        .borrow()
        .keys()
        .find(|key| key.port == WEB)
        .unwrap();
    let other = FlowKey {
        port: PortId(99),
        ..key
    };
    let mut flow = row(&key).unwrap();
    flow.other_port = PortId::NONE;
    // Somebody else, of the same address in another place, has the row that answers are found by.
    let outside = flow.other(&key);
    let mut mirror = row(&outside).unwrap();
    mirror.other_port = other.port;
    tables.embryos.borrow_mut().insert(other, flow);
    tables.embryos.borrow_mut().insert(outside, mirror);
    tables.embryos.borrow_mut().remove(&key);
    let second = leaves(&tables, WEB, &out(WEB, UDP, 5000));
    assert_ne!(first.ports[1], second.ports[1]);
}

#[test]
fn fragments_go_where_the_first_one_went() {
    let tables = edge();
    for protocol in [UDP, TCP, ICMP] {
        let whole = out(DB, protocol, 40000);
        // The packets have the same identification: those of another protocol are others.
        let later = Packet {
            fragment: 0x0010,
            ..whole
        };
        let (early, _) = send(&tables, DB, &later);
        assert_eq!(dropped(early), Some(DropReason::NatUntracked));
        let first = Packet {
            fragment: 0x2000,
            ..whole
        };
        let answered = leaves(&tables, DB, &first);
        for _ in 0..2 {
            let (action, wire) = send(&tables, DB, &later);
            assert!(matches!(action, Action::Underlay { .. }), "{action:?}");
            assert_eq!(wire[26..30], ip(HOST[0]).octets()[12..]);
            // What looks like ports is data.
            assert_eq!(wire[34..], later.wire()[34..]);
        }
        let answers = [0x2000, 0x0010].map(|fragment| Packet {
            fragment,
            ..answered
        });
        for answer in answers {
            arrives(&tables, &answer, DB);
        }
        wait(&tables, 31 * SECOND);
        let (late, _) = send(&tables, DB, &later);
        assert_eq!(dropped(late), Some(DropReason::NatUntracked));
    }
}
