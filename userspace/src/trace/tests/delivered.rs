//! Packets that arrive.

use super::{LANS, SHOP, check};

#[test]
fn ipv4() {
    check(
        SHOP,
        &[],
        "web db tcp 5432",
        true,
        "\
workload
   1. db/eth0 has 10.1.0.20 on network front                                    shop.yaml:7:17
   2. sends from 10.1.0.10 at web/eth0: 10.1.0.20 is in its subnet 10.1.0.0/24  shop.yaml:6:18
   3. mtu: its packets have 1500 bytes at most, those of db/eth0 1400           shop.yaml:6:18
question
   4. asks all stations: who has 10.1.0.20? (ARP)
   5. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front         shop.yaml:6:18
   6. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb           shop.yaml:6:18
   7. 10.1.0.20 belongs to db/eth0, 02:62:2b:e8:84:25                           shop.yaml:7:17
   8. answered at once: 10.1.0.20 is at 02:62:2b:e8:84:25
frame
   9. sends a TCP SYN to port 5432 in a frame to 02:62:2b:e8:84:25
  10. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front         shop.yaml:6:18
  11. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb           shop.yaml:6:18
  12. 02:62:2b:e8:84:25 is at db/eth0                                           shop.yaml:7:17
  13. db/eth0 is behind bl-2be88425                                             shop.yaml:7:17
verdict: delivered to db/eth0                                                   shop.yaml:7:17
",
    );
}

#[test]
fn ipv6() {
    check(
        SHOP,
        &[],
        "web fd00:1::20 icmp",
        true,
        "\
workload
   1. sends from fd00:1::10 at web/eth0: fd00:1::20 is in its subnet fd00:1::/64  shop.yaml:6:18
   2. mtu: its packets have 1500 bytes at most, those of db/eth0 1400             shop.yaml:6:18
question
   3. asks all stations: who has fd00:1::20? (neighbor discovery)
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:6:18
   5. anti-spoofing: fd00:1::10 belongs to web/eth0, 02:62:c7:84:ae:fb            shop.yaml:6:18
   6. fd00:1::20 belongs to db/eth0, 02:62:2b:e8:84:25                            shop.yaml:7:17
   7. answered at once: fd00:1::20 is at 02:62:2b:e8:84:25
frame
   8. sends an echo request in a frame to 02:62:2b:e8:84:25
   9. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:6:18
  10. anti-spoofing: fd00:1::10 belongs to web/eth0, 02:62:c7:84:ae:fb            shop.yaml:6:18
  11. 02:62:2b:e8:84:25 is at db/eth0                                             shop.yaml:7:17
  12. db/eth0 is behind bl-2be88425                                               shop.yaml:7:17
verdict: delivered to db/eth0                                                     shop.yaml:7:17
",
    );
}

#[test]
fn link_local() {
    check(
        SHOP,
        &[],
        "web fe80::62:2bff:fee8:8425 udp",
        true,
        "\
workload
   1. sends from fe80::62:c7ff:fe84:aefb at web/eth0: fe80::62:2bff:fee8:8425 is in its subnet fe80::/64  shop.yaml:6:18
   2. mtu: its packets have 1500 bytes at most, those of db/eth0 1400                shop.yaml:6:18
question
   3. asks all stations: who has fe80::62:2bff:fee8:8425? (neighbor discovery)
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front              shop.yaml:6:18
   5. anti-spoofing: fe80::62:c7ff:fe84:aefb belongs to web/eth0, 02:62:c7:84:ae:fb  shop.yaml:6:18
   6. fe80::62:2bff:fee8:8425 belongs to db/eth0, 02:62:2b:e8:84:25                  shop.yaml:7:17
   7. answered at once: fe80::62:2bff:fee8:8425 is at 02:62:2b:e8:84:25
frame
   8. sends a UDP datagram to port 80 in a frame to 02:62:2b:e8:84:25
   9. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front              shop.yaml:6:18
  10. anti-spoofing: fe80::62:c7ff:fe84:aefb belongs to web/eth0, 02:62:c7:84:ae:fb  shop.yaml:6:18
  11. 02:62:2b:e8:84:25 is at db/eth0                                                shop.yaml:7:17
  12. db/eth0 is behind bl-2be88425                                                  shop.yaml:7:17
verdict: delivered to db/eth0                                                        shop.yaml:7:17
",
    );
}

#[test]
fn by_a_next_hop() {
    check(
        LANS,
        &[],
        "web db",
        true,
        "\
workload
   1. db/eth0 has 10.2.0.20 on network back                                       shop.yaml:14:17
   2. sends from 10.1.0.10 at web/eth0: its route to 0.0.0.0/0 goes via 10.1.0.1  shop.yaml:10:9
   3. mtu: its packets have 1500 bytes at most                                    shop.yaml:10:9
question
   4. asks all stations: who has 10.1.0.1? (ARP)
   5. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:10:9
   6. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:10:9
   7. 10.1.0.1 belongs to gw/eth0, 02:62:41:e7:ec:c5                              shop.yaml:13:17
   8. answered at once: 10.1.0.1 is at 02:62:41:e7:ec:c5
frame
   9. sends a TCP SYN to port 80 in a frame to 02:62:41:e7:ec:c5
  10. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:10:9
  11. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:10:9
  12. 02:62:41:e7:ec:c5 is at gw/eth0                                             shop.yaml:13:17
  13. gw/eth0 is behind bl-41e7ecc5                                               shop.yaml:13:17
verdict: delivered to gw/eth0, the next hop                                       shop.yaml:13:17
",
    );
}

