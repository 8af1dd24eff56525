//! `bowline show`: what is loaded, and how the kernel holds it.

mod peers;
mod policies;
mod routing;
mod underlay;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use maps_schema::PortId;
use maps_schema::map::LearnedEntry;
use serde::Serialize;

use super::Global;
use super::output::{self, DIM, Format, RESET};
use crate::host::{Host, Outlook};
use crate::kernel::clock;
use crate::kernel::datapath::Datapath;
use crate::ledger::Ledger;
use crate::topology::{Mss, Port, PortName, UnknownUnicast};

/// Show what is loaded and how the kernel holds it
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sudo bowline show\n  sudo bowline show ports -o json\n  \
    sudo bowline show routes core"
)]
pub(super) struct Show {
    /// Only this part
    #[arg(value_enum, value_name = "PART")]
    part: Option<Part>,
    /// Which of the topology's hosts this one is, as for `load`
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// With `routers` and `routes`: only those of this router
    #[arg(value_name = "ROUTER", requires = "part")]
    router: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Part {
    /// The files that are loaded
    Sources,
    /// The machines, and the uplink of this one
    Hosts,
    /// The other hosts and tunnel endpoints: what came from there, and whether they are alive
    Peers,
    /// The virtual networks
    Networks,
    /// Where workloads plug in
    Ports,
    /// Where virtual routers plug in
    Routers,
    /// The routes of virtual routers
    Routes,
    /// Whom virtual routers can reach directly, declared or asked for
    Neighbors,
    /// The rules of policies and chains, and how often each decided
    Policies,
    /// MAC addresses that were learned
    Learned,
}

#[derive(Serialize, Default)]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    sources: Option<Vec<Source>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hosts: Option<Vec<underlay::HostState>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<peers::AgentState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peers: Option<Vec<peers::PeerRow>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    networks: Option<Vec<Network>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<Vec<PortState>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routers: Option<Vec<routing::RouterState>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<Vec<routing::RouteState>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    neighbors: Option<Vec<routing::NeighborState>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policies: Option<Vec<policies::RuleState>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    learned: Option<Vec<Learned>>,
}

#[derive(Serialize)]
struct Source {
    name: String,
    path: String,
    loaded_unix: u64,
}

#[derive(Serialize)]
struct Network {
    name: String,
    vni: u32,
    subnets: Vec<String>,
    mtu: u32,
    mss: &'static str,
    unknown_unicast: &'static str,
    ports: usize,
    origin: String,
}

#[derive(Serialize)]
struct PortState {
    name: String,
    network: String,
    mac: String,
    addresses: Vec<String>,
    host: Option<String>,
    host_interface: Option<String>,
    state: &'static str,
    reason: Option<String>,
    origin: String,
}

#[derive(Serialize)]
struct Learned {
    network: String,
    mac: String,
    port: String,
    age_ms: u64,
}

