//! Groups, chains and policies, and those who refer to them.

use std::fmt::Write as _;

use super::{below_head, check, check_all, compiled, document, port};
use crate::problem::listing::listing;
use crate::topology::{Action, Direction, Party, Policy, Services, Verb, compile};

/// The start of a file with a network, a router and two workloads, the first of which is in a group.
const SHOP: &str = "\
networks: { front: 10.1.0.0/24 }
routers: { core: { ports: { front: 10.1.0.1 } } }
workloads:
  web: { ports: [{ network: front, addresses: 10.1.0.10, groups: [web] }] }
  db: { ports: [{ network: front, addresses: 10.1.0.20 }] }
";

fn shop(rest: &str) -> String {
    format!("{SHOP}{rest}")
}

/// A file is in order, and is warned of in exactly this way.
fn check_warnings(rest: &str, expected: &str) {
    let topology = compiled(rest);
    assert_eq!(listing(&topology.warnings), expected);
}

fn prefixes(party: &Party) -> Vec<String> {
    match party {
        Party::Any => vec!["any".to_owned()],
        Party::Of { groups, prefixes } => {
            let prefixes = prefixes.iter().map(ToString::to_string);
            groups.iter().cloned().chain(prefixes).collect()
        }
    }
}

#[test]
fn a_policy_is_what_the_file_says() {
    let topology = compiled(&shop(
        "\
groups: { office: ['2001:db8::/32', 192.0.2.7], web: {} }
chains: { common: [{ allow: icmp }, return] }
policies:
  web:
    ingress:
      - { jump: common }
      - { from: [office, 10.1.0.20], allow: [tcp/80, udp/53-60] }
    egress: [{ to: 10.1.0.0/24, reject: any }]
    default: { ingress: reject, forward: allow }
",
    ));
    let office = &topology.groups["office"];
    let addresses: Vec<String> = office.prefixes.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.0.2.7/32", "2001:db8::/32"]);
    assert!(topology.groups["web"].prefixes.is_empty());
    let common = &topology.chains["common"].rules;
    assert_eq!(common[0].verb, Verb::Decide(Action::Allow));
    assert_eq!(common[1].verb, Verb::Return);

    let web = &topology.policies["web"];
    let ingress = web.ingress.as_ref().unwrap();
    assert_eq!(ingress.rules[0].verb, Verb::Jump("common".to_owned()));
    assert_eq!(ingress.rules[0].source, Party::Any);
    let second = &ingress.rules[1];
    assert_eq!(prefixes(&second.source), ["office", "10.1.0.20/32"]);
    assert_eq!(second.origin.to_string(), "test.yaml:14:9");
    let Services::Of(services) = &second.services else {
        panic!("services were expected");
    };
    let ranges: Vec<_> = services
        .iter()
        .map(|it| (it.protocol, it.ports.range()))
        .collect();
    assert_eq!(ranges, [(6, 80..=80), (17, 53..=60)]);
    assert_eq!(ingress.default, Action::Reject);
    assert_eq!(ingress.default_origin.to_string(), "test.yaml:16:25");
    // The default is a word for those directions that it names; the others are denied.
    let egress = web.list(Direction::Egress).unwrap();
    assert_eq!(egress.default, Action::Deny);
    assert_eq!(egress.default_origin.to_string(), "test.yaml:11:3");
    assert_eq!(prefixes(&egress.rules[0].destination), ["10.1.0.0/24"]);
    // A direction that has a default needs no rules.
    let forward = web.forward.as_ref().unwrap();
    assert_eq!((forward.rules.len(), forward.default), (0, Action::Allow));
}

