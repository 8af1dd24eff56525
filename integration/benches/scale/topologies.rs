//! Topologies of any size.

use std::fmt::Write;
use std::net::Ipv4Addr;

/// What there is many of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Workloads of another host, on networks of a thousand that a router joins with one of this host.
    Stations,
    /// Routes of a router.
    Routes,
    /// Hosts with a hundred workloads each.
    Hosts,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Stations, Self::Routes, Self::Hosts];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stations => "stations",
            Self::Routes => "routes",
            Self::Hosts => "hosts",
        }
    }

    /// The topology, in which `@web` and `@hop` stand for the namespaces of this host's workloads. With `is_changed`
    /// there is one more.
    pub(crate) fn topology(self, size: u32, is_changed: bool) -> String {
        let size = size + u32::from(is_changed);
        match self {
            Self::Stations => stations(size),
            Self::Routes => routes(size),
            Self::Hosts => hosts(size),
        }
    }

    /// Addresses that are reached by way of those that there are many of, a thousand at most.
    pub(crate) fn destinations(self, size: u32) -> Vec<Ipv4Addr> {
        let destination = |number| match self {
            Self::Stations => station(number),
            Self::Routes => address(ROUTED, (number << 8) + 1),
            Self::Hosts => Ipv4Addr::UNSPECIFIED,
        };
        let step = size.div_ceil(1000).max(1) as usize;
        (0..size).step_by(step).map(destination).collect()
    }

    /// The hosts whose plans are made, by name; nothing if the topology has none.
    pub(crate) fn planned(self, size: u32) -> Vec<String> {
        match self {
            Self::Stations => vec!["alpha".to_owned()],
            Self::Routes => Vec::new(),
            Self::Hosts => (0..size).map(|number| format!("h{number}")).collect(),
        }
    }

    /// How many rows the plan of each host must have, if that can be computed without making it. Those that hold
    /// the number of an interface come when there is one.
    pub(crate) fn rows(self, size: u32) -> Option<usize> {
        let is_whole = self == Self::Hosts && size.is_multiple_of(SHARING);
        is_whole.then(|| {
            let (peers, sharing) = (size - 1, SHARING - 1);
            let networks = SHARING;
            // What has an address there: all workloads, and a port of the router.
            let stations = SHARING * PER_HOST + networks;
            // Counters, and one for what is at no port; where it is, and by which address it is known.
            let hosts = (PER_HOST + peers + 1) + peers + peers;
            // A MAC address, and two neighbors: by its address, and by the one that IPv6 has of itself.
            let forwarding = 3 * stations;
            // Whom a broadcast is copied to, and from whom one comes.
            let flooding = PER_HOST + networks * sharing + networks * sharing;
            // The network and its epoch; the router's port, its address and the routes to it and behind it. An
            // epoch for what is in no network.
            let virtual_devices = networks * 6 + 1;
            (hosts + forwarding + flooding + virtual_devices) as usize
        })
    }
}

fn address(base: [u8; 4], number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::from(base).to_bits() + number)
}

/// Workloads of a network; a broadcast reaches no more than a few more.
const PER_NETWORK: u32 = 1000;

/// The first address of a network of workloads, and the address of a workload.
fn first(network: u32) -> Ipv4Addr {
    address([10, 16, 0, 0], network << 10)
}

fn station(number: u32) -> Ipv4Addr {
    let network = first(number / PER_NETWORK);
    address(network.octets(), 2 + number % PER_NETWORK)
}

/// Where the routes begin.
const ROUTED: [u8; 4] = [16, 0, 0, 0];

fn stations(size: u32) -> String {
    let networks = size.div_ceil(PER_NETWORK);
    let mut text = "version: 1\nname: scale\nhosts: { alpha: 192.0.2.11, beta: 192.0.2.12 }\n\
                    networks:\n  front: 10.0.0.0/24\n"
        .to_owned();
    let mut ports = String::new();
    for network in 0..networks {
        let _ = writeln!(text, "  n{network}: {}/22", first(network));
        let _ = write!(
            ports,
            ", n{network}: {}",
            address(first(network).octets(), 1)
        );
    }
    let _ = writeln!(
        text,
        "routers: {{ core: {{ ports: {{ front: 10.0.0.1{ports} }} }} }}\nworkloads:\n  \
         web: {{ host: alpha, netns: @web, ports: [{{ network: front, addresses: 10.0.0.10 }}] }}"
    );
    for number in 0..size {
        let network = number / PER_NETWORK;
        let address = station(number);
        let _ = writeln!(
            text,
            "  w{number}: {{ host: beta, ports: [{{ network: n{network}, addresses: {address} }}] }}"
        );
    }
    text
}

fn routes(size: u32) -> String {
    let mut text = "version: 1\nname: scale\nnetworks: { front: 10.0.0.0/24, back: 10.0.1.0/24 }\n\
                    workloads:\n  web: { netns: @web, ports: [{ network: front, addresses: 10.0.0.10 }] }\n  \
                    hop: { netns: @hop, ports: [{ network: back, addresses: 10.0.1.20 }] }\n\
                    routers:\n  core:\n    ports: { front: 10.0.0.1, back: 10.0.1.1 }\n    routes:\n"
        .to_owned();
    for number in 0..size {
        let to = address(ROUTED, number << 8);
        let _ = writeln!(text, "      - {{ to: {to}/24, via: 10.0.1.20 }}");
    }
    text
}

/// Workloads that each host has, and networks that each ten hosts share.
const PER_HOST: u32 = 100;
const SHARING: u32 = 10;

/// Each ten hosts share ten networks of a hundred workloads behind a router, as ten tenants might.
fn hosts(size: u32) -> String {
    let mut text = "version: 1\nname: scale\nhosts:\n".to_owned();
    for number in 0..size {
        let _ = writeln!(text, "  h{number}: {}", address([172, 16, 0, 1], number));
    }
    text += "networks:\n";
    for network in 0..size {
        let _ = writeln!(
            text,
            "  n{network}: {}/24",
            address([10, 0, 0, 0], network << 8)
        );
    }
    text += "routers:\n";
    for router in 0..size.div_ceil(SHARING) {
        let networks = router * SHARING..size.min((router + 1) * SHARING);
        let ports: Vec<_> = networks
            .map(|network| format!("n{network}: {}", address([10, 0, 0, 1], network << 8)))
            .collect();
        let _ = writeln!(text, "  r{router}: {{ ports: {{ {} }} }}", ports.join(", "));
    }
    text += "workloads:\n";
    for host in 0..size {
        let first = host - host % SHARING;
        let networks = SHARING.min(size - first);
        for number in 0..PER_HOST {
            let network = first + number % networks;
            // Each host has its own part of every network.
            let place = 2 + (host - first) * PER_HOST.div_ceil(networks) + number / networks;
            let address = address([10, 0, 0, 0], (network << 8) + place);
            let _ = writeln!(
                text,
                "  w{host}-{number}: {{ host: h{host}, ports: [{{ network: n{network}, addresses: {address} }}] }}"
            );
        }
    }
    text
}

/// So many workloads of this host in namespaces of these names.
pub(crate) fn local(names: &[String]) -> String {
    let mut text =
        "version: 1\nname: scale\nnetworks: { front: 10.0.0.0/16 }\nworkloads:\n".to_owned();
    for (number, name) in (1..).zip(names) {
        let address = address([10, 0, 1, 0], number);
        let _ = writeln!(
            text,
            "  w{number}: {{ netns: {name}, ports: [{{ network: front, addresses: {address} }}] }}"
        );
    }
    text
}
