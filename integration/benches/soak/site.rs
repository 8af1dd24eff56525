//! Two hosts on an underlay, what they carry, and the agents on them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::net::IpAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use integration::lab::{Family, Fleet, Namespace, Snapshot, Underlay, eventually, ping};
use rustix::process::{Pid, Signal, kill_process};

use crate::machine::{self, Guest, Machine};

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

/// Where floods are to be small, the table of connections is, too: it is to be full.
const SMALL_TABLE: &str = ", connections: { established: 2048 }";

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

/// Those of them that are always plugged in where an agent runs, and where it answers them inside.
const CARRIED: [&str; 4] = ["web", "cache", "noise", "db"];
const RESOLVER: &str = "169.254.0.53";
/// How long an agent that is new may take to make everything as it was. On a processor that is emulated one look
/// takes some seconds.
const SETTLING: Duration = Duration::from_secs(20);
const SETTLING_LIGHT: Duration = Duration::from_secs(60);

/// The namespaces.
pub(crate) struct Site {
    pub(crate) underlay: Underlay,
    /// The host with Docker's engine, if there can be one.
    pub(crate) machine: Option<Machine>,
}

/// Somebody whom `web` talks to.
pub(crate) struct Partner<'a> {
    pub(crate) space: &'a Namespace,
    pub(crate) address: IpAddr,
    /// Whether it is on another host.
    pub(crate) is_far: bool,
}

impl Site {
    /// Nothing if the kernel has no bridges.
    pub(crate) fn new() -> Option<Self> {
        let mut underlay = Underlay::new(Family::V4, 1500, &HOSTS, &WORKLOADS)?;
        let machine = Machine::new()
            .inspect_err(|error| println!("Docker is not restarted: {error:#}"))
            .ok();
        if let Some(machine) = &machine {
            underlay.join(machine::NAME, &machine.host);
        }
        Some(Self { underlay, machine })
    }

    pub(crate) fn partners(&self) -> Vec<Partner<'_>> {
        let known = [("cache", NEAR, false), ("db", FAR, true)];
        let known = known.map(|(name, address, is_far)| (self.workload(name), address, is_far));
        let app = self.machine.iter().map(|it| (&it.app, machine::APP, true));
        let all = known.into_iter().chain(app);
        all.map(|(space, address, is_far)| Partner {
            space,
            address: address.parse().expect("an address"),
            is_far,
        })
        .collect()
    }

    pub(crate) fn workload(&self, name: &str) -> &Namespace {
        self.underlay.workload(name)
    }

    /// Instances on both hosts, which carry nothing yet.
    pub(crate) fn stage(&self, is_light: bool) -> Stage<'_> {
        let machine = self.machine.as_ref();
        Stage {
            site: self,
            is_light,
            fleet: self.underlay.instances(PROGRAM),
            guest: machine.map(|machine| Guest::new(self, machine)),
            agents: Vec::new(),
            has_events: false,
        }
    }

    /// The MAC address of a workload's interface.
    pub(crate) fn mac(&self, workload: &str) -> [u8; 6] {
        self.workload(workload).mac("eth0")
    }
}

/// What is there to be disturbed.
pub(crate) struct Stage<'a> {
    pub(crate) site: &'a Site,
    /// Whether floods are small.
    pub(crate) is_light: bool,
    pub(crate) fleet: Fleet<'a>,
    /// What runs on the host with Docker's engine.
    pub(crate) guest: Option<Guest<'a>>,
    agents: Vec<Child>,
    /// Whether drops are reported, which is another program.
    has_events: bool,
}

