//! Where workloads are: from a container's name, a namespace's name or a process's number to an open
//! network namespace.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow};

use crate::docker::Docker;
use crate::kernel::netns::{Netns, NetnsId};
use crate::plan::Plan;
use crate::problem::{Problem, Problems};
use crate::topology::{Place, Topology};

/// Where the workloads of a topology are.
#[derive(Debug)]
pub struct Places {
    found: BTreeMap<String, Netns>,
    missing: BTreeMap<String, anyhow::Error>,
}

impl Places {
    /// Looks for every workload; Docker is asked only if there are containers among them.
    pub async fn resolve(topology: &Topology, host: &Netns) -> Self {
        let mut places = Self {
            found: BTreeMap::new(),
            missing: BTreeMap::new(),
        };
        let wants_docker = topology
            .workloads
            .values()
            .any(|workload| matches!(workload.place, Place::Container(_)));
        let docker = if wants_docker {
            Some(Docker::connect())
        } else {
            None
        };
        let mut owners: BTreeMap<NetnsId, &str> = BTreeMap::new();
        for (name, workload) in &topology.workloads {
            let netns = match &workload.place {
                Place::Netns(netns) => Netns::by_name(netns).map_err(Into::into),
                Place::Pid(pid) => Netns::by_pid(*pid).map_err(Into::into),
                Place::Container(container) => match &docker {
                    Some(Ok(docker)) => by_container(docker, container).await,
                    Some(Err(error)) => Err(anyhow!("{error}")),
                    None => continue,
                },
            };
            let netns = netns.and_then(|netns| own(netns, host, &owners));
            match netns {
                Ok(netns) => {
                    owners.insert(netns.id(), name);
                    places.found.insert(name.clone(), netns);
                }
                Err(error) => {
                    places.missing.insert(name.clone(), error);
                }
            }
        }
        places
    }

    /// Insists that every workload of a source is there.
    ///
    /// # Errors
    ///
    /// [`Problems`]: each workload that is not, with its place in the file.
    pub fn require(&self, topology: &Topology, source: &str) -> Result<()> {
        let problems: Vec<Problem> = topology
            .workloads
            .iter()
            .filter(|(_, workload)| workload.origin.file.name == source)
            .filter_map(|(name, workload)| {
                let error = self.missing.get(name)?;
                let message = format!("workload `{name}` cannot be plugged in: {error:#}");
                Some(Problem::new(message).at(&workload.origin, workload.place.to_string()))
            })
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Problems(problems).into())
        }
    }

    /// The workloads that are not there, and why.
    #[must_use]
    pub fn missing(&self) -> &BTreeMap<String, anyhow::Error> {
        &self.missing
    }

    /// The names of the workloads that are not there.
    #[must_use]
    pub fn absent(&self) -> BTreeSet<String> {
        self.missing.keys().cloned().collect()
    }

    /// The namespace of every planned link, by the name of the host's end.
    #[must_use]
    pub fn by_host_end(&self, plan: &Plan) -> BTreeMap<String, &Netns> {
        plan.links
            .iter()
            .filter_map(|(host_end, planned)| {
                let netns = self.found.get(&planned.name.workload)?;
                Some((host_end.clone(), netns))
            })
            .collect()
    }
}

async fn by_container(docker: &Docker, container: &str) -> Result<Netns> {
    Ok(Netns::by_pid(docker.pid(container).await?)?)
}

/// A namespace can be plugged in if it is not the host's and no other workload's.
fn own(netns: Netns, host: &Netns, owners: &BTreeMap<NetnsId, &str>) -> Result<Netns> {
    if netns.id() == host.id() {
        return Err(anyhow!("{netns} is the host's own network namespace"));
    }
    match owners.get(&netns.id()) {
        Some(owner) => Err(anyhow!(
            "{netns} is the network namespace of workload `{owner}` too"
        )),
        None => Ok(netns),
    }
}
