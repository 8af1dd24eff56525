//! What a trace says of several hosts is what their datapaths do, whatever the topology.

use std::collections::BTreeSet;

use datapath::Action;
use datapath::memory::{MemoryFrame, parse, port_ingress, uplink_ingress};
use maps_schema::{Ip, Mac};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::*;
use crate::plan::Uplink;
use crate::topology::PortName;
use crate::trace::packet::{Station, packet};

const HOSTS: [&str; 3] = ["alpha", "beta", "gamma"];
const NETWORKS: [&str; 2] = ["n0", "n1"];
const PORT: u16 = 7;

/// A topology of three hosts and two networks with a router between them, and any tunnels.
fn topologies() -> impl Strategy<Value = String> {
    let tunnel = prop_oneof![Just("vxlan"), Just("geneve"), Just("gre"), Just("none")];
    // On which host, on which network, and what its policy says of the packets.
    let workload = (0..3_usize, 0..2_usize, 0..4_usize);
    let parts = (
        any::<bool>(),
        any::<bool>(),
        vec(tunnel, 3),
        vec(workload, 2..8),
    );
    parts.prop_map(|(is_v6, floods, tunnels, workloads)| {
        let mut file = json!({
            "hosts": {}, "networks": {}, "workloads": {}, "policies": {
                "open": { "ingress": [{ "allow": "any" }] },
                "shut": { "ingress": [{ "deny": "any" }] },
                "rude": { "ingress": [{ "reject": "any" }] },
            },
            "routers": { "core": { "ports": {} } },
        });
        for (number, host) in (11..).zip(HOSTS) {
            file["hosts"][host] = json!(if is_v6 {
                format!("2001:db8::{number}")
            } else {
                format!("192.0.2.{number}")
            });
        }
        for (number, network) in NETWORKS.iter().enumerate() {
            file["networks"][network] = json!({
                "subnets": [format!("10.{number}.0.0/24"), format!("fd00:{number}::/64")],
                "unknown_unicast": if floods && !tunnels.contains(&"none") { "flood" } else { "drop" },
            });
            file["routers"]["core"]["ports"][network] =
                json!([format!("10.{number}.0.1"), format!("fd00:{number}::1")]);
        }
        for (number, (host, network, policy)) in (10..).zip(workloads) {
            let groups: &[&str] = [&[], &["open"] as &[_], &["shut"], &["rude"]][policy];
            file["workloads"][format!("w{number}")] = json!({ "host": HOSTS[host], "ports": [{
                "network": NETWORKS[network],
                "addresses": [format!("10.{network}.0.{number}"), format!("fd00:{network}::{number}")],
                "groups": groups,
            }]});
        }
        let pairs = [(0, 1), (0, 2), (1, 2)].into_iter().zip(tunnels);
        let pairs: Vec<Value> = pairs
            .map(|((a, b), tunnel)| json!({ "between": [HOSTS[a], HOSTS[b]], "tunnel": tunnel }))
            .collect();
        file["tunnels"] = json!(pairs);
        let sections = file.as_object().unwrap().iter();
        sections.map(|(key, value)| format!("{key}: {value}\n")).collect()
    })
}

/// A host with its plan in force.
fn plan_of(topology: &Topology, host: &str) -> Plan {
    let situation = Situation {
        host: Some(host.to_owned()),
        uplink: Some(Uplink {
            interface: "lan0".to_owned(),
            ifindex: IfIndex(3),
            mtu: 1500,
            driver: None,
            mac: maps_schema::Mac::ZERO,
            addresses: Vec::new(),
            local_ports: (32768, 60999),
        }),
        ..Situation::default()
    };
    Plan::new(topology, &instance(), &situation)
}

/// What became of a frame on a host: who got it, or why nobody did.
type Ends = BTreeSet<(String, String)>;

fn dropped(reason: &str) -> String {
    format!("dropped: {reason}")
}

/// Lets a frame travel through the datapaths of the hosts, which nobody watches.
fn travel(topology: &Topology, from: &PortName, wire: &[u8], to: IpAddr) -> Ends {
    let home = topology.workloads[&from.workload].host.as_ref().unwrap();
    let plan = plan_of(topology, home);
    let tables = planned_tables(&plan);
    let mut rows = tables.interfaces.iter();
    let own = topology.ports[from].id;
    let (&interface, _) = rows.find(|(_, row)| row.port == own).unwrap();
    let mut frame = MemoryFrame::from_wire(wire);
    let action = port_ingress(&mut frame, &tables, interface);
    let mut ends = Ends::new();
    for wire in arrive(&plan, home, interface, &frame, action, &mut ends) {
        let outer = parse(&MemoryFrame::from_wire(&wire))
            .unwrap()
            .ip_destination;
        let mut hosts = topology.hosts.iter();
        let by_address = hosts.find(|(_, host)| Ip::from(host.address) == outer);
        let by_workload = topology.ports.iter().find(|(_, port)| {
            let mut addresses = port.addresses.iter();
            addresses.any(|address| address.addr() == to)
        });
        let host = match (by_address, by_workload) {
            (Some((host, _)), _) => host,
            (None, Some((name, _))) => topology.workloads[&name.workload].host.as_ref().unwrap(),
            (None, None) => panic!("to nobody"),
        };
        let plan = plan_of(topology, host);
        let tables = planned_tables(&plan);
        let mut frame = MemoryFrame::from_wire(&wire);
        let uplink = IfIndex(3);
        let action = uplink_ingress(&mut frame, &tables, uplink);
        let sent = arrive(&plan, host, uplink, &frame, action, &mut ends);
        assert_eq!(
            sent,
            [] as [Vec<u8>; 0],
            "nothing goes on from a second host"
        );
    }
    ends
}

