//! The trace through routers says what the datapath does, and where in the file that is said,
//! whatever the routers and whatever the packet.

use std::collections::BTreeSet;
use std::fmt::Write;

use datapath::memory::{MemoryFrame, MemoryTables, parse, port_ingress};
use datapath::{Action, Bytes as _};
use ipnet::IpNet;
use maps_schema::{DropReason, IfIndex, Ip, Mac, PortId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::trace::packet::{Station, TTL, packet, question};
use crate::trace::record::Passage;

/// One router of a line, its own network, and how it is joined with the next one.
#[derive(Clone, Debug)]
struct Part {
    /// To the next router: by a direct link, or over a network that both are on.
    linked: bool,
    /// To which of the other routers' networks it has routes, bit by bit.
    knows: u8,
    /// Which of the other routes it has, bit by bit.
    others: u8,
    mtu: u32,
    /// The workloads on its network: their families, bit by bit, and whether they are absent.
    workloads: Vec<(u8, bool)>,
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let workload = (select(vec![1_u8, 2, 3, 3, 3]), prop::bool::weighted(0.05));
    let part = (
        any::<bool>(),
        prop::bits::u8::sampled(3..=4, 0..4),
        any::<u8>(),
        select(vec![1280_u32, 1500]),
        vec(workload, 1..3),
    );
    let part = part.prop_map(|(linked, knows, others, mtu, workloads)| Part {
        linked,
        knows,
        others,
        mtu,
        workloads,
    });
    vec(part, 1..5)
}

/// The parts as a file, from its third line on, and the workloads that are absent. Router `r0` is on
/// `n0`, and so on; `m0` or a link is between `r0` and `r1`.
fn file(parts: &[Part]) -> (String, Vec<String>) {
    let (mut networks, mut routers) = ("networks:\n".to_owned(), "routers:\n".to_owned());
    let mut workloads = "workloads:\n".to_owned();
    let mut absent = Vec::new();
    for (i, part) in parts.iter().enumerate() {
        let has_next = i + 1 < parts.len();
        let _ = writeln!(
            networks,
            "  n{i}: {{ subnets: [10.{i}.0.0/24, 'fd00:{i}::/64'], mtu: {} }}",
            part.mtu
        );
        if has_next && !part.linked {
            let _ = writeln!(networks, "  m{i}: [10.10{i}.0.0/24, 'fd00:10{i}::/64']");
        }
        let _ = writeln!(
            routers,
            "  r{i}:\n    ports:\n      n{i}: [10.{i}.0.1, 'fd00:{i}::1']"
        );
        if i > 0 {
            write_joint(&mut routers, parts, i - 1, 2);
        }
        if has_next {
            write_joint(&mut routers, parts, i, 1);
        }
        routers += "    routes:\n      - { to: 203.0.113.0/24, via: blackhole }\n";
        write_routes(&mut routers, parts, i);
        for (n, (families, is_absent)) in part.workloads.iter().enumerate() {
            let mut addresses = Vec::new();
            addresses.extend((families & 1 != 0).then(|| format!("10.{i}.0.1{n}")));
            addresses.extend((families & 2 != 0).then(|| format!("'fd00:{i}::1{n}'")));
            let name = format!("w{i}x{n}");
            let addresses = addresses.join(", ");
            let _ = writeln!(
                workloads,
                "  {name}: {{ ports: [{{ network: n{i}, addresses: [{addresses}] }}] }}"
            );
            absent.extend(is_absent.then_some(name));
        }
    }
    (networks + &routers + &workloads, absent)
}

/// The port of one end of what joins a router with the next one.
fn write_joint(routers: &mut String, parts: &[Part], joint: usize, end: usize) {
    let addresses = format!("10.10{joint}.0.{end}/24, 'fd00:10{joint}::{end}/64'");
    let _ = if !parts[joint].linked {
        writeln!(routers, "      m{joint}: [{addresses}]")
    } else if end == 1 {
        let peer = format!("r{}/left", joint + 1);
        writeln!(
            routers,
            "      right: {{ peer: {peer}, addresses: [{addresses}] }}"
        )
    } else {
        let peer = format!("r{joint}/right");
        writeln!(
            routers,
            "      left: {{ peer: {peer}, addresses: [{addresses}] }}"
        )
    };
}

fn write_routes(routers: &mut String, parts: &[Part], i: usize) {
    let part = &parts[i];
    let mut route = |to: String, via: &str| {
        let _ = writeln!(routers, "      - {{ to: '{to}', via: {via} }}");
    };
    // The way to the next router, and to the one before.
    let way = |joint: usize, port: &str, end: usize| {
        if parts[joint].linked {
            [port.to_owned(), port.to_owned()]
        } else {
            [
                format!("10.10{joint}.0.{end}"),
                format!("'fd00:10{joint}::{end}'"),
            ]
        }
    };
    let right = (i + 1 < parts.len()).then(|| way(i, "right", 2));
    let left = (i > 0).then(|| way(i.saturating_sub(1), "left", 1));
    let has_default = right.is_some() && part.others & 8 != 0;
    // Who sends the rest to the right knows all that is to the left: there are no circles.
    let knows = |other: &usize| has_default || part.knows >> other & 1 != 0;
    for other in (0..parts.len()).filter(knows) {
        let way = match other.cmp(&i) {
            std::cmp::Ordering::Less => &left,
            std::cmp::Ordering::Equal => continue,
            std::cmp::Ordering::Greater => &right,
        };
        if let Some([v4, v6]) = way {
            route(format!("10.{other}.0.0/24"), v4);
            route(format!("fd00:{other}::/64"), v6);
        }
    }
    if part.others & 1 != 0 {
        route(format!("10.{i}.0.192/26"), "blackhole");
        route(format!("fd00:{i}::8000/113"), "reject");
    }
    if part.others & 2 != 0 {
        route("198.51.100.0/24".to_owned(), "reject");
    }
    let hosts = |family: u8| {
        let workloads = part.workloads.iter().enumerate();
        let hosts = workloads.filter(move |(_, (families, _))| families & family != 0);
        hosts.map(|(n, _)| n).collect::<Vec<usize>>()
    };
    if part.others & 4 != 0 {
        let via: Vec<_> = hosts(1).iter().map(|n| format!("10.{i}.0.1{n}")).collect();
        if !via.is_empty() {
            route("192.0.2.0/24".to_owned(), &format!("[{}]", via.join(", ")));
        }
        let via: Vec<_> = hosts(2)
            .iter()
            .map(|n| format!("'fd00:{i}::1{n}'"))
            .collect();
        if !via.is_empty() {
            route("2001:db8::/32".to_owned(), &format!("[{}]", via.join(", ")));
        }
    }
    if has_default && let Some([v4, v6]) = &right {
        route("0.0.0.0/0".to_owned(), v4);
        route("::/0".to_owned(), v6);
    }
}

/// Addresses that packets may be for: of workloads and routers, and of nobody.
fn targets(topology: &Topology) -> Vec<IpAddr> {
    let ports = topology.ports.values().map(|port| &port.addresses);
    let routers = topology.routers.values();
    let router_ports = routers.flat_map(|it| it.ports.values().map(|port| &port.addresses));
    let own = ports.chain(router_ports).flatten().map(IpNet::addr);
    let foreign = (0..topology.routers.len()).flat_map(|i| {
        [
            format!("10.{i}.0.77"),
            format!("10.{i}.0.200"),
            format!("fd00:{i}::77"),
            format!("fd00:{i}::8001"),
        ]
    });
    let elsewhere = [
        "203.0.113.7",
        "198.51.100.7",
        "192.0.2.7",
        "2001:db8::7",
        "9.9.9.9",
    ];
    let foreign = foreign.chain(elsewhere.map(str::to_owned));
    own.chain(foreign.map(|text| text.parse().unwrap()))
        .collect()
}

/// The word behind these ones, in the last step of a trace that has them.
fn said<'a>(trace: &'a Trace, before: &str) -> Option<&'a str> {
    let texts = trace.steps.iter().rev().map(|step| step.text.as_str());
    texts
        .filter_map(|text| text.split_once(before))
        .map(|(_, rest)| rest.split([' ', ':', ',']).next().unwrap_or(rest))
        .next()
}

