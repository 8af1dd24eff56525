//! The largest packet that gets to a host.

use integration::lab::{Family, Underlay, eventually, ping};
use serde_json::Value;

use super::{Agent, QUICK, eventually_is, eventually_peer, fleet, peer};

const PAIR: &str = "version: 1
name: pair
@hosts
networks:
  front: [10.1.0.0/24]
workloads:
  web: { host: alpha, netns: @web, ports: [{ network: front, addresses: [10.1.0.10] }] }
  db: { host: beta, netns: @db, ports: [{ network: front, addresses: [10.1.0.20] }] }
  far: { host: gamma, netns: @far, ports: [{ network: front, addresses: [10.1.0.30] }] }
";

/// Sends a ping that must not be fragmented; what `ping` says.
fn ping_of(underlay: &Underlay, len: usize, to: &str) -> String {
    let mut command = underlay.workload("web").command("ping");
    let data = (len - 28).to_string();
    command.args(["-M", "do", "-c", "1", "-W", "10", "-s", &data, to]);
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_narrow_link_is_found_warned_of_and_told_to_senders() {
    for (family, overhead) in [(Family::V4, 50), (Family::V6, 70)] {
        let hosts = ["alpha", "beta", "gamma"];
        let workloads = ["web", "db", "far"];
        let Some(underlay) = Underlay::new(family, 1500, &hosts, &workloads) else {
            return;
        };
        let fleet = fleet(&underlay);
        fleet.load(&underlay.topology(PAIR));
        for to in ["10.1.0.20", "10.1.0.30"] {
            let to = to.parse().unwrap();
            eventually("web reaches it", || ping(underlay.workload("web"), to));
        }
        let alpha = fleet.on("alpha");
        let agent = Agent::start(alpha, &QUICK);
        for name in ["beta", "gamma"] {
            eventually_peer(alpha, name, "is wide", |peer| peer["path_mtu"] == 1500);
        }
        let full = 1500 - overhead;
        assert!(ping_of(&underlay, full, "10.1.0.20").contains(" 0% packet loss"));

        // What the switch sends to beta must be smaller from now on, and nobody says so.
        underlay.set_link_mtu("beta", 1400);
        let narrow = eventually_peer(alpha, "beta", "is narrow", |it| it["path_mtu"] == 1400);
        assert_eq!(narrow["state"], "up", "{narrow}");
        let warning = narrow["warning"].as_str().unwrap();
        assert!(warning.contains("up to 1400 bytes"), "{warning}");
        let shown = alpha.succeed(&["show", "peers"]);
        assert!(shown.contains(warning), "{shown}");
        assert!(agent.log().contains(warning), "{}", agent.log());
        assert_eq!(peer(alpha, "gamma")["warning"], Value::Null);

        let told = format!("mtu = {}", 1400 - overhead);
        eventually("the sender is told", || {
            let said = ping_of(&underlay, full, "10.1.0.20");
            said.contains(&told) || said.contains(&told.replace(" = ", "="))
        });
        let said = ping_of(&underlay, 1400 - overhead, "10.1.0.20");
        assert!(said.contains(" 0% packet loss"), "{said}");
        // The way to the other one is as wide as ever.
        let said = ping_of(&underlay, full, "10.1.0.30");
        assert!(said.contains(" 0% packet loss"), "{said}");
        assert_eq!(alpha.json(&["load"])["changed"], false);

        // When the host comes back it may have come another way.
        underlay.set_link("beta", false);
        eventually_is(alpha, "beta", "down");
        underlay.set_link_mtu("beta", 1500);
        underlay.set_link("beta", true);
        let wide = eventually_peer(alpha, "beta", "is wide", |it| it["path_mtu"] == 1500);
        assert!(wide["warning"].is_null(), "{wide}");
        eventually("its workloads are sent full packets", || {
            underlay.workload("web").ip(&["route", "flush", "cache"]);
            ping_of(&underlay, full, "10.1.0.20").contains(" 0% packet loss")
        });
    }
}
