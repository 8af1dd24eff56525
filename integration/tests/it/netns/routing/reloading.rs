//! A thousand changes under traffic: what is established goes on, and what they do not concern loses
//! nothing.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use integration::lab::{Bowline, Numbered, Talk, eventually_some};

use super::super::{Site, stats};
use super::ip;

const RELOADS: u32 = 1000;
/// Making and deleting links takes the kernel long: it is done in some of the reloads only.
const RELOADS_PER_WORKLOAD: u32 = 50;
/// The equal next hops, of which the last one comes and goes.
const MEMBERS: [&str; 3] = ["one", "two", "three"];
const FICKLE: usize = 2;
/// What all of them have, besides their own address.
const SHARED: [&str; 2] = ["10.9.0.1", "fd00:9::1"];
const WEB: [&str; 2] = ["10.1.0.10", "fd00:1::10"];
const DB: [&str; 2] = ["10.2.0.20", "fd00:2::20"];
const PORT: u16 = 7000;

/// What the file says in one of its versions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Version {
    /// Another route, to nowhere.
    route: bool,
    /// What becomes of a route that nobody uses.
    rejects: bool,
    /// Longer prefixes over the routes of the traffic, which lead to the same place.
    longer: bool,
    /// A second link between the routers.
    spare: Spare,
    /// Another port of a router in use.
    port: bool,
    /// Another router.
    router: bool,
    /// All of the equal next hops.
    all_members: bool,
    /// Another workload.
    workload: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Spare {
    /// There is none.
    Absent,
    /// There is one, and the traffic takes the other one.
    Idle,
    /// The traffic takes it.
    Used,
}

impl Version {
    const FIRST: Self = Self {
        route: false,
        rejects: false,
        longer: false,
        spare: Spare::Absent,
        port: false,
        router: false,
        all_members: true,
        workload: false,
    };

    /// The next version, which differs in one thing or two.
    fn next(self, number: u32) -> Self {
        let mut next = self;
        // Two different ones of a sequence in which every pair comes round.
        for turn in [number % 7, (number / 7) % 7] {
            match turn {
                0 => next.route ^= true,
                1 => next.rejects ^= true,
                2 => next.longer ^= true,
                3 => {
                    next.spare = match (self.spare, number % 2) {
                        (Spare::Idle, 0) => Spare::Used,
                        (Spare::Idle, _) => Spare::Absent,
                        (Spare::Absent | Spare::Used, _) => Spare::Idle,
                    }
                }
                4 => next.port ^= true,
                5 => next.router ^= true,
                _ => next.all_members ^= true,
            }
        }
        next.workload ^= number.is_multiple_of(RELOADS_PER_WORKLOAD);
        if next == self {
            next.route ^= true;
        }
        next
    }

    fn text(self) -> String {
        let mut text = r#"
version: 1
name: living
networks:
  front: [10.1.0.0/24, "fd00:1::/64"]
  back: [10.2.0.0/24, "fd00:2::/64"]
  side: [10.3.0.0/24, "fd00:3::/64"]
workloads:
  web: { netns: @web, ports: [{ network: front, addresses: [10.1.0.10, "fd00:1::10"] }] }
  db: { netns: @db, ports: [{ network: back, addresses: [10.2.0.20, "fd00:2::20"] }] }
"#
        .to_owned();
        for (number, member) in (31..).zip(MEMBERS) {
            // They send from the address that they share.
            let _ = writeln!(
                text,
                "  {member}: {{ netns: @{member}, ports: [{{ network: back, spoofing: allow, \
                 addresses: [10.2.0.{number}, \"fd00:2::{number}\"] }}] }}"
            );
        }
        if self.workload {
            text += "  more: { netns: @more, ports: [{ network: side, addresses: 10.3.0.10 }] }\n";
        }
        text += "routers:\n";
        self.write_near(&mut text);
        self.write_far(&mut text);
        if self.router {
            text += "  other:\n    ports: { side: [10.3.0.2, \"fd00:3::2\"] }\n";
        }
        text
    }

