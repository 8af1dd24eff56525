//! What is known of connections, from their first packet until they are forgotten.

use datapath::Action;
use datapath::memory::{MemoryFrame, MemoryTables, port_ingress};
use maps_schema::map::{Flow, FlowKey};
use maps_schema::{IfIndex, PolicyList, PortId};

use super::line::{DB, WEB, vni};
use super::packet::{ACK, FIN, ICMP, Packet, RST, SYN, TCP, UDP};
use super::random::Random;
use super::site::{Station, gateway, one_host, set_epoch};

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 24 * 3600 * SECOND;

/// `web` and `db`, with routers between them, and what they say to one another.
struct Talk {
    tables: MemoryTables,
    routers: u8,
    protocol: u8,
    ports: [u16; 2],
}

impl Talk {
    fn new(routers: u8, protocol: u8) -> Self {
        let mut tables = one_host(routers);
        tables.now_ns.set(DAY);
        set_epoch(&mut tables, 1);
        Self {
            tables,
            routers,
            protocol,
            ports: [4000, 80],
        }
    }

    fn packet(&self, from: PortId) -> Packet {
        let [web, db, _] = Station::all(self.routers);
        let (from, to, ports) = if from == WEB {
            (web, db, self.ports)
        } else {
            (db, web, [self.ports[1], self.ports[0]])
        };
        Packet {
            destination: if self.routers == 0 {
                to.mac
            } else {
                gateway(&from, self.routers)
            },
            source: from.mac,
            tag: None,
            ip_source: from.ips()[0],
            ip_destination: to.ips()[0],
            is_mapped: false,
            ttl: 64,
            fragment: 0,
            protocol: self.protocol,
            ports,
            sequence: 0,
            acknowledgment: 0,
            flags: 0,
            len: 0,
        }
    }

    fn run(&self, packet: &Packet, from: PortId) -> (Action, Vec<u8>) {
        let mut frame = MemoryFrame::from_wire(&packet.wire());
        let action = port_ingress(&mut frame, &self.tables, IfIndex(from.0));
        (action, frame.to_wire())
    }

    /// The packet arrives at the other side.
    #[track_caller]
    fn send(&self, packet: &Packet, from: PortId) {
        let to = if from == WEB { DB } else { WEB };
        let (action, _) = self.run(packet, from);
        assert_eq!(action, Action::Deliver(IfIndex(to.0)));
    }

    fn segment(&self, from: PortId, [sequence, acknowledgment]: [u32; 2], flags: u8) -> Packet {
        Packet {
            flags,
            sequence,
            acknowledgment,
            ..self.packet(from)
        }
    }

    /// A segment with so many bytes arrives at the other side.
    #[track_caller]
    fn say(&self, from: PortId, flags: u8, sequence: u32, acknowledgment: u32, len: usize) {
        let segment = self.segment(from, [sequence, acknowledgment], flags);
        let packet = Packet { len, ..segment };
        self.send(&packet, from);
    }

    /// A datagram, or an echo.
    #[track_caller]
    fn datagram(&self, from: PortId) {
        let mut packet = self.packet(from);
        if self.protocol == ICMP {
            packet.ports = [if from == WEB { 8 } else { 0 }, 7];
        }
        self.send(&packet, from);
    }

    /// The three segments that a connection begins with, from these sequence numbers on.
    #[track_caller]
    fn shake_hands(&self, web: u32, db: u32) {
        self.say(WEB, SYN, web, 0, 0);
        self.say(DB, SYN | ACK, db, web.wrapping_add(1), 0);
        self.say(WEB, ACK, web.wrapping_add(1), db.wrapping_add(1), 0);
    }

    /// A segment does not arrive.
    #[track_caller]
    fn say_in_vain(&self, from: PortId, flags: u8, sequence: u32, acknowledgment: u32) {
        let (action, _) = self.run(&self.segment(from, [sequence, acknowledgment], flags), from);
        assert!(matches!(action, Action::Drop { .. }), "{action:?}");
    }

    /// From now on nobody may begin a conversation with this side: its rules are lost.
    fn close(&mut self, side: PortId) {
        let port = self.tables.ports.get_mut(&side).expect("the port");
        port.policy = PolicyList(7);
        set_epoch(&mut self.tables, 2);
    }

    fn wait(&self, time: u64) {
        self.tables.now_ns.set(self.tables.now_ns.get() + time);
    }

