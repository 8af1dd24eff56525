//! A line of networks joined by routers, and what is sent through it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use datapath::Action;
use datapath::memory::{MemoryFrame, MemoryTables, port_ingress};
use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use maps_schema::map::{
    EgressPort, FdbEntry, FdbKey, FloodKey, FloodMember, IngressPort, Neighbor, NeighborKey,
    Network, PortCounters, Route, RouteKey, RouterAddress, RouterAddressKey, RouterPort,
};
use maps_schema::{
    DropReason, FloodList, IfIndex, Ip, Mac, NextHopList, PolicyList, PortId, RouterId, Vni,
};

/// A line of networks joined by routers: `web` is on the first network, `db` on the last one.
pub(crate) struct Line {
    pub(crate) tables: MemoryTables,
    pub(crate) routers: u8,
}

pub(crate) const WEB: PortId = PortId(1);
pub(crate) const DB: PortId = PortId(2);

pub(crate) fn web_mac() -> Mac {
    Mac::new([2, 0, 0, 0, 0, 1])
}

pub(crate) fn db_mac() -> Mac {
    Mac::new([2, 0, 0, 0, 0, 2])
}

pub(crate) fn ip(text: &str) -> Ip {
    text.parse::<IpAddr>().unwrap().into()
}

pub(crate) fn vni(network: u8) -> Vni {
    Vni::new(u32::from(network) + 1).unwrap()
}

/// The port of a router on one of its two networks.
pub(crate) fn router_port(router: u8, network: u8) -> PortId {
    PortId(1000 + u32::from(router) * 100 + u32::from(network))
}

pub(crate) fn router_mac(router: u8, network: u8) -> Mac {
    Mac::new([2, 1, 0, 0, router, network])
}

/// Router `r` joins the networks `r` and `r + 1`; network `n` is 10.0.n.0/24 and fd00:0:0:n::/64, and
/// a router's address in it ends in its number plus 100.
pub(crate) fn addresses(host: u16, network: u8) -> [Ip; 2] {
    [
        Ip::from(Ipv4Addr::new(10, 0, network, host as u8)),
        Ip::from(Ipv6Addr::new(0xfd00, 0, 0, network.into(), 0, 0, 0, host)),
    ]
}

pub(crate) fn prefix(network: u8) -> [(Ip, u32); 2] {
    let [v4, v6] = addresses(0, network);
    [(v4, 96 + 24), (v6, 64)]
}

impl Line {
    pub(crate) fn new(routers: u8) -> Self {
        let mut line = Self {
            tables: MemoryTables::default(),
            routers,
        };
        line.plug(WEB, web_mac(), 0, 11, 1);
        line.plug(DB, db_mac(), routers, 12, 2);
        for router in 0..routers {
            for network in [router, router + 1] {
                line.add_router_port(router, network);
            }
            for network in 0..=routers {
                line.add_routes(router, network);
            }
        }
        line
    }

    pub(crate) fn plug(&mut self, port: PortId, mac: Mac, network: u8, host: u16, ifindex: u32) {
        let (vni, ifindex) = (vni(network), IfIndex(ifindex));
        let row = IngressPort {
            port,
            vni,
            mac,
            flags: 0,
            reserved: 0,
            policy: PolicyList::NONE,
        };
        self.tables.interfaces.insert(ifindex, row);
        self.tables
            .ports
            .insert(port, EgressPort::workload(ifindex));
        self.tables
            .counters
            .get_mut()
            .insert(port, PortCounters::ZERO);
        // Zero is the list of no network.
        let list = FloodList(u32::from(network) + 1);
        self.tables
            .flood
            .insert(FloodKey { list, idx: 0 }, FloodMember { port, vni });
        let row = Network {
            flood: list,
            flood_len: 1,
            ageing_ns: 0,
            flags: 0,
            reserved: 0,
        };
        self.tables.networks.insert(vni, row);
        self.know(
            network,
            mac,
            port,
            RouterId::NONE,
            &addresses(host, network),
        );
    }

