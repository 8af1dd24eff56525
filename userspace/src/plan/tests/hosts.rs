//! Plans of several hosts for one topology.

use std::net::IpAddr;

use maps_schema::map::{
    Direct, EgressPort, FdbEntry, FdbKey, FloodKey, FloodMember, Member, MemberKey, Network,
    NextHop, Uplink,
};
use maps_schema::plain::from_bytes;
use maps_schema::{Ip, Mac};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::plan;

/// Two hosts with a network on both and one that a router joins it with, a third one that has
/// nothing to do with either, and an ordinary VTEP.
const SITE: &str = "\
hosts: { alpha: 192.0.2.11, beta: { address: 192.0.2.12, mtu: 1400 }, gamma: 192.0.2.13 }
tunnels: [{ between: [alpha, gamma], tunnel: geneve }]
networks:
  front: { subnets: [10.1.0.0/24, 'fd00:1::/64'], vni: 100 }
  back: { subnets: 10.2.0.0/24, vni: 200 }
  apart: { subnets: 10.3.0.0/24, vni: 300 }
routers: { core: { ports: { front: 10.1.0.1, back: 10.2.0.1 } } }
vteps: { tor: { address: 192.0.2.50, networks: { front: { macs: 02:00:00:00:00:51, learn: true } } } }
workloads:
  web: { host: alpha, ports: [{ network: front, addresses: 10.1.0.10, mac: 02:00:00:00:00:10 }] }
  db: { host: beta, ports: [{ network: front, addresses: 10.1.0.20, mac: 02:00:00:00:00:20 }] }
  log: { host: beta, ports: [{ network: back, addresses: 10.2.0.30, mac: 02:00:00:00:00:30 }] }
  far: { host: gamma, ports: [{ network: apart, addresses: 10.3.0.40, mac: 02:00:00:00:00:40 }] }
";

fn situation(host: &str) -> Situation {
    Situation {
        host: Some(host.to_owned()),
        uplink: Some(plan::Uplink {
            interface: "lan0".to_owned(),
            ifindex: IfIndex(2),
            mtu: 1500,
            driver: Some("e1000".to_owned()),
            mac: maps_schema::Mac::new([2, 0, 0, 0, 0, 7]),
            addresses: Vec::new(),
            local_ports: (32768, 60999),
        }),
        ..Situation::default()
    }
}

fn plan_in(rest: &str, situation: &Situation) -> Plan {
    let instance = Instance::new(None).unwrap();
    Plan::new(&topology(rest), &instance, situation)
}

fn plan_at(rest: &str, host: &str) -> Plan {
    plan_in(rest, &situation(host))
}

/// The rows of some maps in words.
fn said(plan: &Plan, maps: &[MapName]) -> Vec<String> {
    let tables = tables(plan);
    let rows = maps.iter().flat_map(|map| {
        let rows = tables[map].iter();
        rows.map(|(key, value)| plan.names.describe(*map, key, value))
    });
    let mut said: Vec<String> = rows.collect();
    said.sort_unstable();
    said
}

fn row<V: Plain>(plan: &Plan, map: MapName, key: &impl Plain) -> Option<V> {
    let tables = tables(plan);
    from_bytes(tables[&map].get(bytes_of(key))?)
}

#[test]
fn what_is_on_another_host_is_behind_a_peer() {
    let plan = plan_at(SITE, "alpha");
    assert_eq!(
        said(&plan, &[MapName::Members, MapName::Peers, MapName::Uplinks]),
        [
            "192.0.2.12 is peer beta, through vxlan",
            "192.0.2.13 is peer gamma, through geneve",
            "192.0.2.50 is peer tor, through vxlan",
            "interface 2 is the uplink of 192.0.2.11",
            "peer beta sends for back",
            "peer beta sends for front",
            "peer tor sends for front, an ordinary VTEP, learning",
        ]
    );
    let web = plan.links.values().next().unwrap().ingress.port.0;
    assert_eq!(
        said(&plan, &[MapName::Ports]),
        [
            "peer beta is reached through vxlan from 192.0.2.11 to 192.0.2.12 by interface 2, mtu 1350"
                .to_owned(),
            "peer gamma is reached through geneve from 192.0.2.11 to 192.0.2.13 by interface 2, mtu 1450"
                .to_owned(),
            "peer tor is reached through vxlan from 192.0.2.11 to 192.0.2.50 by interface 2, mtu 1450"
                .to_owned(),
            format!("web/eth0 leads to interface {}", super::interfaces(&plan).values().next().unwrap().0),
        ]
    );
    assert_ne!(web, 0);
    let stations = said(&plan, &[MapName::Fdb, MapName::Neighbors]);
    for expected in [
        "front: 02:00:00:00:00:10 is at web/eth0",
        "front: 02:00:00:00:00:20 is at peer beta",
        "front: 02:00:00:00:00:51 is at peer tor",
        "front: 10.1.0.20 is 02:00:00:00:00:20 at peer beta",
        "front: fe80::ff:fe00:20 is 02:00:00:00:00:20 at peer beta",
        "back: 10.2.0.30 is 02:00:00:00:00:30 at peer beta",
    ] {
        assert!(
            stations.iter().any(|line| line == expected),
            "{expected}: {stations:?}"
        );
    }
    assert_eq!(
        said(&plan, &[MapName::Counters]),
        ["no port", "peer beta", "peer gamma", "peer tor", "web/eth0"]
    );
    let uplink = plan.uplink.unwrap();
    assert_eq!(
        (uplink.interface.as_str(), uplink.ifindex),
        ("lan0", IfIndex(2))
    );
}

