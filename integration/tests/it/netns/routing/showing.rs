//! What `bowline show` and `bowline validate` say of routers.

use std::net::UdpSocket;

use integration::lab::{Bowline, eventually};
use serde_json::{Value, json};

use super::super::Site;

/// Two networks, two routers that are linked directly, and every kind of route.
const TOPOLOGY: &str = r#"version: 1
name: two
networks:
  front: { subnets: [10.1.0.0/24, "fd00:1::/64"], vni: 100 }
  back: { subnets: 10.2.0.0/24, vni: 200, mtu: 1400, mss: clamp }
routers:
  core:
    ports:
      front: [10.1.0.1, "fd00:1::1"]
      down: { peer: edge, addresses: 192.168.1.1/30 }
    routes:
      - { to: 10.2.0.0/24, via: down }
      - { to: 10.9.0.0/16, via: [10.1.0.8, 10.1.0.9], metric: 5 }
      - { to: 10.66.0.0/16, via: blackhole }
      - { to: "fd00:67::/32", via: reject }
  edge:
    ports:
      up: { peer: core, addresses: 192.168.1.2/30 }
      back: { addresses: 10.2.0.1, mac: 02:00:00:00:02:01 }
    routes:
      - { to: 10.1.0.0/24, via: 192.168.1.1 }
workloads:
  web: { netns: @web, ports: [{ network: front, mac: 02:00:00:00:00:0a, addresses: [10.1.0.10, "fd00:1::10"] }] }
  nest: { netns: @nest, ports: [{ network: back, mac: 02:00:00:00:00:14, addresses: 10.2.0.20, learning: true }] }
"#;

/// The text of a table in a pipe: the columns of a line stand apart by two spaces here.
fn table(bowline: &Bowline<'_>, arguments: &[&str]) -> String {
    bowline.succeed(arguments).replace('\t', "  ")
}