    /// The router at `web`.
    fn write_near(self, text: &mut String) {
        *text += "  near:\n    ports:\n      front: [10.1.0.1, \"fd00:1::1\"]\n";
        *text +=
            "      link: { peer: far/link, addresses: [192.168.1.1/30, \"fd00:99:1::1/64\"] }\n";
        if self.spare != Spare::Absent {
            *text += "      spare: { peer: far/spare, addresses: [192.168.2.1/30, \"fd00:99:2::1/64\"] }\n";
        }
        let way = self.way();
        *text += "    routes:\n";
        let mut routes = vec!["10.2.0.0/24", "fd00:2::/64", "10.9.0.0/16", "fd00:9::/64"];
        if self.longer {
            routes.extend([
                "10.2.0.16/28",
                "fd00:2::/112",
                "10.9.0.1/32",
                "fd00:9::1/128",
            ]);
        }
        for to in routes {
            let _ = writeln!(text, "      - {{ to: \"{to}\", via: {way} }}");
        }
        if self.route {
            *text += "      - { to: 203.0.113.0/24, via: blackhole }\n";
        }
        let via = if self.rejects { "reject" } else { "link" };
        let _ = writeln!(text, "      - {{ to: 10.50.0.0/16, via: {via} }}");
    }

    /// The router at everybody else.
    fn write_far(self, text: &mut String) {
        *text += "  far:\n    ports:\n      back: [10.2.0.1, \"fd00:2::1\"]\n";
        *text +=
            "      link: { peer: near/link, addresses: [192.168.1.2/30, \"fd00:99:1::2/64\"] }\n";
        if self.spare != Spare::Absent {
            *text += "      spare: { peer: near/spare, addresses: [192.168.2.2/30, \"fd00:99:2::2/64\"] }\n";
        }
        if self.port {
            *text += "      side: [10.3.0.1, \"fd00:3::1\"]\n";
        }
        let way = self.way();
        *text += "    routes:\n      - { to: 10.50.0.0/16, via: blackhole }\n";
        for to in ["10.1.0.0/24", "fd00:1::/64"] {
            let _ = writeln!(text, "      - {{ to: \"{to}\", via: {way} }}");
        }
        let members = 31..=(if self.all_members { 33 } else { 32 });
        for (to, prefix) in SHARED.into_iter().zip(["10.2.0.", "fd00:2::"]) {
            let bits = if to.contains(':') { 128 } else { 32 };
            let via: Vec<String> = members
                .clone()
                .map(|number| format!("\"{prefix}{number}\""))
                .collect();
            let via = via.join(", ");
            let _ = writeln!(text, "      - {{ to: \"{to}/{bits}\", via: [{via}] }}");
        }
    }

    /// The link that the traffic takes.
    fn way(self) -> &'static str {
        match self.spare {
            Spare::Used => "spare",
            Spare::Absent | Spare::Idle => "link",
        }
    }
}

/// A UDP socket of a workload. A new IPv6 address cannot be bound at once.
fn bind(site: &Site, name: &str, address: IpAddr, port: u16) -> UdpSocket {
    eventually_some("the address is usable", || {
        let bind = || UdpSocket::bind((address, port));
        site.workload(name).run(bind).ok()
    })
}

fn listener(site: &Site, name: &str, address: IpAddr) -> TcpListener {
    let bind = || TcpListener::bind((address, PORT));
    site.workload(name).run(bind).expect("a listener")
}