impl Stage<'_> {
    /// Loads the topology on both hosts and starts the agents.
    pub(crate) fn rise(&mut self) {
        self.load();
        self.agents = HOSTS.map(|host| self.agent(host)).into();
        if let Some(guest) = &mut self.guest {
            guest.rise();
        }
        for name in CARRIED {
            let space = self.site.workload(name);
            eventually("the agent answers inside", || {
                space.ip(&["address"]).contains(RESOLVER)
            });
        }
        self.is_whole();
    }

    /// Ends the agents and unloads everything.
    pub(crate) fn fall(&mut self) {
        for agent in &mut self.agents {
            stop(agent);
        }
        self.fleet.unload("soak");
        if let Some(guest) = &self.guest {
            guest.fall();
        }
    }

    /// The file, as it is now; or another version of it.
    pub(crate) fn topology(&self, is_changed: bool) -> String {
        let more = if is_changed { MORE } else { "" };
        let sizes = if self.is_light { SMALL_TABLE } else { "" };
        let defaults = format!("defaults: {{ drop_events: {}{sizes} }}", self.has_events);
        let guests = match &self.guest {
            Some(_) => machine::TOPOLOGY,
            None => "",
        };
        let text = TOPOLOGY.replace("@defaults", &defaults) + guests + more;
        self.site.underlay.topology(&text)
    }

    /// The file of another instance.
    pub(crate) fn other(&self) -> String {
        self.site.underlay.topology(OTHER)
    }

    /// Loads the file on all hosts.
    pub(crate) fn load(&self) {
        self.load_text(&self.topology(false));
    }

    /// Loads another version of it.
    pub(crate) fn load_changed(&self) {
        self.load_text(&self.topology(true));
    }

    fn load_text(&self, text: &str) {
        self.fleet.load(text);
        if let Some(guest) = &self.guest {
            guest.load(text);
        }
    }

    /// From now on the programs are others.
    pub(crate) fn exchange_programs(&mut self) {
        self.has_events = !self.has_events;
    }

    /// Kills an agent and starts another one.
    pub(crate) fn replace_agent(&mut self, number: usize) {
        end(&mut self.agents[number]);
        self.agents[number] = self.agent(HOSTS[number]);
    }

    fn agent(&self, host: &str) -> Child {
        // An emulated processor would do little else.
        let interval = if self.is_light { "1" } else { "0.1" };
        let bowline = self.fleet.on(host);
        let mut command = bowline.command(&["agent", "--interval", interval]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("start the agent")
    }

    /// Waits until everybody is reached again.
    pub(crate) fn is_whole(&self) {
        let web = self.site.workload("web");
        for partner in self.site.partners() {
            eventually("everybody is reached", || ping(web, partner.address));
        }
        if let Some(guest) = &self.guest {
            guest.is_whole();
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        // All of them are the soak's, whose folder this is.
        let spaces = fs::read_dir("/run/netns").expect("the folder of namespaces");
        let spaces = spaces.flatten().map(|entry| entry.file_name());
        Shape {
            parts: self.snapshots().iter().map(Snapshot::shape).collect(),
            spaces: spaces.collect(),
        }
    }

    /// Everything that could be left behind.
    pub(crate) fn snapshots(&self) -> Vec<Snapshot> {
        let spaces = self.site.underlay.spaces();
        let instances = self.fleet.iter().map(|(_, bowline)| bowline.instance());
        // The first one is asked for the namespaces, which all of them share.
        let spaces = std::iter::once(&spaces[..]).chain(std::iter::repeat(&[][..]));
        let parts = instances.zip(spaces);
        parts
            .map(|(instance, spaces)| Snapshot::take(spaces, instance))
            .collect()
    }
}

/// What there is while it runs: links, addresses, routes, queues, filters, pins and namespaces.
pub(crate) struct Shape {
    parts: Vec<Snapshot>,
    spaces: BTreeSet<OsString>,
}

impl Shape {
    fn is_same(&self, other: &Self) -> bool {
        self.spaces == other.spaces && self.parts == other.parts
    }

    fn assert_same(&self, after: &Self) {
        assert_eq!(self.spaces, after.spaces, "namespaces have come or gone");
        let pairs = self.parts.iter().zip(&after.parts);
        pairs.for_each(|(before, after)| before.assert_same(after));
    }
}

impl Stage<'_> {
    /// Checks that everything is as it was, or becomes so again.
    pub(crate) fn assert_shape(&self, before: &Shape) {
        let limit = if self.is_light {
            SETTLING_LIGHT
        } else {
            SETTLING
        };
        let begin = Instant::now();
        let mut after = self.shape();
        while !before.is_same(&after) && begin.elapsed() < limit {
            after = self.shape();
        }
        before.assert_same(&after);
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.agents.iter_mut().for_each(end);
    }
}

/// Ends an agent as a user does: it takes what it has in workloads' namespaces away.
fn stop(agent: &mut Child) {
    kill_process(Pid::from_child(agent), Signal::TERM).expect("the agent has ended by itself");
    let ended = agent.wait().expect("wait for the agent");
    assert!(ended.success(), "the agent: {ended}");
}

/// Kills a process of ours. It may have ended already.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
