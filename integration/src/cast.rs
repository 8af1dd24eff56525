//! Who plays in a case: the topology's stations, routers and hosts by name, as one station sees the others.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, bail};
use bowline::link::Route;
use bowline::topology::{Port, PortName, RouterPort, Topology};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use maps_schema::Mac;

use crate::frame::{group_mac, link_local, solicited_node};

/// The stations, as the sender of a frame sees them.
#[derive(Clone, Debug)]
pub struct Cast {
    own: String,
    /// By the workload's name, where it has one port in the sender's network or one at all, and by
    /// the port's name. Routers are here by their ports' names.
    stations: BTreeMap<String, Station>,
    /// Those in the sender's network, itself first.
    near: Vec<Station>,
    /// The sender's routes.
    routes: Vec<Route>,
}

#[derive(Clone, Debug)]
struct Station {
    mac: Mac,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Station {
    fn of(port: &Port) -> Self {
        Self::new(port.mac, &port.addresses)
    }

    fn new(mac: Mac, addresses: &[IpNet]) -> Self {
        let mut addresses = addresses.iter().map(|net| net.addr());
        let v4 = addresses.clone().find_map(|address| match address {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        });
        let v6 = addresses.find_map(|address| match address {
            IpAddr::V6(v6) => Some(v6),
            IpAddr::V4(_) => None,
        });
        Self { mac, v4, v6 }
    }
}

/// What somebody outside is called.
const OUTSIDE: &str = "outside";
/// The MAC address of the case's host on the underlay.
pub const UPLINK_MAC: Mac = Mac::new([2, 0, 0, 0, 0, 0x11]);
/// That of the next hop to everything else.
pub const NEXT_HOP_MAC: Mac = Mac::new([2, 0, 0, 0, 0, 0x99]);

/// The topology's hosts, by their addresses on the underlay.
fn hosts(topology: &Topology) -> BTreeMap<String, Station> {
    let station = |address| Station::new(Mac::ZERO, &[IpNet::from(address)]);
    let hosts = topology.hosts.iter();
    hosts
        .map(|(name, host)| (name.clone(), station(host.address)))
        .collect()
}

/// The routers' ports, by their names.
fn router_ports(topology: &Topology) -> impl Iterator<Item = (String, &RouterPort)> {
    topology.routers.iter().flat_map(|(router, it)| {
        let ports = it.ports.iter();
        ports.map(move |(name, port)| (format!("{router}/{name}"), port))
    })
}

impl Cast {
    /// The cast as the port `own` sees it.
    ///
    /// # Panics
    /// There is no such port.
    #[must_use]
    pub fn of(topology: &Topology, own: &PortName) -> Self {
        let Port {
            network, routes, ..
        } = &topology.ports[own];
        let mut stations = hosts(topology);
        let mut gateways = Vec::new();
        for (name, port) in router_ports(topology) {
            let station = Station::new(port.mac, &port.addresses);
            if port.network == *network {
                gateways.push(station.clone());
            }
            stations.insert(name, station);
        }
        let (near, far): (Vec<_>, Vec<_>) = topology
            .ports
            .iter()
            .partition(|(_, port)| port.network == *network);
        let own_station = Station::of(&topology.ports[own]);
        let neighbors = near.iter().map(|(_, port)| Station::of(port));
        let neighbors = [own_station.clone()]
            .into_iter()
            .chain(neighbors)
            .chain(gateways)
            .collect();
        // Those who are near come last and hide those of the same name who are not.
        for (name, port) in far.into_iter().chain(near) {
            let station = Station::of(port);
            stations.insert(name.to_string(), station.clone());
            stations.insert(name.workload.clone(), station);
        }
        // A workload with several ports in one network still sees itself at this one.
        stations.insert(own.workload.clone(), own_station);
        Self {
            own: own.to_string(),
            stations,
            near: neighbors,
            routes: routes.clone(),
        }
    }