#[test]
fn only_networks_that_a_host_needs() {
    let networks = |host: &str| {
        let tables = tables(&plan_at(SITE, host));
        let vnis = tables[&MapName::Networks].keys();
        let mut vnis: Vec<u32> = vnis
            .map(|key| from_bytes::<Vni>(key).unwrap().number())
            .collect();
        vnis.sort_unstable();
        vnis
    };
    // A router joins the network of a host with one on which it has nothing.
    assert_eq!(networks("alpha"), [100, 200]);
    assert_eq!(networks("beta"), [100, 200]);
    assert_eq!(networks("gamma"), [300]);
    let idle = SITE.replace("host: gamma", "host: alpha");
    let plan = plan_at(&idle, "gamma");
    assert!(plan.links.is_empty() && plan.uplink.is_some());
    let tables = tables(&plan);
    for map in [
        MapName::Networks,
        MapName::Fdb,
        MapName::Flood,
        MapName::RouterPorts,
    ] {
        assert!(tables[&map].is_empty(), "{map:?}");
    }
    assert_eq!(tables[&MapName::Peers].len(), 3);
}

#[test]
fn a_frame_is_flooded_once_to_every_peer_that_takes_part() {
    let members = |host: &str, network: &str| -> Vec<String> {
        let plan = plan_at(SITE, host);
        let vni = topology(SITE).networks[network].vni;
        let Network {
            flood, flood_len, ..
        } = row(&plan, MapName::Networks, &vni).unwrap();
        let ports = (0..flood_len).map(|idx| {
            let key = FloodKey { list: flood, idx };
            let member: FloodMember = row(&plan, MapName::Flood, &key).unwrap();
            assert_eq!(member.vni, vni);
            plan.names.port(member.port)
        });
        ports.collect()
    };
    assert_eq!(
        members("alpha", "front"),
        ["web/eth0", "peer beta", "peer tor"]
    );
    assert_eq!(
        members("beta", "front"),
        ["db/eth0", "peer alpha", "peer tor"]
    );
    assert_eq!(members("alpha", "back"), ["peer beta"]);
    assert_eq!(members("gamma", "apart"), ["far/eth0"]);
}

#[test]
fn a_network_learns_where_a_remote_port_or_a_vtep_does() {
    let flags = |rest: &str| {
        let row: Network = row(&plan_at(rest, "alpha"), MapName::Networks, &vni(100)).unwrap();
        row.flags
    };
    assert_eq!(flags(SITE), Network::LEARNS);
    let known = SITE.replace(", learn: true", "");
    assert_eq!(flags(&known), 0);
    let remote = known.replace("mac: 02:00:00:00:00:20", "learning: true");
    assert_eq!(flags(&remote), Network::LEARNS);
    let flags = |rest: &str, port: &str, vni: Vni| {
        let topology = topology(rest);
        let hosts = topology.hosts.get(port).map(|host| host.id);
        let port = hosts.unwrap_or_else(|| topology.vteps[port].id);
        let member: Option<Member> = row(
            &plan_at(rest, "alpha"),
            MapName::Members,
            &MemberKey { port, vni },
        );
        member.map(|member| member.flags as u8)
    };
    let peer = IngressPort::PEER;
    assert_eq!(flags(SITE, "beta", vni(100)), Some(peer));
    assert_eq!(
        flags(&remote, "beta", vni(100)),
        Some(peer | IngressPort::LEARNING)
    );
    // The router is on beta too, which sends for the network behind it; a VTEP sends for its own.
    let back = topology(SITE).networks["back"].vni;
    assert_eq!(flags(&remote, "beta", back), Some(peer));
    let served = peer | IngressPort::SERVED;
    assert_eq!(
        flags(SITE, "tor", vni(100)),
        Some(served | IngressPort::LEARNING)
    );
    assert_eq!(flags(SITE, "tor", back), None);
    let apart = topology(SITE).networks["apart"].vni;
    assert_eq!(flags(SITE, "gamma", apart), None);
    assert_eq!(flags(SITE, "gamma", vni(100)), None);
}

