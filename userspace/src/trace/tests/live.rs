//! Tables that are not what the file wants them to be.

use std::net::Ipv4Addr;

use datapath::memory::MemoryTables;
use maps_schema::map::{FdbKey, LearnedEntry, NeighborKey, Resolved};
use maps_schema::{IfIndex, Ip, Mac, PortId, Vni};

use super::routed::{CHAIN, SITE};
use super::{NEST, SHOP, instance, planned, query};
use crate::plan::Plan;
use crate::topology::{PortName, Topology};
use crate::trace::{Observed, planned_tables, tables_of, trace};

const SECOND: u64 = 1_000_000_000;

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
    let trace = trace(&topology, &instance(), &plan, tables, &query(text)).unwrap();
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
    let observed = Observed {
        learned: [(key, entry)].into(),
        now_ns: (1000 + seconds) * SECOND,
        ..Observed::default()
    };
    tables_of(&rows, observed)
}

#[test]
fn learned_addresses() {
    let (topology, plan) = planned(NEST, &["db"]);
    let ends = [59, 60].map(|seconds| {
        let tables = seen(&plan, &topology, seconds);
        let trace = trace(&topology, &instance(), &plan, tables, &query("web db")).unwrap();
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

/// Tables in which core asked for 10.2.0.99 some seconds ago.
fn asks(questions: u32, answers: bool) -> impl FnOnce(&Topology, &mut MemoryTables) {
    move |topology, tables| {
        let (vni, nest) = port(topology, "nest");
        let ip = Ip::from(Ipv4Addr::new(10, 2, 0, 99));
        let row = Resolved {
            time_ns: 100 * SECOND,
            port: if answers { nest } else { PortId::NONE },
            questions,
            mac: Mac::new([2, 0, 0, 0, 0, 0x99]),
            reserved: 0,
        };
        tables
            .resolved
            .get_mut()
            .insert(NeighborKey { vni, ip }, row);
        tables.now_ns.set(103 * SECOND);
    }
}

/// The last steps and the verdict, without the places in the file.
fn ends(rest: &str, text: &str, change: impl FnOnce(&Topology, &mut MemoryTables)) -> String {
    let (topology, plan) = planned(rest, &[]);
    let mut tables = planned_tables(&plan);
    change(&topology, &mut tables);
    let trace = trace(&topology, &instance(), &plan, tables, &query(text)).unwrap();
    let steps = trace.steps.iter().filter(|step| step.router.is_some());
    let steps: String = steps.map(|step| step.text.clone() + "\n").collect();
    let text = trace.to_string();
    let (_, verdict) = text.split_at(text.find("verdict: ").unwrap());
    format!("{steps}{verdict}")
}

#[test]
fn a_next_hop_that_answered() {
    assert_eq!(
        ends(SITE, "web 10.2.0.99", asks(0, true)),
        "\
enters at core/front from network front
route: 10.2.0.0/24 at core/back
mtu: core/back carries 1400 bytes at most, and senders of larger packets are told so
next hop: 10.2.0.99 answered 3 s ago at nest/eth0, 02:00:00:00:00:99
leaves by core/back with TTL 63
nest/eth0 is behind bl-fb29f39d
verdict: delivered to nest/eth0, with TTL 63                                                shop.yaml:19:19
"
    );
}

#[test]
fn a_next_hop_that_was_asked_once() {
    assert_eq!(
        ends(SITE, "web 10.2.0.99", asks(1, false)),
        "\
enters at core/front from network front
route: 10.2.0.0/24 at core/back
mtu: core/back carries 1400 bytes at most, and senders of larger packets are told so
next hop: 10.2.0.99 was asked for once and has not answered
asks who has 10.2.0.99: db/eth0, nest/eth0
verdict: dropped: neighbor_pending
      The next hop is not known yet; it is being asked for.
      hint: a station behind nest/eth0 may answer, and then the next packet gets through: `--live` knows the answers
"
    );
}

#[test]
fn a_next_hop_that_does_not_answer() {
    assert_eq!(
        ends(SITE, "web 10.2.0.99", asks(3, false)),
        "\
enters at core/front from network front
route: 10.2.0.0/24 at core/back
mtu: core/back carries 1400 bytes at most, and senders of larger packets are told so
next hop: 10.2.0.99 was asked for 3 times and has not answered
verdict: dropped: neighbor_unreachable
      The next hop did not answer. The sender is told.
      the sender is told: host unreachable (ICMP type 3, code 1), from 10.1.0.1 at core/front
      hint: look whether a station behind nest/eth0 has 10.2.0.99: all were asked, and none answered
"
    );
}

#[test]
fn a_link_that_is_too_small() {
    let shrink = |topology: &Topology, tables: &mut MemoryTables| {
        let back = &topology.routers["core"].ports["back"];
        tables.router_ports.get_mut(&back.id).unwrap().mtu = 39;
    };
    assert_eq!(
        ends(SITE, "web db", shrink),
        "\
enters at core/front from network front
route: 10.2.0.0/24 at core/back
mtu: core/back carries 39 bytes at most, and senders of larger packets are told so
verdict: dropped: too_big
      The packet is larger than the next link's MTU. The sender is told which size fits.
      the sender is told: packet too big (ICMP type 3, code 4), from 10.1.0.1 at core/front
      hint: raise the MTU of core/back, or send less at once
"
    );
}

#[test]
fn routes_in_a_circle() {
    let turn = |topology: &Topology, tables: &mut MemoryTables| {
        let left = &topology.routers["left"];
        let back = left
            .routes
            .iter()
            .find(|it| it.to.to_string() == "10.3.0.0/24");
        let key = crate::plan::route_key(left, back.unwrap().to);
        let row = tables.routes.get_mut(&key).unwrap();
        (row.port, row.via) = (left.ports["mid"].id, Ip::from(Ipv4Addr::new(192, 0, 2, 1)));
    };
    assert_eq!(
        ends(CHAIN, "web db", turn),
        "\
enters at core/front from network front
route: 10.3.0.0/24 by one of 2 equal next hops
the flow is in bucket 3 of 256: via 192.0.2.2 at core/mid
next hop: 192.0.2.2 is left/mid, 02:72:b3:82:83:37
leaves by core/mid with TTL 63
enters at left/mid from network mid
route: 10.3.0.0/24 via 192.0.2.1 at left/mid
next hop: 192.0.2.1 is core/mid, 02:72:b4:82:84:ca
leaves by left/mid with TTL 62
enters at core/mid from network mid
route: 10.3.0.0/24 by one of 2 equal next hops
the flow is in bucket 3 of 256: via 192.0.2.2 at core/mid
next hop: 192.0.2.2 is left/mid, 02:72:b3:82:83:37
leaves by core/mid with TTL 61
comes to left/mid again: the routes lead in a circle
verdict: dropped: too_many_routers
      The packet passed more virtual routers than the datapath follows: a loop of routes.
      hint: look for routes that lead in a circle: what is loaded may not be what the file says
"
    );
}

#[test]
fn a_route_that_is_not_there() {
    let forget = |_: &Topology, tables: &mut MemoryTables| tables.routes.clear();
    assert_eq!(
        ends(SITE, "web db", forget),
        "\
enters at core/front from network front
no route leads to 10.2.0.20
verdict: dropped: no_route
      The router has no route to the destination. The sender is told.
      the sender is told: no route to the destination (ICMP type 3, code 0), from 10.1.0.1 at core/front
      hint: what is loaded is not what the file says: load it again
"
    );
}
