//! The parts of `bowline show` that are about virtual routers.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use maps_schema::PortId;
use maps_schema::map::{NeighborKey, Resolved};
use serde::Serialize;

use crate::counted::times;
use crate::host::Outlook;
use crate::kernel::clock;
use crate::kernel::datapath::Datapath;
use crate::similar::Similar;
use crate::topology::{self, NextHop, RouteTarget, Router, Topology};

#[derive(Serialize)]
pub(super) struct RouterState {
    name: String,
    ports: Vec<RouterPort>,
    routes: usize,
    origin: String,
}

#[derive(Serialize)]
struct RouterPort {
    name: String,
    network: String,
    addresses: Vec<String>,
    mac: String,
    mtu: u32,
    origin: String,
}

#[derive(Serialize)]
pub(super) struct RouteState {
    router: String,
    to: String,
    /// `forward`, `blackhole` or `reject`.
    action: &'static str,
    next_hops: Vec<Hop>,
    metric: u32,
    origin: String,
}

#[derive(Serialize)]
struct Hop {
    port: String,
    /// Nothing if the destination itself is behind the port.
    via: Option<String>,
}

#[derive(Serialize)]
pub(super) struct NeighborState {
    network: String,
    address: String,
    mac: Option<String>,
    port: Option<String>,
    /// `declared`, `answered` or `asked`.
    state: &'static str,
    /// How long ago it answered, or was asked last.
    age_ms: Option<u64>,
    /// How often it was asked since it answered last.
    questions: u32,
}

/// All routers, or the one of this name.
fn chosen<'a>(
    topology: &'a Topology,
    name: Option<&str>,
) -> Result<impl Iterator<Item = (&'a String, &'a Router)>> {
    if let Some(name) = name
        && !topology.routers.contains_key(name)
    {
        let names: Vec<String> = topology.routers.keys().cloned().collect();
        if names.is_empty() {
            bail!("there is no router `{name}`: no router is loaded");
        }
        let similar = Similar::new(name, names);
        bail!("there is no router `{name}`: {similar}");
    }
    let name = name.map(ToOwned::to_owned);
    let routers = topology.routers.iter();
    Ok(routers.filter(move |(router, _)| name.as_ref().is_none_or(|name| name == *router)))
}

pub(super) fn routers(outlook: &Outlook, name: Option<&str>) -> Result<Vec<RouterState>> {
    let topology = &outlook.topology;
    let mtu = |port: &topology::RouterPort| {
        let network = topology.networks.get(&port.network);
        let network = network.map_or(port.mtu, |network| network.mtu);
        port.mtu.within(network, outlook.plan.carried)
    };
    let state = |(name, router): (&String, &Router)| RouterState {
        name: name.clone(),
        ports: router
            .ports
            .iter()
            .map(|(port_name, port)| RouterPort {
                name: format!("{name}/{port_name}"),
                network: port.network.clone(),
                addresses: port.addresses.iter().map(ToString::to_string).collect(),
                mac: port.mac.to_string(),
                mtu: mtu(port),
                origin: port.origin.to_string(),
            })
            .collect(),
        routes: router.routes.len(),
        origin: router.origin.to_string(),
    };
    Ok(chosen(topology, name)?.map(state).collect())
}

pub(super) fn routes(topology: &Topology, name: Option<&str>) -> Result<Vec<RouteState>> {
    let mut states = Vec::new();
    for (name, router) in chosen(topology, name)? {
        for route in &router.routes {
            let (action, hops): (_, &[NextHop]) = match &route.target {
                RouteTarget::Forward(hops) => ("forward", hops),
                RouteTarget::Uplink => ("uplink", &[]),
                RouteTarget::Blackhole => ("blackhole", &[]),
                RouteTarget::Reject => ("reject", &[]),
            };
            let hop = |hop: &NextHop| Hop {
                port: format!("{name}/{}", hop.port),
                via: hop.via.map(|via| via.to_string()),
            };
            states.push(RouteState {
                router: name.clone(),
                to: route.to.to_string(),
                action,
                next_hops: hops.iter().map(hop).collect(),
                metric: route.metric,
                origin: route.origin.to_string(),
            });
        }
    }
    Ok(states)
}

/// What is declared in the networks of routers, and what routers asked for.
pub(super) fn neighbors(
    outlook: &Outlook,
    datapath: Option<&Datapath>,
) -> Result<Vec<NeighborState>> {
    let mut states = declared(&outlook.topology);
    if let Some(datapath) = datapath {
        states.extend(asked(&datapath.resolved()?, outlook, clock::coarse_ns()));
    }
    states.sort_by(|a, b| (&a.network, a.order()).cmp(&(&b.network, b.order())));
    Ok(states)
}

