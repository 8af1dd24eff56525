//! Packets that do not arrive.

use super::{LANS, NEST, SHOP, check};

#[test]
fn unknown_address() {
    check(
        SHOP,
        &[],
        "web 10.1.0.99",
        false,
        "\
workload
   1. sends from 10.1.0.10 at web/eth0: 10.1.0.99 is in its subnet 10.1.0.0/24  shop.yaml:6:18
   2. mtu: its packets have 1500 bytes at most                                  shop.yaml:6:18
question
   3. asks all stations: who has 10.1.0.99? (ARP)
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front         shop.yaml:6:18
   5. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb           shop.yaml:6:18
   6. nobody on network front is known to have 10.1.0.99
   7. ff:ff:ff:ff:ff:ff is for many: network front has 3 ports here             shop.yaml:4:3
   8. flooded to db/eth0, log/eth0
verdict: not sent: unanswered
      No port of network front was given 10.1.0.99, so nobody answers.
      hint: give 10.1.0.99 to a workload that has a port on network front
",
    );
}

#[test]
fn unknown_address_where_stations_are_nested() {
    check(
        NEST,
        &[],
        "web 10.1.0.99",
        false,
        "\
workload
   1. sends from 10.1.0.10 at web/eth0: 10.1.0.99 is in its subnet 10.1.0.0/24  shop.yaml:5:18
   2. mtu: its packets have 1500 bytes at most                                  shop.yaml:5:18
question
   3. asks all stations: who has 10.1.0.99? (ARP)
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front         shop.yaml:5:18
   5. anti-spoofing: off at this port                                           shop.yaml:5:18
   6. nobody on network front is known to have 10.1.0.99
   7. ff:ff:ff:ff:ff:ff is for many: network front has 3 ports here             shop.yaml:3:13
   8. flooded to db/eth0, nest/eth0
verdict: not sent: unanswered
      No port of network front was given 10.1.0.99, so nobody answers.
      hint: a station behind nest/eth0 may still answer: what is behind a port that learns is not in the file
",
    );
}

#[test]
fn no_route() {
    check(
        SHOP,
        &[],
        "web 192.0.2.1",
        false,
        "\
workload
   1. web/eth0 leads to 10.1.0.0/24, fd00:1::/64 only  shop.yaml:6:18
verdict: not sent: no_route
      192.0.2.1 is in no subnet of web, and no route of it leads there.
      hint: give web a route: `routes: [{ to: default, via: ... }]`
",
    );
}

#[test]
fn another_network() {
    check(
        LANS,
        &[],
        "db web",
        false,
        "\
workload
   1. web/eth0 has 10.1.0.10 on network front  shop.yaml:10:9
   2. db/eth0 leads to 10.2.0.0/24 only        shop.yaml:14:17
verdict: not sent: no_route
      10.1.0.10 is in no subnet of db, and no route of it leads there.
      hint: web/eth0 is on network front, and no router joins back and front: add one with a port on each, `routers: { core: { ports: { ... } } }`
",
    );
}

#[test]
fn another_subnet_of_the_network() {
    check(
        LANS,
        &[],
        "db old",
        false,
        "\
workload
   1. old/eth0 has 10.5.0.5 on network back  shop.yaml:15:18
   2. db/eth0 leads to 10.2.0.0/24 only      shop.yaml:14:17
verdict: not sent: no_route
      10.5.0.5 is in no subnet of db, and no route of it leads there.
      hint: old/eth0 is on the same network, but in another subnet: give db an address there too, or a route
",
    );
}

#[test]
fn another_network_with_the_same_subnet() {
    check(
        LANS,
        &[],
        "web far",
        false,
        "\
workload
   1. far/eth0 has 10.1.0.20 on network twin                                    shop.yaml:16:18
   2. sends from 10.1.0.10 at web/eth0: 10.1.0.20 is in its subnet 10.1.0.0/24  shop.yaml:10:9
   3. mtu: its packets have 1500 bytes at most                                  shop.yaml:10:9
question
   4. asks all stations: who has 10.1.0.20? (ARP)
   5. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front         shop.yaml:10:9
   6. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb           shop.yaml:10:9
   7. nobody on network front is known to have 10.1.0.20
   8. ff:ff:ff:ff:ff:ff is for many: network front has 5 ports here             shop.yaml:4:3
   9. flooded to bare/eth0, both/eth1, gw/eth0, six/eth0
verdict: not sent: unanswered
      No port of network front was given 10.1.0.20, so nobody answers.
      hint: far/eth0 has it, but on network twin: give the networks subnets that are apart, and a router with a port on each
",
    );
}