/// Notes whom a host gave a frame to; what it sent to others is returned.
fn arrive(
    plan: &Plan,
    host: &str,
    from: IfIndex,
    frame: &MemoryFrame,
    action: Action,
    ends: &mut Ends,
) -> Vec<Vec<u8>> {
    let tables = planned_tables(plan);
    let mut sent = Vec::new();
    let mut got = frame.copies.clone();
    match action {
        Action::Deliver(to) => got.push((to, frame.to_wire())),
        Action::Underlay { uplink, .. } => got.push((uplink, frame.to_wire())),
        Action::Drop { reason, .. } => {
            ends.insert((host.to_owned(), dropped(reason.name())));
        }
        Action::Copied => {}
        other => panic!("{other:?}"),
    }
    for (to, wire) in got {
        if tables.uplinks.contains_key(&to) {
            sent.push(wire);
            continue;
        }
        let mut rows = tables.ports.iter();
        let (&id, _) = rows.find(|(_, row)| row.ifindex == to).unwrap();
        let name = if to == from {
            "the sender"
        } else {
            &plan.names.port(id)
        };
        ends.insert((host.to_owned(), name.to_owned()));
    }
    sent
}

/// The same as the trace has it.
fn said(trace: &Trace, home: &str) -> Ends {
    let mut ends = Ends::new();
    let elsewhere = trace
        .elsewhere
        .iter()
        .map(|it| (it.host.as_str(), &it.verdict));
    for (host, verdict) in elsewhere.chain([(home, &trace.verdict)]) {
        let ports = match verdict {
            Outcome::Delivered { port, .. } => vec![port.clone()],
            Outcome::Flooded { ports } => ports.clone(),
            Outcome::Dropped(Refusal { told: Some(_), .. }) => vec!["the sender".to_owned()],
            Outcome::Dropped(refusal) => vec![dropped(refusal.reason)],
            Outcome::Sent { .. } => Vec::new(),
            other => panic!("{other}"),
        };
        let ports = ports.into_iter().filter(|port| !port.starts_with("peer "));
        ends.extend(ports.map(|port| (host.to_owned(), port)));
    }
    ends
}

/// Of a flooded frame only who gets a copy: the copies that policies refuse end without a word.
fn copies(mut ends: Ends) -> Ends {
    ends.retain(|(_, end)| !end.starts_with("dropped: "));
    ends
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_trace_is_what_the_hosts_do(
        rest in topologies(),
        picks in vec((any::<Index>(), any::<Index>(), any::<bool>(), 0..6_u8), 12),
    ) {
        let file = format!("version: 1\nname: shop\n{rest}");
        let topology = compile_drafts([draft("shop.yaml", &file)])
            .unwrap_or_else(|problems| panic!("{file}\n{}", listing(&problems)));
        let ports: Vec<_> = topology.ports.iter().collect();
        for (from, to, is_v6, kind) in picks {
            let (from_name, from) = ports[from.index(ports.len())];
            let (to_name, to) = ports[to.index(ports.len())];
            if from_name == to_name {
                continue;
            }
            let of_family = |port: &crate::topology::Port| {
                let mut addresses = port.addresses.iter().map(|address| address.addr());
                addresses.find(|address| address.is_ipv6() == is_v6).unwrap()
            };
            let core = &topology.routers["core"].ports[&from.network];
            let (ip, mac) = match kind {
                0 if !is_v6 => (IpAddr::from([255; 4]), Mac::BROADCAST),
                _ if from.network == to.network => (of_family(to), to.mac),
                _ => (of_family(to), core.mac),
            };
            let source = Station { mac: from.mac, ip: of_family(from) };
            let wire = packet(source, Station { mac, ip }, Protocol::Udp, PORT).unwrap();
            let did = travel(&topology, from_name, &wire, ip);
            let home = topology.workloads[&from_name.workload].host.as_ref().unwrap();
            let plan = plan_of(&topology, home);
            let text = format!("{from_name} {ip} udp {PORT}");
            let trace = trace(&topology, &instance(), &plan, planned_tables(&plan), &query(&text));
            let trace = trace.unwrap();
            let says = said(&trace, home);
            let (did, says) = if mac.is_group() { (copies(did), copies(says)) } else { (did, says) };
            prop_assert_eq!(says, did, "{}\n{}\n{}", file, text, trace);
            let delivered = says_it_arrives(&trace);
            prop_assert_eq!(trace.arrives, delivered, "{}\n{}\n{}", file, text, trace);
        }
    }
}

/// Whether any verdict says that a workload gets it.
fn says_it_arrives(trace: &Trace) -> bool {
    let elsewhere = trace.elsewhere.iter().map(|it| &it.verdict);
    let mut verdicts = elsewhere.chain([&trace.verdict]);
    verdicts.any(|verdict| match verdict {
        Outcome::Delivered { .. } => true,
        Outcome::Flooded { ports } => ports.iter().any(|port| !port.starts_with("peer ")),
        _ => false,
    })
}
