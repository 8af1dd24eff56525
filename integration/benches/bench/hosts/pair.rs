//! Two hosts that a cable joins, with a workload on each, in the ways that are compared.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use integration::lab::{Bowline, Namespace, eventually, ping, veth};

use crate::lane::Lane;
use crate::site::{SERVER, bridge_rules_apply, ip, reach};

/// What each host calls its interface to the other.
pub(crate) const UPLINK: &str = "up0";

/// The family of the hosts' addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// The addresses of the two hosts (RFC 5737, RFC 3849).
    fn addresses(self) -> [IpAddr; 2] {
        [11, 12].map(|last| match self {
            Self::V4 => Ipv4Addr::new(192, 0, 2, last).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()).into(),
        })
    }
}

/// The namespaces of two hosts and of their workloads.
pub(crate) struct Pair {
    pub(crate) family: Family,
    /// The hosts `alpha` and `beta`.
    pub(crate) hosts: [Namespace; 2],
    pub(crate) client: Namespace,
    pub(crate) server: Namespace,
}

impl Pair {
    pub(crate) fn new(family: Family) -> Self {
        let hosts = ["alpha", "beta"].map(Namespace::new);
        connect(&hosts, family);
        Self {
            family,
            hosts,
            client: Namespace::new("web"),
            server: Namespace::new("db"),
        }
    }

    /// The way from the one workload to the other.
    pub(crate) fn lane(&self, name: &'static str) -> Lane<'_> {
        let [entry, _] = &self.hosts;
        Lane::new(name, &self.client, entry, &self.server, SERVER)
    }

    /// The topology of bowline, with this tunnel between the hosts.
    pub(crate) fn topology(&self, tunnel: &str) -> String {
        let [alpha, beta] = self.family.addresses();
        format!(
            r#"
version: 1
name: bench
defaults: {{ tunnel: {tunnel} }}
hosts: {{ alpha: "{alpha}", beta: "{beta}" }}
networks:
  front: [10.77.0.0/24, "fd00:77::/64"]
workloads:
  web: {{ host: alpha, netns: {}, ports: [{{ network: front, addresses: [10.77.0.10, "fd00:77::10"] }}] }}
  db: {{ host: beta, netns: {}, ports: [{{ network: front, addresses: [10.77.0.20, "fd00:77::20"] }}] }}
"#,
            self.client.name(),
            self.server.name()
        )
    }

    /// Joins the workloads by bowline.
    pub(crate) fn bowline(&self, tunnel: &str) -> [Bowline<'_>; 2] {
        let text = self.topology(tunnel);
        let hosts = self.hosts.each_ref();
        let instances = hosts.map(|host| Bowline::new(env!("CARGO_BIN_EXE_lab-bowline"), host));
        for bowline in &instances {
            bowline.load(&text);
        }
        reach(&self.client, SERVER);
        instances
    }

    /// Joins the workloads by a VXLAN device and a bridge of the kernel's own on each host. They are
    /// given every advantage that bowline has: the same MTU, no checksum of the outer header, and
    /// nothing to learn.
    pub(crate) fn kernel(&self) {
        let [alpha, beta] = self.family.addresses().map(|address| address.to_string());
        let ways = [(alpha.clone(), beta.clone()), (beta, alpha)];
        let workloads = [(&self.client, "10"), (&self.server, "20")];
        for ((host, (local, remote)), (space, last)) in self.hosts.iter().zip(ways).zip(workloads) {
            let vxlan = format!(
                "link add vx0 mtu 1450 type vxlan id 100 local {local} remote {remote} \
                 dstport 4789 dev {UPLINK} noudpcsum nolearning"
            );
            ip(host, &vxlan);
            bridge_rules_apply(host, false);
            ip(host, "link add br0 type bridge");
            ip(host, "link set vx0 master br0 up");
            ip(host, "link set br0 up");
            veth((host, "port0"), (space, "eth0"));
            ip(host, "link set port0 master br0");
            ip(host, "link set port0 mtu 1450");
            ip(space, "link set eth0 mtu 1450");
            ip(space, &format!("address add 10.77.0.{last}/24 dev eth0"));
        }
        reach(&self.client, SERVER);
    }
}

/// Joins two hosts by a cable.
pub(crate) fn connect([alpha, beta]: &[Namespace; 2], family: Family) {
    veth((alpha, UPLINK), (beta, UPLINK));
    let prefix_len = match family {
        Family::V4 => 24,
        Family::V6 => 64,
    };
    for (host, address) in [alpha, beta].into_iter().zip(family.addresses()) {
        let nodad = match family {
            Family::V4 => "",
            Family::V6 => " nodad",
        };
        ip(
            host,
            &format!("address add {address}/{prefix_len} dev {UPLINK}{nodad}"),
        );
    }
    let [_, other] = family.addresses();
    eventually("the hosts reach one another", || ping(alpha, other));
}
