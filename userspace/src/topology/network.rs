//! The rules for networks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use maps_schema::Vni;

use super::merge::{Merged, across};
use super::{Mss, Mtu, Network, NetworkKind, UnknownUnicast, identity, mtu, range};
use crate::document::{self, Defaults};
use crate::problem::Problem;
use crate::source::Origin;

/// After this time the Linux bridge forgets an address too.
pub(super) const DEFAULT_AGEING: Duration = Duration::from_secs(300);
/// IEEE 802.1Q's range of 10 to 1,000,000 seconds, opened downwards for tests and laboratories.
const AGEING_SECONDS: std::ops::RangeInclusive<u64> = 1..=1_000_000;

/// Checks all networks. Each has an entry in the result, whatever is wrong with it.
pub(super) fn resolve(
    merged: &Merged<'_>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Network> {
    let vnis = identifiers(merged, problems);
    let unsaid = mtu::unsaid(merged);
    let mut networks = BTreeMap::new();
    for (&name, &(network, defaults)) in &merged.networks {
        let Some(&vni) = vnis.get(name) else {
            // More networks than identifiers: 24 bits hold more than any file does.
            continue;
        };
        let subnets = subnets(name, network, problems);
        let resolved = Network {
            vni,
            mtu: largest_packet(name, network, defaults, problems).unwrap_or(unsaid),
            mss: network
                .mss
                .as_ref()
                .or(defaults.mss.as_ref())
                .map_or(Mss::Keep, |given| given.value),
            unknown_unicast: network
                .unknown_unicast
                .as_ref()
                .map_or(UnknownUnicast::Drop, |given| given.value),
            internal: network.internal.as_ref().is_some_and(|given| given.value),
            names: network.names.as_ref().is_none_or(|given| given.value),
            conditions: network.conditions.as_ref().is_none_or(|given| given.value),
            ageing: ageing(name, network, problems),
            subnets,
            policy: network.policy.as_ref().map(|given| given.value.clone()),
            docker: network.docker.as_ref().is_some_and(|given| given.value),
            kind: NetworkKind::Declared,
            origin: network.origin.clone(),
        };
        networks.insert(name.to_owned(), resolved);
    }
    networks
}

/// The identifiers of all networks: those that are given, and derived ones for the others.
fn identifiers<'a>(merged: &Merged<'a>, problems: &mut Vec<Problem>) -> BTreeMap<&'a str, Vni> {
    let mut given: BTreeMap<Vni, (&str, &Origin)> = BTreeMap::new();
    let mut vnis = BTreeMap::new();
    for (&name, (network, _)) in &merged.networks {
        let Some(number) = &network.vni else { continue };
        let vni = u32::try_from(number.value).ok().and_then(Vni::new);
        let Some(vni) = vni else {
            problems.push(
                Problem::new(format!("the vni of network {name} is {}", number.value))
                    .at(&number.origin, "out of range")
                    .help(format!("a vni is between 1 and {}", Vni::MAX)),
            );
            continue;
        };
        if let Some(&(other, origin)) = given.get(&vni) {
            problems.push(same_vni(
                merged,
                vni,
                (name, &number.origin),
                (other, origin),
            ));
            continue;
        }
        given.insert(vni, (name, &number.origin));
        vnis.insert(name, vni);
    }
    let rest = merged.networks.keys().copied();
    let rest = rest
        .filter(|name| !vnis.contains_key(name))
        .collect::<Vec<_>>();
    vnis.extend(identity::vnis(rest, given.into_keys()));
    vnis
}

fn same_vni(
    merged: &Merged<'_>,
    vni: Vni,
    one: (&str, &Origin),
    other: (&str, &Origin),
) -> Problem {
    // The two are known in name order; the one that is written later is the one at fault.
    let (first, again) = if merged.rank(one.1) < merged.rank(other.1) {
        (one, other)
    } else {
        (other, one)
    };
    let first_name = across(&format!("network {}", first.0), first.1, again.1);
    let again_name = across(&format!("network {}", again.0), again.1, first.1);
    Problem::new(format!(
        "vni {vni} is given to {first_name} and to {again_name}"
    ))
    .at(again.1, "given again here")
    .at(first.1, "first given here")
    .help("choose another one, or leave it out to have it derived from the name")
}

