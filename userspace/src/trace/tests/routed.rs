//! Packets that routers forward or answer.

use super::check;

/// Two networks of both families and the router between them; the second one carries less.
pub(super) const SITE: &str = "\
networks:
  front: [10.1.0.0/24, 'fd00:1::/64']
  back: { subnets: [10.2.0.0/24, 'fd00:2::/64'], mtu: 1400 }
  lab: 10.3.0.0/24
routers:
  core:
    ports:
      front: [10.1.0.1, 'fd00:1::1']
      back: [10.2.0.1, 'fd00:2::1']
    routes:
      - { to: 10.66.0.0/16, via: blackhole }
      - { to: 10.67.0.0/16, via: reject }
      - { to: 10.68.0.0/16, via: 10.2.0.20 }
workloads:
  web: { ports: [{ network: front, addresses: [10.1.0.10, 'fd00:1::10'] }] }
  db: { ports: [{ network: back, addresses: [10.2.0.20, 'fd00:2::20'] }] }
  nest: { ports: [{ network: back, learning: true }] }
  lone: { ports: [{ network: lab, addresses: 10.3.0.30 }] }
";

/// Three routers: over a network, by a direct link, and with two equal ways.
pub(super) const CHAIN: &str = "\
networks:
  front: 10.1.0.0/24
  mid: 192.0.2.0/24
  back: 10.3.0.0/24
routers:
  core:
    ports: { front: 10.1.0.1, mid: 192.0.2.1 }
    routes: [{ to: 10.3.0.0/24, via: [192.0.2.2, 192.0.2.3] }]
  left:
    ports: { mid: 192.0.2.2, down: { peer: edge, addresses: 198.51.100.0/31 } }
    routes: [{ to: 10.3.0.0/24, via: 198.51.100.1 }, { to: 10.1.0.0/24, via: 192.0.2.1 }]
  right:
    ports: { mid: 192.0.2.3, down: { peer: edge, addresses: 198.51.100.2/31 } }
    routes: [{ to: 10.3.0.0/24, via: 198.51.100.3 }, { to: 10.1.0.0/24, via: 192.0.2.1 }]
  edge:
    ports:
      up: { peer: left, addresses: 198.51.100.1/31 }
      up2: { peer: right, addresses: 198.51.100.3/31 }
      back: 10.3.0.1
    routes: [{ to: 10.1.0.0/24, via: [198.51.100.0, 198.51.100.2] }]
workloads:
  web: { ports: [{ network: front, addresses: 10.1.0.10 }] }
  db: { ports: [{ network: back, addresses: 10.3.0.20 }] }
";

#[test]
fn one_router_of_ipv4() {
    check(
        SITE,
        &[],
        "web db tcp 5432",
        true,
        "\
workload
   1. db/eth0 has 10.2.0.20 on network back                                                 shop.yaml:18:17
   2. sends from 10.1.0.10 at web/eth0: its route to 0.0.0.0/0 goes via 10.1.0.1            shop.yaml:17:18
   3. mtu: its packets have 1500 bytes at most, those of db/eth0 1400                       shop.yaml:17:18
question
   4. asks all stations: who has 10.1.0.1? (ARP)
   5. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front                     shop.yaml:17:18
   6. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb                       shop.yaml:17:18
   7. 10.1.0.1 is an address of router core, at core/front, 02:72:62:69:b4:77               shop.yaml:10:7
   8. answered at once: 10.1.0.1 is at 02:72:62:69:b4:77
frame
   9. sends a TCP SYN to port 5432 in a frame to 02:72:62:69:b4:77
  10. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front                     shop.yaml:17:18
  11. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb                       shop.yaml:17:18
  12. 02:72:62:69:b4:77 is router core, at core/front                                       shop.yaml:10:7
router core
  13. enters at core/front from network front                                               shop.yaml:10:7
  14. route: 10.2.0.0/24 at core/back                                                       shop.yaml:11:14
  15. mtu: core/back carries 1400 bytes at most, and senders of larger packets are told so  shop.yaml:11:7
  16. next hop: 10.2.0.20 is db/eth0, 02:62:2b:e8:84:25                                     shop.yaml:18:17
  17. leaves by core/back with TTL 63                                                       shop.yaml:11:7
  18. db/eth0 is behind bl-2be88425                                                         shop.yaml:18:17
verdict: delivered to db/eth0, with TTL 63                                                  shop.yaml:18:17
",
    );
}

