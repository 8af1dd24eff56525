//! The rules for the routes of a router.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ipnet::IpNet;
use maps_schema::map::BUCKETS_MAX;

use super::Site;
use super::hop::{self, Finder, Way};
use crate::document::{self, Destination};
use crate::problem::Problem;
use crate::source::Origin;
use crate::topology::family::Family;
use crate::topology::station::Stations;
use crate::topology::{NextHop, RouteTarget, RouterRoute, range};

/// Flows are spread over that many next hops at most: each needs a bucket of the datapath's list.
const MOST_NEXT_HOPS: usize = BUCKETS_MAX as usize;

/// The routes of one router that are in force, in the order of their destinations.
pub(super) fn resolve<'a>(
    site: &Site<'a>,
    stations: &Stations<'a>,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Vec<RouterRoute> {
    let connected = connected(site);
    let mut table = connected.clone();
    let mut taken: BTreeMap<(IpNet, u32), &Origin> = BTreeMap::new();
    let mut finder = Finder {
        site,
        stations,
        problems,
        warnings,
        told: std::collections::BTreeSet::new(),
    };
    for route in &site.given.routes {
        let ways = hop::ways(site, route, finder.problems);
        let Some(metric) = metric(site, route, finder.problems) else {
            continue;
        };
        for to in destinations(site, route, &ways, finder.problems) {
            if let Some(own) = connected.get(&to) {
                finder.problems.push(own_subnet(site, (to, route), own));
                continue;
            }
            match taken.entry((to, metric)) {
                Entry::Occupied(first) => {
                    let first = first.get();
                    finder
                        .problems
                        .push(twice(site, (to, route), metric, first));
                    continue;
                }
                Entry::Vacant(entry) => entry.insert(&route.to.origin),
            };
            let Some(target) = target(&mut finder, (to, route), &ways) else {
                continue;
            };
            let better = table.get(&to).is_none_or(|other| metric < other.metric);
            if better {
                let origin = route.to.origin.clone();
                table.insert(
                    to,
                    RouterRoute {
                        to,
                        metric,
                        target,
                        origin,
                    },
                );
            }
        }
    }
    table.extend(implied(site, &table));
    table.into_values().collect()
}

/// The default routes to the uplink: an uplink to which no route leads would be for nothing. Whoever
/// gives a default route in a family, or any other route to the uplink, has said what goes there.
fn implied(site: &Site<'_>, table: &BTreeMap<IpNet, RouterRoute>) -> Vec<(IpNet, RouterRoute)> {
    let Some(uplink) = &site.given.uplink else {
        return Vec::new();
    };
    let families = Family::BOTH.into_iter().filter(|&family| {
        let mut of_family = table.values().filter(|route| family.has(&route.to));
        let said = of_family
            .any(|route| route.to.prefix_len() == 0 || route.target == RouteTarget::Uplink);
        !said && has_addresses(site, family)
    });
    let routes = families.map(|family| {
        let to = family.everywhere();
        let route = RouterRoute {
            to,
            metric: 0,
            target: RouteTarget::Uplink,
            origin: uplink.origin.clone(),
        };
        (to, route)
    });
    routes.collect()
}

fn has_addresses(site: &Site<'_>, family: Family) -> bool {
    let mut ports = site.ports.values();
    ports.any(|port| port.addresses.iter().any(|own| family.has(own)))
}

/// The routes to the subnets of the router's own ports.
fn connected(site: &Site<'_>) -> BTreeMap<IpNet, RouterRoute> {
    let mut routes = BTreeMap::new();
    for (name, plugged) in &site.ports {
        for address in &plugged.addresses {
            let to = address.trunc();
            routes.entry(to).or_insert_with(|| RouterRoute {
                to,
                metric: 0,
                target: RouteTarget::Forward(vec![NextHop {
                    port: (*name).to_owned(),
                    via: None,
                }]),
                origin: address.origin.clone(),
            });
        }
    }
    routes
}

