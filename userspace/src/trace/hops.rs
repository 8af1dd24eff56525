//! The routers on a frame's way: what each of them looked up, and that in words.

use std::collections::BTreeSet;
use std::time::Duration;

use datapath::memory::MemoryTables;
use maps_schema::map::{
    Neighbor, NeighborKey, NextHop, NextHopKey, Resolved, Route, RouteKey, RouterAddress,
    RouterAddressKey, RouterPort,
};
use maps_schema::{Ip, PortId, RouterId};

use super::record::{Lookup, Passage};
use super::story::covers;
use super::{Stage, Step};
use crate::counted;
use crate::plan::{Names, destination};

/// What one router looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RouterHop {
    /// Where the packet came in, and the port's row.
    pub(super) entry: (PortId, Option<RouterPort>),
    /// Whether the packet is for the router itself.
    pub(super) own: Option<(RouterAddressKey, RouterAddress)>,
    /// The route.
    pub(super) route: Option<(RouteKey, Option<Route>)>,
    /// Which of the route's several next hops it is.
    pub(super) next_hop: Option<(NextHopKey, Option<NextHop>)>,
    /// Where the packet leaves.
    pub(super) exit: Option<(PortId, Option<RouterPort>)>,
    /// Who is next, if declared.
    pub(super) neighbor: Option<(NeighborKey, Option<Neighbor>)>,
    /// Who is next, if asked for before.
    pub(super) resolved: Option<Option<Resolved>>,
    /// Whether the packet left for the next hop.
    pub(super) has_left: bool,
    /// Whether the next hop is a router.
    continues: bool,
}

impl RouterHop {
    const fn new(port: PortId, row: Option<RouterPort>) -> Self {
        Self {
            entry: (port, row),
            own: None,
            route: None,
            next_hop: None,
            exit: None,
            neighbor: None,
            resolved: None,
            has_left: false,
            continues: false,
        }
    }

    pub(super) fn router(&self) -> RouterId {
        self.entry.1.map_or(RouterId::NONE, |row| row.router)
    }

    /// Takes in what was looked up next. What comes after the decision is not the router's.
    fn take(&mut self, lookup: &Lookup) {
        match *lookup {
            Lookup::RouterAddress(key, found) => {
                self.own = self.own.or(found.map(|found| (key, found)));
            }
            Lookup::Route(key, found) => self.route = Some((key, found)),
            Lookup::NextHop(key, found) => self.next_hop = Some((key, found)),
            Lookup::RouterPort(port, found) if self.forwards() && self.exit.is_none() => {
                self.exit = Some((port, found));
            }
            Lookup::Neighbor(key, found) => self.neighbor = Some((key, found)),
            Lookup::Resolved(_, found) => self.resolved = Some(found),
            Lookup::Fdb(_, found) => {
                self.has_left = true;
                self.continues = found.is_some_and(|entry| entry.router != RouterId::NONE);
            }
            _ => {}
        }
    }

    fn forwards(&self) -> bool {
        let route = self.route.and_then(|(_, found)| found);
        route.is_some_and(|route| route.kind == Route::FORWARD)
    }
}

/// The routers that a frame came to, in order.
pub(super) fn hops(passage: &Passage) -> Vec<RouterHop> {
    let (_, lookups) = passage.parts();
    let mut hops: Vec<RouterHop> = Vec::new();
    for lookup in lookups {
        match (hops.last_mut(), lookup) {
            (Some(hop), lookup) if !hop.continues => hop.take(lookup),
            (_, Lookup::RouterPort(port, row)) => hops.push(RouterHop::new(*port, *row)),
            _ => {}
        }
    }
    hops
}

/// A frame's way from router to router, to be told.
pub(super) struct Itinerary<'a> {
    /// The host that they are on, as those that the packet meets all are.
    pub(super) host: &'a Option<String>,
    pub(super) names: &'a Names,
    pub(super) tables: &'a MemoryTables,
    /// The time to live, or hop limit, that the packet was sent with.
    pub(super) ttl: u8,
    /// How large the sender's packets may be.
    pub(super) mtu: u32,
}

