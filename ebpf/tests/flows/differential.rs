//! With epochs, ways are remembered; without, every packet is walked. Nobody must notice.

use std::collections::BTreeMap;

use datapath::Action;
use datapath::memory::{MemoryFrame, MemoryTables, port_ingress, uplink_ingress};
use maps_schema::map::{EgressPort, FdbKey, Flow, FlowKey, LearnedEntry, NeighborKey, Resolved};
use maps_schema::{IfIndex, Mac, PortId, Vni};

use super::edge::{PUBLISHED, WORLD, add_uplink, answer, from_world};
use super::line::{ip, vni};
use super::packet::{ACK, FIN, ICMP, ICMPV6, Packet, RST, SYN, TCP, UDP};
use super::random::Random;
use super::site::{OUTSIDE, REPLACEMENTS, Station, gateway, one_host, send_away, set_epoch, vary};

/// How many sites are tried, with about ten thousand frames each.
const SITES: u64 = 60;

/// The same host twice.
struct Twins {
    /// It remembers ways.
    keen: MemoryTables,
    /// It never does.
    plain: MemoryTables,
    /// The states that it is brought into.
    states: Vec<MemoryTables>,
}

impl Twins {
    fn new(states: Vec<MemoryTables>) -> Self {
        let plain = states[0].clone();
        let mut keen = plain.clone();
        set_epoch(&mut keen, 1);
        Self {
            keen,
            plain,
            states,
        }
    }

    fn both(&mut self, change: impl Fn(&mut MemoryTables)) {
        change(&mut self.keen);
        change(&mut self.plain);
    }

    /// Both make the same of a frame, which is returned.
    fn run(
        &self,
        wire: &[u8],
        segment_len: u32,
        program: impl Fn(&mut MemoryFrame, &MemoryTables) -> Action,
    ) -> (Action, MemoryFrame) {
        let of = |tables| {
            let mut frame = MemoryFrame::from_wire(wire);
            frame.segment_len = segment_len;
            let action = program(&mut frame, tables);
            (action, frame)
        };
        let (keen, plain) = (of(&self.keen), of(&self.plain));
        assert_eq!(keen, plain, "{wire:02x?}");
        keen
    }

    /// What was counted, learned and asked for is the same, and so are the connections.
    fn check(&self) {
        let (keen, plain) = (&self.keen, &self.plain);
        assert_eq!(keen.counters, plain.counters);
        assert_eq!(keen.learned, plain.learned);
        assert_eq!(keen.resolved, plain.resolved);
        assert_eq!(keen.budgets, plain.budgets);
        for (keen, plain) in [
            (&keen.connections, &plain.connections),
            (&keen.embryos, &plain.embryos),
        ] {
            assert_eq!(lives(&keen.borrow()), lives(&plain.borrow()));
        }
    }
}

/// What the rows say of their connections: all but the way.
fn lives(rows: &BTreeMap<FlowKey, Flow>) -> BTreeMap<FlowKey, Flow> {
    let life = |flow: &Flow| Flow {
        epoch: 0,
        origin: PortId::NONE,
        destination: PortId::NONE,
        vni: Vni::NONE,
        hops: 0,
        mtu: 0,
        frame_destination: Mac::ZERO,
        frame_source: Mac::ZERO,
        target: Mac::ZERO,
        source: Mac::ZERO,
        ..*flow
    };
    rows.iter().map(|(&key, flow)| (key, life(flow))).collect()
}

/// One or two hosts with a line of routers, and what is sent there.
struct Site {
    routers: u8,
    /// Whether the first router leads to the outside.
    has_uplink: bool,
    hosts: Vec<Twins>,
    /// Packets that are sent again and again.
    packets: Vec<Packet>,
    random: Random,
    frames: u64,
    /// Of some of them: how many were delivered here, and how many of those in a way that was known.
    delivered: u64,
    recalled: u64,
    /// How many came from the outside and were delivered.
    from_outside: u64,
}

