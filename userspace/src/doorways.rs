//! The addresses by which a host itself reaches what is published on it.
//!
//! What a host sends to itself never leaves it by an interface where the datapath could take it: for these
//! addresses, and for no others, somebody has to listen.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::topology::{Publish, Topology};

/// What can be carried over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Where somebody on the host comes in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Doorway {
    /// The protocol.
    pub protocol: Protocol,
    /// The host's address and port.
    pub at: SocketAddr,
}

/// Where that leads.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Inside {
    /// The workload, which is on this host.
    pub workload: String,
    /// An address of its own, and the port.
    pub at: SocketAddr,
}

/// How many doorways a host has at most: each is a socket, whether somebody comes or not.
pub const DOORWAYS_MAX: usize = 4096;

/// The doorways that there is room for, and how many there is none for by workload. Who publishes most gets
/// none first, so that nobody else has to care.
#[must_use]
pub fn within(
    doorways: BTreeMap<Doorway, Inside>,
    room: usize,
) -> (BTreeMap<Doorway, Inside>, BTreeMap<String, usize>) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for inside in doorways.values() {
        *counts.entry(inside.workload.clone()).or_default() += 1;
    }
    let mut modest: Vec<(usize, &String)> = counts.iter().map(|(name, n)| (*n, name)).collect();
    modest.sort_unstable();
    let mut left = room;
    let mut out = BTreeMap::new();
    for (count, name) in modest {
        match left.checked_sub(count) {
            Some(rest) => left = rest,
            None => {
                left = 0;
                out.insert(name.clone(), count);
            }
        }
    }
    let inside = doorways
        .into_iter()
        .filter(|(_, inside)| !out.contains_key(&inside.workload));
    (inside.collect(), out)
}

/// What to say of a workload that there is no room for.
#[must_use]
pub fn no_room(workload: &str, count: usize, room: usize) -> String {
    format!(
        "this host itself does not reach what {workload} publishes: that takes {count} sockets, and there is \
         room for {room} in all; others reach it"
    )
}

/// The doorways of the host `own`, whose uplink has these addresses.
#[must_use]
pub fn doorways(
    topology: &Topology,
    own: Option<&str>,
    addresses: &[IpAddr],
) -> BTreeMap<Doorway, Inside> {
    let mut found = BTreeMap::new();
    for (name, port) in &topology.ports {
        let workload = topology.workloads.get(&name.workload);
        let host = workload.and_then(|it| it.host.as_deref());
        let is_here = |host: Option<&str>| host.is_none() || host == own;
        if workload.is_none() || !is_here(host) {
            continue;
        }
        let here = |publish: &&Publish| publish.hosts.iter().any(|it| is_here(it.as_deref()));
        for publish in port.publish.iter().filter(here) {
            let protocol = match publish.protocol {
                6 => Protocol::Tcp,
                17 => Protocol::Udp,
                _ => continue,
            };
            for outside in own_addresses(publish.address, addresses) {
                let mut stations = port.addresses.iter().map(|it| it.addr());
                let inside = stations.find(|it| it.is_ipv4() == outside.is_ipv4());
                let Some(inside) = inside else {
                    continue;
                };
                for (offset, number) in publish.host_ports.range().enumerate() {
                    let doorway = Doorway {
                        protocol,
                        at: SocketAddr::new(outside, number),
                    };
                    let service = publish.ports.first() + offset as u16;
                    let leads = Inside {
                        workload: name.workload.clone(),
                        at: SocketAddr::new(inside, service),
                    };
                    found.entry(doorway).or_insert(leads);
                }
            }
        }
    }
    found
}

/// The host's own addresses among those that a port is published at.
fn own_addresses(wanted: Option<IpAddr>, addresses: &[IpAddr]) -> Vec<IpAddr> {
    let all = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let all = all.into_iter().chain(addresses.iter().copied());
    match wanted {
        Some(one) if !one.is_unspecified() => vec![one],
        Some(any) => all.filter(|it| it.is_ipv4() == any.is_ipv4()).collect(),
        None => all.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_room_who_takes_most_gets_none() {
        let door = |workload: &str, port: u16| {
            let at = SocketAddr::from(([127, 0, 0, 1], port));
            let doorway = Doorway {
                protocol: Protocol::Tcp,
                at,
            };
            let inside = Inside {
                workload: workload.to_owned(),
                at,
            };
            (doorway, inside)
        };
        let all = (1..=10).map(|port| door("greedy", port));
        let all = all.chain([door("web", 80), door("web", 81), door("db", 90)]);
        let all: BTreeMap<Doorway, Inside> = all.collect();
        for (room, doors, out) in [(13, 13, 0), (12, 3, 10), (3, 3, 10), (2, 1, 12)] {
            let (found, left) = within(all.clone(), room);
            assert_eq!((found.len(), left.values().sum()), (doors, out));
        }
    }
    use crate::document::draft;
    use crate::problem::listing::listing;
    use crate::topology::compile_drafts;

    #[test]
    fn a_host_gets_in_by_its_own_addresses() {
        let text = "version: 1
name: shop
hosts: { alpha: 192.0.2.11, beta: 192.0.2.12 }
networks: { front: 10.1.0.0/24 }
routers: { core: { ports: { front: 10.1.0.1 }, uplink: true } }
workloads:
  web: { host: alpha, ports: [{ network: front, addresses: 10.1.0.10, publish: ['8080:80', '127.0.0.2:53:5353/udp', '192.0.2.11:81-82:1-2'] }] }
  db: { host: beta, ports: [{ network: front, addresses: 10.1.0.20, publish: '8080:80' }] }
";
        let topology = compile_drafts([draft("shop.yaml", text)]);
        let topology = topology.unwrap_or_else(|problems| panic!("{}", listing(&problems)));
        let own = ["192.0.2.11".parse().unwrap()];
        let found = doorways(&topology, Some("alpha"), &own);
        let found: Vec<String> = found
            .iter()
            .map(|(door, inside)| {
                let Doorway { protocol, at } = door;
                format!("{protocol:?} {at} {} {}", inside.workload, inside.at)
            })
            .collect();
        assert_eq!(
            found,
            [
                "Tcp 127.0.0.1:8080 web 10.1.0.10:80",
                "Tcp 192.0.2.11:81 web 10.1.0.10:1",
                "Tcp 192.0.2.11:82 web 10.1.0.10:2",
                "Tcp 192.0.2.11:8080 web 10.1.0.10:80",
                "Udp 127.0.0.2:53 web 10.1.0.10:5353",
            ]
        );
    }
}
