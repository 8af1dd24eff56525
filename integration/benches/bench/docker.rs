//! Containers of a Docker engine.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use integration::lab::{Engine, IMAGE, Namespace};

/// How long an engine may take to hear of a network that another one has.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts a container on the network `front`; returns its namespace. `options` are those of `docker run` besides.
pub(crate) fn container(
    engine: &Engine,
    name: &str,
    address: &str,
    options: &[&str],
) -> Result<Namespace> {
    let options = [&["--stop-signal", "KILL"], options].concat().join(" ");
    let run = format!(
        "run --detach --name {name} --network front --ip {address} {options} {IMAGE} sleep 86400"
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
pub(crate) fn docker(engine: &Engine, line: &str) -> Result<String> {
    let words: Vec<_> = ["docker"].into_iter().chain(line.split(' ')).collect();
    let output = engine.command(&words).output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("docker {line}: {}", error.trim().replace('\n', "; "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
