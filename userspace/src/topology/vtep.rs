//! The rules for tunnel endpoints that are none of ours.

use std::collections::{BTreeMap, BTreeSet};

use maps_schema::{Mac, PortId};

use super::merge::Merged;
use super::port::unknown_network;
use super::station::{Owner, Plug, Station, unusable};
use super::tunnel::Tunnels;
use super::{Stations, Tunnel, Vtep};
use crate::document::{self, Located};
use crate::problem::Problem;

/// All ordinary VTEPs, and what they are to the networks that they take part in.
pub(super) struct Vteps<'a> {
    pub(super) resolved: BTreeMap<String, Vtep>,
    pub(super) stations: Vec<Station<'a>>,
}

/// Checks all ordinary VTEPs, but for their addresses.
pub(super) fn resolve<'a>(
    merged: &Merged<'a>,
    tunnels: &Tunnels,
    ids: &BTreeMap<&str, PortId>,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Vteps<'a> {
    let mut vteps = Vteps {
        resolved: BTreeMap::new(),
        stations: Vec::new(),
    };
    for (&name, &(given, _)) in &merged.vteps {
        let mut networks = BTreeMap::new();
        for (network, behind) in &given.networks {
            if !merged.networks.contains_key(network.as_str()) {
                if !merged.incomplete {
                    let subject = format!("vtep {name} takes part in");
                    let network = Located {
                        value: network.clone(),
                        origin: behind.origin.clone(),
                    };
                    problems.push(unknown_network(&subject, &network, merged));
                }
                continue;
            }
            vteps
                .stations
                .extend(stations((name, network), behind, problems));
            let macs: BTreeSet<Mac> = behind.macs.iter().map(|mac| mac.value).collect();
            let learn = behind.learn.as_ref().is_some_and(|learn| learn.value);
            if macs.is_empty() && !learn && !given.incomplete {
                warnings.push(
                    Problem::new(format!(
                        "nothing is behind vtep {name} in network {network}"
                    ))
                    .at(&behind.origin, "it gets what is for many, and nothing else")
                    .help(format!("name its stations, or write `{network}: learn`")),
                );
            }
            networks.insert(network.clone(), Stations { macs, learn });
        }
        if given.networks.is_empty() && !given.incomplete {
            warnings.push(
                Problem::new(format!("vtep {name} takes part in no network"))
                    .at(&given.origin, "nothing reaches it")
                    .help("name one: `networks: { front: learn }`"),
            );
        }
        let tunnel = tunnel(name, given, tunnels, problems);
        let Some(address) = &given.address else {
            continue;
        };
        let vtep = Vtep {
            id: ids.get(name).copied().unwrap_or(PortId::NONE),
            address: address.value,
            tunnel,
            networks,
            origin: given.origin.clone(),
        };
        vteps.resolved.insert(name.to_owned(), vtep);
    }
    vteps
}

fn tunnel(
    name: &str,
    given: &document::Vtep,
    tunnels: &Tunnels,
    problems: &mut Vec<Problem>,
) -> Tunnel {
    let tunnel = given.tunnel.as_ref().map_or(tunnels.default, |it| it.value);
    if tunnel == Tunnel::Direct && (given.tunnel.is_some() || !given.incomplete) {
        let (origin, label) = match &given.tunnel {
            Some(given) => (&given.origin, "a vtep is the end of a tunnel"),
            None => (
                &given.origin,
                "it has none of its own, and the defaults say `none`",
            ),
        };
        problems.push(
            Problem::new(format!("vtep {name} has no tunnel"))
                .at(origin, label)
                .help("give it the tunnel that it speaks: `tunnel: vxlan`, geneve or gre"),
        );
    }
    tunnel
}

/// What a VTEP is in one network: its known stations, and all that may be there besides. Nobody knows
/// their IP addresses.
fn stations<'a>(
    (name, network): (&'a str, &'a str),
    behind: &'a document::VtepNetwork,
    problems: &mut Vec<Problem>,
) -> Vec<Station<'a>> {
    for mac in &behind.macs {
        if let Some(kind) = unusable(mac.value) {
            problems.push(
                Problem::new(format!("the mac {} of vtep {name} is {kind}", mac.value))
                    .at(&mac.origin, "no station can have this address")
                    .help("write the address that the station sends from"),
            );
        }
    }
    let station = |mac| Station {
        plug: Plug {
            name: name.to_owned(),
            owner: Owner::Vtep,
        },
        network: network.to_owned(),
        addresses: Vec::new(),
        mac,
        learning: true,
        origin: &behind.origin,
    };
    let macs = behind.macs.iter().cloned().map(Some);
    macs.chain([None]).map(station).collect()
}
