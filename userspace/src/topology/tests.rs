//! Consistent files and inconsistent ones.

use maps_schema::map::FLOOD_MAX;

use super::*;
use crate::document::{Document, draft, parse};
use crate::problem::listing::listing;

fn document(path: &str, text: &str) -> Document {
    parse(path, text).unwrap_or_else(|problems| panic!("{}", listing(&problems)))
}

/// The text of a file whose first two lines are in order.
fn below_head(rest: &str) -> String {
    format!("version: 1\nname: test\n{rest}")
}

fn compiled(rest: &str) -> Topology {
    let document = document("test.yaml", &below_head(rest));
    compile(&[document]).unwrap_or_else(|problems| panic!("{}", listing(&problems)))
}

/// These documents together report exactly these problems.
fn check_all(documents: &[Document], expected: &str) {
    match compile(documents) {
        Ok(topology) => panic!("no problem was found in {topology:?}"),
        Err(problems) => assert_eq!(listing(&problems), expected),
    }
}

/// A file reports exactly these problems.
fn check(rest: &str, expected: &str) {
    check_all(&[document("test.yaml", &below_head(rest))], expected);
}

fn port(topology: &Topology, workload: &str, interface: &str) -> Port {
    let name = PortName {
        workload: workload.to_owned(),
        interface: interface.to_owned(),
    };
    topology.ports[&name].clone()
}

#[test]
fn what_is_left_out_is_derived() {
    let topology = compiled(
        "\
networks: { front: [10.1.0.0/24, 'fd00:1::/64'] }
workloads:
  web: { ports: [{ network: front, addresses: [10.1.0.10, 'fd00:1::10'] }] }
  db: { netns: demo, ports: [front, { network: front, interface: lan }] }
",
    );
    let front = &topology.networks["front"];
    // Changing how identities are derived changes every loaded topology: these are fixed.
    assert_eq!(front.vni.number(), 7_985_977);
    assert_eq!(front.mtu, 1500);
    assert_eq!(front.unknown_unicast, UnknownUnicast::Drop);
    assert_eq!(front.ageing.as_secs(), 300);
    assert_eq!(
        topology.workloads["web"].place,
        Place::Container("web".to_owned())
    );
    assert_eq!(
        topology.workloads["db"].place,
        Place::Netns("demo".to_owned())
    );
    assert!(!topology.drop_events);

    let web = port(&topology, "web", "eth0");
    assert_eq!(web.id, PortId(0xc784_aefb));
    assert_eq!(web.mac.to_string(), "02:62:c7:84:ae:fb");
    let addresses: Vec<String> = web.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.1.0.10/24", "fd00:1::10/64"]);
    assert_eq!(
        (web.mtu, web.learning, web.spoofing),
        (1500, false, Spoofing::Deny)
    );
    assert_eq!(web.origin.to_string(), "test.yaml:5:18");
    port(&topology, "db", "eth0");
    port(&topology, "db", "lan");
}

#[test]
fn what_is_given_is_taken() {
    let topology = compiled(
        "\
defaults: { mtu: 9000, drop_events: true }
networks:
  front: { subnets: [10.1.0.0/24, 'fd00:1::/64'], vni: 100, unknown_unicast: flood, ageing: 7 }
  same: { subnets: 10.1.0.0/24, mtu: 1400 }
workloads:
  web:
    pid: 42
    ports:
      - network: front
        addresses: [10.1.0.10/24, 'fd00:1::10/64']
        interface: lan
        mac: 02:00:00:00:00:10
        mtu: 1280
        routes: [{ to: default, via: 10.1.0.1 }, { to: default, via: 'fd00:1::1' }]
        learning: true
        spoofing: allow
      - { network: same, addresses: 10.1.0.10, mac: 02:00:00:00:00:10 }
",
    );
    assert!(topology.drop_events);
    assert_eq!(topology.workloads["web"].place, Place::Pid(42));
    let front = &topology.networks["front"];
    assert_eq!((front.vni.number(), front.mtu), (100, 9000));
    assert_eq!(front.unknown_unicast, UnknownUnicast::Flood);
    assert_eq!(front.ageing.as_secs(), 7);
    assert_eq!(topology.networks["same"].mtu, 1400);
    let web = port(&topology, "web", "lan");
    assert_eq!(web.mac, Mac::new([2, 0, 0, 0, 0, 0x10]));
    assert_eq!(
        (web.mtu, web.learning, web.spoofing),
        (1280, true, Spoofing::Allow)
    );
    let routes: Vec<String> = web
        .routes
        .iter()
        .map(|route| format!("{} via {}", route.to, route.via))
        .collect();
    assert_eq!(routes, ["0.0.0.0/0 via 10.1.0.1", "::/0 via fd00:1::1"]);
    // Networks are isolated: the same subnet, address and MAC may occur in another one.
    assert_eq!(port(&topology, "web", "eth1").mac, web.mac);
}

