//! Several sources, and files that are in bad form besides.

use super::{below_head, check_all, document, port};
use crate::document::draft;
use crate::problem::listing::listing;
use crate::topology::{compile, compile_drafts};

const SOURCE_A: &str = "\
version: 1
name: a
networks: { front: 10.1.0.0/24, x: { subnets: [], vni: 5 } }
workloads:
  web: { ports: [{ network: front, addresses: 10.1.0.1 }] }
  other: { container: y, ports: [] }
";

const SOURCE_B: &str = "\
version: 1
name: b
networks: { front: 10.1.0.0/24, w: { subnets: [], vni: 5 } }
workloads:
  web: { ports: [] }
  y: { ports: [{ network: front, addresses: 10.1.0.1 }] }
";

#[test]
fn conflicts_between_sources_name_both() {
    let documents = [document("a.yaml", SOURCE_A), document("b.yaml", SOURCE_B)];
    check_all(
        &documents,
        "\
network front is declared by source a and by source b
  3:13 declared again here
  3:13 first declared here
  help: the names of all loaded sources are in one namespace: rename one of the two
vni 5 is given to network x of source a and to network w of source b
  3:56 given again here
  3:56 first given here
  help: choose another one, or leave it out to have it derived from the name
workload web is declared by source a and by source b
  5:3 declared again here
  5:3 first declared here
  help: the names of all loaded sources are in one namespace: rename one of the two
workload other of source a and workload y of source b are both container y
  6:3 the same place again
  6:23 first taken here
  help: declare the place once, with the ports of both
address 10.1.0.1 in network front belongs to both port web/eth0 of source a and port y/eth0 of source b
  6:45 port y/eth0 has it too
  5:47 port web/eth0 has it
  help: give each port an address of its own
",
    );
    let (Err(problems), [_, b]) = (compile(&documents), &documents) else {
        panic!("problems were expected");
    };
    // The source that came later is at fault, and the other one is pointed at.
    for problem in problems {
        assert!(problem.labels[0].origin.same_file(&b.name.origin));
        assert!(!problem.labels[1].origin.same_file(&b.name.origin));
    }
}

#[test]
fn one_source_in_two_files() {
    check_all(
        &[document("a.yaml", SOURCE_A), document("c.yaml", SOURCE_A)],
        "\
two files are both the source a: a.yaml and c.yaml
  2:7 named again here
  2:7 first named here
  help: give each file a name of its own
",
    );
}

#[test]
fn sources_share_networks() {
    let net = document(
        "net.yaml",
        "version: 1\nname: net\nnetworks: { front: 10.1.0.0/24 }\n",
    );
    let text = "version: 1\nname: web\ndefaults: { drop_events: true }\nworkloads: { web: { ports: [front] } }\n";
    let web = document("web.yaml", text);
    let topology = compile(&[net.clone(), web.clone()]).unwrap();
    assert_eq!(topology.networks["front"].origin.file.name, "net");
    assert_eq!(port(&topology, "web", "eth0").origin.file.name, "web");
    assert!(topology.settings.drop_events);
    assert_eq!(compile(&[web, net]).unwrap(), topology);
    assert_eq!(compile(&[]).unwrap().networks.len(), 0);
}

#[test]
fn what_hosts_remember_of_connections_is_one_thing() {
    let said = |name: &str, said: &str| {
        let text = format!("version: 1\nname: {name}\ndefaults:\n  connections: {{ {said} }}\n");
        document(&format!("{name}.yaml"), &text)
    };
    let a = said("a", "established: 2000, timeouts: { udp: 30, tcp: 1d }");
    let b = said("b", "opening: 3000, timeouts: { udp: 30s }");
    let settings = compile(&[a.clone(), b]).unwrap().settings;
    assert_eq!(
        [settings.room.established, settings.room.opening],
        [2000, 3000]
    );
    let timeouts = settings.timeouts;
    assert_eq!([timeouts.datagrams, timeouts.established], [30, 86_400]);
    assert_eq!(timeouts.echoes, 60);
    let c = said(
        "c",
        "established: 1000, opening: 5000000, timeouts: { udp: 9s, icmp: 9 }",
    );
    check_all(
        &[a, c],
        "\
the established connections that hosts remember are 2000 in source a and 1000 in source c
  4:31 this one
  4:31 differs from this one
  help: all loaded sources mean the same hosts: leave it out in one of them
the opening connections that hosts remember are 5000000
  4:46 out of range
  help: there are 1024 to 4194304
the seconds of `udp` are 30 in source a and 9 in source c
  4:72 this one
  4:54 differs from this one
  help: all loaded sources mean the same hosts: leave it out in one of them
the seconds of `icmp` are 9
  4:82 out of range
  help: there are 10 to 31536000
",
    );
}

