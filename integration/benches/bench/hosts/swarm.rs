//! Docker's overlay driver between two engines, each on a machine of its own, that form a swarm.

use std::fs;

use anyhow::{Context as _, Result};
use integration::lab::{ENGINE_FOLDER, Engine, Namespace};

use super::pair::{Family, connect};
use crate::docker::{container, docker};
use crate::site::{SERVER, reach};

/// The namespaces of a container on each of the engines.
pub(super) struct Swarm {
    pub(super) client: Namespace,
    pub(super) server: Namespace,
    /// Where the driver has its bridge and its VXLAN device: neither the machine nor a container.
    pub(super) inside: Namespace,
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
        let client = container(alpha, "web", "10.77.0.10", &[])?;
        let server = container(beta, "db", SERVER, &[])?;
        reach(&client, SERVER);
        let inside = inside(alpha)?;
        Ok(Self {
            client,
            server,
            inside,
            _hosts: hosts,
            _engines: engines,
        })
    }
}

/// The namespace that an engine's overlay driver works in: the one of its files that has a number and a hyphen
/// before the network's id.
fn inside(engine: &Engine) -> Result<Namespace> {
    let folder = engine.path(&format!("{ENGINE_FOLDER}/exec/netns"));
    let files = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files = files.flatten().map(|file| file.path());
    let is_overlay = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.split_once('-')
            .is_some_and(|(number, _)| number.parse::<u32>().is_ok())
    };
    let file = files
        .find(is_overlay)
        .context("the overlay has no namespace")?;
    Ok(Namespace::of_file("overlay", &file))
}
