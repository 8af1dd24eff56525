//! The default routes of workloads: those to the routers of their networks.
//!
//! A workload has one default route for each family at most. What the file says comes first: a
//! route to `default`, then a `gateway`. Where it says nothing, the first port on a network with
//! just one router gets it, unless the workload is the host itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::family::Family;
use super::merge::Merged;
use super::port::Ports;
use super::route::reachable;
use super::{Port, PortName, Router, RouterPort};
use crate::document::{self, Gateway, Hop, Located};
use crate::link::Route;
use crate::problem::Problem;
use crate::similar::closest;
use crate::source::Origin;

/// Adds the default routes to those of the ports.
pub(super) fn resolve(
    merged: &Merged<'_>,
    routers: &BTreeMap<String, Router>,
    ports: &mut Ports<'_>,
    problems: &mut Vec<Problem>,
) {
    let gateways = Gateways::new(merged, routers);
    let given = std::mem::take(&mut ports.given);
    for (name, given) in &given {
        if let Some(gateway) = &given.gateway
            && let Gateway::Chosen(hops) = &gateway.value
        {
            for hop in hops {
                let Some(port) = ports.resolved.get(name) else {
                    continue;
                };
                let wanted = Wanted { name, given, port };
                match gateways.chosen(&wanted, hop) {
                    Ok(found) => add(ports, name, &hop.origin, found, problems),
                    Err(problem) => problems.push(*problem),
                }
            }
        }
    }
    for (name, given) in &given {
        if given.gateway.is_some() || is_host(merged, name) {
            continue;
        }
        for family in Family::BOTH {
            let taken = ports.routes.get(&name.workload);
            if taken.is_some_and(|taken| taken.has_default(family)) {
                continue;
            }
            let port = ports.resolved.get(name);
            let found = port.and_then(|port| gateways.only(port, family));
            let found = found.into_iter().collect();
            add(ports, name, &given.origin, found, problems);
        }
    }
    ports.given = given;
}

/// Whether it is a port of the host itself, which has default routes of its own.
fn is_host(merged: &Merged<'_>, name: &PortName) -> bool {
    let workload = merged.workloads.get(name.workload.as_str());
    workload.is_some_and(|workload| workload.is_host())
}

/// Adds default routes to these next hops, unless there are others.
fn add(
    ports: &mut Ports<'_>,
    name: &PortName,
    origin: &Origin,
    next_hops: Vec<IpAddr>,
    problems: &mut Vec<Problem>,
) {
    for via in next_hops {
        let to = Family::of(via).everywhere();
        let (Some(taken), Some(port)) = (
            ports.routes.get_mut(&name.workload),
            ports.resolved.get_mut(name),
        ) else {
            continue;
        };
        match taken.add(name, to, origin) {
            Ok(()) => port.routes.push(Route { to, via }),
            Err(problem) => problems.push(*problem),
        }
    }
}

/// A port that wants a default route.
struct Wanted<'w> {
    name: &'w PortName,
    given: &'w document::Port,
    port: &'w Port,
}

/// The routers that are on each network.
struct Gateways<'g> {
    merged: &'g Merged<'g>,
    routers: &'g BTreeMap<String, Router>,
    networks: BTreeMap<&'g str, Vec<(&'g str, &'g RouterPort)>>,
    /// Whether there may be routers and ports of routers that could not be read.
    incomplete: bool,
}

impl<'g> Gateways<'g> {
    fn new(merged: &'g Merged<'_>, routers: &'g BTreeMap<String, Router>) -> Self {
        let mut networks: BTreeMap<&str, Vec<(&str, &RouterPort)>> = BTreeMap::new();
        for (name, router) in routers {
            for port in router.ports.values() {
                let on_network = networks.entry(&port.network).or_default();
                on_network.push((name, port));
            }
        }
        let mut declared = merged.routers.values();
        Self {
            merged,
            routers,
            networks,
            incomplete: merged.incomplete || declared.any(|(router, _)| router.incomplete),
        }
    }

    /// The routers' ports on the port's network.
    fn around(&self, port: &Port) -> &[(&'g str, &'g RouterPort)] {
        let found = self.networks.get(port.network.as_str());
        found.map_or(&[], Vec::as_slice)
    }

    /// The next hop of a port that does not say which, if there is just one.
    fn only(&self, port: &Port, family: Family) -> Option<IpAddr> {
        let (network, _) = self.merged.networks.get(port.network.as_str())?;
        if network.internal.as_ref().is_some_and(|given| given.value) {
            return None;
        }
        let around = self.around(port).iter();
        let mut of_family =
            around.filter(|(_, gateway)| gateway.addresses.iter().any(|a| family.has(a)));
        let (_, gateway) = of_family.next()?;
        if of_family.next().is_some() {
            return None;
        }
        within_reach(port, gateway, family)
    }

