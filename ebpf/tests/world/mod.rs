//! What holds for every frame in every small topology. The property tests check it, and so does the
//! fuzz target `frame`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use datapath::memory::{MemoryFrame, MemoryTables, parse, port_ingress};
use datapath::{Action, Bytes as _};
use maps_schema::map::{
    EgressPort, FdbEntry, FdbKey, FloodKey, FloodMember, IngressPort, LearnedEntry, Neighbor,
    NeighborKey, Network, PortCounters,
};
use maps_schema::{FloodList, IfIndex, Ip, Mac, PolicyList, PortId, RouterId, Vni};

/// How many bytes describe a topology.
pub(crate) const SEED_LEN: usize = 10;

/// A topology of two networks and up to eight ports, with the same addresses in both networks.
pub(crate) struct World {
    tables: MemoryTables,
    network_of: BTreeMap<IfIndex, Vni>,
    ingress: IfIndex,
}

impl World {
    /// The topology that a seed describes: the ingress port, the networks' flags, and then a byte
    /// for each port.
    pub(crate) fn new([ingress, networks, ports @ ..]: [u8; SEED_LEN]) -> Self {
        let mut world = Self {
            tables: MemoryTables::default(),
            network_of: BTreeMap::new(),
            ingress: IfIndex(u32::from(ingress % 10)),
        };
        let vnis = [1, 2].map(|number| Vni::new(number).expect("a number that fits"));
        for (idx, vni) in (0..).zip(vnis) {
            let flags = u32::from(networks >> (idx * 2)) & 3;
            let flood = FloodList(idx);
            let ageing_ns = 1_000;
            let row = Network {
                flood,
                flood_len: 0,
                ageing_ns,
                flags,
                reserved: 0,
            };
            if networks & (0x40 << idx) == 0 {
                world.tables.networks.insert(vni, row);
            }
        }
        world.tables.now_ns.set(5_000);
        for (number, port) in (1..).zip(ports) {
            world.plug(number, vnis[usize::from(port & 1)], port);
        }
        let counters = world.tables.counters.get_mut();
        counters.insert(PortId::NONE, PortCounters::ZERO);
        world
    }