#[test]
fn one_router_of_ipv6() {
    check(
        SITE,
        &[],
        "web fd00:2::20 icmp",
        true,
        "\
workload
   1. sends from fd00:1::10 at web/eth0: its route to ::/0 goes via fd00:1::1               shop.yaml:17:18
   2. mtu: its packets have 1500 bytes at most, those of db/eth0 1400                       shop.yaml:17:18
question
   3. asks all stations: who has fd00:1::1? (neighbor discovery)
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front                     shop.yaml:17:18
   5. anti-spoofing: fd00:1::10 belongs to web/eth0, 02:62:c7:84:ae:fb                      shop.yaml:17:18
   6. fd00:1::1 is an address of router core, at core/front, 02:72:62:69:b4:77              shop.yaml:10:7
   7. answered at once: fd00:1::1 is at 02:72:62:69:b4:77
frame
   8. sends an echo request in a frame to 02:72:62:69:b4:77
   9. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front                     shop.yaml:17:18
  10. anti-spoofing: fd00:1::10 belongs to web/eth0, 02:62:c7:84:ae:fb                      shop.yaml:17:18
  11. 02:72:62:69:b4:77 is router core, at core/front                                       shop.yaml:10:7
router core
  12. enters at core/front from network front                                               shop.yaml:10:7
  13. route: fd00:2::/64 at core/back                                                       shop.yaml:11:24
  14. mtu: core/back carries 1400 bytes at most, and senders of larger packets are told so  shop.yaml:11:7
  15. next hop: fd00:2::20 is db/eth0, 02:62:2b:e8:84:25                                    shop.yaml:18:17
  16. leaves by core/back with TTL 63                                                       shop.yaml:11:7
  17. db/eth0 is behind bl-2be88425                                                         shop.yaml:18:17
verdict: delivered to db/eth0, with TTL 63                                                  shop.yaml:18:17
",
    );
}

#[test]
fn three_routers_equal_next_hops_and_a_direct_link() {
    check(
        CHAIN,
        &[],
        "web db",
        true,
        "\
workload
   1. db/eth0 has 10.3.0.20 on network back                                       shop.yaml:25:17
   2. sends from 10.1.0.10 at web/eth0: its route to 0.0.0.0/0 goes via 10.1.0.1  shop.yaml:24:18
   3. mtu: its packets have 1500 bytes at most                                    shop.yaml:24:18
question
   4. asks all stations: who has 10.1.0.1? (ARP)
   5. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:24:18
   6. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:24:18
   7. 10.1.0.1 is an address of router core, at core/front, 02:72:62:69:b4:77     shop.yaml:9:14
   8. answered at once: 10.1.0.1 is at 02:72:62:69:b4:77
frame
   9. sends a TCP SYN to port 80 in a frame to 02:72:62:69:b4:77
  10. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:24:18
  11. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:24:18
  12. 02:72:62:69:b4:77 is router core, at core/front                             shop.yaml:9:14
router core
  13. enters at core/front from network front                                     shop.yaml:9:14
  14. route: 10.3.0.0/24 by one of 2 equal next hops                              shop.yaml:10:20
  15. the flow is in bucket 3 of 256: via 192.0.2.2 at core/mid                   shop.yaml:9:31
  16. next hop: 192.0.2.2 is left/mid, 02:72:b3:82:83:37                          shop.yaml:12:14
  17. leaves by core/mid with TTL 63                                              shop.yaml:9:31
router left
  18. enters at left/mid from network mid                                         shop.yaml:12:14
  19. route: 10.3.0.0/24 via 198.51.100.1 at left/down                            shop.yaml:13:20
  20. next hop: 198.51.100.1 is edge/up, 02:72:96:e4:7b:22                        shop.yaml:19:7
  21. leaves by left/down with TTL 62                                             shop.yaml:12:30
router edge
  22. enters at edge/up by the direct link edge/up--left/down                     shop.yaml:19:7
  23. route: 10.3.0.0/24 at edge/back                                             shop.yaml:21:13
  24. next hop: 10.3.0.20 is db/eth0, 02:62:2b:e8:84:25                           shop.yaml:25:17
  25. leaves by edge/back with TTL 61                                             shop.yaml:21:7
  26. db/eth0 is behind bl-2be88425                                               shop.yaml:25:17
verdict: delivered to db/eth0, with TTL 61                                        shop.yaml:25:17
",
    );
}

