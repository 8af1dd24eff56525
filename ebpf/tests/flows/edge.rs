//! An uplink at the first router, and what the outside sends there.

use datapath::memory::MemoryTables;
use maps_schema::map::{
    EgressPort, PortCounters, Public, PublicKey, Route, RouteKey, RouterPort, Source, Uplink,
};
use maps_schema::{Ip, Mac, NextHopList, PolicyList, PortId, RouterId, Vni};

use super::line::ip;
use super::packet::{ICMP, ICMPV6, Packet, TCP, UDP};
use super::site::{OUTSIDE, Station};

/// The router's uplink.
pub(crate) const EXIT: PortId = PortId(500);
/// The host's address outside, in both families.
pub(crate) const HOST: [&str; 2] = ["192.0.2.11", "2001:db8::11"];
/// Somebody outside, likewise.
pub(crate) const WORLD: [&str; 2] = ["198.51.100.1", "2001:db8:1::1"];
/// The ports that are given away.
pub(crate) const PORTS: (u16, u16) = (1024, 32767);
/// The host's port by which port 80 of the second station is known.
pub(crate) const PUBLISHED: u16 = 8080;

pub(crate) fn host_mac() -> Mac {
    Mac::new([2, 7, 0, 0, 0, 1])
}

/// Gives the first router an uplink.
pub(crate) fn add_uplink(tables: &mut MemoryTables, routers: u8) {
    tables.counters.get_mut().insert(EXIT, PortCounters::ZERO);
    let exit = EgressPort {
        ifindex: OUTSIDE,
        kind: EgressPort::UPLINK,
        mtu: 1500,
        policy: PolicyList::NONE,
        local: ip(HOST[0]),
        remote: Ip::UNSPECIFIED_V6,
    };
    tables.ports.insert(EXIT, exit);
    let uplink = Uplink {
        address: ip(HOST[0]),
        kinds: Uplink::of(EgressPort::UPLINK),
        mac: host_mac(),
        reserved: 0,
    };
    tables.uplinks.insert(OUTSIDE, uplink);
    let router = RouterId(1);
    let port = RouterPort {
        router,
        vni: Vni::NONE,
        mtu: 1500,
        ipv6: ip(HOST[1]),
        ipv4: ip(HOST[0]),
        mac: Mac::ZERO,
        flags: 0,
        policy: PolicyList::NONE,
    };
    tables.router_ports.insert(EXIT, port);
    let [_, db, _] = Station::all(routers);
    let everywhere = [("0.0.0.0", 96), ("::", 0)];
    for (family, (default, len)) in everywhere.into_iter().enumerate() {
        let route = Route {
            kind: Route::UPLINK,
            buckets: 0,
            next_hops: NextHopList(0),
            port: EXIT,
            via: Ip::UNSPECIFIED_V6,
        };
        let key = RouteKey::new(router, ip(default), len);
        tables.routes.insert(key, route);
        let source = Source {
            first: ip(HOST[family]),
            addresses: 1,
            first_port: PORTS.0,
            last_port: PORTS.1,
        };
        tables.sources.insert(key, source);
        for protocol in [TCP, UDP] {
            publish(
                tables,
                (protocol, family, PUBLISHED),
                (db.ips()[family], 80),
            );
        }
    }
}

/// Makes a port of the host known for one of a station.
pub(crate) fn publish(
    tables: &mut MemoryTables,
    (protocol, family, port): (u8, usize, u16),
    (inside, service): (Ip, u16),
) {
    let row = Public {
        uplink: EXIT,
        ip: inside,
        port: service,
        flags: 0,
    };
    let key = PublicKey::port(ip(HOST[family]), protocol, port);
    tables.public.insert(key, row);
}

/// A packet from the world to the host.
pub(crate) fn from_world(family: usize, protocol: u8, ports: [u16; 2]) -> Packet {
    Packet {
        destination: host_mac(),
        source: Mac::new([2, 8, 0, 0, 0, 1]),
        tag: None,
        ip_source: ip(WORLD[family]),
        ip_destination: ip(HOST[family]),
        is_mapped: false,
        ttl: 60,
        fragment: 0,
        protocol,
        ports,
        sequence: 1,
        acknowledgment: 1,
        flags: super::packet::ACK,
        len: 4,
    }
}

/// What the outside answers to a frame that was sent there, if that can be answered.
pub(crate) fn answer(wire: &[u8]) -> Option<Packet> {
    let is_v4 = wire.get(12..14)? == [8, 0];
    let (protocol, addresses, transport) = if is_v4 {
        (*wire.get(23)?, 26, 34)
    } else {
        (*wire.get(20)?, 22, 54)
    };
    let len = if is_v4 { 4 } else { 16 };
    let read = |at: usize| -> Option<Ip> {
        let octets = wire.get(at..at + len)?;
        Some(if is_v4 {
            ip(&std::net::Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).to_string())
        } else {
            ip(&std::net::Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_string())
        })
    };
    let word = |at: usize| -> Option<u16> {
        Some(u16::from_be_bytes(wire.get(at..at + 2)?.try_into().ok()?))
    };
    let ports = match protocol {
        TCP | UDP => [word(transport + 2)?, word(transport)?],
        ICMP => [0, word(transport + 4)?],
        ICMPV6 => [129, word(transport + 4)?],
        _ => [0; 2],
    };
    Some(Packet {
        ip_source: read(addresses + len)?,
        ip_destination: read(addresses)?,
        ..from_world(usize::from(!is_v4), protocol, ports)
    })
}
