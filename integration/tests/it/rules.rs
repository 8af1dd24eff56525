//! Rules, and what a naive reading of them says about packets: a truth table, which real packets check
//! through namespaces (`netns::policy::table`), and the case runners frame by frame on both hosts.

use std::fmt::Write as _;
use std::net::IpAddr;

use integration::case::Case;

/// Two hosts, two networks, a router; `@policies` is what a test adds.
pub(crate) const HOUSE: &str = r#"
version: 1
name: house
@hosts
networks:
  front: { subnets: [10.1.0.0/24, "fd00:1::/64"], vni: 100 }
  back: { subnets: [10.2.0.0/24, "fd00:2::/64"], vni: 200 }
routers:
  core: { @router ports: { front: [10.1.0.1, "fd00:1::1"], back: [10.2.0.1, "fd00:2::1"] } }
workloads:
  web1: { host: alpha, netns: @web1, ports: [{ network: front, addresses: [10.1.0.11, "fd00:1::11"], groups: [web] }] }
  db1: { host: alpha, netns: @db1, ports: [{ network: back, addresses: [10.2.0.12, "fd00:2::12"], groups: [db] }] }
  free1: { host: alpha, netns: @free1, ports: [{ network: front, addresses: [10.1.0.13, "fd00:1::13"] }] }
  web2: { host: beta, netns: @web2, ports: [{ network: front, addresses: [10.1.0.14, "fd00:1::14"], groups: [web] }] }
  db2: { host: beta, netns: @db2, ports: [{ network: back, addresses: [10.2.0.15, "fd00:2::15"], groups: [db] }] }
  both2: { host: beta, netns: @both2, ports: [{ network: back, addresses: [10.2.0.16, "fd00:2::16"], groups: [web, db] }] }
@policies
"#;

/// A workload of [`HOUSE`].
pub(crate) struct Inhabitant {
    pub(crate) name: &'static str,
    groups: &'static [&'static str],
    addresses: [&'static str; 2],
}

const fn inhabitant(
    name: &'static str,
    groups: &'static [&'static str],
    addresses: [&'static str; 2],
) -> Inhabitant {
    Inhabitant {
        name,
        groups,
        addresses,
    }
}

pub(crate) const INHABITANTS: [Inhabitant; 6] = [
    inhabitant("web1", &["web"], ["10.1.0.11", "fd00:1::11"]),
    inhabitant("db1", &["db"], ["10.2.0.12", "fd00:2::12"]),
    inhabitant("free1", &[], ["10.1.0.13", "fd00:1::13"]),
    inhabitant("web2", &["web"], ["10.1.0.14", "fd00:1::14"]),
    inhabitant("db2", &["db"], ["10.2.0.15", "fd00:2::15"]),
    inhabitant("both2", &["web", "db"], ["10.2.0.16", "fd00:2::16"]),
];

impl Inhabitant {
    pub(crate) fn ips(&self) -> [IpAddr; 2] {
        self.addresses.map(|text| text.parse().unwrap())
    }

    fn network(&self) -> (&'static str, u32) {
        if self.addresses[0].starts_with("10.1.") {
            ("front", 100)
        } else {
            ("back", 200)
        }
    }
}

/// The house as a file has it, with these policies; the router has the policy `between` if there is one of
/// that name.
pub(crate) fn house(policies: &str) -> String {
    let router = if policies.contains("between:") {
        "policy: between,"
    } else {
        ""
    };
    let text = HOUSE.replace("@policies", policies);
    text.replace("@router", router)
}

pub(crate) const PORTS: [u16; 5] = [7053, 7432, 8000, 8005, 8011];

#[derive(Clone, Copy)]
enum Party {
    Any,
    Group(&'static str),
    /// A prefix in both families: what their addresses begin with, and how they are written.
    Net([&'static str; 2], &'static str),
}

const FRONT: Party = Party::Net(["10.1.0.", "fd00:1::"], "[10.1.0.0/24, 'fd00:1::/64']");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    Allow,
    Deny,
    Reject,
}

/// What a rule is about.
#[derive(Clone, Copy)]
enum Service {
    /// First and last port.
    Udp(u16, u16),
    Tcp(u16, u16),
    /// Types of ICMP and of ICMPv6.
    Icmp([u8; 2]),
    /// A protocol's number.
    Number(u8),
}

/// What a packet is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Packet {
    /// Destination port.
    Udp(u16),
    Tcp(u16),
    /// Type of ICMP or ICMPv6.
    Icmp([u8; 2]),
    Number(u8),
}

