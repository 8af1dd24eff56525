//! What becomes of a packet on the hosts that it is sent to, word for word.

use super::*;
use crate::plan::Uplink;

/// Web on alpha; db and log on beta, which db's policy guards; log behind a router; far on gamma.
const SITE: &str = "\
hosts: { alpha: 192.0.2.11, beta: 192.0.2.12, gamma: 192.0.2.13 }
networks: { front: { subnets: 10.1.0.0/24, vni: 100 }, back: { subnets: 10.2.0.0/24, vni: 200 } }
routers: { core: { ports: { front: 10.1.0.1, back: 10.2.0.1 } } }
workloads:
  web: { host: alpha, ports: [{ network: front, addresses: 10.1.0.10 }] }
  near: { host: alpha, ports: [{ network: front, addresses: 10.1.0.15 }] }
  db: { host: beta, ports: [{ network: front, addresses: 10.1.0.20, groups: db }] }
  log: { host: beta, ports: [{ network: back, addresses: 10.2.0.30 }] }
  far: { host: gamma, ports: [{ network: front, addresses: 10.1.0.40 }] }
policies:
  db: { ingress: [{ allow: tcp/5432 }, { reject: any }] }
";

/// The trace at alpha of a file whose first two lines are in order.
pub(super) fn at_alpha(rest: &str, text: &str) -> Trace {
    let file = format!("version: 1\nname: shop\n{rest}");
    let topology = compile_drafts([draft("shop.yaml", &file)])
        .unwrap_or_else(|problems| panic!("{file}\n{}", listing(&problems)));
    let situation = Situation {
        host: Some("alpha".to_owned()),
        uplink: Some(Uplink {
            interface: "lan0".to_owned(),
            ifindex: IfIndex(2),
            mtu: 1500,
            driver: None,
            mac: maps_schema::Mac::ZERO,
            addresses: Vec::new(),
            local_ports: (32768, 60999),
        }),
        ..Situation::default()
    };
    let plan = Plan::new(&topology, &instance(), &situation);
    let tables = planned_tables(&plan);
    trace(&topology, &instance(), &plan, tables, &query(text)).unwrap()
}

fn check_at_alpha(text: &str, arrives: bool, expected: &str) {
    check_site(SITE, text, arrives, expected);
}

fn check_site(rest: &str, text: &str, arrives: bool, expected: &str) {
    let trace = at_alpha(rest, text);
    assert_eq!(trace.to_string(), expected);
    assert_eq!(trace.arrives, arrives);
}

#[test]
fn to_a_neighbor() {
    check_at_alpha(
        "web db tcp 5432",
        true,
        "\
workload
   1. db/eth0 has 10.1.0.20 on network front                                    shop.yaml:9:29
   2. sends from 10.1.0.10 at web/eth0: 10.1.0.20 is in its subnet 10.1.0.0/24  shop.yaml:7:31
   3. mtu: its packets have 1450 bytes at most                                  shop.yaml:7:31
question
   4. asks all stations: who has 10.1.0.20? (ARP)
   5. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front         shop.yaml:7:31
   6. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb           shop.yaml:7:31
   7. 10.1.0.20 belongs to peer beta, 02:62:2b:e8:84:25                         shop.yaml:3:29
   8. answered at once: 10.1.0.20 is at 02:62:2b:e8:84:25
frame
   9. sends a TCP SYN to port 5432 in a frame to 02:62:2b:e8:84:25
  10. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front         shop.yaml:7:31
  11. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb           shop.yaml:7:31
  12. 02:62:2b:e8:84:25 is at peer beta                                         shop.yaml:3:29
  13. peer beta is reached through vxlan with vni 100: from 192.0.2.11 to 192.0.2.12 by lan0, 104 bytes in all  shop.yaml:3:29
frame at beta
  14. comes to beta, taken to be as the file says                               shop.yaml:3:29
  15. comes from 192.0.2.11, which is peer alpha                                shop.yaml:3:10
  16. peer alpha may send for vni 100, network front
  17. 02:62:c7:84:ae:fb is at peer alpha                                        shop.yaml:3:10
  18. anti-spoofing: 10.1.0.10 belongs to peer alpha, 02:62:c7:84:ae:fb         shop.yaml:3:10
  19. 02:62:2b:e8:84:25 is at db/eth0                                           shop.yaml:9:29
  20. db/eth0 is behind bl-2be88425                                             shop.yaml:9:29
  21. allowed by rule 1 of policy db for ingress                                shop.yaml:13:19
verdict: sent to peer beta, to db/eth0
at beta: delivered to db/eth0                                                   shop.yaml:9:29
",
    );
}

