//! Two hosts, each with one workload, and what one of them sends to the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use datapath::Action;
use datapath::memory::{MemoryFrame, MemoryTables, port_ingress, uplink_ingress};
use maps_schema::map::{
    EgressPort, FdbEntry, FdbKey, FloodKey, FloodMember, IngressPort, Member, MemberKey, Neighbor,
    NeighborKey, Network, Peer, PortCounters, Uplink,
};
use maps_schema::{DropReason, FloodList, IfIndex, Ip, Mac, PolicyList, PortId, RouterId, Vni};

/// The host's end of its workload's link.
pub(crate) const INSIDE: IfIndex = IfIndex(1);
/// The interface to the underlay.
pub(crate) const OUTSIDE: IfIndex = IfIndex(9);
/// The port of a host's own workload, and the one that leads to the other host.
pub(crate) const OWN: PortId = PortId(1);
pub(crate) const PEER: PortId = PortId(2);
pub(crate) const VNI: u32 = 7;
/// What the tunnel carries.
pub(crate) const MTU: u32 = 1450;

/// One of the two hosts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Alpha,
    Beta,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Alpha => Self::Beta,
            Self::Beta => Self::Alpha,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Alpha => 11,
            Self::Beta => 12,
        }
    }

    /// The workload's MAC address.
    pub(crate) const fn mac(self) -> Mac {
        Mac::new([2, 0, 0, 0, 0, self.number()])
    }

    /// The workload's address.
    pub(crate) const fn ip(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 1, 0, self.number())
    }

    /// The host's underlay address.
    pub(crate) fn underlay(self, is_v6: bool) -> Ip {
        Ip::from(if is_v6 {
            IpAddr::V6(Ipv6Addr::new(
                0x2001,
                0xdb8,
                0,
                0,
                0,
                0,
                0,
                self.number().into(),
            ))
        } else {
            IpAddr::V4(Ipv4Addr::new(192, 0, 2, self.number()))
        })
    }
}

pub(crate) fn vni() -> Vni {
    Vni::new(VNI).unwrap()
}

/// What a host has in its tables.
pub(crate) fn host(side: Side, kind: u32, is_v6: bool) -> MemoryTables {
    let mut tables = MemoryTables::default();
    let vni = vni();
    for (at, port) in [(side, OWN), (side.other(), PEER)] {
        let (mac, router) = (at.mac(), RouterId::NONE);
        let key = FdbKey::new(vni, mac);
        tables.fdb.insert(key, FdbEntry { port, router });
        let ip = Ip::from(at.ip());
        let flags = 0;
        let neighbor = Neighbor { port, mac, flags };
        tables.neighbors.insert(NeighborKey { vni, ip }, neighbor);
        let (list, idx) = (FloodList(5), port.0 - 1);
        let member = FloodMember { port, vni };
        tables.flood.insert(FloodKey { list, idx }, member);
        tables.counters.get_mut().insert(port, PortCounters::ZERO);
    }
    tables
        .counters
        .get_mut()
        .insert(PortId::NONE, PortCounters::ZERO);
    let network = Network {
        flood: FloodList(5),
        flood_len: 2,
        ageing_ns: 1,
        flags: 0,
        reserved: 0,
    };
    tables.networks.insert(vni, network);
    let ingress = IngressPort {
        port: OWN,
        vni,
        mac: side.mac(),
        flags: 0,
        reserved: 0,
        policy: PolicyList::NONE,
    };
    tables.interfaces.insert(INSIDE, ingress);
    tables.ports.insert(OWN, EgressPort::workload(INSIDE));
    let exit = EgressPort {
        ifindex: OUTSIDE,
        kind,
        mtu: MTU,
        policy: PolicyList::NONE,
        local: side.underlay(is_v6),
        remote: side.other().underlay(is_v6),
    };
    tables.ports.insert(PEER, exit);
    tables.peers.insert(exit.remote, Peer { port: PEER, kind });
    let flags = u32::from(IngressPort::PEER);
    tables
        .members
        .insert(MemberKey { port: PEER, vni }, Member { flags });
    let uplink = Uplink {
        address: exit.local,
        kinds: Uplink::of(kind),
        mac: Mac::ZERO,
        reserved: 0,
    };
    tables.uplinks.insert(OUTSIDE, uplink);
    tables
}

/// A UDP datagram from one workload to the other, with this type of service.
pub(crate) fn datagram(from: Side, tos: u8, payload: usize) -> Vec<u8> {
    let to = from.other();
    let [l0, l1] = (28 + payload as u16).to_be_bytes();
    let [u0, u1] = (8 + payload as u16).to_be_bytes();
    let mut packet = vec![0x45, tos, l0, l1, 0, 1, 0x40, 0, 64, 17, 0, 0];
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    let checksum = !sum(&packet) as u16;
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend([0x12, 0x34, 0x56, 0x78, u0, u1, 0, 0]);
    packet.extend(vec![7; payload]);
    let head = [to.mac().octets(), from.mac().octets()].concat();
    [&head, &[8, 0][..], &packet].concat()
}

/// The sum of the words of an IPv4 header, folded to 16 bits.
pub(crate) fn sum(header: &[u8]) -> u32 {
    let words = header.chunks(2);
    let sum: u32 = words
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    (sum & 0xffff) + (sum >> 16)
}

/// What a host makes of a frame of its workload.
pub(crate) fn send(tables: &MemoryTables, wire: &[u8]) -> (Action, MemoryFrame) {
    let mut frame = MemoryFrame::from_wire(wire);
    let action = port_ingress(&mut frame, tables, INSIDE);
    (action, frame)
}

/// What a host makes of a frame from the underlay.
pub(crate) fn receive(tables: &MemoryTables, wire: &[u8]) -> (Action, MemoryFrame) {
    let mut frame = MemoryFrame::from_wire(wire);
    let action = uplink_ingress(&mut frame, tables, OUTSIDE);
    (action, frame)
}

/// What is on the underlay when a workload's frame goes to the other host.
pub(crate) fn wrapped(tables: &MemoryTables, wire: &[u8]) -> Vec<u8> {
    let (action, frame) = send(tables, wire);
    let uplink = OUTSIDE;
    let next_hop = Ip::UNSPECIFIED_V6;
    assert_eq!(action, Action::Underlay { uplink, next_hop });
    frame.to_wire()
}

pub(crate) fn counters(tables: &MemoryTables, port: PortId) -> PortCounters {
    tables.counters.borrow()[&port]
}

/// How many frames were dropped for a reason, at whatever port.
pub(crate) fn dropped(tables: &MemoryTables, reason: DropReason) -> u64 {
    let counters = tables.counters.borrow();
    counters.values().map(|it| it.drops[reason as usize]).sum()
}

/// How many frames were dropped at all.
pub(crate) fn all_dropped(tables: &MemoryTables) -> u64 {
    let counters = tables.counters.borrow();
    counters.values().flat_map(|it| it.drops).sum()
}