#[test]
fn packets_fit_the_underlay() {
    let mtu = |rest: &str, host: &str, uplink: u32| {
        let mut situation = situation(host);
        situation.uplink.as_mut().unwrap().mtu = uplink;
        let plan = plan_in(rest, &situation);
        (plan.carried, plan.links.values().next().unwrap().link.mtu)
    };
    // What is declared of one host holds for the networks of all.
    assert_eq!(mtu(SITE, "alpha", 1500), (1350, 1350));
    assert_eq!(mtu(SITE, "beta", 9000), (1350, 1350));
    let unsaid = SITE.replace("{ address: 192.0.2.12, mtu: 1400 }", "192.0.2.12");
    assert_eq!(mtu(&unsaid, "alpha", 1500), (1450, 1450));
    assert_eq!(mtu(&unsaid, "alpha", 9000), (8950, 8950));
    let smaller = unsaid.replace("addresses: 10.1.0.10", "addresses: 10.1.0.10, mtu: 1300");
    assert_eq!(mtu(&smaller, "alpha", 1500), (1450, 1300));
    let larger = unsaid.replace("addresses: 10.1.0.10", "addresses: 10.1.0.10, mtu: 1460");
    assert_eq!(mtu(&larger, "alpha", 1500), (1450, 1450));
    let given = format!(
        "defaults: {{ mtu: 1200 }}\n{}",
        unsaid.replace(", 'fd00:1::/64'", "")
    );
    assert_eq!(mtu(&given, "alpha", 1500), (1450, 1200));
}

#[test]
fn hosts_without_a_tunnel_know_one_anothers_addresses() {
    let rest = SITE
        .replace(
            "between: [alpha, gamma], tunnel: geneve",
            "between: [alpha, beta], tunnel: none",
        )
        .replace("vteps: { tor", "# vteps: { tor");
    let mut situation = situation("alpha");
    let [peer, hop] = ["192.0.2.12", "192.0.2.1"].map(|ip| ip.parse::<IpAddr>().unwrap());
    situation.next_hops.insert(peer, hop);
    let plan = plan_in(&rest, &situation);
    let core = &topology(&rest).routers["core"];
    let [front, back] = ["front", "back"].map(|port| core.ports[port].mac);
    assert_eq!(
        said(&plan, &[MapName::Direct]),
        [
            format!(
                "10.1.0.10 is 02:00:00:00:00:10 in front at web/eth0, from other networks by {front}"
            ),
            format!(
                "10.1.0.20 is 02:00:00:00:00:20 in front at peer beta, from other networks by {front}"
            ),
            format!(
                "10.2.0.30 is 02:00:00:00:00:30 in back at peer beta, from other networks by {back}"
            ),
        ]
    );
    let id = topology(&rest).hosts["beta"].id;
    let port: EgressPort = row(&plan, MapName::Ports, &id).unwrap();
    assert_eq!((port.kind, port.mtu), (EgressPort::DIRECT, 1400));
    assert_eq!(port.remote, Ip::from(hop));
    let uplink: Uplink = row(&plan, MapName::Uplinks, &IfIndex(2)).unwrap();
    let kinds = [EgressPort::VXLAN, EgressPort::DIRECT];
    assert_eq!(uplink.kinds & Uplink::of(EgressPort::GRE), 0);
    for kind in kinds {
        assert_ne!(uplink.kinds & Uplink::of(kind), 0, "{kind}");
    }
    // A host that has tunnels to all others needs none of this.
    let other = plan_at(&rest, "gamma");
    assert_eq!(said(&other, &[MapName::Direct]), [""; 0]);
    // Without a router there is no gateway.
    let unrouted = rest.replace("routers:", "# routers:");
    let key = Ip::from("10.1.0.20".parse::<IpAddr>().unwrap());
    let direct: Direct = row(&plan_at(&unrouted, "alpha"), MapName::Direct, &key).unwrap();
    assert_eq!(direct.gateway, Mac::ZERO);
}