/// The address that is said behind these words; it may have colons.
fn address_said(trace: &Trace, before: &str) -> Option<IpAddr> {
    let texts = trace.steps.iter().map(|step| step.text.as_str());
    let mut rest = texts.filter_map(|text| text.split_once(before));
    let (_, rest) = rest.next()?;
    let word = rest.split([' ', '?']).next()?;
    Some(word.parse().unwrap())
}

fn mac(text: &str) -> Mac {
    let octets: Vec<u8> = text
        .split(':')
        .map(|octet| u8::from_str_radix(octet, 16).unwrap())
        .collect();
    Mac::new(octets.try_into().unwrap())
}

/// The MAC address that the trace sends its frame to, if it sends one.
fn destination_said(trace: &Trace) -> Option<Mac> {
    let texts = trace.steps.iter().map(|step| step.text.as_str());
    let mut frames = texts.filter(|text| text.starts_with("sends a"));
    let text = frames.next()?;
    let rest = ["in a frame to ", "if it was told "]
        .iter()
        .find_map(|before| text.split_once(before))?;
    Some(mac(&rest.1[..17]))
}

/// How often each reason was counted, at any port.
fn drops(tables: &MemoryTables) -> Vec<DropReason> {
    let counters = tables.counters.borrow();
    let reasons = DropReason::ALL.iter().copied();
    reasons
        .filter(|&reason| counters.values().any(|it| it.drops[reason as usize] > 0))
        .collect()
}

