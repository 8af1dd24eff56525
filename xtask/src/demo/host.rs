//! The hosts of the lab: namespaces, each with what belongs to one of bowline's hosts.

use super::lab;
use std::path::{Path, PathBuf};

/// A host. Everything about it has a fixed name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// The namespace that stands for it, the bowline instance there, and the folder of both.
    pub(super) name: &'static str,
    /// What is before the `$` of its command lines.
    pub(super) prompt: &'static str,
    /// What runs on it: containers of these names, or namespaces where Docker cannot run.
    pub(super) workloads: &'static [&'static str],
}

/// The host of a lab that has no other.
pub(super) const LONE: Host = Host {
    name: "bowline-demo",
    prompt: "",
    workloads: &["web", "db"],
};
/// The hosts of a lab of two, as `examples/two-hosts.yaml` has them.
pub(super) const ALPHA: Host = Host {
    name: "demo-alpha",
    prompt: "alpha",
    workloads: &["web"],
};
pub(super) const BETA: Host = Host {
    name: "demo-beta",
    prompt: "beta",
    workloads: &["db", "cache"],
};

/// All that a lab may have.
pub(super) const ALL: [&Host; 3] = [&LONE, &ALPHA, &BETA];

impl Host {
    /// A file or folder of its own.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    pub(super) fn folder(&self) -> PathBuf {
        Path::new(lab::FOLDER).join(self.name)
    }

    /// What DOCKER_HOST says there.
    pub(super) fn engine(&self) -> String {
        format!("unix://{}", self.path("docker.sock").display())
    }
}

/// The namespace that stands for a workload where Docker cannot run.
pub(super) fn stand_in(workload: &str) -> String {
    format!("demo-{workload}")
}