#[test]
fn a_port_has_the_policies_of_its_groups_and_then_of_its_network() {
    let topology = compiled(
        "\
networks: { front: { subnets: [], policy: quiet }, back: [] }
workloads:
  a: { ports: [{ network: front, groups: [two, none, one] }, { network: back, groups: [one] }] }
  b: { ports: [{ network: front, groups: [quiet, one] }, back] }
policies:
  one: { ingress: [] }
  two: { egress: [] }
  quiet: { ingress: [] }
",
    );
    let names = |workload: &str, interface: &str| {
        let port = port(&topology, workload, interface);
        let names = topology.policies_of(&port).map(|(name, _)| name.to_owned());
        names.collect::<Vec<String>>()
    };
    assert_eq!(names("a", "eth0"), ["two", "one", "quiet"]);
    assert_eq!(names("a", "eth1"), ["one"]);
    assert_eq!(names("b", "eth0"), ["quiet", "one"]);
    assert!(names("b", "eth1").is_empty());
    // Allow is milder than reject, and reject milder than deny.
    let strictest = |policies: &[&Policy]| {
        let lists = policies.iter().filter_map(|it| it.ingress.as_ref());
        lists.map(|list| list.default).max()
    };
    assert_eq!(strictest(&[&topology.policies["one"]]), Some(Action::Deny));
    assert!(Action::Deny > Action::Reject && Action::Reject > Action::Allow);
}

#[test]
fn names_that_nobody_has() {
    check(
        &shop(
            "\
chains: { common: [{ allow: icmp }] }
groups: { office: 192.0.2.0/24 }
policies:
  web:
    ingress:
      - { from: ofice, allow: any }
      - { from: db, allow: any }
      - { from: front, allow: any }
      - { from: [office, nobody], jump: comon }
    egress: [{ jump: other }]
",
        ),
        "\
a rule of policy web names group ofice, which does not exist
  13:17 no port carries this group
  help: did you mean `office`?
a rule of policy web names group db, which does not exist
  14:17 no port carries this group
  help: for the ports of workload db, write `groups: [db]` there
a rule of policy web names group front, which does not exist
  15:17 no port carries this group
  help: for the addresses of network front, write 10.1.0.0/24
a rule of policy web names group nobody, which does not exist
  16:26 no port carries this group
  help: give it to a port, or declare it: `groups: { nobody: {} }`
a rule of policy web jumps to chain comon, which does not exist
  16:41 no chain has this name
  help: did you mean `common`?
a rule of policy web jumps to chain other, which does not exist
  17:22 no chain has this name
  help: declare it: `chains: { other: [ ... ] }`
",
    );
}

#[test]
fn references_to_policies() {
    check(
        "\
networks:
  a: { subnets: 10.1.0.0/24, policy: quite }
  b: { subnets: [], policy: edge }
  c: { subnets: [], policy: other-thing }
routers:
  r: { ports: { a: 10.1.0.1 }, policy: quiet }
  s: { ports: { a: 10.1.0.2 }, policy: missing }
policies:
  quiet: { ingress: [] }
  edge: { forward: [] }
",
        "\
network a refers to policy quite, which does not exist
  4:38 no policy has this name
  help: did you mean `quiet`?
network b refers to policy edge, which has no ingress or egress rules
  5:29 it would hold for nothing here
  12:3 this policy
  help: add ingress or egress rules to it, or refer to another one
network c refers to policy other-thing, which does not exist
  6:29 no policy has this name
  help: declare it: `policies: { other-thing: { ingress: [ ... ] } }`
router r refers to policy quiet, which has no forward rules
  8:40 it would hold for nothing here
  11:3 this policy
  help: add forward rules to it, or refer to another one
router s refers to policy missing, which does not exist
  9:40 no policy has this name
  help: declare it: `policies: { missing: { forward: [ ... ] } }`
",
    );
}

#[test]
fn addresses_that_are_none() {
    check(
        &shop(
            "\
groups: { office: [192.0.2.1/24, '::ffff:192.0.2.1'] }
policies: { web: { ingress: [{ from: 'fd00:1::1/64', allow: any }] } }
",
        ),
        "\
the prefix 192.0.2.1/24 of group office has host bits set
  8:20 neither an address nor a prefix
  help: write 192.0.2.0/24 for the prefix, or 192.0.2.1 for the address
group office has the IPv4-mapped address ::ffff:192.0.2.1
  8:34 no packet has it
  help: write 192.0.2.1
the prefix fd00:1::1/64 of a rule of policy web has host bits set
  9:38 neither an address nor a prefix
  help: write fd00:1::/64 for the prefix, or fd00:1::1 for the address
",
    );
}

