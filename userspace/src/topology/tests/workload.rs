//! Workloads: places, interfaces, routes.

use super::{check, compiled};

#[test]
fn interfaces() {
    check(
        "\
networks: { n: [] }
workloads:
  a: { ports: [n, { network: n, interface: eth0 }, { network: n, interface: eth4 }, { network: n, interface: sixteen_letters_ }, n] }
  b: { ports: [{ network: n, interface: a/b }, { network: n, interface: lo }, { network: n, interface: eth%d }] }
",
        "\
workload a has two ports with the interface eth0
  5:44 port 1 is given it
  5:16 port 0 has it already
  help: give each port an `interface` of its own
workload a: \"sixteen_letters_\" cannot be the name of an interface
  5:110 it is longer than 15 bytes
  help: choose a name such as eth0, of 15 bytes at most
workload a has two ports with the interface eth4
  5:130 port 4 has it by its position
  5:77 port 2 has it already
  help: give each port an `interface` of its own
workload b: \"a/b\" cannot be the name of an interface
  6:41 it has a character that is not allowed
  help: choose a name such as eth0, of 15 bytes at most
workload b: \"lo\" cannot be the name of an interface
  6:73 every namespace has an interface of this name
  help: choose a name such as eth0, of 15 bytes at most
workload b: \"eth%d\" cannot be the name of an interface
  6:104 the kernel would put a number in place of the `%`
  help: choose a name such as eth0, of 15 bytes at most
",
    );
}

#[test]
fn places() {
    check(
        "\
workloads:
  a: { ports: [] }
  b: { container: a, ports: [] }
  c: { container: c, netns: c, ports: [] }
  d: { netns: ../c, ports: [] }
  e: { pid: 0, ports: [] }
  f: { container: /f, ports: [] }
  g: { netns: same, ports: [] }
  h: { netns: same, ports: [] }
  i: { pid: 7, ports: [] }
  j: { pid: 7, ports: [] }
  k: { host_network: true, ports: [] }
  l: { host_network: true, ports: [] }
  m: { host_network: false, ports: [] }
  n: { pid: 8, host_network: true, ports: [] }
",
        "\
workload a and workload b are both container a
  5:19 the same place again
  4:3 first taken here
  help: declare the place once, with the ports of both
workload c has both a container and a netns
  6:29 a second place
  6:19 the first place
  help: a workload is in one place: keep one of the two
workload d: \"../c\" cannot be the name of a network namespace
  7:15 this name
  help: write the name that `ip netns list` shows, not a path
the pid of workload e is 0
  8:13 out of range
  help: a process id is between 1 and 4194304
workload f: \"/f\" cannot be the name of a container
  9:19 this name
  help: Docker's names are of letters, digits, `_`, `.` and `-`, without a leading slash
workload g and workload h are both netns same
  11:15 the same place again
  10:15 first taken here
  help: declare the place once, with the ports of both
workload i and workload j are both pid 7
  13:13 the same place again
  12:13 first taken here
  help: declare the place once, with the ports of both
workload k and workload l are both the host itself
  15:22 the same place again
  14:22 first taken here
  help: declare the place once, with the ports of both
workload n has both a pid and a host_network
  17:30 a second place
  17:13 the first place
  help: a workload is in one place: keep one of the two
",
    );
}

#[test]
fn the_host_itself_has_no_default_route_and_interfaces_named_after_networks() {
    let topology = compiled(
        "\
networks: { n: 10.1.0.0/24 }
routers: { r: { ports: { n: 10.1.0.1 } } }
workloads:
  host: { host_network: true, ports: [{ network: n, addresses: 10.1.0.2 }] }
  other: { netns: x, ports: [{ network: n, addresses: 10.1.0.3 }] }
",
    );
    let routes = |port: &str| {
        let mut ports = topology.ports.iter();
        let found = ports.find(|(name, _)| name.to_string() == port);
        found.map(|(_, port)| port.routes.len())
    };
    assert_eq!(routes("host/n"), Some(0));
    assert_eq!(routes("other/eth0"), Some(1));
    check(
        "\
networks: { a_name_of_17_byte: 10.2.0.0/24 }
workloads:
  host: { host_network: true, ports: [a_name_of_17_byte] }
",
        "\
workload host: \"a_name_of_17_byte\" cannot be the name of an interface
  5:39 it is longer than 15 bytes
  help: choose a name such as eth0, of 15 bytes at most
",
    );
}

#[test]
fn routes() {
    check(
        "\
networks: { n: [10.1.0.0/24, 'fd00::/64'], m: 10.2.0.0/24 }
workloads:
  a:
    ports:
      - network: n
        addresses: [10.1.0.10]
        routes:
          - { to: default, via: 10.1.0.1 }
          - { to: 0.0.0.0/0, via: 10.1.0.2 }
          - { to: default, via: fd00::1 }
          - { to: 10.9.0.1/16, via: 10.1.0.10 }
          - { to: 10.8.0.0/16, via: 10.2.0.1 }
          - { to: 10.7.0.0/16, via: fd00::1 }
          - { to: 10.1.0.0/24, via: 10.1.0.255 }
      - network: m
        addresses: 10.2.0.10
        routes: [{ to: default, via: 10.2.0.1 }]
",
        "\
workload a has more than one default route for IPv4
  11:19 again, at eth0
  10:19 the first one, at eth0
  help: keep one of the two
the next hop fd00::1 is in none of the subnets of port a/eth0
  12:33 this next hop
  help: the port has no IPv6 address: give it one
the route to 10.9.0.1/16 of port a/eth0 has host bits set
  13:19 an address, not a prefix
  help: write 10.9.0.0/16
the next hop 10.1.0.10 of port a/eth0 is its own address
  13:37 this next hop
  8:21 the port's address
  help: the next hop is another station: the gateway of the subnet
the next hop 10.2.0.1 is in none of the subnets of port a/eth0
  14:37 this next hop
  help: the next hop must be in 10.1.0.0/24
the route to 10.7.0.0/16 of port a/eth0 mixes IPv4 and IPv6
  15:37 the next hop is IPv6
  15:19 the destination is IPv4
  help: the next hop must be of the destination's family
the route to 10.1.0.0/24 of port a/eth0 leads to its own subnet
  16:19 this subnet needs no route
  help: leave the route out: it follows from the port's address
the next hop 10.1.0.255 of port a/eth0 is the broadcast address of its subnet
  16:37 this next hop
  help: the next hop is a station: the gateway of the subnet
workload a has more than one default route for IPv4
  19:24 again, at eth1
  10:19 the first one, at eth0
  help: keep one of the two
",
    );
}