#[test]
fn through_a_router() {
    check_at_alpha(
        "web log icmp",
        true,
        "\
workload
   1. log/eth0 has 10.2.0.30 on network back                                      shop.yaml:10:30
   2. sends from 10.1.0.10 at web/eth0: its route to 0.0.0.0/0 goes via 10.1.0.1  shop.yaml:7:31
   3. mtu: its packets have 1450 bytes at most                                    shop.yaml:7:31
question
   4. asks all stations: who has 10.1.0.1? (ARP)
   5. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:7:31
   6. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:7:31
   7. 10.1.0.1 is an address of router core, at core/front, 02:72:62:69:b4:77     shop.yaml:5:29
   8. answered at once: 10.1.0.1 is at 02:72:62:69:b4:77
frame
   9. sends an echo request in a frame to 02:72:62:69:b4:77
  10. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front           shop.yaml:7:31
  11. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb             shop.yaml:7:31
  12. 02:72:62:69:b4:77 is router core, at core/front                             shop.yaml:5:29
router core
  13. enters at core/front from network front                                     shop.yaml:5:29
  14. route: 10.2.0.0/24 at core/back                                             shop.yaml:5:52
  15. next hop: 10.2.0.30 is peer beta, 02:62:01:93:8e:bb                         shop.yaml:3:29
  16. leaves by core/back with TTL 63                                             shop.yaml:5:46
  17. peer beta is reached through vxlan with vni 200: from 192.0.2.11 to 192.0.2.12 by lan0, 92 bytes in all  shop.yaml:3:29
frame at beta
  18. comes to beta, taken to be as the file says                                 shop.yaml:3:29
  19. comes from 192.0.2.11, which is peer alpha                                  shop.yaml:3:10
  20. peer alpha may send for vni 200, network back
  21. 02:72:19:ac:e6:a0 is router core, at core/back                              shop.yaml:5:46
  22. anti-spoofing: nobody on network back is known to have 10.1.0.10
  23. 02:62:01:93:8e:bb is at log/eth0                                            shop.yaml:10:30
  24. log/eth0 is behind bl-01938ebb                                              shop.yaml:10:30
verdict: sent to peer beta, to log/eth0
at beta: delivered to log/eth0, with TTL 63                                       shop.yaml:10:30
",
    );
}

#[test]
fn the_other_host_refuses_it() {
    check_at_alpha(
        "web db tcp 80",
        false,
        "\
workload
   1. db/eth0 has 10.1.0.20 on network front                                    shop.yaml:9:29
   2. sends from 10.1.0.10 at web/eth0: 10.1.0.20 is in its subnet 10.1.0.0/24  shop.yaml:7:31
   3. mtu: its packets have 1450 bytes at most                                  shop.yaml:7:31
question
   4. asks all stations: who has 10.1.0.20? (ARP)
   5. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front         shop.yaml:7:31
   6. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb           shop.yaml:7:31
   7. 10.1.0.20 belongs to peer beta, 02:62:2b:e8:84:25                         shop.yaml:3:29
   8. answered at once: 10.1.0.20 is at 02:62:2b:e8:84:25
frame
   9. sends a TCP SYN to port 80 in a frame to 02:62:2b:e8:84:25
  10. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front         shop.yaml:7:31
  11. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb           shop.yaml:7:31
  12. 02:62:2b:e8:84:25 is at peer beta                                         shop.yaml:3:29
  13. peer beta is reached through vxlan with vni 100: from 192.0.2.11 to 192.0.2.12 by lan0, 104 bytes in all  shop.yaml:3:29
frame at beta
  14. comes to beta, taken to be as the file says                               shop.yaml:3:29
  15. comes from 192.0.2.11, which is peer alpha                                shop.yaml:3:10
  16. peer alpha may send for vni 100, network front
  17. 02:62:c7:84:ae:fb is at peer alpha                                        shop.yaml:3:10
  18. anti-spoofing: 10.1.0.10 belongs to peer alpha, 02:62:c7:84:ae:fb         shop.yaml:3:10
  19. 02:62:2b:e8:84:25 is at db/eth0                                           shop.yaml:9:29
  20. db/eth0 is behind bl-2be88425                                             shop.yaml:9:29
  21. rejected by rule 2 of policy db for ingress                               shop.yaml:13:40
verdict: sent to peer beta, to db/eth0
at beta: dropped: policy_ingress
      A policy for what the destination may be sent does not allow the packet.
",
    );
}

