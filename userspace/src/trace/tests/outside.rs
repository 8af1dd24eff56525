//! Packets for the outside, and for what the outside knows.

use maps_schema::{IfIndex, Mac};

use super::*;
use crate::plan::{Plan, Situation, Uplink};

const EDGE: &str = "\
networks: { front: 10.1.0.0/24, back: 10.2.0.0/24 }
routers:
  core:
    ports: { front: 10.1.0.1, back: 10.2.0.1 }
    uplink: true
    nat: [{ masquerade: true }]
workloads:
  web: { ports: [{ network: front, addresses: 10.1.0.10, publish: [\"8080:80\"] }] }
  db: { ports: [{ network: back, addresses: 10.2.0.20 }] }
";

fn at_the_edge(text: &str) -> Trace {
    let file = format!("version: 1\nname: shop\n{EDGE}");
    let topology = compile_drafts([draft("shop.yaml", &file)]).unwrap();
    let situation = Situation {
        uplink: Some(Uplink {
            interface: "eth0".to_owned(),
            ifindex: IfIndex(2),
            mtu: 1500,
            driver: None,
            mac: Mac::ZERO,
            addresses: vec!["192.0.2.2".parse().unwrap()],
            local_ports: (32768, 60999),
        }),
        ..Situation::default()
    };
    let plan = Plan::new(&topology, &instance(), &situation);
    trace(
        &topology,
        &instance(),
        &plan,
        planned_tables(&plan),
        &query(text),
    )
    .unwrap()
}

#[test]
fn what_leaves_is_told_with_the_address_that_it_gets() {
    let trace = at_the_edge("web 198.51.100.1 tcp 80");
    assert!(trace.arrives);
    let told = trace.to_string();
    assert!(told.contains("its source becomes 192.0.2.2:"), "{told}");
    let end = "sent outside by router core, from 192.0.2.2";
    assert!(told.contains(end), "{told}");
}

#[test]
fn a_published_port_is_told_with_whom_it_stands_for() {
    let trace = at_the_edge("db 192.0.2.2 tcp 8080");
    assert!(trace.arrives);
    let told = trace.to_string();
    assert!(told.contains("192.0.2.2 stands for 10.1.0.10"), "{told}");
    assert!(told.contains("delivered to web/eth0"), "{told}");
}
