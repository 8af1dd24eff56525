//! The rules for routers, in the order in which they build upon one another: which ports lead to
//! which router (`peer`), the links that follow from it (`link`), the ports themselves (`port`),
//! and with the addresses of everybody known the routes (`route`, `hop`) and whether they lead
//! anywhere (`cycle`).

mod cycle;
mod hop;
mod link;
mod peer;
mod port;
mod route;

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
use maps_schema::RouterId;

pub(super) use port::resolve as resolve_ports;

use super::merge::Merged;
use super::station::{Station, Stations};
use super::{Router, RouterPort, identity};
use crate::document::{self, Located};
use crate::problem::Problem;

/// A router port's name, written `core/front`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct RouterPortName<'a> {
    pub(super) router: &'a str,
    pub(super) port: &'a str,
}

impl fmt::Display for RouterPortName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.router, self.port)
    }
}

/// The ports of all routers, before their routes are known.
pub(super) struct Sites<'a> {
    /// The routers, in name order.
    routers: Vec<Site<'a>>,
    /// What the ports are to their neighbors.
    pub(super) stations: Vec<Station<'a>>,
}

/// One router whose ports have been judged.
struct Site<'a> {
    name: &'a str,
    given: &'a document::Router,
    ports: BTreeMap<&'a str, Plugged<'a>>,
    /// Whether these are all of its ports and addresses: otherwise it cannot be told what is beyond
    /// its reach.
    all_known: bool,
}

/// One port that is on a network or a link.
struct Plugged<'a> {
    port: RouterPort,
    addresses: Vec<Located<IpNet>>,
    /// The port at the other end of a link, and its addresses.
    peer: Option<(RouterPortName<'a>, Vec<IpNet>)>,
}

/// Checks all routes, and completes the routers.
pub(super) fn resolve(
    merged: &Merged<'_>,
    sites: Sites<'_>,
    stations: &Stations<'_>,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> BTreeMap<String, Router> {
    let ids = identity::router_ids(sites.routers.iter().map(|site| site.name));
    let mut routers = BTreeMap::new();
    for site in sites.routers {
        let routes = route::resolve(&site, stations, problems, warnings);
        if site.given.ports.is_empty() && !site.given.incomplete {
            warnings.push(
                Problem::new(format!("router {} has no ports", site.name))
                    .at(&site.given.origin, "nothing reaches it")
                    .help("plug it into a network: `ports: { front: 10.1.0.1 }`"),
            );
        }
        let ports = site.ports.into_iter();
        let router = Router {
            id: ids.get(site.name).copied().unwrap_or(RouterId::NONE),
            ports: ports
                .map(|(name, plugged)| (name.to_owned(), plugged.port))
                .collect(),
            uplink: None,
            nat: Vec::new(),
            routes,
            policy: site.given.policy.as_ref().map(|it| it.value.clone()),
            origin: site.given.origin.clone(),
        };
        routers.insert(site.name.to_owned(), router);
    }
    cycle::check(merged, &routers, stations, problems);
    routers
}