#[test]
fn routes_are_shown_with_their_lines_in_the_file() {
    let Some(site) = Site::new(["web", "nest"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(TOPOLOGY));
    let core = "\
core  10.1.0.0/24  core/front  0  topology.yaml:9:15
core  10.2.0.0/24  192.168.1.2 at core/down  0  topology.yaml:12:15
core  10.9.0.0/16  10.1.0.8 at core/front, 10.1.0.9 at core/front  5  topology.yaml:13:15
core  10.66.0.0/16  blackhole  0  topology.yaml:14:15
core  192.168.1.0/30  core/down  0  topology.yaml:10:38
core  fd00:1::/64  core/front  0  topology.yaml:9:25
core  fd00:67::/32  reject  0  topology.yaml:15:15
";
    let edge = "\
edge  10.1.0.0/24  192.168.1.1 at edge/up  0  topology.yaml:21:15
edge  10.2.0.0/24  edge/back  0  topology.yaml:19:26
edge  192.168.1.0/30  edge/up  0  topology.yaml:18:36
";
    let header = "ROUTER  TO  NEXT HOP  METRIC  DECLARED\n";
    let expected = [header, core, edge].concat();
    assert_eq!(table(&bowline, &["show", "routes"]), expected);
    let expected = [header, edge].concat();
    assert_eq!(table(&bowline, &["show", "routes", "edge"]), expected);

    let shown = bowline.json(&["show", "routes", "core"]);
    let routes = shown["routes"].as_array().unwrap();
    assert_eq!(shown, json!({ "routes": routes }));
    assert_eq!(routes.len(), 7);
    assert_eq!(
        routes[2],
        json!({
            "router": "core",
            "to": "10.9.0.0/16",
            "action": "forward",
            "next_hops": [
                { "port": "core/front", "via": "10.1.0.8" },
                { "port": "core/front", "via": "10.1.0.9" },
            ],
            "metric": 5,
            "origin": "topology.yaml:13:15",
        })
    );
    assert_eq!(
        routes[0]["next_hops"],
        json!([{ "port": "core/front", "via": null }])
    );
    for (number, action) in [(3, "blackhole"), (6, "reject")] {
        assert_eq!(routes[number]["action"], action);
        assert_eq!(routes[number]["next_hops"], json!([]));
    }

    let run = bowline.run(&["show", "routes", "croe"]);
    assert!(!run.status.success());
    assert_eq!(
        run.stderr,
        "error: there is no router `croe`: did you mean `core`?\n"
    );
}

#[test]
fn links_between_routers_are_not_shown_as_networks() {
    let Some(site) = Site::new(["web", "nest"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(TOPOLOGY));
    assert_eq!(
        table(&bowline, &["show", "networks"]),
        "\
NETWORK  VNI  SUBNETS  MTU  MSS  PORTS  DECLARED
back  200  10.2.0.0/24  1400  clamp  1  topology.yaml:5:3
front  100  10.1.0.0/24 fd00:1::/64  1500  keep  1  topology.yaml:4:3
"
    );
    let networks = bowline.json(&["show", "networks"]);
    assert_eq!(
        networks["networks"][1],
        json!({
            "name": "front",
            "vni": 100,
            "subnets": ["10.1.0.0/24", "fd00:1::/64"],
            "mtu": 1500,
            "mss": "keep",
            "unknown_unicast": "drop",
            "ports": 1,
            "origin": "topology.yaml:4:3",
        })
    );
    assert_eq!(networks["networks"].as_array().unwrap().len(), 2);

    assert_eq!(
        bowline.succeed(&["validate", "topology.yaml"]),
        "valid: 2 networks, 2 routers, 2 workloads, 2 ports\n"
    );
    assert_eq!(bowline.json(&["validate", "topology.yaml"])["networks"], 2);
    let one = "version: 1\nname: one\nnetworks: { front: 10.1.0.0/24 }\n\
               routers: { core: { ports: { front: 10.1.0.1 } } }\n\
               workloads: { web: { ports: [front] } }\n";
    let file = bowline.write("one.yaml", one);
    assert_eq!(
        bowline.succeed(&["validate", file]),
        "valid: 1 network, 1 router, 1 workload, 1 port\n"
    );
}

/// The neighbor with this address.
fn neighbor(bowline: &Bowline<'_>, address: &str) -> Option<Value> {
    let shown = bowline.json(&["show", "neighbors"]);
    let neighbors = shown["neighbors"].as_array().unwrap();
    neighbors
        .iter()
        .find(|it| it["address"] == address)
        .cloned()
}

#[test]
fn neighbors_are_shown_declared_asked_for_and_answered() {
    let Some(site) = Site::new(["web", "nest"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(TOPOLOGY));
    let shown = table(&bowline, &["show", "neighbors"]);
    let declared: Vec<&str> = shown
        .lines()
        .filter(|line| !line.starts_with("core/down"))
        .filter(|line| !line.contains("core/front"))
        .collect();
    assert_eq!(
        declared,
        [
            "NETWORK  ADDRESS  MAC  PORT  STATE",
            "back  10.2.0.1  02:00:00:00:02:01  edge/back  declared",
            "back  10.2.0.20  02:00:00:00:00:14  nest/eth0  declared",
            "front  10.1.0.10  02:00:00:00:00:0a  web/eth0  declared",
            "front  fd00:1::10  02:00:00:00:00:0a  web/eth0  declared",
        ]
    );
    // The ends of the link, and the other router's addresses.
    assert_eq!(shown.matches("core/front  declared").count(), 2);
    assert_eq!(shown.matches("192.168.1.").count(), 2);
    assert_eq!(
        neighbor(&bowline, "10.2.0.20").unwrap(),
        json!({
            "network": "back",
            "address": "10.2.0.20",
            "mac": "02:00:00:00:00:14",
            "port": "nest/eth0",
            "state": "declared",
            "age_ms": null,
            "questions": 0,
        })
    );

    // A station behind `nest` has an address that nobody declared; nobody at all has the other one.
    let nest = site.workload("nest");
    nest.ip(&["address", "add", "10.2.0.77/24", "dev", "eth0"]);
    let socket = site
        .workload("web")
        .run(|| UdpSocket::bind("0.0.0.0:0"))
        .unwrap();
    let mut answered = None;
    eventually("it answers, and nobody else does", || {
        for to in ["10.2.0.77:9", "10.2.0.78:9"] {
            // An error that came back since is told here, once.
            let _ = socket.send_to(b"anybody?", to);
        }
        answered = neighbor(&bowline, "10.2.0.77").filter(|it| it["state"] == "answered");
        answered.is_some() && neighbor(&bowline, "10.2.0.78").is_some()
    });
    let answered = answered.unwrap();
    assert_eq!(
        (&answered["port"], &answered["mac"], &answered["questions"]),
        (&json!("nest/eth0"), &json!("02:00:00:00:00:14"), &json!(0))
    );
    assert!(answered["age_ms"].as_u64().unwrap() < 60_000);
    let asked = neighbor(&bowline, "10.2.0.78").unwrap();
    assert_eq!(asked["state"], "asked");
    assert_eq!(
        (&asked["port"], &asked["mac"]),
        (&Value::Null, &Value::Null)
    );
    let questions = asked["questions"].as_u64().unwrap();
    let shown = table(&bowline, &["show", "neighbors"]);
    let line = |address: &str| {
        let mut lines = shown.lines();
        let found = lines.find(|line| line.contains(address));
        found.unwrap_or_else(|| panic!("no {address}: {shown}"))
    };
    assert!(
        line("10.2.0.77 ").contains("nest/eth0  answered "),
        "{shown}"
    );
    let times = if questions == 1 {
        "once".to_owned()
    } else {
        format!("{questions} times")
    };
    assert_eq!(
        line("10.2.0.78 "),
        format!("back  10.2.0.78  -  -  asked {times}")
    );
}
