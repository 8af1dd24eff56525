//! The rules for published ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Publish;
use crate::document::{self, Located};
use crate::problem::Problem;
use crate::topology::family::Family;
use crate::topology::merge::{Merged, across};
use crate::topology::port::Ports;
use crate::topology::{Port, PortName, Router, Service, Tunnel, range};

/// What each kind of tunnel takes of a host's UDP ports (RFC 7348 section 4, RFC 8926 section 3.3).
const TUNNELS: [(Tunnel, u16); 2] = [(Tunnel::Vxlan, 4789), (Tunnel::Geneve, 6081)];
const UDP: u8 = 17;

/// Checks what all ports publish, and completes the ports.
pub(in crate::topology) fn resolve(
    merged: &Merged<'_>,
    routers: &BTreeMap<String, Router>,
    ports: &mut Ports<'_>,
    tunnels: &BTreeSet<Tunnel>,
    problems: &mut Vec<Problem>,
) {
    let mut given: Vec<_> = ports.given.iter().collect();
    // Of two that collide the one that is written later is at fault.
    given.sort_by_key(|(_, port)| merged.rank(&port.origin));
    let mut taken = Taken::default();
    for (name, given) in given {
        let Some(port) = ports.resolved.get_mut(name) else {
            continue;
        };
        let Some(first) = given.publish.first() else {
            continue;
        };
        let workload = merged.workloads.get(name.workload.as_str());
        if workload.is_some_and(|it| it.is_host()) {
            problems.push(
                Problem::new(format!("port {name} publishes, and is the host itself"))
                    .at(&first.origin, "this is published")
                    .help(
                        "a program of the host listens at the host's own addresses: leave it out",
                    ),
            );
            continue;
        }
        let Some((router, hosts)) = gateways(merged, routers, name, port) else {
            if !merged.incomplete && !merged.routers.values().any(|(it, _)| it.incomplete) {
                problems.push(no_uplink(name, port, first));
            }
            continue;
        };
        for one in &given.publish {
            if port.addresses.len() == given.addresses.len() {
                problems.extend(no_address(name, port, one));
            }
            problems.extend(unusable(name, one));
            let publish = Publish {
                router: router.clone(),
                hosts: hosts.clone(),
                address: one.address,
                protocol: one.protocol,
                host_ports: one.host_ports,
                ports: one.ports,
                origin: one.origin.clone(),
            };
            if !merged.hosts.is_empty() {
                problems.extend(of_a_tunnel(name, &publish, tunnels));
            }
            problems.extend(taken.add(name, &publish));
            port.publish.push(publish);
        }
    }
}

/// The router that published ports of a port go through, and the hosts that have them: of several
/// routers the one that its default route leads to, else the first one by name.
fn gateways(
    merged: &Merged<'_>,
    routers: &BTreeMap<String, Router>,
    name: &PortName,
    port: &Port,
) -> Option<(String, BTreeSet<Option<String>>)> {
    let around = routers.iter().filter_map(|(name, router)| {
        let uplink = router.uplink.as_ref()?;
        let mut ports = router.ports.values();
        let here = ports.find(|here| here.network == port.network)?;
        let mut routes = port
            .routes
            .iter()
            .filter(|route| route.to.prefix_len() == 0);
        let chosen = routes.any(|route| here.addresses.iter().any(|own| own.addr() == route.via));
        Some((!chosen, name, uplink))
    });
    let (_, router, uplink) = around.min_by_key(|&(other, name, _)| (other, name))?;
    let own = merged.host_of(&name.workload);
    let hosts: BTreeSet<Option<String>> = if uplink.is_on(own) {
        BTreeSet::from([own.map(str::to_owned)])
    } else {
        uplink.hosts.iter().flatten().cloned().map(Some).collect()
    };
    Some((router.clone(), hosts))
}

fn no_uplink(name: &PortName, port: &Port, given: &Located<document::Publish>) -> Problem {
    let network = &port.network;
    Problem::new(format!(
        "port {name} is published and network {network} has no way to the outside"
    ))
    .at(&given.origin, "no router on the network has an uplink")
    .help("give a router on the network one: `uplink: true`")
}

/// The problem of a host's address in whose family the port has none.
fn no_address(name: &PortName, port: &Port, given: &Located<document::Publish>) -> Option<Problem> {
    let wanted = given.address.map(Family::of);
    let has = |family: Option<Family>| {
        let mut addresses = port.addresses.iter();
        addresses.any(|address| family.is_none_or(|family| family.has(address)))
    };
    if has(wanted) {
        return None;
    }
    let (what, help) = match wanted {
        Some(family) => (
            format!("no {family} address"),
            format!("an {family} address"),
        ),
        None => ("no address".to_owned(), "an address".to_owned()),
    };
    Some(
        Problem::new(format!("port {name} is published and has {what}"))
            .at(&given.origin, "nobody answers to it")
            .help(format!("give the port {help}")),
    )
}

/// The problem of an address that no host has.
fn unusable(name: &PortName, given: &Located<document::Publish>) -> Option<Problem> {
    let ip = given.address?;
    let kind = range::special(ip).filter(|_| !ip.is_unspecified() && !ip.is_loopback())?;
    let all = match ip {
        IpAddr::V4(_) => "0.0.0.0",
        IpAddr::V6(_) => "[::]",
    };
    Some(
        Problem::new(format!("port {name} is published at {ip}, which is {kind}"))
            .at(&given.origin, "a host cannot be reached by this address")
            .help(format!(
                "write an address of the host, or {all} for all of them"
            )),
    )
}

/// The problem of a port by which the hosts reach one another.
fn of_a_tunnel(name: &PortName, publish: &Publish, tunnels: &BTreeSet<Tunnel>) -> Option<Problem> {
    let own = TUNNELS.into_iter().find(|(tunnel, port)| {
        publish.protocol == UDP
            && publish.host_ports.range().contains(port)
            && tunnels.contains(tunnel)
    });
    let (tunnel, port) = own?;
    Some(
        Problem::new(format!(
            "port {name} is published at udp/{port}, which {tunnel} needs"
        ))
        .at(
            &publish.origin,
            "the tunnels between the hosts come in there",
        )
        .help("choose another port of the host"),
    )
}

/// A host, or this machine in a file without hosts, and an IP protocol.
type Entrance = (Option<String>, u8);

/// What is published.
#[derive(Default)]
struct Taken {
    entrances: BTreeMap<Entrance, Vec<(PortName, Publish)>>,
}

impl Taken {
    /// Notes what is published, and returns the problem if something else is at one of its hosts.
    fn add(&mut self, name: &PortName, publish: &Publish) -> Option<Problem> {
        let mut problem = None;
        for host in &publish.hosts {
            let entrance = (host.clone(), publish.protocol);
            let others = self.entrances.entry(entrance).or_default();
            let other = others.iter().find(|(_, other)| other.collides(publish));
            if let Some((other, first)) = other.filter(|_| problem.is_none()) {
                let (here, there) = (&publish.origin, &first.origin);
                let place = match host {
                    Some(host) => format!("host {host}"),
                    None => "this host".to_owned(),
                };
                problem = Some(
                    Problem::new(format!(
                        "{}/{} of {place} is published by {} and by {}",
                        Service::protocol(publish.protocol),
                        publish.host_ports,
                        across(&format!("port {other}"), there, here),
                        across(&format!("port {name}"), here, there),
                    ))
                    .at(here, "published again here")
                    .at(there, "first published here")
                    .help("choose another port of the host, or another one of its addresses"),
                );
            }
            others.push((name.clone(), publish.clone()));
        }
        problem
    }
}
