//! The rows of virtual routers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use maps_schema::map::{
    BUCKETS_MAX, FdbEntry, FdbKey, MapName, Neighbor, NeighborKey, NextHop, NextHopKey, Route,
    RouteKey, RouterAddress, RouterAddressKey, RouterPort,
};
use maps_schema::plain::bytes_of;
use maps_schema::{Ip, NextHopList, PolicyList, PortId, RouterId};

use super::Tables;
use super::nat::gateways;
use super::policies::Held;
use super::rows::add;
use super::view::View;
use crate::fnv::fnv1a_64;
use crate::link::link_local;
use crate::topology::{self, Host, Mss, RouteTarget, Router, RouterRoute};

/// Adds the rows of every router. They are the same on every host that needs the router, but for what
/// a host knows of those that are dead.
pub(super) fn add_routers(tables: &mut Tables, view: &View<'_>, held: &Held<'_>) {
    let mut lists = Lists::default();
    for (&name, router) in &view.routers {
        for port in router.ports.values() {
            add_port(tables, view, (router, port), held.of_router(name));
        }
        for route in &router.routes {
            let row = route_row(tables, &mut lists, (view, router), &route.target);
            add(tables, MapName::Routes, &route_key(router, route.to), &row);
        }
        for (to, _) in broadcasts(router) {
            let row = discarding(Route::BROADCAST);
            add(tables, MapName::Routes, &route_key(router, to), &row);
        }
    }
}

/// The key of a router's route to a destination.
pub(crate) fn route_key(router: &Router, to: IpNet) -> RouteKey {
    prefix_key(router.id, to)
}

/// The key of what a router knows of a prefix.
pub(super) fn prefix_key(router: RouterId, to: IpNet) -> RouteKey {
    let mapped = if to.addr().is_ipv4() {
        RouteKey::MAPPED_BITS
    } else {
        0
    };
    RouteKey::new(
        router,
        Ip::from(to.network()),
        mapped + u32::from(to.prefix_len()),
    )
}

/// The broadcast addresses of the subnets that a router is in, and the routes to these. Packets to
/// them are not for one station that could be asked for (RFC 2644). An address that has a route of its
/// own is what that says; IPv6 has no broadcast, nor have links of two stations (RFC 3021).
pub(super) fn broadcasts(router: &Router) -> impl Iterator<Item = (IpNet, &RouterRoute)> {
    let route_to = |to: IpNet| {
        let found = router.routes.binary_search_by_key(&to, |route| route.to);
        router.routes.get(found.ok()?)
    };
    let subnets = router.ports.values().flat_map(|port| &port.addresses);
    let subnets: BTreeSet<IpNet> = subnets.map(IpNet::trunc).collect();
    subnets.into_iter().filter_map(move |subnet| {
        let IpNet::V4(v4) = subnet else {
            return None;
        };
        let to = IpNet::from(IpAddr::from(v4.broadcast()));
        if v4.prefix_len() > 30 || route_to(to).is_some() {
            return None;
        }
        Some((to, route_to(subnet)?))
    })
}

fn add_port(
    tables: &mut Tables,
    view: &View<'_>,
    (router, port): (&Router, &topology::RouterPort),
    policy: PolicyList,
) {
    let Some(network) = view.networks.get(port.network.as_str()) else {
        return;
    };
    let vni = network.vni;
    let first = |is_wanted: fn(&IpAddr) -> bool| {
        let mut addresses = port.addresses.iter().map(IpNet::addr);
        addresses.find(is_wanted).map(Ip::from)
    };
    let row = RouterPort {
        router: router.id,
        vni,
        mtu: port.mtu.within(network.mtu, view.carried),
        ipv6: first(IpAddr::is_ipv6).unwrap_or(Ip::UNSPECIFIED_V6),
        ipv4: first(IpAddr::is_ipv4).unwrap_or(Ip::UNSPECIFIED_V4),
        mac: port.mac,
        flags: match network.mss {
            Mss::Keep => 0,
            Mss::Clamp => RouterPort::CLAMPS_MSS,
        },
        policy,
    };
    add(tables, MapName::RouterPorts, &port.id, &row);
    let entry = FdbEntry {
        port: port.id,
        router: router.id,
    };
    add(tables, MapName::Fdb, &FdbKey::new(vni, port.mac), &entry);
    for ip in port
        .addresses
        .iter()
        .map(|address| Ip::from(address.addr()))
    {
        let key = RouterAddressKey {
            router: router.id,
            ip,
        };
        add(
            tables,
            MapName::RouterAddresses,
            &key,
            &RouterAddress { port: port.id },
        );
        add_neighbor(tables, NeighborKey { vni, ip }, port);
    }
    let ip = Ip::from(link_local(port.mac));
    add_neighbor(tables, NeighborKey { vni, ip }, port);
}

fn add_neighbor(tables: &mut Tables, key: NeighborKey, port: &topology::RouterPort) {
    let row = Neighbor {
        port: port.id,
        mac: port.mac,
        flags: Neighbor::ROUTER,
    };
    add(tables, MapName::Neighbors, &key, &row);
}