#[test]
fn policies_that_say_nothing() {
    check(
        &shop("policies: { web: {}, quiet: { default: deny }, loud: { default: {} } }"),
        "\
policy web says nothing about any direction
  8:13 it holds for nothing
  help: add rules: `ingress: [ { from: web, allow: tcp/80 } ]`
policy quiet says nothing about any direction
  8:22 it has no rules to be the default of
  help: say for which directions: `default: { ingress: deny }`
policy loud says nothing about any direction
  8:48 it holds for nothing
  help: add rules: `ingress: [ { from: web, allow: tcp/80 } ]`
",
    );
}

#[test]
fn a_group_is_carried_once() {
    check(
        "networks: { n: [] }\nworkloads: { w: { ports: [{ network: n, groups: [a, b, a] }] } }",
        "\
port w/eth0 carries group a twice
  4:56 given again here
  4:50 first given here
  help: keep one of the two
",
    );
}

#[test]
fn circles_of_jumps() {
    check(
        "\
chains:
  a: [{ jump: b }, { jump: d }]
  b: [{ allow: tcp }, { jump: c }]
  c: [{ jump: d }, { jump: b }]
  d: []
  self: [{ jump: self }]
  x: [{ jump: a }]
",
        "\
chains jump in a circle: b -> c -> b
  5:31 chain b jumps to c
  6:28 chain c jumps to b
  help: leave out one of these jumps
chain self jumps to itself
  8:18 chain self jumps to self
  help: leave out one of these jumps
",
    );
}

#[test]
fn a_long_way_of_jumps_is_no_circle() {
    let mut chains = "chains:\n  c0: []\n".to_owned();
    for i in 1..5000 {
        writeln!(chains, "  c{i}: [{{ jump: c{} }}]", i - 1).unwrap();
    }
    compiled(&chains);
}

#[test]
fn more_rules_than_the_datapath_numbers() {
    // Each chain is more than twice the one before it.
    let mut text = shop(
        "policies:
  web: { ingress: [{ jump: c12 }, { allow: tcp }], egress: [{ jump: c11 }] }
chains:
  c0: [{ deny: tcp/1 }]
",
    );
    for i in 1..14 {
        let half = i - 1;
        writeln!(text, "  c{i}: [{{ jump: c{half} }}, {{ jump: c{half} }}]").unwrap();
    }
    check(
        &text,
        "\
port web/eth0 comes to 20480 ingress rules, and 16384 are the most
  6:18 too many rules
  9:19 20479 of policy web, with what it jumps to
  help: put addresses into groups, and services into lists: `allow: [tcp/80, tcp/443]`
",
    );
}

#[test]
fn more_groups_than_an_address_can_be_in() {
    let nested = (0..9).map(|i| format!("n{i}: 10.0.0.0/{}", 8 + i));
    let nested: Vec<String> = nested.collect();
    check(
        &format!(
            "\
groups: {{ {} }}
networks: {{ front: 10.0.0.0/24, back: 10.9.0.0/24 }}
workloads:
  one: {{ ports: [{{ network: front, addresses: 10.0.0.7 }}] }}
  two: {{ ports: [{{ network: back, groups: [a, b, c, d, e, f, g, h, i] }}] }}
  three: {{ ports: [{{ network: back, addresses: 10.9.0.7, groups: [a, b, c, d, n0] }}] }}
  four: {{ ports: [{{ network: back, addresses: 10.9.0.8, groups: [a] }}] }}
",
            nested.join(", ")
        ),
        "\
the prefix 10.0.0.0/16 is in 9 groups, and 8 are the most
  3:149 in n0, n1, n2, n3, n4, n5, n6, n7 and n8
  help: leave out one that another one contains, or name addresses in the rules
port two/eth0 is in 9 groups, and 8 are the most
  7:18 in a, b, c, d, e, f, g, h and i
  help: leave out one that another one contains, or name addresses in the rules
port three/eth0 is in 9 groups, and 8 are the most
  8:20 in a, b, c, d, n0, n1, n2, n3 and n4
  help: leave out one that another one contains, or name addresses in the rules
",
    );
}

