//! Traces through small topologies, word for word.

mod delivered;
mod flooded;
mod live;
mod nowhere;
mod onward;
mod onward_property;
mod outside;
mod peer;
mod policy;
mod property;
mod routed;
mod routed_property;
mod unrouted;

use std::net::IpAddr;

use super::*;
use crate::document::draft;
use crate::instance::Instance;
use crate::plan::Situation;
use crate::problem::listing::listing;
use crate::topology::compile_drafts;

/// Web and db on one network of both families, with a third workload that is on it too.
const SHOP: &str = "\
networks:
  front: [10.1.0.0/24, 'fd00:1::/64']
workloads:
  web: { ports: [{ network: front, addresses: [10.1.0.10, 'fd00:1::10'] }] }
  db: { ports: [{ network: front, addresses: [10.1.0.20, 'fd00:1::20'], mtu: 1400 }] }
  log: { ports: [{ network: front, addresses: [10.1.0.30] }] }
";

/// Networks that do not meet, two of them with the same subnet, and a gateway.
const LANS: &str = "\
networks:
  front: [10.1.0.0/24, 'fd00:1::/64']
  back: [10.2.0.0/24, 10.5.0.0/24]
  twin: 10.1.0.0/24
workloads:
  web:
    ports:
      - network: front
        addresses: 10.1.0.10
        routes: [{ to: default, via: 10.1.0.1 }]
  gw: { ports: [{ network: front, addresses: 10.1.0.1 }, { network: back, addresses: 10.2.0.1 }] }
  db: { ports: [{ network: back, addresses: 10.2.0.20 }] }
  old: { ports: [{ network: back, addresses: 10.5.0.5 }] }
  far: { ports: [{ network: twin, addresses: 10.1.0.20 }] }
  both:
    ports:
      - { network: twin, addresses: 10.1.0.40 }
      - { network: front, addresses: [10.1.0.41, 'fd00:1::41'] }
  six: { ports: [{ network: front, addresses: 'fd00:1::6' }] }
  bare: { ports: [front] }
";

/// A network that floods what nobody knows, and a port with stations behind it that are not declared.
const NEST: &str = "\
networks: { front: { subnets: 10.1.0.0/24, unknown_unicast: flood, ageing: 60 } }
workloads:
  web: { ports: [{ network: front, addresses: 10.1.0.10, spoofing: allow }] }
  db: { ports: [{ network: front, addresses: 10.1.0.20 }] }
  nest: { ports: [{ network: front, learning: true }] }
";

/// The topology and the plan of a file whose first two lines are in order.
fn planned(rest: &str, absent: &[&str]) -> (Topology, Plan) {
    let text = format!("version: 1\nname: shop\n{rest}");
    let topology = compile_drafts([draft("shop.yaml", &text)])
        .unwrap_or_else(|problems| panic!("{text}\n{}", listing(&problems)));
    let situation = Situation {
        absent: absent.iter().map(|&name| name.to_owned()).collect(),
        ..Situation::default()
    };
    let plan = Plan::new(&topology, &instance(), &situation);
    (topology, plan)
}

fn instance() -> Instance {
    Instance::new(None).unwrap()
}

/// A query as the user writes it.
fn query(text: &str) -> Query<'_> {
    let words: Vec<&str> = text.split(' ').collect();
    Query {
        from: words[0],
        to: words[1],
        protocol: words
            .get(2)
            .map_or(Protocol::Tcp, |name| name.parse().unwrap()),
        port: words.get(3).map(|port| port.parse().unwrap()),
    }
}

fn traced(rest: &str, absent: &[&str], text: &str) -> Result<Trace, Error> {
    let (topology, plan) = planned(rest, absent);
    trace(
        &topology,
        &instance(),
        &plan,
        planned_tables(&plan),
        &query(text),
    )
}

/// The trace reads exactly so, and says whether the packet arrives.
fn check(rest: &str, absent: &[&str], text: &str, arrives: bool, expected: &str) {
    let trace = traced(rest, absent, text).unwrap();
    assert_eq!(trace.to_string(), expected);
    assert_eq!(trace.arrives, arrives);
}

#[test]
fn names_that_are_not_there() {
    let refused = |text| traced(SHOP, &[], text).unwrap_err().to_string();
    for (text, similar) in [
        ("wbe db", "`wbe`: did you mean `web`?"),
        ("web dbb", "`dbb`: did you mean `db`?"),
        ("web/eth1 db", "`web/eth1`: did you mean `web/eth0`?"),
        ("web/lan db", "`web/lan`: there is only `web/eth0`"),
        ("web frontend", "`frontend`: there are `db`, `log`, `web`"),
        (
            "web 10.1.0.256",
            "`10.1.0.256`: there are `db`, `log`, `web`",
        ),
    ] {
        assert_eq!(
            refused(text),
            format!("there is no workload, router or port {similar}")
        );
    }
    assert_eq!(
        refused("web db icmp 7"),
        "icmp has no ports: leave the 7 out"
    );
    assert_eq!(
        "sctp".parse::<Protocol>().unwrap_err().to_string(),
        "`sctp` cannot be traced: tcp, udp and icmp can"
    );
}

#[test]
fn the_first_and_the_last_of_a_trace_as_json() {
    let json = |text| serde_json::to_value(traced(SHOP, &["log"], text).unwrap()).unwrap();
    let delivered = json("web db");
    assert_eq!(
        delivered["steps"][0],
        serde_json::json!({
            "stage": "workload",
            "text": "db/eth0 has 10.1.0.20 on network front",
            "origin": "shop.yaml:7:17",
        })
    );
    assert_eq!(delivered["steps"][3]["stage"], "question");
    assert_eq!(delivered["steps"][3]["origin"], serde_json::Value::Null);
    assert_eq!(delivered["arrives"], true);
    assert_eq!(
        delivered["verdict"],
        serde_json::json!({
            "result": "delivered",
            "port": "db/eth0",
            "next_hop": false,
            "origin": "shop.yaml:7:17",
        })
    );
    assert_eq!(
        json("web 192.0.2.1")["verdict"],
        serde_json::json!({
            "result": "not_sent",
            "reason": "no_route",
            "meaning": "192.0.2.1 is in no subnet of web, and no route of it leads there.",
            "hint": "give web a route: `routes: [{ to: default, via: ... }]`",
        })
    );
    assert_eq!(json("log db")["verdict"]["reason"], "unplugged");
}