impl Itinerary<'_> {
    /// The steps in every router. A circle is told once.
    pub(super) fn steps(&self, hops: &[RouterHop]) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut seen = BTreeSet::new();
        let mut mtu = self.mtu;
        let mut ttl = self.ttl;
        for hop in hops {
            if !seen.insert(hop.entry.0) {
                steps.push(self.at_port(
                    hop,
                    hop.entry.0,
                    format!(
                        "comes to {} again: the routes lead in a circle",
                        self.names.port(hop.entry.0)
                    ),
                ));
                break;
            }
            self.enter(hop, &mut steps);
            self.decide(hop, &mut steps);
            self.narrow(hop, &mut mtu, &mut steps);
            self.next(hop, &mut steps);
            if let (true, Some((port, _))) = (hop.has_left, hop.exit) {
                ttl = ttl.saturating_sub(1);
                let text = format!("leaves by {} with TTL {ttl}", self.names.port(port));
                steps.push(self.at_port(hop, port, text));
            }
        }
        steps
    }

    fn enter(&self, hop: &RouterHop, steps: &mut Vec<Step>) {
        let (port, row) = hop.entry;
        let name = self.names.port(port);
        let text = match row {
            Some(row) => {
                let network = self.names.network(row.vni);
                // No file can give a network such a name: it is a direct link's.
                if network.contains('/') {
                    format!("enters at {name} by the direct link {network}")
                } else {
                    format!("enters at {name} from network {network}")
                }
            }
            None => format!("the router's port {name} is not there"),
        };
        steps.push(self.at_port(hop, port, text));
        if let Some((key, address)) = hop.own {
            let port = self.names.port(address.port);
            let text = format!("{} is the router's own address, at {port}", key.ip);
            steps.push(self.at_port(hop, address.port, text));
        }
    }

    /// The route, and which of its next hops is taken.
    fn decide(&self, hop: &RouterHop, steps: &mut Vec<Step>) {
        let Some((key, found)) = hop.route else {
            return;
        };
        let Some(route) = found else {
            steps.push(self.step(hop, format!("no route leads to {}", key.ip)));
            return;
        };
        // The row says where to, and its key for which destinations; the longest one matched.
        let covering = self.names.routes.iter();
        let covering = covering.filter(|(other, _)| covers(other, &key));
        let matched = covering.max_by_key(|(other, _)| other.prefix_len);
        let to = matched.map_or(&key, |(other, _)| other);
        let text = if route.kind == Route::FORWARD && route.buckets != 0 {
            let count = self.next_hops(&route);
            let to = destination(to);
            format!("route: {to} by one of {count} equal next hops")
        } else {
            format!("route: {}", self.names.route(to, &route))
        };
        steps.push(Step {
            origin: matched.map(|(_, origin)| origin.to_string()),
            ..self.step(hop, text)
        });
        let Some((key, found)) = hop.next_hop else {
            return;
        };
        let bucket = format!("the flow is in bucket {} of {}", key.bucket, route.buckets);
        steps.push(match found {
            Some(found) => {
                let way = self.names.hop(found.port, found.via);
                self.at_port(hop, found.port, format!("{bucket}: {way}"))
            }
            None => self.step(hop, format!("{bucket}, which has no next hop")),
        });
    }

    /// How many next hops a route has.
    fn next_hops(&self, route: &Route) -> usize {
        let rows = self.tables.next_hops.iter();
        let rows = rows.filter(|(key, _)| key.list == route.next_hops);
        let hops: BTreeSet<_> = rows.map(|(_, hop)| (hop.port, hop.via)).collect();
        hops.len()
    }

    /// A port that carries only smaller packets than those before it.
    fn narrow(&self, hop: &RouterHop, mtu: &mut u32, steps: &mut Vec<Step>) {
        if let Some((port, Some(row))) = hop.exit
            && row.mtu < *mtu
        {
            *mtu = row.mtu;
            let name = self.names.port(port);
            let text = format!(
                "mtu: {name} carries {} bytes at most, and senders of larger packets are told so",
                row.mtu
            );
            steps.push(self.at_port(hop, port, text));
        }
    }

    /// Who is next.
    fn next(&self, hop: &RouterHop, steps: &mut Vec<Step>) {
        let names = self.names;
        let Some((key, declared)) = hop.neighbor else {
            return;
        };
        let ip = key.ip;
        let step = match (declared, hop.resolved.flatten()) {
            (Some(neighbor), _) => {
                let (port, mac) = (names.port(neighbor.port), neighbor.mac);
                self.at_port(
                    hop,
                    neighbor.port,
                    format!("next hop: {ip} is {port}, {mac}"),
                )
            }
            (None, Some(found)) if found.port != PortId::NONE => {
                let (port, mac) = (names.port(found.port), found.mac);
                let age = self.age(&found).as_secs();
                let text = format!("next hop: {ip} answered {age} s ago at {port}, {mac}");
                self.at_port(hop, found.port, text)
            }
            (None, Some(found)) => {
                let times = counted::times(found.questions);
                let text = format!("next hop: {ip} was asked for {times} and has not answered");
                self.step(hop, text)
            }
            (None, None) => self.step(
                hop,
                format!(
                    "next hop: {ip} is not known on network {}",
                    names.network(key.vni)
                ),
            ),
        };
        steps.push(step);
    }

    fn age(&self, resolved: &Resolved) -> Duration {
        let now_ns = self.tables.now_ns.get();
        Duration::from_nanos(now_ns.saturating_sub(resolved.time_ns))
    }

    /// That a router asks for its next hop, and whom.
    pub(super) fn asks(&self, hop: &RouterHop, asked: &[String], ip: Ip) -> Step {
        let whom = if asked.is_empty() {
            "nobody, for no workload is plugged in there".to_owned()
        } else {
            super::outcome::listed(asked)
        };
        self.step(hop, format!("asks who has {ip}: {whom}"))
    }

    fn step(&self, hop: &RouterHop, text: String) -> Step {
        Step {
            stage: Stage::Router,
            host: self.host.clone(),
            router: Some(self.names.router(hop.router())),
            text,
            origin: None,
        }
    }

    fn at_port(&self, hop: &RouterHop, port: PortId, text: String) -> Step {
        let named = self.names.ports.get(&port);
        Step {
            origin: named.map(|named| named.origin.to_string()),
            ..self.step(hop, text)
        }
    }
}
