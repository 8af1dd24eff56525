//! What `bowline trace` says of two hosts, against what happens.

use integration::lab::{Family, Underlay, eventually, ping};

use super::{fleet, ip};

/// Echoes get to `db`, which refuses everything else; nothing gets to `log`.
const GUARDED: &str = "
version: 1
name: guarded
@hosts
networks: { front: 10.1.0.0/24 }
workloads:
  web: { host: alpha, netns: @web, ports: [{ network: front, addresses: 10.1.0.10 }] }
  db: { host: beta, netns: @db, ports: [{ network: front, addresses: 10.1.0.20, groups: db }] }
  log: { host: beta, netns: @log, ports: [{ network: front, addresses: 10.1.0.30, groups: log }] }
policies:
  db: { ingress: [{ allow: icmp/echo-request }] }
  log: { ingress: [{ from: db, allow: any }] }
";

#[test]
fn trace_goes_on_at_the_other_host() {
    let Some(underlay) = Underlay::new(Family::V4, 1500, &["alpha", "beta"], &["web", "db", "log"])
    else {
        return;
    };
    let fleet = fleet(&underlay);
    fleet.load(&underlay.topology(GUARDED));
    for (to, address, is_open) in [("db", "10.1.0.20", true), ("log", "10.1.0.30", false)] {
        if is_open {
            eventually("web reaches db", || {
                ping(underlay.workload("web"), ip(address))
            });
        } else {
            assert!(!ping(underlay.workload("web"), ip(address)), "{to}");
        }
        let run = fleet
            .on("alpha")
            .run(&["trace", "web", to, "icmp", "-o", "json"]);
        assert_eq!(
            run.status.code(),
            Some(if is_open { 0 } else { 10 }),
            "{run}"
        );
        let trace: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
        let end = &trace["elsewhere"][0];
        assert_eq!(end["host"], "beta", "{run}");
        let result = if is_open { "delivered" } else { "dropped" };
        assert_eq!(end["verdict"]["result"], result, "{run}");
    }
}
