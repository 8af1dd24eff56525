//! The host itself takes part in a network: its own programs, and whoever shares its namespace.

use integration::lab::{Family, Snapshot, Underlay, eventually, ping};

use super::reaching::assert_carries_tcp;
use super::{assert_reaches, drops, fleet, ip};

/// `alpha` itself beside a workload on it, one on another host, and one behind a router.
const ITSELF: &str = r#"
version: 1
name: itself
@hosts
networks:
  front: [10.1.0.0/24, "fd00:1::/64"]
  back: [10.2.0.0/24, "fd00:2::/64"]
routers:
  core: { ports: { front: [10.1.0.1, "fd00:1::1"], back: [10.2.0.1, "fd00:2::1"] } }
workloads:
  gate:
    host: alpha
    host_network: true
    ports:
      - network: front
        addresses: [10.1.0.2, "fd00:1::2"]
        routes: [{ to: 10.2.0.0/24, via: 10.1.0.1 }, { to: "fd00:2::/64", via: "fd00:1::1" }]
  web: { host: alpha, netns: @web, ports: [{ network: front, addresses: [10.1.0.10, "fd00:1::10"] }] }
  db: { host: beta, netns: @db, ports: [{ network: front, addresses: [10.1.0.20, "fd00:1::20"] }] }
  far: { host: beta, netns: @far, ports: [{ network: back, addresses: [10.2.0.30, "fd00:2::30"] }] }
"#;

const GATE: [&str; 2] = ["10.1.0.2", "fd00:1::2"];
const OTHERS: [(&str, [&str; 2]); 3] = [
    ("web", ["10.1.0.10", "fd00:1::10"]),
    ("db", ["10.1.0.20", "fd00:1::20"]),
    ("far", ["10.2.0.30", "fd00:2::30"]),
];

fn underlay(family: Family) -> Option<Underlay> {
    Underlay::new(family, 1500, &["alpha", "beta"], &["web", "db", "far"])
}

#[test]
fn the_host_reaches_and_is_reached_on_a_network() {
    let Some(underlay) = underlay(Family::V4) else {
        return;
    };
    let fleet = fleet(&underlay);
    let before = Snapshot::take(&underlay.spaces(), fleet.on("alpha").instance());
    fleet.load(&underlay.topology(ITSELF));
    let alpha = underlay.host("alpha");
    for (name, addresses) in OTHERS {
        for (own, address) in GATE.into_iter().zip(addresses) {
            eventually(&format!("the host reaches {name}"), || {
                ping(alpha, ip(address))
            });
            assert_reaches(&underlay, name, own);
            assert_carries_tcp(alpha, underlay.workload(name), address);
            assert_carries_tcp(underlay.workload(name), alpha, own);
        }
    }
    assert_eq!(drops(&fleet, "alpha", "unknown_member"), 0);
    fleet.unload("itself");
    before.assert_same(&Snapshot::take(
        &underlay.spaces(),
        fleet.on("alpha").instance(),
    ));
}

/// What programs and rules of the host note on packets for themselves is nothing that the datapath reads.
#[test]
fn marks_of_the_host_stay_its_own() {
    let Some(underlay) = underlay(Family::V4) else {
        return;
    };
    let fleet = fleet(&underlay);
    fleet.load(&underlay.topology(ITSELF));
    for (name, [address, _]) in OTHERS {
        for mark in ["1", "4294967295"] {
            eventually(&format!("a marked packet reaches {name}"), || {
                let mut ping = underlay.host("alpha").command("ping");
                let ping = ping.args(["-c1", "-W1", "-q", "-m", mark, address]);
                ping.output().expect("ping is there").status.success()
            });
        }
    }
    assert_eq!(drops(&fleet, "alpha", "unknown_member"), 0);
}

#[test]
fn the_host_keeps_its_default_route_and_its_interfaces() {
    let Some(underlay) = underlay(Family::V6) else {
        return;
    };
    let fleet = fleet(&underlay);
    let alpha = underlay.host("alpha");
    fleet.load(&underlay.topology(ITSELF));
    assert_eq!(alpha.ip(&["route", "show", "default"]), "");
    assert_eq!(alpha.ip(&["-6", "route", "show", "default"]), "");
    // Nobody in the network tells it where its packets go.
    let setting = "/proc/sys/net/ipv6/conf/front/accept_ra";
    let said = alpha.command("cat").arg(setting).output().unwrap();
    assert_eq!(said.stdout, b"0\n");
    // A second look finds nothing to do, even where the namespace has a number for itself.
    let number = ["netns", "set", alpha.name(), "7"];
    alpha.ip(&number);
    assert_eq!(fleet.on("alpha").json(&["load"])["changed"], false);
    fleet.unload("itself");

    alpha.ip(&["link", "add", "front", "type", "veth"]);
    let taken = Snapshot::take(&underlay.spaces(), fleet.on("alpha").instance());
    let bowline = fleet.on("alpha");
    let file = bowline.write("taken.yaml", &underlay.topology(ITSELF));
    let refused = bowline.run(&["load", file]);
    let why = "workload gate (the host) already has an interface `front`: give the port another";
    assert!(refused.stderr.contains(why), "{refused}");
    taken.assert_same(&Snapshot::take(
        &underlay.spaces(),
        fleet.on("alpha").instance(),
    ));
}

/// Policies hold for the host's ports as for others.
#[test]
fn the_host_is_judged() {
    let Some(underlay) = underlay(Family::V4) else {
        return;
    };
    let fleet = fleet(&underlay);
    let closed = ITSELF.replace(
        "addresses: [10.1.0.2, \"fd00:1::2\"]",
        "addresses: [10.1.0.2, \"fd00:1::2\"]\n        groups: closed",
    ) + "policies: { closed: { ingress: [{ from: 10.1.0.20, deny: any }, { allow: any }] } }\n";
    fleet.load(&underlay.topology(&closed));
    let [own, _] = GATE;
    assert_reaches(&underlay, "web", own);
    eventually("the policy holds", || {
        !ping(underlay.workload("db"), ip(own))
    });
    assert_ne!(drops(&fleet, "alpha", "policy_ingress"), 0);
    assert!(ping(underlay.host("alpha"), ip("10.1.0.20")));
}

/// What trace says of the host's own port is what happens there.
#[test]
fn the_host_is_traced_like_others() {
    let Some(underlay) = underlay(Family::V4) else {
        return;
    };
    let fleet = fleet(&underlay);
    fleet.load(&underlay.topology(ITSELF));
    for (from, to, result) in [
        ("gate", "web", "delivered"),
        ("web", "gate", "delivered"),
        ("gate", "10.1.0.1", "answered"),
    ] {
        let trace = fleet.on("alpha").json(&["trace", from, to, "icmp"]);
        assert_eq!(
            trace["verdict"]["result"], result,
            "{from} to {to}: {trace}"
        );
    }
}