#[test]
fn rules_that_cannot_be_meant() {
    check_warnings(
        &shop(
            "\
groups: { declared: {} }
policies:
  web:
    ingress:
      - { from: '2001:db8::/32', allow: icmp }
      - { from: 10.0.0.0/8, to: 'fd00::/8', allow: tcp }
      - { from: [10.0.0.0/8, web], to: 'fd00::/8', allow: [icmp, icmpv6] }
      - { deny: any }
      - { allow: tcp/80 }
    forward: [{ allow: any }]
  wbe: { ingress: [] }
  other: { ingress: [] }
  declared: { ingress: [] }
",
        ),
        "\
a rule of policy web matches nothing
  12:9 its parts are of different families
  help: `icmp` goes with IPv4 and `icmpv6` with IPv6; addresses of one family talk to their like
a rule of policy web matches nothing
  13:9 its parts are of different families
  help: `icmp` goes with IPv4 and `icmpv6` with IPv6; addresses of one family talk to their like
a rule of policy web is never reached
  16:9 nothing gets here
  15:9 nothing gets past this one
  help: write the particular before the general
the forward rules of policy web hold for nothing
  17:14 no router has this policy
  help: write `policy: web` at a router, or leave them out
policy wbe holds for nothing
  18:3 no port carries this group, and no network or router refers to it
  help: did you mean group `web`?
policy other holds for nothing
  19:3 no port carries this group, and no network or router refers to it
  help: give a port the group: `groups: [other]`
",
    );
}

#[test]
fn a_group_that_nothing_is_said_about() {
    check_warnings(
        "\
networks: { n: [] }
groups: { declared: {} }
workloads:
  w: { ports: [{ network: n, groups: [wbe, declared, named, frotn] }] }
  x: { ports: [{ network: n, groups: [web, front, lonely] }] }
policies:
  web: { ingress: [{ from: [named, front], allow: any }] }
",
        "\
nothing is said about group wbe
  6:39 no policy and no rule names it
  help: did you mean `web`?
nothing is said about group frotn
  6:61 no policy and no rule names it
  help: did you mean `front`?
nothing is said about group lonely
  7:51 no policy and no rule names it
  help: write a policy for it, or declare it: `groups: { lonely: {} }`
",
    );
}

#[test]
fn sources_share_groups_chains_and_policies() {
    let rules = below_head(
        "\
groups: { office: 192.0.2.0/24 }
chains: { common: [{ from: web, allow: icmp }] }
policies: { web: { ingress: [{ jump: common }] } }
",
    );
    let rules = rules.replace("name: test", "name: rules");
    let rules = document("rules.yaml", &rules);
    let shop = document("shop.yaml", &below_head(SHOP));
    let topology = compile(&[rules.clone(), shop]).unwrap();
    assert_eq!(listing(&topology.warnings), "");
    let web = port(&topology, "web", "eth0");
    let names = topology.policies_of(&web).map(|(name, _)| name);
    assert_eq!(names.collect::<Vec<_>>(), ["web"]);

    let again = below_head(
        "\
groups: { office: {}, web: {} }
chains: { common: [] }
policies: { web: { egress: [] } }
",
    );
    check_all(
        &[rules, document("again.yaml", &again)],
        "\
group office is declared by source rules and by source test
  3:11 declared again here
  3:11 first declared here
  help: the names of all loaded sources are in one namespace: rename one of the two
chain common is declared by source rules and by source test
  4:11 declared again here
  4:11 first declared here
  help: the names of all loaded sources are in one namespace: rename one of the two
policy web is declared by source rules and by source test
  5:13 declared again here
  5:13 first declared here
  help: the names of all loaded sources are in one namespace: rename one of the two
",
    );
}