fn any(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// A socket from which a flow to an address is sent.
fn sender(site: &Site, name: &str, to: IpAddr) -> UdpSocket {
    let socket = bind(site, name, any(to), 0);
    socket.connect((to, PORT)).expect("a destination");
    socket
}

/// Connections to `db`, and to those of the members that stay.
fn talks(site: &Site) -> Vec<Talk> {
    let mut talks = Vec::new();
    for (db, shared) in DB.into_iter().zip(SHARED) {
        let listeners = [listener(site, "db", ip(db))];
        let to = SocketAddr::new(ip(db), PORT);
        talks.extend((0..2).map(|_| Talk::start(site.workload("web"), to, &listeners)));

        let listeners = MEMBERS.map(|name| listener(site, name, ip(shared)));
        let to = SocketAddr::new(ip(shared), PORT);
        let mut answered = BTreeSet::new();
        // Who answers follows from the port that a connection gets by chance.
        let enough =
            |so_far: usize, answered: &BTreeSet<usize>| so_far >= 12 && answered.len() == 2;
        for so_far in 0..100 {
            if enough(so_far, &answered) {
                break;
            }
            let talk = Talk::start(site.workload("web"), to, &listeners);
            if talk.answered_by() == FICKLE {
                // Its flow moves to somebody who knows nothing of it.
                talk.finish();
            } else {
                answered.insert(talk.answered_by());
                talks.push(talk);
            }
        }
        assert_eq!(answered.len(), 2, "{answered:?} answered");
    }
    talks
}

/// Flows in both directions between `web` and `db`, and flows to the members.
fn flows(site: &Site) -> Numbered {
    let mut senders = Vec::new();
    for (web, db) in WEB.into_iter().zip(DB) {
        senders.push(sender(site, "web", ip(db)));
        senders.push(sender(site, "db", ip(web)));
    }
    for shared in SHARED {
        senders.extend((0..6).map(|_| sender(site, "web", ip(shared))));
    }
    let mut receivers = Vec::new();
    for (name, addresses) in [("web", WEB), ("db", DB)] {
        receivers.extend(addresses.map(|address| bind(site, name, ip(address), PORT)));
    }
    for name in MEMBERS {
        receivers.extend(SHARED.map(|address| bind(site, name, ip(address), PORT)));
    }
    Numbered::start(senders, receivers)
}

/// The index of the first socket of the members among those who receive.
const MEMBERS_FROM: usize = 4;

fn is_fickle(receiver: usize) -> bool {
    receiver >= MEMBERS_FROM && (receiver - MEMBERS_FROM) / SHARED.len() == FICKLE
}

fn load(site: &Site, bowline: &Bowline<'_>, version: Version) {
    let text = bowline.load(&site.topology(&version.text()));
    assert!(!text.contains("nothing"), "{version:?}: {text}");
}

#[test]
fn a_thousand_reloads_break_no_flow() {
    let Some(site) = Site::new(["web", "db", "one", "two", "three", "more"]) else {
        return;
    };
    let bowline = site.bowline();
    for name in MEMBERS {
        for (address, bits) in SHARED.into_iter().zip([32, 128]) {
            let address = format!("{address}/{bits}");
            let arguments = ["address", "add", &address, "dev", "lo"];
            site.workload(name).ip(&arguments);
        }
    }
    let before = site.snapshot(&bowline);
    let mut version = Version::FIRST;
    load(&site, &bowline, version);
    for to in DB
        .into_iter()
        .chain(["10.2.0.31", "10.2.0.32", "10.2.0.33"])
    {
        site.assert_reaches("web", to);
    }
    for to in ["fd00:2::31", "fd00:2::32", "fd00:2::33"] {
        site.assert_reaches("web", to);
    }
    let mut talks = talks(&site);
    let flows = flows(&site);

    for number in 1..=RELOADS {
        version = version.next(number);
        load(&site, &bowline, version);
        if number % 100 == 0 {
            for talk in &mut talks {
                talk.go_on(1);
            }
        }
    }

    for flow in flows.finish() {
        flow.assert_complete();
        assert!(flow.sent() > 1000, "{} are too few to tell", flow.sent());
        // Only what the fickle one may take moves at all.
        let receivers = flow.receivers();
        let moves = receivers.iter().any(|receiver| is_fickle(*receiver));
        assert!(moves || receivers.len() == 1, "{receivers:?}");
    }
    for talk in talks {
        assert!(talk.rounds() > 500, "{} rounds", talk.rounds());
        talk.finish();
    }
    for port in ["web/eth0", "db/eth0", "one/eth0", "two/eth0"] {
        let drops = &stats(&bowline, port)["drops"];
        for reason in ["no_route", "port_unplugged", "unknown_interface"] {
            assert_eq!(drops[reason].as_u64().unwrap_or(0), 0, "{port}: {drops}");
        }
    }
    bowline.succeed(&["unload", "living"]);
    before.assert_same(&site.snapshot(&bowline));
}
