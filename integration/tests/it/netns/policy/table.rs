//! A truth table: what a naive reading of the rules says, and what packets do.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use integration::lab::{Family, Underlay, patience};

use super::{INHABITANTS, Inhabitant, house, load};
use crate::netns::hosts::fleet;

const PORTS: [u16; 5] = [7053, 7432, 8000, 8005, 8011];
/// How long to wait for what must not come.
const SILENCE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy)]
enum Party {
    Any,
    Group(&'static str),
    /// A prefix in both families: what their addresses begin with, and how they are written.
    Net([&'static str; 2], &'static str),
}

const FRONT: Party = Party::Net(["10.1.0.", "fd00:1::"], "[10.1.0.0/24, 'fd00:1::/64']");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verb {
    Allow,
    Deny,
    Reject,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Protocol {
    Udp,
    Tcp,
}

/// A rule, with the parties' side that the list is not about left open.
struct Rule {
    verb: Verb,
    from: Party,
    to: Party,
    /// Protocol, first and last port; all if there is none.
    services: &'static [(Protocol, u16, u16)],
}

/// The rules of one policy in one direction, and what holds where none decides.
struct List(&'static str, &'static str, &'static [Rule], Verb);

const fn rule(
    verb: Verb,
    from: Party,
    to: Party,
    services: &'static [(Protocol, u16, u16)],
) -> Rule {
    Rule {
        verb,
        from,
        to,
        services,
    }
}

use Party::{Any, Group};
use Protocol::{Tcp, Udp};
use Verb::{Allow, Deny, Reject};

/// Default deny, ranges, groups and prefixes on the receiver's side.
const INGRESS: &[List] = &[
    List(
        "db",
        "ingress",
        &[
            rule(
                Deny,
                Group("web"),
                Any,
                &[(Udp, 8005, 8005), (Tcp, 8005, 8005)],
            ),
            rule(
                Allow,
                Group("web"),
                Any,
                &[(Udp, 7432, 7432), (Tcp, 7432, 7432), (Udp, 8000, 8010)],
            ),
            rule(Allow, FRONT, Any, &[(Udp, 7053, 7053)]),
        ],
        Deny,
    ),
    List(
        "web",
        "ingress",
        &[rule(Deny, Any, Any, &[(Udp, 7053, 7053)])],
        Allow,
    ),
];

/// Both ends, and who is refused is told.
const BOTH: &[List] = &[
    List(
        "web",
        "egress",
        &[
            rule(
                Allow,
                Any,
                Group("db"),
                &[(Tcp, 7432, 7432), (Udp, 7432, 7432)],
            ),
            rule(Reject, Any, FRONT, &[]),
            rule(Allow, Any, Any, &[(Udp, 8000, 8011)]),
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
const BETWEEN: &[List] = &[List(
    "between",
    "forward",
    &[
        rule(
            Allow,
            Any,
            Group("db"),
            &[(Udp, 7432, 8000), (Tcp, 7432, 8000)],
        ),
        rule(Allow, Group("db"), FRONT, &[(Udp, 8005, 8005)]),
    ],
    Deny,
)];

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
fn written(lists: &[List]) -> String {
    let word = |verb: Verb| format!("{verb:?}").to_lowercase();
    let mut text = "policies:\n".to_owned();
    for List(policy, direction, rules, default) in lists {
        text += &format!(
            "  {policy}:\n    default: {{ {direction}: {} }}\n    {direction}:\n",
            word(*default)
        );
        for rule in *rules {
            let services: Vec<_> = rule
                .services
                .iter()
                .map(|(protocol, first, last)| {
                    format!("{}/{first}-{last}", format!("{protocol:?}").to_lowercase())
                })
                .collect();
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
struct Cell {
    from: usize,
    to: usize,
    /// 0 is IPv4 and 1 is IPv6.
    family: usize,
    port: u16,
}

fn cells() -> impl Iterator<Item = Cell> {
    let all = 0..INHABITANTS.len();
    all.clone().flat_map(move |from| {
        all.clone()
            .filter(move |to| *to != from)
            .flat_map(move |to| {
                (0..2).flat_map(move |family| {
                    PORTS.map(|port| Cell {
                        from,
                        to,
                        family,
                        port,
                    })
                })
            })
    })
}

/// What a naive reading of the rules says.
fn verdict(lists: &[List], protocol: Protocol, cell: Cell) -> Verb {
    let (from, to) = (&INHABITANTS[cell.from], &INHABITANTS[cell.to]);
    let (source, destination) = (from.ips()[cell.family], to.ips()[cell.family]);
    let judge = |wanted: &str, holders: &[&str]| -> Verb {
        // In the order of the holder's groups.
        let held: Vec<&List> = holders
            .iter()
            .flat_map(|holder| {
                lists
                    .iter()
                    .filter(move |list| list.0 == *holder && list.1 == wanted)
            })
            .collect();
        let rules = held.iter().flat_map(|list| list.2);
        let matching = rules.filter(|rule| {
            let service = rule.services.is_empty()
                || rule.services.iter().any(|(its, first, last)| {
                    *its == protocol && (*first..=*last).contains(&cell.port)
                });
            service && rule.from.is(from, source) && rule.to.is(to, destination)
        });
        let defaults: Vec<Verb> = held.iter().map(|list| list.3).collect();
        let default = [Deny, Reject]
            .into_iter()
            .find(|verb| defaults.contains(verb));
        matching
            .map(|rule| rule.verb)
            .next()
            .unwrap_or(default.unwrap_or(Allow))
    };
    let is_in_front =
        |ip: IpAddr| ip.to_string().contains("1::") || ip.to_string().starts_with("10.1.");
    let mut verdicts = vec![judge("egress", from.groups)];
    if is_in_front(source) != is_in_front(destination) {
        verdicts.push(judge("forward", &["between"]));
    }
    verdicts.push(judge("ingress", to.groups));
    verdicts
        .into_iter()
        .find(|verb| *verb != Allow)
        .unwrap_or(Allow)
}

#[test]
fn packets_do_what_the_rules_say() {
    for (lists, family) in [
        (INGRESS, Family::V4),
        (BOTH, Family::V6),
        (BETWEEN, Family::V4),
    ] {
        let Some(underlay) = house(family) else {
            return;
        };
        let fleet = fleet(&underlay);
        let text = written(lists);
        load(&underlay, &fleet, &text);
        let expected: BTreeSet<Cell> = cells()
            .filter(|cell| verdict(lists, Udp, *cell) == Allow)
            .collect();
        assert!(expected.len() > 20 && expected.len() < cells().count() - 20);
        let arrived = datagrams(&underlay, &expected);
        let wrong: Vec<_> = arrived.symmetric_difference(&expected).collect();
        assert!(wrong.is_empty(), "{text}{wrong:?}");
        connections(&underlay, lists, &text);
    }
}

/// Sends a datagram for every cell, again and again until all that should have arrived; returns which
/// did.
fn datagrams(underlay: &Underlay, expected: &BTreeSet<Cell>) -> BTreeSet<Cell> {
    let bind = |who: &Inhabitant, port: u16| {
        let bind = || UdpSocket::bind(("::", port)).unwrap();
        let socket = underlay.workload(who.name).run(bind);
        socket.set_nonblocking(true).unwrap();
        socket
    };
    let receivers: Vec<_> = (0..INHABITANTS.len())
        .flat_map(|to| PORTS.map(|port| (to, port, bind(&INHABITANTS[to], port))))
        .collect();
    let senders: Vec<_> = INHABITANTS.iter().map(|who| bind(who, 0)).collect();
    let mut arrived = BTreeSet::new();
    let deadline = Instant::now() + patience();
    let mut since = Instant::now();
    loop {
        for cell in cells() {
            let ip = match INHABITANTS[cell.to].ips()[cell.family] {
                IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
                ip => ip,
            };
            // An error of the one before may be told now.
            for _ in 0..2 {
                let to = SocketAddr::new(ip, cell.port);
                if senders[cell.from]
                    .send_to(&[cell.from as u8, cell.family as u8], to)
                    .is_ok()
                {
                    break;
                }
            }
        }
        while since.elapsed() < SILENCE {
            for (to, port, socket) in &receivers {
                let mut data = [0; 2];
                while let Ok((2, _)) = socket.recv_from(&mut data) {
                    let [from, family] = data.map(usize::from);
                    let cell = Cell {
                        from,
                        to: *to,
                        family,
                        port: *port,
                    };
                    if arrived.insert(cell) {
                        since = Instant::now();
                    }
                }
            }
            thread::sleep(Duration::from_millis(5));
        }
        if arrived.is_superset(expected) || Instant::now() > deadline {
            return arrived;
        }
        since = Instant::now();
    }
}

/// Tries to connect, cell by cell, and compares.
fn connections(underlay: &Underlay, lists: &[List], text: &str) {
    let _listeners: Vec<_> = INHABITANTS
        .iter()
        .flat_map(|who| {
            PORTS.map(|port| {
                let listen = || TcpListener::bind(("::", port)).unwrap();
                underlay.workload(who.name).run(listen)
            })
        })
        .collect();
    thread::scope(|scope| {
        for cell in cells().filter(|cell| [7432, 8005].contains(&cell.port)) {
            scope.spawn(move || {
                let expected = verdict(lists, Tcp, cell);
                let to = SocketAddr::new(INHABITANTS[cell.to].ips()[cell.family], cell.port);
                let wait = if expected == Deny {
                    2 * SILENCE
                } else {
                    patience()
                };
                let connect = || TcpStream::connect_timeout(&to, wait);
                let connected = underlay.workload(INHABITANTS[cell.from].name).run(connect);
                let found = match connected {
                    Ok(_stream) => Allow,
                    Err(error) if error.kind() == ErrorKind::TimedOut => Deny,
                    Err(_told) => Reject,
                };
                // What a host is refused that routed it here, it is not told.
                let is_silent = expected == Reject && found == Deny;
                let is_remote = cell.from.max(cell.to) > 2 && cell.from.min(cell.to) < 3;
                assert!(
                    found == expected || is_silent && is_remote,
                    "{text}{cell:?} over TCP: {found:?} and not {expected:?}"
                );
            });
        }
    });
}