impl Service {
    fn has(self, packet: Packet, family: usize) -> bool {
        match (self, packet) {
            (Self::Udp(first, last), Packet::Udp(port))
            | (Self::Tcp(first, last), Packet::Tcp(port)) => (first..=last).contains(&port),
            (Self::Icmp(kinds), Packet::Icmp(kind)) => kinds[family] == kind[family],
            (Self::Number(its), Packet::Number(number)) => its == number,
            _ => false,
        }
    }

    fn written(self) -> String {
        match self {
            Self::Udp(first, last) => format!("udp/{first}-{last}"),
            Self::Tcp(first, last) => format!("tcp/{first}-{last}"),
            Self::Icmp([v4, v6]) => format!("icmp/{v4}, icmpv6/{v6}"),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// A rule; the parties' side that the list is not about is left open.
struct Rule {
    verb: Verb,
    from: Party,
    to: Party,
    /// All if there is none.
    services: &'static [Service],
}

/// The rules of one policy in one direction, and what holds where none decides.
pub(crate) struct List(&'static str, &'static str, &'static [Rule], Verb);

const fn rule(verb: Verb, from: Party, to: Party, services: &'static [Service]) -> Rule {
    Rule {
        verb,
        from,
        to,
        services,
    }
}

use Party::{Any, Group};
use Service::{Icmp, Number, Tcp, Udp};
use Verb::{Allow, Deny, Reject};

/// Default deny, ranges, groups and prefixes on the receiver's side.
pub(crate) const INGRESS: &[List] = &[
    List(
        "db",
        "ingress",
        &[
            rule(Deny, Group("web"), Any, &[Udp(8005, 8005), Tcp(8005, 8005)]),
            rule(
                Allow,
                Group("web"),
                Any,
                &[Udp(7432, 7432), Tcp(7432, 7432), Udp(8000, 8010)],
            ),
            rule(Allow, FRONT, Any, &[Udp(7053, 7053)]),
        ],
        Deny,
    ),
    List(
        "web",
        "ingress",
        &[rule(Deny, Any, Any, &[Udp(7053, 7053)])],
        Allow,
    ),
];

/// Both ends, and who is refused is told.
pub(crate) const BOTH: &[List] = &[
    List(
        "web",
        "egress",
        &[
            rule(Allow, Any, Group("db"), &[Tcp(7432, 7432), Udp(7432, 7432)]),
            rule(Reject, Any, FRONT, &[]),
            rule(Allow, Any, Any, &[Udp(8000, 8011)]),
        ],
        Deny,
    ),
    List(
        "db",
        "ingress",
        &[rule(Reject, Group("db"), Any, &[])],
        Allow,
    ),
];

/// The router's own rules.
pub(crate) const BETWEEN: &[List] = &[List(
    "between",
    "forward",
    &[
        rule(Allow, Any, Group("db"), &[Udp(7432, 8000), Tcp(7432, 8000)]),
        rule(Allow, Group("db"), FRONT, &[Udp(8005, 8005)]),
    ],
    Deny,
)];

/// Types of ICMP and protocols without ports, in all three places.
pub(crate) const SERVICES: &[List] = &[
    List(
        "web",
        "egress",
        &[
            rule(Deny, Any, Group("web"), &[Icmp(ASKING)]),
            rule(Allow, Any, Any, &[Icmp(ECHO), Icmp(ASKING), Number(50)]),
            rule(Allow, Any, FRONT, &[Number(47)]),
        ],
        Reject,
    ),
    List(
        "between",
        "forward",
        &[
            rule(Reject, Group("db"), Any, &[Number(47), Icmp(ASKING)]),
            rule(Deny, FRONT, Group("db"), &[Number(50)]),
        ],
        Allow,
    ),
    List(
        "db",
        "ingress",
        &[
            rule(Allow, Group("web"), Any, &[Icmp(ECHO), Tcp(1, 7432)]),
            rule(Allow, Group("db"), Any, &[Number(50), Number(47)]),
        ],
        Deny,
    ),
];

/// A request for an echo, and another message that begins something; nobody tracks the second.
const ECHO: [u8; 2] = [8, 128];
const ASKING: [u8; 2] = [13, 200];

impl Party {
    fn is(self, who: &Inhabitant, ip: IpAddr) -> bool {
        match self {
            Any => true,
            Group(name) => who.groups.contains(&name),
            Self::Net(beginnings, _) => beginnings.iter().any(|it| ip.to_string().starts_with(it)),
        }
    }

    fn written(self) -> &'static str {
        match self {
            Any => "any",
            Group(name) => name,
            Self::Net(_, text) => text,
        }
    }
}

/// The policies as a file has them.
pub(crate) fn written(lists: &[List]) -> String {
    let word = |verb: Verb| format!("{verb:?}").to_lowercase();
    let mut text = "policies:\n".to_owned();
    let names: std::collections::BTreeSet<_> = lists.iter().map(|list| list.0).collect();
    assert_eq!(names.len(), lists.len(), "one list for each policy");
    for List(policy, direction, rules, default) in lists {
        text += &format!(
            "  {policy}:\n    default: {{ {direction}: {} }}\n    {direction}:\n",
            word(*default)
        );
        for rule in *rules {
            let services: Vec<_> = rule.services.iter().map(|it| it.written()).collect();
            let services = if services.is_empty() {
                "any".to_owned()
            } else {
                format!("[{}]", services.join(", "))
            };
            let (from, to) = (rule.from.written(), rule.to.written());
            text += &format!(
                "      - {{ from: {from}, to: {to}, {}: {services} }}\n",
                word(rule.verb)
            );
        }
    }
    text
}

/// One cell of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Cell {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// 0 is IPv4 and 1 is IPv6.
    pub(crate) family: usize,
    pub(crate) packet: Packet,
}

/// All cells of these packets.
pub(crate) fn cells(packets: &[Packet]) -> impl Iterator<Item = Cell> {
    let all = 0..INHABITANTS.len();
    let pairs = all.clone().flat_map(move |from| {
        let others = all.clone().filter(move |to| *to != from);
        others.map(move |to| (from, to))
    });
    pairs.flat_map(move |(from, to)| {
        (0..2).flat_map(move |family| {
            packets.iter().map(move |&packet| Cell {
                from,
                to,
                family,
                packet,
            })
        })
    })
}

/// Who judges a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Judge {
    Egress,
    Forward,
    Ingress,
}

impl Judge {
    const fn word(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Forward => "forward",
            Self::Ingress => "ingress",
        }
    }
}

