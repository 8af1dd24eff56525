//! What one test acts on: its containers on the shared engine, and a bowline instance of its own.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::OnceLock;

use serde_json::Value;

use integration::lab::{ENGINE_FOLDER as FOLDER, Engine, IMAGE, is_usable, skip};

/// The one engine of this run. Without one, the running test is counted as skipped. The end of the
/// tests ends it.
fn engine() -> Option<&'static Engine> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    if !is_usable() {
        return None;
    }
    let engine = ENGINE.get_or_init(|| Engine::start().map_err(|error| format!("{error:#}")));
    engine
        .as_ref()
        .inspect_err(|reason| skip(&format!("no Docker engine can run here: {reason}")))
        .ok()
}

/// The stage of one test.
pub(super) struct Stage {
    engine: &'static Engine,
    instance: String,
    containers: RefCell<Vec<String>>,
}

/// What a bowline command came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Stage {
    /// Sets the stage for `test`; nothing if that is skipped.
    pub(super) fn set(test: &str) -> Option<Self> {
        Some(Self::on(engine()?, test))
    }

    /// The same on a machine of its own, which goes with the tests.
    pub(super) fn set_apart(test: &str) -> Option<Self> {
        engine()?;
        let engine = Engine::start().unwrap_or_else(|error| panic!("{error:#}"));
        Some(Self::on(Box::leak(Box::new(engine)), test))
    }

    fn on(engine: &'static Engine, test: &str) -> Self {
        let instance = format!("docker-{}", test.replace('_', "-"));
        fs::create_dir(engine.path(&folder(&instance))).unwrap();
        Self {
            engine,
            instance,
            containers: RefCell::default(),
        }
    }

    /// The name of the instance.
    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    /// The engine's machine.
    pub(super) fn engine(&self) -> &'static Engine {
        self.engine
    }

    /// The containers that are to be removed in the end.
    pub(super) fn containers(&self) -> Vec<String> {
        self.containers.borrow().clone()
    }

    /// Remembers a container that is to be removed in the end.
    pub(super) fn remember(&self, container: &str) {
        self.containers.borrow_mut().push(container.to_owned());
    }

    /// A docker command that must fail; what it said.
    pub(super) fn docker_fails(&self, arguments: &[&str]) -> String {
        let mut words = vec!["docker"];
        words.extend(arguments);
        let output = self.engine.command(&words).output().unwrap();
        assert!(!output.status.success(), "{words:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Starts a container that sleeps, without a network.
    pub(super) fn start(&self, name: &str) {
        self.start_with(name, "none");
    }

    /// The same in a network mode.
    pub(super) fn start_with(&self, name: &str, network: &str) {
        self.containers.borrow_mut().push(name.to_owned());
        // A first process is not ended by signals that it does not expect, so TERM would be waited
        // for in vain.
        let options = ["--detach", "--stop-signal", "KILL", "--network", network];
        let mut words = vec!["run", "--name", name];
        words.extend(options);
        words.extend([IMAGE, "sleep", "86400"]);
        self.docker(&words);
    }

    /// A docker command that must succeed; its output.
    pub(super) fn docker(&self, arguments: &[&str]) -> String {
        let mut words = vec!["docker"];
        words.extend(arguments);
        self.host(&words)
    }

    /// A command in a container that must succeed; its output.
    pub(super) fn exec(&self, container: &str, line: &str) -> String {
        self.docker(&["exec", container, "sh", "-c", line])
    }

    /// A command on the machine that must succeed; its output.
    pub(super) fn host(&self, words: &[&str]) -> String {
        let output = self.engine.command(words).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Writes a file for bowline to read, and returns its path.
    pub(super) fn file(&self, name: &str, text: &str) -> String {
        let path = format!("{}/{name}", folder(&self.instance));
        fs::write(self.engine.path(&path), text).unwrap();
        path
    }

    /// Runs bowline as a user of the machine does.
    pub(super) fn bowline(&self, arguments: &[&str]) -> Outcome {
        self.bowline_with(&[], arguments)
    }

    /// The same with more in the environment.
    pub(super) fn bowline_with(&self, env: &[(&str, &str)], arguments: &[&str]) -> Outcome {
        let binary = env!("CARGO_BIN_EXE_lab-bowline");
        let mut words = vec![binary, "--instance", &self.instance];
        words.extend(arguments);
        let mut command = self.engine.command(&words);
        command.env("BOWLINE_STATE_DIR", format!("{FOLDER}/state"));
        let Output {
            status,
            stdout,
            stderr,
        } = command.envs(env.iter().copied()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Outcome {
            code: status.code(),
            stdout: text(stdout),
            stderr: text(stderr),
        }
    }

    /// `bowline load` that must succeed without a warning; what it printed.
    pub(super) fn load(&self, arguments: &[&str]) -> String {
        let mut words = vec!["load"];
        words.extend(arguments);
        let loaded = self.bowline(&words).succeeded();
        assert_eq!(loaded.stderr, "");
        loaded.stdout
    }

    /// What `bowline show` says of a port.
    pub(super) fn port(&self, name: &str) -> Value {
        let shown = self.json(&["show", "ports"]);
        find(&shown["ports"], "name", name)
    }

    /// What `bowline stats` says of a port.
    pub(super) fn counters(&self, port: &str) -> Value {
        find(&self.json(&["stats"])["ports"], "port", port)
    }

    /// The result of a bowline command that must succeed, as JSON.
    pub(super) fn json(&self, arguments: &[&str]) -> Value {
        let mut words = arguments.to_vec();
        words.extend(["--output", "json"]);
        serde_json::from_str(&self.bowline(&words).succeeded().stdout).unwrap()
    }

    /// The index of an interface of the host, which tells whether it is the one it was.
    pub(super) fn index_of(&self, interface: &str) -> u64 {
        let text = self.host(&["ip", "-j", "link", "show", "dev", interface]);
        let links: Value = serde_json::from_str(&text).unwrap();
        links[0]["ifindex"].as_u64().unwrap()
    }

    /// Asserts that a container reaches an address at once, without losing a packet.
    #[track_caller]
    pub(super) fn ping(&self, container: &str, address: &str) {
        let output = self.exec(container, &format!("ping -c 3 -i 0.1 -W 2 {address}"));
        assert!(output.contains("3 packets received"), "{output}");
    }

    /// Everything that this instance has left on the machine: links, pins and state files. Whether
    /// a link has a carrier does not count: the kernel finds that out a moment later.
    pub(super) fn traces(&self) -> String {
        let links = self.host(&["ip", "-j", "link"]);
        let links: Value = serde_json::from_str(&links).unwrap();
        let alias = format!("bowline:{}:", self.instance);
        let is_ours = |link: &&Value| {
            let found = link["ifalias"].as_str();
            found.is_some_and(|found| found.starts_with(&alias))
        };
        let mut traces = String::new();
        for link in links.as_array().unwrap().iter().filter(is_ours) {
            for key in ["ifalias", "ifname", "ifindex", "address", "mtu"] {
                write!(traces, "{key} {} ", link[key]).unwrap();
            }
            traces.push('\n');
        }
        for folder in ["/sys/fs/bpf/bowline".to_owned(), format!("{FOLDER}/state")] {
            let folder = self.engine.path(&folder);
            list(&folder.join(&self.instance), &folder, &mut traces);
        }
        traces
    }
}

impl Drop for Stage {
    /// The next test should not have to look at the containers of this one.
    fn drop(&mut self) {
        let containers = self.containers.borrow();
        let mut words = vec!["docker", "rm", "--force"];
        words.extend(containers.iter().map(String::as_str));
        let _ = self.engine.command(&words).output();
    }
}

impl Outcome {
    /// The outcome, which must be a success.
    #[track_caller]
    pub(super) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that the command failed and that its message holds each of the parts, wherever lines
    /// were broken.
    #[track_caller]
    pub(super) fn failed_saying(&self, parts: &[&str]) {
        assert_eq!(self.code, Some(1), "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "");
        self.said(parts);
    }

    /// Asserts that what the command wrote to stderr holds each of the parts.
    #[track_caller]
    pub(super) fn said(&self, parts: &[&str]) {
        let frame = ['│', '╭', '╰', '─', '×'];
        let text = self.stderr.replace(frame, " ");
        let text: Vec<&str> = text.split_whitespace().collect();
        let text = text.join(" ");
        for part in parts {
            assert!(text.contains(part), "`{part}` is not in:\n{}", self.stderr);
        }
    }
}

fn folder(instance: &str) -> String {
    format!("{FOLDER}/{instance}")
}

/// The entry of a list with this value under the key.
#[track_caller]
fn find(list: &Value, key: &str, value: &str) -> Value {
    let found = list.as_array().unwrap().iter().find(|it| it[key] == value);
    found
        .unwrap_or_else(|| panic!("no {value} in {list}"))
        .clone()
}

/// The files below a folder by their paths from `root`, with what is in them as far as it is text.
fn list(folder: &Path, root: &Path, text: &mut String) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        writeln!(text, "{}", path.strip_prefix(root).unwrap().display()).unwrap();
        if path.is_dir() {
            list(&path, root, text);
        } else if path.extension().is_some() {
            // A pin has no text, and what is in the lock is who held it last.
            writeln!(text, "{}", fs::read_to_string(&path).unwrap_or_default()).unwrap();
        }
    }
}
