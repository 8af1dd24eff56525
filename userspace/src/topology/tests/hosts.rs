//! Hosts, the tunnels between them, and ordinary VTEPs.

use super::*;

/// Two hosts and a network that is on both.
const PAIR: &str = "\
hosts: { alpha: { address: 192.0.2.11, uplink: eth0, mtu: 9000 }, beta: 192.0.2.12 }
networks: { front: 10.1.0.0/24 }
workloads:
  web: { host: alpha, ports: [{ network: front, addresses: 10.1.0.10 }] }
  db: { host: beta, ports: [{ network: front, addresses: 10.1.0.20 }] }
";

#[test]
fn hosts_and_their_tunnels() {
    let topology = compiled(&format!(
        "{PAIR}defaults: {{ tunnel: gre }}\ntunnels: [{{ between: [beta, alpha], tunnel: geneve }}]"
    ));
    let alpha = &topology.hosts["alpha"];
    assert_eq!(alpha.address.to_string(), "192.0.2.11");
    assert_eq!(alpha.uplink.as_deref(), Some("eth0"));
    assert_eq!((alpha.mtu, topology.hosts["beta"].mtu), (Some(9000), None));
    assert_eq!(alpha.id, PortId(crate::fnv::fnv1a_32("@alpha")));
    assert_eq!(topology.workloads["web"].host.as_deref(), Some("alpha"));
    for (one, other) in [("alpha", "beta"), ("beta", "alpha")] {
        assert_eq!(topology.tunnel(one, other), Tunnel::Geneve);
    }
    assert_eq!(topology.networks["front"].mtu, Mtu::Auto);
    assert_eq!(topology.overhead(), 50);
    assert_eq!(compiled(PAIR).tunnel("alpha", "beta"), Tunnel::Vxlan);
}

#[test]
fn overheads_are_those_of_the_headers() {
    let overheads = |underlay: &str| {
        let underlay = underlay.parse().unwrap();
        Tunnel::ALL.map(|tunnel| tunnel.overhead(underlay))
    };
    assert_eq!(overheads("192.0.2.1"), [50, 50, 42, 0]);
    assert_eq!(overheads("2001:db8::1"), [70, 70, 62, 0]);
}

#[test]
fn a_single_host_is_the_default_and_no_host_is_this_one() {
    let host = |hosts: &str| {
        let topology = compiled(&format!("{hosts}\nworkloads: {{ web: {{ ports: [] }} }}"));
        topology.workloads["web"].host.clone()
    };
    assert_eq!(
        host("hosts: { alpha: 192.0.2.11 }"),
        Some("alpha".to_owned())
    );
    assert_eq!(host(""), None);
    let one = compiled("hosts: { alpha: 192.0.2.11 }\nnetworks: { front: [] }");
    assert_eq!(one.networks["front"].mtu, Mtu::Bytes(1500));
    assert_eq!(one.overhead(), 0);
}

#[test]
fn which_host_a_workload_is_on() {
    check(
        "\
hosts: { alpha: 192.0.2.11, beta: 192.0.2.12 }
workloads:
  web: { host: alhpa, ports: [] }
  db: { ports: [] }
",
        "\
workload web is on host alhpa, which does not exist
  5:16 no host has this name
  help: did you mean `alpha`?
workload db does not say which host it is on
  6:3 `host` is missing here
  help: add `host: alpha`; the file's hosts: alpha, beta
",
    );
    check(
        "workloads: { web: { host: alpha, ports: [] } }",
        "\
workload web is on host alpha, which does not exist
  3:27 no host has this name
  help: declare it: `hosts: { alpha: 192.0.2.11 }`
",
    );
}

#[test]
fn places_on_different_hosts_are_different() {
    compiled(
        "hosts: { alpha: 192.0.2.11, beta: 192.0.2.12 }\n\
         workloads: { a: { host: alpha, container: c, ports: [] }, b: { host: beta, container: c, ports: [] } }",
    );
}

