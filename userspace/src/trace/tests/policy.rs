//! Which rule decides about a packet, with its place in the file.

use super::*;

/// Web and db on one network, log behind a router; db and log are in the same group.
const GUARDED: &str = "\
networks: { front: 10.1.0.0/24, back: 10.2.0.0/24 }
routers: { core: { ports: { front: 10.1.0.1, back: 10.2.0.1 } } }
workloads:
  web: { ports: [{ network: front, addresses: 10.1.0.10, groups: [web] }] }
  db: { ports: [{ network: front, addresses: 10.1.0.20, groups: [db] }] }
  log: { ports: [{ network: back, addresses: 10.2.0.30, groups: [db] }] }
policies:
  web:
    egress:
      - { to: db, deny: tcp/25 }
      - { allow: any }
  db:
    ingress:
      - { from: web, allow: [tcp/5432, tcp/25] }
";

/// What is said about rules, with the line of each, and whether the packet arrives.
fn ruled(text: &str) -> (Vec<String>, bool) {
    let trace = traced(GUARDED, &[], text).unwrap();
    let steps = trace.steps.iter();
    let ruled = steps.filter(|step| step.text.contains("ed by "));
    let told = ruled.map(|step| {
        let verb = step.text.split(' ').next().unwrap_or_default();
        format!("{verb} {}", step.origin.as_deref().unwrap_or("nowhere"))
    });
    (told.collect(), trace.arrives)
}

#[test]
fn the_rule_is_told_with_its_line() {
    for to in ["db", "log"] {
        // The sender's rules are asked first, and then the receiver's.
        let (told, arrives) = ruled(&format!("web {to} tcp 5432"));
        assert_eq!(told, ["allowed shop.yaml:13:9", "allowed shop.yaml:16:9"]);
        assert!(arrives);
        let (told, arrives) = ruled(&format!("web {to} tcp 25"));
        assert_eq!(told, ["denied shop.yaml:12:9"]);
        assert!(!arrives);
        // What no rule decides about, the default does.
        let (told, arrives) = ruled(&format!("web {to} tcp 80"));
        assert_eq!(told, ["allowed shop.yaml:13:9", "denied shop.yaml:14:3"]);
        assert!(!arrives);
    }
    let (told, arrives) = ruled("db web tcp 80");
    assert!(told.is_empty() && arrives, "{told:?}");
}
