//! A third host, which is a machine with a Docker engine: a workload that has nothing to do with Docker, and a
//! container on a network of the file.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use integration::lab::{Bowline, Engine, IMAGE, Namespace, eventually, ping};

use crate::site::{PROGRAM, Site};

/// The host's name, and what bowline's driver is called there.
pub(crate) const NAME: &str = "gamma";
const DRIVER: &str = "soak";
/// The workload, and its namespace on the machine.
pub(crate) const APP: &str = "10.2.0.30";
const SPACE: &str = "app";

/// What the file has for this host.
pub(crate) const TOPOLOGY: &str = "  app: { host: gamma, netns: app, ports: [{ network: back, addresses: [10.2.0.30], groups: [server] }] }
";

/// The machine.
pub(crate) struct Machine {
    pub(crate) engine: Engine,
    pub(crate) host: Namespace,
    pub(crate) app: Namespace,
}

impl Machine {
    /// # Errors
    /// There is no engine, or it cannot run here.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let engine = Engine::start()?;
        let make = format!(
            "mkdir -p /run/netns; touch /run/netns/{SPACE}; unshare --net=/run/netns/{SPACE} true"
        );
        run(&engine, &["sh", "-c", &make]);
        let file = engine.path(&format!("/run/netns/{SPACE}"));
        let app = Namespace::of_file(SPACE, &file);
        app.ip(&["link", "set", "lo", "up"]);
        Ok(Self {
            host: engine.namespace(),
            app,
            engine,
        })
    }
}

/// What runs on it.
pub(crate) struct Guest<'a> {
    site: &'a Site,
    machine: &'a Machine,
    bowline: Bowline<'a>,
    /// They go with the machine.
    _children: Vec<Child>,
}

impl<'a> Guest<'a> {
    pub(crate) fn new(site: &'a Site, machine: &'a Machine) -> Self {
        Self {
            site,
            machine,
            bowline: Bowline::on_machine(PROGRAM, &machine.engine),
            _children: Vec::new(),
        }
    }

    pub(crate) fn load(&self, text: &str) {
        self.bowline.load(text);
    }

    /// Starts the agent, which is Docker's driver, and the container.
    pub(crate) fn rise(&mut self) {
        let engine = &self.machine.engine;
        let socket = format!("/run/docker/plugins/{DRIVER}.sock");
        let agent = ["agent", "--interval", "0.1", "--docker", &socket];
        let mut agent = self.bowline.command(&agent);
        agent.stdout(Stdio::null()).stderr(Stdio::null());
        self._children.push(agent.spawn().expect("start the agent"));
        let path = engine.path(&socket);
        eventually("the driver listens", || path.exists());
        docker(
            engine,
            &format!(
                "network create -d {DRIVER} --ipam-driver {DRIVER} --ipam-opt net=back -o net=back --subnet 10.2.0.0/24 back"
            ),
        );
        docker(
            engine,
            &format!(
                "run --detach --name box --network back --restart always --stop-signal KILL {IMAGE} sleep 86400"
            ),
        );
        self.is_whole();
    }

    /// Takes all of it out, and lets nothing be left of it.
    pub(crate) fn fall(&self) {
        let engine = &self.machine.engine;
        docker(engine, "rm --force box");
        docker(engine, "network rm back");
        self.bowline.succeed(&["unload", "soak"]);
        let links = self.machine.host.ip(&["-j", "link"]);
        assert!(!links.contains("bowline:"), "left on {NAME}: {links}");
    }

    /// Waits until the container is reached. It has another address when it has been started anew.
    pub(crate) fn is_whole(&self) {
        let engine = &self.machine.engine;
        let web = self.site.workload("web");
        let template = "{{.NetworkSettings.Networks.back.IPAddress}}";
        eventually("the container is reached", || {
            let address = docker(engine, &format!("inspect --format {template} box"));
            address.parse().is_ok_and(|address| ping(web, address))
        });
    }

    /// Ends the engine by a signal and starts it again.
    pub(crate) fn restart(&mut self, signal: &str) -> String {
        let begin = Instant::now();
        self._children.push(self.machine.engine.restart(signal));
        let engine = begin.elapsed();
        self.is_whole();
        let [engine, all] = [engine, begin.elapsed()].map(|time: Duration| time.as_millis());
        format!("{signal}; it answered after {engine} ms, its container after {all} ms")
    }
}

fn docker(engine: &Engine, line: &str) -> String {
    let words: Vec<_> = ["docker"].into_iter().chain(line.split(' ')).collect();
    run(engine, &words)
}

/// What a command on the machine prints, which must succeed.
fn run(engine: &Engine, words: &[&str]) -> String {
    let output = engine.command(words).output().expect("start a command");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
