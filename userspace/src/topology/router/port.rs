//! The rules for the ports of routers.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use maps_schema::{Mac, PortId};

use super::link::{self, End};
use super::{Plugged, RouterPortName, Site, Sites};
use crate::document::{self, Located};
use crate::problem::Problem;
use crate::source::Origin;
use crate::topology::identity::{self, PortIds};
use crate::topology::merge::Merged;
use crate::topology::port::unknown_network;
use crate::topology::station::{self, Owner, Plug, Station};
use crate::topology::{Mtu, Network, RouterPort, address, mtu};

/// Checks the ports of all routers, and adds the links between routers to the networks.
pub(in crate::topology) fn resolve<'a>(
    merged: &Merged<'a>,
    networks: &mut BTreeMap<String, Network>,
    ids: &mut PortIds,
    problems: &mut Vec<Problem>,
) -> Sites<'a> {
    let ends = link::resolve(merged, networks, problems);
    let names = merged.routers.iter().flat_map(|(&router, (given, _))| {
        let ports = given.ports.keys();
        ports.map(move |port| RouterPortName { router, port })
    });
    let ids = ids.assign(names);
    let known = Known {
        merged,
        networks,
        ends,
        macs: identity::router_macs(gateways(merged)),
    };
    let mut sites = Sites {
        routers: Vec::new(),
        stations: Vec::new(),
    };
    for (&name, &(given, _)) in &merged.routers {
        let mut site = Site {
            name,
            given,
            ports: BTreeMap::new(),
            all_known: !given.incomplete,
        };
        for (port, given) in &given.ports {
            let name = RouterPortName { router: name, port };
            let id = ids.get(&name).copied().unwrap_or(PortId::NONE);
            let Some((plugged, station)) = resolve_one(name, given, id, &known, problems) else {
                site.all_known = false;
                continue;
            };
            site.all_known &= plugged.addresses.len() == given.addresses.len();
            site.ports.insert(port, plugged);
            sites.stations.push(station);
        }
        overlaps(merged, &site, problems);
        sites.routers.push(site);
    }
    sites
}

/// What the ports can be plugged into.
struct Known<'k, 'a> {
    merged: &'k Merged<'a>,
    networks: &'k BTreeMap<String, Network>,
    ends: BTreeMap<RouterPortName<'a>, End<'a>>,
    /// The MAC addresses of those ports that are not given one.
    macs: BTreeMap<Gateway<'a>, Mac>,
}

/// What the MAC address of a router's port follows from: where it is plugged in, and its first address,
/// the one that its errors come from. Stations remember the MAC address of their gateway for a long
/// time; so it is the same whichever router has the address (compare RFC 9568 section 7.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Gateway<'a> {
    network: &'a str,
    address: Option<IpAddr>,
    /// Two ports may claim the same address, which is reported as such and not as the same MAC address.
    name: RouterPortName<'a>,
}

impl<'a> Gateway<'a> {
    fn new(name: RouterPortName<'a>, given: &document::RouterPort) -> Self {
        let addresses = given.addresses.iter().map(|address| address.ip);
        let v4 = addresses.clone().find(IpAddr::is_ipv4);
        Self {
            network: name.port,
            address: v4.or_else(|| addresses.clone().next()),
            name,
        }
    }
}

impl fmt::Display for Gateway<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.network)?;
        match self.address {
            Some(address) => write!(f, " {address}"),
            None => Ok(()),
        }
    }
}

/// The ports of all routers that are not given a MAC address.
fn gateways<'a>(merged: &Merged<'a>) -> impl Iterator<Item = Gateway<'a>> {
    merged.routers.iter().flat_map(|(&router, &(given, _))| {
        let ports = given.ports.iter().filter(|(_, given)| given.mac.is_none());
        ports.map(move |(port, given)| Gateway::new(RouterPortName { router, port }, given))
    })
}

/// One port, unless it is on no network or link.
fn resolve_one<'a>(
    name: RouterPortName<'a>,
    given: &'a document::RouterPort,
    id: PortId,
    known: &Known<'_, 'a>,
    problems: &mut Vec<Problem>,
) -> Option<(Plugged<'a>, Station<'a>)> {
    problems.extend(misleading(name, given));
    if given.addresses.is_empty() && !given.incomplete {
        problems.push(
            Problem::new(format!("port {name} has no address"))
                .at(&given.origin, "a router is reached by its addresses")
                .help(format!("give it one: `{}: 10.1.0.1`", name.port)),
        );
    }
    let plug = Plug {
        name: name.to_string(),
        owner: Owner::Router(name.router),
    };
    let derived = known.macs.get(&Gateway::new(name, given));
    let derived = derived.copied().unwrap_or(Mac::ZERO);
    let mac = station::mac(
        &plug,
        (given.mac.as_ref(), &given.origin),
        derived,
        problems,
    );
    let place = match known.ends.get(&name) {
        Some(end) => on_link(end, known)?,
        None => on_network(&plug, name.port, given, known, problems)?,
    };
    let port = RouterPort {
        id,
        network: place.network.clone(),
        mac: mac.value,
        addresses: place.addresses.iter().map(|one| one.value).collect(),
        mtu: place.mtu,
        origin: given.origin.clone(),
    };
    let station = Station {
        plug,
        network: place.network,
        addresses: place.addresses.clone(),
        mac: Some(mac),
        learning: false,
        origin: &given.origin,
    };
    let plugged = Plugged {
        port,
        addresses: place.addresses,
        peer: place.peer,
    };
    Some((plugged, station))
}