    pub(crate) fn know(
        &mut self,
        network: u8,
        mac: Mac,
        port: PortId,
        router: RouterId,
        ips: &[Ip],
    ) {
        let vni = vni(network);
        self.tables
            .fdb
            .insert(FdbKey::new(vni, mac), FdbEntry { port, router });
        let flags = if router == RouterId::NONE {
            0
        } else {
            Neighbor::ROUTER
        };
        for &ip in ips {
            let row = Neighbor { port, mac, flags };
            self.tables.neighbors.insert(NeighborKey { vni, ip }, row);
        }
    }

    pub(crate) fn add_router_port(&mut self, router: u8, network: u8) {
        let (id, mac) = (RouterId(u32::from(router) + 1), router_mac(router, network));
        let port = router_port(router, network);
        let [ipv4, ipv6] = addresses(100 + u16::from(router), network);
        let row = RouterPort {
            router: id,
            vni: vni(network),
            mtu: 1500,
            ipv6,
            ipv4,
            mac,
            flags: 0,
            policy: PolicyList::NONE,
        };
        self.tables.router_ports.insert(port, row);
        for ip in [ipv4, ipv6] {
            let key = RouterAddressKey { router: id, ip };
            self.tables
                .router_addresses
                .insert(key, RouterAddress { port });
        }
        self.know(network, mac, port, id, &[ipv4, ipv6]);
    }

    /// The routes of one router to one network: connected, or through the router next to it.
    pub(crate) fn add_routes(&mut self, router: u8, network: u8) {
        let via = if network < router {
            Some((router_port(router, router), router - 1, router))
        } else if network > router + 1 {
            Some((router_port(router, router + 1), router + 1, router + 1))
        } else {
            None
        };
        for (idx, (ip, len)) in prefix(network).into_iter().enumerate() {
            let (port, via) = match via {
                None => (router_port(router, network), Ip::UNSPECIFIED_V6),
                Some((port, next, shared)) => (port, addresses(100 + u16::from(next), shared)[idx]),
            };
            self.add_route(router, ip, len, forward(port, via));
        }
    }

    pub(crate) fn add_route(&mut self, router: u8, ip: Ip, len: u32, route: Route) {
        let router = RouterId(u32::from(router) + 1);
        self.tables
            .routes
            .insert(RouteKey::new(router, ip, len), route);
    }

    pub(crate) fn send(&self, wire: &[u8]) -> (Action, MemoryFrame) {
        let mut frame = MemoryFrame::from_wire(wire);
        let action = port_ingress(&mut frame, &self.tables, IfIndex(1));
        (action, frame)
    }

    pub(crate) fn drops(&self, reason: DropReason) -> u64 {
        self.tables.counters.borrow()[&WEB].drops[reason as usize]
    }

    /// The address of `db`, in both families.
    pub(crate) fn db(&self) -> [Ip; 2] {
        addresses(12, self.routers)
    }
}

pub(crate) fn forward(port: PortId, via: Ip) -> Route {
    Route {
        kind: Route::FORWARD,
        buckets: 0,
        next_hops: NextHopList(0),
        port,
        via,
    }
}

pub(crate) fn of_kind(kind: u32) -> Route {
    Route {
        kind,
        ..forward(PortId::NONE, Ip::UNSPECIFIED_V6)
    }
}

/// What a packet from `web` to its router looks like.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) to: Ip,
    pub(crate) ttl: u8,
    pub(crate) payload: Vec<u8>,
}

impl Sent {
    pub(crate) fn to(to: Ip) -> Self {
        Self {
            to,
            ttl: 64,
            payload: b"payload".to_vec(),
        }
    }