#[test]
fn to_many() {
    check_at_alpha(
        "web 10.1.0.255 udp 5432",
        true,
        "\
workload
   1. sends from 10.1.0.10 at web/eth0: 10.1.0.255 is for many stations  shop.yaml:7:31
   2. mtu: its packets have 1450 bytes at most                           shop.yaml:7:31
frame
   3. sends a UDP datagram to port 5432 in a frame to ff:ff:ff:ff:ff:ff
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front  shop.yaml:7:31
   5. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb    shop.yaml:7:31
   6. ff:ff:ff:ff:ff:ff is for many: network front has 4 ports here      shop.yaml:4:13
frame at beta
   7. comes to beta, taken to be as the file says                        shop.yaml:3:29
   8. comes from 192.0.2.11, which is peer alpha                         shop.yaml:3:10
   9. peer alpha may send for vni 100, network front
  10. 02:62:c7:84:ae:fb is at peer alpha                                 shop.yaml:3:10
  11. anti-spoofing: 10.1.0.10 belongs to peer alpha, 02:62:c7:84:ae:fb  shop.yaml:3:10
  12. ff:ff:ff:ff:ff:ff is for many: network front has 3 ports here      shop.yaml:4:13
  13. rejected by rule 2 of policy db for ingress                        shop.yaml:13:40
frame at gamma
  14. comes to gamma, taken to be as the file says                       shop.yaml:3:47
  15. comes from 192.0.2.11, which is peer alpha                         shop.yaml:3:10
  16. peer alpha may send for vni 100, network front
  17. 02:62:c7:84:ae:fb is at peer alpha                                 shop.yaml:3:10
  18. anti-spoofing: 10.1.0.10 belongs to peer alpha, 02:62:c7:84:ae:fb  shop.yaml:3:10
  19. ff:ff:ff:ff:ff:ff is for many: network front has 3 ports here      shop.yaml:4:13
verdict: flooded to near/eth0, peer beta, peer gamma
at beta: dropped: policy_ingress
      A policy for what the destination may be sent does not allow the packet.
at gamma: flooded to far/eth0
",
    );
}

#[test]
fn a_question_to_many() {
    check_at_alpha(
        "web 10.1.0.77",
        false,
        "\
workload
   1. sends from 10.1.0.10 at web/eth0: 10.1.0.77 is in its subnet 10.1.0.0/24  shop.yaml:7:31
   2. mtu: its packets have 1450 bytes at most                                  shop.yaml:7:31
question
   3. asks all stations: who has 10.1.0.77? (ARP)
   4. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front         shop.yaml:7:31
   5. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb           shop.yaml:7:31
   6. nobody on network front is known to have 10.1.0.77
   7. ff:ff:ff:ff:ff:ff is for many: network front has 4 ports here             shop.yaml:4:13
   8. flooded to near/eth0, peer beta, peer gamma
question at beta
   9. comes to beta, taken to be as the file says                               shop.yaml:3:29
  10. comes from 192.0.2.11, which is peer alpha                                shop.yaml:3:10
  11. peer alpha may send for vni 100, network front
  12. 02:62:c7:84:ae:fb is at peer alpha                                        shop.yaml:3:10
  13. anti-spoofing: 10.1.0.10 belongs to peer alpha, 02:62:c7:84:ae:fb         shop.yaml:3:10
  14. ff:ff:ff:ff:ff:ff is for many: network front has 3 ports here             shop.yaml:4:13
  15. flooded to db/eth0
question at gamma
  16. comes to gamma, taken to be as the file says                              shop.yaml:3:47
  17. comes from 192.0.2.11, which is peer alpha                                shop.yaml:3:10
  18. peer alpha may send for vni 100, network front
  19. 02:62:c7:84:ae:fb is at peer alpha                                        shop.yaml:3:10
  20. anti-spoofing: 10.1.0.10 belongs to peer alpha, 02:62:c7:84:ae:fb         shop.yaml:3:10
  21. ff:ff:ff:ff:ff:ff is for many: network front has 3 ports here             shop.yaml:4:13
  22. flooded to far/eth0
verdict: not sent: unanswered
      No port of network front was given 10.1.0.77, so nobody answers.
      hint: give 10.1.0.77 to a workload that has a port on network front
",
    );
}