#[test]
fn next_hops_on_dead_hosts_are_left_out_while_others_are_left() {
    let rest = SITE.replace(
        "back: 10.2.0.1 } }",
        "back: 10.2.0.1 }, routes: [{ to: 10.9.0.0/16, via: [10.1.0.10, 10.1.0.20] }, { to: 10.8.0.0/16, via: 10.1.0.20 }] }",
    );
    let hops = |dead: &[&str]| {
        let mut situation = situation("alpha");
        situation.dead = dead.iter().map(|&name| name.to_owned()).collect();
        let plan = plan_in(&rest, &situation);
        let rows = tables(&plan);
        let mut hops: Vec<String> = rows[&MapName::NextHops]
            .values()
            .map(|value| from_bytes::<NextHop>(value).unwrap().via.to_string())
            .collect();
        hops.sort_unstable();
        hops.dedup();
        let routes = said(&plan, &[MapName::Routes]);
        let routes = routes.into_iter().filter(|route| route.contains(" via "));
        (hops, routes.collect::<Vec<String>>())
    };
    let only = |to: &str, via: &str| format!("core: {to} via {via} at core/front");
    let single = only("10.8.0.0/16", "10.1.0.20");
    let both = vec!["10.1.0.10".to_owned(), "10.1.0.20".to_owned()];
    assert_eq!(hops(&[]), (both.clone(), vec![single.clone()]));
    assert_eq!(
        hops(&["beta"]),
        (
            vec![],
            vec![single.clone(), only("10.9.0.0/16", "10.1.0.10")]
        )
    );
    // A host does not count itself as dead, and a topology whose hosts are all dead keeps its routes.
    assert_eq!(hops(&["alpha", "gamma"]), (both, vec![single]));
}

#[test]
fn a_narrow_way_makes_the_tunnel_to_one_host_smaller_and_nothing_else() {
    let mtus = |narrow: &[(&str, u32)]| {
        let mut situation = situation("alpha");
        let narrow = narrow.iter();
        situation.path_mtu = narrow.map(|&(name, mtu)| (name.to_owned(), mtu)).collect();
        let plan = plan_in(SITE, &situation);
        let hosts = topology(SITE).hosts;
        let port =
            |name: &str| -> Option<EgressPort> { row(&plan, MapName::Ports, &hosts[name].id) };
        (
            port("beta").unwrap().mtu,
            port("gamma").unwrap().mtu,
            plan.carried,
        )
    };
    assert_eq!(mtus(&[]), (1350, 1450, 1350));
    assert_eq!(mtus(&[("gamma", 1300)]), (1350, 1250, 1350));
    // One that is wider than the file says is used as the file says.
    assert_eq!(mtus(&[("beta", 1450)]), (1350, 1450, 1350));
}

#[test]
fn without_its_uplink_a_host_has_no_way_to_its_peers() {
    let plan = plan_in(
        SITE,
        &Situation {
            uplink: None,
            ..situation("alpha")
        },
    );
    assert_eq!(plan.uplink, None);
    assert_eq!(said(&plan, &[MapName::Ports]).len(), 1);
    assert_eq!(said(&plan, &[MapName::Uplinks]), [""; 0]);
    let alone = plan_at("hosts: { alpha: 192.0.2.11 }\nnetworks: { n: [] }", "alpha");
    assert_eq!(alone.uplink, None);
}

/// A file with some hosts, three networks of which two may be joined, and perhaps a VTEP.
fn site(hosts: usize, workloads: &[(Index, Index, bool)], joined: bool, vtep: bool) -> String {
    let addresses = (0..hosts).map(|i| format!("h{i}: 192.0.2.{}", i + 1));
    let mut file = format!(
        "hosts: {{ {} }}\n",
        addresses.collect::<Vec<_>>().join(", ")
    );
    file.push_str("networks: { n0: 10.0.0.0/24, n1: 10.1.0.0/24, n2: 10.2.0.0/24 }\n");
    if joined {
        file.push_str("routers: { core: { ports: { n0: 10.0.0.1, n1: 10.1.0.1 } } }\n");
    }
    if vtep {
        file.push_str("vteps: { tor: { address: 192.0.2.99, networks: { n0: learn } } }\n");
    }
    file.push_str("workloads:\n");
    for (i, (host, network, learning)) in workloads.iter().enumerate() {
        let (host, network) = (host.index(hosts), network.index(3));
        let port = format!(
            "{{ network: n{network}, addresses: 10.{network}.0.{}, learning: {learning} }}",
            i + 10
        );
        file.push_str(&format!("  w{i}: {{ host: h{host}, ports: [{port}] }}\n"));
    }
    file
}

