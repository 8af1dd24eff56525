//! Networks: subnets, identifiers, sizes, ageing.

use maps_schema::map::FLOOD_MAX;

use super::{check, compiled};

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
  help: a vni is between 1 and 16777214
the vni of network b is 16777216
  6:26 out of range
  help: a vni is between 1 and 16777214
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
