//! Routes that send packets round in a loop, called circle here for the language's sake, or through more
//! routers than the datapath follows.
//!
//! All addresses that the same routes of all routers are for share one fate, so that it is enough to
//! follow, for each destination that some route names, the addresses that no longer prefix takes
//! away. Every circle has a longest prefix among its routes; it is found from there.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use maps_schema::map::ROUTERS_MAX;

use crate::problem::Problem;
use crate::source::Origin;
use crate::topology::merge::Merged;
use crate::topology::station::{Owner, Stations};
use crate::topology::{RouteTarget, Router, RouterRoute};

/// Reports every circle of routes once.
pub(super) fn check(
    merged: &Merged<'_>,
    routers: &BTreeMap<String, Router>,
    stations: &Stations<'_>,
    problems: &mut Vec<Problem>,
) {
    let search = Search {
        stations,
        tables: routers
            .iter()
            .map(|(name, router)| (name.as_str(), Table::new(router)))
            .collect(),
    };
    let mut seen = BTreeSet::new();
    let mut told = BTreeSet::new();
    for (to, starts) in search.destinations() {
        let circles = search.circles(to, &starts);
        if circles.is_empty()
            && let Some(first) = search.too_far(to)
            && told.insert(first.router)
        {
            problems.push(too_many(to, &first));
        }
        for circle in circles {
            let places = circle.iter().map(|step| merged.rank(&step.route.origin));
            let places: BTreeSet<(usize, usize)> = places.collect();
            // `default` may stand for two families, and a circle be met by several destinations.
            if !search.is_covered(to, &circle) && seen.insert(places) {
                problems.push(problem(merged, to, circle));
            }
        }
    }
}

/// A router's routes, and which lengths of prefixes they have.
struct Table<'a> {
    router: &'a Router,
    lengths: BTreeSet<u8>,
}

impl<'a> Table<'a> {
    fn new(router: &'a Router) -> Self {
        let lengths = router.routes.iter().map(|route| route.to.prefix_len());
        Self {
            router,
            lengths: lengths.collect(),
        }
    }

    /// The route for those addresses of `to` that have none of their own.
    fn lookup(&self, to: IpNet) -> Option<&'a RouterRoute> {
        let routes = &self.router.routes;
        let lengths = self.lengths.range(..=to.prefix_len()).rev();
        lengths
            .filter_map(|&len| IpNet::new(to.addr(), len).ok())
            .find_map(|wider| {
                let found = routes.binary_search_by_key(&wider.trunc(), |route| route.to);
                routes.get(found.ok()?)
            })
    }

    /// Whether this one address is the router's own.
    fn is_at_home(&self, to: IpNet) -> bool {
        let mut ports = self.router.ports.values();
        to.prefix_len() == to.max_prefix_len()
            && ports.any(|port| port.addresses.iter().any(|own| own.addr() == to.addr()))
    }
}

/// A router on the way, the route that it takes, and the routers that are still to be followed.
#[derive(Clone)]
struct Step<'a> {
    router: &'a str,
    route: &'a RouterRoute,
    next: Vec<&'a str>,
}

struct Search<'s, 'a> {
    stations: &'s Stations<'a>,
    tables: BTreeMap<&'s str, Table<'s>>,
}