#[test]
fn links_of_two_stations_use_all_their_addresses() {
    compiled(
        "\
networks: { a: [10.0.0.0/31, 10.0.1.1/32, 'fd00::/127', 'fd00::8/128'] }
workloads:
  x: { ports: [{ network: a, addresses: [10.0.0.0, 10.0.0.1, 10.0.1.1, 'fd00::', 'fd00::8'] }] }
",
    );
}

#[test]
fn networks_that_are_not_there() {
    check(
        "\
networks: { front: 10.1.0.0/24, back: 10.2.0.0/24 }
workloads:
  a: { ports: [frnt] }
  b: { ports: [{ network: middle, addresses: 10.9.0.1 }] }
",
        "\
port a/eth0 is on network frnt, which does not exist
  5:16 no network has this name
  help: did you mean `front`?
port b/eth0 is on network middle, which does not exist
  6:27 no network has this name
  help: known networks: back, front
",
    );
}

#[test]
fn addresses_outside_the_subnets() {
    check(
        "\
networks:
  front: [10.1.0.0/24, 'fd00:1::/64']
  back: 10.2.0.0/24
  bare: []
workloads:
  a: { ports: [{ network: front, addresses: [10.2.0.1, 'fd00:2::1', 10.1.0.7/25] }] }
  b: { ports: [{ network: back, addresses: [10.1.0.7, 'fd00:1::7'] }] }
  c: { ports: [{ network: bare, addresses: 10.1.0.7 }] }
",
        "\
address 10.2.0.1 of port a/eth0 is outside the subnets of network front
  8:46 in none of the subnets
  4:3 the network is declared here
  help: the network's subnets are 10.1.0.0/24, fd00:1::/64
address fd00:2::1 of port a/eth0 is outside the subnets of network front
  8:56 in none of the subnets
  4:3 the network is declared here
  help: the network's subnets are 10.1.0.0/24, fd00:1::/64
address 10.1.0.7/25 of port a/eth0 has another prefix length than its subnet 10.1.0.0/24
  8:69 not the subnet's length
  help: write 10.1.0.7, or 10.1.0.7/24
address 10.1.0.7 of port b/eth0 is outside the subnets of network back
  9:45 in none of the subnets
  5:3 the network is declared here
  help: choose an address from 10.2.0.0/24, such as 10.2.0.1
address fd00:1::7 of port b/eth0 is outside the subnets of network back
  9:55 in none of the subnets
  5:3 the network is declared here
  help: the network has no IPv6 subnet; its subnets are 10.2.0.0/24
address 10.1.0.7 of port c/eth0 is outside the subnets of network bare
  10:44 in none of the subnets
  6:3 the network is declared here
  help: the network has no subnet: give it one
",
    );
}

