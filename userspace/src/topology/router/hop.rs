//! The rules for next hops: what is written behind `via`, and where it leads in each family.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Plugged, Site};
use crate::document::{self, Hop, Located};
use crate::problem::Problem;
use crate::similar::closest;
use crate::source::Origin;
use crate::topology::family::Family;
use crate::topology::route::reachable;
use crate::topology::station::Stations;
use crate::topology::{NextHop, RouteTarget, address};

/// The words that stand for no next hop.
const WORDS: [(&str, RouteTarget); 3] = [
    ("uplink", RouteTarget::Uplink),
    ("blackhole", RouteTarget::Blackhole),
    ("reject", RouteTarget::Reject),
];

/// One item behind `via`.
pub(super) enum Way<'s, 'a> {
    Address(IpAddr),
    Port(&'s str, &'s Plugged<'a>),
    Word(RouteTarget),
}

/// Reads what is behind the route's `via`, and leaves out what is reported.
pub(super) fn ways<'s, 'a>(
    site: &'s Site<'a>,
    route: &'s document::RouterRoute,
    problems: &mut Vec<Problem>,
) -> Vec<(&'s Origin, Way<'s, 'a>)> {
    let mut ways = Vec::with_capacity(route.via.len());
    for hop in &route.via {
        let way = match &hop.value {
            Hop::Address(ip) => Some(Way::Address(*ip)),
            Hop::Name(name) => named(site, name, &hop.origin, problems),
        };
        ways.extend(way.map(|way| (&hop.origin, way)));
    }
    let word = route.via.iter().find_map(|hop| match &hop.value {
        Hop::Name(name) => word(name).map(|_| (name, &hop.origin)),
        Hop::Address(_) => None,
    });
    if let Some((name, origin)) = word.filter(|_| route.via.len() > 1) {
        problems.push(
            Problem::new(format!(
                "a route of router {} has the next hop {name} beside others",
                site.name
            ))
            .at(origin, "this is no next hop")
            .help(format!("write `via: {name}` alone, or leave it out")),
        );
        ways.retain(|(_, way)| !matches!(way, Way::Word(_)));
    }
    ways
}

fn word(name: &str) -> Option<RouteTarget> {
    let found = WORDS.into_iter().find(|(word, _)| *word == name);
    found.map(|(_, target)| target)
}

fn named<'s, 'a>(
    site: &'s Site<'a>,
    name: &'s str,
    origin: &Origin,
    problems: &mut Vec<Problem>,
) -> Option<Way<'s, 'a>> {
    if let Some(target) = word(name) {
        if target == RouteTarget::Uplink && site.given.uplink.is_none() {
            if !site.given.incomplete {
                problems.push(no_uplink(site, origin));
            }
            return None;
        }
        return Some(Way::Word(target));
    }
    if let Some(plugged) = site.ports.get(name) {
        return Some(Way::Port(name, plugged));
    }
    // A port that is on no network has been reported.
    if !site.given.incomplete && !site.given.ports.contains_key(name) {
        problems.push(unknown_port(site, name, origin));
    }
    None
}

fn no_uplink(site: &Site<'_>, origin: &Origin) -> Problem {
    Problem::new(format!(
        "a route of router {} leads to its uplink, which it does not have",
        site.name
    ))
    .at(origin, "no way out")
    .help("give the router one: `uplink: true`")
}

fn unknown_port(site: &Site<'_>, name: &str, origin: &Origin) -> Problem {
    let ports = || site.given.ports.keys().map(String::as_str);
    let words = WORDS.iter().map(|(word, _)| *word);
    let mut leading = site.given.ports.iter();
    let leading = leading.find(|(_, port)| port.peer.as_ref().is_some_and(|p| p.router == name));
    let help = match (leading, closest(name, ports().chain(words))) {
        (Some((port, _)), _) => format!("the port that leads to router {name} is `{port}`"),
        (None, Some(close)) => format!("did you mean `{close}`?"),
        (None, None) => {
            let mut known: Vec<&str> = ports().take(8).collect();
            known.extend(WORDS.iter().map(|(word, _)| *word));
            known.push("or an address");
            format!("write one of: {}", known.join(", "))
        }
    };
    Problem::new(format!(
        "a route of router {} leads to port {name}, which does not exist",
        site.name
    ))
    .at(origin, "the router has no port of this name")
    .help(help)
}

/// Finds out where next hops are.
pub(super) struct Finder<'s, 'a> {
    pub(super) site: &'s Site<'a>,
    pub(super) stations: &'s Stations<'a>,
    pub(super) problems: &'s mut Vec<Problem>,
    pub(super) warnings: &'s mut Vec<Problem>,
    /// Next hops that have been warned of: hundreds of routes may share one.
    pub(super) told: BTreeSet<IpAddr>,
}

impl Finder<'_, '_> {
    /// The next hop at an address; what is wrong with it is noted.
    pub(super) fn at(&mut self, ip: IpAddr, origin: &Origin) -> Option<NextHop> {
        let site = self.site;
        let wrong = |message: String| Problem::new(message).at(origin, "this next hop");
        let who = format!("the next hop {ip} of router {}", site.name);
        let ports = site.ports.iter();
        let mut addresses =
            ports.flat_map(|(name, port)| port.addresses.iter().map(move |own| (name, port, own)));
        let Some((&name, plugged, near)) = addresses.find(|(.., own)| own.contains(&ip)) else {
            if site.all_known {
                let all = site.ports.values().flat_map(|port| port.addresses.clone());
                let all: Vec<Located<IpNet>> = all.collect();
                let help = reachable("router", ip, &all);
                let message = format!("{who} is in none of its subnets");
                self.problems.push(wrong(message).help(help));
            }
            return None;
        };
        if let Some(own) = plugged.addresses.iter().find(|own| own.addr() == ip) {
            let problem = wrong(format!("{who} is its own address"))
                .at(&own.origin, "the router's address")
                .help("the next hop is another station");
            self.problems.push(problem);
            return None;
        }
        if let Some(role) = address::reserved(ip, near.trunc()) {
            let message = format!("{who} is the {role} of its subnet");
            let help = "the next hop is a station: another router or a workload";
            self.problems.push(wrong(message).help(help));
            return None;
        }
        self.somebody(ip, origin, name, plugged);
        Some(NextHop {
            port: name.to_owned(),
            via: Some(ip),
        })
    }

