//! A small virtual network for the unit tests: who is there, and what they send.
//!
//! Frames are put together byte by byte from the RFCs, without the datapath's own constants, so that
//! a wrong constant is found.

use std::net::{Ipv4Addr, Ipv6Addr};

use maps_schema::map::{
    EgressPort, FdbEntry, FdbKey, FloodKey, FloodMember, IngressPort, Neighbor, NeighborKey,
    Network, PortCounters,
};
use maps_schema::{DropReason, FloodList, IfIndex, Ip, Mac, PolicyList, PortId, RouterId, Vni};

use crate::memory::port_ingress;
use crate::memory::{MemoryFrame, MemoryTables};
use crate::pipeline::Action;

/// A workload with one port.
#[derive(Clone, Copy)]
pub(crate) struct Station {
    pub(crate) vni: Vni,
    pub(crate) port: PortId,
    pub(crate) interface: IfIndex,
    pub(crate) mac: Mac,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
}

const fn station(vni: Option<Vni>, port: u32, last: u8) -> Station {
    let Some(vni) = vni else {
        panic!("a number that fits");
    };
    Station {
        vni,
        port: PortId(port),
        interface: IfIndex(port + 100),
        mac: Mac::new([2, 0, 0, 0, 0, last]),
        v4: Ipv4Addr::new(10, 77, 0, last),
        v6: Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, last as u16),
    }
}

pub(crate) const WEB: Station = station(Vni::new(7), 1, 10);
pub(crate) const DB: Station = station(Vni::new(7), 2, 20);
pub(crate) const CACHE: Station = station(Vni::new(7), 3, 30);
/// In another network, with the MAC address and the addresses of `DB`.
pub(crate) const TWIN: Station = station(Vni::new(8), 4, 20);

/// A MAC address that nobody was given.
pub(crate) const STRANGER: Mac = Mac::new([2, 0, 0, 0, 0, 99]);
/// The ageing of the scene's networks.
pub(crate) const AGEING_NS: u64 = 300_000_000_000;

/// The tables in which all stations are plugged in.
pub(crate) fn tables() -> MemoryTables {
    let mut tables = MemoryTables::default();
    for (vni, members) in [(WEB.vni, &[WEB, DB, CACHE] as &[_]), (TWIN.vni, &[TWIN])] {
        let flood = FloodList(vni.number() + 1000);
        let network = Network {
            flood,
            flood_len: members.len() as u32,
            ageing_ns: AGEING_NS,
            flags: 0,
            reserved: 0,
        };
        tables.networks.insert(vni, network);
        for (idx, member) in (0..).zip(members) {
            let key = FloodKey { list: flood, idx };
            let port = member.port;
            tables.flood.insert(key, FloodMember { port, vni });
        }
    }
    for station in [WEB, DB, CACHE, TWIN] {
        plug(&mut tables, &station);
    }
    let counters = tables.counters.get_mut();
    counters.insert(PortId::NONE, PortCounters::ZERO);
    tables
}

fn plug(tables: &mut MemoryTables, station: &Station) {
    let &Station {
        vni,
        port,
        interface,
        mac,
        ..
    } = station;
    tables.interfaces.insert(interface, station.ingress(0));
    tables.ports.insert(port, EgressPort::workload(interface));
    tables.fdb.insert(
        FdbKey::new(vni, mac),
        FdbEntry {
            port,
            router: RouterId::NONE,
        },
    );
    for ip in [Ip::from(station.v4), Ip::from(station.v6)] {
        let neighbor = Neighbor {
            port,
            mac,
            flags: 0,
        };
        tables.neighbors.insert(NeighborKey { vni, ip }, neighbor);
    }
    let counters = tables.counters.get_mut();
    counters.insert(port, PortCounters::ZERO);
}

/// Sets flags of a station's port and of its network.
pub(crate) fn set_flags(tables: &mut MemoryTables, station: &Station, port: u8, network: u32) {
    tables
        .interfaces
        .insert(station.interface, station.ingress(port));
    if let Some(row) = tables.networks.get_mut(&station.vni) {
        row.flags = network;
    }
}

impl Station {
    pub(crate) const fn ingress(&self, flags: u8) -> IngressPort {
        IngressPort {
            port: self.port,
            vni: self.vni,
            mac: self.mac,
            flags,
            reserved: 0,
            policy: PolicyList::NONE,
        }
    }

    /// An IPv4 packet with a UDP header to another station.
    pub(crate) fn udp_to(&self, to: &Station) -> Vec<u8> {
        self.udp_to_mac(to.mac, to.v4)
    }

    pub(crate) fn udp_to_mac(&self, to: Mac, address: Ipv4Addr) -> Vec<u8> {
        ethernet(to, self.mac, 0x0800, &ipv4(self.v4, address, 17, &UDP))
    }

    /// "Who has `target`?", to everybody.
    pub(crate) fn asks_arp(&self, target: Ipv4Addr) -> Vec<u8> {
        let packet = arp(1, (self.mac, self.v4), (Mac::ZERO, target));
        ethernet(Mac::BROADCAST, self.mac, 0x0806, &packet)
    }

    /// "Who has `target`?", to its solicited-node group, with the usual option.
    pub(crate) fn asks_nd(&self, target: Ipv6Addr) -> Vec<u8> {
        let message = nd(135, target, &[option(1, self.mac)]);
        self.sends_nd(solicited_node(target), &message)
    }

