//! Packets for many stations, and for one that nobody knows.

use super::{NEST, SHOP, check};

#[test]
fn broadcast() {
    check(
        SHOP,
        &[],
        "web 10.1.0.255 udp 67",
        true,
        "\
workload
   1. sends from 10.1.0.10 at web/eth0: 10.1.0.255 is for many stations  shop.yaml:6:18
   2. mtu: its packets have 1500 bytes at most                           shop.yaml:6:18
frame
   3. sends a UDP datagram to port 67 in a frame to ff:ff:ff:ff:ff:ff
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front  shop.yaml:6:18
   5. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb    shop.yaml:6:18
   6. ff:ff:ff:ff:ff:ff is for many: network front has 3 ports here      shop.yaml:4:3
verdict: flooded to db/eth0, log/eth0
",
    );
}

#[test]
fn limited_broadcast() {
    check(
        SHOP,
        &[],
        "log/eth0 255.255.255.255 udp 67",
        true,
        "\
workload
   1. sends from 10.1.0.30 at log/eth0: 255.255.255.255 is for many stations  shop.yaml:8:18
   2. mtu: its packets have 1500 bytes at most                                shop.yaml:8:18
frame
   3. sends a UDP datagram to port 67 in a frame to ff:ff:ff:ff:ff:ff
   4. comes in at log/eth0, which is 02:62:01:93:8e:bb on network front       shop.yaml:8:18
   5. anti-spoofing: 10.1.0.30 belongs to log/eth0, 02:62:01:93:8e:bb         shop.yaml:8:18
   6. ff:ff:ff:ff:ff:ff is for many: network front has 3 ports here           shop.yaml:4:3
verdict: flooded to db/eth0, web/eth0
",
    );
}

#[test]
fn multicast() {
    check(
        SHOP,
        &[],
        "web 224.0.0.251 udp 5353",
        true,
        "\
workload
   1. sends from 10.1.0.10 at web/eth0: 224.0.0.251 is for many stations  shop.yaml:6:18
   2. mtu: its packets have 1500 bytes at most                            shop.yaml:6:18
frame
   3. sends a UDP datagram to port 5353 in a frame to 01:00:5e:00:00:fb
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front   shop.yaml:6:18
   5. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb     shop.yaml:6:18
   6. 01:00:5e:00:00:fb is for many: network front has 3 ports here       shop.yaml:4:3
verdict: flooded to db/eth0, log/eth0
",
    );
}

#[test]
fn ipv6_multicast() {
    check(
        SHOP,
        &["log"],
        "web ff02::1 icmp",
        true,
        "\
workload
   1. sends from fe80::62:c7ff:fe84:aefb at web/eth0: ff02::1 is for many stations   shop.yaml:6:18
   2. mtu: its packets have 1500 bytes at most                                       shop.yaml:6:18
frame
   3. sends an echo request in a frame to 33:33:00:00:00:01
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front              shop.yaml:6:18
   5. anti-spoofing: fe80::62:c7ff:fe84:aefb belongs to web/eth0, 02:62:c7:84:ae:fb  shop.yaml:6:18
   6. 33:33:00:00:00:01 is for many: network front has 2 ports here                  shop.yaml:4:3
verdict: flooded to db/eth0
",
    );
}

#[test]
fn nobody_else_is_there() {
    check(
        SHOP,
        &["db", "log"],
        "web 10.1.0.255 udp",
        false,
        "\
workload
   1. sends from 10.1.0.10 at web/eth0: 10.1.0.255 is for many stations  shop.yaml:6:18
   2. mtu: its packets have 1500 bytes at most                           shop.yaml:6:18
frame
   3. sends a UDP datagram to port 80 in a frame to ff:ff:ff:ff:ff:ff
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front  shop.yaml:6:18
   5. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb    shop.yaml:6:18
   6. ff:ff:ff:ff:ff:ff is for many: network front has 1 port here       shop.yaml:4:3
verdict: dropped: no_other_port
      The frame was to be flooded, but the network has no other port on this host.
      hint: plug another workload into network front
",
    );
}

#[test]
fn tcp_is_not_for_many() {
    check(
        SHOP,
        &[],
        "web 224.0.0.251",
        false,
        "\
workload
   1. sends from 10.1.0.10 at web/eth0: 224.0.0.251 is for many stations  shop.yaml:6:18
   2. mtu: its packets have 1500 bytes at most                            shop.yaml:6:18
verdict: not sent: tcp_to_group
      TCP connects two stations, and 224.0.0.251 is for many.
      hint: trace udp or icmp instead
",
    );
}

#[test]
fn unknown_unicast() {
    check(
        NEST,
        &["db"],
        "web db",
        false,
        "\
workload
   1. db/eth0 has 10.1.0.20 on network front                                            shop.yaml:6:17
   2. sends from 10.1.0.10 at web/eth0: 10.1.0.20 is in its subnet 10.1.0.0/24          shop.yaml:5:18
   3. mtu: its packets have 1500 bytes at most                                          shop.yaml:5:18
question
   4. asks all stations: who has 10.1.0.20? (ARP)
   5. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front                 shop.yaml:5:18
   6. anti-spoofing: off at this port                                                   shop.yaml:5:18
   7. nobody on network front is known to have 10.1.0.20
   8. ff:ff:ff:ff:ff:ff is for many: network front has 2 ports here                     shop.yaml:3:13
   9. flooded to nest/eth0
  10. nobody answers: db/eth0, which was given 10.1.0.20, is not plugged in             shop.yaml:6:17
frame
  11. sends a TCP SYN to port 80 all the same, if it was told 02:62:2b:e8:84:25 before
  12. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front                 shop.yaml:5:18
  13. anti-spoofing: off at this port                                                   shop.yaml:5:18
  14. nobody is known to have 02:62:2b:e8:84:25
  15. network front floods what is for an unknown station                               shop.yaml:3:13
  16. 02:62:2b:e8:84:25 was not learned either
verdict: flooded to nest/eth0
",
    );
}