#[test]
fn a_sender_without_address() {
    check(
        LANS,
        &[],
        "bare web",
        false,
        "\
workload
   1. web/eth0 has 10.1.0.10 on network front         shop.yaml:10:9
   2. bare/eth0 leads nowhere, for it has no address  shop.yaml:22:19
verdict: not sent: no_address
      There is no IPv4 address to send from at bare.
      hint: give its port one: `addresses: [...]`
",
    );
}

#[test]
fn a_sender_without_that_family() {
    check(
        SHOP,
        &[],
        "log fd00:1::10",
        false,
        "\
workload
   1. log/eth0 leads to 10.1.0.0/24 only  shop.yaml:8:18
verdict: not sent: no_address
      There is no IPv6 address to send from at log.
      hint: give its port one: `addresses: [...]`
",
    );
}

#[test]
fn a_receiver_without_address() {
    check(
        LANS,
        &[],
        "web bare",
        false,
        "\
workload
   1. bare/eth0 has no address  shop.yaml:22:19
verdict: not sent: no_address
      The destination has no address.
      hint: give its port one: `addresses: [...]`
",
    );
}

#[test]
fn a_sender_that_is_not_there() {
    check(
        SHOP,
        &["web"],
        "web db",
        false,
        "\
workload
   1. nothing is plugged in at web/eth0  shop.yaml:6:18
verdict: not sent: unplugged
      Nothing is plugged in for web at this moment.
      hint: start workload web, then load the file again
",
    );
}

#[test]
fn a_receiver_that_is_not_there() {
    check(
        SHOP,
        &["db"],
        "web db",
        false,
        "\
workload
   1. db/eth0 has 10.1.0.20 on network front                                            shop.yaml:7:17
   2. sends from 10.1.0.10 at web/eth0: 10.1.0.20 is in its subnet 10.1.0.0/24          shop.yaml:6:18
   3. mtu: its packets have 1500 bytes at most, those of db/eth0 1400                   shop.yaml:6:18
question
   4. asks all stations: who has 10.1.0.20? (ARP)
   5. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front                 shop.yaml:6:18
   6. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb                   shop.yaml:6:18
   7. nobody on network front is known to have 10.1.0.20
   8. ff:ff:ff:ff:ff:ff is for many: network front has 2 ports here                     shop.yaml:4:3
   9. flooded to log/eth0
  10. nobody answers: db/eth0, which was given 10.1.0.20, is not plugged in             shop.yaml:7:17
frame
  11. sends a TCP SYN to port 80 all the same, if it was told 02:62:2b:e8:84:25 before
  12. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front                 shop.yaml:6:18
  13. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb                   shop.yaml:6:18
  14. nobody is known to have 02:62:2b:e8:84:25
  15. network front drops what is for an unknown station                                shop.yaml:4:3
verdict: dropped: unknown_unicast
      Nobody in the network is known to have the destination MAC address, and the network does not flood unknown unicast.
      hint: start workload db, then load the file again
",
    );
}

#[test]
fn a_next_hop_that_is_not_there() {
    check(
        LANS,
        &["gw"],
        "web 192.0.2.1 icmp",
        false,
        "\
workload
   1. sends from 10.1.0.10 at web/eth0: its route to 0.0.0.0/0 goes via 10.1.0.1   shop.yaml:10:9
   2. mtu: its packets have 1500 bytes at most                                     shop.yaml:10:9
question
   3. asks all stations: who has 10.1.0.1? (ARP)
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front            shop.yaml:10:9
   5. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb              shop.yaml:10:9
   6. nobody on network front is known to have 10.1.0.1
   7. ff:ff:ff:ff:ff:ff is for many: network front has 4 ports here                shop.yaml:4:3
   8. flooded to bare/eth0, both/eth1, six/eth0
   9. nobody answers: gw/eth0, which was given 10.1.0.1, is not plugged in         shop.yaml:13:17
frame
  10. sends an echo request all the same, if it was told 02:62:41:e7:ec:c5 before
  11. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front            shop.yaml:10:9
  12. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb              shop.yaml:10:9
  13. nobody is known to have 02:62:41:e7:ec:c5
  14. network front drops what is for an unknown station                           shop.yaml:4:3
verdict: dropped: unknown_unicast
      Nobody in the network is known to have the destination MAC address, and the network does not flood unknown unicast.
      hint: start workload gw, then load the file again
",
    );
}
