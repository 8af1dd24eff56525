//! The rules for ports of workloads.

use std::collections::{BTreeMap, BTreeSet};

use maps_schema::PortId;

use super::identity::{self, PortIds};
use super::merge::Merged;
use super::route::Taken;
use super::station::{self, Owner, Plug, Station};
use super::{Network, Port, PortName, Spoofing, address, interface, mtu, route};
use crate::document::{self, Located};
use crate::problem::Problem;
use crate::similar::closest;

/// The ports of all workloads.
pub(super) struct Ports<'a> {
    /// What they are called and how they are given, by workload and position.
    pub(super) given: Vec<(PortName, &'a document::Port)>,
    /// Those that are on a network.
    pub(super) resolved: BTreeMap<PortName, Port>,
    /// The routes of each workload.
    pub(super) routes: BTreeMap<String, Taken>,
    /// What they are to their neighbors.
    pub(super) stations: Vec<Station<'a>>,
}

/// Checks all ports against what is known of the networks.
pub(super) fn resolve<'a>(
    merged: &Merged<'a>,
    networks: &BTreeMap<String, Network>,
    ids: &mut PortIds,
    problems: &mut Vec<Problem>,
) -> Ports<'a> {
    let mut given = Vec::new();
    for (&name, &workload) in &merged.workloads {
        given.extend(interface::name_ports(name, workload, problems));
    }
    let ids = ids.assign(given.iter().map(|(name, _)| name.clone()));
    // Of two ports in conflict the one that is written later is at fault.
    let mut in_file_order: Vec<_> = given.iter().collect();
    in_file_order.sort_by_key(|(_, port)| merged.rank(&port.origin));
    let mut resolved = BTreeMap::new();
    let mut routes: BTreeMap<String, Taken> = BTreeMap::new();
    let mut stations = Vec::new();
    for &(ref name, given) in in_file_order {
        let network = merged.networks.get_key_value(given.network.as_str());
        let known = networks.get(given.network.as_str());
        let (Some((&network, &(declared, _))), Some(known)) = (network, known) else {
            if !merged.incomplete {
                let subject = format!("port {name} is on");
                problems.push(unknown_network(&subject, &given.network, merged));
            }
            continue;
        };
        let named = Named {
            name,
            given,
            id: ids.get(name).copied().unwrap_or(PortId::NONE),
            host: merged.host_of(&name.workload),
        };
        let taken = routes.entry(name.workload.clone()).or_default();
        let (port, station) = resolve_one(&named, known, (network, declared), taken, problems);
        stations.push(station);
        resolved.insert(name.clone(), port);
    }
    Ports {
        resolved,
        routes,
        stations,
        given,
    }
}

/// A port that has a name and an id.
struct Named<'n, 'a> {
    name: &'n PortName,
    given: &'a document::Port,
    id: PortId,
    host: Option<&'a str>,
}

/// One port, on a network that is known.
fn resolve_one<'a>(
    &Named {
        name,
        given,
        id,
        host,
    }: &Named<'_, 'a>,
    network: &Network,
    declared: (&str, &document::Network),
    taken: &mut Taken,
    problems: &mut Vec<Problem>,
) -> (Port, Station<'a>) {
    let plug = Plug {
        name: name.to_string(),
        owner: Owner::Workload(host),
    };
    let addresses = address::resolve(&plug, &given.addresses, network, declared, problems);
    let mac = station::mac(
        &plug,
        (given.mac.as_ref(), &given.origin),
        identity::mac(id),
        problems,
    );
    let port = Port {
        id,
        network: declared.0.to_owned(),
        mac: mac.value,
        addresses: addresses.iter().map(|address| address.value).collect(),
        routes: route::resolve(name, given, &addresses, taken, problems),
        mtu: mtu::of_port(name, given.mtu.as_ref(), declared, network, problems),
        learning: given.learning.as_ref().is_some_and(|given| given.value),
        spoofing: given
            .spoofing
            .as_ref()
            .map_or(Spoofing::Deny, |given| given.value),
        publish: Vec::new(),
        groups: given.groups.iter().map(|it| it.value.clone()).collect(),
        origin: given.origin.clone(),
    };
    let station = Station {
        plug,
        network: port.network.clone(),
        addresses,
        mac: Some(mac),
        learning: port.learning,
        origin: &given.origin,
    };
    (port, station)
}

/// The problem of something that is on a network that nobody declares; `subject` says what, and
/// that it is on it.
pub(super) fn unknown_network(
    subject: &str,
    network: &Located<String>,
    merged: &Merged<'_>,
) -> Problem {
    let known: BTreeSet<&str> = merged.networks.keys().copied().collect();
    let help = match closest(network, known.iter().copied()) {
        Some(close) => format!("did you mean `{close}`?"),
        None if known.is_empty() => format!(
            "declare it: `networks: {{ {}: 10.1.0.0/24 }}`",
            network.value
        ),
        None if known.len() <= 8 => {
            let known: Vec<&str> = known.into_iter().collect();
            format!("known networks: {}", known.join(", "))
        }
        None => "declare it under `networks`".to_owned(),
    };
    Problem::new(format!(
        "{subject} network {}, which does not exist",
        network.value
    ))
    .at(&network.origin, "no network has this name")
    .help(help)
}
