//! Packets to workloads on other hosts.

use super::onward::at_alpha;
use super::*;

/// Web on alpha, db on beta in the same network, and log on beta behind a router.
const SITE: &str = "\
hosts: { alpha: 192.0.2.11, beta: 192.0.2.12 }
networks: { front: { subnets: 10.1.0.0/24, vni: 100 }, back: { subnets: 10.2.0.0/24, vni: 200 } }
routers: { core: { ports: { front: 10.1.0.1, back: 10.2.0.1 } } }
workloads:
  web: { host: alpha, ports: [{ network: front, addresses: 10.1.0.10 }] }
  db: { host: beta, ports: [{ network: front, addresses: 10.1.0.20 }] }
  log: { host: beta, ports: [{ network: back, addresses: 10.2.0.30 }] }
";

fn has_step(trace: &Trace, expected: &str) {
    let said = trace.steps.iter().any(|step| step.text == expected);
    assert!(said, "{expected} is not in\n{trace}");
}

#[test]
fn to_a_workload_on_another_host() {
    let trace = at_alpha(SITE, "web db");
    assert!(trace.arrives);
    has_step(&trace, "mtu: its packets have 1450 bytes at most");
    has_step(
        &trace,
        "peer beta is reached through vxlan with vni 100: from 192.0.2.11 to 192.0.2.12 by lan0, \
         104 bytes in all",
    );
    assert_eq!(trace.verdict.to_string(), "sent to peer beta, to db/eth0");
}

#[test]
fn through_a_router_the_network_is_that_of_the_destination() {
    let trace = at_alpha(SITE, "web log icmp");
    assert!(trace.arrives);
    has_step(
        &trace,
        "peer beta is reached through vxlan with vni 200: from 192.0.2.11 to 192.0.2.12 by lan0, \
         92 bytes in all",
    );
    assert_eq!(trace.verdict.to_string(), "sent to peer beta, to log/eth0");
}

#[test]
fn without_a_tunnel() {
    let trace = at_alpha(
        &format!("defaults: {{ tunnel: none }}\n{SITE}"),
        "web db icmp",
    );
    assert!(trace.arrives);
    has_step(
        &trace,
        "peer beta is reached without a tunnel: by next hop 192.0.2.12 at lan0, 42 bytes in all",
    );
}

#[test]
fn flooded_frames_go_to_the_peer() {
    let trace = at_alpha(SITE, "web 10.1.0.255 udp 67");
    assert!(trace.arrives);
    assert_eq!(trace.verdict.to_string(), "flooded to peer beta");
}

#[test]
fn a_packet_starts_on_the_host_of_its_sender() {
    let trace = at_alpha(SITE, "db web");
    assert!(!trace.arrives);
    assert_eq!(trace.verdict.to_string(), "not sent: elsewhere");
    let text = trace.to_string();
    assert!(
        text.contains("trace it there, or with `--host beta`"),
        "{text}"
    );
}