/// The port behind an interface.
fn port_at(tables: &MemoryTables, interface: IfIndex) -> PortId {
    let mut rows = tables.ports.iter();
    let (&id, _) = rows.find(|(_, row)| row.ifindex == interface).unwrap();
    id
}

/// What the datapath did with the frame that the trace sent.
struct Done {
    action: Action,
    frame: MemoryFrame,
    interface: IfIndex,
    drops: Vec<DropReason>,
    /// Whom a router asked for its next hop, by port.
    copies: BTreeSet<PortId>,
}

/// Sends the same question and the same packet through tables that nobody watches.
fn done(plan: &Plan, from: PortId, trace: &Trace, asked: &Query<'_>, to: IpAddr) -> Option<Done> {
    let tables = planned_tables(plan);
    let mut rows = tables.interfaces.iter();
    let (&interface, row) = rows.find(|(_, row)| row.port == from)?;
    let source = Station {
        mac: row.mac,
        ip: address_said(trace, "sends from ")?,
    };
    if let Some(hop) = address_said(trace, "who has ") {
        let wire = question(source, hop).unwrap();
        port_ingress(&mut MemoryFrame::from_wire(&wire), &tables, interface);
    }
    let destination = Station {
        mac: destination_said(trace)?,
        ip: to,
    };
    for counters in tables.counters.borrow_mut().values_mut() {
        counters.drops.fill(0);
    }
    let port = asked.port.unwrap_or(Query::DEFAULT_PORT);
    let wire = packet(source, destination, asked.protocol, port).unwrap();
    let mut frame = MemoryFrame::from_wire(&wire);
    let action = port_ingress(&mut frame, &tables, interface);
    let copies = frame.copies.iter();
    let copies = copies.map(|&(to, _)| port_at(&tables, to)).collect();
    Some(Done {
        action,
        frame,
        interface,
        drops: drops(&tables),
        copies,
    })
}

/// The verdict, the last steps and the frame as the datapath left it say the same.
fn agree(topology: &Topology, plan: &Plan, trace: &Trace, done: &Done, to: IpAddr) {
    let names = &plan.names;
    let packet = parse(&done.frame).unwrap();
    let left = trace
        .steps
        .iter()
        .filter(|it| it.text.starts_with("leaves by "));
    let left: Vec<_> = left.collect();
    match (&trace.verdict, done.action) {
        (Outcome::Delivered { port, ttl, .. }, Action::Deliver(interface)) => {
            assert_eq!(done.drops, []);
            let tables = planned_tables(plan);
            assert_eq!(*port, names.port(port_at(&tables, interface)));
            let (_, receiver) = topology
                .ports
                .iter()
                .find(|(name, _)| name.to_string() == *port)
                .unwrap();
            assert_eq!(packet.destination, receiver.mac);
            assert_eq!(packet.ttl, TTL - left.len() as u8);
            assert_eq!(ttl.unwrap_or(TTL), packet.ttl);
            if let Some(last) = left.last() {
                let exit = said(trace, "leaves by ").unwrap();
                let (router, name) = exit.split_once('/').unwrap();
                assert_eq!(packet.source, topology.routers[router].ports[name].mac);
                assert!(last.text.ends_with(&format!("with TTL {}", packet.ttl)));
            }
        }
        (Outcome::Answered { router, .. }, Action::Deliver(interface)) => {
            assert_eq!((interface, &done.drops), (done.interface, &vec![]));
            assert_eq!(packet.ip_source, Ip::from(to));
            let own = topology.routers[router].ports.values();
            let mut own = own.flat_map(|port| port.addresses.iter().map(IpNet::addr));
            assert!(own.any(|own| own == to));
        }
        (Outcome::Dropped(refusal), action) => {
            let counted: Vec<_> = done.drops.iter().map(|it| it.name()).collect();
            assert_eq!(counted, [refusal.reason]);
            match (action, &refusal.told) {
                (Action::Drop { reason, .. }, None) => assert_eq!(reason.name(), refusal.reason),
                (Action::Deliver(interface), Some(told)) => {
                    assert_eq!(interface, done.interface);
                    assert_eq!(packet.ip_source.to_string(), told.from);
                    // A reset is no ICMP message.
                    if packet.protocol != 6 {
                        let code = [packet.transport.source, packet.transport.destination];
                        assert_eq!(code.map(Some), [told.icmp_type, told.icmp_code]);
                    }
                }
                other => panic!("{other:?}"),
            }
            let asks = trace
                .steps
                .iter()
                .find(|it| it.text.starts_with("asks who has "));
            let asked: BTreeSet<_> = done.copies.iter().map(|&port| names.port(port)).collect();
            match asks.and_then(|step| step.text.split_once(": ")) {
                Some((_, whom)) if whom.starts_with("nobody") => assert!(asked.is_empty()),
                Some((_, whom)) => {
                    assert_eq!(
                        whom.split(", ").map(str::to_owned).collect::<BTreeSet<_>>(),
                        asked
                    );
                }
                None => assert!(asked.is_empty()),
            }
        }
        (said, did) => panic!("{said:?} and {did:?}"),
    }
}