impl Show {
    pub(super) async fn run(self, global: &Global) -> Result<ExitCode> {
        let router = self.router.as_deref();
        if router.is_some() && !matches!(self.part, Some(Part::Routers | Part::Routes)) {
            bail!("only `routers` and `routes` are those of one router");
        }
        let instance = global.instance()?;
        let host = Host::new(&instance)?.called(self.host);
        let outlook = host.look(None).await?;
        output::entitle(&instance);
        let wants = |part| self.part.is_none_or(|wanted| wanted == part);
        let mut shown = Shown::default();
        if wants(Part::Sources) {
            shown.sources = Some(sources(&Ledger::new(&instance))?);
        }
        if wants(Part::Hosts) {
            let datapath = Datapath::open(&instance)?;
            shown.hosts = Some(underlay::hosts(&outlook, datapath.as_ref()));
        }
        if self.part == Some(Part::Peers) {
            let datapath = Datapath::open(&instance)?;
            let agent = peers::agent(&instance);
            shown.peers = Some(peers::peers(&outlook, datapath.as_ref(), &agent)?);
            shown.agent = Some(agent);
        }
        if wants(Part::Networks) {
            shown.networks = Some(networks(&outlook));
        }
        if wants(Part::Ports) {
            shown.ports = Some(ports(&outlook));
        }
        if wants(Part::Routers) {
            shown.routers = Some(routing::routers(&outlook, router)?);
        }
        // There may be a million routes: they are shown when they are asked for.
        if self.part == Some(Part::Routes) {
            shown.routes = Some(routing::routes(&outlook.topology, router)?);
        }
        if self.part == Some(Part::Neighbors) {
            let datapath = Datapath::open(&instance)?;
            shown.neighbors = Some(routing::neighbors(&outlook, datapath.as_ref())?);
        }
        // There may be thousands of rules.
        if self.part == Some(Part::Policies) {
            let datapath = Datapath::open(&instance)?;
            shown.policies = Some(policies::policies(&outlook, datapath.as_ref())?);
        }
        if wants(Part::Learned) {
            let datapath = Datapath::open(&instance)?;
            shown.learned = Some(datapath.map_or(Ok(Vec::new()), |it| learned(&it, &outlook))?);
        }
        match global.output {
            Format::Table => print(&shown, self.part)?,
            format => output::print_value(format, &shown)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn sources(ledger: &Ledger) -> Result<Vec<Source>> {
    let seconds = |time: std::time::SystemTime| {
        time.duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    };
    Ok(ledger
        .sources()?
        .into_iter()
        .map(|(name, source)| Source {
            name,
            path: source.path,
            loaded_unix: seconds(source.loaded),
        })
        .collect())
}

fn networks(outlook: &Outlook) -> Vec<Network> {
    let topology = &outlook.topology;
    topology
        .declared_networks()
        .map(|(name, network)| Network {
            name: name.clone(),
            vni: network.vni.number(),
            subnets: network.subnets.iter().map(ToString::to_string).collect(),
            mtu: network.mtu.bytes(outlook.plan.carried),
            mss: match network.mss {
                Mss::Keep => "keep",
                Mss::Clamp => "clamp",
            },
            unknown_unicast: match network.unknown_unicast {
                UnknownUnicast::Drop => "drop",
                UnknownUnicast::Flood => "flood",
            },
            ports: topology
                .ports
                .values()
                .filter(|port| port.network == *name)
                .count(),
            origin: network.origin.to_string(),
        })
        .collect()
}

fn ports(outlook: &Outlook) -> Vec<PortState> {
    outlook
        .topology
        .ports
        .iter()
        .map(|(name, port)| port_state(name, port, outlook))
        .collect()
}

fn port_state(name: &PortName, port: &Port, outlook: &Outlook) -> PortState {
    let planned = outlook.plan.link_of(port.id);
    let host_end = planned.map(|planned| planned.link.name.clone());
    let is_there = host_end.as_ref().is_some_and(|host_end| {
        !outlook.diff.links.contains_key(host_end) && !outlook.diff.attach.contains(host_end)
    });
    let missing = outlook.places.missing().get(&name.workload);
    let host = outlook.host_of(&name.workload);
    let (state, reason) = match missing {
        _ if host != outlook.situation.host.as_deref() => ("remote", None),
        Some(reason) if planned.is_some() => ("unknown", Some(format!("{reason:#}"))),
        Some(reason) => ("unplugged", Some(format!("{reason:#}"))),
        None if is_there => ("up", None),
        None if planned.is_none() => (
            "unplugged",
            Some("its container is not running, or Docker has not said so yet".to_owned()),
        ),
        None => (
            "stale",
            Some("the kernel holds it differently: run `bowline load`".to_owned()),
        ),
    };
    PortState {
        name: name.to_string(),
        network: port.network.clone(),
        mac: port.mac.to_string(),
        addresses: port.addresses.iter().map(ToString::to_string).collect(),
        host: host.map(str::to_owned),
        host_interface: host_end.filter(|_| is_there),
        state,
        reason,
        origin: port.origin.to_string(),
    }
}

fn learned(datapath: &Datapath, outlook: &Outlook) -> Result<Vec<Learned>> {
    let names = &outlook.plan.names;
    let now_ns = clock::coarse_ns();
    let age = |entry: &LearnedEntry| now_ns.saturating_sub(entry.seen_ns);
    let ageing: BTreeMap<_, _> = outlook
        .topology
        .networks
        .values()
        .map(|network| (network.vni, network.ageing.as_nanos()))
        .collect();
    let is_fresh = |vni, entry: &LearnedEntry| {
        ageing
            .get(&vni)
            .is_some_and(|&ageing| u128::from(age(entry)) < ageing)
    };
    let port = |id: PortId| names.port(id);
    Ok(datapath
        .learned()?
        .iter()
        .filter(|(key, entry)| is_fresh(key.vni, entry))
        .map(|(key, entry)| Learned {
            network: names.network(key.vni),
            mac: key.mac.to_string(),
            port: port(entry.port),
            age_ms: age(entry) / 1_000_000,
        })
        .collect())
}

fn print(shown: &Shown, part: Option<Part>) -> Result<()> {
    let mut first = true;
    let mut section = |header: &[&str], rows: &[Vec<String>]| -> Result<()> {
        if !std::mem::take(&mut first) {
            output::print_line("")?;
        }
        output::print_table(header, rows)
    };
    if let Some(sources) = &shown.sources {
        let rows: Vec<_> = sources
            .iter()
            .map(|it| vec![it.name.clone(), it.path.clone()])
            .collect();
        section(&["SOURCE", "FILE"], &rows)?;
    }
    // A file for one host need not speak of hosts.
    let hosts = shown.hosts.as_ref();
    if let Some(hosts) = hosts.filter(|it| part == Some(Part::Hosts) || !it.is_empty()) {
        section(underlay::HOSTS, &underlay::host_rows(hosts))?;
    }
    if let Some(peers) = &shown.peers {
        section(peers::PEERS, &peers::peer_rows(peers))?;
        let agent = shown.agent.as_ref();
        for remark in agent.map_or(Vec::new(), |agent| peers::remarks(agent, peers)) {
            output::print_line(format!("{DIM}{remark}{RESET}"))?;
        }
    }
    if let Some(networks) = &shown.networks {
        let rows: Vec<_> = networks.iter().map(network_row).collect();
        section(
            &[
                "NETWORK", "VNI", "SUBNETS", "MTU", "MSS", "PORTS", "DECLARED",
            ],
            &rows,
        )?;
    }
    if let Some(rules) = &shown.policies {
        section(policies::POLICIES, &policies::policy_rows(rules))?;
    }
    if let Some(ports) = &shown.ports {
        let rows: Vec<_> = ports.iter().map(port_row).collect();
        section(
            &["PORT", "NETWORK", "ADDRESSES", "MAC", "INTERFACE", "STATE"],
            &rows,
        )?;
        for port in ports {
            if let Some(reason) = &port.reason {
                output::print_line(format!("{DIM}{}: {reason}{RESET}", port.name))?;
            }
        }
    }
    // Who asks for routers sees the header, at least.
    let is_asked = part == Some(Part::Routers);
    let routers = shown.routers.as_ref();
    if let Some(routers) = routers.filter(|routers| is_asked || !routers.is_empty()) {
        section(routing::ROUTERS, &routing::router_rows(routers))?;
    }
    if let Some(routes) = &shown.routes {
        section(routing::ROUTES, &routing::route_rows(routes))?;
    }
    if let Some(neighbors) = &shown.neighbors {
        section(routing::NEIGHBORS, &routing::neighbor_rows(neighbors))?;
    }
    if let Some(learned) = shown.learned.as_ref().filter(|learned| !learned.is_empty()) {
        let rows: Vec<_> = learned
            .iter()
            .map(|it| {
                let age = format!("{}.{} s", it.age_ms / 1000, it.age_ms % 1000 / 100);
                vec![it.network.clone(), it.mac.clone(), it.port.clone(), age]
            })
            .collect();
        section(&["NETWORK", "LEARNED MAC", "PORT", "AGE"], &rows)?;
    }
    Ok(())
}

fn network_row(network: &Network) -> Vec<String> {
    vec![
        network.name.clone(),
        network.vni.to_string(),
        network.subnets.join(" "),
        network.mtu.to_string(),
        network.mss.to_owned(),
        network.ports.to_string(),
        network.origin.clone(),
    ]
}

fn port_row(port: &PortState) -> Vec<String> {
    vec![
        port.name.clone(),
        port.network.clone(),
        port.addresses.join(" "),
        port.mac.clone(),
        port.host_interface
            .clone()
            .unwrap_or_else(|| "-".to_owned()),
        match (port.state, &port.host) {
            ("remote", Some(host)) => format!("on {host}"),
            (state, _) => state.to_owned(),
        },
    ]
}
