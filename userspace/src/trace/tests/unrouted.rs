//! Packets that routers do not forward.

use super::check;
use super::routed::SITE;

#[test]
fn a_connection_to_a_router() {
    check(
        SITE,
        &[],
        "web core/front",
        false,
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
   9. sends a TCP SYN to port 80 in a frame to 02:72:62:69:b4:77
  10. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front        shop.yaml:17:18
  11. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb          shop.yaml:17:18
  12. 02:72:62:69:b4:77 is router core, at core/front                          shop.yaml:10:7
router core
  13. enters at core/front from network front                                  shop.yaml:10:7
  14. 10.1.0.1 is the router's own address, at core/front                      shop.yaml:10:7
verdict: dropped: router_service
      The packet is for the router itself, which offers nothing there. The sender is told, or its TCP connection is reset.
      the sender is told: connection refused (TCP reset), from 10.1.0.1 at core/front
      hint: routers answer echo requests only: trace icmp
",
    );
}

#[test]
fn a_datagram_to_a_router_of_ipv6() {
    check(
        SITE,
        &[],
        "web fd00:2::1 udp 53",
        false,
        "\
workload
   1. sends from fd00:1::10 at web/eth0: its route to ::/0 goes via fd00:1::1   shop.yaml:17:18
   2. mtu: its packets have 1500 bytes at most, those of core/back 1400         shop.yaml:17:18
question
   3. asks all stations: who has fd00:1::1? (neighbor discovery)
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front         shop.yaml:17:18
   5. anti-spoofing: fd00:1::10 belongs to web/eth0, 02:62:c7:84:ae:fb          shop.yaml:17:18
   6. fd00:1::1 is an address of router core, at core/front, 02:72:62:69:b4:77  shop.yaml:10:7
   7. answered at once: fd00:1::1 is at 02:72:62:69:b4:77
frame
   8. sends a UDP datagram to port 53 in a frame to 02:72:62:69:b4:77
   9. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front         shop.yaml:17:18
  10. anti-spoofing: fd00:1::10 belongs to web/eth0, 02:62:c7:84:ae:fb          shop.yaml:17:18
  11. 02:72:62:69:b4:77 is router core, at core/front                           shop.yaml:10:7
router core
  12. enters at core/front from network front                                   shop.yaml:10:7
  13. fd00:2::1 is the router's own address, at core/back                       shop.yaml:11:7
verdict: dropped: router_service
      The packet is for the router itself, which offers nothing there. The sender is told, or its TCP connection is reset.
      the sender is told: port unreachable (ICMPv6 type 1, code 4), from fd00:2::1 at core/back
      hint: routers answer echo requests only: trace icmp
",
    );
}

#[test]
fn blackhole() {
    check(
        SITE,
        &[],
        "web 10.66.0.1",
        false,
        "\
workload
   1. sends from 10.1.0.10 at web/eth0: its route to 0.0.0.0/0 goes via 10.1.0.1  shop.yaml:17:18
   2. mtu: its packets have 1500 bytes at most                                    shop.yaml:17:18
question
   3. asks all stations: who has 10.1.0.1? (ARP)
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:17:18
   5. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:17:18
   6. 10.1.0.1 is an address of router core, at core/front, 02:72:62:69:b4:77     shop.yaml:10:7
   7. answered at once: 10.1.0.1 is at 02:72:62:69:b4:77
frame
   8. sends a TCP SYN to port 80 in a frame to 02:72:62:69:b4:77
   9. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:17:18
  10. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:17:18
  11. 02:72:62:69:b4:77 is router core, at core/front                             shop.yaml:10:7
router core
  12. enters at core/front from network front                                     shop.yaml:10:7
  13. route: 10.66.0.0/16 is a blackhole                                          shop.yaml:13:15
verdict: dropped: blackhole
      A route says to drop the packet and tell nobody.
      hint: the route of router core says so: take it out, or give the router one with a longer prefix that covers 10.66.0.1
",
    );
}