impl<'s> Search<'s, '_> {
    /// The destinations of all routes that lead to other routers, and the routers that have them.
    fn destinations(&self) -> BTreeMap<IpNet, Vec<&'s str>> {
        let mut destinations: BTreeMap<IpNet, Vec<&'s str>> = BTreeMap::new();
        for (&name, table) in &self.tables {
            for route in &table.router.routes {
                if !self.next(name, route).is_empty() {
                    destinations.entry(route.to).or_default().push(name);
                }
            }
        }
        destinations
    }

    /// The other routers that a route leads to.
    fn next(&self, router: &str, route: &'s RouterRoute) -> Vec<&'s str> {
        let RouteTarget::Forward(hops) = &route.target else {
            return Vec::new();
        };
        let ports = self.tables.get(router).map(|table| &table.router.ports);
        let next = hops.iter().filter_map(|hop| {
            let port = ports?.get(&hop.port)?;
            let Owner::Router(next) = self.stations.owner(&port.network, hop.via?)? else {
                return None;
            };
            let (&next, _) = self.tables.get_key_value(next)?;
            (next != router).then_some(next)
        });
        next.collect()
    }

    fn step(&self, router: &'s str, to: IpNet) -> Option<Step<'s>> {
        let table = self.tables.get(router)?;
        if table.is_at_home(to) {
            return None;
        }
        let route = table.lookup(to)?;
        let next = self.next(router, route);
        Some(Step {
            router,
            route,
            next,
        })
    }

    /// The circles that packets to these addresses come into, depth first.
    fn circles(&self, to: IpNet, starts: &[&'s str]) -> Vec<Vec<Step<'s>>> {
        let mut circles = Vec::new();
        let mut visited = BTreeSet::new();
        for &start in starts {
            if !visited.insert(start) {
                continue;
            }
            let mut path: Vec<Step<'s>> = self.step(start, to).into_iter().collect();
            while let Some(last) = path.last_mut() {
                let Some(next) = last.next.pop() else {
                    path.pop();
                    continue;
                };
                let met = path.iter().position(|step| step.router == next);
                if let Some(circle) = met.and_then(|met| path.get(met..)) {
                    circles.push(circle.to_vec());
                } else if visited.insert(next) {
                    path.extend(self.step(next, to));
                }
            }
        }
        circles
    }

    /// The first router of a way to these addresses that passes more routers than the datapath follows,
    /// if they are not sent round in a circle.
    fn too_far(&self, to: IpNet) -> Option<Step<'s>> {
        // Without a circle, no way has more routers than there are.
        if self.tables.len() <= ROUTERS_MAX as usize {
            return None;
        }
        // The routers that packets have come to after so many others, and where one of them began.
        let mut reached: BTreeMap<&str, &str> =
            self.tables.keys().map(|&name| (name, name)).collect();
        for _ in 0..ROUTERS_MAX {
            let mut further = BTreeMap::new();
            for (router, start) in reached {
                let next = self.step(router, to).map(|step| step.next);
                further.extend(next.into_iter().flatten().map(|next| (next, start)));
            }
            reached = further;
        }
        let (_, start) = reached.pop_first()?;
        self.step(start, to)
    }

    /// Whether longer prefixes take all of the addresses away.
    fn is_covered(&self, to: IpNet, circle: &[Step<'_>]) -> bool {
        let mut within: Vec<IpNet> = Vec::new();
        for table in circle
            .iter()
            .filter_map(|step| self.tables.get(step.router))
        {
            let routes = &table.router.routes;
            let first = routes.partition_point(|route| route.to <= to);
            let rest = routes.get(first..).unwrap_or_default().iter();
            let longer = rest.map(|route| route.to);
            within.extend(longer.take_while(|prefix| to.contains(prefix)));
        }
        IpNet::aggregate(&within).contains(&to)
    }
}

/// A way that is too long, told where it begins.
fn too_many(to: IpNet, first: &Step<'_>) -> Problem {
    let router = first.router;
    Problem::new(format!(
        "packets to {to} pass more than {ROUTERS_MAX} routers from router {router} on"
    ))
    .at(&first.route.origin, "the way begins here")
    .help("join the networks by fewer routers: what passes more is dropped")
}

/// A circle, told from the route on that is written last.
fn problem(merged: &Merged<'_>, to: IpNet, mut circle: Vec<Step<'_>>) -> Problem {
    let rank = |origin: &Origin| merged.rank(origin);
    let last = (0..circle.len()).max_by_key(|&i| circle.get(i).map(|s| rank(&s.route.origin)));
    circle.rotate_left(last.unwrap_or(0));
    let mut names: Vec<&str> = circle.iter().map(|step| step.router).collect();
    names.extend(names.first().copied());
    let mut problem = Problem::new(format!(
        "packets to {to} go round in a loop: {}",
        names.join(", ")
    ));
    for (step, next) in circle.iter().zip(names.iter().skip(1)) {
        let label = format!("router {} sends them to {next}", step.router);
        problem = problem.at(&step.route.origin, label);
    }
    // A router that sends them on by a shorter prefix has probably nowhere else to send them.
    let shorter = circle.iter().find(|step| step.route.to != to);
    problem.help(match shorter {
        Some(step) => format!(
            "let one of the routes lead elsewhere, or stop the packets at router {}: \
             `{{ to: {to}, via: blackhole }}`",
            step.router
        ),
        None => "let one of the routes lead elsewhere".to_owned(),
    })
}
