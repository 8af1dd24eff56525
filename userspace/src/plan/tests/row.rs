//! Single plans: which rows there are, and what they say.

use maps_schema::map::{FLOOD_MAX, FdbKey, FloodKey, FloodMember, NeighborKey, Network};
use maps_schema::plain::from_bytes;
use maps_schema::{FloodList, Ip, Mac};

use super::*;

#[test]
fn every_row_of_a_small_topology() {
    let expected = "\
COUNTERS: no port
COUNTERS: db/lan
COUNTERS: web/eth1
COUNTERS: tap/eth0
COUNTERS: web/eth0
PORTS: db/lan leads to interface 11
PORTS: web/eth1 leads to interface 14
PORTS: tap/eth0 leads to interface 12
PORTS: web/eth0 leads to interface 13
NEIGHBORS: front: 10.1.0.10 is 02:00:00:00:00:10 at web/eth0
NEIGHBORS: front: fd00:1::10 is 02:00:00:00:00:10 at web/eth0
NEIGHBORS: front: fe80::ff:fe00:10 is 02:00:00:00:00:10 at web/eth0
NEIGHBORS: front: fe80::ff:fe00:30 is 02:00:00:00:00:30 at tap/eth0
NEIGHBORS: back: 10.2.0.10 is 02:00:00:00:00:11 at web/eth1
NEIGHBORS: back: 10.2.0.20 is 02:00:00:00:00:20 at db/lan
NEIGHBORS: back: fe80::ff:fe00:11 is 02:00:00:00:00:11 at web/eth1
NEIGHBORS: back: fe80::ff:fe00:20 is 02:00:00:00:00:20 at db/lan
FDB: front: 02:00:00:00:00:10 is at web/eth0
FDB: front: 02:00:00:00:00:30 is at tap/eth0
FDB: back: 02:00:00:00:00:11 is at web/eth1
FDB: back: 02:00:00:00:00:20 is at db/lan
FLOOD: list cb33f013[0]: tap/eth0
FLOOD: list cb33f013[1]: web/eth0
FLOOD: list 40a6df25[0]: db/lan
FLOOD: list 40a6df25[1]: web/eth1
NETWORKS: front (vni 100): 2 ports in list cb33f013, unknown unicast dropped, learning, ageing 300s
NETWORKS: back (vni 200): 2 ports in list 40a6df25, unknown unicast flooded, ageing 7s
INTERFACES: interface 11 is db/lan in back with 02:00:00:00:00:20
INTERFACES: interface 12 is tap/eth0 in front with 02:00:00:00:00:30, learning, may spoof
INTERFACES: interface 13 is web/eth0 in front with 02:00:00:00:00:10
INTERFACES: interface 14 is web/eth1 in back with 02:00:00:00:00:11";
    // The order of keys is that of their bytes, which is the machine's own; the rows are the same.
    let mut expected: Vec<&str> = expected.lines().collect();
    let mut described = described(&plan(SHOP));
    expected.sort_unstable();
    described.sort_unstable();
    assert_eq!(described, expected);
}

#[test]
fn every_link_of_a_small_topology() {
    let plan = plan(SHOP);
    let web = &plan.links["bl-c784aefb"];
    assert_eq!(web.name.to_string(), "web/eth0");
    assert_eq!(
        (web.link.name.as_str(), web.link.alias.as_str()),
        ("bl-c784aefb", "bowline:default:web/eth0")
    );
    assert_eq!((web.link.mtu, web.link.up), (1400, true));
    let inside = &web.link.inside;
    assert_eq!(inside.interface, "eth0");
    assert_eq!(inside.mac, Mac::new([2, 0, 0, 0, 0, 0x10]));
    let addresses: Vec<String> = inside.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.1.0.10/24", "fd00:1::10/64"]);
    let routes: Vec<String> = inside
        .routes
        .iter()
        .map(|route| format!("{} via {}", route.to, route.via))
        .collect();
    assert_eq!(routes, ["0.0.0.0/0 via 10.1.0.1"]);
    let names: Vec<String> = plan.links.values().map(|it| it.name.to_string()).collect();
    assert_eq!(names, ["db/lan", "web/eth1", "web/eth0", "tap/eth0"]);
    for planned in plan.links.values() {
        assert_eq!(plan.link_of(planned.ingress.port), Some(planned));
    }
    assert_eq!(plan.link_of(PortId::NONE), None);
}

#[test]
fn the_same_topology_is_the_same_plan() {
    let (one, two) = (plan(SHOP), plan(SHOP));
    assert_eq!(one.links, two.links);
    assert_eq!(tables(&one), tables(&two));
    // The order in which things are written in the file makes no difference.
    let (networks, workloads) = SHOP.split_at(SHOP.find("workloads:").unwrap());
    let swapped = plan(&format!("{workloads}{networks}"));
    assert_eq!(one.links, swapped.links);
    assert_eq!(tables(&one), tables(&swapped));
}