    /// A neighbor discovery message to a group.
    pub(crate) fn sends_nd(&self, to: Ipv6Addr, message: &[u8]) -> Vec<u8> {
        let packet = ipv6(self.v6, to, 58, &icmpv6(self.v6, to, message));
        ethernet(group_mac(to), self.mac, 0x86dd, &packet)
    }
}

/// UDP from port 4660 to port 22136, without data or checksum.
pub(crate) const UDP: [u8; 8] = [0x12, 0x34, 0x56, 0x78, 0, 8, 0, 0];

/// An Ethernet frame.
pub(crate) fn ethernet(to: Mac, from: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let head = [to.octets(), from.octets()].concat();
    [&head, &ethertype.to_be_bytes() as &[u8], payload].concat()
}

/// A VLAN tag put into a frame as its outermost one.
pub(crate) fn tag(frame: &[u8], ethertype: u16, tci: u16) -> Vec<u8> {
    let (macs, rest) = frame.split_at(12);
    [macs, &ethertype.to_be_bytes(), &tci.to_be_bytes(), rest].concat()
}

/// An ARP packet (RFC 826).
pub(crate) fn arp(operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4];
    packet.extend(operation.to_be_bytes());
    for (mac, ip) in [sender, target] {
        packet.extend(mac.octets());
        packet.extend(ip.octets());
    }
    packet
}

/// An IPv4 packet without options (RFC 791); its checksum is left out, bridges do not look at it.
pub(crate) fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [l0, l1] = (20 + payload.len() as u16).to_be_bytes();
    let mut packet = vec![0x45, 0, l0, l1, 0, 1, 0, 0, 64, protocol, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// An IPv6 packet (RFC 8200).
pub(crate) fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let [l0, l1] = (payload.len() as u16).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, l0, l1, next_header, 255];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// A neighbor solicitation (135) or advertisement (136) with a checksum of zero (RFC 4861).
pub(crate) fn nd(kind: u8, target: Ipv6Addr, options: &[Vec<u8>]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend(options.concat());
    message
}

/// A link-layer address option.
pub(crate) fn option(kind: u8, mac: Mac) -> Vec<u8> {
    [&[kind, 1] as &[u8], &mac.octets()].concat()
}

/// An ICMPv6 message with its checksum, summed the plain way.
pub(crate) fn icmpv6(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let pseudo = [from.octets(), to.octets()].concat();
    let length = (message.len() as u32).to_be_bytes();
    let all = [&pseudo, &length as &[u8], &[0, 0, 0, 58], message].concat();
    let words = all
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let mut message = message.to_vec();
    message[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    message
}

/// The group of everybody whose address ends like this one (RFC 4291 section 2.7.1).
pub(crate) fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    let [high, low] = [u16::from_be_bytes([0xff, a]), u16::from_be_bytes([b, c])];
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low)
}

/// The MAC address of a group (RFC 2464 section 7).
pub(crate) fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac::new([0x33, 0x33, a, b, c, d])
}

/// What became of a frame, and the frame afterwards.
pub(crate) struct Outcome {
    pub(crate) action: Action,
    pub(crate) frame: MemoryFrame,
}

/// Sends a frame from a station.
pub(crate) fn send(tables: &MemoryTables, from: &Station, wire: &[u8]) -> Outcome {
    let mut frame = MemoryFrame::from_wire(wire);
    let action = port_ingress(&mut frame, tables, from.interface);
    Outcome { action, frame }
}

/// Sends a frame that must be dropped: for this reason, unchanged, and counted once.
#[track_caller]
pub(crate) fn assert_dropped(
    tables: &MemoryTables,
    from: &Station,
    wire: &[u8],
    reason: DropReason,
) {
    let before = counters(tables, from.port);
    let outcome = send(tables, from, wire);
    let port = from.port;
    assert_eq!(outcome.action, Action::Drop { port, reason });
    assert_eq!(outcome.frame.to_wire(), wire);
    assert!(outcome.frame.copies.is_empty());
    let after = counters(tables, from.port);
    let count = |counters: PortCounters| counters.drops[reason as usize];
    assert_eq!(count(after), count(before) + 1);
    assert_eq!(after.ingress_packets, before.ingress_packets + 1);
}

/// Sends a frame that must arrive, unchanged, and nowhere else.
#[track_caller]
pub(crate) fn assert_delivered(tables: &MemoryTables, from: &Station, wire: &[u8], to: &Station) {
    let outcome = send(tables, from, wire);
    assert_eq!(outcome.action, Action::Deliver(to.interface));
    assert_eq!(outcome.frame.to_wire(), wire);
    assert!(outcome.frame.copies.is_empty());
}

/// Sends a frame that must go to these stations and to no others, once each, unchanged.
#[track_caller]
pub(crate) fn assert_flooded(tables: &MemoryTables, from: &Station, wire: &[u8], to: &[Station]) {
    let outcome = send(tables, from, wire);
    let mut reached: Vec<_> = outcome
        .frame
        .copies
        .iter()
        .map(|(interface, bytes)| {
            assert_eq!(bytes, wire);
            *interface
        })
        .collect();
    if let Action::Deliver(interface) = outcome.action {
        reached.push(interface);
    }
    reached.sort();
    let mut expected: Vec<_> = to.iter().map(|station| station.interface).collect();
    expected.sort();
    assert_eq!(reached, expected, "{:?}", outcome.action);
    assert_eq!(outcome.frame.to_wire(), wire);
}

/// What was counted at a port.
pub(crate) fn counters(tables: &MemoryTables, port: PortId) -> PortCounters {
    tables.counters.borrow()[&port]
}
