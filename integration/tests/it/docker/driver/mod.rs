//! bowline as Docker's network and IPAM driver.

mod attach;
mod declared;
mod hosts;
mod life;
mod modes;
mod names;
mod outside;
mod repair;
mod running;
mod subnet;
mod upstream;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use integration::lab::{ENGINE_FOLDER as FOLDER, IMAGE, eventually};

use super::Stage;

/// A stage with an agent, which is a driver of its own: its name is that of the instance.
struct Driver {
    stage: Stage,
    agent: Option<Child>,
    name: String,
    networks: Vec<String>,
}

impl Driver {
    /// Sets the stage for `test` and starts an agent; nothing if that is skipped.
    fn set(test: &str) -> Option<Self> {
        Some(Self::on(Stage::set(test)?))
    }

    /// The same on a machine of its own.
    fn set_apart(test: &str) -> Option<Self> {
        Some(Self::on(Stage::set_apart(test)?))
    }

    fn on(stage: Stage) -> Self {
        let name = format!("bowline-{}", stage.instance());
        let mut driver = Self {
            stage,
            agent: None,
            name,
            networks: Vec::new(),
        };
        driver.start_agent();
        driver
    }

    fn socket(&self) -> String {
        format!("/run/docker/plugins/{}.sock", self.name)
    }

    /// Starts the agent and waits until it answers.
    fn start_agent(&mut self) {
        let socket = self.socket();
        self.start_agent_at(&socket);
        let engine = self.stage.engine();
        eventually("the driver listens", || engine.path(&socket).exists());
    }

    /// Starts the agent as the driver of a socket, or of none if that is `off`.
    fn start_agent_at(&mut self, socket: &str) {
        self.agent = Some(self.agent_command(socket).spawn().unwrap());
    }

    fn agent_command(&self, socket: &str) -> Command {
        let binary = env!("CARGO_BIN_EXE_lab-bowline");
        let pid = self.pid_file();
        let run = format!(
            "echo $$ >{pid}; exec {binary} --instance {} agent --docker {socket}",
            self.stage.instance()
        );
        let log = self.log_path();
        let engine = self.stage.engine();
        let log = File::options()
            .create(true)
            .append(true)
            .open(engine.path(&log));
        let mut command = engine.command(&["sh", "-c", &run]);
        command
            .env("BOWLINE_STATE_DIR", format!("{FOLDER}/state"))
            .stdout(Stdio::null())
            .stderr(log.unwrap());
        command
    }

    fn pid_file(&self) -> String {
        format!("{FOLDER}/{}/agent.pid", self.stage.instance())
    }

    fn log_path(&self) -> String {
        format!("{FOLDER}/{}/agent.log", self.stage.instance())
    }

    /// What the agent has said so far.
    fn log(&self) -> String {
        fs::read_to_string(self.stage.engine().path(&self.log_path())).unwrap_or_default()
    }

    /// Ends the agent by a signal.
    fn stop_agent(&mut self, signal: &str) {
        let Some(mut agent) = self.agent.take() else {
            return;
        };
        let pid = fs::read_to_string(self.stage.engine().path(&self.pid_file())).unwrap();
        self.stage.host(&["kill", signal, pid.trim()]);
        let _ended = agent.wait();
    }

    /// `docker network create` with both drivers; the network's name.
    fn create(&mut self, name: &str, options: &[&str]) -> String {
        let name = format!("{}-{name}", self.stage.instance());
        let mut words = vec![
            "network",
            "create",
            "-d",
            &self.name,
            "--ipam-driver",
            &self.name,
        ];
        words.extend(options);
        words.push(&name);
        self.stage.docker(&words);
        self.networks.push(name.clone());
        name
    }

    /// `docker run` of a container that sleeps.
    fn run(&self, container: &str, network: &str, options: &[&str]) {
        self.run_anywhere(container, &[&["--network", network], options].concat());
    }

    /// The same where its options, or the engine, put it.
    fn run_anywhere(&self, container: &str, options: &[&str]) {
        self.stage.remember(container);
        let mut words = vec![
            "run",
            "--name",
            container,
            "--detach",
            "--stop-signal",
            "KILL",
        ];
        words.extend(options);
        words.extend([IMAGE, "sleep", "86400"]);
        self.stage.docker(&words);
    }

    /// What `docker inspect` says of a container, by a template.
    fn inspect(&self, container: &str, template: &str) -> String {
        let text = self.stage.docker(&["inspect", "-f", template, container]);
        text.trim().to_owned()
    }

    /// A request to the engine that must succeed.
    fn api(&self, path: &str, body: &Value) {
        let socket = self.stage.engine().path(&format!("{FOLDER}/docker.sock"));
        let mut stream = UnixStream::connect(socket).unwrap();
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 20"), "{answer}");
    }

    /// Whether a container gets an answer from an address.
    fn reaches(&self, container: &str, address: &str) -> bool {
        let words = [
            "docker", "exec", container, "ping", "-c", "1", "-W", "1", address,
        ];
        let output = self.stage.engine().command(&words).output().unwrap();
        output.status.success()
    }

    /// Asserts that a container gets no answer.
    #[track_caller]
    fn loses(&self, container: &str, address: &str) {
        assert!(
            !self.reaches(container, address),
            "{container} reaches {address}"
        );
    }

    /// The interfaces on the machine that are those of containers.
    fn links(&self) -> Vec<String> {
        let links = self.stage.host(&["ip", "-j", "link"]);
        let links: Value = serde_json::from_str(&links).unwrap();
        let own = format!("bowline:{}:", self.stage.instance());
        let links = links.as_array().unwrap().iter();
        let own = links.filter(|link| {
            link["ifalias"]
                .as_str()
                .is_some_and(|it| it.starts_with(&own))
        });
        own.map(|link| link["ifname"].to_string()).collect()
    }

    /// What became of each address that was given.
    fn leases(&self) -> Vec<String> {
        let shown = self.stage.json(&["ipam", "show", "--all"]);
        let leases = shown["addresses"].as_array().unwrap().iter();
        leases
            .map(|lease| lease["state"].as_str().unwrap().to_owned())
            .collect()
    }

    /// What a user is told who wants an address of a network that cannot be given.
    fn refusal(&self, network: &str, address: &str) -> String {
        let place = ["run", "--rm", "--network", network, "--ip", address];
        self.stage
            .docker_fails(&[&place[..], &[IMAGE, "true"]].concat())
    }

    /// The address of a container on a network.
    fn address(&self, container: &str, network: &str) -> String {
        let template = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
        self.inspect(container, &template)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the agent said:\n{}", self.log());
        }
        // What a test has left over is in nobody's way, but the agent has to be there for it to go.
        if self.agent.is_none() {
            self.start_agent();
        }
        let containers = self.stage.containers();
        let mut words = vec!["docker", "rm", "--force"];
        words.extend(containers.iter().map(String::as_str));
        let _ = self.stage.engine().command(&words).output();
        for network in &self.networks {
            let words = ["docker", "network", "rm", network];
            let _ = self.stage.engine().command(&words).output();
        }
        self.stop_agent("-TERM");
    }
}