/// What is at a place of the file: the name of the object that it is in, and the text from there on.
fn place<'a>(text: &'a str, origin: &str) -> (&'a str, &'a str) {
    let mut numbers = origin.strip_prefix("shop.yaml:").unwrap().split(':');
    let mut number = || numbers.next().unwrap().parse::<usize>().unwrap();
    let (line, column) = (number(), number());
    let lines: Vec<&str> = text.lines().take(line).collect();
    let rest = &lines[line - 1][column - 1..];
    let object = lines.iter().rev().find_map(|line| {
        let name = line.strip_prefix("  ")?;
        let name = name.split_once(':').map(|(name, _)| name)?;
        (!name.starts_with(' ')).then_some(name)
    });
    (object.unwrap(), rest)
}

/// A value of the file without its quotes and what is behind it.
fn value(text: &str) -> &str {
    let text = text.trim_start_matches('\'');
    text.split(['\'', ',', ']', ' ']).next().unwrap()
}

/// Whatever a step of a packet from this workload names is at the place that it names.
fn in_the_file(text: &str, from: &str, step: &Step) {
    let (Some(origin), said) = (&step.origin, &step.text) else {
        let is_about_the_file =
            ["route: ", "enters at ", "leaves by "].map(|it| step.text.starts_with(it));
        assert!(
            !is_about_the_file.contains(&true),
            "no place: {}",
            step.text
        );
        return;
    };
    let (object, rest) = place(text, origin);
    if let Some(route) = said.strip_prefix("route: ") {
        assert_eq!(Some(object), step.router.as_deref(), "{said}");
        let to: IpNet = route.split(' ').next().unwrap().parse().unwrap();
        let given = value(rest);
        match given.parse::<IpNet>() {
            // A route, or the subnet of a port.
            Ok(given) => assert_eq!(given.trunc(), to, "{said}: {rest}"),
            Err(_) => assert!(
                to.contains(&given.parse::<IpAddr>().unwrap()),
                "{said}: {rest}"
            ),
        }
        return;
    }
    if said.starts_with("mtu: its packets") {
        assert_eq!(object, from, "{said}");
        return;
    }
    assert!(said.contains(object), "{said}: in {object}");
    // A port of a router begins with its name, one of a workload with its network.
    if rest.starts_with("{ network:") {
        assert!(said.contains(&format!("{object}/eth0")), "{said}: {rest}");
    } else if object.starts_with('r') && !rest.starts_with(object) {
        let port = rest.split(':').next().unwrap();
        assert!(said.contains(&format!("{object}/{port}")), "{said}: {rest}");
    }
}

/// Every route that a step tells of is the longest one of its router for the destination.
fn longest(topology: &Topology, step: &Step, destination: IpAddr) {
    let (Some(router), Some(route)) = (&step.router, step.text.strip_prefix("route: ")) else {
        return;
    };
    let routes = topology.routers[router].routes.iter().map(|route| route.to);
    let covering = routes.filter(|to| to.contains(&destination));
    let expected = covering.max_by_key(IpNet::prefix_len).unwrap();
    assert_eq!(route.split(' ').next(), Some(expected.to_string().as_str()));
}

