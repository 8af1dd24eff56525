//! Groups, chains and policies in good and in bad form.

use super::check_below_head;
use crate::document::{Document, Member, Party, PolicyDefault, Rule, Verb, parse};
use crate::problem::listing::listing;
use crate::topology::{Action, Services};

fn read(rest: &str) -> Document {
    let text = format!("version: 1\nname: test\n{rest}");
    parse("test.yaml", &text).unwrap_or_else(|problems| panic!("{}", listing(&problems)))
}

/// A rule in one line.
fn told(rule: &Rule) -> String {
    let party = |party: &Party| match party {
        Party::Any => "any".to_owned(),
        Party::Of(members) => {
            let members = members.iter().map(|member| match &member.value {
                Member::Group(name) => name.clone(),
                Member::Address(address) => match address.prefix_len {
                    Some(len) => format!("{}/{len}", address.ip),
                    None => address.ip.to_string(),
                },
            });
            members.collect::<Vec<_>>().join(",")
        }
    };
    let services = match &rule.services {
        Services::Any => "any".to_owned(),
        Services::Of(services) => {
            let services = services.iter().map(ToString::to_string);
            services.collect::<Vec<_>>().join(",")
        }
    };
    let verb = match &rule.verb {
        Verb::Decide(action) => action.to_string(),
        Verb::Jump(chain) => format!("jump {}", chain.value),
        Verb::Return => "return".to_owned(),
    };
    let (from, to) = (party(&rule.from), party(&rule.to));
    format!("{from} -> {to}: {services}: {verb}")
}

#[test]
fn every_key_of_a_policy_is_read() {
    let document = read(
        "\
groups:
  web: {}
  db:
  office: [192.0.2.0/24, '2001:db8::1']
  one: 192.0.2.7
  long: { addresses: 192.0.2.8 }
chains:
  common:
    - { allow: [icmp, icmpv6/echo-request] }
    - { from: [office, 10.1.0.7], to: '2001:db8::/32', deny: tcp/22 }
    - { jump: more, services: [udp/53, 47] }
    - { from: any, return: any }
    - return
  empty:
policies:
  db:
    ingress: [{ from: [any], reject: [any] }]
    egress: []
    default: allow
  quiet: { ingress:, default: { ingress: reject, forward: deny } }
networks: { front: { subnets: 10.1.0.0/24, policy: quiet } }
routers: { core: { ports: { front: 10.1.0.1 }, policy: db } }
workloads:
  w: { ports: [{ network: front, groups: [web, db] }, { network: front, groups: web }] }
",
    );
    let addresses = |name: &str| document.groups[name].addresses.len();
    let counts = ["web", "db", "office", "one", "long"].map(addresses);
    assert_eq!(counts, [0, 0, 2, 1, 1]);
    assert_eq!(
        document.groups["office"].origin.to_string(),
        "test.yaml:6:3"
    );
    let common: Vec<String> = document.chains["common"].iter().map(told).collect();
    assert_eq!(
        common,
        [
            "any -> any: icmp,icmpv6/128: allow",
            "office,10.1.0.7 -> 2001:db8::/32: tcp/22: deny",
            "any -> any: udp/53,gre: jump more",
            "any -> any: any: return",
            "any -> any: any: return",
        ]
    );
    assert!(document.chains["empty"].is_empty());
    let db = &document.policies["db"];
    let ingress = db.ingress.as_ref().unwrap();
    assert_eq!(told(&ingress[0]), "any -> any: any: reject");
    assert!(db.egress.as_ref().unwrap().is_empty());
    assert!(db.forward.is_none());
    let Some(PolicyDefault::All(action)) = &db.default else {
        panic!("one word was expected");
    };
    assert_eq!(action.value, Action::Allow);
    let quiet = &document.policies["quiet"];
    assert!(quiet.ingress.as_ref().unwrap().is_empty());
    let Some(PolicyDefault::Each(actions)) = &quiet.default else {
        panic!("a word for each direction was expected");
    };
    assert_eq!(actions.ingress.as_ref().unwrap().value, Action::Reject);
    assert!(actions.egress.is_none());
    assert_eq!(actions.forward.as_ref().unwrap().value, Action::Deny);
    let policy = document.networks["front"].policy.as_ref().unwrap();
    assert_eq!(policy.value, "quiet");
    let policy = document.routers["core"].policy.as_ref().unwrap();
    assert_eq!(policy.value, "db");
    let [first, second] = document.workloads["w"].ports.as_slice() else {
        panic!("two ports were expected");
    };
    assert_eq!(first.groups[1].value, "db");
    assert_eq!(second.groups[0].value, "web");
}