/// A route and the destinations that are concerned: `default` may mean those of two families.
type Leg<'s> = (IpNet, &'s document::RouterRoute);

/// What to call it in a message.
fn title(site: &Site<'_>, to: IpNet) -> String {
    if to.prefix_len() == 0 {
        let family = Family::of(to.addr());
        format!("the default route of router {} for {family}", site.name)
    } else {
        format!("the route to {to} of router {}", site.name)
    }
}

fn metric(
    site: &Site<'_>,
    route: &document::RouterRoute,
    problems: &mut Vec<Problem>,
) -> Option<u32> {
    let Some(given) = &route.metric else {
        return Some(0);
    };
    let metric = u32::try_from(given.value).ok();
    if metric.is_none() {
        problems.push(
            Problem::new(format!(
                "the metric of a route of router {} is {}",
                site.name, given.value
            ))
            .at(&given.origin, "out of range")
            .help(format!("a metric is between 0 and {}", u32::MAX)),
        );
    }
    metric
}

/// The destinations of a route, without host bits.
fn destinations(
    site: &Site<'_>,
    route: &document::RouterRoute,
    ways: &[(&Origin, Way<'_, '_>)],
    problems: &mut Vec<Problem>,
) -> Vec<IpNet> {
    let to = match route.to.value {
        Destination::Default => return defaults(site, route, ways, problems),
        Destination::Prefix(to) => to.trunc(),
    };
    if Destination::Prefix(to) != route.to.value {
        problems.push(
            Problem::new(format!("{} has host bits set", title_as_given(site, route)))
                .at(&route.to.origin, "an address, not a prefix")
                .help(format!("write {to}")),
        );
    }
    // What is unspecified is so as a single address; 0.0.0.0/1 is half of everything.
    let kind = range::special(to.network())
        .filter(|_| !to.network().is_unspecified() || to.prefix_len() == to.max_prefix_len());
    if let Some(kind) = kind {
        problems.push(
            Problem::new(format!("{} leads to {kind} addresses", title(site, to)))
                .at(&route.to.origin, "no router forwards to there")
                .help("leave the route out"),
        );
        return Vec::new();
    }
    vec![to]
}

fn title_as_given(site: &Site<'_>, route: &document::RouterRoute) -> String {
    match route.to.value {
        Destination::Default => format!("the default route of router {}", site.name),
        Destination::Prefix(to) => title(site, to),
    }
}

/// What `default` means with these next hops: the family of the addresses among them, or else every
/// family in which the ports lead somewhere.
fn defaults(
    site: &Site<'_>,
    route: &document::RouterRoute,
    ways: &[(&Origin, Way<'_, '_>)],
    problems: &mut Vec<Problem>,
) -> Vec<IpNet> {
    let of_family = |family: Family| {
        let mut ways = ways.iter();
        let found =
            ways.find(|(_, way)| matches!(way, Way::Address(ip) if Family::of(*ip) == family));
        found.map(|(origin, _)| *origin)
    };
    let [v4, v6] = Family::BOTH.map(of_family);
    if let (Some(v4), Some(v6)) = (v4, v6) {
        problems.push(
            Problem::new(format!(
                "{} mixes IPv4 and IPv6",
                title_as_given(site, route)
            ))
            .at(v4, "this next hop is IPv4")
            .at(v6, "this next hop is IPv6")
            .help("write a default route for each family"),
        );
        return Vec::new();
    }
    let leads = |way: &Way<'_, '_>, family: Family| match way {
        Way::Address(ip) => Family::of(*ip) == family,
        Way::Port(name, port) => Finder::through(name, port, family).is_some(),
        Way::Word(RouteTarget::Uplink) => has_addresses(site, family),
        Way::Word(_) => true,
    };
    let families = Family::BOTH.into_iter().filter(|&family| match (v4, v6) {
        (None, None) => ways.iter().any(|(_, way)| leads(way, family)),
        (v4, _) => v4.is_some() == (family == Family::V4),
    });
    families.map(Family::everywhere).collect()
}