#[test]
fn the_way_back() {
    check(
        CHAIN,
        &[],
        "db web udp 53",
        true,
        "\
workload
   1. web/eth0 has 10.1.0.10 on network front                                    shop.yaml:24:18
   2. sends from 10.3.0.20 at db/eth0: its route to 0.0.0.0/0 goes via 10.3.0.1  shop.yaml:25:17
   3. mtu: its packets have 1500 bytes at most                                   shop.yaml:25:17
question
   4. asks all stations: who has 10.3.0.1? (ARP)
   5. comes in at db/eth0, which is 02:62:2b:e8:84:25 on network back            shop.yaml:25:17
   6. anti-spoofing: 10.3.0.20 belongs to db/eth0, 02:62:2b:e8:84:25             shop.yaml:25:17
   7. 10.3.0.1 is an address of router edge, at edge/back, 02:72:18:c8:12:53     shop.yaml:21:7
   8. answered at once: 10.3.0.1 is at 02:72:18:c8:12:53
frame
   9. sends a UDP datagram to port 53 in a frame to 02:72:18:c8:12:53
  10. comes in at db/eth0, which is 02:62:2b:e8:84:25 on network back            shop.yaml:25:17
  11. anti-spoofing: 10.3.0.20 belongs to db/eth0, 02:62:2b:e8:84:25             shop.yaml:25:17
  12. 02:72:18:c8:12:53 is router edge, at edge/back                             shop.yaml:21:7
router edge
  13. enters at edge/back from network back                                      shop.yaml:21:7
  14. route: 10.1.0.0/24 by one of 2 equal next hops                             shop.yaml:22:20
  15. the flow is in bucket 235 of 256: via 198.51.100.2 at edge/up2             shop.yaml:20:7
  16. next hop: 198.51.100.2 is right/down, 02:72:28:fc:1e:28                    shop.yaml:15:30
  17. leaves by edge/up2 with TTL 63                                             shop.yaml:20:7
router right
  18. enters at right/down by the direct link edge/up2--right/down               shop.yaml:15:30
  19. route: 10.1.0.0/24 via 192.0.2.1 at right/mid                              shop.yaml:16:60
  20. next hop: 192.0.2.1 is core/mid, 02:72:b4:82:84:ca                         shop.yaml:9:31
  21. leaves by right/mid with TTL 62                                            shop.yaml:15:14
router core
  22. enters at core/mid from network mid                                        shop.yaml:9:31
  23. route: 10.1.0.0/24 at core/front                                           shop.yaml:9:21
  24. next hop: 10.1.0.10 is web/eth0, 02:62:c7:84:ae:fb                         shop.yaml:24:18
  25. leaves by core/front with TTL 61                                           shop.yaml:9:14
  26. web/eth0 is behind bl-c784aefb                                             shop.yaml:24:18
verdict: delivered to web/eth0, with TTL 61                                      shop.yaml:24:18
",
    );
}

