//! The rules for the routes of a workload.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::family::Family;
use super::{PortName, address};
use crate::document::{self, Destination, Located};
use crate::link::Route;
use crate::problem::Problem;
use crate::source::Origin;

/// The routes that one workload has so far, over all its ports.
#[derive(Default)]
pub(super) struct Taken {
    by_destination: BTreeMap<IpNet, (PortName, Origin)>,
}

impl Taken {
    /// Whether there is a default route of this family.
    pub(super) fn has_default(&self, family: Family) -> bool {
        self.by_destination.contains_key(&family.everywhere())
    }

    /// Notes a route of a port, unless the workload has another one to the same destinations.
    pub(super) fn add(
        &mut self,
        port: &PortName,
        to: IpNet,
        origin: &Origin,
    ) -> Result<(), Box<Problem>> {
        if let Some(first) = self.by_destination.get(&to) {
            return Err(Box::new(twice((port, origin), to, first)));
        }
        let entry = (port.clone(), origin.clone());
        self.by_destination.insert(to, entry);
        Ok(())
    }
}

/// Checks one port's routes, given the good ones of its addresses.
pub(super) fn resolve(
    port: &PortName,
    given: &document::Port,
    addresses: &[Located<IpNet>],
    taken: &mut Taken,
    problems: &mut Vec<Problem>,
) -> Vec<Route> {
    // Without all addresses it cannot be told which next hops are within reach.
    let all_known = !given.incomplete && addresses.len() == given.addresses.len();
    let mut routes = Vec::with_capacity(given.routes.len());
    for route in &given.routes {
        let via = route.via.value;
        let Some(to) = destination(port, route, problems) else {
            continue;
        };
        let reach = next_hop(port, route, addresses, all_known);
        problems.extend(reach.err().map(|problem| *problem));
        if addresses.iter().any(|address| address.trunc() == to) {
            problems.push(
                Problem::new(format!(
                    "the route to {to} of port {port} leads to its own subnet"
                ))
                .at(&route.to.origin, "this subnet needs no route")
                .help("leave the route out: it follows from the port's address"),
            );
        }
        let first = taken.add(port, to, &route.to.origin);
        problems.extend(first.err().map(|problem| *problem));
        routes.push(Route { to, via });
    }
    routes
}

fn destination(
    port: &PortName,
    route: &document::Route,
    problems: &mut Vec<Problem>,
) -> Option<IpNet> {
    let to = match route.to.value {
        Destination::Default => return Some(Family::of(route.via.value).everywhere()),
        Destination::Prefix(to) => to,
    };
    if Family::of(to.addr()) != Family::of(route.via.value) {
        let via = route.via.value;
        problems.push(
            Problem::new(format!(
                "the route to {to} of port {port} mixes IPv4 and IPv6"
            ))
            .at(
                &route.via.origin,
                format!("the next hop is {}", Family::of(via)),
            )
            .at(
                &route.to.origin,
                format!("the destination is {}", Family::of(to.addr())),
            )
            .help("the next hop must be of the destination's family"),
        );
        return None;
    }
    if to != to.trunc() {
        problems.push(
            Problem::new(format!(
                "the route to {to} of port {port} has host bits set"
            ))
            .at(&route.to.origin, "an address, not a prefix")
            .help(format!("write {}", to.trunc())),
        );
    }
    Some(to.trunc())
}

fn next_hop(
    port: &PortName,
    route: &document::Route,
    addresses: &[Located<IpNet>],
    all_known: bool,
) -> Result<(), Box<Problem>> {
    let via = route.via.value;
    let problem = |message: String| Problem::new(message).at(&route.via.origin, "this next hop");
    if let Some(own) = addresses.iter().find(|own| own.addr() == via) {
        let problem = problem(format!(
            "the next hop {via} of port {port} is its own address"
        ))
        .at(&own.origin, "the port's address")
        .help("the next hop is another station: the gateway of the subnet");
        return Err(Box::new(problem));
    }
    let Some(subnet) = addresses.iter().find(|own| own.contains(&via)) else {
        if !all_known {
            return Ok(());
        }
        let message = format!("the next hop {via} is in none of the subnets of port {port}");
        return Err(Box::new(
            problem(message).help(reachable("port", via, addresses)),
        ));
    };
    if let Some(role) = address::reserved(via, subnet.trunc()) {
        let message = format!("the next hop {via} of port {port} is the {role} of its subnet");
        let help = "the next hop is a station: the gateway of the subnet";
        return Err(Box::new(problem(message).help(help)));
    }
    Ok(())
}

/// Which next hops would be within reach of an object with these addresses.
pub(super) fn reachable(object: &str, via: IpAddr, addresses: &[Located<IpNet>]) -> String {
    let same_family = addresses
        .iter()
        .filter(|own| own.addr().is_ipv4() == via.is_ipv4());
    let subnets: Vec<String> = same_family.map(|own| own.trunc().to_string()).collect();
    if subnets.is_empty() {
        format!(
            "the {object} has no {} address: give it one",
            Family::of(via)
        )
    } else {
        format!("the next hop must be in {}", subnets.join(" or "))
    }
}

fn twice(
    (port, again): (&PortName, &Origin),
    to: IpNet,
    (other, first): &(PortName, Origin),
) -> Problem {
    let kind = if to.prefix_len() == 0 {
        format!("default route for {}", Family::of(to.addr()))
    } else {
        format!("route to {to}")
    };
    Problem::new(format!(
        "workload {} has more than one {kind}",
        port.workload
    ))
    .at(again, format!("again, at {}", port.interface))
    .at(first, format!("the first one, at {}", other.interface))
    .help("keep one of the two")
}