    fn plug(&mut self, number: u8, vni: Vni, seed: u8) {
        let tables = &mut self.tables;
        let (port, interface) = (PortId(number.into()), IfIndex(number.into()));
        // Neighbors by number are in one network or, half of the time, have the same addresses.
        let last = number / 2;
        let mac = Mac::new([2, 0, 0, 0, 0, last]);
        let flags = seed >> 1 & 3;
        let ingress = IngressPort {
            port,
            vni,
            mac,
            flags,
            reserved: 0,
            policy: PolicyList::NONE,
        };
        tables.interfaces.insert(interface, ingress);
        if seed & 0x08 == 0 {
            tables.ports.insert(port, EgressPort::workload(interface));
        }
        tables.fdb.insert(
            FdbKey::new(vni, mac),
            FdbEntry {
                port,
                router: RouterId::NONE,
            },
        );
        let neighbor = Neighbor {
            port,
            mac,
            flags: 0,
        };
        let v4 = Ipv4Addr::new(10, 77, 0, last);
        let v6 = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, last.into());
        for ip in [Ip::from(v4), Ip::from(v6)] {
            tables.neighbors.insert(NeighborKey { vni, ip }, neighbor);
        }
        if let Some(network) = tables.networks.get_mut(&vni)
            && seed & 0x10 == 0
        {
            let (list, idx) = (network.flood, network.flood_len);
            tables
                .flood
                .insert(FloodKey { list, idx }, FloodMember { port, vni });
            network.flood_len += 1;
        }
        if seed & 0x20 != 0 {
            let station = Mac::new([2, 0, 0, 0, 1, last]);
            let entry = LearnedEntry {
                seen_ns: u64::from(seed >> 6) * 1_500,
                port,
                reserved: 0,
            };
            let learned = tables.learned.get_mut();
            learned.insert(FdbKey::new(vni, station), entry);
        }
        tables.counters.get_mut().insert(port, PortCounters::ZERO);
        self.network_of.insert(interface, vni);
    }

    /// Sends a frame and checks everything that must hold whatever the frame is.
    ///
    /// # Panics
    /// Something does not hold.
    pub(crate) fn check(&self, wire: &[u8]) {
        let mut frame = MemoryFrame::from_wire(wire);
        let len = frame.len();
        if let Ok(packet) = parse(&frame) {
            assert!(packet.payload.start + packet.payload.len <= len);
        }
        let learned = self.tables.learned.borrow().clone();
        let action = port_ingress(&mut frame, &self.tables, self.ingress);
        assert_eq!(frame.len(), len, "no frame changes its length");

        let sender = self.tables.interfaces.get(&self.ingress);
        let port = sender.map_or(PortId::NONE, |sender| sender.port);
        let mut expected: BTreeMap<PortId, PortCounters> = BTreeMap::new();
        if sender.is_some() {
            let counters = expected.entry(port).or_insert(PortCounters::ZERO);
            counters.ingress_packets += 1;
            counters.ingress_bytes += u64::from(len);
        }
        match action {
            Action::Drop { port: from, reason } => {
                assert_eq!(from, port);
                assert_eq!(frame.to_wire(), wire, "a dropped frame is unchanged");
                assert!(frame.copies.is_empty(), "a dropped frame goes nowhere");
                let counters = expected.entry(port).or_insert(PortCounters::ZERO);
                counters.drops[reason as usize] += 1;
            }
            Action::Consume(_) => panic!("there is no router"),
            Action::Deliver(to) => {
                self.check_delivered(&frame, wire, to);
                let copies = frame.copies.iter().map(|&(copy, _)| copy);
                for IfIndex(interface) in copies.chain([to]) {
                    let counters = expected.entry(PortId(interface));
                    let counters = counters.or_insert(PortCounters::ZERO);
                    counters.egress_packets += 1;
                    counters.egress_bytes += u64::from(len);
                }
            }
            other => panic!("there are no other hosts here: {other:?}"),
        }
        self.check_counters(&expected);
        self.check_learned(&learned, sender);
    }

    fn check_delivered(&self, frame: &MemoryFrame, wire: &[u8], to: IfIndex) {
        if to == self.ingress {
            assert!(frame.copies.is_empty(), "an answer goes to who asked only");
            assert!(wire[0] & 1 != 0, "only questions to groups are answered");
            assert_eq!(frame.to_wire()[..6], wire[6..12], "an answer to who asked");
            return;
        }
        assert_eq!(frame.to_wire(), wire, "a delivered frame is unchanged");
        let mut reached = BTreeSet::from([to]);
        for (copy, bytes) in &frame.copies {
            assert_eq!(bytes, wire, "a copy is unchanged");
            assert!(reached.insert(*copy), "one copy for each port");
        }
        assert!(!reached.contains(&self.ingress), "nothing goes back");
        for interface in reached {
            let (from, to) = (
                &self.network_of[&self.ingress],
                &self.network_of[&interface],
            );
            assert_eq!(from, to, "networks are isolated");
        }
    }

    fn check_counters(&self, expected: &BTreeMap<PortId, PortCounters>) {
        for (port, counters) in self.tables.counters.borrow().iter() {
            let expected = expected.get(port).unwrap_or(&PortCounters::ZERO);
            assert_eq!(counters, expected, "{port:?}");
        }
    }

    fn check_learned(&self, before: &BTreeMap<FdbKey, LearnedEntry>, sender: Option<&IngressPort>) {
        let after = self.tables.learned.borrow();
        let news = || {
            after
                .iter()
                .filter(|(key, entry)| before.get(key) != Some(entry))
        };
        assert!(after.len() >= before.len() && news().count() <= 1);
        for (key, entry) in news() {
            let sender = sender.expect("only ports learn");
            assert_eq!((key.vni, entry.port), (sender.vni, sender.port));
            assert!(sender.flags & IngressPort::LEARNING != 0);
            assert!(!key.mac.is_group());
        }
    }
}
