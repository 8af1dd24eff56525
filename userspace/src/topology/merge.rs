//! Several sources become one flat namespace. A name that two sources declare is refused: neither
//! may change what the other one said.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::document::{Defaults, Document, Network, Router, Workload};
use crate::problem::Problem;
use crate::source::Origin;

/// All sources together.
pub(super) struct Merged<'a> {
    documents: &'a [Document],
    /// Networks by name, with the defaults of the file that each is in.
    pub(super) networks: BTreeMap<&'a str, (&'a Network, &'a Defaults)>,
    /// Routers by name, with the defaults of the file that each is in.
    pub(super) routers: BTreeMap<&'a str, (&'a Router, &'a Defaults)>,
    /// Workloads by name.
    pub(super) workloads: BTreeMap<&'a str, &'a Workload>,
    /// Whether networks or routers may be missing because a part of a file could not be read.
    pub(super) incomplete: bool,
}

impl<'a> Merged<'a> {
    /// See [`rank`].
    pub(super) fn rank(&self, origin: &Origin) -> (usize, usize) {
        rank(self.documents, origin)
    }

    /// Adds the objects of one source.
    fn add(&mut self, document: &'a Document, problems: &mut Vec<Problem>) {
        let defaults = &document.defaults;
        for (name, network) in &document.networks {
            match self.networks.entry(name) {
                Entry::Occupied(first) => problems.push(twice(
                    &format!("network {name}"),
                    &network.origin,
                    &first.get().0.origin,
                )),
                Entry::Vacant(entry) => {
                    entry.insert((network, defaults));
                }
            }
        }
        for (name, router) in &document.routers {
            match self.routers.entry(name) {
                Entry::Occupied(first) => problems.push(twice(
                    &format!("router {name}"),
                    &router.origin,
                    &first.get().0.origin,
                )),
                Entry::Vacant(entry) => {
                    entry.insert((router, defaults));
                }
            }
        }
        for (name, workload) in &document.workloads {
            match self.workloads.entry(name) {
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

    /// The names of ports begin with the name of what is plugged in, and must not be mistaken.
    fn tell_routers_from_workloads(&self, problems: &mut Vec<Problem>) {
        for (name, (router, _)) in &self.routers {
            let Some(workload) = self.workloads.get(name) else {
                continue;
            };
            let router = (format!("router {name}"), &router.origin);
            let workload = (format!("workload {name}"), &workload.origin);
            let (first, again) = if self.rank(router.1) < self.rank(workload.1) {
                (router, workload)
            } else {
                (workload, router)
            };
            problems.push(
                Problem::new(format!(
                    "{} and {} have the same name",
                    across(&first.0, first.1, again.1),
                    across(&again.0, again.1, first.1)
                ))
                .at(again.1, "named again here")
                .at(first.1, "first named here")
                .help("routers and workloads are in one namespace: rename one of the two"),
            );
        }
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
        routers: BTreeMap::new(),
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
        merged.add(document, problems);
    }
    merged.tell_routers_from_workloads(problems);
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