proptest! {
    #[test]
    fn hosts_agree(
        hosts in 2..5_usize,
        workloads in vec((any::<Index>(), any::<Index>(), any::<bool>()), 1..12),
        joined: bool,
        vtep: bool,
    ) {
        let file = site(hosts, &workloads, joined, vtep);
        let topology = topology(&file);
        let host_of = |port: &PortName| topology.workloads[&port.workload].host.clone().unwrap();
        for own in topology.hosts.keys() {
            let plan = plan_at(&file, own);
            let tables = tables(&plan);
            let is_there = |map: MapName, port: PortId| has(&tables, map, &port);
            for (name, network) in &topology.networks {
                let ports: Vec<_> = topology.ports.iter().filter(|(_, it)| it.network == *name).collect();
                let Some(row) = row::<Network>(&plan, MapName::Networks, &network.vni) else {
                    prop_assert!(!ports.iter().any(|(port, _)| host_of(port) == *own));
                    continue;
                };
                prop_assert!(![0, u32::MAX].contains(&row.flood.0));
                // The ports here, and each other host and VTEP that takes part once.
                let mut expected: Vec<PortId> = ports
                    .iter()
                    .map(|(port, it)| if host_of(port) == *own { it.id } else { topology.hosts[&host_of(port)].id })
                    .collect();
                let vteps = topology.vteps.values().filter(|vtep| vtep.networks.contains_key(name));
                expected.extend(vteps.map(|vtep| vtep.id));
                expected.sort_unstable();
                expected.dedup();
                let members = (0..row.flood_len).map(|idx| {
                    let key = FloodKey { list: row.flood, idx };
                    super::hosts::row::<FloodMember>(&plan, MapName::Flood, &key).unwrap().port
                });
                let mut members: Vec<PortId> = members.collect();
                prop_assert!(members.iter().all(|&port| is_there(MapName::Ports, port) && is_there(MapName::Counters, port)));
                members.sort_unstable();
                prop_assert_eq!(members, expected);
                // Where a station is does not depend on who is asked.
                for (port, it) in ports {
                    let key = FdbKey::new(network.vni, it.mac);
                    let entry: FdbEntry = super::hosts::row(&plan, MapName::Fdb, &key).unwrap();
                    let host = host_of(port);
                    let at = if host == *own { it.id } else { topology.hosts[&host].id };
                    prop_assert_eq!(entry.port, at);
                }
            }
            // What is here is plugged in here, and nothing else.
            let planned = plan.links.values().map(|link| link.name.clone());
            let here = topology.ports.keys().filter(|port| host_of(port) == *own).cloned();
            prop_assert_eq!(planned.collect::<std::collections::BTreeSet<_>>(), here.collect());
            // The same is planned every time.
            prop_assert_eq!(&plan_at(&file, own), &plan);
        }
    }
}

/// By itself only natively, and not where the driver is that of virtual pairs.
#[test]
fn the_uplink_uses_xdp_as_the_file_and_the_driver_say() {
    use crate::program::XdpMode::{Generic, Native};

    let xdp = |word: &str, driver: Option<&str>| {
        let hosts = format!(
            "hosts: {{ alpha: {{ address: 192.0.2.11, xdp: {word} }}, beta: 192.0.2.12 }}\n"
        );
        let mut situation = situation("alpha");
        situation.uplink.as_mut().unwrap().driver = driver.map(str::to_owned);
        let planned = plan_in(&hosts, &situation).uplink.unwrap().xdp;
        planned.map(|xdp| (xdp.mode, xdp.required))
    };
    assert_eq!(xdp("auto", Some("ixgbe")), Some((Native, false)));
    assert_eq!(xdp("auto", None), Some((Native, false)));
    assert_eq!(xdp("auto", Some("veth")), None);
    assert_eq!(xdp("native", Some("veth")), Some((Native, true)));
    assert_eq!(xdp("generic", Some("ixgbe")), Some((Generic, true)));
    assert_eq!(xdp("off", Some("ixgbe")), None);
}
