//! Tables that are not what the file wants them to be.

use std::net::Ipv4Addr;

use datapath::memory::MemoryTables;
use maps_schema::map::{FdbKey, LearnedEntry, NeighborKey};
use maps_schema::{IfIndex, Ip, PortId, Vni};

use super::{NEST, SHOP, planned, query};
use crate::plan::Plan;
use crate::topology::{PortName, Topology};
use crate::trace::{planned_tables, tables_of, trace};

/// The last step and the verdict of a trace through changed tables.
fn end(
    rest: &str,
    absent: &[&str],
    text: &str,
    change: impl FnOnce(&Topology, &mut MemoryTables),
) -> String {
    let (topology, plan) = planned(rest, absent);
    let mut tables = planned_tables(&plan);
    change(&topology, &mut tables);
    let trace = trace(&topology, &plan, tables, &query(text)).unwrap();
    let last = trace.steps.last().map_or("", |step| &step.text);
    let text = trace.to_string();
    let (_, verdict) = text.split_at(text.find("verdict: ").unwrap());
    format!("{last}\n{verdict}")
}

fn port(topology: &Topology, workload: &str) -> (Vni, PortId) {
    let name = PortName {
        workload: workload.to_owned(),
        interface: "eth0".to_owned(),
    };
    let port = &topology.ports[&name];
    (topology.networks[&port.network].vni, port.id)
}

#[test]
fn a_port_that_leads_nowhere() {
    let end = end(SHOP, &[], "web db", |topology, tables| {
        let (_, db) = port(topology, "db");
        tables.ports.remove(&db);
    });
    assert_eq!(
        end,
        "\
nothing is plugged in at db/eth0
verdict: dropped: port_unplugged
      The destination port is known, but nothing is plugged in on this host at this moment.
      hint: start workload db, then load the file again
"
    );
}

#[test]
fn an_address_that_the_sender_was_not_given_in_the_kernel() {
    let forget = |topology: &Topology, tables: &mut MemoryTables| {
        let (vni, _) = port(topology, "web");
        let ip = Ip::from(Ipv4Addr::new(10, 1, 0, 10));
        tables.neighbors.remove(&NeighborKey { vni, ip });
    };
    assert_eq!(
        end(SHOP, &[], "web db", forget),
        "\
anti-spoofing: nobody on network front is known to have 10.1.0.10
verdict: dropped: spoofed_ip
      Anti-spoofing: the source IP address is not one of the port's.
      hint: what is loaded does not give web/eth0 this address: load the file again, or set `spoofing: allow` at the port
"
    );
    assert_eq!(
        end(SHOP, &[], "web 10.1.0.99", forget),
        "\
dropped, spoofed_arp: Anti-spoofing: the ARP packet claims an address that is not the port's.
verdict: not sent: unanswered
      No port of network front was given 10.1.0.99, so nobody answers.
      hint: what is loaded does not give web/eth0 this address: load the file again, or set `spoofing: allow` at the port
"
    );
}

#[test]
fn an_address_that_the_network_does_not_answer_for() {
    let end = end(SHOP, &[], "web db", |topology, tables| {
        let (vni, _) = port(topology, "db");
        let ip = Ip::from(Ipv4Addr::new(10, 1, 0, 20));
        tables.neighbors.remove(&NeighborKey { vni, ip });
    });
    assert!(end.contains("verdict: delivered to db/eth0"), "{end}");
}

#[test]
fn a_network_that_is_gone() {
    let end = end(SHOP, &["db"], "web db", |topology, tables| {
        let (vni, _) = port(topology, "web");
        tables.networks.remove(&vni);
    });
    assert_eq!(
        end,
        "\
network front is not there
verdict: dropped: unknown_network
      The port's network has no row: it was removed while the frame was on its way.
      hint: what is loaded is not what the file says: load it again
"
    );
}

#[test]
fn a_sender_whose_interface_is_gone() {
    let end = end(SHOP, &[], "web db", |_, tables| tables.interfaces.clear());
    assert!(end.contains("verdict: not sent: unplugged"), "{end}");
}

/// Where db's MAC address was seen behind the port of nest, so many seconds ago.
fn seen(plan: &Plan, topology: &Topology, seconds: u64) -> MemoryTables {
    const SECOND: u64 = 1_000_000_000;
    let (vni, nest) = port(topology, "nest");
    let name = PortName {
        workload: "db".to_owned(),
        interface: "eth0".to_owned(),
    };
    let entry = LearnedEntry {
        seen_ns: 1000 * SECOND,
        port: nest,
        reserved: 0,
    };
    let key = FdbKey::new(vni, topology.ports[&name].mac);
    let interfaces = plan.links.keys().cloned().zip((7..).map(IfIndex));
    let rows = plan.rows(&interfaces.collect());
    tables_of(&rows, [(key, entry)].into(), (1000 + seconds) * SECOND)
}

#[test]
fn learned_addresses() {
    let (topology, plan) = planned(NEST, &["db"]);
    let ends = [59, 60].map(|seconds| {
        let tables = seen(&plan, &topology, seconds);
        let trace = trace(&topology, &plan, tables, &query("web db")).unwrap();
        let steps = trace.steps.iter().rev().take(3).rev();
        let steps: Vec<&str> = steps.map(|step| step.text.as_str()).collect();
        format!("{}\n{}\n", steps.join("\n"), trace.verdict)
    });
    assert_eq!(
        ends.concat(),
        "\
network front floods what is for an unknown station
02:62:2b:e8:84:25 was seen at nest/eth0 59 s ago, and learned addresses last 60 s
nest/eth0 is behind bl-fb29f39d
delivered to nest/eth0
nobody is known to have 02:62:2b:e8:84:25
network front floods what is for an unknown station
02:62:2b:e8:84:25 was seen at nest/eth0 60 s ago, and learned addresses last 60 s
flooded to nest/eth0
"
    );
}
