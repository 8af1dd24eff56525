//! The trace says what the datapath does, whatever the topology.

use datapath::memory::{MemoryFrame, parse, port_ingress};
use datapath::pipeline::walk;
use datapath::{Action, Verdict};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::topology::{Port, PortName};
use crate::trace::packet::{Station, packet};

/// A topology of up to three networks, and the workloads that are absent. Subnets are the same on
/// all networks.
fn topologies() -> impl Strategy<Value = (String, Vec<String>)> {
    let network = any::<bool>();
    let port = (0..3_usize, 0..4_u8, any::<bool>(), any::<bool>());
    let workload = (vec(port, 0..3), prop::bool::weighted(0.3));
    (vec(network, 3), vec(workload, 1..6)).prop_map(|(networks, workloads)| {
        let mut file = json!({ "networks": {}, "workloads": {} });
        for (i, floods) in networks.into_iter().enumerate() {
            file["networks"][format!("n{i}")] = json!({
                "subnets": ["10.1.0.0/24", "fd00:1::/64"],
                "unknown_unicast": if floods { "flood" } else { "drop" },
            });
        }
        let mut absent = Vec::new();
        let mut host = 0;
        for (i, (ports, is_absent)) in workloads.into_iter().enumerate() {
            let name = format!("w{i}");
            let ports = ports
                .into_iter()
                .map(|(network, families, learning, spoofs)| {
                    host += 1;
                    let mut addresses = Vec::new();
                    addresses.extend((families & 1 != 0).then(|| format!("10.1.0.{host}")));
                    addresses.extend((families & 2 != 0).then(|| format!("fd00:1::{host}")));
                    json!({
                        "network": format!("n{network}"),
                        "addresses": addresses,
                        "learning": learning,
                        "spoofing": if spoofs { "allow" } else { "deny" },
                    })
                });
            let ports: Vec<Value> = ports.collect();
            file["workloads"][&name] = json!({ "ports": ports });
            absent.extend(is_absent.then_some(name));
        }
        let sections = ["networks", "workloads"].map(|key| format!("{key}: {}\n", file[key]));
        (sections.concat(), absent)
    })
}

/// What the datapath does with a frame between two ports, in the words of the verdict.
fn datapath_says(plan: &Plan, from: &Port, to: &Port, source: IpAddr, ip: IpAddr) -> Outcome {
    let tables = planned_tables(plan);
    let mut rows = tables.interfaces.iter();
    let (&interface, row) = rows.find(|(_, row)| row.port == from.id).unwrap();
    let station = |mac, ip| Station { mac, ip };
    let (source, to) = (station(from.mac, source), station(to.mac, ip));
    let wire = packet(source, to, Protocol::Udp, 7).unwrap();
    let mut frame = MemoryFrame::from_wire(&wire);
    let parsed = parse(&frame).unwrap();
    let verdict = walk(&tables, row, &parsed).unwrap_or_else(Verdict::Drop);
    let action = port_ingress(&mut frame, &tables, interface);
    let port_of = |interface| {
        let mut rows = tables.ports.iter();
        let (&id, _) = rows.find(|(_, row)| row.ifindex == interface).unwrap();
        plan.names.port(id)
    };
    match (verdict, action) {
        (_, Action::Drop { reason, .. }) => Outcome::Dropped(Refusal {
            reason: reason.name(),
            meaning: reason.meaning().to_owned(),
            told: None,
            hint: None,
        }),
        (Verdict::Deliver(id), Action::Deliver(interface)) => {
            assert_eq!(plan.names.port(id), port_of(interface));
            Outcome::Delivered {
                port: plan.names.port(id),
                next_hop: false,
                ttl: None,
                origin: None,
            }
        }
        (Verdict::Flood(_), Action::Deliver(last)) => {
            let copies = frame.copies.iter().map(|&(interface, _)| interface);
            let ports = copies.chain([last]).map(port_of).collect();
            Outcome::Flooded { ports }
        }
        (verdict, _) => panic!("{verdict:?} for a datagram"),
    }
}

/// A verdict without what the datapath does not say.
fn bare(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Delivered { port, next_hop, .. } => Outcome::Delivered {
            port,
            next_hop,
            ttl: None,
            origin: None,
        },
        Outcome::Dropped(refusal) => Outcome::Dropped(Refusal {
            hint: None,
            ..refusal
        }),
        other => other,
    }
}

fn examine(
    (topology, plan, absent): (&Topology, &Plan, &[String]),
    (from_name, from): (&PortName, &Port),
    (to_name, to): (&PortName, &Port),
    ip: IpAddr,
) {
    let (from_text, to_text) = (from_name.to_string(), ip.to_string());
    let asked = Query {
        from: &from_text,
        to: &to_text,
        protocol: Protocol::Udp,
        port: Some(7),
    };
    let trace = trace(topology, &instance(), plan, planned_tables(plan), &asked).unwrap();
    let addresses = from.addresses.iter().map(|address| address.addr());
    let source = addresses
        .into_iter()
        .find(|own| own.is_ipv4() == ip.is_ipv4());
    let said = format!("{from_name} to {to_name} {ip}\n{trace}");
    if absent.contains(&from_name.workload) {
        assert!(said.contains("verdict: not sent: unplugged"), "{said}");
    } else if from_name.workload == to_name.workload {
        assert!(said.contains("verdict: stays in"), "{said}");
    } else if let Some(source) = source.filter(|_| from.network == to.network) {
        let expected = datapath_says(plan, from, to, source, ip);
        assert_eq!(bare(trace.verdict), expected, "{said}");
        let is_there = !absent.contains(&to_name.workload);
        assert_eq!(trace.arrives, is_there, "{said}");
    } else {
        assert!(matches!(trace.verdict, Outcome::NotSent(_)), "{said}");
        assert!(!trace.arrives, "{said}");
    }
}

proptest! {
    #[test]
    fn the_verdict_is_the_datapaths((rest, absent) in topologies()) {
        let names: Vec<&str> = absent.iter().map(String::as_str).collect();
        let (topology, plan) = planned(&rest, &names);
        for from in &topology.ports {
            for to in &topology.ports {
                for address in &to.1.addresses {
                    examine((&topology, &plan, &absent), from, to, address.addr());
                }
            }
        }
    }
}
