//! The rules for hosts, and for all addresses in the underlay.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use maps_schema::PortId;

use super::family::Family;
use super::identity::PortIds;
use super::merge::{Merged, across};
use super::{Host, Xdp, interface, mtu, range};
use crate::document::{self, Located};
use crate::problem::Problem;
use crate::similar::closest;

/// The ports that lead to hosts and ordinary VTEPs, by name. They are called `@NAME`, which no other
/// port can be.
pub(super) fn ids<'a>(merged: &Merged<'a>, ids: &mut PortIds) -> BTreeMap<&'a str, PortId> {
    let names: BTreeSet<&str> = merged
        .hosts
        .keys()
        .chain(merged.vteps.keys())
        .copied()
        .collect();
    let given = ids.assign(names.iter().map(|name| format!("@{name}")));
    let ids = names.into_iter().map(|name| {
        let id = given.get(&format!("@{name}")).copied();
        (name, id.unwrap_or(PortId::NONE))
    });
    ids.collect()
}

/// Checks all hosts, and the addresses of ordinary VTEPs. Those whose address could not be read are
/// left out.
pub(super) fn resolve(
    merged: &Merged<'_>,
    ids: &BTreeMap<&str, PortId>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Host> {
    addresses(merged, problems);
    let mut hosts = BTreeMap::new();
    for (&name, &given) in &merged.hosts {
        let mtu = largest_packet(name, given, problems);
        if let Some(uplink) = &given.uplink
            && let Some(reason) = interface::illegal(uplink)
        {
            problems.push(
                Problem::new(format!(
                    "host {name}: {:?} cannot be the name of its uplink",
                    uplink.value
                ))
                .at(&uplink.origin, reason)
                .help("name the interface that has the host's address, as `ip address` shows it"),
            );
        }
        let Some(address) = &given.address else {
            continue;
        };
        let host = Host {
            id: ids.get(name).copied().unwrap_or(PortId::NONE),
            address: address.value,
            uplink: given.uplink.as_ref().map(|uplink| uplink.value.clone()),
            mtu,
            xdp: given.xdp.as_ref().map_or(Xdp::Auto, |xdp| xdp.value),
            origin: given.origin.clone(),
        };
        hosts.insert(name.to_owned(), host);
    }
    hosts
}

/// What the underlay carries, if it is said.
fn largest_packet(name: &str, given: &document::Host, problems: &mut Vec<Problem>) -> Option<u32> {
    let object = format!("host {name}");
    let own = given.mtu.as_ref()?;
    let value = mtu::check(Some(own), &object, problems)?;
    if let Some(address) = given.address.as_ref().filter(|address| address.is_ipv6())
        && !mtu::carries_ipv6(super::Mtu::Bytes(value))
    {
        problems.push(
            mtu::too_small_for_ipv6(&object, super::Mtu::Bytes(value))
                .at(&own.origin, "too small")
                .at(&address.origin, "the host's IPv6 address"),
        );
    }
    Some(value)
}

/// An underlay address, and whose it is.
struct Endpoint<'a> {
    title: String,
    address: &'a Located<IpAddr>,
}

