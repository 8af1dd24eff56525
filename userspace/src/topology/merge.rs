//! Several sources become one flat namespace. A name that two sources declare is refused: neither
//! may change what the other one said.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::document::{Defaults, Document, Network, Workload};
use crate::problem::Problem;
use crate::source::Origin;

/// All sources together.
pub(super) struct Merged<'a> {
    documents: &'a [Document],
    /// Networks by name, with the defaults of the file that each is in.
    pub(super) networks: BTreeMap<&'a str, (&'a Network, &'a Defaults)>,
    /// Workloads by name.
    pub(super) workloads: BTreeMap<&'a str, &'a Workload>,
    /// Whether networks may be missing because a part of a file could not be read.
    pub(super) incomplete: bool,
}

impl Merged<'_> {
    /// See [`rank`].
    pub(super) fn rank(&self, origin: &Origin) -> (usize, usize) {
        rank(self.documents, origin)
    }
}

/// Sorts places as the user sees them: by file in the order given, then by where they are in it. Of
/// two objects in conflict, the one of higher rank is reported.
pub(super) fn rank(documents: &[Document], origin: &Origin) -> (usize, usize) {
    let is_here = |document: &Document| Arc::ptr_eq(&document.file, &origin.file);
    let file = documents.iter().position(is_here);
    (file.unwrap_or(usize::MAX), origin.offset)
}

/// Merges the sources.
pub(super) fn merge<'a>(documents: &'a [Document], problems: &mut Vec<Problem>) -> Merged<'a> {
    let mut merged = Merged {
        documents,
        networks: BTreeMap::new(),
        workloads: BTreeMap::new(),
        incomplete: documents.iter().any(|document| document.incomplete),
    };
    let mut sources: BTreeMap<&str, &Document> = BTreeMap::new();
    for document in documents {
        match sources.entry(&document.name) {
            // The name of a file that has none is empty, and that has been reported.
            Entry::Occupied(first) if !document.name.is_empty() => {
                problems.push(same_source(document, first.get()));
                // All of its objects would be reported, and for no other reason.
                continue;
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(entry) => {
                entry.insert(document);
            }
        }
        for (name, network) in &document.networks {
            match merged.networks.entry(name) {
                Entry::Occupied(first) => problems.push(twice(
                    &format!("network {name}"),
                    &network.origin,
                    &first.get().0.origin,
                )),
                Entry::Vacant(entry) => {
                    entry.insert((network, &document.defaults));
                }
            }
        }
        for (name, workload) in &document.workloads {
            match merged.workloads.entry(name) {
                Entry::Occupied(first) => problems.push(twice(
                    &format!("workload {name}"),
                    &workload.origin,
                    &first.get().origin,
                )),
                Entry::Vacant(entry) => {
                    entry.insert(workload);
                }
            }
        }
    }
    merged
}

fn twice(object: &str, again: &Origin, first: &Origin) -> Problem {
    Problem::new(format!(
        "{object} is declared by source {} and by source {}",
        first.file.title(),
        again.file.title()
    ))
    .at(again, "declared again here")
    .at(first, "first declared here")
    .help("the names of all loaded sources are in one namespace: rename one of the two")
}

fn same_source(again: &Document, first: &Document) -> Problem {
    Problem::new(format!(
        "two files are both the source {}: {} and {}",
        again.name.value, first.file.path, again.file.path
    ))
    .at(&again.name.origin, "named again here")
    .at(&first.name.origin, "first named here")
    .help("give each file a name of its own")
}

/// Names an object of the place `here` for a sentence about the place `there`: its source is told
/// where the two are in different files.
pub(super) fn across(object: &str, here: &Origin, there: &Origin) -> String {
    if here.same_file(there) {
        object.to_owned()
    } else {
        format!("{object} of source {}", here.file.title())
    }
}