/// What a naive reading of the rules says, by one who judges.
fn judge(lists: &[List], judge: Judge, cell: Cell) -> Verb {
    let (from, to) = (&INHABITANTS[cell.from], &INHABITANTS[cell.to]);
    let (source, destination) = (from.ips()[cell.family], to.ips()[cell.family]);
    let holders = match judge {
        Judge::Egress => from.groups,
        Judge::Forward if from.network() == to.network() => &[],
        Judge::Forward => &["between"],
        Judge::Ingress => to.groups,
    };
    // In the order of the holder's groups.
    let held: Vec<&List> = holders
        .iter()
        .flat_map(|holder| {
            lists
                .iter()
                .filter(move |list| list.0 == *holder && list.1 == judge.word())
        })
        .collect();
    let mut rules = held.iter().flat_map(|list| list.2);
    let matching = rules.find(|rule| {
        let mut services = rule.services.iter();
        let service =
            rule.services.is_empty() || services.any(|its| its.has(cell.packet, cell.family));
        service && rule.from.is(from, source) && rule.to.is(to, destination)
    });
    let defaults: Vec<Verb> = held.iter().map(|list| list.3).collect();
    let default = [Deny, Reject]
        .into_iter()
        .find(|verb| defaults.contains(verb));
    matching.map_or(default.unwrap_or(Allow), |rule| rule.verb)
}

/// What becomes of a packet at last.
pub(crate) fn verdict(lists: &[List], cell: Cell) -> Verb {
    let judges = [Judge::Egress, Judge::Forward, Judge::Ingress];
    let verdicts = judges.map(|it| judge(lists, it, cell));
    let refused = verdicts.into_iter().find(|verb| *verb != Allow);
    refused.unwrap_or(Allow)
}

/// The table as case files, one for each host: what it makes of every packet that enters it.
pub(crate) fn tables(lists: &[List]) -> Vec<Case> {
    [("alpha", "beta"), ("beta", "alpha")]
        .map(|(here, there)| {
            let hosts = "hosts: { here: 192.0.2.11, there: 192.0.2.12 }";
            let mut text = house(&written(lists)).replace("@hosts", hosts);
            text = text.replace(&format!("host: {here}"), "host: here");
            text = text.replace(&format!("host: {there}"), "host: there");
            for inhabitant in &INHABITANTS {
                let name = inhabitant.name;
                text = text.replace(&format!("@{name}"), name);
            }
            text += "---\n";
            let packets = packets();
            // What begins with `1` is on alpha, in the order of the house.
            let is_here = |who: usize| (who < 3) == (here == "alpha");
            let entering = cells(&packets).filter(|cell| is_here(cell.from) || is_here(cell.to));
            for (number, cell) in (10_000..).zip(entering) {
                // A protocol without ports has one flow for both directions, of which the second answers.
                let is_answer = matches!(cell.packet, Packet::Number(_)) && cell.from > cell.to;
                if !is_answer {
                    let places = (is_here(cell.from), is_here(cell.to));
                    step(&mut text, lists, cell, number, places);
                }
            }
            Case::parse(here, &text).unwrap_or_else(|error| panic!("{error:#}"))
        })
        .into()
}

