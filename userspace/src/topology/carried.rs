//! The rules for the largest packet of networks that are on several hosts: what is said must fit into
//! the tunnels.

use std::collections::{BTreeMap, BTreeSet};

use super::direct::Parts;
use super::merge::Merged;
use super::mtu::{DEFAULT, LEAST, LEAST_IPV6};
use super::tunnel::Tunnels;
use super::{Mtu, Router, Tunnel};
use crate::problem::Problem;
use crate::source::Origin;

/// What the tunnels of one network carry.
struct Limit<'a> {
    /// The largest IP packet, in bytes.
    bytes: u32,
    /// The tunnel that takes most of the underlay's.
    tunnel: Tunnel,
    /// The host whose underlay it is, and where that is said; `None` if nobody says what the underlay
    /// carries, so that it is taken for Ethernet.
    said: Option<(&'a str, &'a Origin)>,
}

/// Checks every network that is on several hosts, or on a host and an ordinary VTEP. What does not fit
/// is inconsistent if the file says what the underlay carries, and only hardly meant otherwise.
pub(super) fn check(
    merged: &Merged<'_>,
    parts: &Parts<'_>,
    routers: &BTreeMap<String, Router>,
    tunnels: &Tunnels,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) {
    for (name, hosts) in parts.spread() {
        let Some(limit) = limit(merged, parts, tunnels, name, &hosts) else {
            continue;
        };
        let Some(network) = parts.networks.get(name) else {
            continue;
        };
        let mut found = Vec::new();
        match network.mtu {
            Mtu::Bytes(bytes) if bytes > limit.bytes => {
                found.push((format!("network {name}"), bytes, origin(merged, name)));
            }
            Mtu::Bytes(_) => {}
            Mtu::Auto => {
                found.extend(ports(parts, routers, name, &limit));
                let ipv6 = network.subnets.iter().any(|it| it.addr().is_ipv6());
                problems.extend(too_narrow(&limit, name, ipv6));
            }
        }
        for (object, bytes, origin) in found {
            let problem = too_large(&limit, &object, bytes, origin.unwrap_or(&network.origin));
            match limit.said {
                Some(_) => problems.push(problem),
                None => warnings.push(problem),
            }
        }
    }
}

/// What the tunnels of a network carry, if it has any.
fn limit<'a>(
    merged: &Merged<'a>,
    parts: &Parts<'a>,
    tunnels: &Tunnels,
    network: &str,
    hosts: &BTreeSet<&'a str>,
) -> Option<Limit<'a>> {
    let pairs = hosts.iter().flat_map(|one| {
        let others = hosts.iter().filter(move |other| one < *other);
        others.map(|other| tunnels.between(one, other))
    });
    let vteps = parts.vteps.values();
    let vteps = vteps.filter(|vtep| vtep.networks.contains_key(network));
    let address = hosts
        .iter()
        .find_map(|host| merged.hosts.get(host)?.address.as_ref())?;
    let overhead = |tunnel: Tunnel| tunnel.overhead(address.value);
    let tunnel = pairs
        .chain(vteps.map(|vtep| vtep.tunnel))
        .max_by_key(|tunnel| overhead(*tunnel))?;
    let said = hosts.iter().filter_map(|name| {
        let mtu = merged.hosts.get(name)?.mtu.as_ref()?;
        Some((u32::try_from(mtu.value).ok()?, *name, &mtu.origin))
    });
    let smallest = said.min_by_key(|(bytes, ..)| *bytes);
    let underlay = smallest.map_or(DEFAULT, |(bytes, ..)| bytes);
    Some(Limit {
        bytes: underlay.saturating_sub(overhead(tunnel)),
        tunnel,
        said: smallest.map(|(_, name, origin)| (name, origin)),
    })
}

/// Where the number of a network is given.
fn origin<'a>(merged: &Merged<'a>, network: &str) -> Option<&'a Origin> {
    let (network, defaults) = merged.networks.get(network)?;
    let given = network.mtu.as_ref().or(defaults.mtu.as_ref())?;
    Some(&given.origin)
}

/// The ports of a network that are given a number which is too large.
fn ports<'a>(
    parts: &Parts<'a>,
    routers: &'a BTreeMap<String, Router>,
    network: &str,
    limit: &Limit<'_>,
) -> Vec<(String, u32, Option<&'a Origin>)> {
    let workloads = parts.ports.iter().filter(|(_, it)| it.network == network);
    let workloads = workloads.map(|(name, it)| (name.to_string(), it.mtu, &it.origin));
    let routers = routers.iter().flat_map(|(router, it)| {
        let ports = it.ports.iter().filter(|(_, it)| it.network == network);
        ports.map(move |(name, it)| (format!("{router}/{name}"), it.mtu, &it.origin))
    });
    let too_large = workloads
        .chain(routers)
        .filter_map(|(name, mtu, origin)| match mtu {
            Mtu::Bytes(bytes) if bytes > limit.bytes => {
                Some((format!("port {name}"), bytes, Some(origin)))
            }
            _ => None,
        });
    too_large.collect()
}

fn too_large(limit: &Limit<'_>, object: &str, bytes: u32, origin: &Origin) -> Problem {
    let Limit {
        bytes: fits,
        tunnel,
        ..
    } = limit;
    let through = match tunnel {
        Tunnel::Direct => "without a tunnel".to_owned(),
        tunnel => format!("through {tunnel}"),
    };
    let problem = Problem::new(format!(
        "the mtu of {object} is {bytes}, and {through} fit {fits} bytes"
    ))
    .at(origin, "too large");
    match limit.said {
        Some((host, said)) => problem
            .at(said, format!("what the underlay of host {host} carries"))
            .help(format!("write {fits} or `auto`, or leave it out")),
        None => problem.help(format!(
            "leave it out, or write `auto`; if the underlay carries more than {DEFAULT} bytes, say so \
             at the hosts: `mtu: 9000`"
        )),
    }
}

/// The problem of an underlay that is too narrow for any network of this kind.
fn too_narrow(limit: &Limit<'_>, network: &str, ipv6: bool) -> Option<Problem> {
    let (host, said) = limit.said?;
    let (least, what) = if ipv6 {
        (LEAST_IPV6, "IPv6")
    } else {
        (LEAST, "IPv4")
    };
    (limit.bytes < least).then(|| {
        Problem::new(format!(
            "network {network} carries {what}, which needs {least} bytes, and through {} fit {}",
            limit.tunnel, limit.bytes
        ))
        .at(said, format!("what the underlay of host {host} carries"))
        .help("raise the underlay's mtu, or choose another tunnel")
    })
}
