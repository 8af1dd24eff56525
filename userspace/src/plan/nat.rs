//! The rows of the way to the outside: uplinks of routers, and by which addresses and ports workloads are
//! known there.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use maps_schema::map::{
    EgressPort, Gateway, GatewayKey, IngressPort, MapName, Member, MemberKey, Neighbor,
    NeighborKey, Public, PublicKey, RouterPort, Source,
};
use maps_schema::{Ip, Mac, PolicyList, PortId, Vni};

use super::Tables;
use super::policies::Held;
use super::routers::others;
use super::routers::prefix_key;
use super::rows::{add, add_counters};
use super::view::View;
use crate::topology::{Nat, Pool, Port, Publish, Router, Translation};

/// The first port that is given to a connection: those below are for services (RFC 6335 section 6).
const FIRST_PORT: u16 = 1024;

/// Adds the rows of all uplinks. Says whether one of them is on this host.
pub(super) fn add_nat(tables: &mut Tables, view: &View<'_>, held: &Held<'_>) -> bool {
    let mut is_gateway = false;
    for (&name, router) in &view.routers {
        let Some(uplink) = &router.uplink else {
            continue;
        };
        for nat in &router.nat {
            if let Translation::Floating { outside, inside } = nat.translation {
                let key = PublicKey::whole(Ip::from(outside));
                add_public(tables, &key, uplink.id, (inside, 0));
            }
        }
        if let Some(interface) = &view.situation.uplink
            && uplink.is_on(view.own_name())
        {
            let exit = Exit {
                view,
                router,
                id: uplink.id,
                interface,
            };
            exit.add_port(tables, held.of_router(name));
            exit.add_sources(tables);
            exit.add_stations(tables);
            exit.add_siblings(tables);
            is_gateway = true;
        }
        add_gateways(tables, view, router);
    }
    for station in &view.ports {
        for publish in &station.port.publish {
            add_published(tables, view, station.port, publish);
        }
    }
    is_gateway
}

/// Adds by which other hosts what leaves a router may leave.
fn add_gateways(tables: &mut Tables, view: &View<'_>, router: &Router) {
    for host in others(view, router) {
        let key = GatewayKey {
            router: router.id,
            port: host.id,
        };
        add(tables, MapName::Gateways, &key, &Gateway { reserved: 0 });
    }
}

/// A router's uplink on this host.
struct Exit<'a> {
    view: &'a View<'a>,
    router: &'a Router,
    id: PortId,
    interface: &'a super::Uplink,
}