fn packets() -> Vec<Packet> {
    let ports = PORTS.into_iter();
    let ports = ports.flat_map(|port| [Packet::Udp(port), Packet::Tcp(port)]);
    let others = [ECHO, ASKING].map(Packet::Icmp);
    let numbers = [50, 47].map(Packet::Number);
    ports.chain(others).chain(numbers).collect()
}

/// Writes the step of a cell, at a host where some of the two are.
fn step(
    text: &mut String,
    lists: &[List],
    cell: Cell,
    number: u16,
    (is_from_here, is_to_here): (bool, bool),
) {
    let (from, to) = (&INHABITANTS[cell.from], &INHABITANTS[cell.to]);
    let ip = ["ipv4", "ipv6"][cell.family];
    let protocol = ["protocol", "next_header"][cell.family];
    let mut header = format!("from: {}, to: {}", from.name, to.name);
    let transport = match cell.packet {
        Packet::Udp(port) => format!("udp: [{number}, {port}]"),
        Packet::Tcp(port) => format!("tcp: [{number}, {port}]"),
        Packet::Icmp(kind) => format!("icmp: [{}, 0], identifier: {number}", kind[cell.family]),
        Packet::Number(it) => {
            header += &format!(", {protocol}: {it}");
            "data: 0011223344556677".to_owned()
        }
    };
    let is_routed = from.network() != to.network();
    let (network, vni) = to.network();
    let mut judges = Vec::new();
    if is_from_here {
        judges.extend([Judge::Egress, Judge::Forward]);
    }
    if is_to_here {
        judges.push(Judge::Ingress);
    }
    let verdicts = judges.into_iter().map(|it| (it, judge(lists, it, cell)));
    let refusal = verdicts.into_iter().find(|(_, verb)| *verb != Allow);
    let drop = refusal.map(|(judge, _)| format!("drop: policy_{}", judge.word()));
    // Who is refused that another host has routed here, is not told.
    let is_told = is_from_here && matches!(refusal, Some((_, Reject)));
    let by = to.name;
    let expect = match drop {
        Some(drop) if is_told => match (cell.packet, cell.family) {
            (Packet::Tcp(_), _) => {
                format!("reset: {{ {drop}, by: {by}, flags: R., acknowledgment: 2 }}")
            }
            (_, 0) => format!("error: {{ {drop}, by: {by}, icmp: [3, 13] }}"),
            _ => format!("error: {{ {drop}, by: {by}, icmp: [1, 1] }}"),
        },
        Some(drop) => drop,
        None if is_routed && is_from_here => {
            format!("forward: {{ to: {by}, by: core/{network} }}")
        }
        None => format!("deliver: {by}/eth0"),
    };
    if is_told {
        // Nobody is told too often.
        text.push_str("- wait: 1\n");
    }
    // Another host's router has sent it, in the network of its receiver.
    let (through, macs) = if is_routed && !is_from_here {
        (
            format!("  through: {{ vni: {vni} }}\n"),
            format!("from: core/{network}, to: {by}, "),
        )
    } else {
        (String::new(), String::new())
    };
    let _infallible = write!(
        text,
        "- from: {}\n{through}  send: {{ {macs}{ip}: {{ {header} }}, {transport} }}\n  expect: {{ {expect} }}\n",
        from.name
    );
}

/// Declares one test for each set of rules, which gives its tables to `$check`.
macro_rules! every_table {
    ($check:path) => {
        mod rules {
            #[test]
            fn ingress() {
                $check(crate::rules::INGRESS);
            }

            #[test]
            fn both() {
                $check(crate::rules::BOTH);
            }

            #[test]
            fn between() {
                $check(crate::rules::BETWEEN);
            }

            #[test]
            fn services() {
                $check(crate::rules::SERVICES);
            }
        }
    };
}
pub(crate) use every_table;