#[test]
fn a_broadcast_from_outside() {
    check(
        SITE,
        &[],
        "web 10.2.0.255 udp 53",
        false,
        "\
workload
   1. sends from 10.1.0.10 at web/eth0: its route to 0.0.0.0/0 goes via 10.1.0.1  shop.yaml:17:18
   2. mtu: its packets have 1500 bytes at most                                    shop.yaml:17:18
question
   3. asks all stations: who has 10.1.0.1? (ARP)
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:17:18
   5. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:17:18
   6. 10.1.0.1 is an address of router core, at core/front, 02:72:62:69:b4:77     shop.yaml:10:7
   7. answered at once: 10.1.0.1 is at 02:72:62:69:b4:77
frame
   8. sends a UDP datagram to port 53 in a frame to 02:72:62:69:b4:77
   9. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:17:18
  10. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:17:18
  11. 02:72:62:69:b4:77 is router core, at core/front                             shop.yaml:10:7
router core
  12. enters at core/front from network front                                     shop.yaml:10:7
  13. route: 10.2.0.255/32 is the broadcast address of a subnet                   shop.yaml:11:14
verdict: dropped: directed_broadcast
      The packet is for the broadcast address of a subnet that the router is in. Sent on, it would make one packet many (RFC 2644).
      hint: send to the stations one by one, or from within the subnet: routers do not spread what is for all of it
",
    );
}

#[test]
fn reject() {
    check(
        SITE,
        &[],
        "web 10.67.0.1",
        false,
        "\
workload
   1. sends from 10.1.0.10 at web/eth0: its route to 0.0.0.0/0 goes via 10.1.0.1  shop.yaml:17:18
   2. mtu: its packets have 1500 bytes at most                                    shop.yaml:17:18
question
   3. asks all stations: who has 10.1.0.1? (ARP)
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:17:18
   5. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:17:18
   6. 10.1.0.1 is an address of router core, at core/front, 02:72:62:69:b4:77     shop.yaml:10:7
   7. answered at once: 10.1.0.1 is at 02:72:62:69:b4:77
frame
   8. sends a TCP SYN to port 80 in a frame to 02:72:62:69:b4:77
   9. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:17:18
  10. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:17:18
  11. 02:72:62:69:b4:77 is router core, at core/front                             shop.yaml:10:7
router core
  12. enters at core/front from network front                                     shop.yaml:10:7
  13. route: 10.67.0.0/16 is rejected                                             shop.yaml:14:15
verdict: dropped: rejected
      A route says to drop the packet; the sender is told that it is prohibited.
      the sender is told: administratively prohibited (ICMP type 3, code 13), from 10.1.0.1 at core/front
      hint: the route of router core says so: take it out, or give the router one with a longer prefix that covers 10.67.0.1
",
    );
}

#[test]
fn no_route() {
    check(
        SITE,
        &[],
        "web 192.0.2.1",
        false,
        "\
workload
   1. sends from 10.1.0.10 at web/eth0: its route to 0.0.0.0/0 goes via 10.1.0.1  shop.yaml:17:18
   2. mtu: its packets have 1500 bytes at most                                    shop.yaml:17:18
question
   3. asks all stations: who has 10.1.0.1? (ARP)
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:17:18
   5. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:17:18
   6. 10.1.0.1 is an address of router core, at core/front, 02:72:62:69:b4:77     shop.yaml:10:7
   7. answered at once: 10.1.0.1 is at 02:72:62:69:b4:77
frame
   8. sends a TCP SYN to port 80 in a frame to 02:72:62:69:b4:77
   9. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:17:18
  10. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:17:18
  11. 02:72:62:69:b4:77 is router core, at core/front                             shop.yaml:10:7
router core
  12. enters at core/front from network front                                     shop.yaml:10:7
  13. no route leads to 192.0.2.1
verdict: dropped: no_route
      The router has no route to the destination. The sender is told.
      the sender is told: no route to the destination (ICMP type 3, code 0), from 10.1.0.1 at core/front
      hint: give router core a route: `routes: [{ to: 192.0.2.1/32, via: ... }]`
",
    );
}

#[test]
fn a_network_that_the_router_is_not_on() {
    check(
        SITE,
        &[],
        "web lone",
        false,
        "\
workload
   1. lone/eth0 has 10.3.0.30 on network lab                                      shop.yaml:20:19
   2. sends from 10.1.0.10 at web/eth0: its route to 0.0.0.0/0 goes via 10.1.0.1  shop.yaml:17:18
   3. mtu: its packets have 1500 bytes at most                                    shop.yaml:17:18
question
   4. asks all stations: who has 10.1.0.1? (ARP)
   5. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:17:18
   6. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:17:18
   7. 10.1.0.1 is an address of router core, at core/front, 02:72:62:69:b4:77     shop.yaml:10:7
   8. answered at once: 10.1.0.1 is at 02:72:62:69:b4:77
frame
   9. sends a TCP SYN to port 80 in a frame to 02:72:62:69:b4:77
  10. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:17:18
  11. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:17:18
  12. 02:72:62:69:b4:77 is router core, at core/front                             shop.yaml:10:7
router core
  13. enters at core/front from network front                                     shop.yaml:10:7
  14. no route leads to 10.3.0.30
verdict: dropped: no_route
      The router has no route to the destination. The sender is told.
      the sender is told: no route to the destination (ICMP type 3, code 0), from 10.1.0.1 at core/front
      hint: lone/eth0 is on network lab: give router core a port there
",
    );
}