/// Checks that all addresses in the underlay can be reached from one another, and that each is only
/// one's own.
fn addresses(merged: &Merged<'_>, problems: &mut Vec<Problem>) {
    let hosts = merged.hosts.iter().filter_map(|(name, host)| {
        let title = format!("host {name}");
        Some((title, host.address.as_ref()?))
    });
    let vteps = merged.vteps.iter().filter_map(|(name, (vtep, _))| {
        let title = format!("vtep {name}");
        Some((title, vtep.address.as_ref()?))
    });
    let mut endpoints: Vec<Endpoint<'_>> = hosts
        .chain(vteps)
        .map(|(title, address)| Endpoint { title, address })
        .collect();
    endpoints.sort_by_key(|endpoint| merged.rank(&endpoint.address.origin));
    let mut taken: BTreeMap<IpAddr, &Endpoint<'_>> = BTreeMap::new();
    let mut other_family = None;
    for endpoint in &endpoints {
        let Endpoint { title, address } = endpoint;
        if let Some(kind) = range::special(address.value) {
            let help = match range::unmapped(address.value) {
                Some(v4) => format!("write {v4}"),
                None => "give the address that the others reach it by".to_owned(),
            };
            problems.push(
                Problem::new(format!(
                    "{title} cannot have the {kind} address {}",
                    address.value
                ))
                .at(&address.origin, "not an address for tunnels")
                .help(help),
            );
            continue;
        }
        if let Some(first) = taken.get(&address.value) {
            problems.push(
                Problem::new(format!(
                    "address {} belongs to both {} and {}",
                    address.value,
                    across(&first.title, &first.address.origin, &address.origin),
                    across(title, &address.origin, &first.address.origin)
                ))
                .at(&address.origin, format!("{title} has it too"))
                .at(&first.address.origin, format!("{} has it", first.title))
                .help("give each its own address in the underlay"),
            );
        }
        taken.entry(address.value).or_insert(endpoint);
        let differs =
            |first: &&Endpoint<'_>| Family::of(first.address.value) != Family::of(address.value);
        if let Some(first) = endpoints.first().filter(differs) {
            other_family.get_or_insert((first, endpoint));
        }
    }
    problems.extend(other_family.map(|(first, other)| families(first, other)));
}

/// The problem of two endpoints that cannot reach each other. It is told once.
fn families(first: &Endpoint<'_>, other: &Endpoint<'_>) -> Problem {
    let family = |endpoint: &Endpoint<'_>| Family::of(endpoint.address.value);
    let label =
        |endpoint: &Endpoint<'_>| format!("{} has an {} address", endpoint.title, family(endpoint));
    Problem::new(format!(
        "the underlay of {} is {}, and that of {} is {}",
        first.title,
        family(first),
        other.title,
        family(other)
    ))
    .at(&other.address.origin, label(other))
    .at(&first.address.origin, label(first))
    .help("one end of a tunnel cannot reach an address of the other family: give all hosts and VTEPs addresses of one family")
}

/// The problem of two sources that do not say the same of a host, if that is so.
pub(super) fn differ(
    name: &str,
    first: &document::Host,
    again: &document::Host,
) -> Option<Problem> {
    fn value<T: Clone>(given: Option<&Located<T>>) -> Option<T> {
        given.map(|given| given.value.clone())
    }
    if first.incomplete || again.incomplete {
        return None;
    }
    let differences = [
        (
            "address",
            value(first.address.as_ref()) != value(again.address.as_ref()),
        ),
        (
            "uplink",
            value(first.uplink.as_ref()) != value(again.uplink.as_ref()),
        ),
        (
            "mtu",
            value(first.mtu.as_ref()) != value(again.mtu.as_ref()),
        ),
        (
            "xdp",
            value(first.xdp.as_ref()) != value(again.xdp.as_ref()),
        ),
    ];
    let (what, _) = differences.into_iter().find(|(_, differs)| *differs)?;
    Some(
        Problem::new(format!(
            "host {name} is declared by source {} and, with another {what}, by source {}",
            first.origin.file.title(),
            again.origin.file.title()
        ))
        .at(&again.origin, "declared again here")
        .at(&first.origin, "first declared here")
        .help("all loaded sources mean the same host by the same name: say the same of it in both"),
    )
}

/// The problem of a host that nobody declares, unless it may only be unreadable. `subject` says what
/// is on it or leads to it.
pub(super) fn unknown(
    subject: &str,
    given: &Located<String>,
    merged: &Merged<'_>,
) -> Option<Problem> {
    if merged.incomplete {
        return None;
    }
    let known: Vec<&str> = merged.hosts.keys().copied().collect();
    let help = match closest(given, known.iter().copied()) {
        Some(close) => format!("did you mean `{close}`?"),
        None if known.is_empty() => {
            format!("declare it: `hosts: {{ {}: 192.0.2.11 }}`", given.value)
        }
        None if known.len() <= 8 => format!("known hosts: {}", known.join(", ")),
        None => "declare it under `hosts`".to_owned(),
    };
    let label = if merged.vteps.contains_key(given.as_str()) {
        "this is a vtep"
    } else {
        "no host has this name"
    };
    let problem = Problem::new(format!(
        "{subject} host {}, which does not exist",
        given.value
    ));
    Some(problem.at(&given.origin, label).help(help))
}