impl Site {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let routers = random.one_of(&[0, 1, 1, 2, 3, 8]);
        let stations = Station::all(routers);
        let count = 1 + random.below(2) as usize;
        // An uplink and a tunnel would be two interfaces here.
        let has_uplink = count == 1 && routers != 0;
        let kind = random.one_of(&[EgressPort::VXLAN, EgressPort::GENEVE, EgressPort::GRE]);
        let mut states: Vec<Vec<MemoryTables>> = vec![Vec::new(); count];
        for state in 0..4 {
            let mut whole = one_host(routers);
            if has_uplink {
                add_uplink(&mut whole, routers);
            }
            if state != 0 {
                for _ in 0..=random.below(2) {
                    vary(&mut whole, routers, &mut random);
                }
            }
            let home = random.next();
            for (host, states) in states.iter_mut().enumerate() {
                let mut tables = whole.clone();
                if count == 2 {
                    let is_here = |port: u32| (home >> port & 1) as usize == host;
                    let away = stations.iter().filter(|it| !is_here(it.port.0));
                    send_away(&mut tables, host, &away.copied().collect::<Vec<_>>(), kind);
                }
                states.push(tables);
            }
        }
        let mut site = Self {
            routers,
            has_uplink,
            hosts: states.into_iter().map(Twins::new).collect(),
            packets: Vec::new(),
            random,
            frames: 0,
            delivered: 0,
            recalled: 0,
            from_outside: 0,
        };
        for _ in 0..12 {
            let packet = site.packet();
            site.packets.push(packet);
        }
        site
    }

    /// A packet that most likely arrives.
    fn packet(&mut self) -> Packet {
        let random = &mut self.random;
        let stations = Station::all(self.routers);
        let (from, to) = (random.one_of(&stations), random.one_of(&stations));
        let family = random.below(2) as usize;
        let protocol = random.one_of(&[TCP, UDP, ICMP, ICMPV6, 50, TCP, UDP]);
        let is_routed = from.network != to.network;
        let is_outwards = self.has_uplink && random.once_in(3);
        let echo = random.one_of(&[[8, 7], [0, 7], [128, 7], [129, 7], [3, 7], [135, 7]]);
        let ports = random.one_of(&[[4000, 53], [53, 4000], [4001, 53]]);
        Packet {
            destination: if is_routed || is_outwards {
                gateway(&from, self.routers)
            } else {
                to.mac
            },
            source: from.mac,
            tag: None,
            ip_source: from.ips()[family],
            ip_destination: if is_outwards {
                ip(WORLD[family])
            } else {
                to.ips()[family]
            },
            is_mapped: false,
            ttl: 64,
            fragment: 0,
            protocol,
            ports: if matches!(protocol, ICMP | ICMPV6) {
                echo
            } else {
                ports
            },
            sequence: 1,
            acknowledgment: 1,
            flags: ACK,
            len: random.below(80) as usize,
        }
    }

    /// Changes a packet in a way that some step of a walk may look at.
    fn disturb(&mut self, packet: &mut Packet) {
        let routers = self.routers;
        let random = &mut self.random;
        let stations = Station::all(routers);
        let station = random.one_of(&stations);
        let somebody = [station.mac, gateway(&station, routers), Mac::BROADCAST];
        match random.below(12) {
            0 => packet.ttl = random.below(11) as u8,
            1 => packet.len = random.one_of(&[0, 500, 560, 1400, 1432, 1472, 1473, 3000]),
            2 => packet.source = random.one_of(&somebody),
            3 => packet.destination = random.one_of(&somebody),
            4 => packet.is_mapped = true,
            5 => packet.tag = Some(random.one_of(&[0, 0x6000, 5])),
            6 => packet.fragment = random.one_of(&[0x2000, 0x0001, 0x4000]),
            7 => packet.ip_source = random.one_of(&station.ips()),
            8 => packet.ip_destination = random.one_of(&station.ips()),
            9 => packet.ip_destination = super::line::addresses(100, 0)[0],
            _ => {
                packet.flags = random.one_of(&[SYN, SYN | ACK, FIN | ACK, RST, ACK, SYN | RST]);
                packet.sequence = random.one_of(&[0, 1, 90, 1 << 30, 1 << 31, u32::MAX]);
                packet.acknowledgment = random.one_of(&[0, 1, 90, 1 << 30, 1 << 31]);
            }
        }
    }

    /// Sends something from somewhere, and everywhere on from there.
    fn send(&mut self) {
        let mut packet = self.random.one_of(&self.packets);
        if self.random.once_in(4) {
            self.disturb(&mut packet);
        }
        let stations = Station::all(self.routers);
        let sender = stations.iter().find(|it| it.mac == packet.source);
        let interface = sender.map_or(IfIndex(1), Station::interface);
        let segment_len = if packet.len > 1000 && self.random.once_in(2) {
            500
        } else {
            0
        };
        let wire = packet.wire();
        for host in 0..self.hosts.len() {
            if !self.hosts[host].plain.interfaces.contains_key(&interface) {
                continue;
            }
            let twins = &self.hosts[host];
            let enter = |frame: &mut MemoryFrame, tables: &MemoryTables| {
                port_ingress(frame, tables, interface)
            };
            let (action, frame) = twins.run(&wire, segment_len, enter);
            self.frames += 1;
            if self.frames.is_multiple_of(16) && matches!(action, Action::Deliver(_)) {
                self.delivered += 1;
                self.recalled += u64::from(is_recalled(&twins.keen, &wire, interface));
            }
            let mut crossing = frame.copies.clone();
            if let Action::Underlay { uplink, .. } = action {
                crossing.push((uplink, frame.to_wire()));
            }
            if self.has_uplink {
                for (_, wire) in &crossing {
                    self.answer_from_outside(host, wire);
                }
            }
            if self.hosts.len() == 2 {
                for (uplink, wire) in crossing.iter().filter(|(uplink, _)| *uplink == OUTSIDE) {
                    let enter = |frame: &mut MemoryFrame, tables: &MemoryTables| {
                        uplink_ingress(frame, tables, *uplink)
                    };
                    self.hosts[1 - host].run(wire, 0, enter);
                    self.frames += 1;
                }
            }
        }
    }

    /// What left is answered now and then, and somebody calls what is published.
    fn answer_from_outside(&mut self, host: usize, wire: &[u8]) {
        let random = &mut self.random;
        let family = random.below(2) as usize;
        let ports = random.one_of(&[[4000, PUBLISHED], [4001, PUBLISHED], [4000, 22]]);
        let call = from_world(family, random.one_of(&[TCP, UDP]), ports);
        let packets = [answer(wire).filter(|_| !random.once_in(3)), Some(call)];
        for mut packet in packets.into_iter().flatten() {
            packet.flags = random.one_of(&[SYN, SYN | ACK, ACK, ACK, ACK, FIN | ACK, RST]);
            packet.sequence = random.one_of(&[1, 90, 1 << 30]);
            let enter = |frame: &mut MemoryFrame, tables: &MemoryTables| {
                uplink_ingress(frame, tables, OUTSIDE)
            };
            let (action, _) = self.hosts[host].run(&packet.wire(), 0, enter);
            self.frames += 1;
            self.from_outside += u64::from(matches!(action, Action::Deliver(_)));
        }
    }

    /// Something changes that no epoch tells of.
    fn live(&mut self) {
        let routers = self.routers;
        let random = &mut self.random;
        let station = random.one_of(&Station::all(routers));
        let what = random.below(6);
        let step = random.one_of(&[
            1_000,
            1_000_000,
            1_200_000_000,
            9_000_000_000,
            70_000_000_000,
        ]);
        let other = random.one_of(&[station.mac, Mac::new([2, 9, 9, 0, 0, 1])]);
        let nth = random.below(8) as usize;
        for twins in &mut self.hosts {
            let ports = twins.states[0].ports.clone();
            twins.both(|tables| match what {
                0 => {
                    tables.ports.remove(&station.port);
                }
                1 => tables.ports.extend(&ports),
                2 => {
                    let entry = LearnedEntry {
                        seen_ns: tables.now_ns.get(),
                        port: station.port,
                        reserved: 0,
                    };
                    let key = FdbKey::new(vni(station.network), other);
                    tables.learned.get_mut().insert(key, entry);
                }
                3 => {
                    let row = Resolved {
                        time_ns: tables.now_ns.get(),
                        port: station.port,
                        questions: 0,
                        mac: other,
                        reserved: 0,
                    };
                    let (vni, [ip, _]) = (vni(station.network), station.ips());
                    let key = NeighborKey { vni, ip };
                    tables.resolved.get_mut().insert(key, row);
                }
                4 => {
                    // The kernel makes room for others.
                    for rows in [&tables.connections, &tables.embryos] {
                        let key = rows.borrow().keys().nth(nth).copied();
                        key.and_then(|key| rows.borrow_mut().remove(&key));
                    }
                }
                _ => tables.now_ns.set(tables.now_ns.get() + step),
            });
        }
    }

    /// Brings a host into another state as user space does: the epochs go first, and come last.
    fn change(&mut self) {
        let host = self.random.below(self.hosts.len() as u64) as usize;
        let state = self.random.below(4) as usize;
        set_epoch(&mut self.hosts[host].keen, 0);
        let first = self.random.below(REPLACEMENTS.len() as u64) as usize;
        for step in 0..REPLACEMENTS.len() {
            let replace = REPLACEMENTS[(first + step) % REPLACEMENTS.len()];
            let target = self.hosts[host].states[state].clone();
            self.hosts[host].both(|tables| replace(tables, &target));
            for _ in 0..4 {
                self.send();
            }
        }
        set_epoch(&mut self.hosts[host].keen, 1 + state as u64);
    }
}

/// Whether a frame arrives where nothing is left that a walk could find.
fn is_recalled(tables: &MemoryTables, wire: &[u8], interface: IfIndex) -> bool {
    let mut tables = tables.clone();
    tables.fdb.clear();
    tables.neighbors.clear();
    tables.networks.clear();
    let action = port_ingress(&mut MemoryFrame::from_wire(wire), &tables, interface);
    matches!(action, Action::Deliver(to) if to != interface)
}

#[test]
fn what_is_remembered_changes_nothing() {
    let (mut frames, mut delivered, mut recalled, mut from_outside) = (0, 0, 0, 0);
    for seed in 0..SITES {
        let mut site = Site::new(seed);
        for round in 0..400 {
            for _ in 0..16 {
                site.send();
            }
            if round % 2 == 0 {
                site.live();
            }
            if round % 8 == 7 {
                site.change();
                site.hosts.iter().for_each(Twins::check);
            }
        }
        frames += site.frames;
        delivered += site.delivered;
        recalled += site.recalled;
        from_outside += site.from_outside;
    }
    assert!(frames > 5_000 * SITES);
    assert!(recalled > delivered / 3, "{recalled} of {delivered}");
    assert!(from_outside > 100 * SITES, "{from_outside} from outside");
}
