//! The rules for hosts that have no tunnel between them: an address must say by itself which network
//! it is in, and nothing but packets from one station to another can cross.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::tunnel::Tunnels;
use super::{Network, Port, PortName, Tunnel, UnknownUnicast, Vtep, Workload};
use crate::problem::Problem;
use crate::source::Origin;

/// What has been resolved so far.
pub(super) struct Parts<'a> {
    pub(super) hosts: BTreeSet<&'a str>,
    pub(super) networks: &'a BTreeMap<String, Network>,
    pub(super) workloads: &'a BTreeMap<String, Workload>,
    pub(super) ports: &'a BTreeMap<PortName, Port>,
    pub(super) vteps: &'a BTreeMap<String, Vtep>,
}

impl<'a> Parts<'a> {
    /// The host that a port is on, if it is said.
    fn host(&self, name: &PortName) -> Option<&'a str> {
        let workload = self.workloads.get(&name.workload)?;
        workload.host.as_deref()
    }

    /// The hosts that have ports in each network.
    pub(super) fn spread(&self) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
        let mut spread: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, port) in self.ports {
            if let Some(host) = self.host(name) {
                spread.entry(&port.network).or_default().insert(host);
            }
        }
        spread
    }
}

/// Checks what hosts without a tunnel between them have in common.
pub(super) fn check(parts: &Parts<'_>, tunnels: &Tunnels, problems: &mut Vec<Problem>) {
    let mut pairs = Vec::new();
    for one in &parts.hosts {
        let others = parts
            .hosts
            .range::<str, _>((std::ops::Bound::Excluded(*one), std::ops::Bound::Unbounded));
        let without = others.filter(|other| tunnels.between(one, other) == Tunnel::Direct);
        pairs.extend(without.map(|other| (*one, *other)));
    }
    let spread = parts.spread();
    overlaps(parts, &pairs, &spread, problems);
    for (&name, hosts) in &spread {
        let common = |pair: &&(&str, &str)| hosts.contains(pair.0) && hosts.contains(pair.1);
        let Some(&pair) = pairs.iter().find(common) else {
            continue;
        };
        let Some(network) = parts.networks.get(name) else {
            continue;
        };
        if let Some((origin, label)) = floods(parts, name, network, pair) {
            let (one, other) = pair;
            let mut problem = Problem::new(format!(
                "network {name} must be flooded between hosts {one} and {other}, which have no tunnel"
            ))
            .at(origin, label);
            if *origin != network.origin {
                problem = problem.at(&network.origin, "the network is declared here");
            }
            problems.push(problem.help(format!(
                "give the two hosts a tunnel: `tunnels: [{{ between: [{one}, {other}], tunnel: vxlan \
                 }}]`"
            )));
        }
    }
}

/// What of a network needs flooding between two hosts.
fn floods<'a>(
    parts: &Parts<'a>,
    name: &str,
    network: &'a Network,
    (one, other): (&str, &str),
) -> Option<(&'a Origin, String)> {
    if network.unknown_unicast == UnknownUnicast::Flood {
        let label = "what is for an unknown station is flooded".to_owned();
        return Some((&network.origin, label));
    }
    let learning = parts.ports.iter().find(|(port_name, port)| {
        let host = parts.host(port_name);
        port.network == name && port.learning && (host == Some(one) || host == Some(other))
    });
    if let Some((port_name, port)) = learning {
        let label = format!("what is behind port {port_name} is learned");
        return Some((&port.origin, label));
    }
    let (vtep, given) = parts
        .vteps
        .iter()
        .find(|(_, vtep)| vtep.networks.contains_key(name))?;
    Some((&given.origin, format!("vtep {vtep} takes part in it")))
}

/// Checks that an address is in one network only, wherever packets come without a tunnel that would
/// say which network they are in.
fn overlaps(
    parts: &Parts<'_>,
    pairs: &[(&str, &str)],
    spread: &BTreeMap<&str, BTreeSet<&str>>,
    problems: &mut Vec<Problem>,
) {
    let mut subnets: Vec<(IpNet, &str, &Network)> = Vec::new();
    for (&name, hosts) in spread {
        let is_concerned = pairs
            .iter()
            .any(|(one, other)| hosts.contains(one) || hosts.contains(other));
        if let Some(network) = parts.networks.get(name).filter(|_| is_concerned) {
            let own = network.subnets.iter();
            subnets.extend(own.map(|subnet| (*subnet, name, network)));
        }
    }
    subnets.sort_by_key(|(subnet, name, _)| (subnet.network(), subnet.prefix_len(), *name));
    // Prefixes overlap only where one contains the other, so that in sorted order it is enough to
    // compare each with the last one that no other contains.
    let mut outer: Option<(IpNet, &str, &Network)> = None;
    let mut told = BTreeSet::new();
    for inner in subnets {
        let Some(around) = outer.filter(|(subnet, ..)| subnet.contains(&inner.0)) else {
            outer = Some(inner);
            continue;
        };
        if around.1 == inner.1 || !told.insert((around.1, inner.1)) {
            continue;
        }
        let (one, other) = pairs.first().copied().unwrap_or_default();
        problems.push(
            Problem::new(format!(
                "subnet {} of network {} and subnet {} of network {} overlap, and hosts {one} and \
                 {other} have no tunnel between them",
                around.0, around.1, inner.0, inner.1
            ))
            .at(
                &inner.2.origin,
                "a packet to here does not say which of the two is meant",
            )
            .at(&around.2.origin, "nor does one to here")
            .help("give the networks subnets that are apart, or the hosts a tunnel"),
        );
    }
}