fn route_row(
    tables: &mut Tables,
    lists: &mut Lists,
    (view, router): (&View<'_>, &Router),
    target: &RouteTarget,
) -> Route {
    let hops = match target {
        RouteTarget::Blackhole => return discarding(Route::BLACKHOLE),
        RouteTarget::Reject => return discarding(Route::REJECT),
        RouteTarget::Uplink => {
            return route_over(tables, lists, Route::UPLINK, &exits(view, router));
        }
        RouteTarget::Forward(hops) => alive(view, router, hops),
    };
    let hops = hops.into_iter().filter_map(|hop| next_hop(router, hop));
    let hops: Vec<NextHop> = hops.collect();
    route_over(tables, lists, Route::FORWARD, &hops)
}

fn route_over(tables: &mut Tables, lists: &mut Lists, kind: u32, hops: &[NextHop]) -> Route {
    match hops {
        [] => discarding(Route::BLACKHOLE),
        [NextHop { port, via }] => Route {
            port: *port,
            via: *via,
            ..discarding(kind)
        },
        several => Route {
            buckets: BUCKETS_MAX,
            next_hops: lists.add(tables, several),
            ..discarding(kind)
        },
    }
}

/// Where a router's packets for the outside go: to its uplink on this host, or to the hosts that have one
/// and are not dead, or to all of these if nothing would be left.
fn exits(view: &View<'_>, router: &Router) -> Vec<NextHop> {
    let to = |port| NextHop {
        port,
        via: Ip::UNSPECIFIED_V6,
    };
    let gateways = gateways(view, router);
    if gateways.contains(&view.own_name()) {
        // Without an interface to the outside there is no way there.
        let uplink = router
            .uplink
            .iter()
            .filter(|_| view.situation.uplink.is_some());
        return uplink.map(|uplink| to(uplink.id)).collect();
    }
    others(view, router)
        .into_iter()
        .map(|host| to(host.id))
        .collect()
}

/// The other hosts at which a router has an uplink and that are not dead; all of them if nothing would be
/// left.
pub(super) fn others<'a>(view: &View<'a>, router: &Router) -> Vec<&'a Host> {
    let names = gateways(view, router).into_iter().flatten();
    let names = names.filter(|name| Some(*name) != view.own_name());
    let is_dead = |name: &&str| view.situation.dead.contains(*name);
    let (dead, alive): (Vec<&str>, Vec<&str>) = names.partition(is_dead);
    let names = if alive.is_empty() { dead } else { alive };
    let hosts = names.into_iter();
    hosts
        .filter_map(|name| view.topology.hosts.get(name))
        .collect()
}

/// A route that leads nowhere.
const fn discarding(kind: u32) -> Route {
    Route {
        kind,
        buckets: 0,
        next_hops: NextHopList(0),
        port: PortId::NONE,
        via: Ip::UNSPECIFIED_V6,
    }
}

/// Those of equal next hops that are not on dead hosts; all of them if nothing would be left.
fn alive<'h>(
    view: &View<'_>,
    router: &Router,
    hops: &'h [topology::NextHop],
) -> Vec<&'h topology::NextHop> {
    let is_dead = |hop: &topology::NextHop| {
        let network = router.ports.get(&hop.port).map(|port| &port.network);
        network
            .zip(hop.via)
            .is_some_and(|(network, via)| view.is_dead(network, via))
    };
    let (dead, alive): (Vec<_>, Vec<_>) = hops.iter().partition(|hop| is_dead(hop));
    if alive.is_empty() { dead } else { alive }
}

fn next_hop(router: &Router, hop: &topology::NextHop) -> Option<NextHop> {
    let port = router.ports.get(&hop.port)?.id;
    Some(NextHop {
        port,
        via: hop.via.map_or(Ip::UNSPECIFIED_V6, Ip::from),
    })
}

/// The lists of next hops that were added so far, by what they consist of.
#[derive(Default)]
struct Lists {
    ids: BTreeMap<Vec<u8>, NextHopList>,
    taken: BTreeSet<NextHopList>,
}

impl Lists {
    /// Adds a list of next hops, unless the same one is there, under an id that follows from its
    /// content.
    fn add(&mut self, tables: &mut Tables, hops: &[NextHop]) -> NextHopList {
        let content = hops
            .iter()
            .flat_map(|hop| bytes_of(hop).to_vec())
            .collect::<Vec<u8>>();
        if let Some(&list) = self.ids.get(&content) {
            return list;
        }
        let hash = fnv1a_64([content.as_slice()]);
        let mut list = NextHopList((hash ^ (hash >> 32)) as u32);
        while !self.taken.insert(list) {
            list = NextHopList(list.0.wrapping_add(1));
        }
        for bucket in 0..BUCKETS_MAX {
            if let Some(hop) = hops.iter().max_by_key(|hop| weight(bucket, hop)) {
                add(tables, MapName::NextHops, &NextHopKey { list, bucket }, hop);
            }
        }
        self.ids.insert(content, list);
        list
    }
}

/// Each bucket goes to the next hop that weighs most in it (rendezvous hashing): one that goes away
/// moves its own buckets only, and one that comes takes its share from all.
fn weight(bucket: u32, hop: &NextHop) -> (u64, NextHopOrder) {
    let hash = fnv1a_64([bytes_of(&bucket), bytes_of(hop)]);
    // The last bytes barely reach the upper bits of the hash; multiplying back spreads them.
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29), (hop.port, hop.via))
}

/// What decides between equal weights.
type NextHopOrder = (PortId, Ip);