    pub(crate) fn ip_header(&self) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
        let ethernet = PacketBuilder::ethernet2(web_mac().octets(), router_mac(0, 0).octets());
        match self.to.to_std() {
            IpAddr::V4(to) => ethernet.ipv4([10, 0, 0, 11], to.octets(), self.ttl),
            IpAddr::V6(to) => {
                let from = "fd00::b".parse::<Ipv6Addr>().unwrap();
                ethernet.ipv6(from.octets(), to.octets(), self.ttl)
            }
        }
    }

    pub(crate) fn udp(&self) -> Vec<u8> {
        let builder = self.ip_header().udp(4321, 53);
        let mut wire = Vec::new();
        builder.write(&mut wire, &self.payload).unwrap();
        wire
    }

    /// The first segment of a connection.
    pub(crate) fn tcp(&self) -> Vec<u8> {
        let builder = self.ip_header().tcp(4321, 179, 1, 65_535).syn();
        let mut wire = Vec::new();
        builder.write(&mut wire, &self.payload).unwrap();
        wire
    }

    pub(crate) fn echo(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        match self.to.to_std() {
            IpAddr::V4(_) => {
                self.ip_header()
                    .icmpv4_echo_request(7, 1)
                    .write(&mut wire, &self.payload)
                    .unwrap();
            }
            IpAddr::V6(_) => {
                self.ip_header()
                    .icmpv6_echo_request(7, 1)
                    .write(&mut wire, &self.payload)
                    .unwrap();
            }
        }
        wire
    }
}

/// Every checksum of a packet, computed anew, is the one that it has.
pub(crate) fn assert_checksums(wire: &[u8]) {
    let packet = SlicedPacket::from_ethernet(wire).unwrap();
    let payload_of = |transport: &TransportSlice<'_>| match transport {
        TransportSlice::Icmpv4(icmp) => {
            let expected = icmp.header().icmp_type.calc_checksum(icmp.payload());
            assert_eq!(icmp.header().checksum, expected, "ICMP");
        }
        TransportSlice::Icmpv6(icmp) => {
            let Some(NetSlice::Ipv6(ip)) = &packet.net else {
                panic!("ICMPv6 in IPv4")
            };
            let header = ip.header();
            assert!(
                icmp.is_checksum_valid(header.source(), header.destination()),
                "ICMPv6"
            );
        }
        _ => {}
    };
    if let Some(NetSlice::Ipv4(ip)) = &packet.net {
        let header = ip.header().to_header();
        assert_eq!(
            header.header_checksum,
            header.calc_header_checksum(),
            "IPv4"
        );
    }
    packet.transport.iter().for_each(payload_of);
}

/// What went back to `web`: the source and the type of an ICMP message, and its payload.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Told {
    pub(crate) from: IpAddr,
    pub(crate) v4: Option<Icmpv4Type>,
    pub(crate) v6: Option<Icmpv6Type>,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn told(frame: &MemoryFrame) -> Told {
    let wire = frame.to_wire();
    assert_checksums(&wire);
    assert_eq!(
        wire[..12],
        [web_mac().octets(), router_mac(0, 0).octets()].concat()
    );
    let packet = SlicedPacket::from_ethernet(&wire).unwrap();
    let from = match packet.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            assert_eq!(ip.header().destination_addr(), Ipv4Addr::new(10, 0, 0, 11));
            assert_eq!(usize::from(ip.header().total_len()), wire.len() - 14);
            IpAddr::V4(ip.header().source_addr())
        }
        NetSlice::Ipv6(ip) => {
            assert_eq!(
                ip.header().destination_addr(),
                "fd00::b".parse::<Ipv6Addr>().unwrap()
            );
            assert_eq!(usize::from(ip.header().payload_length()), wire.len() - 54);
            IpAddr::V6(ip.header().source_addr())
        }
        NetSlice::Arp(_) => panic!("ARP"),
    };
    match packet.transport.as_ref().unwrap() {
        TransportSlice::Icmpv4(icmp) => Told {
            from,
            v4: Some(icmp.header().icmp_type),
            v6: None,
            payload: icmp.payload().to_vec(),
        },
        TransportSlice::Icmpv6(icmp) => Told {
            from,
            v4: None,
            v6: Some(icmp.header().icmp_type),
            payload: icmp.payload().to_vec(),
        },
        other => panic!("{other:?}"),
    }
}