#[test]
fn without_a_tunnel() {
    check_site(
        &format!("defaults: {{ tunnel: none }}\n{SITE}"),
        "web db tcp 5432",
        true,
        "\
workload
   1. db/eth0 has 10.1.0.20 on network front                                                  shop.yaml:10:29
   2. sends from 10.1.0.10 at web/eth0: 10.1.0.20 is in its subnet 10.1.0.0/24                shop.yaml:8:31
   3. mtu: its packets have 1500 bytes at most                                                shop.yaml:8:31
question
   4. asks all stations: who has 10.1.0.20? (ARP)
   5. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front                       shop.yaml:8:31
   6. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb                         shop.yaml:8:31
   7. 10.1.0.20 belongs to peer beta, 02:62:2b:e8:84:25                                       shop.yaml:4:29
   8. answered at once: 10.1.0.20 is at 02:62:2b:e8:84:25
frame
   9. sends a TCP SYN to port 5432 in a frame to 02:62:2b:e8:84:25
  10. comes in at web/eth0, which is 02:62:c7:84:ae:fb on network front                       shop.yaml:8:31
  11. anti-spoofing: 10.1.0.10 belongs to web/eth0, 02:62:c7:84:ae:fb                         shop.yaml:8:31
  12. 02:62:2b:e8:84:25 is at peer beta                                                       shop.yaml:4:29
  13. peer beta is reached without a tunnel: by next hop 192.0.2.12 at lan0, 54 bytes in all  shop.yaml:4:29
frame at beta
  14. comes to beta, taken to be as the file says                                             shop.yaml:4:29
  15. 10.1.0.20 is 02:62:2b:e8:84:25 at db/eth0                                               shop.yaml:10:29
  16. 10.1.0.10 is 02:62:c7:84:ae:fb at peer alpha                                            shop.yaml:4:10
  17. db/eth0 is behind bl-2be88425                                                           shop.yaml:10:29
  18. 02:62:c7:84:ae:fb is at peer alpha                                                      shop.yaml:4:10
  19. anti-spoofing: 10.1.0.10 belongs to peer alpha, 02:62:c7:84:ae:fb                       shop.yaml:4:10
  20. 02:62:2b:e8:84:25 is at db/eth0                                                         shop.yaml:10:29
  21. allowed by rule 1 of policy db for ingress                                              shop.yaml:14:19
verdict: sent to peer beta, to db/eth0
at beta: delivered to db/eth0                                                                 shop.yaml:10:29
",
    );
}

#[test]
fn the_other_hosts_as_json() {
    let trace = serde_json::to_value(at_alpha(SITE, "web 10.1.0.255 udp 5432")).unwrap();
    assert_eq!(trace["steps"][0]["host"], "alpha");
    assert_eq!(trace["verdict"]["result"], "flooded");
    assert_eq!(trace["arrives"], true);
    let refused = serde_json::json!({
        "host": "beta",
        "verdict": {
            "result": "dropped",
            "reason": "policy_ingress",
            "meaning": "A policy for what the destination may be sent does not allow the packet.",
            "hint": null,
        },
    });
    let flooded = serde_json::json!({
        "host": "gamma",
        "verdict": { "result": "flooded", "ports": ["far/eth0"] },
    });
    assert_eq!(trace["elsewhere"], serde_json::json!([refused, flooded]));
    let hosts = trace["steps"].as_array().unwrap().iter();
    let hosts: std::collections::BTreeSet<&str> =
        hosts.map(|step| step["host"].as_str().unwrap()).collect();
    assert_eq!(Vec::from_iter(hosts), ["alpha", "beta", "gamma"]);
}

#[test]
fn an_ordinary_vtep_is_not_known_further() {
    let site = format!(
        "{SITE}vteps: {{ rack: {{ address: 192.0.2.99, networks: {{ front: {{ learn: true }} }} }} }}\n"
    );
    let trace = at_alpha(&site, "web 10.1.0.255 udp 5432");
    let verdict = trace.verdict.to_string();
    assert_eq!(
        verdict,
        "flooded to near/eth0, peer beta, peer gamma, peer rack"
    );
    let elsewhere: Vec<&str> = trace.elsewhere.iter().map(|it| it.host.as_str()).collect();
    assert_eq!(elsewhere, ["beta", "gamma"]);
}

#[test]
fn whom_the_bridge_speaks_for_tells_the_sender() {
    let near = SITE.replace("db: { host: beta", "db: { host: alpha");
    let trace = at_alpha(&near, "web db tcp 80");
    assert!(!trace.arrives);
    let text = trace.to_string();
    assert!(
        text.contains("verdict: dropped: policy_ingress")
            && text
                .ends_with("the sender is told: connection refused (TCP reset), from 10.1.0.20\n"),
        "{text}"
    );
}