#[test]
fn an_empty_topology_has_no_port_but_every_map() {
    let plan = plan("networks: {}");
    let tables = tables(&plan);
    assert_eq!(tables.len(), MapName::ALL.len());
    assert_eq!(described(&plan), ["COUNTERS: no port"]);
}

#[test]
fn what_is_absent_cannot_be_reached() {
    let plan = plan_without(SHOP, &["web"]);
    let expected = "\
COUNTERS: no port
COUNTERS: db/lan
COUNTERS: tap/eth0
PORTS: db/lan leads to interface 11
PORTS: tap/eth0 leads to interface 12
NEIGHBORS: front: fe80::ff:fe00:30 is 02:00:00:00:00:30 at tap/eth0
NEIGHBORS: back: 10.2.0.20 is 02:00:00:00:00:20 at db/lan
NEIGHBORS: back: fe80::ff:fe00:20 is 02:00:00:00:00:20 at db/lan
FDB: front: 02:00:00:00:00:30 is at tap/eth0
FDB: back: 02:00:00:00:00:20 is at db/lan
FLOOD: list d5064b5c[0]: tap/eth0
FLOOD: list b86dc7b6[0]: db/lan
NETWORKS: front (vni 100): 1 port in list d5064b5c, unknown unicast dropped, learning, ageing 300s
NETWORKS: back (vni 200): 1 port in list b86dc7b6, unknown unicast flooded, ageing 7s
INTERFACES: interface 11 is db/lan in back with 02:00:00:00:00:20
INTERFACES: interface 12 is tap/eth0 in front with 02:00:00:00:00:30, learning, may spoof";
    let mut expected: Vec<&str> = expected.lines().collect();
    let mut described = described(&plan);
    expected.sort_unstable();
    described.sort_unstable();
    assert_eq!(described, expected);
    // It has a name nevertheless, for those who ask.
    let id = super::plan(SHOP).links["bl-c784aefb"].ingress.port;
    assert_eq!(plan.names.port(id), "web/eth0");
}

#[test]
fn without_its_interface_a_port_leads_nowhere() {
    let plan = plan(SHOP);
    let mut known = interfaces(&plan);
    let gone = plan.links["bl-c784aefb"].ingress.port;
    known.remove("bl-c784aefb");
    let tables = plan.rows(&known);
    assert!(!has(&tables, MapName::Ports, &gone));
    assert!(!has(&tables, MapName::Interfaces, &IfIndex(13)));
    assert_eq!(tables[&MapName::Ports].len(), 3);
    // Interfaces that no planned link has mean nothing.
    known.insert("bl-00000000".to_owned(), IfIndex(99));
    assert_eq!(plan.rows(&known), tables);
}

/// The flags of the only port of a network, and the row of that network.
fn settings(network: &str, port: &str) -> (u8, Network) {
    let file = format!(
        "networks: {{ n: {{ subnets: 10.1.0.0/24, vni: 7{network} }} }}\n\
         workloads: {{ w: {{ ports: [{{ network: n{port} }}] }} }}\n"
    );
    let plan = plan(&file);
    let row = &tables(&plan)[&MapName::Networks][bytes_of(&vni(7))];
    let flags = plan.links.values().next().unwrap().ingress.flags;
    (flags, from_bytes(row).unwrap())
}

#[test]
fn settings_become_flags() {
    let (port, network) = settings("", "");
    assert_eq!((port, network.flags), (0, 0));
    assert_eq!(network.ageing_ns, 300_000_000_000);
    assert_eq!((network.flood_len, network.reserved), (1, 0));

    let (port, network) = settings("", ", learning: true");
    assert_eq!(
        (port, network.flags),
        (IngressPort::LEARNING, Network::LEARNS)
    );
    let (port, network) = settings("", ", spoofing: allow");
    assert_eq!((port, network.flags), (IngressPort::MAY_SPOOF, 0));
    let (port, network) = settings(", unknown_unicast: flood", ", learning: false");
    assert_eq!((port, network.flags), (0, Network::FLOOD_UNKNOWN));
    let (port, network) = settings(
        ", unknown_unicast: flood",
        ", learning: true, spoofing: allow",
    );
    assert_eq!(port, IngressPort::LEARNING | IngressPort::MAY_SPOOF);
    assert_eq!(network.flags, Network::FLOOD_UNKNOWN | Network::LEARNS);
    let (port, network) = settings(", mss: clamp", "");
    assert_eq!((port, network.flags), (IngressPort::CLAMPS_MSS, 0));
    let (_, network) = settings(", ageing: 1000000", "");
    assert_eq!(network.ageing_ns, 1_000_000_000_000_000);
}

#[test]
fn a_network_learns_only_where_a_learning_port_is_there() {
    let flags = |plan: &Plan| {
        let row = &tables(plan)[&MapName::Networks][bytes_of(&vni(100))];
        from_bytes::<Network>(row).unwrap().flags
    };
    assert_eq!(flags(&plan(SHOP)), Network::LEARNS);
    assert_eq!(flags(&plan_without(SHOP, &["tap"])), 0);
}