    fn key(&self, from: PortId) -> FlowKey {
        let packet = self.packet(from);
        let network = if from == WEB { 0 } else { self.routers };
        let [source_port, destination_port] = match self.protocol {
            ICMP if from == WEB => [7, 0],
            ICMP => [0, 7],
            TCP | UDP => packet.ports,
            _ => [0; 2],
        };
        FlowKey {
            port: from,
            vni: vni(network),
            source: packet.ip_source,
            destination: packet.ip_destination,
            source_port,
            destination_port,
            protocol: self.protocol,
            reserved: [0; 3],
        }
    }

    /// The row of one direction, and whether the connection is among those that are kept.
    fn row(&self, from: PortId) -> Option<(Flow, bool)> {
        let key = self.key(from);
        let kept = self.tables.connections.borrow().get(&key).copied();
        let embryo = self.tables.embryos.borrow().get(&key).copied();
        kept.map(|flow| (flow, true))
            .or(embryo.map(|flow| (flow, false)))
    }

    /// How far the connection has come, as both directions say.
    #[track_caller]
    fn state(&self) -> u8 {
        let (Some((web, _)), Some((db, _))) = (self.row(WEB), self.row(DB)) else {
            panic!("nothing is known of the connection");
        };
        assert_eq!(web.state, db.state);
        assert_eq!((web.flags ^ db.flags) & Flow::REPLY, Flow::REPLY);
        let finished = |flow: &Flow| {
            let [own, other] =
                [Flow::FINISHED, Flow::OTHER_FINISHED].map(|it| flow.flags & it != 0);
            (own, other)
        };
        let (own, other) = finished(&web);
        assert_eq!(finished(&db), (other, own));
        web.state
    }

    #[track_caller]
    fn assert_established(&self) {
        assert_eq!(self.state(), Flow::ESTABLISHED);
        for side in [WEB, DB] {
            assert!(
                self.row(side).unwrap().1,
                "established connections are kept"
            );
            let key = self.key(side);
            assert!(!self.tables.embryos.borrow().contains_key(&key));
        }
    }

    /// When the connection began that a side's packets belong to.
    #[track_caller]
    fn began(&self) -> u64 {
        self.row(WEB).expect("a row").0.began_ns
    }
}

#[test]
fn a_handshake_establishes_whatever_the_numbers() {
    for web in [0, 1, 1 << 30, 1 << 31, (1 << 31) + 1, u32::MAX] {
        for db in [0, 1, 1 << 30, 1 << 31, (1 << 31) + 1, u32::MAX] {
            let talk = Talk::new(1, TCP);
            talk.say(WEB, SYN, web, 0, 0);
            assert_eq!(talk.state(), Flow::OPENED);
            talk.say(DB, SYN | ACK, db, web.wrapping_add(1), 0);
            assert_eq!(talk.state(), Flow::ANSWERED);
            talk.say(WEB, ACK, web.wrapping_add(1), db.wrapping_add(1), 0);
            talk.assert_established();
        }
    }
}

#[test]
fn who_has_not_heard_the_answer_establishes_nothing() {
    let talk = Talk::new(1, TCP);
    talk.say(WEB, SYN, 100, 0, 0);
    talk.say(DB, SYN | ACK, 1 << 31, 101, 0);
    talk.say(WEB, ACK, 101, 12_345, 0);
    assert_eq!(talk.state(), Flow::ANSWERED);
}

#[test]
fn simultaneous_opening_establishes() {
    let talk = Talk::new(1, TCP);
    talk.say(WEB, SYN, 100, 0, 0);
    talk.say(DB, SYN, 3_000_000_000, 0, 0);
    talk.say(WEB, SYN | ACK, 100, 3_000_000_001, 0);
    talk.say(DB, SYN | ACK, 3_000_000_000, 101, 0);
    talk.say(WEB, ACK, 101, 3_000_000_001, 0);
    talk.assert_established();
}

#[test]
fn a_connection_is_picked_up_in_the_middle() {
    let talk = Talk::new(1, TCP);
    talk.say(WEB, ACK, 3_000_000_000, 2_500_000_000, 100);
    talk.say(DB, ACK, 2_500_000_000, 3_000_000_100, 100);
    talk.say(WEB, ACK, 3_000_000_100, 2_500_000_100, 0);
    talk.assert_established();
}