#[test]
fn addresses_that_are_not_a_stations() {
    check(
        "\
networks: { front: [10.1.0.0/24, 'fd00:1::/64'] }
workloads:
  a: { ports: [{ network: front, addresses: [10.1.0.0, 10.1.0.255, 'fd00:1::'] }] }
  b: { ports: [{ network: front, addresses: [127.0.0.1, 0.0.0.0, 224.0.0.1, 169.254.0.1, 255.255.255.255] }] }
  c: { ports: [{ network: front, addresses: ['::1', '::', 'ff02::1', 'fe80::1', '::ffff:10.1.0.3'] }] }
",
        "\
address 10.1.0.0 of port a/eth0 is the network address of subnet 10.1.0.0/24
  5:46 not an address for a workload
  help: choose an address from 10.1.0.0/24, such as 10.1.0.1
address 10.1.0.255 of port a/eth0 is the broadcast address of subnet 10.1.0.0/24
  5:56 not an address for a workload
  help: choose an address from 10.1.0.0/24, such as 10.1.0.1
address fd00:1:: of port a/eth0 is the subnet-router anycast address of subnet fd00:1::/64
  5:68 not an address for a workload
  help: choose an address from fd00:1::/64, such as fd00:1::1
port b/eth0 cannot have the loopback address 127.0.0.1
  6:46 not an address for a workload
  help: the network's subnets are 10.1.0.0/24, fd00:1::/64
port b/eth0 cannot have the unspecified address 0.0.0.0
  6:57 not an address for a workload
  help: the network's subnets are 10.1.0.0/24, fd00:1::/64
port b/eth0 cannot have the multicast address 224.0.0.1
  6:66 not an address for a workload
  help: the network's subnets are 10.1.0.0/24, fd00:1::/64
port b/eth0 cannot have the link-local address 169.254.0.1
  6:77 not an address for a workload
  help: the network's subnets are 10.1.0.0/24, fd00:1::/64
port b/eth0 cannot have the broadcast address 255.255.255.255
  6:90 not an address for a workload
  help: the network's subnets are 10.1.0.0/24, fd00:1::/64
port c/eth0 cannot have the loopback address ::1
  7:46 not an address for a workload
  help: the network's subnets are 10.1.0.0/24, fd00:1::/64
port c/eth0 cannot have the unspecified address ::
  7:53 not an address for a workload
  help: the network's subnets are 10.1.0.0/24, fd00:1::/64
port c/eth0 cannot have the multicast address ff02::1
  7:59 not an address for a workload
  help: the network's subnets are 10.1.0.0/24, fd00:1::/64
port c/eth0 cannot have the link-local address fe80::1
  7:70 not an address for a workload
  help: leave it out: the kernel makes its own
port c/eth0 cannot have the IPv4-mapped address ::ffff:10.1.0.3
  7:81 not an address for a workload
  help: write 10.1.0.3
",
    );
}

#[test]
fn duplicate_addresses() {
    check(
        "\
networks: { front: 10.1.0.0/24 }
workloads:
  a: { ports: [{ network: front, addresses: [10.1.0.5, 10.1.0.5] }] }
  b: { ports: [{ network: front, addresses: 10.1.0.5/24 }] }
",
        "\
address 10.1.0.5 in network front is given to port a/eth0 twice
  5:56 given again here
  5:46 first given here
  help: keep one of the two
address 10.1.0.5 in network front belongs to both port a/eth0 and port b/eth0
  6:45 port b/eth0 has it too
  5:46 port a/eth0 has it
  help: give each port an address of its own
",
    );
}

