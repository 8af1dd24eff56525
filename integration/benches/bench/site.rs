//! Two namespaces on one host, joined in the ways that are compared.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use integration::lab::{Bowline, Namespace, eventually, ping, veth};

use crate::lane::Lane;

/// The address of the server.
pub(crate) const SERVER: &str = "10.77.0.20";

/// A port that no rules open.
const CLOSED: u16 = 9;

pub(crate) const TOPOLOGY: &str = r#"
version: 1
name: bench
networks:
  front: [10.77.0.0/24, "fd00:77::/64"]
workloads:
  web: { netns: @web, ports: [{ network: front, addresses: [10.77.0.10, "fd00:77::10"] }] }
  db: { netns: @db, ports: [{ network: front, addresses: [10.77.0.20, "fd00:77::20"] }] }
"#;

/// Three namespaces: a host, and two workloads that are joined.
pub(crate) struct Site {
    pub(crate) host: Namespace,
    pub(crate) client: Namespace,
    pub(crate) server: Namespace,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self {
            host: Namespace::new("host"),
            client: Namespace::new("web"),
            server: Namespace::new("db"),
        }
    }

    /// The way from the one workload to the other.
    pub(crate) fn lane(&self, name: &'static str) -> Lane<'_> {
        Lane::new(name, &self.client, &self.host, &self.server, SERVER)
    }

    /// The same where a veth pair joins them.
    pub(crate) fn cable(&self, name: &'static str) -> Lane<'_> {
        Lane::new(name, &self.client, &self.server, &self.server, SERVER)
    }

    /// Joins the two by a topology, in which they are `@web` and `@db`.
    pub(crate) fn bowline(&self, topology: &str) -> Bowline<'_> {
        let bowline = Bowline::new(env!("CARGO_BIN_EXE_lab-bowline"), &self.host);
        let text = topology
            .replace("@web", self.client.name())
            .replace("@db", self.server.name());
        bowline.load(&text);
        reach(&self.client, SERVER);
        bowline
    }

    /// Joins the two by a veth pair, which nothing can be faster than.
    pub(crate) fn veth(&self) {
        veth((&self.client, "eth0"), (&self.server, "eth0"));
        self.address();
    }

    /// Joins the two by a Linux bridge; with rules of nftables, by way of these.
    pub(crate) fn bridge(&self, rules: Option<&str>) {
        let (host, client, server) = (&self.host, &self.client, &self.server);
        bridge_rules_apply(host, rules.is_some());
        ip(host, "link add br0 type bridge");
        ip(host, "link set br0 up");
        for (end, space) in [("left", client), ("right", server)] {
            veth((host, end), (space, "eth0"));
            host.ip(&["link", "set", end, "master", "br0"]);
        }
        if let Some(rules) = rules {
            host.nft(rules);
        }
        self.address();
        if rules.is_some() {
            self.assert_guarded();
        }
    }

    /// Who measures rules makes sure that they are asked: without them the server itself refuses, at once.
    fn assert_guarded(&self) {
        let closed = SocketAddr::new(SERVER.parse().expect("an address"), CLOSED);
        let wait = Duration::from_millis(200);
        let call = || TcpStream::connect_timeout(&closed, wait).map(drop);
        let called = self.client.run(call).map_err(|error| error.kind());
        assert_eq!(called, Err(ErrorKind::TimedOut), "a call that rules forbid");
    }

    fn address(&self) {
        for (space, last) in [(&self.client, "10"), (&self.server, "20")] {
            ip(space, &format!("address add 10.77.0.{last}/24 dev eth0"));
        }
        reach(&self.client, SERVER);
    }
}

/// Whether the rules for routed packets hold for bridged ones, too. That costs them something even if
/// there are no rules; it is what Docker and others ask the kernel for.
pub(crate) fn bridge_rules_apply(host: &Namespace, apply: bool) {
    if apply {
        // It may be part of the kernel, or not be there: then the rules are not asked, which is noticed.
        let _ = Command::new("modprobe")
            .args(["-q", "br_netfilter"])
            .status();
    }
    let value = if apply { "1" } else { "0" };
    for family in ["iptables", "ip6tables", "arptables"] {
        let path = format!("net/bridge/bridge-nf-call-{family}");
        // A kernel without the file has nothing that could be called.
        if host.run(|| std::fs::exists(format!("/proc/sys/{path}")).unwrap_or(false)) {
            host.sysctl(&path, value);
        }
    }
}

/// Waits until the server is reached.
pub(crate) fn reach(client: &Namespace, server: &str) {
    let server: IpAddr = server.parse().expect("an address");
    eventually("the server is reached", || ping(client, server));
}

/// `ip` with the words of a line.
pub(crate) fn ip(space: &Namespace, line: &str) {
    space.ip(&line.split(' ').collect::<Vec<_>>());
}