#[test]
fn mistakes_of_form_do_not_hide_inconsistencies_elsewhere() {
    let text = below_head(
        "\
networks:
  front: { subnets: [10.1.0.0/24], vni: many }
  back: { subnets: [10.2.0.0] }
workloads:
  web: { ports: [{ network: front, addresses: [10.1.0.5, 10.1.O.6], routes: [{ to: default, via: 10.3.0.1 }] }, back] }
  db: { container: web, ports: [{ network: front, addresses: 10.1.0.5 }, { network: back, addresses: 10.2.0.9 }, bck] }
  idle: { container: [], ports: [] }
",
    );
    let problems = compile_drafts([draft("test.yaml", &text)]).unwrap_err();
    // Nothing is said about what may follow from a mistake of form alone: the address in network
    // back, the next hop of web, the place of idle.
    assert_eq!(
        listing(&problems),
        "\
networks.front.vni must be a whole number
  4:41 this is the text \"many\"
networks.back.subnets[0] must be a subnet such as 10.1.0.0/24 or fd00:1::/64
  5:21 this is the text \"10.2.0.0\"
  help: add the length of the prefix
workloads.web.ports[0].addresses[1] must be an address such as 10.1.0.10 or fd00:1::10
  7:58 this is the text \"10.1.O.6\"
address 10.1.0.5 in network front belongs to both port web/eth0 and port db/eth0
  8:62 port db/eth0 has it too
  7:48 port web/eth0 has it
  help: give each port an address of its own
port db/eth2 is on network bck, which does not exist
  8:114 no network has this name
  help: did you mean `back`?
workloads.idle.container must be a text
  9:22 this is a list
"
    );
}

#[test]
fn mistakes_of_form_do_not_hide_inconsistencies_of_routers() {
    let text = below_head(
        "\
networks: { front: 10.1.0.0/24, back: 10.2.0.0/24 }
routers:
  core:
    ports: { front: 10.1.O.1, back: 10.2.0.1, up: { peer: edge, addresses: 192.0.2.1 }, to: { pier: edge } }
    routes:
      - { to: 10.9.0.0/16, via: 10.1.0.9 }
      - { to: 10.8.0.0/16, via: [10.2.0.1, {}] }
      - { to: 10.8.0.0/16, via: side }
  edge:
    ports: { down: { peer: core, addresses: [192.0.2.2/30, 'fd00::2/64'] }, back: 10.2.0.1 }
  lone: { ports: { a: { peer: core, addresses: 192.0.2.9/30 }, b: { peer: gone, addresses: 192.0.2.13/30 } } }
workloads:
  w: { ports: [{ network: front, addresses: 10.1.0.5, gateway: 10.1.0.1 }, { network: back, addresses: 10.2.0.5, gateway: sore }] }
",
    );
    let problems = compile_drafts([draft("test.yaml", &text)]).unwrap_err();
    // Nothing is said about what may follow from a mistake of form alone: the next hop in network
    // front, the port that leads back to router lone, the gateways.
    assert_eq!(
        listing(&problems),
        "\
routers.core.ports.front must be an address such as 10.1.0.10 or fd00:1::10
  6:21 this is the text \"10.1.O.1\"
address 192.0.2.1 of port core/up has no prefix length
  6:76 a link has no other subnet than this
  help: write it with the length, such as 192.0.2.1/31
routers.core.ports.to has no `addresses`
  6:93 `addresses` is missing here
  help: give the port an address, for example `addresses: 10.1.0.1`
unknown key `pier` in routers.core.ports.to
  6:95 this key is not known
  help: did you mean `peer`?
the next hop 10.2.0.1 of router core is its own address
  9:34 this next hop
  6:37 the router's address
  help: the next hop is another station
routers.core.routes[1].via[1] must be an address, the name of a port, `uplink`, `blackhole` or `reject`
  9:44 this is a map
the route to 10.8.0.0/16 of router core is given twice with metric 0
  10:15 given again here
  9:15 first given here
  help: write equal next hops as one route, `via: [a, b]`, or give one of the two another metric
address 10.2.0.1 in network back belongs to both port core/back and port edge/back
  12:83 port edge/back has it too
  6:37 port core/back has it
  help: give each port an address of its own
port lone/b leads to router gone, which does not exist
  13:75 no router has this name
  help: known routers: core, edge
"
    );
}

#[test]
fn an_unreadable_file_does_not_make_others_wrong() {
    let broken = draft("net.yaml", "version: 1\nname: net\nnetworks: { front: [\n");
    let web = draft(
        "web.yaml",
        "version: 1\nname: web\nworkloads: { web: { ports: [front] } }\n",
    );
    let problems = compile_drafts([broken, web]).unwrap_err();
    assert_eq!(problems.len(), 1, "{}", listing(&problems));
}
