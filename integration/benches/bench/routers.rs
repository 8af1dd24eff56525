//! Virtual routers in a line, against as many namespaces of the kernel's own that route.

use std::fmt::Write;

use integration::lab::{Namespace, veth};

use crate::lane::{Lane, Metric, measure};
use crate::report::Report;
use crate::site::{SERVER, Site, TOPOLOGY};

/// How many routers are in the line.
const DEPTHS: [usize; 3] = [1, 3, 8];
/// What the ways are called.
const NAMES: [[&str; 2]; 3] = [
    ["Linux, 1 router", "bowline, 1 router"],
    ["Linux, 3 routers", "bowline, 3 routers"],
    ["Linux, 8 routers", "bowline, 8 routers"],
];

pub(crate) fn run(report: &mut Report) {
    report.begin(
        "routers",
        "Two workloads of one host with routers in a line between them: network namespaces that forward, and \
         virtual routers.",
    );
    let chains = DEPTHS.map(Chain::new);
    let sites = DEPTHS.map(|_| Site::new());
    let lines = DEPTHS.map(line);
    let joined = sites.iter().zip(&lines);
    let _bowlines: Vec<_> = joined.map(|(site, text)| site.bowline(text)).collect();
    let pairs = chains.iter().zip(&sites).zip(NAMES);
    let lanes = pairs.flat_map(|((chain, site), names)| {
        let [first, second] = names;
        [chain.lane(first), site.lane(second)]
    });
    let lanes: Vec<_> = lanes.collect();
    measure(report, "", &lanes, Metric::SMALL);
}

/// The topology of `web` and `db` with this many routers between them, which know the way to both;
/// with none, of one network.
pub(crate) fn line(routers: usize) -> String {
    if routers == 0 {
        return TOPOLOGY.to_owned();
    }
    let mut text = r#"
version: 1
name: bench
networks:
  front: [10.76.0.0/24, "fd00:76::/64"]
  back: [10.77.0.0/24, "fd00:77::/64"]
workloads:
  web: { netns: @web, ports: [{ network: front, addresses: [10.76.0.10, "fd00:76::10"] }] }
  db: { netns: @db, ports: [{ network: back, addresses: [10.77.0.20, "fd00:77::20"] }] }
routers:
"#
    .to_owned();
    for n in 1..=routers {
        let mut ports = Vec::new();
        let mut routes = Vec::new();
        if n == 1 {
            ports.push("front: [10.76.0.1, \"fd00:76::1\"]".to_owned());
        } else {
            ports.push(peer("left", n - 1, n - 1, 2));
            routes.extend(["10.76.0.0/24, via: left", "\"fd00:76::/64\", via: left"]);
        }
        if n == routers {
            ports.push("back: [10.77.0.1, \"fd00:77::1\"]".to_owned());
        } else {
            ports.push(peer("right", n + 1, n, 1));
            routes.extend(["10.77.0.0/24, via: right", "\"fd00:77::/64\", via: right"]);
        }
        let routes: Vec<_> = routes.iter().map(|to| format!("{{ to: {to} }}")).collect();
        let (ports, routes) = (ports.join(", "), routes.join(", "));
        let _ = writeln!(
            text,
            "  r{n}: {{ ports: {{ {ports} }}, routes: [{routes}] }}"
        );
    }
    text
}

/// A port to another router over the link of this number.
fn peer(name: &str, peer: usize, number: usize, end: usize) -> String {
    format!(
        "{name}: {{ peer: r{peer}, addresses: [192.168.{number}.{end}/30, \
         \"fd00:99:{number}::{end}/64\"] }}"
    )
}

/// The namespaces of a client, of routers in a line, and of a server.
struct Chain {
    spaces: Vec<Namespace>,
}

impl Chain {
    fn new(routers: usize) -> Self {
        let spaces = (0..routers + 2).map(|_| Namespace::new("chain"));
        let chain = Self {
            spaces: spaces.collect(),
        };
        let ends = |number: usize| match number {
            0 => ("10.76.0.10".to_owned(), "10.76.0.1".to_owned()),
            last if last == routers => ("10.77.0.1".to_owned(), "10.77.0.20".to_owned()),
            _ => (format!("192.168.{number}.1"), format!("192.168.{number}.2")),
        };
        for (number, pair) in chain.spaces.windows(2).enumerate() {
            let [near, far] = pair else { continue };
            veth((near, "right"), (far, "left"));
            let (near_ip, far_ip) = ends(number);
            for (space, ip, end) in [(near, near_ip, "right"), (far, far_ip, "left")] {
                space.ip(&["address", "add", &format!("{ip}/24"), "dev", end]);
            }
        }
        for (number, space) in chain.spaces.iter().enumerate() {
            space.sysctl("net/ipv4/ip_forward", "1");
            if number < routers {
                let (_, via) = ends(number);
                space.ip(&["route", "add", "10.77.0.0/24", "via", &via]);
            }
            if number > 1 {
                let (via, _) = ends(number - 1);
                space.ip(&["route", "add", "10.76.0.0/24", "via", &via]);
            }
        }
        chain
    }

    fn lane(&self, name: &'static str) -> Lane<'_> {
        let [client, entry, .., server] = self.spaces.as_slice() else {
            unreachable!("a chain has two ends")
        };
        Lane {
            interfaces: ["right", "left"],
            ..Lane::new(name, client, entry, server, SERVER)
        }
    }
}