/// Checks the subnets, and returns them without host bits.
fn subnets(name: &str, network: &document::Network, problems: &mut Vec<Problem>) -> Vec<IpNet> {
    let mut subnets = Vec::with_capacity(network.subnets.len());
    let mut apart: Vec<(IpNet, &Origin)> = Vec::new();
    for given in &network.subnets {
        let subnet = given.value.trunc();
        if subnet != given.value {
            problems.push(
                Problem::new(format!(
                    "subnet {} of network {name} has host bits set",
                    given.value
                ))
                .at(&given.origin, "an address, not a subnet")
                .help(format!("write {subnet}")),
            );
        }
        match special(subnet) {
            Some(kind) => problems.push(
                Problem::new(format!(
                    "network {name} cannot have the {kind} subnet {subnet}"
                ))
                .at(&given.origin, "no port can have an address from here")
                .help("use a private prefix, such as 10.1.0.0/24 or fd00:1::/64"),
            ),
            None => apart.push((subnet, &given.origin)),
        }
        subnets.push(subnet);
    }
    overlaps(name, &apart, problems);
    subnets
}

/// Prefixes overlap only where one contains the other, so that in sorted order it is enough to
/// compare each with the last one that no other contains.
fn overlaps(name: &str, subnets: &[(IpNet, &Origin)], problems: &mut Vec<Problem>) {
    let mut sorted: Vec<&(IpNet, &Origin)> = subnets.iter().collect();
    sorted.sort_by_key(|(subnet, origin)| (subnet.network(), subnet.prefix_len(), origin.offset));
    let mut outer: Option<&(IpNet, &Origin)> = None;
    for inner in sorted {
        let Some((subnet, origin)) = outer.filter(|(subnet, _)| subnet.contains(&inner.0)) else {
            outer = Some(inner);
            continue;
        };
        problems.push(
            Problem::new(format!(
                "subnets {subnet} and {} of network {name} overlap",
                inner.0
            ))
            .at(inner.1, "this one")
            .at(origin, "overlaps with this one")
            .help("the subnets of one network must be apart; those of different networks need not"),
        );
    }
}

/// What a subnet is, if no workload can have an address from it.
fn special(subnet: IpNet) -> Option<&'static str> {
    if subnet.prefix_len() == 0 {
        return Some("all-embracing");
    }
    range::special(subnet.network()).or_else(|| match subnet.network() {
        IpAddr::V4(v4) if v4.octets().first() == Some(&0) => Some("reserved"),
        _ => None,
    })
}

fn ageing(name: &str, network: &document::Network, problems: &mut Vec<Problem>) -> Duration {
    let Some(given) = &network.ageing else {
        return DEFAULT_AGEING;
    };
    if !AGEING_SECONDS.contains(&given.as_secs()) {
        problems.push(
            Problem::new(format!(
                "the ageing of network {name} is {} seconds",
                given.as_secs()
            ))
            .at(&given.origin, "out of range")
            .help(format!(
                "it is between {} and {} seconds",
                AGEING_SECONDS.start(),
                AGEING_SECONDS.end()
            )),
        );
    }
    given.value
}

/// The network's MTU, if it is said; wrong defaults are reported once, where they are given.
fn largest_packet(
    name: &str,
    network: &document::Network,
    defaults: &Defaults,
    problems: &mut Vec<Problem>,
) -> Option<Mtu> {
    let object = format!("network {name}");
    let (given, value) = match &network.mtu {
        Some(own) => (Some(own), mtu::check_shared(Some(own), &object, problems)),
        None => (defaults.mtu.as_ref(), mtu::of_defaults(defaults)),
    };
    let value = value?;
    let ipv6 = network
        .subnets
        .iter()
        .find(|subnet| subnet.addr().is_ipv6());
    if let (Some(given), Some(ipv6)) = (given, ipv6)
        && !mtu::carries_ipv6(value)
    {
        problems.push(
            mtu::too_small_for_ipv6(&object, value)
                .at(&given.origin, "too small")
                .at(&ipv6.origin, "the network's IPv6 subnet"),
        );
    }
    Some(value)
}
