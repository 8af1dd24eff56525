//! Documents to a topology. Every rule is checked, whatever the others found, and all problems are
//! reported together in the order of the files.

use super::direct::{self, Parts};
use super::identity::PortIds;
use super::merge::{merge, rank};
use super::station::Stations;
use super::tunnel::Tunnels;
use super::{
    Topology, carried, connections, gateway, hosts, nat, network, place, plug, policy, port,
    router, vtep,
};
use crate::document::{Document, Draft};
use crate::problem::Problem;
use crate::program::Settings;

/// Compiles the documents of all sources into one topology.
///
/// # Errors
///
/// Everything that is inconsistent in the documents or between them.
pub fn compile(documents: &[Document]) -> Result<Topology, Vec<Problem>> {
    let mut problems = Vec::new();
    let topology = check(documents, &mut problems);
    finish(topology, problems, documents)
}

/// The same from drafts: what is wrong with the form of one part of a file does not hide what is
/// inconsistent in another.
///
/// # Errors
///
/// Everything that is wrong with the form of the files, and everything that is inconsistent in the
/// parts that could be read.
pub fn compile_drafts(drafts: impl IntoIterator<Item = Draft>) -> Result<Topology, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut documents = Vec::new();
    for draft in drafts {
        problems.extend(draft.problems);
        documents.push(draft.document);
    }
    let topology = check(&documents, &mut problems);
    finish(topology, problems, &documents)
}

/// Checks every rule. The result is only consistent if no problem was added.
fn check(documents: &[Document], problems: &mut Vec<Problem>) -> Topology {
    let documents = &*plug::plugged(documents, problems);
    let merged = merge(documents, problems);
    for document in documents {
        let object = "the file's defaults";
        super::mtu::check_shared(document.defaults.mtu.as_ref(), object, problems);
    }
    let mut networks = network::resolve(&merged, problems);
    let workloads = place::resolve(&merged, problems);
    let mut ids = PortIds::new();
    let mut ports = port::resolve(&merged, &networks, &mut ids, problems);
    let mut sites = router::resolve_ports(&merged, &mut networks, &mut ids, problems);
    let mut all = std::mem::take(&mut ports.stations);
    all.append(&mut sites.stations);
    let tunnels = Tunnels::resolve(&merged, problems);
    let peers = hosts::ids(&merged, &mut ids);
    let hosts = hosts::resolve(&merged, &peers, problems);
    let mut warnings = Vec::new();
    let mut vteps = vtep::resolve(&merged, &tunnels, &peers, problems, &mut warnings);
    all.append(&mut vteps.stations);
    let stations = Stations::resolve(all, &merged, &networks, problems);
    let mut routers = router::resolve(&merged, sites, &stations, problems, &mut warnings);
    gateway::resolve(&merged, &routers, &mut ports, problems);
    let both = (&mut routers, &mut ids);
    nat::resolve(&merged, &stations, both, problems, &mut warnings);
    let kinds = tunnels.kinds(merged.hosts.len());
    let kinds = kinds.chain(vteps.resolved.values().map(|vtep| vtep.tunnel));
    let kinds = kinds.collect();
    nat::resolve_publications(&merged, &routers, &mut ports, &kinds, problems);
    let rules = policy::resolve(&merged, &ports, problems, &mut warnings);
    let parts = Parts {
        hosts: merged.hosts.keys().copied().collect(),
        networks: &networks,
        workloads: &workloads,
        ports: &ports.resolved,
        vteps: &vteps.resolved,
    };
    direct::check(&parts, &tunnels, problems);
    carried::check(&merged, &parts, &routers, &tunnels, problems, &mut warnings);
    warnings.sort_by_key(|warning| warning.origin().map(|origin| merged.rank(origin)));
    let mut switches = documents
        .iter()
        .filter_map(|document| document.defaults.drop_events.as_ref());
    let settings = Settings {
        drop_events: switches.any(|switch| switch.value),
        timeouts: connections::timeouts(&merged, problems),
        room: connections::room(&merged, problems),
    };
    Topology {
        networks,
        routers,
        workloads,
        ports: ports.resolved,
        hosts,
        vteps: vteps.resolved,
        groups: rules.groups,
        chains: rules.chains,
        policies: rules.policies,
        tunnels,
        settings,
        warnings,
    }
}

fn finish(
    topology: Topology,
    mut problems: Vec<Problem>,
    documents: &[Document],
) -> Result<Topology, Vec<Problem>> {
    if problems.is_empty() {
        return Ok(topology);
    }
    problems.sort_by_key(|problem| problem.origin().map(|origin| rank(documents, origin)));
    Err(problems)
}
