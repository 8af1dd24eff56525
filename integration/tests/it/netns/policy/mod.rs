//! Policies as a user notices them: who reaches whom.

mod stateful;
mod table;

use std::net::IpAddr;

use integration::lab::{Fleet, Underlay};

/// Two hosts, two networks, a router; `@policies` is what a test adds. The last word of a name is the
/// workload's groups.
const HOUSE: &str = r#"
version: 1
name: house
@hosts
networks:
  front: [10.1.0.0/24, "fd00:1::/64"]
  back: [10.2.0.0/24, "fd00:2::/64"]
routers:
  core: { @router ports: { front: [10.1.0.1, "fd00:1::1"], back: [10.2.0.1, "fd00:2::1"] } }
workloads:
  web1: { host: alpha, netns: @web1, ports: [{ network: front, addresses: [10.1.0.11, "fd00:1::11"], groups: [web] }] }
  db1: { host: alpha, netns: @db1, ports: [{ network: back, addresses: [10.2.0.12, "fd00:2::12"], groups: [db] }] }
  free1: { host: alpha, netns: @free1, ports: [{ network: front, addresses: [10.1.0.13, "fd00:1::13"] }] }
  web2: { host: beta, netns: @web2, ports: [{ network: front, addresses: [10.1.0.14, "fd00:1::14"], groups: [web] }] }
  db2: { host: beta, netns: @db2, ports: [{ network: back, addresses: [10.2.0.15, "fd00:2::15"], groups: [db] }] }
  both2: { host: beta, netns: @both2, ports: [{ network: back, addresses: [10.2.0.16, "fd00:2::16"], groups: [web, db] }] }
@policies
"#;

/// A workload of [`HOUSE`].
struct Inhabitant {
    name: &'static str,
    groups: &'static [&'static str],
    addresses: [&'static str; 2],
}

const fn inhabitant(
    name: &'static str,
    groups: &'static [&'static str],
    addresses: [&'static str; 2],
) -> Inhabitant {
    Inhabitant {
        name,
        groups,
        addresses,
    }
}

const INHABITANTS: [Inhabitant; 6] = [
    inhabitant("web1", &["web"], ["10.1.0.11", "fd00:1::11"]),
    inhabitant("db1", &["db"], ["10.2.0.12", "fd00:2::12"]),
    inhabitant("free1", &[], ["10.1.0.13", "fd00:1::13"]),
    inhabitant("web2", &["web"], ["10.1.0.14", "fd00:1::14"]),
    inhabitant("db2", &["db"], ["10.2.0.15", "fd00:2::15"]),
    inhabitant("both2", &["web", "db"], ["10.2.0.16", "fd00:2::16"]),
];

impl Inhabitant {
    fn ips(&self) -> [IpAddr; 2] {
        self.addresses.map(|text| text.parse().unwrap())
    }
}

fn house(family: integration::lab::Family) -> Option<Underlay> {
    let names = INHABITANTS.map(|inhabitant| inhabitant.name);
    Underlay::new(family, 1500, &["alpha", "beta"], &names)
}

/// Loads the house with these policies on both hosts; the router has the policy `between` if there is
/// one of that name.
fn load(underlay: &Underlay, fleet: &Fleet<'_>, policies: &str) {
    let router = if policies.contains("between:") {
        "policy: between,"
    } else {
        ""
    };
    let text = HOUSE.replace("@policies", policies);
    fleet.load(&underlay.topology(&text.replace("@router", router)));
}