fn examine(text: &str, topology: &Topology, plan: &Plan, from: &str, asked: &Query<'_>) {
    let trace = trace(topology, &instance(), plan, planned_tables(plan), asked).unwrap();
    let seen = format!("{text}\n{asked:?}\n{trace}");
    let (_, port) = topology
        .ports
        .iter()
        .find(|(name, _)| name.workload == from)
        .unwrap();
    let compared = std::panic::catch_unwind(|| {
        let to = asked.to.parse().unwrap();
        for step in &trace.steps {
            in_the_file(text, from, step);
            longest(topology, step, to);
        }
        match done(plan, port.id, &trace, asked, to) {
            Some(done) => agree(topology, plan, &trace, &done, to),
            None => assert!(matches!(
                trace.verdict,
                Outcome::NotSent(_) | Outcome::Kept { .. }
            )),
        }
    });
    assert!(compared.is_ok(), "{seen}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_verdict_is_the_datapaths_and_its_places_are_right(
        parts in parts(),
        picks in vec((any::<Index>(), any::<Index>(), 0..3_usize, any::<u16>()), 24),
    ) {
        let (rest, absent) = file(&parts);
        let absent: Vec<&str> = absent.iter().map(String::as_str).collect();
        let (topology, plan) = planned(&rest, &absent);
        let text = format!("version: 1\nname: shop\n{rest}");
        let targets = targets(&topology);
        let workloads: Vec<&String> = topology.workloads.keys().collect();
        for (from, to, protocol, port) in picks {
            let (from, to) = (workloads[from.index(workloads.len())], targets[to.index(targets.len())]);
            let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp][protocol];
            let query = Query {
                from,
                to: &to.to_string(),
                protocol,
                port: (protocol != Protocol::Icmp).then_some(port),
            };
            examine(&text, &topology, &plan, from, &query);
        }
    }

    /// Not only what a workload's kernel sends: any frame is followed to where it goes.
    #[test]
    fn any_frame_is_followed_to_where_the_datapath_sends_it(
        parts in parts(),
        picks in vec((any::<Index>(), any::<Index>(), any::<u8>(), vec((any::<Index>(), any::<u8>()), 0..3)), 24),
    ) {
        let (rest, _) = file(&parts);
        let (topology, plan) = planned(&rest, &[]);
        let targets = targets(&topology);
        let ports: Vec<_> = topology.ports.values().collect();
        for (from, to, ttl, changes) in picks {
            let (from, to) = (ports[from.index(ports.len())], targets[to.index(targets.len())]);
            let own = from.addresses.iter().map(IpNet::addr);
            let Some(source) = own.clone().find(|own| own.is_ipv4() == to.is_ipv4()) else { continue };
            let router = topology.routers.values().flat_map(|it| it.ports.values());
            let gateway = router.clone().find(|port| port.network == from.network).unwrap();
            let source = Station { mac: from.mac, ip: source };
            let mut wire = packet(source, Station { mac: gateway.mac, ip: to }, Protocol::Udp, 7).unwrap();
            // Only IPv4 would notice the other time to live by its checksum.
            wire[if to.is_ipv4() { 22 } else { 21 }] = ttl;
            for (at, octet) in changes {
                let at = at.index(wire.len());
                wire[at] = octet;
            }
            let watched = planned_tables(&plan);
            let mut rows = watched.interfaces.iter();
            let (&interface, _) = rows.find(|(_, row)| row.port == from.id).unwrap();
            let passage = Passage::new(&watched, interface, &wire);
            let tables = planned_tables(&plan);
            let mut frame = MemoryFrame::from_wire(&wire);
            let action = port_ingress(&mut frame, &tables, interface);
            prop_assert_eq!((passage.action, &passage.frame), (action, &frame));
            prop_assert_eq!(passage.frame.to_wire(), frame.to_wire());
            prop_assert_eq!(passage.refused().into_iter().collect::<Vec<_>>(), drops(&tables));
            let mut reached: Vec<PortId> =
                frame.copies.iter().map(|&(to, _)| port_at(&tables, to)).collect();
            if let Action::Deliver(to) = action {
                reached.push(port_at(&tables, to));
            }
            prop_assert_eq!(passage.reached(), reached);
            prop_assert!(frame.len() > 0);
        }
    }
}