/// What becomes of the packets, or `None` where nothing is left of the next hops.
fn target(
    finder: &mut Finder<'_, '_>,
    (to, route): Leg<'_>,
    ways: &[(&Origin, Way<'_, '_>)],
) -> Option<RouteTarget> {
    let family = Family::of(to.addr());
    let mut hops: Vec<(NextHop, &Origin)> = Vec::with_capacity(ways.len());
    for (origin, way) in ways {
        let hop = match way {
            Way::Word(target) => return Some(target.clone()),
            Way::Address(ip) if Family::of(*ip) != family => {
                finder
                    .problems
                    .push(mixed(finder.site, (to, route), origin));
                None
            }
            Way::Address(ip) => finder.at(*ip, origin),
            Way::Port(name, port) => {
                let hop = Finder::through(name, port, family);
                // `default` leads through a port in those families that the port has.
                let both = route.to.value == Destination::Default
                    && !ways.iter().any(|(_, way)| matches!(way, Way::Address(_)));
                let lacks = !port.addresses.iter().any(|own| family.has(own));
                if lacks && !both && finder.site.all_known {
                    let problem = no_address(finder.site, to, name).at(origin, "this next hop");
                    finder.problems.push(problem);
                }
                hop
            }
        };
        let Some(hop) = hop else { continue };
        if let Some((_, first)) = hops.iter().find(|(other, _)| *other == hop) {
            finder
                .problems
                .push(same_hop(finder.site, to, origin, first));
            continue;
        }
        hops.push((hop, origin));
    }
    if let Some((_, beyond)) = hops.get(MOST_NEXT_HOPS) {
        finder.problems.push(
            Problem::new(format!(
                "{} has more than {MOST_NEXT_HOPS} next hops",
                title(finder.site, to)
            ))
            .at(beyond, "one next hop too many")
            .help("split the destinations among several routes"),
        );
    }
    let hops: Vec<NextHop> = hops.into_iter().map(|(hop, _)| hop).collect();
    (!hops.is_empty()).then_some(RouteTarget::Forward(hops))
}

fn own_subnet(site: &Site<'_>, (to, route): Leg<'_>, own: &RouterRoute) -> Problem {
    Problem::new(format!("{} leads to its own subnet", title(site, to)))
        .at(&route.to.origin, "this subnet needs no route")
        .at(&own.origin, "the router is in it")
        .help("leave the route out: it follows from the port's address")
}

fn twice(site: &Site<'_>, (to, route): Leg<'_>, metric: u32, first: &Origin) -> Problem {
    Problem::new(format!(
        "{} is given twice with metric {metric}",
        title(site, to)
    ))
    .at(&route.to.origin, "given again here")
    .at(first, "first given here")
    .help(
        "write equal next hops as one route, `via: [a, b]`, or give one of the two another metric",
    )
}

fn mixed(site: &Site<'_>, (to, route): Leg<'_>, origin: &Origin) -> Problem {
    let family = Family::of(to.addr());
    let other = match family {
        Family::V4 => Family::V6,
        Family::V6 => Family::V4,
    };
    Problem::new(format!("{} mixes IPv4 and IPv6", title(site, to)))
        .at(origin, format!("the next hop is {other}"))
        .at(&route.to.origin, format!("the destination is {family}"))
        .help("the next hop must be of the destination's family")
}

fn no_address(site: &Site<'_>, to: IpNet, port: &str) -> Problem {
    let family = Family::of(to.addr());
    Problem::new(format!(
        "{} leads through port {port}, which has no {family} address",
        title(site, to)
    ))
    .help(format!("give the port an {family} address"))
}

fn same_hop(site: &Site<'_>, to: IpNet, again: &Origin, first: &Origin) -> Problem {
    Problem::new(format!("{} has a next hop twice", title(site, to)))
        .at(again, "given again here")
        .at(first, "first given here")
        .help("keep one of the two: next hops are equal")
}