/// What follows from where a port is.
struct Place<'a> {
    network: String,
    addresses: Vec<Located<IpNet>>,
    mtu: Mtu,
    peer: Option<(RouterPortName<'a>, Vec<IpNet>)>,
}

fn on_link<'a>(end: &End<'a>, known: &Known<'_, 'a>) -> Option<Place<'a>> {
    let (network, far) = end.link.as_ref()?;
    let there = known.ends.get(far)?.addresses.iter();
    Some(Place {
        network: network.clone(),
        addresses: end.addresses.clone(),
        mtu: end.mtu,
        peer: Some((*far, there.map(|address| address.value).collect())),
    })
}

fn on_network<'a>(
    plug: &Plug<'_>,
    name: &str,
    given: &document::RouterPort,
    known: &Known<'_, '_>,
    problems: &mut Vec<Problem>,
) -> Option<Place<'a>> {
    let network = known.merged.networks.get_key_value(name);
    let (Some((&name, &(declared, _))), Some(resolved)) = (network, known.networks.get(name))
    else {
        // What could not be read may have said that the port leads to a router.
        if !known.merged.incomplete && !given.incomplete {
            let network = Located {
                value: name.to_owned(),
                origin: given.origin.clone(),
            };
            let subject = format!("port {plug} is on");
            problems.push(unknown_network(&subject, &network, known.merged));
        }
        return None;
    };
    let declared = (name, declared);
    Some(Place {
        network: name.to_owned(),
        addresses: address::resolve(plug, &given.addresses, resolved, declared, problems),
        mtu: mtu::of_port(plug, given.mtu.as_ref(), declared, resolved, problems),
        peer: None,
    })
}

/// The problem of a port whose name means something else where routes lead to it.
fn misleading(name: RouterPortName<'_>, given: &document::RouterPort) -> Option<Problem> {
    let other = match name.port {
        "blackhole" | "reject" => "that packets are dropped",
        "uplink" => "the way to the outside",
        address if address.parse::<IpAddr>().is_ok() => "an address",
        _ => return None,
    };
    let problem = Problem::new(format!(
        "router {}: {:?} cannot be the name of a port",
        name.router, name.port
    ))
    .at(&given.origin, format!("in a route it means {other}"));
    Some(problem.help(match given.peer {
        Some(_) => "choose another name",
        None => "choose another name for the network",
    }))
}

/// The subnets of two ports must be apart: otherwise it could not be told which one leads there.
/// Prefixes overlap only where one contains the other, so that in sorted order it is enough to
/// compare each with the last one that no other contains.
fn overlaps(merged: &Merged<'_>, site: &Site<'_>, problems: &mut Vec<Problem>) {
    // Several addresses of one port may be in one subnet.
    let mut apart: BTreeMap<(IpNet, &str), &Origin> = BTreeMap::new();
    for (name, plugged) in &site.ports {
        for address in &plugged.addresses {
            apart
                .entry((address.trunc(), name))
                .or_insert(&address.origin);
        }
    }
    let subnets = apart.into_iter();
    let mut subnets: Vec<(IpNet, &str, &Origin)> = subnets
        .map(|((subnet, name), origin)| (subnet, name, origin))
        .collect();
    subnets.sort_by_key(|(subnet, _, origin)| {
        (subnet.network(), subnet.prefix_len(), merged.rank(origin))
    });
    let mut outer: Option<(IpNet, &str, &Origin)> = None;
    for inner in subnets {
        let Some(around) = outer.filter(|(subnet, ..)| subnet.contains(&inner.0)) else {
            outer = Some(inner);
            continue;
        };
        let (first, again) = if merged.rank(around.2) < merged.rank(inner.2) {
            (around, inner)
        } else {
            (inner, around)
        };
        problems.push(
            Problem::new(format!(
                "subnet {} of port {}/{} and subnet {} of port {}/{} overlap",
                first.0, site.name, first.1, again.0, site.name, again.1
            ))
            .at(again.2, "this one")
            .at(first.2, "overlaps with this one")
            .help("the subnets of a router's ports must be apart"),
        );
    }
}