#[test]
fn an_idle_connection_lasts_for_days_but_not_for_ever() {
    let talk = Talk::new(1, TCP);
    talk.shake_hands(100, 3_000_000_000);
    let began = talk.began();
    talk.wait(4 * DAY);
    talk.say(DB, ACK, 3_000_000_001, 101, 5);
    talk.assert_established();
    talk.wait(5 * DAY - SECOND);
    talk.say(WEB, ACK, 101, 3_000_000_006, 5);
    talk.assert_established();
    assert_eq!(talk.began(), began);
    // The other side's silence counts from when this side spoke last.
    talk.wait(DAY);
    talk.say(DB, ACK, 3_000_000_006, 106, 5);
    assert_eq!(talk.began(), began);
    talk.wait(5 * DAY + SECOND);
    talk.say(WEB, ACK, 106, 3_000_000_011, 5);
    assert_eq!(talk.state(), Flow::OPENED);
    assert_ne!(talk.began(), began, "that is another connection");
}

#[test]
fn either_side_may_close_first() {
    for [first, second] in [[WEB, DB], [DB, WEB]] {
        let talk = Talk::new(1, TCP);
        talk.shake_hands(100, 200);
        let began = talk.began();
        let number = |side| if side == WEB { 101 } else { 201 };
        talk.say(first, FIN | ACK, number(first), number(second), 0);
        talk.assert_established();
        // Half closed: the other one may go on for an hour of silence.
        talk.wait(3500 * SECOND);
        talk.say(second, ACK, number(second), number(first) + 1, 10);
        talk.say(second, FIN | ACK, number(second) + 10, number(first) + 1, 0);
        talk.say(first, ACK, number(first) + 1, number(second) + 11, 0);
        talk.assert_established();
        assert_eq!(talk.began(), began);
        // Somebody repeats what got lost.
        talk.wait(100 * SECOND);
        talk.say(second, FIN | ACK, number(second) + 10, number(first) + 1, 0);
        assert_eq!(talk.began(), began);
        talk.wait(121 * SECOND);
        talk.say(second, ACK, number(second) + 11, number(first) + 1, 0);
        assert_ne!(talk.began(), began, "it is over");
    }
}

#[test]
fn both_may_close_at_once_and_the_ports_be_used_again() {
    for opener in [WEB, DB] {
        let talk = Talk::new(1, TCP);
        talk.shake_hands(100, 200);
        talk.say(WEB, FIN | ACK, 101, 201, 0);
        talk.say(DB, FIN | ACK, 201, 101, 0);
        talk.wait(SECOND);
        let before = talk.began();
        talk.say(opener, SYN, 70_000, 0, 0);
        assert_eq!(talk.state(), Flow::OPENED);
        assert_ne!(talk.began(), before);
        let (row, _) = talk.row(opener).unwrap();
        assert_eq!(row.flags, 0, "who begins it is not who answers");
    }
}

#[test]
fn a_beginning_does_not_end_an_established_connection() {
    let talk = Talk::new(1, TCP);
    talk.shake_hands(100, 200);
    let before = talk.began();
    talk.say(WEB, SYN, 70_000, 0, 0);
    talk.assert_established();
    assert_eq!(talk.began(), before);
}

#[test]
fn a_reset_counts_if_its_number_is_expected() {
    for (sequence, counts) in [
        (101, true),
        (111, true),
        (100, false),
        (112, false),
        (1 << 30, false),
        (3_000_000_000, false),
    ] {
        let talk = Talk::new(1, TCP);
        talk.shake_hands(100, 200);
        talk.say(WEB, ACK, 101, 201, 10);
        talk.say(WEB, RST, sequence, 0, 0);
        let state = talk.state();
        assert_eq!(state == Flow::RESET, counts, "{sequence}");
    }
}

#[test]
fn who_is_refused_neither_ends_the_connection_nor_turns_it_round() {
    for routers in [0, 1] {
        for end in [RST, FIN | ACK] {
            let mut talk = Talk::new(routers, TCP);
            talk.shake_hands(100, 200);
            talk.close(DB);
            talk.say_in_vain(WEB, ACK, 101, 201);
            talk.say_in_vain(WEB, end, 101, 201);
            // Where only what is established makes it yield.
            assert!(talk.tables.embryos.borrow().is_empty());
            talk.say_in_vain(WEB, SYN, 5000, 0);
            talk.wait(3 * 3600 * SECOND);
            talk.say(DB, ACK, 201, 101, 10);
            talk.say_in_vain(WEB, ACK, 101, 211);
        }
    }
}