#[test]
fn addresses_in_the_underlay() {
    check(
        "\
hosts: { a: 192.0.2.1, b: 192.0.2.1, c: 127.0.0.1, d: '2001:db8::1', e: '::ffff:192.0.2.9' }
networks: { n: [] }
vteps: { v: { address: 192.0.2.1, networks: { n: learn } } }
",
        "\
address 192.0.2.1 belongs to both host a and host b
  3:27 host b has it too
  3:13 host a has it
  help: give each its own address in the underlay
host c cannot have the loopback address 127.0.0.1
  3:41 not an address for tunnels
  help: give the address that the others reach it by
the underlay of host a is IPv4, and that of host d is IPv6
  3:55 host d has an IPv6 address
  3:13 host a has an IPv4 address
  help: one end of a tunnel cannot reach an address of the other family: give all hosts and VTEPs addresses of one family
host e cannot have the IPv4-mapped address ::ffff:192.0.2.9
  3:73 not an address for tunnels
  help: write 192.0.2.9
address 192.0.2.1 belongs to both host a and vtep v
  5:24 vtep v has it too
  3:13 host a has it
  help: give each its own address in the underlay
",
    );
}

#[test]
fn wrong_hosts() {
    check(
        "\
hosts: { a: { address: 192.0.2.1, uplink: 'eth 0', mtu: 60 }, b: 192.0.2.2 }
",
        "\
host a: \"eth 0\" cannot be the name of its uplink
  3:43 it has a character that is not allowed
  help: name the interface that has the host's address, as `ip address` shows it
the mtu of host a is 60
  3:57 out of range
  help: the mtu is between 68 and 65535 bytes
",
    );
    check(
        "\
hosts: { a: { address: '2001:db8::1', mtu: 1000 }, b: 192.0.2.2 }
",
        "\
the mtu of host a is 1000, too small for IPv6
  3:44 too small
  3:24 the host's IPv6 address
  help: IPv6 needs 1280 bytes at least (RFC 8200, section 5)
the underlay of host a is IPv6, and that of host b is IPv4
  3:55 host b has an IPv4 address
  3:24 host a has an IPv6 address
  help: one end of a tunnel cannot reach an address of the other family: give all hosts and VTEPs addresses of one family
",
    );
}

#[test]
fn wrong_tunnels() {
    check(
        "\
hosts: { alpha: 192.0.2.1, beta: 192.0.2.2 }
tunnels:
  - { between: [alpha, alpha], tunnel: gre }
  - { between: [alpha, gamma], tunnel: gre }
  - { between: [alpha, beta], tunnel: gre }
  - { between: [beta, alpha], tunnel: gre }
",
        "\
a tunnel leads from host alpha to itself
  5:24 the same host
  help: name two different hosts
a tunnel leads to host gamma, which does not exist
  6:24 no host has this name
  help: known hosts: alpha, beta
the tunnel between alpha and beta is given twice
  8:5 given again here
  7:5 first given here
  help: keep one of the two
",
    );
}

#[test]
fn wrong_vteps() {
    check(
        "\
defaults: { tunnel: none }
hosts: { alpha: 192.0.2.1 }
networks: { n: 10.1.0.0/24 }
vteps:
  alpha: { address: 192.0.2.2, tunnel: vxlan, networks: { n: 02:00:00:00:00:01 } }
  one: { address: 192.0.2.3, networks: { n: learn } }
  two: { address: 192.0.2.4, tunnel: none, networks: { m: learn } }
  three: { address: 192.0.2.5, tunnel: gre, networks: { n: [02:00:00:00:00:01, 01:00:00:00:00:01, 02:00:00:00:00:10] } }
workloads:
  web: { ports: [{ network: n, mac: 02:00:00:00:00:10 }] }
",
        "\
host alpha and vtep alpha have the same name
  7:3 named again here
  4:10 first named here
  help: hosts and vteps are in one namespace: rename one of the two
vtep one has no tunnel
  8:3 it has none of its own, and the defaults say `none`
  help: give it the tunnel that it speaks: `tunnel: vxlan`, geneve or gre
vtep two has no tunnel
  9:38 a vtep is the end of a tunnel
  help: give it the tunnel that it speaks: `tunnel: vxlan`, geneve or gre
vtep two takes part in network m, which does not exist
  9:56 no network has this name
  help: known networks: n
mac 02:00:00:00:00:01 in network n belongs to both vtep alpha and vtep three
  10:61 vtep three has it too
  7:62 vtep alpha has it
  help: choose another one, or leave it out to have it derived
the mac 01:00:00:00:00:01 of vtep three is a group address
  10:80 no station can have this address
  help: write the address that the station sends from
mac 02:00:00:00:00:10 in network n belongs to both vtep three and port web/eth0
  12:37 port web/eth0 has it too
  10:99 vtep three has it
  help: choose another one, or leave it out to have it derived
",
    );
}