#[test]
fn services_are_read() {
    let services = [
        ("tcp", "tcp"),
        ("6/80", "tcp/80"),
        ("tcp/1-65535", "tcp/1-65535"),
        ("udp/53-53", "udp/53"),
        ("sctp/9", "sctp/9"),
        ("icmp/echo-request", "icmp/8"),
        ("icmp/3/4", "icmp/3/4"),
        ("icmp/fragmentation-needed", "icmp/3/4"),
        ("icmp/destination-unreachable/4", "icmp/3/4"),
        ("ipv6-icmp/2", "icmpv6/2"),
        ("58/128", "icmpv6/128"),
        ("47", "gre"),
        ("200", "200"),
        ("[tcp/80, tcp/80, udp/1]", "tcp/80,udp/1"),
        ("[any]", "any"),
    ];
    for (given, expected) in services {
        let document = read(&format!("chains: {{ c: [{{ allow: {given} }}] }}"));
        let expected = format!("any -> any: {expected}: allow");
        assert_eq!(told(&document.chains["c"][0]), expected, "{given}");
    }
}

#[test]
fn services_in_bad_form() {
    let expected = "a service such as tcp/80, udp/53-60, icmp/echo-request or gre, or `any`";
    let cases = [
        ("tpc/80", Some("did you mean `tcp/80`?")),
        ("TCP/80", Some("did you mean `tcp/80`?")),
        ("80/tcp", Some("the protocol comes first: `tcp/80`")),
        ("tcp/http", Some("ports are numbers from 1 to 65535")),
        ("tcp/0", Some("ports are numbers from 1 to 65535")),
        ("tcp/+1", Some("ports are numbers from 1 to 65535")),
        ("tcp/1-65536", Some("ports are numbers from 1 to 65535")),
        ("tcp/60-53", Some("the lower port comes first: `53-60`")),
        ("tcp/80/81", None),
        ("http", None),
        ("256", None),
        (
            "gre/5",
            Some("write `gre`: only tcp, udp and sctp have ports, and icmp and icmpv6 types"),
        ),
        (
            "icmp/echo-requst",
            Some("did you mean `icmp/echo-request`?"),
        ),
        (
            "icmp/300",
            Some(
                "behind `icmp/` stands a type from 0 to 255, or a name such as `echo-reply`; behind \
                 it may stand a code: `icmp/3/1`",
            ),
        ),
        (
            "icmpv6/1/x",
            Some(
                "behind `icmpv6/` stands a type from 0 to 255, or a name such as \
                 `destination-unreachable`; behind it may stand a code: `icmpv6/3/1`",
            ),
        ),
    ];
    for (given, help) in cases {
        let is = match given.parse::<u32>() {
            Ok(number) => format!("the number {number}"),
            Err(_) => format!("the text {given:?}"),
        };
        let help = help.map_or_else(String::new, |help| format!("  help: {help}\n"));
        check_below_head(
            &format!("chains: {{ c: [{{ allow: {given} }}] }}"),
            &format!("chains.c[0].allow must be {expected}\n  3:24 this is {is}\n{help}"),
        );
    }
}

