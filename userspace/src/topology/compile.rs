//! Documents to a topology. Every rule is checked, whatever the others found, and all problems are
//! reported together in the order of the files.

use super::merge::{merge, rank};
use super::{Topology, network, place, port};
use crate::document::{Document, Draft};
use crate::problem::Problem;

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
    let merged = merge(documents, problems);
    for document in documents {
        let object = "the file's defaults";
        super::mtu::check(document.defaults.mtu.as_ref(), object, problems);
    }
    let networks = network::resolve(&merged, problems);
    let workloads = place::resolve(&merged, problems);
    let ports = port::resolve(&merged, &networks, problems);
    let mut switches = documents
        .iter()
        .filter_map(|document| document.defaults.drop_events.as_ref());
    Topology {
        networks,
        workloads,
        ports,
        drop_events: switches.any(|switch| switch.value),
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
