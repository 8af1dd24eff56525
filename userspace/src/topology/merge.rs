//! Several sources become one flat namespace. A name that two sources declare is refused: neither
//! may change what the other one said.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::hosts;
use crate::document::{
    Defaults, Document, Group, Host, Located, Network, Policy, Router, Rule, Vtep, Workload,
};
use crate::problem::Problem;
use crate::source::Origin;

/// The hosts of no file.
static NO_HOSTS: BTreeMap<String, Host> = BTreeMap::new();

/// All sources together.
pub(super) struct Merged<'a> {
    pub(super) documents: &'a [Document],
    /// Hosts by name, each as the first source says it; the others say the same.
    pub(super) hosts: BTreeMap<&'a str, &'a Host>,
    /// Ordinary VTEPs by name, with the defaults of the file that each is in.
    pub(super) vteps: BTreeMap<&'a str, (&'a Vtep, &'a Defaults)>,
    /// Networks by name, with the defaults of the file that each is in.
    pub(super) networks: BTreeMap<&'a str, (&'a Network, &'a Defaults)>,
    /// Routers by name, with the defaults of the file that each is in.
    pub(super) routers: BTreeMap<&'a str, (&'a Router, &'a Defaults)>,
    /// Workloads by name.
    pub(super) workloads: BTreeMap<&'a str, &'a Workload>,
    /// Security groups that are declared, by name.
    pub(super) groups: BTreeMap<&'a str, &'a Group>,
    /// Lists of rules that others jump to, by name.
    pub(super) chains: BTreeMap<&'a str, &'a Located<Vec<Rule>>>,
    /// Policies by name.
    pub(super) policies: BTreeMap<&'a str, &'a Policy>,
    /// Whether objects that others refer to may be missing because a part of a file could not be
    /// read.
    pub(super) incomplete: bool,
}

impl<'a> Merged<'a> {
    /// See [`rank`].
    pub(super) fn rank(&self, origin: &Origin) -> (usize, usize) {
        rank(self.documents, origin)
    }

    /// Whether ports may be missing, or groups that ports carry, for the same reason.
    pub(super) fn incomplete_ports(&self) -> bool {
        let mut documents = self.documents.iter();
        documents.any(|document| document.incomplete_ports)
    }

    /// The hosts of the file in which an object is.
    pub(super) fn hosts_beside(&self, origin: &Origin) -> &'a BTreeMap<String, Host> {
        let mut documents = self.documents.iter();
        let own = documents.find(|document| Arc::ptr_eq(&document.file, &origin.file));
        own.map_or(&NO_HOSTS, |document| &document.hosts)
    }

    /// The host that a workload is on: the one that it names, or else the only one of its file.
    pub(super) fn host_of(&self, workload: &str) -> Option<&'a str> {
        let workload = self.workloads.get(workload)?;
        if let Some(given) = &workload.host {
            return Some(given);
        }
        let beside = self.hosts_beside(&workload.origin);
        let (only, _) = beside.first_key_value().filter(|_| beside.len() == 1)?;
        Some(only)
    }

    /// Adds the objects of one source.
    fn add(&mut self, document: &'a Document, problems: &mut Vec<Problem>) {
        let defaults = &document.defaults;
        for (name, host) in &document.hosts {
            match self.hosts.entry(name) {
                Entry::Occupied(first) => problems.extend(hosts::differ(name, first.get(), host)),
                Entry::Vacant(entry) => {
                    entry.insert(host);
                }
            }
        }
        for (name, vtep) in &document.vteps {
            let object = (vtep, defaults);
            declare(
                &mut self.vteps,
                ("vtep", name),
                object,
                |it| &it.0.origin,
                problems,
            );
        }
        for (name, network) in &document.networks {
            let object = (network, defaults);
            declare(
                &mut self.networks,
                ("network", name),
                object,
                |it| &it.0.origin,
                problems,
            );
        }
        for (name, router) in &document.routers {
            let object = (router, defaults);
            declare(
                &mut self.routers,
                ("router", name),
                object,
                |it| &it.0.origin,
                problems,
            );
        }
        for (name, workload) in &document.workloads {
            declare(
                &mut self.workloads,
                ("workload", name),
                workload,
                |it| &it.origin,
                problems,
            );
        }
        for (name, group) in &document.groups {
            declare(
                &mut self.groups,
                ("group", name),
                group,
                |it| &it.origin,
                problems,
            );
        }
        for (name, chain) in &document.chains {
            declare(
                &mut self.chains,
                ("chain", name),
                chain,
                |it| &it.origin,
                problems,
            );
        }
        for (name, policy) in &document.policies {
            declare(
                &mut self.policies,
                ("policy", name),
                policy,
                |it| &it.origin,
                problems,
            );
        }
    }

    /// The names of ports begin with the name of what is plugged in, and must not be mistaken; nor
    /// must what tunnels lead to.
    fn tell_names_apart(&self, problems: &mut Vec<Problem>) {
        for (name, (router, _)) in &self.routers {
            if let Some(workload) = self.workloads.get(name) {
                let router = (format!("router {name}"), &router.origin);
                let workload = (format!("workload {name}"), &workload.origin);
                problems.push(self.same_name(router, workload, "routers and workloads"));
            }
        }
        for (name, (vtep, _)) in &self.vteps {
            if let Some(host) = self.hosts.get(name) {
                let vtep = (format!("vtep {name}"), &vtep.origin);
                let host = (format!("host {name}"), &host.origin);
                problems.push(self.same_name(vtep, host, "hosts and vteps"));
            }
        }
    }

    fn same_name(&self, one: (String, &Origin), other: (String, &Origin), kinds: &str) -> Problem {
        let (first, again) = if self.rank(one.1) < self.rank(other.1) {
            (one, other)
        } else {
            (other, one)
        };
        Problem::new(format!(
            "{} and {} have the same name",
            across(&first.0, first.1, again.1),
            across(&again.0, again.1, first.1)
        ))
        .at(again.1, "named again here")
        .at(first.1, "first named here")
        .help(format!(
            "{kinds} are in one namespace: rename one of the two"
        ))
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
        hosts: BTreeMap::new(),
        vteps: BTreeMap::new(),
        networks: BTreeMap::new(),
        routers: BTreeMap::new(),
        workloads: BTreeMap::new(),
        groups: BTreeMap::new(),
        chains: BTreeMap::new(),
        policies: BTreeMap::new(),
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
    merged.tell_names_apart(problems);
    merged
}

/// Adds an object, unless another source declares it too.
fn declare<'a, T: Copy>(
    objects: &mut BTreeMap<&'a str, T>,
    (kind, name): (&str, &'a str),
    object: T,
    origin: impl Fn(T) -> &'a Origin,
    problems: &mut Vec<Problem>,
) {
    match objects.entry(name) {
        Entry::Occupied(first) => {
            let first = origin(*first.get());
            problems.push(twice(&format!("{kind} {name}"), origin(object), first));
        }
        Entry::Vacant(entry) => {
            entry.insert(object);
        }
    }
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
