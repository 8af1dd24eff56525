//! The rules for ports, and those between the ports of one network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use maps_schema::map::FLOOD_MAX;
use maps_schema::{Mac, PortId};

use super::merge::{Merged, across};
use super::route::Taken;
use super::{Network, Port, PortName, Spoofing, address, identity, interface, mtu, route};
use crate::document::{self, Located};
use crate::problem::Problem;
use crate::source::Origin;
use crate::suggestion::closest;

/// Checks all ports against what is known of the networks.
pub(super) fn resolve(
    merged: &Merged<'_>,
    networks: &BTreeMap<String, Network>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<PortName, Port> {
    let mut named = Vec::new();
    for (name, workload) in &merged.workloads {
        named.extend(interface::name_ports(name, workload, problems));
    }
    let ids = identity::port_ids(&named.iter().map(|(name, _)| name).collect());
    // Of two ports in conflict the one that is written later is at fault.
    let mut in_file_order: Vec<&(PortName, &document::Port)> = named.iter().collect();
    in_file_order.sort_by_key(|(_, port)| merged.rank(&port.origin));

    let mut neighbors: BTreeMap<&str, Neighbors> = BTreeMap::new();
    let mut routes: BTreeMap<&str, Taken> = BTreeMap::new();
    let mut ports = BTreeMap::new();
    for &(ref name, given) in in_file_order {
        let network = merged.networks.get_key_value(given.network.as_str());
        let resolved = networks.get(given.network.as_str());
        let (Some((&network, &(declared, _))), Some(resolved)) = (network, resolved) else {
            if !merged.incomplete {
                problems.push(unknown_network(name, given, merged));
            }
            continue;
        };
        let id = ids.get(name).copied().unwrap_or(PortId::NONE);
        let checked = Checked {
            name,
            given,
            addresses: address::resolve(
                name,
                &given.addresses,
                resolved,
                (network, declared),
                problems,
            ),
            mac: station(name, given, id, problems),
        };
        let neighbors = neighbors.entry(network).or_default();
        neighbors.add(network, declared, &checked, problems);
        let taken = routes.entry(name.workload.as_str()).or_default();
        let routes = route::resolve(name, given, &checked.addresses, taken, problems);
        let mtu = largest_packet(name, given, (network, declared), resolved, problems);
        let Checked { addresses, mac, .. } = checked;
        let port = Port {
            id,
            network: network.to_owned(),
            mac,
            addresses: addresses.into_iter().map(|address| address.value).collect(),
            routes,
            mtu,
            learning: given.learning.as_ref().is_some_and(|given| given.value),
            spoofing: given
                .spoofing
                .as_ref()
                .map_or(Spoofing::Deny, |given| given.value),
            origin: given.origin.clone(),
        };
        ports.insert(name.clone(), port);
    }
    ports
}

/// A port whose own values have been judged.
struct Checked<'a> {
    name: &'a PortName,
    given: &'a document::Port,
    addresses: Vec<Located<IpNet>>,
    mac: Mac,
}

fn unknown_network(name: &PortName, given: &document::Port, merged: &Merged<'_>) -> Problem {
    let network = &given.network;
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
        "port {name} is on network {}, which does not exist",
        network.value
    ))
    .at(&network.origin, "no network has this name")
    .help(help)
}

/// The MAC address, given or derived.
fn station(
    name: &PortName,
    given: &document::Port,
    id: PortId,
    problems: &mut Vec<Problem>,
) -> Mac {
    let Some(mac) = &given.mac else {
        return identity::mac(id);
    };
    let kind = if mac.value == Mac::ZERO {
        Some("zero")
    } else if mac.is_group() {
        Some("a group address")
    } else {
        None
    };
    if let Some(kind) = kind {
        problems.push(
            Problem::new(format!("the mac {} of port {name} is {kind}", mac.value))
                .at(&mac.origin, "no station can have this address")
                .help("use one whose first byte is 02, or leave it out to have it derived"),
        );
    }
    mac.value
}

/// The port's MTU: the network's, or a smaller one that still carries what the network does.
fn largest_packet(
    name: &PortName,
    given: &document::Port,
    (network_name, declared): (&str, &document::Network),
    network: &Network,
    problems: &mut Vec<Problem>,
) -> u32 {
    let object = format!("port {name}");
    let (Some(value), Some(own)) = (
        mtu::check(given.mtu.as_ref(), &object, problems),
        &given.mtu,
    ) else {
        return network.mtu;
    };
    let limit = declared
        .mtu
        .as_ref()
        .map_or(&declared.origin, |given| &given.origin);
    if value > network.mtu {
        problems.push(
            Problem::new(format!(
                "the mtu of port {name} is {value}, more than the {} of network {network_name}",
                network.mtu
            ))
            .at(&own.origin, "larger than the network's")
            .at(limit, format!("the network carries {} bytes", network.mtu))
            .help("lower the port's mtu or raise the network's"),
        );
    } else if let Some(ipv6) = declared
        .subnets
        .iter()
        .find(|subnet| subnet.addr().is_ipv6())
        && !mtu::carries_ipv6(value)
    {
        problems.push(
            mtu::too_small_for_ipv6(&object, value)
                .at(&own.origin, "too small")
                .at(&ipv6.origin, "the network's IPv6 subnet"),
        );
    }
    value
}

/// What the ports of one network have taken.
#[derive(Default)]
struct Neighbors {
    addresses: BTreeMap<IpAddr, (String, Origin)>,
    macs: BTreeMap<Mac, (String, Origin)>,
    n_ports: u32,
}

impl Neighbors {
    fn add(
        &mut self,
        network: &str,
        declared: &document::Network,
        port: &Checked<'_>,
        problems: &mut Vec<Problem>,
    ) {
        let subject = format!("port {}", port.name);
        for address in &port.addresses {
            let holder = (subject.clone(), address.origin.clone());
            if let Some(first) = self.addresses.get(&address.addr()) {
                let value = format!("address {} in network {network}", address.addr());
                problems.push(taken(
                    &value,
                    first,
                    &holder,
                    "give each port an address of its own",
                ));
            } else {
                self.addresses.insert(address.addr(), holder);
            }
        }
        let origin = port
            .given
            .mac
            .as_ref()
            .map_or(&port.given.origin, |mac| &mac.origin);
        let holder = (subject, origin.clone());
        if let Some(first) = self.macs.get(&port.mac) {
            let value = format!("mac {} in network {network}", port.mac);
            let help = "choose another one, or leave it out to have it derived";
            problems.push(taken(&value, first, &holder, help));
        } else {
            self.macs.insert(port.mac, holder);
        }
        self.n_ports += 1;
        // Told once, at the first port that is too much.
        if self.n_ports == FLOOD_MAX + 1 {
            problems.push(
                Problem::new(format!("network {network} has more than {FLOOD_MAX} ports"))
                    .at(&port.given.origin, "one port too many")
                    .at(&declared.origin, "the network is declared here")
                    .help("a broadcast reaches that many ports at most: split the network"),
            );
        }
    }
}

/// The problem of two ports that have the same value.
fn taken(
    value: &str,
    (first, there): &(String, Origin),
    (again, here): &(String, Origin),
    help: &str,
) -> Problem {
    if first == again && there.same_file(here) {
        return Problem::new(format!("{value} is given to {first} twice"))
            .at(here, "given again here")
            .at(there, "first given here")
            .help("keep one of the two");
    }
    Problem::new(format!(
        "{value} belongs to both {} and {}",
        across(first, there, here),
        across(again, here, there)
    ))
    .at(here, format!("{again} has it too"))
    .at(there, format!("{first} has it"))
    .help(help)
}