#[test]
fn a_next_hop_that_is_a_workload() {
    check(
        SITE,
        &[],
        "web 10.68.0.1 udp",
        true,
        "\
workload
   1. sends from 10.1.0.10 at web/eth0: its route to 0.0.0.0/0 goes via 10.1.0.1            shop.yaml:17:18
   2. mtu: its packets have 1500 bytes at most                                              shop.yaml:17:18
question
   3. asks all stations: who has 10.1.0.1? (ARP)
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front                     shop.yaml:17:18
   5. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb                       shop.yaml:17:18
   6. 10.1.0.1 is an address of router core, at core/front, 02:72:62:69:b4:77               shop.yaml:10:7
   7. answered at once: 10.1.0.1 is at 02:72:62:69:b4:77
frame
   8. sends a UDP datagram to port 80 in a frame to 02:72:62:69:b4:77
   9. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front                     shop.yaml:17:18
  10. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb                       shop.yaml:17:18
  11. 02:72:62:69:b4:77 is router core, at core/front                                       shop.yaml:10:7
router core
  12. enters at core/front from network front                                               shop.yaml:10:7
  13. route: 10.68.0.0/16 via 10.2.0.20 at core/back                                        shop.yaml:15:15
  14. mtu: core/back carries 1400 bytes at most, and senders of larger packets are told so  shop.yaml:11:7
  15. next hop: 10.2.0.20 is db/eth0, 02:62:2b:e8:84:25                                     shop.yaml:18:17
  16. leaves by core/back with TTL 63                                                       shop.yaml:11:7
  17. db/eth0 is behind bl-2be88425                                                         shop.yaml:18:17
verdict: delivered to db/eth0, the next hop, with TTL 63                                    shop.yaml:18:17
",
    );
}

#[test]
fn a_router_by_its_name() {
    check(
        SITE,
        &[],
        "web core icmp",
        true,
        "\
workload
   1. core/front has 10.1.0.1 on network front                                 shop.yaml:10:7
   2. sends from 10.1.0.10 at web/eth0: 10.1.0.1 is in its subnet 10.1.0.0/24  shop.yaml:17:18
   3. mtu: its packets have 1500 bytes at most                                 shop.yaml:17:18
question
   4. asks all stations: who has 10.1.0.1? (ARP)
   5. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front        shop.yaml:17:18
   6. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb          shop.yaml:17:18
   7. 10.1.0.1 is an address of router core, at core/front, 02:72:62:69:b4:77  shop.yaml:10:7
   8. answered at once: 10.1.0.1 is at 02:72:62:69:b4:77
frame
   9. sends an echo request in a frame to 02:72:62:69:b4:77
  10. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front        shop.yaml:17:18
  11. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb          shop.yaml:17:18
  12. 02:72:62:69:b4:77 is router core, at core/front                          shop.yaml:10:7
router core
  13. enters at core/front from network front                                  shop.yaml:10:7
  14. 10.1.0.1 is the router's own address, at core/front                      shop.yaml:10:7
verdict: answered by router core                                               shop.yaml:10:7
",
    );
}

#[test]
fn the_far_port_of_a_router() {
    check(
        SITE,
        &[],
        "web core/back icmp",
        true,
        "\
workload
   1. core/back has 10.2.0.1 on network back                                      shop.yaml:11:7
   2. sends from 10.1.0.10 at web/eth0: its route to 0.0.0.0/0 goes via 10.1.0.1  shop.yaml:17:18
   3. mtu: its packets have 1500 bytes at most, those of core/back 1400           shop.yaml:17:18
question
   4. asks all stations: who has 10.1.0.1? (ARP)
   5. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:17:18
   6. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:17:18
   7. 10.1.0.1 is an address of router core, at core/front, 02:72:62:69:b4:77     shop.yaml:10:7
   8. answered at once: 10.1.0.1 is at 02:72:62:69:b4:77
frame
   9. sends an echo request in a frame to 02:72:62:69:b4:77
  10. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:17:18
  11. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:17:18
  12. 02:72:62:69:b4:77 is router core, at core/front                             shop.yaml:10:7
router core
  13. enters at core/front from network front                                     shop.yaml:10:7
  14. 10.2.0.1 is the router's own address, at core/back                          shop.yaml:11:7
verdict: answered by router core                                                  shop.yaml:11:7
",
    );
}