#[test]
fn events_are_wished_for_by_the_file() {
    assert!(!plan(SHOP).settings.drop_events);
    assert!(
        plan(&format!("defaults: {{ drop_events: true }}\n{SHOP}"))
            .settings
            .drop_events
    );
}

#[test]
fn networks_with_equal_addresses_share_no_row() {
    let file = |prefix: &str, vni: u32| {
        format!(
            "networks: {{ n{prefix}: {{ subnets: [10.1.0.0/24, 'fd00::/64'], vni: {vni} }} }}\n\
             workloads:\n  \
               {prefix}a: {{ ports: [{{ network: n{prefix}, mac: 02:00:00:00:00:01,\
                                       addresses: [10.1.0.1, 'fd00::1'] }}] }}\n  \
               {prefix}b: {{ ports: [{{ network: n{prefix}, mac: 02:00:00:00:00:02,\
                                       addresses: 10.1.0.2 }}] }}\n"
        )
    };
    let (one, two) = (file("x", 1), file("y", 2));
    let both = {
        let (networks, workloads) = two.split_once("workloads:\n").unwrap();
        let network = networks.trim_start_matches("networks: { ").trim_end();
        let network = network.strip_suffix('}').unwrap();
        format!(
            "{}{workloads}",
            one.replacen("networks: {", &format!("networks: {{ {network},"), 1)
        )
    };
    let (one, two, both) = (
        tables(&plan(&one)),
        tables(&plan(&two)),
        tables(&plan(&both)),
    );
    for &map in MapName::ALL {
        let shared: Vec<_> = one[&map]
            .keys()
            .filter(|key| two[&map].contains_key(*key))
            .collect();
        let expected = usize::from(map == MapName::Counters);
        assert_eq!(shared.len(), expected, "{map:?}");
        // Side by side the two are what they are alone.
        let mut sum = one[&map].clone();
        sum.extend(two[&map].clone());
        assert_eq!(sum, both[&map], "{map:?}");
    }
}

#[test]
fn the_largest_network() {
    use std::fmt::Write;

    let mut file = "networks: { n: { subnets: 10.0.0.0/16, vni: 7 } }\nworkloads:\n".to_owned();
    for i in 0..FLOOD_MAX {
        let (high, low) = (1 + i / 250, 1 + i % 250);
        let port = format!("{{ network: n, addresses: 10.0.{high}.{low} }}");
        writeln!(file, "  w{i}: {{ ports: [{port}] }}").unwrap();
    }
    let plan = plan(&file);
    let tables = tables(&plan);
    let ports = FLOOD_MAX as usize;
    assert_eq!(plan.links.len(), ports);
    for (map, rows) in [
        (MapName::Counters, ports + 1),
        (MapName::Ports, ports),
        (MapName::Neighbors, 2 * ports),
        (MapName::Fdb, ports),
        (MapName::Flood, ports),
        (MapName::Networks, 1),
        (MapName::Interfaces, ports),
    ] {
        assert_eq!(tables[&map].len(), rows, "{map:?}");
        assert!(rows <= map.rows() as usize, "{map:?}");
    }
    let row = &tables[&MapName::Networks][bytes_of(&vni(7))];
    let Network {
        flood, flood_len, ..
    } = from_bytes(row).unwrap();
    assert_eq!(flood_len, FLOOD_MAX);
    for idx in 0..FLOOD_MAX {
        assert!(
            has(&tables, MapName::Flood, &FloodKey { list: flood, idx }),
            "{idx}"
        );
    }
}

#[test]
fn keys_are_what_the_datapath_asks_for() {
    let tables = tables(&plan(SHOP));
    let mac = Mac::new([2, 0, 0, 0, 0, 0x10]);
    assert!(has(&tables, MapName::Fdb, &FdbKey::new(vni(100), mac)));
    assert!(!has(&tables, MapName::Fdb, &FdbKey::new(vni(200), mac)));
    for text in ["10.1.0.10", "fd00:1::10", "fe80::ff:fe00:10"] {
        let ip = Ip::from(text.parse::<std::net::IpAddr>().unwrap());
        let key = |number| NeighborKey {
            vni: vni(number),
            ip,
        };
        assert!(has(&tables, MapName::Neighbors, &key(100)), "{text}");
        assert!(!has(&tables, MapName::Neighbors, &key(200)), "{text}");
    }
}

#[test]
fn what_has_no_name_is_numbered() {
    let names = Names::default();
    assert_eq!(names.port(PortId(0xab)), "port 000000ab");
    assert_eq!(names.port(PortId::NONE), "no port");
    assert_eq!(names.network(vni(7)), "vni 7");
    let key = FloodKey {
        list: FloodList(1),
        idx: 2,
    };
    let member = FloodMember {
        port: PortId(3),
        vni: vni(7),
    };
    assert_eq!(
        names.describe(MapName::Flood, bytes_of(&key), bytes_of(&member)),
        "list 00000001[2]: port 00000003"
    );
    // A row of another width is shown as it is.
    assert_eq!(names.describe(MapName::Fdb, &[1], &[0x1f]), "[01] [1f]");
}
