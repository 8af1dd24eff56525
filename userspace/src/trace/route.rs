//! What the workload's own kernel decides: which port a packet leaves by, and who is the next hop.
//!
//! This is a model of Linux for what bowline sets up: the routes that follow from the addresses, and
//! those of the file. What else was put into the workload's namespace is not known here.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use maps_schema::Mac;

use super::outcome::listed;
use super::packet::group_mac;
use crate::link::{Link, link_local};
use crate::plan::PlannedLink;

/// A way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    /// The port.
    pub(super) link: &'a PlannedLink,
    /// The address that the packet is sent from.
    pub(super) source: IpAddr,
    /// To whom the port's network takes it.
    pub(super) hop: Hop,
}

/// To whom the port's network takes a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hop {
    /// To the destination itself, which is in this subnet of the port.
    OnLink(IpNet),
    /// To the next hop of the route to this prefix.
    Via(IpNet, IpAddr),
    /// To everybody who listens: the destination is a group or broadcast address.
    Group(Mac),
}

/// What kind of destination this is for a workload with these links.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Its own, or one that every host has for itself.
    Own,
    /// A multicast group, or the broadcast address of this network whatever it is.
    Group,
    /// Another station.
    Station,
}

/// Judges a destination.
pub(super) fn kind(links: &[&PlannedLink], destination: IpAddr) -> Kind {
    let mut own = links.iter().flat_map(|planned| subnets(&planned.link));
    if destination.is_loopback()
        || destination.is_unspecified()
        || own.any(|subnet| subnet.addr() == destination)
    {
        Kind::Own
    } else if destination.is_multicast() || destination == Ipv4Addr::BROADCAST {
        Kind::Group
    } else {
        Kind::Station
    }
}

/// The ways to a station: those of the longest prefix, which is more than one if two ports are in the
/// same subnet.
pub(super) fn ways<'a>(links: &[&'a PlannedLink], destination: IpAddr) -> Vec<Way<'a>> {
    let all: Vec<(u8, Way<'_>)> = links
        .iter()
        .flat_map(|planned| ways_by(planned, destination))
        .collect();
    let longest = all.iter().map(|(len, _)| *len).max();
    all.into_iter()
        .filter(|(len, _)| Some(*len) == longest)
        .map(|(_, way)| way)
        .collect()
}

/// The ways to a group: a frame on every port that has an address to send from. Linux takes the one
/// that the socket is bound to.
pub(super) fn group_ways<'a>(links: &[&'a PlannedLink], group: IpAddr) -> Vec<Way<'a>> {
    let mac = if group == Ipv4Addr::BROADCAST {
        Mac::BROADCAST
    } else {
        group_mac(group)
    };
    let way = |&link: &&'a PlannedLink| {
        Some(Way {
            link,
            source: group_source(&link.link, group)?,
            hop: Hop::Group(mac),
        })
    };
    links.iter().filter_map(way).collect()
}

fn group_source(link: &Link, group: IpAddr) -> Option<IpAddr> {
    let of_scope = |address: IpAddr| match (address, group) {
        (IpAddr::V4(_), IpAddr::V4(_)) => true,
        // A source has the scope of its destination (RFC 6724, rule 2 of section 5); 2 is the link's.
        (IpAddr::V6(v6), IpAddr::V6(group)) => {
            let is_link_scope = group.octets()[1] & 0x0f <= 2;
            v6.is_unicast_link_local() == is_link_scope
        }
        _ => false,
    };
    let mut addresses = subnets(link).map(|subnet| subnet.addr());
    addresses.find(|&address| of_scope(address))
}

/// The ways by one port, with the length of the prefix that each is for.
fn ways_by(planned: &PlannedLink, destination: IpAddr) -> Vec<(u8, Way<'_>)> {
    let way = |source, hop| Way {
        link: planned,
        source,
        hop,
    };
    let on_link = subnets(&planned.link)
        .filter(|subnet| subnet.contains(&destination))
        .map(|subnet| {
            let hop = if is_broadcast(&subnet, destination) {
                Hop::Group(Mac::BROADCAST)
            } else {
                Hop::OnLink(subnet.trunc())
            };
            (subnet.prefix_len(), way(subnet.addr(), hop))
        });
    let routes = planned.link.inside.routes.iter();
    let via = routes
        .filter(|route| route.to.contains(&destination))
        .filter_map(|route| {
            let source = subnets(&planned.link).find(|subnet| subnet.contains(&route.via))?;
            let hop = Hop::Via(route.to, route.via);
            Some((route.to.prefix_len(), way(source.addr(), hop)))
        });
    // Of several addresses in one subnet, the first one is the kernel's choice.
    let mut ways: Vec<_> = on_link.take(1).chain(via).collect();
    ways.sort_by_key(|(len, _)| u8::MAX - len);
    ways.truncate(1);
    ways
}

/// Where a port leads, in words.
pub(super) fn reach(link: &Link) -> String {
    let inside = &link.inside;
    let subnets: BTreeSet<IpNet> = inside.addresses.iter().map(IpNet::trunc).collect();
    let routes = inside.routes.iter().map(|route| route.to);
    let prefixes: Vec<String> = subnets
        .into_iter()
        .chain(routes)
        .map(|prefix| prefix.to_string())
        .collect();
    if prefixes.is_empty() {
        "nowhere, for it has no address".to_owned()
    } else {
        format!("to {} only", listed(&prefixes))
    }
}

/// The port's addresses with their subnets, and what the kernel adds where IPv6 is on.
fn subnets(link: &Link) -> impl Iterator<Item = IpNet> {
    let addresses = &link.inside.addresses;
    let has_ipv6 = addresses.iter().any(|address| address.addr().is_ipv6());
    let own = has_ipv6.then(|| link_local_subnet(link_local(link.inside.mac)));
    addresses.iter().copied().chain(own)
}

fn link_local_subnet(address: Ipv6Addr) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(address, 64))
}

/// Whether this is the subnet's broadcast address. RFC 3021: a subnet of two addresses has none.
fn is_broadcast(subnet: &IpNet, destination: IpAddr) -> bool {
    matches!(subnet, IpNet::V4(v4) if v4.prefix_len() < 31) && subnet.broadcast() == destination
}