    /// The next hops that a port says.
    fn chosen(&self, wanted: &Wanted<'_>, hop: &Located<Hop>) -> Result<Vec<IpAddr>, Box<Problem>> {
        match &hop.value {
            Hop::Address(ip) => self.by_address(wanted, *ip, &hop.origin),
            Hop::Name(router) => self.by_name(wanted, router, &hop.origin),
        }
    }

    fn by_address(
        &self,
        Wanted { name, given, port }: &Wanted<'_>,
        ip: IpAddr,
        origin: &Origin,
    ) -> Result<Vec<IpAddr>, Box<Problem>> {
        let mut all = self
            .around(port)
            .iter()
            .flat_map(|(_, gateway)| &gateway.addresses);
        if !all.any(|address| address.addr() == ip) {
            if self.incomplete {
                return Ok(Vec::new());
            }
            let problem = Problem::new(format!(
                "the gateway {ip} of port {name} is no router's address"
            ))
            .at(
                origin,
                format!("no router on network {} has it", port.network),
            )
            .help(self.advice(port, Family::of(ip)));
            return Err(Box::new(problem));
        }
        if port.addresses.iter().any(|own| own.contains(&ip)) {
            return Ok(vec![ip]);
        }
        // Without all of its addresses it cannot be told what the port reaches.
        if given.incomplete || port.addresses.len() < given.addresses.len() {
            return Ok(Vec::new());
        }
        let own: Vec<_> = port
            .addresses
            .iter()
            .map(|own| Located {
                value: *own,
                origin: origin.clone(),
            })
            .collect();
        let problem = Problem::new(format!(
            "the gateway {ip} is in none of the subnets of port {name}"
        ))
        .at(origin, "out of the port's reach")
        .help(reachable("port", ip, &own));
        Err(Box::new(problem))
    }

    fn by_name(
        &self,
        Wanted { name, given, port }: &Wanted<'_>,
        router: &str,
        origin: &Origin,
    ) -> Result<Vec<IpAddr>, Box<Problem>> {
        if !self.routers.contains_key(router) {
            if self.incomplete {
                return Ok(Vec::new());
            }
            let help = match closest(router, self.routers.keys().map(String::as_str)) {
                Some(close) => format!("did you mean `{close}`?"),
                None => "declare it under `routers`".to_owned(),
            };
            let problem = Problem::new(format!(
                "the gateway of port {name} is router {router}, which does not exist"
            ))
            .at(origin, "no router has this name")
            .help(help);
            return Err(Box::new(problem));
        }
        let mut around = self.around(port).iter();
        let Some((_, gateway)) = around.find(|(other, _)| *other == router) else {
            if self.incomplete {
                return Ok(Vec::new());
            }
            let network = &port.network;
            let problem = Problem::new(format!(
                "the gateway of port {name} is router {router}, which is not on network {network}"
            ))
            .at(
                origin,
                format!("this router has no port on network {network}"),
            )
            .help(format!(
                "plug it in: `routers: {{ {router}: {{ ports: {{ {network}: ... }} }} }}`"
            ));
            return Err(Box::new(problem));
        };
        let families = Family::BOTH.into_iter();
        let found: Vec<IpAddr> = families
            .filter_map(|family| within_reach(port, gateway, family))
            .collect();
        if found.is_empty()
            && !self.incomplete
            && !given.incomplete
            && port.addresses.len() == given.addresses.len()
        {
            let problem = Problem::new(format!(
                "the gateway of port {name} is router {router}, which has no address in its subnets"
            ))
            .at(origin, "out of the port's reach")
            .at(&gateway.origin, "the router's port")
            .help("give both of them an address in a subnet that they share");
            return Err(Box::new(problem));
        }
        Ok(found)
    }

    /// Which gateways there are.
    fn advice(&self, port: &Port, family: Family) -> String {
        let mut known: Vec<String> = Vec::new();
        for (router, gateway) in self.around(port) {
            let addresses = gateway
                .addresses
                .iter()
                .filter(|address| family.has(address));
            known.extend(addresses.map(|address| format!("{} (router {router})", address.addr())));
        }
        if known.is_empty() {
            return "for a next hop that is no router, write `routes: [{ to: default, via: ... }]`"
                .to_owned();
        }
        known.truncate(4);
        format!("known gateways here: {}", known.join(", "))
    }
}

/// The gateway's first address in a subnet that the port is in.
fn within_reach(port: &Port, gateway: &RouterPort, family: Family) -> Option<IpAddr> {
    let addresses = gateway
        .addresses
        .iter()
        .filter(|address| family.has(address));
    let near = |ip: IpAddr| port.addresses.iter().any(|own| own.contains(&ip));
    addresses.map(|address| address.addr()).find(|ip| near(*ip))
}
