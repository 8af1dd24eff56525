//! What changes on the host itself is followed.

use integration::lab::{Family, Underlay, eventually};

use super::{Agent, QUICK, eventually_is, fleet};

const PAIR: &str = "version: 1
name: pair
@hosts
defaults: { tunnel: none }
networks:
  front: [10.1.0.0/24]
workloads:
  web: { host: alpha, netns: @web, ports: [{ network: front, addresses: [10.1.0.10] }] }
  db: { host: beta, netns: @db, ports: [{ network: front, addresses: [10.1.0.20] }] }
";

#[test]
fn uplink_and_routes_are_followed() {
    let hosts = ["alpha", "beta"];
    let Some(underlay) = Underlay::new(Family::V4, 1500, &hosts, &["web", "db"]) else {
        return;
    };
    let fleet = fleet(&underlay);
    fleet.load(&underlay.topology(PAIR));
    let (alpha, host) = (fleet.on("alpha"), underlay.host("alpha"));
    let beta = underlay.address("beta").to_string();
    let is_in_force = || alpha.run(&["plan"]).status.success();
    // There is a difference, which somebody would have to load.
    let route = |via: &str| host.ip(&["route", "replace", &beta, "via", via, "dev", "up0"]);
    route("192.0.2.98");
    assert!(!is_in_force());
    // Echoes would find out too that something is different.
    let agent = Agent::start(alpha, &["--interval", "60"]);
    eventually("what is recorded is in force", is_in_force);
    eventually("it runs", || agent.log().contains("running"));

    route("192.0.2.99");
    eventually("the route is followed", is_in_force);
    host.ip(&["route", "delete", &beta]);
    eventually("its end is followed", is_in_force);

    host.ip(&["link", "set", "up0", "mtu", "1400"]);
    let web = underlay.workload("web");
    eventually("the uplink's MTU is followed", || {
        web.ip(&["link", "show", "dev", "eth0"])
            .contains(" mtu 1400 ")
    });
    eventually("it is in force", is_in_force);
}

#[test]
fn what_is_loaded_and_unloaded_meanwhile_is_followed() {
    let hosts = ["alpha", "beta"];
    let Some(underlay) = Underlay::new(Family::V4, 1500, &hosts, &["web", "db"]) else {
        return;
    };
    let fleet = fleet(&underlay);
    let alpha = fleet.on("alpha");
    let agent = Agent::start(alpha, &QUICK);
    eventually("it runs", || agent.log().contains("running"));
    for _ in 0..2 {
        fleet.load(&underlay.topology(PAIR));
        eventually_is(alpha, "beta", "up");
        fleet.unload("pair");
        assert!(!alpha.instance().state_dir().exists());
    }
}
