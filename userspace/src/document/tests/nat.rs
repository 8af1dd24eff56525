//! Uplinks, translations and published ports in good and in bad form.

use super::check_below_head;
use crate::document::{Document, Translation, parse};
use crate::problem::listing::listing;

fn read(rest: &str) -> Document {
    let text = format!("version: 1\nname: test\n{rest}");
    parse("test.yaml", &text).unwrap_or_else(|problems| panic!("{}", listing(&problems)))
}

#[test]
fn every_key_of_an_uplink_is_read() {
    let document = read(
        "\
routers:
  a: { ports: {}, uplink: true, nat: }
  b: { ports: {}, uplink: false }
  c: { ports: {}, uplink: { hosts: alpha } }
  d:
    ports: {}
    uplink: { hosts: [alpha, beta] }
    nat:
      - { masquerade: true }
      - masquerade: 10.1.0.0/24
      - { masquerade: [10.1.0.0/24, 'fd00:1::/64'] }
      - { snat: [10.2.0.0/24], to: 192.0.2.96/30 }
      - { snat: 10.3.0.0/24, to: 192.0.2.100-192.0.2.103 }
      - { floating: '2001:db8::50', to: 'fd00:1::10' }
",
    );
    let hosts = |name: &str| {
        let uplink = document.routers[name].uplink.as_ref();
        uplink.map(|uplink| uplink.hosts.as_ref().map_or(0, Vec::len))
    };
    assert_eq!(
        ["a", "b", "c", "d"].map(hosts),
        [Some(0), None, Some(1), Some(2)]
    );
    assert!(document.routers["a"].nat.is_empty());
    let told = document.routers["d"].nat.iter().map(|nat| {
        let place = nat.origin.line;
        let said = match &nat.translation {
            Translation::MasqueradeAll => "all".to_owned(),
            Translation::Masquerade(sources) => format!("{} sources", sources.len()),
            Translation::Source(sources, pool) => format!("{} to {}", sources[0].value, pool.value),
            Translation::Floating { outside, inside } => {
                format!("{} is {}", outside.value, inside.value)
            }
        };
        format!("{place}: {said}")
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "11: all",
            "12: 1 sources",
            "13: 2 sources",
            "14: 10.2.0.0/24 to 192.0.2.96-192.0.2.99",
            "15: 10.3.0.0/24 to 192.0.2.100-192.0.2.103",
            "16: 2001:db8::50 is fd00:1::10",
        ]
    );
}

#[test]
fn published_ports_are_read() {
    let cases = [
        ("8080:80", "8080:80/tcp"),
        ("80", "80:80/tcp"),
        ("'80/UDP'", "80:80/udp"),
        ("5300-5310:53-63/udp", "5300-5310:53-63/udp"),
        ("127.0.0.1:8080:80", "127.0.0.1:8080:80/tcp"),
        ("127.0.0.1::80", "127.0.0.1:80:80/tcp"),
        ("127.0.0.1:80", "127.0.0.1:80:80/tcp"),
        ("'[::]:443:443/udp'", "[::]:443:443/udp"),
        ("'[::1]:443'", "[::1]:443:443/tcp"),
    ];
    for (given, expected) in cases {
        let document = read(&format!(
            "workloads: {{ w: {{ ports: [{{ network: net, publish: [{given}] }}] }} }}"
        ));
        let publish = &document.workloads["w"].ports[0].publish[0];
        assert_eq!(publish.to_string(), expected, "{given}");
    }
}

#[test]
fn published_ports_in_bad_form() {
    let cases = [
        ("web:80", Some("ports are numbers from 1 to 65535")),
        ("0:80", Some("ports are numbers from 1 to 65535")),
        ("8080:80/icmp", Some("the protocol is tcp or udp")),
        ("8080:80/sctp", Some("the protocol is tcp or udp")),
        (
            "5300-5302:53",
            Some("3 ports cannot stand for one: write `5300-5302:53-55`"),
        ),
        ("80:80-81", Some("1 port cannot stand for 2 ports")),
        (
            "localhost:80:80",
            Some("before the host's ports stands an address of the host, not a name"),
        ),
        (
            "::1:80:80",
            Some("an IPv6 address is written in brackets: `[::1]:8080:80`"),
        ),
        ("[::1", None),
    ];
    let expected = "published ports such as 8080:80, 127.0.0.1:5300-5310:5300-5310/udp or \
                    [::]:443:443/tcp";
    for (given, help) in cases {
        let help = help.map_or_else(String::new, |help| format!("  help: {help}\n"));
        check_below_head(
            &format!("workloads: {{ w: {{ ports: [{{ network: net, publish: '{given}' }}] }} }}"),
            &format!(
                "workloads.w.ports[0].publish must be {expected}\n  3:52 this is the text {given:?}\n{help}"
            ),
        );
    }
}

