//! Docker's overlay driver between two engines, each on a machine of its own, that form a swarm.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use integration::lab::{Engine, IMAGE, Namespace};

use super::pair::{Family, connect, reach};
use crate::site::SERVER;

/// How long a worker may take to hear of a network that the manager has.
const PATIENCE: Duration = Duration::from_secs(20);

/// The namespaces of a container on each of the engines.
pub(super) struct Swarm {
    pub(super) client: Namespace,
    pub(super) server: Namespace,
    _hosts: [Namespace; 2],
    _engines: [Engine; 2],
}

impl Swarm {
    /// Joins two containers.
    ///
    /// # Errors
    /// Docker is not there, or cannot do that here.
    pub(super) fn new() -> Result<Self> {
        let engines = [Engine::start()?, Engine::start()?];
        let hosts = engines.each_ref().map(Engine::namespace);
        connect(&hosts, Family::V4);
        let [alpha, beta] = &engines;
        docker(alpha, "swarm init --advertise-addr 192.0.2.11")?;
        let token = docker(alpha, "swarm join-token -q worker")?;
        docker(
            beta,
            &format!("swarm join --advertise-addr 192.0.2.12 --token {token} 192.0.2.11:2377"),
        )?;
        // An internal network has no second interface for the way to the outside.
        docker(
            alpha,
            "network create -d overlay --attachable --internal --subnet 10.77.0.0/24 front",
        )?;
        let client = container(alpha, "web", "10.77.0.10")?;
        let server = container(beta, "db", SERVER)?;
        reach(&client);
        Ok(Self {
            client,
            server,
            _hosts: hosts,
            _engines: engines,
        })
    }
}

/// Starts a container; returns its namespace.
fn container(engine: &Engine, name: &str, address: &str) -> Result<Namespace> {
    let run = format!(
        "run --detach --name {name} --network front --ip {address} --stop-signal KILL {IMAGE} \
         sleep 86400"
    );
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = docker(engine, &run) {
        if Instant::now() > deadline {
            return Err(error);
        }
        docker(engine, &format!("rm --force {name}"))?;
        thread::sleep(Duration::from_millis(500));
    }
    let pid = docker(
        engine,
        &format!("inspect --format {{{{.State.Pid}}}} {name}"),
    )?;
    Ok(engine.namespace_of(pid.parse().context("a process id")?))
}

/// What `docker` prints on an engine's machine.
fn docker(engine: &Engine, line: &str) -> Result<String> {
    let words: Vec<_> = ["docker"].into_iter().chain(line.split(' ')).collect();
    let output = engine.command(&words).output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("docker {line}: {}", error.trim().replace('\n', "; "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