impl Exit<'_> {
    fn add_port(&self, tables: &mut Tables, policy: PolicyList) {
        let own = |family: Ip| {
            let address = own_address(self.view, family.is_v4());
            address.map_or(family, Ip::from)
        };
        let (ipv4, ipv6) = (own(Ip::UNSPECIFIED_V4), own(Ip::UNSPECIFIED_V6));
        add_counters(tables, self.id);
        let port = RouterPort {
            router: self.router.id,
            vni: Vni::NONE,
            mtu: self.interface.mtu,
            ipv6,
            ipv4,
            mac: Mac::ZERO,
            flags: 0,
            policy,
        };
        add(tables, MapName::RouterPorts, &self.id, &port);
        let exit = EgressPort {
            ifindex: self.interface.ifindex,
            kind: EgressPort::UPLINK,
            mtu: self.interface.mtu,
            policy: PolicyList::NONE,
            local: ipv4,
            remote: Ip::UNSPECIFIED_V6,
        };
        add(tables, MapName::Ports, &self.id, &exit);
    }

    /// Adds that the other gateways may bring what is for addresses of this one.
    fn add_siblings(&self, tables: &mut Tables) {
        let names = gateways(self.view, self.router).into_iter().flatten();
        let names = names.filter(|name| Some(*name) != self.view.own_name());
        for host in names.filter_map(|name| self.view.topology.hosts.get(name)) {
            let key = MemberKey {
                port: host.id,
                vni: Vni::OUTSIDE,
            };
            let row = Member {
                flags: u32::from(IngressPort::PEER),
            };
            add(tables, MapName::Members, &key, &row);
        }
    }

    /// Adds which addresses workloads are given outside. Of several translations the first one holds, but
    /// the datapath looks for the longest prefix: what is within a prefix that came before is left out.
    fn add_sources(&self, tables: &mut Tables) {
        let mut before: Vec<IpNet> = Vec::new();
        for nat in &self.router.nat {
            let pool = match &nat.translation {
                Translation::Floating { .. } | Translation::Masquerade { .. } => None,
                Translation::Source { pool, .. } => Some(self.share(tables, *pool)),
            };
            for source in sources(nat) {
                if before.iter().any(|prefix| prefix.contains(&source)) {
                    continue;
                }
                let row = match &nat.translation {
                    Translation::Floating { outside, .. } => {
                        if self.is_owner(source.addr()) {
                            self.add_neighbor(tables, *outside);
                        }
                        Source {
                            first: Ip::from(*outside),
                            addresses: 1,
                            first_port: 0,
                            last_port: 0,
                        }
                    }
                    _ => pool.unwrap_or_else(|| self.masquerade(source)),
                };
                let key = prefix_key(self.router.id, source);
                add(tables, MapName::Sources, &key, &row);
                before.push(source);
            }
        }
    }

    /// The host's own address, and the ports that its own programs are not given by themselves: so that
    /// no connection of theirs can be taken for one of a workload.
    fn masquerade(&self, source: IpNet) -> Source {
        let Some(own) = own_address(self.view, source.addr().is_ipv4()) else {
            // Nothing leaves with an address that nobody outside knows.
            return Source::NONE;
        };
        let (first, last) = self.interface.local_ports;
        let (below, above) = (first.saturating_sub(FIRST_PORT), u16::MAX - last);
        let (first_port, last_port) = match (below, above) {
            (0, 0) => (FIRST_PORT, u16::MAX),
            _ if below >= above => (FIRST_PORT, first - 1),
            _ => (last + 1, u16::MAX),
        };
        Source {
            first: Ip::from(own),
            addresses: 1,
            first_port,
            last_port,
        }
    }

    /// This gateway's part of a pool. Its addresses are its own, so that no two gateways give the same port
    /// away, and answers come to the one that knows whom they are for. One for which there is no address
    /// lets nothing out.
    fn share(&self, tables: &mut Tables, pool: Pool) -> Source {
        let gateways = gateways(self.view, self.router);
        let (first, last) = (number(pool.first()), number(pool.last()));
        let (count, parts) = (last - first + 1, gateways.len().max(1) as u128);
        let bound = |part: usize| first + count.saturating_mul(part as u128) / parts;
        let address = |number| address(number, pool.first().is_ipv4());
        let (mut start, mut end) = (first, first);
        for (part, name) in gateways.into_iter().enumerate() {
            let numbers = bound(part)..bound(part + 1);
            if name == self.view.own_name() {
                (start, end) = (numbers.start, numbers.end);
                numbers.for_each(|number| self.add_neighbor(tables, address(number)));
            } else if let Some(host) = name.and_then(|name| self.view.topology.hosts.get(name)) {
                numbers.for_each(|number| add_elsewhere(tables, address(number), host.id));
            }
        }
        if start == end {
            return Source::NONE;
        }
        Source {
            first: Ip::from(address(start)),
            addresses: u32::try_from(end - start).unwrap_or(u32::MAX),
            first_port: FIRST_PORT,
            last_port: u16::MAX,
        }
    }

    /// Whether this gateway is the one that answers for a station's address outside: of several, the
    /// station's own host, or else the first one.
    fn is_owner(&self, inside: IpAddr) -> bool {
        let gateways = gateways(self.view, self.router);
        let has = |port: &&Port| port.addresses.iter().any(|it| it.addr() == inside);
        let topology = self.view.topology;
        let mut stations = topology.ports.iter();
        let host = stations
            .find(|(_, port)| has(port))
            .and_then(|(name, _)| topology.workloads.get(&name.workload)?.host.as_deref());
        let owner = gateways.iter().find(|it| **it == host);
        owner.or(gateways.first()) == Some(&self.view.own_name())
    }

    /// An address that neighbors on the underlay ask for, and that is answered for here.
    fn add_neighbor(&self, tables: &mut Tables, ip: IpAddr) {
        let key = NeighborKey {
            vni: Vni::NONE,
            ip: Ip::from(ip),
        };
        let row = Neighbor {
            port: self.id,
            mac: self.interface.mac,
            flags: Neighbor::ROUTER,
        };
        add(tables, MapName::Neighbors, &key, &row);
    }

    /// Adds what is reached by its own address: the stations behind the router that nothing is translated
    /// of, if the outside sends their packets here.
    fn add_stations(&self, tables: &mut Tables) {
        let translated: Vec<IpNet> = self.router.nat.iter().flat_map(sources).collect();
        let Some(first) = self.router.ports.values().next() else {
            return;
        };
        let part = self.view.part(&first.network);
        let stations = self.view.ports.iter();
        let stations = stations.filter(|it| self.view.part(&it.port.network) == part);
        for ip in stations.flat_map(|it| it.port.addresses.iter().map(IpNet::addr)) {
            if !translated.iter().any(|prefix| prefix.contains(&ip)) {
                let key = PublicKey::whole(Ip::from(ip));
                add_public(tables, &key, self.id, (ip, 0));
            }
        }
    }
}