#[test]
fn translations_in_bad_form() {
    check_below_head(
        "\
routers:
  a: { ports: {}, uplink: on }
  b: { ports: {}, uplink: { hosts: [] } }
  c: { ports: {}, uplink: { host: alpha } }
  d:
    ports: {}
    nat:
      - {}
      - { masquerade: true, to: 192.0.2.1 }
      - { masquerade: false }
      - { masquerade: [] }
      - { snat: 10.1.0.0/24 }
      - { snat: 10.1.0.0/24, floating: 192.0.2.1, to: 192.0.2.1 }
      - { snat: 10.1.0.0/24, to: 192.0.2.9-192.0.2.1 }
      - { snat: 10.1.0.0/24, to: 192.0.2.1/24 }
      - { snat: 10.1.0.7, to: here }
      - { floating: 192.0.2.1 }
      - { floating: 192.0.2.0/24, to: web }
      - { masquarade: true }
",
        "\
routers.a.uplink must be `true`, or a map with the key `hosts`
  4:27 this is the text \"on\"
routers.b.uplink.hosts must be one host at least
  5:36 this is a list
unknown key `host` in routers.c.uplink
  6:29 this key is not known
  help: did you mean `hosts`?
routers.d.nat[0] translates nothing
  10:9 it must be one of three
  help: write `masquerade: true`, `snat: 10.1.0.0/24, to: 192.0.2.100`, or `floating: 192.0.2.50, to: 10.1.0.10`
routers.d.nat[1] has `to` beside `masquerade`
  11:9 the address is that of the host
  help: leave out `to`, or write `snat` instead of `masquerade`
routers.d.nat[2].masquerade must be `true`, or prefixes
  12:23 this is the truth value false
  help: leave it out
routers.d.nat[3].masquerade must be one prefix at least
  13:23 this is a list
routers.d.nat[4] has no `to`
  14:9 `to` is missing here
  help: say which addresses they get: `to: 192.0.2.100-192.0.2.103`
routers.d.nat[5] has both `snat` and `floating`
  15:9 it must be one of three
  help: write `masquerade: true`, `snat: 10.1.0.0/24, to: 192.0.2.100`, or `floating: 192.0.2.50, to: 10.1.0.10`
routers.d.nat[6].to must be an address, a prefix, or a range such as 192.0.2.100-192.0.2.103
  16:34 this is the text \"192.0.2.9-192.0.2.1\"
  help: the lower address comes first, and both are of one family
routers.d.nat[7].to must be an address, a prefix, or a range such as 192.0.2.100-192.0.2.103
  17:34 this is the text \"192.0.2.1/24\"
  help: write 192.0.2.0/24 for the prefix, or 192.0.2.1
routers.d.nat[8].snat must be a subnet such as 10.1.0.0/24 or fd00:1::/64
  18:17 this is the text \"10.1.0.7\"
  help: add the length of the prefix
routers.d.nat[8].to must be an address, a prefix, or a range such as 192.0.2.100-192.0.2.103
  18:31 this is the text \"here\"
routers.d.nat[9] has no `to`
  19:9 `to` is missing here
  help: say whose address it stands for: `to: 10.1.0.10`
routers.d.nat[10].floating must be an address such as 10.1.0.1 or fd00:1::1
  20:21 this is the text \"192.0.2.0/24\"
routers.d.nat[10].to must be an address such as 10.1.0.1 or fd00:1::1
  20:39 this is the text \"web\"
unknown key `masquarade` in routers.d.nat[11]
  21:11 this key is not known
  help: did you mean `masquerade`?
",
    );
}

/// Every address of a pool is a row: without a limit, a prefix of IPv6 would never be done.
#[test]
fn a_pool_has_a_size() {
    check_below_head(
        "\
routers:
  a: { ports: {}, nat: [{ snat: 10.1.0.0/24, to: 10.0.0.0/16 }] }
  b: { ports: {}, nat: [{ snat: 10.1.0.0/24, to: 10.0.0.0/15 }] }
  c: { ports: {}, nat: [{ snat: 'fd00:1::/64', to: '2001:db8::/64' }] }
",
        "\
routers.b.nat[0].to must be no more than 65536 addresses
  5:50 this is the text \"10.0.0.0/15\"
  help: each of them has 64,512 ports for every destination: a few will do
routers.c.nat[0].to must be no more than 65536 addresses
  6:52 this is the text \"2001:db8::/64\"
  help: each of them has 64,512 ports for every destination: a few will do
",
    );
}