#[test]
fn macs() {
    check(
        "\
networks: { front: 10.1.0.0/24 }
workloads:
  a: { ports: [{ network: front, mac: 02:00:00:00:00:01 }] }
  b: { ports: [{ network: front, mac: 02:00:00:00:00:01 }] }
  c: { ports: [{ network: front, mac: 01:00:00:00:00:01 }] }
  d: { ports: [{ network: front, mac: 00:00:00:00:00:00 }] }
  web: { ports: [front] }
  x: { ports: [{ network: front, mac: 02:62:c7:84:ae:fb }] }
",
        "\
mac 02:00:00:00:00:01 in network front belongs to both port a/eth0 and port b/eth0
  6:39 port b/eth0 has it too
  5:39 port a/eth0 has it
  help: choose another one, or leave it out to have it derived
the mac 01:00:00:00:00:01 of port c/eth0 is a group address
  7:39 no station can have this address
  help: use one whose first byte is 02, or leave it out to have it derived
the mac 00:00:00:00:00:00 of port d/eth0 is zero
  8:39 no station can have this address
  help: use one whose first byte is 02, or leave it out to have it derived
mac 02:62:c7:84:ae:fb in network front belongs to both port web/eth0 and port x/eth0
  10:39 port x/eth0 has it too
  9:18 port web/eth0 has it
  help: choose another one, or leave it out to have it derived
",
    );
}

#[test]
fn subnets() {
    check(
        "\
networks:
  a: [10.1.0.5/24, 10.1.0.0/25, 10.1.0.0/24]
  b: [127.0.0.0/8, 0.0.0.0/0, 224.0.0.0/8, 0.1.0.0/16]
  c: ['fe80::/64', 'fd00::1/64', '::ffff:10.0.0.0/104']
",
        "\
subnet 10.1.0.5/24 of network a has host bits set
  4:7 an address, not a subnet
  help: write 10.1.0.0/24
subnets 10.1.0.0/24 and 10.1.0.0/25 of network a overlap
  4:20 this one
  4:7 overlaps with this one
  help: the subnets of one network must be apart; those of different networks need not
subnets 10.1.0.0/24 and 10.1.0.0/24 of network a overlap
  4:33 this one
  4:7 overlaps with this one
  help: the subnets of one network must be apart; those of different networks need not
network b cannot have the loopback subnet 127.0.0.0/8
  5:7 no port can have an address from here
  help: use a private prefix, such as 10.1.0.0/24 or fd00:1::/64
network b cannot have the all-embracing subnet 0.0.0.0/0
  5:20 no port can have an address from here
  help: use a private prefix, such as 10.1.0.0/24 or fd00:1::/64
network b cannot have the multicast subnet 224.0.0.0/8
  5:31 no port can have an address from here
  help: use a private prefix, such as 10.1.0.0/24 or fd00:1::/64
network b cannot have the reserved subnet 0.1.0.0/16
  5:44 no port can have an address from here
  help: use a private prefix, such as 10.1.0.0/24 or fd00:1::/64
network c cannot have the link-local subnet fe80::/64
  6:7 no port can have an address from here
  help: use a private prefix, such as 10.1.0.0/24 or fd00:1::/64
subnet fd00::1/64 of network c has host bits set
  6:20 an address, not a subnet
  help: write fd00::/64
network c cannot have the IPv4-mapped subnet ::ffff:10.0.0.0/104
  6:34 no port can have an address from here
  help: use a private prefix, such as 10.1.0.0/24 or fd00:1::/64
",
    );
}

#[test]
fn vnis() {
    check(
        "\
networks:
  d: { subnets: [], vni: 7 }
  a: { subnets: [], vni: 0 }
  b: { subnets: [], vni: 16777216 }
  c: { subnets: [], vni: 7 }
",
        "\
the vni of network a is 0
  5:26 out of range
  help: a vni is between 1 and 16777215
the vni of network b is 16777216
  6:26 out of range
  help: a vni is between 1 and 16777215
vni 7 is given to network d and to network c
  7:26 given again here
  4:26 first given here
  help: choose another one, or leave it out to have it derived from the name
",
    );
}