#[test]
fn who_is_called_does_not_begin_another_connection_by_answering() {
    let mut talk = Talk::new(1, TCP);
    talk.shake_hands(100, 200);
    talk.close(WEB);
    talk.say(DB, ACK, 201, 101, 10);
    talk.say_in_vain(DB, SYN, 900, 0);
    talk.say(DB, SYN | ACK, 200, 101, 0);
}

#[test]
fn a_refused_connection_may_be_tried_again_at_once() {
    let talk = Talk::new(1, TCP);
    talk.say(WEB, SYN, 100, 0, 0);
    talk.say(DB, RST | ACK, 0, 101, 0);
    assert_eq!(talk.state(), Flow::RESET);
    talk.shake_hands(5_000_000, 200);
    talk.assert_established();
}

#[test]
fn a_first_segment_that_is_repeated_is_the_same_connection() {
    let talk = Talk::new(1, TCP);
    talk.say(WEB, SYN, 100, 0, 0);
    let began = talk.began();
    talk.wait(SECOND);
    talk.say(WEB, SYN, 100, 0, 0);
    talk.wait(2 * SECOND);
    talk.shake_hands(100, 200);
    talk.assert_established();
    assert_eq!(talk.began(), began);
}

#[test]
fn datagrams_and_echoes_end_when_nobody_speaks() {
    for (protocol, lifetime) in [(UDP, 180), (ICMP, 60), (50, 600)] {
        let talk = Talk::new(1, protocol);
        talk.datagram(WEB);
        assert_eq!(talk.state(), Flow::OPENED);
        talk.datagram(DB);
        assert_eq!(talk.state(), Flow::ANSWERED);
        talk.datagram(WEB);
        talk.assert_established();
        let began = talk.began();
        talk.wait((lifetime - 1) * SECOND);
        talk.datagram(DB);
        assert_eq!(talk.began(), began);
        talk.wait(lifetime * SECOND);
        talk.datagram(WEB);
        assert_ne!(talk.began(), began);
        assert_eq!(talk.state(), Flow::OPENED);
    }
}

#[test]
fn a_side_whose_row_made_room_for_others_gets_it_back_while_the_other_one_speaks() {
    let talk = Talk::new(1, UDP);
    talk.datagram(WEB);
    talk.datagram(DB);
    talk.datagram(WEB);
    talk.assert_established();
    talk.tables.connections.borrow_mut().remove(&talk.key(DB));
    // However dense its packets are.
    for _ in 0..30 {
        talk.wait(SECOND / 10);
        talk.datagram(WEB);
    }
    talk.assert_established();
}

#[test]
fn a_side_whose_row_made_room_ends_the_connection_all_the_same() {
    let talk = Talk::new(1, TCP);
    let (web, db) = (1 << 28, 1 << 30);
    talk.shake_hands(web, db);
    talk.tables.connections.borrow_mut().remove(&talk.key(DB));
    talk.wait(2 * SECOND);
    talk.say(WEB, ACK, web + 1, db + 1, 10);
    talk.say(DB, ACK, db + 1, web + 11, 10);
    talk.say(DB, FIN | ACK, db + 11, web + 11, 0);
    talk.say(WEB, FIN | ACK, web + 11, db + 12, 0);
    let (row, _) = talk.row(WEB).expect("the row");
    let both = Flow::FINISHED | Flow::OTHER_FINISHED;
    assert_eq!(row.flags & both, both);
}

#[test]
fn packets_and_bytes_are_counted_in_each_direction() {
    let talk = Talk::new(1, UDP);
    for _ in 0..5 {
        talk.datagram(WEB);
    }
    talk.datagram(DB);
    let count = |side| talk.row(side).map(|(row, _)| (row.packets, row.bytes));
    assert_eq!(count(WEB), Some((5, 5 * 42)));
    assert_eq!(count(DB), Some((1, 42)));
}

/// Takes away everything that a walk looks at.
fn forget_topology(tables: &mut MemoryTables) {
    tables.fdb.clear();
    tables.neighbors.clear();
    tables.networks.clear();
    tables.router_ports.clear();
    tables.router_addresses.clear();
    tables.routes.clear();
}

