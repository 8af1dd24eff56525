//! The rules for the routes of a workload.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

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
        match taken.by_destination.get(&to) {
            Some((other, first)) => problems.push(twice(port, to, route, (other, first))),
            None => {
                let entry = (port.clone(), route.to.origin.clone());
                taken.by_destination.insert(to, entry);
            }
        }
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
        Destination::Default => return Some(default_of(route.via.value)),
        Destination::Prefix(to) => to,
    };
    if to.addr().is_ipv4() != route.via.is_ipv4() {
        let via = route.via.value;
        problems.push(
            Problem::new(format!(
                "the route to {to} of port {port} mixes IPv4 and IPv6"
            ))
            .at(
                &route.via.origin,
                format!("the next hop is {}", family(via)),
            )
            .at(
                &route.to.origin,
                format!("the destination is {}", family(to.addr())),
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

fn default_of(via: IpAddr) -> IpNet {
    let unspecified = match via {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    IpNet::new_assert(unspecified, 0)
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
        return Err(Box::new(problem(message).help(reachable(via, addresses))));
    };
    if let Some(role) = address::reserved(via, subnet.trunc()) {
        let message = format!("the next hop {via} of port {port} is the {role} of its subnet");
        let help = "the next hop is a station: the gateway of the subnet";
        return Err(Box::new(problem(message).help(help)));
    }
    Ok(())
}

/// Which next hops would be within reach.
fn reachable(via: IpAddr, addresses: &[Located<IpNet>]) -> String {
    let same_family = addresses
        .iter()
        .filter(|own| own.addr().is_ipv4() == via.is_ipv4());
    let subnets: Vec<String> = same_family.map(|own| own.trunc().to_string()).collect();
    if subnets.is_empty() {
        format!("the port has no {} address: give it one", family(via))
    } else {
        format!("the next hop must be in {}", subnets.join(" or "))
    }
}

fn twice(
    port: &PortName,
    to: IpNet,
    route: &document::Route,
    (other, first): (&PortName, &Origin),
) -> Problem {
    let kind = if to.prefix_len() == 0 {
        format!("default route for {}", family(to.addr()))
    } else {
        format!("route to {to}")
    };
    Problem::new(format!(
        "workload {} has more than one {kind}",
        port.workload
    ))
    .at(&route.to.origin, format!("again, at {}", port.interface))
    .at(first, format!("the first one, at {}", other.interface))
    .help("keep one of the two")
}

fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}