#[test]
fn mtus() {
    check(
        "\
networks:
  a: { subnets: 10.1.0.0/24, mtu: 67 }
  b: { subnets: 10.1.0.0/24, mtu: 65536 }
  c: { subnets: 'fd00::/64', mtu: 1279 }
  d: { subnets: [10.1.0.0/24, 'fd00::/64'], mtu: 1400 }
  e: 10.1.0.0/24
workloads:
  w: { ports: [{ network: d, mtu: 1401 }, { network: d, mtu: 1000 }, { network: e, mtu: 5 }, { network: e, mtu: 68 }, { network: e, mtu: 9000 }] }
",
        "\
the mtu of network a is 67
  4:35 out of range
  help: the mtu is between 68 and 65535 bytes
the mtu of network b is 65536
  5:35 out of range
  help: the mtu is between 68 and 65535 bytes
the mtu of network c is 1279, too small for IPv6
  6:35 too small
  6:17 the network's IPv6 subnet
  help: IPv6 needs 1280 bytes at least (RFC 8200, section 5)
the mtu of port w/eth0 is 1401, more than the 1400 of network d
  10:35 larger than the network's
  7:50 the network carries 1400 bytes
  help: lower the port's mtu or raise the network's
the mtu of port w/eth1 is 1000, too small for IPv6
  10:62 too small
  7:31 the network's IPv6 subnet
  help: IPv6 needs 1280 bytes at least (RFC 8200, section 5)
the mtu of port w/eth2 is 5
  10:89 out of range
  help: the mtu is between 68 and 65535 bytes
the mtu of port w/eth4 is 9000, more than the 1500 of network e
  10:138 larger than the network's
  8:3 the network carries 1500 bytes
  help: lower the port's mtu or raise the network's
",
    );
}

#[test]
fn default_mtus() {
    check(
        "\
defaults: { mtu: 1000 }
networks: { a: 'fd00::/64', b: 10.1.0.0/24 }
",
        "\
the mtu of network a is 1000, too small for IPv6
  3:18 too small
  4:16 the network's IPv6 subnet
  help: IPv6 needs 1280 bytes at least (RFC 8200, section 5)
",
    );
}

#[test]
fn ageing_and_default_mtu_out_of_range() {
    check(
        "\
defaults: { mtu: 70000 }
networks:
  a: { subnets: 10.1.0.0/24, ageing: 0 }
  b: { subnets: 10.1.0.0/24, ageing: 278h }
",
        "\
the mtu of the file's defaults is 70000
  3:18 out of range
  help: the mtu is between 68 and 65535 bytes
the ageing of network a is 0 seconds
  5:38 out of range
  help: it is between 1 and 1000000 seconds
the ageing of network b is 1000800 seconds
  6:38 out of range
  help: it is between 1 and 1000000 seconds
",
    );
}

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
    assert!(topology.drop_events);
    assert_eq!(compile(&[web, net]).unwrap(), topology);
    assert_eq!(compile(&[]).unwrap().networks.len(), 0);
}

#[test]
fn a_network_holds_as_many_ports_as_a_frame_can_be_flooded_to() {
    let ports = |count: u32| {
        let names: Vec<String> = (0..count)
            .map(|i| format!("{{network: n, interface: i{i}}}"))
            .collect();
        format!(
            "networks: {{ n: [] }}\nworkloads: {{ w: {{ ports: [{}] }} }}\n",
            names.join(", ")
        )
    };
    assert_eq!(compiled(&ports(FLOOD_MAX)).ports.len(), 1024);
    let text = ports(FLOOD_MAX + 3);
    let column = text
        .lines()
        .nth(1)
        .unwrap()
        .find("{network: n, interface: i1024}")
        .unwrap()
        + 1;
    check(
        &text,
        &format!(
            "\
network n has more than 1024 ports
  4:{column} one port too many
  3:13 the network is declared here
  help: a broadcast reaches that many ports at most: split the network
"
        ),
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
fn an_unreadable_file_does_not_make_others_wrong() {
    let broken = draft("net.yaml", "version: 1\nname: net\nnetworks: { front: [\n");
    let web = draft(
        "web.yaml",
        "version: 1\nname: web\nworkloads: { web: { ports: [front] } }\n",
    );
    let problems = compile_drafts([broken, web]).unwrap_err();
    assert_eq!(problems.len(), 1, "{}", listing(&problems));
}
