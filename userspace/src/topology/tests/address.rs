//! Ports, their addresses and MAC addresses.

use super::{check, compiled};

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