#[test]
fn by_the_port_on_the_network_of_the_destination() {
    check(
        LANS,
        &[],
        "both far",
        true,
        "\
workload
   1. far/eth0 has 10.1.0.20 on network twin                                     shop.yaml:16:18
   2. sends from 10.1.0.40 at both/eth0: 10.1.0.20 is in its subnet 10.1.0.0/24  shop.yaml:19:9
   3. both/eth1 leads there just as well: trace from it by its name              shop.yaml:20:9
   4. mtu: its packets have 1500 bytes at most                                   shop.yaml:19:9
question
   5. asks all stations: who has 10.1.0.20? (ARP)
   6. comes in at both/eth0, which is 02:62:ce:cd:24:ee on network twin          shop.yaml:19:9
   7. anti-spoofing: 10.1.0.40 belongs to both/eth0, 02:62:ce:cd:24:ee           shop.yaml:19:9
   8. 10.1.0.20 belongs to far/eth0, 02:62:3e:51:dd:6a                           shop.yaml:16:18
   9. answered at once: 10.1.0.20 is at 02:62:3e:51:dd:6a
frame
  10. sends a TCP SYN to port 80 in a frame to 02:62:3e:51:dd:6a
  11. comes in at both/eth0, which is 02:62:ce:cd:24:ee on network twin          shop.yaml:19:9
  12. anti-spoofing: 10.1.0.40 belongs to both/eth0, 02:62:ce:cd:24:ee           shop.yaml:19:9
  13. 02:62:3e:51:dd:6a is at far/eth0                                           shop.yaml:16:18
  14. far/eth0 is behind bl-3e51dd6a                                             shop.yaml:16:18
verdict: delivered to far/eth0                                                   shop.yaml:16:18
",
    );
}

#[test]
fn by_the_port_that_was_named() {
    check(
        LANS,
        &[],
        "both/eth1 web",
        true,
        "\
workload
   1. web/eth0 has 10.1.0.10 on network front                                    shop.yaml:10:9
   2. sends from 10.1.0.41 at both/eth1: 10.1.0.10 is in its subnet 10.1.0.0/24  shop.yaml:20:9
   3. mtu: its packets have 1500 bytes at most                                   shop.yaml:20:9
question
   4. asks all stations: who has 10.1.0.10? (ARP)
   5. comes in at both/eth1, which is 02:62:cf:cd:26:81 on network front         shop.yaml:20:9
   6. anti-spoofing: 10.1.0.41 belongs to both/eth1, 02:62:cf:cd:26:81           shop.yaml:20:9
   7. 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb                           shop.yaml:10:9
   8. answered at once: 10.1.0.10 is at 02:62:c7:84:ae:fb
frame
   9. sends a TCP SYN to port 80 in a frame to 02:62:c7:84:ae:fb
  10. comes in at both/eth1, which is 02:62:cf:cd:26:81 on network front         shop.yaml:20:9
  11. anti-spoofing: 10.1.0.41 belongs to both/eth1, 02:62:cf:cd:26:81           shop.yaml:20:9
  12. 02:62:c7:84:ae:fb is at web/eth0                                           shop.yaml:10:9
  13. web/eth0 is behind bl-c784aefb                                             shop.yaml:10:9
verdict: delivered to web/eth0                                                   shop.yaml:10:9
",
    );
}

#[test]
fn without_ipv4_in_common() {
    check(
        LANS,
        &[],
        "six both",
        true,
        "\
workload
   1. both/eth1 has fd00:1::41 on network front                                  shop.yaml:20:9
   2. sends from fd00:1::6 at six/eth0: fd00:1::41 is in its subnet fd00:1::/64  shop.yaml:21:18
   3. mtu: its packets have 1500 bytes at most                                   shop.yaml:21:18
question
   4. asks all stations: who has fd00:1::41? (neighbor discovery)
   5. comes in at six/eth0, which is 02:62:7d:42:52:bd on network front          shop.yaml:21:18
   6. anti-spoofing: fd00:1::6 belongs to six/eth0, 02:62:7d:42:52:bd            shop.yaml:21:18
   7. fd00:1::41 belongs to both/eth1, 02:62:cf:cd:26:81                         shop.yaml:20:9
   8. answered at once: fd00:1::41 is at 02:62:cf:cd:26:81
frame
   9. sends a TCP SYN to port 80 in a frame to 02:62:cf:cd:26:81
  10. comes in at six/eth0, which is 02:62:7d:42:52:bd on network front          shop.yaml:21:18
  11. anti-spoofing: fd00:1::6 belongs to six/eth0, 02:62:7d:42:52:bd            shop.yaml:21:18
  12. 02:62:cf:cd:26:81 is at both/eth1                                          shop.yaml:20:9
  13. both/eth1 is behind bl-cfcd2681                                            shop.yaml:20:9
verdict: delivered to both/eth1                                                  shop.yaml:20:9
",
    );
}

#[test]
fn to_itself() {
    check(
        SHOP,
        &[],
        "web web",
        true,
        "\
workload
   1. web/eth0 has 10.1.0.10 on network front  shop.yaml:6:18
verdict: stays in web: the address is its own
",
    );
}