impl NeighborState {
    /// Addresses by number, and IPv4 first.
    fn order(&self) -> Option<std::net::IpAddr> {
        self.address.parse().ok()
    }
}

fn declared(topology: &Topology) -> Vec<NeighborState> {
    let state = |network: &String, address: String, mac: String, port: String| NeighborState {
        network: network.clone(),
        address,
        mac: Some(mac),
        port: Some(port),
        state: "declared",
        age_ms: None,
        questions: 0,
    };
    let ports = topology
        .ports
        .iter()
        .map(|(name, port)| (name.to_string(), &port.network, port.mac, &port.addresses));
    let routers = topology.routers.iter().flat_map(|(router, it)| {
        let ports = it.ports.iter();
        ports.map(move |(name, port)| {
            (
                format!("{router}/{name}"),
                &port.network,
                port.mac,
                &port.addresses,
            )
        })
    });
    let of_port =
        |(name, network, mac, addresses): (String, _, maps_schema::Mac, &Vec<ipnet::IpNet>)| {
            let addresses = addresses.iter().map(|address| address.addr().to_string());
            let states = addresses.map(|it| state(network, it, mac.to_string(), name.clone()));
            states.collect::<Vec<_>>()
        };
    ports.chain(routers).flat_map(of_port).collect()
}

fn asked(
    resolved: &BTreeMap<NeighborKey, Resolved>,
    outlook: &Outlook,
    now_ns: u64,
) -> Vec<NeighborState> {
    let names = &outlook.plan.names;
    let state = |(key, row): (&NeighborKey, &Resolved)| {
        let has_answered = row.port != PortId::NONE;
        let age = Duration::from_nanos(now_ns.saturating_sub(row.time_ns));
        NeighborState {
            network: names.network(key.vni),
            address: key.ip.to_string(),
            mac: has_answered.then(|| row.mac.to_string()),
            port: has_answered.then(|| names.port(row.port)),
            state: if has_answered { "answered" } else { "asked" },
            age_ms: Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            questions: row.questions,
        }
    };
    resolved.iter().map(state).collect()
}

pub(super) const ROUTERS: &[&str] = &[
    "ROUTER PORT",
    "NETWORK",
    "ADDRESSES",
    "MAC",
    "MTU",
    "DECLARED",
];

pub(super) fn router_rows(routers: &[RouterState]) -> Vec<Vec<String>> {
    let row = |port: &RouterPort| {
        vec![
            port.name.clone(),
            port.network.clone(),
            port.addresses.join(" "),
            port.mac.clone(),
            port.mtu.to_string(),
            port.origin.clone(),
        ]
    };
    let ports = routers.iter().flat_map(|router| &router.ports);
    ports.map(row).collect()
}

pub(super) const ROUTES: &[&str] = &["ROUTER", "TO", "NEXT HOP", "METRIC", "DECLARED"];

pub(super) fn route_rows(routes: &[RouteState]) -> Vec<Vec<String>> {
    let hop = |hop: &Hop| match &hop.via {
        Some(via) => format!("{via} at {}", hop.port),
        None => hop.port.clone(),
    };
    let row = |route: &RouteState| {
        let hops: Vec<String> = route.next_hops.iter().map(hop).collect();
        vec![
            route.router.clone(),
            route.to.clone(),
            if hops.is_empty() {
                route.action.to_owned()
            } else {
                hops.join(", ")
            },
            route.metric.to_string(),
            route.origin.clone(),
        ]
    };
    routes.iter().map(row).collect()
}

pub(super) const NEIGHBORS: &[&str] = &["NETWORK", "ADDRESS", "MAC", "PORT", "STATE"];

pub(super) fn neighbor_rows(neighbors: &[NeighborState]) -> Vec<Vec<String>> {
    let row = |it: &NeighborState| {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            it.network.clone(),
            it.address.clone(),
            or_none(&it.mac),
            or_none(&it.port),
            it.in_words(),
        ]
    };
    neighbors.iter().map(row).collect()
}

impl NeighborState {
    fn in_words(&self) -> String {
        match (self.state, self.age_ms) {
            ("answered", Some(age)) => format!("answered {} s ago", age / 1000),
            ("asked", _) => format!("asked {}", times(self.questions)),
            (state, _) => state.to_owned(),
        }
    }
}