#[test]
fn vteps_that_do_nothing_are_warned_of() {
    let topology = compiled(
        "\
hosts: { alpha: 192.0.2.1 }
networks: { n: [] }
vteps:
  one: { address: 192.0.2.3, networks: {} }
  two: { address: 192.0.2.4, networks: { n: [] } }
",
    );
    assert_eq!(
        listing(&topology.warnings),
        "\
vtep one takes part in no network
  6:3 nothing reaches it
  help: name one: `networks: { front: learn }`
nothing is behind vtep two in network n
  7:42 it gets what is for many, and nothing else
  help: name its stations, or write `n: learn`
"
    );
}

#[test]
fn a_vtep() {
    let topology = compiled(
        "\
defaults: { tunnel: geneve }
hosts: { alpha: 192.0.2.1 }
networks: { n: [], m: [] }
vteps:
  tor: { address: 192.0.2.3, networks: { n: { macs: 02:00:00:00:00:51, learn: true }, m: learn } }
",
    );
    let tor = &topology.vteps["tor"];
    assert_eq!(tor.tunnel, Tunnel::Geneve);
    assert_eq!(tor.id, PortId(crate::fnv::fnv1a_32("@tor")));
    let behind = &tor.networks["n"];
    assert_eq!(behind.macs.len(), 1);
    assert!(behind.learn && tor.networks["m"].learn);
    assert_eq!(topology.networks["n"].mtu, Mtu::Auto);
    assert_eq!(topology.overhead(), 50);
}