#[test]
fn no_router_between_networks() {
    check(
        SITE,
        &[],
        "lone web",
        false,
        "\
workload
   1. web/eth0 has 10.1.0.10 on network front  shop.yaml:17:18
   2. lone/eth0 leads to 10.3.0.0/24 only      shop.yaml:20:19
verdict: not sent: no_route
      10.1.0.10 is in no subnet of lone, and no route of it leads there.
      hint: web/eth0 is on network front, and no router joins lab and front: add one with a port on each, `routers: { core: { ports: { ... } } }`
",
    );
}

#[test]
fn an_unknown_neighbor() {
    check(
        SITE,
        &[],
        "web 10.2.0.99",
        false,
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
   8. sends a TCP SYN to port 80 in a frame to 02:72:62:69:b4:77
   9. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front                     shop.yaml:17:18
  10. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb                       shop.yaml:17:18
  11. 02:72:62:69:b4:77 is router core, at core/front                                       shop.yaml:10:7
router core
  12. enters at core/front from network front                                               shop.yaml:10:7
  13. route: 10.2.0.0/24 at core/back                                                       shop.yaml:11:14
  14. mtu: core/back carries 1400 bytes at most, and senders of larger packets are told so  shop.yaml:11:7
  15. next hop: 10.2.0.99 is not known on network back
  16. asks who has 10.2.0.99: db/eth0, nest/eth0
verdict: dropped: neighbor_pending
      The next hop is not known yet; it is being asked for.
      hint: a station behind nest/eth0 may answer, and then the next packet gets through: `--live` knows the answers
",
    );
}

#[test]
fn a_neighbor_that_is_not_plugged_in() {
    check(
        SITE,
        &["db"],
        "web db",
        false,
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
   9. sends a TCP SYN to port 80 in a frame to 02:72:62:69:b4:77
  10. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front                     shop.yaml:17:18
  11. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb                       shop.yaml:17:18
  12. 02:72:62:69:b4:77 is router core, at core/front                                       shop.yaml:10:7
router core
  13. enters at core/front from network front                                               shop.yaml:10:7
  14. route: 10.2.0.0/24 at core/back                                                       shop.yaml:11:14
  15. mtu: core/back carries 1400 bytes at most, and senders of larger packets are told so  shop.yaml:11:7
  16. next hop: 10.2.0.20 is not known on network back
  17. asks who has 10.2.0.20: nest/eth0
verdict: dropped: neighbor_pending
      The next hop is not known yet; it is being asked for.
      hint: start workload db, then load the file again
",
    );
}

#[test]
fn link_scope() {
    check(
        SITE,
        &[],
        "web 169.254.7.7",
        false,
        "\
workload
   1. sends from 10.1.0.10 at web/eth0: its route to 0.0.0.0/0 goes via 10.1.0.1  shop.yaml:17:18
   2. mtu: its packets have 1500 bytes at most                                    shop.yaml:17:18
question
   3. asks all stations: who has 10.1.0.1? (ARP)
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:17:18
   5. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:17:18
   6. 10.1.0.1 is an address of router core, at core/front, 02:72:62:69:b4:77     shop.yaml:10:7
   7. answered at once: 10.1.0.1 is at 02:72:62:69:b4:77
frame
   8. sends a TCP SYN to port 80 in a frame to 02:72:62:69:b4:77
   9. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:17:18
  10. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:17:18
  11. 02:72:62:69:b4:77 is router core, at core/front                             shop.yaml:10:7
verdict: dropped: martian
      The source or destination address must not be routed (RFC 1812 section 5.3.7, RFC 4291 section 2.5): loopback, link-local, multicast or unspecified, or the router's own as the source.
      hint: such an address holds within one network only: no router forwards it
",
    );
}