    /// Notes that nobody has this address, if that is so.
    fn somebody(&mut self, ip: IpAddr, origin: &Origin, port: &str, plugged: &Plugged<'_>) {
        let network = &plugged.port.network;
        if self.stations.owner(network, ip).is_some() || self.stations.may_be_more(network) {
            return;
        }
        let router = self.site.name;
        let problem = Problem::new(format!("the next hop {ip} of router {router} is nobody's"));
        let Some((far, there)) = &plugged.peer else {
            if self.told.insert(ip) {
                let help =
                    "declare the station, or set `learning: true` on the port that it is behind";
                let label = format!("no port on network {network} has this address");
                self.warnings.push(problem.at(origin, label).help(help));
            }
            return;
        };
        // On a link nobody else can ever be.
        let same_family = |address: &&IpNet| Family::of(ip).has(address);
        let help = match there.iter().find(same_family) {
            Some(address) => format!("port {far} has the address {}", address.addr()),
            None => format!("write `via: {port}`"),
        };
        let label = format!("only port {far} is at the other end");
        self.problems.push(problem.at(origin, label).help(help));
    }

    /// Where a port leads in one family, if it does: to the router at the other end of a link, or
    /// to the destination itself on a network.
    pub(super) fn through(name: &str, port: &Plugged<'_>, family: Family) -> Option<NextHop> {
        let mut own = port.addresses.iter().filter(|own| family.has(own));
        let via = match &port.peer {
            None => own.next().map(|_| None),
            Some((_, there)) => {
                let near = |far: &&IpNet| own.clone().any(|own| own.trunc() == far.trunc());
                there.iter().find(near).map(|far| Some(far.addr()))
            }
        };
        Some(NextHop {
            port: name.to_owned(),
            via: via?,
        })
    }
}