    /// The cast as somebody outside sees it, whose packets the case's host `own` is sent.
    ///
    /// # Panics
    /// There is no such host.
    #[must_use]
    pub fn outside(topology: &Topology, own: &str) -> Self {
        let mut stations = hosts(topology);
        let host = Station {
            mac: UPLINK_MAC,
            ..stations[own].clone()
        };
        let via = topology.hosts[own].address;
        let everything = match via {
            IpAddr::V4(_) => IpNet::from(Ipv4Net::default()),
            IpAddr::V6(_) => IpNet::from(Ipv6Net::default()),
        };
        for (name, port) in router_ports(topology) {
            stations.insert(name, Station::new(port.mac, &port.addresses));
        }
        for (name, port) in &topology.ports {
            stations.insert(name.workload.clone(), Station::of(port));
        }
        let somebody = Station::new(NEXT_HOP_MAC, &[]);
        stations.insert(OUTSIDE.to_owned(), somebody);
        Self {
            own: OUTSIDE.to_owned(),
            stations,
            near: vec![host],
            routes: vec![Route {
                to: everything,
                via,
            }],
        }
    }

    /// The sender's name.
    #[must_use]
    pub fn own_name(&self) -> &str {
        &self.own
    }

    /// The sender's MAC address.
    #[must_use]
    pub fn own_mac(&self) -> Mac {
        self.stations[&self.own].mac
    }

    /// The MAC address that a word means: a station's, `broadcast`, `zero`, or the address itself.
    ///
    /// # Errors
    /// The word is none of these.
    pub fn mac(&self, word: &str) -> Result<Mac> {
        if let Some(station) = self.stations.get(word) {
            return Ok(station.mac);
        }
        match word {
            "broadcast" => return Ok(Mac::BROADCAST),
            "zero" => return Ok(Mac::ZERO),
            _ => {}
        }
        let octets: Option<Vec<u8>> = word
            .split(':')
            .map(|octet| u8::from_str_radix(octet, 16).ok())
            .collect();
        match octets.as_deref() {
            Some(&[a, b, c, d, e, f]) => Ok(Mac::new([a, b, c, d, e, f])),
            _ => bail!("`{word}` is neither a station nor a MAC address"),
        }
    }

    /// The IPv4 address that a word means: a station's, or the address itself.
    ///
    /// # Errors
    /// The word is neither, or the station has none.
    pub fn v4(&self, word: &str) -> Result<Ipv4Addr> {
        match self.stations.get(word) {
            Some(station) => station
                .v4
                .with_context(|| format!("{word} has no IPv4 address")),
            None => word
                .parse()
                .with_context(|| format!("`{word}` is neither a station nor an IPv4 address")),
        }
    }

    /// The IPv6 address that a word means: a station's, `link-local NAME` for the one that follows
    /// from its MAC address, `solicited-node NAME` for the group that it is found in, `all-nodes`, or
    /// the address itself.
    ///
    /// # Errors
    /// The word is none of these, or the station has no address.
    pub fn v6(&self, word: &str) -> Result<Ipv6Addr> {
        if let Some(target) = word.strip_prefix("solicited-node ") {
            return Ok(solicited_node(self.v6(target)?));
        }
        if let Some(station) = word.strip_prefix("link-local ") {
            return Ok(link_local(self.mac(station)?));
        }
        match self.stations.get(word) {
            Some(station) => station
                .v6
                .with_context(|| format!("{word} has no IPv6 address")),
            None if word == "all-nodes" => Ok(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)),
            None => word
                .parse()
                .with_context(|| format!("`{word}` is neither a station nor an IPv6 address")),
        }
    }

    /// The MAC address to which a packet for this address is sent: the group's, the station's, or that
    /// of the router which the sender's routes name.
    #[must_use]
    pub fn mac_of(&self, address: IpAddr) -> Option<Mac> {
        let near = |address: IpAddr| {
            let has = |station: &&Station| match address {
                IpAddr::V4(v4) => station.v4 == Some(v4),
                IpAddr::V6(v6) => station.v6 == Some(v6),
            };
            self.near.iter().find(has).map(|station| station.mac)
        };
        let routed = || {
            let routes = self.routes.iter();
            let fitting = routes.filter(|route| route.to.contains(&address));
            let best = fitting.max_by_key(|route| route.to.prefix_len());
            best.and_then(|route| near(route.via))
        };
        group_mac(address).or_else(|| near(address)).or_else(routed)
    }
}
