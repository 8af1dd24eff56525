//! Two hosts on an underlay, what they carry, and the agents on them.

use std::net::IpAddr;
use std::process::{Child, Stdio};

use integration::lab::{Bowline, Family, Fleet, Namespace, Snapshot, Underlay, eventually, ping};
use serde_json::Value;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_lab-bowline");
pub(crate) const HOSTS: [&str; 2] = ["alpha", "beta"];
pub(crate) const VNI: u32 = 100;
/// Whom `web` talks to: on its own host and network, and on the other ones behind a router.
pub(crate) const NEAR: &str = "10.1.0.20";
pub(crate) const FAR: &str = "10.2.0.20";
/// The first address of `noise`; it has the next one, too.
pub(crate) const NOISE: [u8; 4] = [10, 1, 0, 66];

const TOPOLOGY: &str = "version: 1
name: soak
@defaults
@hosts
networks:
  front: { subnets: [10.1.0.0/24], vni: 100 }
  back: { subnets: [10.2.0.0/24], vni: 200 }
routers:
  core: { ports: { front: 10.1.0.1, back: 10.2.0.1 } }
policies:
  server: { ingress: [{ deny: tcp/22 }, { from: 10.1.0.0/24, allow: any }] }
workloads:
  web: { host: alpha, netns: @web, ports: [{ network: front, addresses: [10.1.0.10] }] }
  cache: { host: alpha, netns: @cache, ports: [{ network: front, addresses: [10.1.0.20], groups: [server] }] }
  noise: { host: alpha, netns: @noise, ports: [{ network: front, addresses: [10.1.0.66, 10.1.0.67] }] }
  db: { host: beta, netns: @db, ports: [{ network: back, addresses: [10.2.0.20], groups: [server] }] }
";

/// What another version of the file has besides.
const MORE: &str = "  extra: { host: alpha, netns: @extra, ports: [{ network: front, addresses: [10.1.0.30], groups: [server] }] }
groups: { office: [192.0.2.128/25] }
";

/// What a second instance on the first host carries.
const OTHER: &str = "version: 1
name: other
networks: { front: 10.99.0.0/24 }
workloads:
  one: { netns: @one, ports: [{ network: front, addresses: [10.99.0.10] }] }
  two: { netns: @two, ports: [{ network: front, addresses: [10.99.0.20] }] }
";

const WORKLOADS: [&str; 7] = ["web", "cache", "noise", "db", "extra", "one", "two"];

/// The namespaces.
pub(crate) struct Site {
    pub(crate) underlay: Underlay,
}

impl Site {
    /// Nothing if the kernel has no bridges.
    pub(crate) fn new() -> Option<Self> {
        let underlay = Underlay::new(Family::V4, 1500, &HOSTS, &WORKLOADS)?;
        Some(Self { underlay })
    }

    pub(crate) fn workload(&self, name: &str) -> &Namespace {
        self.underlay.workload(name)
    }

    /// Instances on both hosts, which carry nothing yet.
    pub(crate) fn stage(&self) -> Stage<'_> {
        Stage {
            site: self,
            fleet: self.underlay.instances(PROGRAM),
            agents: Vec::new(),
            has_events: false,
        }
    }

    /// The MAC address of a workload's interface.
    pub(crate) fn mac(&self, workload: &str) -> [u8; 6] {
        let link = self.workload(workload).ip(&["-j", "link", "show", "eth0"]);
        let link: Value = serde_json::from_str(&link).expect("ip prints JSON");
        let mac = link[0]["address"].as_str().expect("an address");
        let octets = mac.split(':').map(|octet| u8::from_str_radix(octet, 16));
        let octets: Result<Vec<u8>, _> = octets.collect();
        octets
            .ok()
            .and_then(|octets| octets.try_into().ok())
            .expect("six octets")
    }
}

/// What is there to be disturbed.
pub(crate) struct Stage<'a> {
    pub(crate) site: &'a Site,
    pub(crate) fleet: Fleet<'a>,
    agents: Vec<Child>,
    /// Whether drops are reported, which is another program.
    has_events: bool,
}

impl Stage<'_> {
    /// Loads the topology on both hosts and starts the agents.
    pub(crate) fn rise(&mut self) {
        self.fleet.load(&self.topology(false));
        self.agents = HOSTS.map(|host| agent(self.fleet.on(host))).into();
        self.is_whole();
    }

    /// Ends the agents and unloads everything.
    pub(crate) fn fall(&mut self) {
        for agent in &mut self.agents {
            end(agent);
        }
        self.fleet.unload("soak");
    }

    /// The file, as it is now; or another version of it.
    pub(crate) fn topology(&self, is_changed: bool) -> String {
        let more = if is_changed { MORE } else { "" };
        let defaults = format!("defaults: {{ drop_events: {} }}", self.has_events);
        let text = TOPOLOGY.replace("@defaults", &defaults) + more;
        self.site.underlay.topology(&text)
    }

    /// The file of another instance.
    pub(crate) fn other(&self) -> String {
        self.site.underlay.topology(OTHER)
    }

    /// Loads the file on both hosts.
    pub(crate) fn load(&self) {
        self.fleet.load(&self.topology(false));
    }

    /// From now on the programs are others.
    pub(crate) fn exchange_programs(&mut self) {
        self.has_events = !self.has_events;
    }

    /// Kills an agent and starts another one.
    pub(crate) fn replace_agent(&mut self, number: usize) {
        end(&mut self.agents[number]);
        self.agents[number] = agent(self.fleet.on(HOSTS[number]));
    }

    /// Waits until everybody is reached again.
    pub(crate) fn is_whole(&self) {
        for to in [NEAR, FAR] {
            let to: IpAddr = to.parse().expect("an address");
            let web = self.site.workload("web");
            eventually("everybody is reached", || ping(web, to));
        }
    }

    /// Everything that could be left behind.
    pub(crate) fn snapshots(&self) -> Vec<Snapshot> {
        let spaces = self.site.underlay.spaces();
        let instances = self.fleet.iter();
        let take = |(_, bowline): (_, &Bowline<'_>)| Snapshot::take(&spaces, bowline.instance());
        instances.map(take).collect()
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.agents.iter_mut().for_each(end);
    }
}

fn agent(bowline: &Bowline<'_>) -> Child {
    let mut command = bowline.command(&["agent", "--interval", "0.1"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("start the agent")
}

/// Kills a process of ours. It may have ended already.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
