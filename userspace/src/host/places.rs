//! Where workloads are: from a container's name, a namespace's name or a process's number to an open
//! network namespace.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow};
use tokio::task::spawn_blocking;

use crate::docker::{Docker, DockerError};
use crate::holdings::Observed;
use crate::instance::Instance;
use crate::kernel::netns::{Netns, NetnsError, NetnsId};
use crate::plan::Plan;
use crate::problem::{Problem, Problems};
use crate::topology::{Place, PortName, Topology, Workload};

/// Where the workloads of this host are.
#[derive(Debug)]
pub struct Places {
    found: BTreeMap<String, Netns>,
    missing: BTreeMap<String, anyhow::Error>,
    /// Those among the missing of which nobody could say whether they are there.
    unknown: BTreeSet<String>,
    /// The processes of the containers among those that are found.
    pids: BTreeMap<String, u32>,
    /// Those that Docker plugs in.
    plugged: BTreeSet<String>,
}

impl Places {
    /// Looks for every workload of this host, whose name in the topology is `name` and whose namespace
    /// is `host`. Docker is asked only if there are containers among them, and `may_ask` at all: while it
    /// waits for an answer of ours, it has none for us. Of containers nothing is known then.
    pub async fn resolve(
        topology: &Topology,
        name: Option<&str>,
        host: &Netns,
        may_ask: bool,
    ) -> Self {
        let here: Vec<(&String, &Workload)> = topology
            .workloads
            .iter()
            .filter(|(_, workload)| workload.host.is_none() || workload.host.as_deref() == name)
            .collect();
        let mut places = Self {
            found: BTreeMap::new(),
            missing: BTreeMap::new(),
            unknown: BTreeSet::new(),
            pids: BTreeMap::new(),
            plugged: BTreeSet::new(),
        };
        let wants_docker = here
            .iter()
            .any(|(_, workload)| matches!(workload.place, Place::Container(_)));
        let docker = if wants_docker && may_ask {
            // Connecting waits for the engine, which may be waiting for the agent.
            spawn_blocking(Docker::connect).await.ok()
        } else {
            None
        };
        let mut owners: BTreeMap<NetnsId, &str> = BTreeMap::new();
        for (name, workload) in here {
            let netns = match &workload.place {
                Place::Netns(netns) => Netns::by_name(netns).map_err(Into::into),
                Place::Pid(pid) => Netns::by_pid(*pid).map_err(Into::into),
                Place::Container(container) => match &docker {
                    Some(Ok(docker)) => match docker.pid(container).await {
                        Ok(pid) => {
                            places.pids.insert(name.clone(), pid);
                            Netns::by_pid(pid).map_err(Into::into)
                        }
                        Err(error) => Err(error.into()),
                    },
                    Some(Err(error)) => Err(anyhow!("{error}")),
                    None => Err(anyhow!("the Docker engine was not asked")),
                },
                Place::Host => {
                    match host.try_clone() {
                        Ok(host) => places.found.insert(name.clone(), host).map(drop),
                        Err(error) => places.missing.insert(name.clone(), error.into()).map(drop),
                    };
                    continue;
                }
                // Nobody has to know: Docker brings the interface there.
                Place::Endpoint(_) => {
                    places.plugged.insert(name.clone());
                    continue;
                }
            };
            if netns.as_ref().is_err_and(|error| !says_absent(error)) {
                places.unknown.insert(name.clone());
            }
            match netns.and_then(|netns| own(netns, host, &owners)) {
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
                Some(Problem::new(message).at(&workload.place_origin, workload.place.to_string()))
            })
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Problems(problems).into())
        }
    }

    /// The process of a container.
    #[must_use]
    pub fn pid(&self, workload: &str) -> Option<u32> {
        self.pids.get(workload).copied()
    }

    /// The workloads that are not there, and why.
    #[must_use]
    pub fn missing(&self) -> &BTreeMap<String, anyhow::Error> {
        &self.missing
    }

    /// The workloads to be left out of the plan, given the links that are `held`. A workload whose
    /// links are all there while nobody can say where it is itself (Docker is being restarted, and
    /// its containers run on) is not left out: it keeps what it has. One that Docker plugs in is left
    /// out until its link is there.
    #[must_use]
    pub fn absent(
        &self,
        topology: &Topology,
        instance: &Instance,
        held: &BTreeMap<String, Observed>,
    ) -> BTreeSet<String> {
        let held: BTreeSet<PortName> = held
            .values()
            .filter_map(|link| port_of(instance, link))
            .collect();
        let is_plugged_in = |workload: &str| {
            let mut ports = topology.ports.keys();
            ports.all(|port| port.workload != workload || held.contains(port))
        };
        let missing = self.missing.keys();
        let missing = missing.filter(|&name| !(self.unknown.contains(name) && is_plugged_in(name)));
        let plugged = self.plugged.iter();
        missing
            .chain(plugged.filter(|name| !is_plugged_in(name)))
            .cloned()
            .collect()
    }

    /// The namespace of every link that is planned or `held`, by the name of the host's end.
    #[must_use]
    pub fn by_host_end(
        &self,
        instance: &Instance,
        plan: &Plan,
        held: &BTreeMap<String, Observed>,
    ) -> BTreeMap<String, &Netns> {
        let held = held
            .iter()
            .filter_map(|(end, link)| Some((end, port_of(instance, link)?.workload)));
        let planned = plan
            .links
            .iter()
            .map(|(end, planned)| (end, planned.name.workload.clone()));
        held.chain(planned)
            .filter_map(|(end, workload)| Some((end.clone(), self.found.get(&workload)?)))
            .collect()
    }
}

/// The port that a link belongs to, as the link says.
fn port_of(instance: &Instance, link: &Observed) -> Option<PortName> {
    instance.port_of_alias(link.alias.as_deref()?)
}

/// Whether an error says that the workload is not there, and not just that nobody could tell.
fn says_absent(error: &anyhow::Error) -> bool {
    let docker = error.downcast_ref().is_some_and(|error| {
        matches!(
            error,
            DockerError::NoSuchContainer { .. }
                | DockerError::NotRunning { .. }
                | DockerError::HostNetwork(_)
        )
    });
    let netns = error.downcast_ref().is_some_and(|error| {
        matches!(
            error,
            NetnsError::NoSuchName { .. }
                | NetnsError::NoSuchProcess(_)
                | NetnsError::NotANamespace(_)
        )
    });
    docker || netns
}

/// A namespace can be plugged in if it is not the host's and no other workload's.
fn own(netns: Netns, host: &Netns, owners: &BTreeMap<NetnsId, &str>) -> Result<Netns> {
    if netns.id() == host.id() {
        return Err(anyhow!(
            "{netns} is the host's own network namespace: write `host_network: true` to plug in the host \
             itself, which whoever shares its namespace can use"
        ));
    }
    match owners.get(&netns.id()) {
        Some(owner) => Err(anyhow!(
            "its network namespace is that of workload `{owner}`, too: declare one workload with \
             the ports of both"
        )),
        None => Ok(netns),
    }
}