#[test]
fn a_known_way_needs_no_walk_however_many_routers() {
    for routers in [0, 1, 8] {
        let mut talk = Talk::new(routers, UDP);
        let packet = talk.packet(WEB);
        let walked = talk.run(&packet, WEB);
        talk.datagram(DB);
        forget_topology(&mut talk.tables);
        assert_eq!(talk.run(&packet, WEB), walked);
        talk.datagram(DB);
    }
}

#[test]
fn a_packet_that_is_not_alike_is_walked() {
    let mut talk = Talk::new(8, UDP);
    talk.tables
        .router_ports
        .values_mut()
        .for_each(|row| row.mtu = 1000);
    let packet = talk.packet(WEB);
    talk.send(&packet, WEB);
    let alike = [
        packet,
        // What follows the first fragment has no ports of its own.
        Packet {
            fragment: 0x2000,
            ..packet
        },
        Packet {
            fragment: 0x0001,
            ports: [9, 9],
            ..packet
        },
        Packet { ttl: 9, ..packet },
        Packet { len: 972, ..packet },
    ];
    let [cache, unknown] = [Station::all(8)[2].mac, maps_schema::Mac::new([2; 6])];
    let others = [
        Packet { ttl: 8, ..packet },
        Packet { len: 973, ..packet },
        Packet {
            source: cache,
            ..packet
        },
        Packet {
            destination: unknown,
            ..packet
        },
        Packet {
            ports: [4000, 81],
            ..packet
        },
    ];
    let is_delivered = |talk: &Talk, packet| {
        let (action, _) = talk.run(packet, WEB);
        action == Action::Deliver(IfIndex(DB.0))
    };
    forget_topology(&mut talk.tables);
    for packet in &alike {
        assert!(is_delivered(&talk, packet), "{packet:?}");
    }
    for packet in &others {
        assert!(!is_delivered(&talk, packet), "{packet:?}");
    }
}

#[test]
fn in_another_epoch_the_way_is_found_anew_and_the_connection_stays() {
    let mut talk = Talk::new(1, TCP);
    talk.shake_hands(100, 200);
    let began = talk.began();
    set_epoch(&mut talk.tables, 2);
    let before = talk.tables.clone();
    forget_topology(&mut talk.tables);
    let packet = Packet {
        flags: ACK,
        sequence: 101,
        acknowledgment: 201,
        ..talk.packet(WEB)
    };
    let (action, _) = talk.run(&packet, WEB);
    assert!(matches!(action, Action::Drop { .. }), "{action:?}");
    talk.tables = before;
    talk.send(&packet, WEB);
    forget_topology(&mut talk.tables);
    talk.send(&packet, WEB);
    talk.assert_established();
    assert_eq!(talk.began(), began);
}

#[test]
fn a_port_that_learns_is_looked_at_every_time() {
    let mut talk = Talk::new(1, UDP);
    let port = talk.tables.interfaces.get_mut(&IfIndex(WEB.0)).unwrap();
    port.flags = maps_schema::map::IngressPort::LEARNING;
    talk.datagram(WEB);
    talk.datagram(DB);
    talk.datagram(WEB);
    talk.assert_established();
    forget_topology(&mut talk.tables);
    let (action, _) = talk.run(&talk.packet(WEB), WEB);
    assert!(matches!(action, Action::Drop { .. }), "{action:?}");
}

#[test]
fn a_flood_of_beginnings_breaks_nothing_that_is_established() {
    const ROOM: usize = 1000;
    let talk = Talk::new(1, TCP);
    talk.shake_hands(100, 3_000_000_000);
    let began = talk.began();
    let mut random = Random(1);
    for count in 0_u32..200_000 {
        let packet = Packet {
            ports: [random.next() as u16, random.next() as u16],
            flags: SYN,
            sequence: random.next() as u32,
            ..talk.packet(WEB)
        };
        if packet.ports != talk.ports {
            talk.send(&packet, WEB);
        }
        if count % 256 == 0 {
            let mut embryos = talk.tables.embryos.borrow_mut();
            while embryos.len() > ROOM {
                embryos.pop_first();
            }
        }
    }
    talk.say(DB, ACK, 3_000_000_001, 101, 5);
    talk.assert_established();
    assert_eq!(talk.began(), began);
    assert_eq!(talk.tables.connections.borrow().len(), 2);
}