#[test]
fn without_a_tunnel() {
    let file = |rest: &str| {
        format!(
            "\
hosts: {{ alpha: 192.0.2.1, beta: 192.0.2.2, gamma: 192.0.2.3 }}
tunnels: [{{ between: [alpha, beta], tunnel: none }}]
{rest}"
        )
    };
    let sound = "\
networks: { n: { subnets: 10.1.0.0/24 }, m: 10.1.1.0/24, far: { subnets: 10.1.0.0/16, unknown_unicast: flood } }
workloads:
  a: { host: alpha, ports: [n, m] }
  b: { host: beta, ports: [n, m] }
  c: { host: gamma, ports: [n, { network: far, learning: true }] }
";
    let topology = compiled(&file(sound));
    assert_eq!(topology.tunnel("alpha", "beta"), Tunnel::Direct);
    assert_eq!(topology.overhead(), 50);
    for (from, to, expected) in [
        ("10.1.1.0/24,", "10.1.0.128/25,", "\
subnet 10.1.0.0/24 of network n and subnet 10.1.0.128/25 of network m overlap, and hosts alpha and beta have no tunnel between them
  5:42 a packet to here does not say which of the two is meant
  5:13 nor does one to here
  help: give the networks subnets that are apart, or the hosts a tunnel
"),
        ("10.1.0.0/24 }", "10.1.0.0/24, unknown_unicast: flood }", "\
network n must be flooded between hosts alpha and beta, which have no tunnel
  5:13 what is for an unknown station is flooded
  help: give the two hosts a tunnel: `tunnels: [{ between: [alpha, beta], tunnel: vxlan }]`
"),
        ("[n, m]", "[{ network: n, learning: true }, m]", "\
network n must be flooded between hosts alpha and beta, which have no tunnel
  7:29 what is behind port a/eth0 is learned
  5:13 the network is declared here
  help: give the two hosts a tunnel: `tunnels: [{ between: [alpha, beta], tunnel: vxlan }]`
"),
        (
            "workloads:",
            "vteps: { tor: { address: 192.0.2.50, networks: { n: learn } } }\nworkloads:",
            "\
network n must be flooded between hosts alpha and beta, which have no tunnel
  6:10 vtep tor takes part in it
  5:13 the network is declared here
  help: give the two hosts a tunnel: `tunnels: [{ between: [alpha, beta], tunnel: vxlan }]`
",
        ),
    ] {
        check(&file(&sound.replace(from, to)), expected);
    }
}

#[test]
fn what_does_not_fit_the_tunnels() {
    // Where the underlay's MTU is said, it cannot be.
    check(
        &PAIR.replace(
            "front: 10.1.0.0/24",
            "front: { subnets: 10.1.0.0/24, mtu: 9000 }",
        ),
        "\
the mtu of network front is 9000, and through vxlan fit 8950 bytes
  4:49 too large
  3:59 what the underlay of host alpha carries
  help: write 8950 or `auto`, or leave it out
",
    );
    check(
        &PAIR.replace("addresses: 10.1.0.10", "addresses: 10.1.0.10, mtu: 8951"),
        "\
the mtu of port web/eth0 is 8951, and through vxlan fit 8950 bytes
  6:31 too large
  3:59 what the underlay of host alpha carries
  help: write 8950 or `auto`, or leave it out
",
    );
    check(
        &PAIR
            .replace("9000", "1300")
            .replace("front: 10.1.0.0/24", "front: [10.1.0.0/24, 'fd00::/64']"),
        "\
network front carries IPv6, which needs 1280 bytes, and through vxlan fit 1250
  3:59 what the underlay of host alpha carries
  help: raise the underlay's mtu, or choose another tunnel
",
    );
    // Elsewhere it may be meant.
    let unsaid = PAIR.replace(", mtu: 9000", "");
    let warned = compiled(&format!("defaults: {{ mtu: 1500 }}\n{unsaid}"));
    assert_eq!(
        listing(&warned.warnings),
        "\
the mtu of network front is 1500, and through vxlan fit 1450 bytes
  3:18 too large
  help: leave it out, or write `auto`; if the underlay carries more than 1500 bytes, say so at the hosts: `mtu: 9000`
"
    );
    assert_eq!(warned.networks["front"].mtu, Mtu::Bytes(1500));
    let fits = compiled(&format!("defaults: {{ mtu: 1450 }}\n{unsaid}"));
    assert_eq!(listing(&fits.warnings), "");
    // A network on one host goes through no tunnel.
    let local = PAIR.replace("host: beta", "host: alpha");
    let local = compiled(&format!("defaults: {{ mtu: 65535 }}\n{local}"));
    assert_eq!(listing(&local.warnings), "");
}

fn named(name: &str, rest: &str) -> Document {
    document(
        &format!("{name}.yaml"),
        &format!("version: 1\nname: {name}\n{rest}\n"),
    )
}

#[test]
fn hosts_of_several_sources_are_the_same_hosts() {
    let hosts = "hosts: { alpha: 192.0.2.1, beta: { address: 192.0.2.2, mtu: 9000 } }\n\
                 tunnels: [{ between: [alpha, beta], tunnel: gre }]";
    let one = named("one", hosts);
    let two = named("two", &format!("{hosts}\ndefaults: {{ tunnel: geneve }}"));
    let topology = compile(&[one.clone(), two]).unwrap();
    assert_eq!(topology.hosts.len(), 2);
    assert_eq!(topology.tunnel("alpha", "beta"), Tunnel::Gre);
    // A file that names no host means the one that it is loaded on.
    let here = named("here", "workloads: { web: { ports: [] } }");
    let topology = compile(&[one.clone(), here]).unwrap();
    assert_eq!(topology.workloads["web"].host, None);
    let other = hosts.replace("9000", "1500").replace("gre", "vxlan");
    check_all(
        &[
            named("one", &format!("{hosts}\ndefaults: {{ tunnel: gre }}")),
            named("two", &format!("{other}\ndefaults: {{ tunnel: vxlan }}")),
        ],
        "\
host beta is declared by source one and, with another mtu, by source two
  3:28 declared again here
  3:28 first declared here
  help: all loaded sources mean the same host by the same name: say the same of it in both
the tunnel between alpha and beta of source one and the same of source two differ
  4:11 given again here
  4:11 first given here
  help: keep one of the two
the tunnel of the defaults is gre in source one and vxlan in source two
  5:21 this one
  5:21 differs from this one
  help: all loaded sources mean the same hosts: leave it out in one of them, and name pairs under `tunnels`
",
    );
}