#[test]
fn rules_in_bad_form() {
    check_below_head(
        "\
chains:
  c:
    - allow
    - {}
    - { from: web }
    - { from: web, alow: tcp }
    - { allow: tcp, deny: udp }
    - { allow: any, services: tcp }
    - { jump: [a, b] }
    - { allow: [] }
    - { allow: [any, tcp] }
    - { from: [], allow: any }
    - { from: [web, any], allow: any }
    - { to: a/b, allow: any }
    - { to: { a: b }, allow: any }
    - { jump: d, services: tpc }
",
        "\
chains.c[0] must be a rule such as `{ from: web, allow: tcp/80 }`, or the word `return`
  5:7 this is the text \"allow\"
chains.c[1] does not say what to do
  6:7 this rule has no verb
  help: add one of `allow`, `deny`, `reject`, `return` and `jump`, such as `allow: tcp/80`
chains.c[2] does not say what to do
  7:7 this rule has no verb
  help: add one of `allow`, `deny`, `reject`, `return` and `jump`, such as `allow: tcp/80`
unknown key `alow` in chains.c[3]
  8:20 this key is not known
  help: did you mean `allow`?
chains.c[4] says two things to do
  9:27 `deny` here
  9:16 `allow` here
  help: write a rule for each
chains.c[5] has `services`, which go with `jump`
  10:31 not here
  help: write them behind the verb: `allow: tcp/80`
chains.c[6].jump must be a text
  11:15 this is a list
chains.c[7].allow must be one service at least
  12:16 this is a list
  help: write `any` for everything
chains.c[8].allow has `any` beside others
  13:17 this contains them all
  help: write `any` alone, or leave it out
chains.c[9].from must be one at least
  14:15 this is a list
  help: write `any` for everybody
chains.c[10].from has `any` beside others
  15:21 this contains them all
  help: write `any` alone, or leave it out
chains.c[11].to must be the name of a group, an address or a prefix, or `any`
  16:13 this is the text \"a/b\"
chains.c[12].to must be the name of a group, an address or a prefix, or `any`
  17:13 this is a map
chains.c[13].services must be a service such as tcp/80, udp/53-60, icmp/echo-request or gre, or `any`
  18:28 this is the text \"tpc\"
  help: did you mean `tcp`?
",
    );
}

#[test]
fn policies_in_bad_form() {
    check_below_head(
        "\
groups: { any: {}, 10.1.0.1: {}, 'a b': {}, g: [x, 10.1.0.0/33], h: { members: 10.1.0.1 } }
chains: { c: { allow: tcp } }
policies:
  a: { ingres: [] }
  b: { ingress: { allow: tcp } }
  c: { ingress: [], default: drop }
  d: { default: { ingress: denied, outgress: allow } }
  e: [{ allow: tcp }]
networks: { n: { subnets: [], policy: [] } }
workloads: { w: { ports: [{ network: n, groups: [any, 'x y', {}] }] } }
",
        "\
\"any\" cannot be the name of a group
  3:11 in a rule it means everybody
  help: choose another name
\"10.1.0.1\" cannot be the name of a group
  3:20 in a rule it means an address
  help: choose another name
\"a b\" cannot be the name of a group
  3:34 this name
  help: use letters, digits, `_`, `.` and `-`, 63 at most, beginning with a letter or digit
groups.g[0] must be an address such as 10.1.0.10 or fd00:1::10
  3:49 this is the text \"x\"
groups.g[1] must be an address such as 10.1.0.10 or fd00:1::10
  3:52 this is the text \"10.1.0.0/33\"
unknown key `members` in groups.h
  3:71 this key is not known
  help: known keys here: addresses
chains.c must be a list of rules
  4:14 this is a map
unknown key `ingres` in policies.a
  6:8 this key is not known
  help: did you mean `ingress`?
policies.b.ingress must be a list of rules
  7:17 this is a map
policies.c.default must be `allow`, `deny` or `reject`
  8:30 this is the text \"drop\"
policies.d.default.ingress must be `allow`, `deny` or `reject`
  9:28 this is the text \"denied\"
unknown key `outgress` in policies.d.default
  9:36 this key is not known
  help: known keys here: ingress, egress, forward
policies.e must be a map with the keys ingress, egress, forward, default
  10:6 this is a list
networks.n.policy must be a text
  11:39 this is a list
\"any\" cannot be the name of a group
  12:50 in a rule it means everybody
  help: choose another name
workloads.w.ports[0].groups[1] must be the name of a group
  12:55 this is the text \"x y\"
workloads.w.ports[0].groups[2] must be a text
  12:62 this is a map
",
    );
}