/// Whose addresses are translated.
fn sources(nat: &Nat) -> impl Iterator<Item = IpNet> {
    let (prefixes, one) = match &nat.translation {
        Translation::Masquerade { sources } | Translation::Source { sources, .. } => {
            (Some(sources), None)
        }
        Translation::Floating { inside, .. } => (None, Some(IpNet::from(*inside))),
    };
    prefixes.into_iter().flatten().copied().chain(one)
}

/// The hosts that are gateways of a router, in name order; `None` is this machine, in a topology without
/// hosts.
pub(super) fn gateways<'a>(view: &View<'a>, router: &Router) -> Vec<Option<&'a str>> {
    let Some(uplink) = &router.uplink else {
        return Vec::new();
    };
    if view.topology.hosts.is_empty() {
        return vec![None];
    }
    let names = view.topology.hosts.keys().map(String::as_str).map(Some);
    names.filter(|&name| uplink.is_on(name)).collect()
}

/// The host's own address of a family: the one that it is declared with, or the first one of its interface.
fn own_address(view: &View<'_>, is_v4: bool) -> Option<IpAddr> {
    let declared = view.own.map(|(_, host)| host.address);
    let interface = view.situation.uplink.iter();
    let found = interface.flat_map(|it| it.addresses.iter().copied());
    let mut addresses = declared.into_iter().chain(found);
    addresses.find(|address| address.is_ipv4() == is_v4)
}

/// Adds the rows of a port that hosts publish. All hosts have them, so that what a workload sends to a
/// published port goes straight to where that leads.
fn add_published(tables: &mut Tables, view: &View<'_>, port: &Port, publish: &Publish) {
    let router = view.topology.routers.get(&publish.router);
    let Some(uplink) = router.and_then(|router| router.uplink.as_ref()) else {
        return;
    };
    for host in &publish.hosts {
        for address in published_addresses(view, host.as_deref(), publish.address) {
            let mut addresses = port.addresses.iter().map(IpNet::addr);
            let Some(inside) = addresses.find(|it| it.is_ipv4() == address.is_ipv4()) else {
                continue;
            };
            let (first, last) = (publish.host_ports.first(), publish.host_ports.last());
            for (offset, number) in (first..=last).enumerate() {
                let key = PublicKey::port(Ip::from(address), publish.protocol, number);
                let service = publish.ports.first() + offset as u16;
                add_public(tables, &key, uplink.id, (inside, service));
            }
        }
    }
}

/// The addresses of a host by which a port is reached from elsewhere. Of other hosts the declared one is
/// known.
fn published_addresses(view: &View<'_>, host: Option<&str>, wanted: Option<IpAddr>) -> Vec<IpAddr> {
    if let Some(address) = wanted.filter(|address| !address.is_unspecified()) {
        return if address.is_loopback() {
            Vec::new()
        } else {
            vec![address]
        };
    }
    // What Docker has plugged in here does not name the host, in a topology that has hosts, too.
    let host = host.or(view.own_name());
    let declared = host.and_then(|host| Some(view.topology.hosts.get(host)?.address));
    let own = view.situation.uplink.iter();
    let own = own
        .filter(|_| host == view.own_name())
        .flat_map(|uplink| uplink.addresses.iter().copied());
    let all = declared.into_iter().chain(own);
    let is_wanted =
        |address: &IpAddr| wanted.is_none_or(|wanted| wanted.is_ipv4() == address.is_ipv4());
    all.filter(is_wanted).collect()
}

/// Adds an address that another host gives away.
fn add_elsewhere(tables: &mut Tables, ip: IpAddr, host: PortId) {
    let row = Public {
        uplink: host,
        ip: Ip::from(ip),
        port: 0,
        flags: Public::ELSEWHERE,
    };
    add(
        tables,
        MapName::Public,
        &PublicKey::whole(Ip::from(ip)),
        &row,
    );
}

fn add_public(tables: &mut Tables, key: &PublicKey, uplink: PortId, to: (IpAddr, u16)) {
    let row = Public {
        uplink,
        ip: Ip::from(to.0),
        port: to.1,
        flags: 0,
    };
    add(tables, MapName::Public, key, &row);
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn address(number: u128, is_v4: bool) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if is_v4 => IpAddr::from(number.to_be_bytes()),
        _ => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}
