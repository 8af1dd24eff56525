//! The way to the outside and the way in, against the kernel's own routing with nftables.

use anyhow::Result;
use integration::lab::{Bowline, Engine, Namespace, veth};

use crate::docker::{container, docker};
use crate::lane::{Lane, Metric, measure};
use crate::report::Report;
use crate::site::{ip, reach};

/// A station in the world, the host's own address, and the workload's.
pub(crate) const WORLD: &str = "198.51.100.1";
const HOST: &str = "192.0.2.2";
const WORKLOAD: &str = "10.1.0.10";

/// As `masquerade` and `publish` of [`TOPOLOGY`].
const NFTABLES: &str = "\
table ip nat {
chain out {
type nat hook postrouting priority 100
oifname \"eth0\" masquerade
}
chain in {
type nat hook prerouting priority -100
iifname \"eth0\" tcp dport 7000-7003 dnat to 10.1.0.10
iifname \"eth0\" udp dport 7000-7003 dnat to 10.1.0.10
}
}
";

pub(crate) const TOPOLOGY: &str = r#"
version: 1
name: bench
networks:
  front: [10.1.0.0/24]
routers:
  core:
    ports: { front: 10.1.0.1 }
    uplink: true
    nat: [{ masquerade: true }]
workloads:
  web:
    netns: @web
    ports: [{ network: front, addresses: [10.1.0.10], publish: ["7000-7003:7000-7003", "7000-7003:7000-7003/udp"] }]
"#;

pub(crate) fn run(report: &mut Report) {
    report.begin(
        "nat",
        "A workload and a station that its host reaches by a veth pair and a route. \"out\": the workload calls, and \
         its address is masqueraded. \"in\": the station calls a published port. The kernel's routing is measured \
         with nothing else in its way, with two chains of nftables that translate, and with the rules of iptables that \
         Docker makes for a container with published ports. The aim is twice the small \
         frames of those.",
    );
    let [routed, translated, own] = std::array::from_fn(|_| Edge::new());
    routed.kernel(None);
    translated.kernel(Some(NFTABLES));
    let _bowline = own.bowline();
    let engine = Edge::docker()
        .inspect_err(|error| report.note(&format!("Docker was not measured: {error:#}")))
        .ok();
    let mut ways = vec![
        (&translated, "kernel, nftables", HOST),
        (&own, "bowline", HOST),
        (&routed, "kernel, not translated", WORKLOAD),
    ];
    if let Some((edge, _)) = &engine {
        ways.insert(1, (edge, "Docker bridge", HOST));
    }
    let out: Vec<_> = ways
        .iter()
        .map(|(edge, name, _)| edge.outwards(name))
        .collect();
    measure(report, "out", &out, Metric::ALL);
    let back = ways.iter().map(|(edge, name, to)| edge.inwards(name, to));
    measure(report, "in", &back.collect::<Vec<_>>(), Metric::ALL);
}

/// A host with a workload, and a world that it has an uplink to.
pub(crate) struct Edge {
    pub(crate) host: Namespace,
    pub(crate) workload: Namespace,
    world: Namespace,
}

impl Edge {
    pub(crate) fn new() -> Self {
        let [host, workload] = ["host", "web"].map(Namespace::new);
        let world = world(&host);
        Self {
            host,
            workload,
            world,
        }
    }

    /// One where the workload is a container with published ports on a network of Docker's own bridge driver.
    ///
    /// # Errors
    /// Docker is not there, or cannot do that here.
    fn docker() -> Result<(Self, Engine)> {
        let engine = Engine::start_with_rules()?;
        let host = engine.namespace();
        let world = world(&host);
        docker(&engine, "network create --subnet 10.1.0.0/24 front")?;
        let ports = "--publish 7000-7003:7000-7003/tcp --publish 7000-7003:7000-7003/udp";
        let workload = container(&engine, "web", WORKLOAD, &[ports])?;
        reach(&workload, WORLD);
        let edge = Self {
            host,
            workload,
            world,
        };
        Ok((edge, engine))
    }

    fn kernel(&self, rules: Option<&str>) {
        let Self {
            host,
            workload,
            world,
        } = self;
        veth((host, "port0"), (workload, "eth0"));
        ip(host, "address add 10.1.0.1/24 dev port0");
        ip(workload, "address add 10.1.0.10/24 dev eth0");
        ip(workload, "route add default via 10.1.0.1");
        host.sysctl("net/ipv4/ip_forward", "1");
        match rules {
            Some(rules) => host.nft(rules),
            None => ip(world, "route add 10.1.0.0/24 via 192.0.2.2"),
        }
        reach(workload, WORLD);
    }

    pub(crate) fn bowline(&self) -> Bowline<'_> {
        let bowline = Bowline::new(env!("CARGO_BIN_EXE_lab-bowline"), &self.host);
        bowline.load(&TOPOLOGY.replace("@web", self.workload.name()));
        reach(&self.workload, WORLD);
        bowline
    }

    pub(crate) fn outwards(&self, name: &'static str) -> Lane<'_> {
        Lane::new(name, &self.workload, &self.host, &self.world, WORLD)
    }

    pub(crate) fn published(&self, name: &'static str) -> Lane<'_> {
        self.inwards(name, HOST)
    }

    fn inwards(&self, name: &'static str, target: &str) -> Lane<'_> {
        Lane {
            own: WORKLOAD.parse().expect("an address"),
            ..Lane::new(name, &self.world, &self.host, &self.workload, target)
        }
    }
}

/// The world that a host has its uplink to.
fn world(host: &Namespace) -> Namespace {
    let world = Namespace::new("world");
    veth((host, "eth0"), (&world, "eth0"));
    ip(host, "address add 192.0.2.2/24 dev eth0");
    ip(&world, "address add 192.0.2.1/24 dev eth0");
    ip(&world, "address add 198.51.100.1 dev lo");
    ip(host, "route add default via 192.0.2.1");
    world
}
