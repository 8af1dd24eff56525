//! The same packets through a virtual router and through the kernel's own, compared byte by byte as
//! their sender and their receiver get what comes of them.

use integration::case::compile;
use integration::cast::Cast;
use integration::checksum;
use integration::frame::Description;
use integration::lab::{Namespace, PacketSocket, eventually, is_usable, veth};
use integration::number::Numbers;

use super::Site;

/// What the kernel's router is given by hand below.
const TOPOLOGY: &str = r#"
version: 1
name: reference
networks:
  front: [10.1.0.0/24, "fd00:1::/64"]
  back: { subnets: [10.2.0.0/24, "fd00:2::/64"], mtu: 1300 }
routers:
  core:
    ports:
      front: { addresses: [10.1.0.1, "fd00:1::1"], mac: 02:00:00:00:01:01 }
      back: { addresses: [10.2.0.1, "fd00:2::1"], mac: 02:00:00:00:02:01 }
    routes:
      - { to: 10.66.0.0/16, via: blackhole }
      - { to: "fd00:66::/32", via: blackhole }
      - { to: 10.77.0.0/16, via: reject }
      - { to: "fd00:77::/32", via: reject }
workloads:
  web:
    netns: @web
    ports: [{ network: front, addresses: [10.1.0.10, "fd00:1::10"], mac: 02:00:00:00:01:10 }]
  db:
    netns: @db
    ports: [{ network: back, addresses: [10.2.0.20, "fd00:2::20"], mac: 02:00:00:00:02:20 }]
"#;

/// What becomes of a packet in both of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Forwarded,
    Answered,
    Silent,
}
use Fate::{Answered, Forwarded, Silent};

/// Frames of `web`.
///
/// Three things are left out, because the two differ there: IPv4 packets that may be fragmented and are
/// too big, which the kernel cuts and a virtual router, like one of IPv6, tells about; fragments for the
/// router itself, which the kernel puts together; and the limits of errors, which are switched off for
/// the kernel's.
const PROBES: &[(&str, Fate)] = &[
    // Forwarded: TTL, checksum, MAC addresses.
    (
        "ipv4: { to: db }, udp: [40000, 53], data: 68656c6c6f",
        Forwarded,
    ),
    (
        "ipv4: { to: db, ttl: 2, options: 8 }, udp: [40000, 53]",
        Forwarded,
    ),
    ("ipv4: { to: db, ttl: 255 }, tcp: [40000, 80]", Forwarded),
    ("ipv4: { to: db }, icmp: [8, 0], data: 0011", Forwarded),
    (
        "ipv4: { to: db, fragment: { offset: 16 }, protocol: 17 }, data: 0011",
        Forwarded,
    ),
    (
        "ipv4: { to: db, dont_fragment: true, length: 1300 }, udp: [1, 2], len: 1314",
        Forwarded,
    ),
    (
        "ipv6: { to: db }, udp: [40000, 53], data: 68656c6c6f",
        Forwarded,
    ),
    (
        "ipv6: { to: db, hop_limit: 2, extensions: [destination_options] }, udp: [1, 2]",
        Forwarded,
    ),
    ("ipv6: { to: db }, icmp: [128, 0], data: 0011", Forwarded),
    (
        "ipv6: { to: db, length: 1260 }, udp: [1, 2], len: 1314",
        Forwarded,
    ),
    // Used up.
    (
        "ipv4: { to: db, ttl: 1 }, udp: [40000, 53], data: 0011",
        Answered,
    ),
    (
        "ipv4: { to: db, ttl: 1, options: 40 }, udp: [40000, 53]",
        Answered,
    ),
    (
        "ipv4: { to: db, ttl: 1, length: 1000 }, udp: [1, 2], len: 1014",
        Answered,
    ),
    (
        "ipv4: { to: db, ttl: 1, length: 28 }, udp: [1, 2], len: 60",
        Answered,
    ),
    (
        "ipv6: { to: db, hop_limit: 1 }, udp: [40000, 53], data: 0011",
        Answered,
    ),
    (
        "ipv6: { to: db, hop_limit: 1, extensions: [hop_by_hop] }, udp: [40000, 53]",
        Answered,
    ),
    (
        "ipv6: { to: db, hop_limit: 1, length: 1460 }, udp: [1, 2], len: 1514",
        Answered,
    ),
    // No route, and routes that forbid.
    ("ipv4: { to: 10.99.0.1 }, udp: [40000, 53]", Answered),
    ("ipv6: { to: \"fd00:99::1\" }, udp: [40000, 53]", Answered),
    ("ipv4: { to: 10.77.0.1 }, tcp: [40000, 80]", Answered),
    ("ipv6: { to: \"fd00:77::1\" }, tcp: [40000, 80]", Answered),
    ("ipv4: { to: 10.66.0.1 }, udp: [40000, 53]", Silent),
    ("ipv6: { to: \"fd00:66::1\" }, udp: [40000, 53]", Silent),
    // Too big.
    (
        "ipv4: { to: db, dont_fragment: true, length: 1301 }, udp: [1, 2], len: 1315",
        Answered,
    ),
    (
        "ipv6: { to: db, length: 1261 }, udp: [1, 2], len: 1315",
        Answered,
    ),
    // To the router.
    (
        "ipv4: { to: core/front }, icmp: [8, 0], data: 001122",
        Answered,
    ),
    ("ipv4: { to: core/back, ttl: 1 }, icmp: [8, 0]", Answered),
    (
        "ipv6: { to: core/front }, icmp: [128, 0], data: 001122",
        Answered,
    ),
    (
        "ipv6: { to: core/back, hop_limit: 1 }, icmp: [128, 0]",
        Answered,
    ),
    ("ipv4: { to: core/front }, udp: [40000, 53]", Answered),
    ("ipv4: { to: core/back }, udp: [40000, 53]", Answered),
    ("ipv6: { to: core/front }, udp: [40000, 53]", Answered),
    ("ipv6: { to: core/back }, udp: [40000, 53]", Answered),
    // Connections to the router are refused: a SYN, with data, a FIN, and what acknowledges something.
    ("ipv4: { to: core/front }, tcp: [40000, 179]", Answered),
    ("ipv6: { to: core/back }, tcp: [40000, 179]", Answered),
    (
        "ipv4: { to: core/back }, tcp: [40000, 179], segment: { flags: SF, sequence: 4294967295 }, data: 0011",
        Answered,
    ),
    (
        "ipv6: { to: core/front }, tcp: [40000, 179], segment: { flags: P, offset: 6 }, data: 0101010122",
        Answered,
    ),
    (
        "ipv4: { to: core/front }, tcp: [40000, 179], segment: { flags: P., acknowledgment: 3000000000 }, data: 00",
        Answered,
    ),
    (
        "ipv6: { to: core/front }, tcp: [40000, 179], segment: { flags: S., acknowledgment: 7 }",
        Answered,
    ),
    (
        "ipv4: { to: core/front }, tcp: [40000, 179], segment: { flags: R }",
        Silent,
    ),
    (
        "ipv6: { to: core/front }, tcp: [40000, 179], segment: { flags: R., acknowledgment: 7 }",
        Silent,
    ),
    // Protocols that nobody knows.
    (
        "ipv4: { to: core/front, protocol: 253 }, data: 0011223344556677",
        Answered,
    ),
    (
        "ipv6: { to: core/front, next_header: 253 }, data: 0011223344556677",
        Answered,
    ),
    (
        "ipv6: { to: core/front, next_header: 253, extensions: [destination_options] }, data: 0011223344556677",
        Answered,
    ),
    ("ipv6: { to: core/front }", Silent),
    // Messages to the router that it does not understand.
    ("ipv4: { to: core/front }, icmp: [0, 0], data: 00", Silent),
    ("ipv4: { to: core/front }, icmp: [42, 0], data: 00", Silent),
    ("ipv6: { to: core/front }, icmp: [200, 0], data: 00", Silent),
    // To all stations of a subnet, from outside.
    ("ipv4: { to: 10.2.0.255 }, udp: [40000, 53]", Silent),
    (
        "to: core/front, ipv4: { to: 10.1.0.255 }, udp: [40000, 53]",
        Silent,
    ),
    // About what nobody complains.
    ("ipv4: { to: 10.99.0.1 }, icmp: [3, 3], data: 00", Silent),
    (
        "ipv4: { to: db, ttl: 1, fragment: { offset: 8 }, protocol: 17 }, data: 00",
        Silent,
    ),
    (
        "ipv6: { to: \"fd00:99::1\" }, icmp: [1, 0], data: 00",
        Silent,
    ),
    (
        "to: core/front, ipv4: { from: 127.0.0.1, to: db }, udp: [1, 2]",
        Silent,
    ),
    (
        "to: core/front, ipv4: { to: 127.0.0.1 }, udp: [1, 2]",
        Silent,
    ),
    ("to: core/front, ipv6: { to: \"::1\" }, udp: [1, 2]", Silent),
];

/// A sender and a receiver that say nothing by themselves, and whatever is between them.
struct Ends {
    sender: PacketSocket,
    receiver: PacketSocket,
}

impl Ends {
    /// Takes the addresses away once everything is set up: the kernels of the ends answer nothing.
    fn new(web: &Namespace, db: &Namespace) -> Self {
        for space in [web, db] {
            space.ip(&["address", "flush", "dev", "eth0"]);
        }
        Self {
            sender: PacketSocket::new(web, "eth0"),
            receiver: PacketSocket::new(db, "eth0"),
        }
    }

    /// Sends a frame; returns what comes to its sender and to its receiver.
    fn send(&self, frame: &[u8], fate: Fate, what: &str) -> [Vec<Vec<u8>>; 2] {
        self.sender.send(frame);
        let mut got = [Vec::new(), Vec::new()];
        // Frames after which nothing comes are followed by one that is answered at once, and whatever
        // comes of the first one comes before that.
        if fate == Silent {
            self.sender.send(&echo_request());
        }
        let is_last = |frame: &Vec<u8>| fate != Silent || frame.ends_with(MARK);
        eventually(what, || {
            for (socket, got) in [&self.sender, &self.receiver].into_iter().zip(&mut got) {
                got.extend(socket.drain().into_iter().filter(|frame| is_packet(frame)));
            }
            got.iter().flatten().any(is_last)
        });
        for got in &mut got {
            got.retain(|frame| !frame.ends_with(MARK));
            got.iter_mut().for_each(|frame| forgive(frame));
        }
        got
    }
}

const MARK: &[u8] = b"the last one";

/// A ping of the router, of which the answer shows that everything before is over.
fn echo_request() -> Vec<u8> {
    let mark: String = MARK.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes(&format!(
        "ipv4: {{ to: core/front }}, icmp: [8, 0], data: \"{mark}\""
    ))
}

/// An IP packet that is no neighbor discovery and none of the kernel's own to groups.
fn is_packet(frame: &[u8]) -> bool {
    let is_discovery = frame.get(20) == Some(&58) && matches!(frame.get(54), Some(133..=137));
    match frame.get(12..14) {
        Some([0x08, 0x00]) => frame[0] & 1 == 0,
        Some([0x86, 0xdd]) => frame[0] & 1 == 0 && !is_discovery,
        _ => false,
    }
}

/// Makes equal what may differ between two routers, in packets that they make themselves.
fn forgive(frame: &mut [u8]) {
    let is_own = frame[26..30] == [10, 1, 0, 1] || frame[26..30] == [10, 2, 0, 1];
    if frame[12..14] == [0x08, 0x00] && is_own {
        assert_eq!(checksum::of(&frame[14..34]), 0, "the header's checksum");
        // Identification and "don't fragment": the kernel counts its packets and lets them be
        // fragmented; ours are atomic, as RFC 6864 section 4.1 has it, and a reply to a ping keeps
        // the request's.
        frame[18..22].fill(0);
        // The header's checksum follows from these.
        frame[24..26].fill(0);
    }
    if frame[12..14] == [0x86, 0xdd] {
        // The kernel may label the flow of its own packets (RFC 6437); ours have no label.
        frame[15] &= 0xf0;
        frame[16..18].fill(0);
        if frame[20] == 6 && frame[54..56] == 179_u16.to_be_bytes() {
            // The kernel leaves the checksum of its resets to the last interface, and on the way to a
            // neighbor on the same machine there is none. Ours are in the case files.
            frame[70..72].fill(0);
        }
    }
}

fn bytes(probe: &str) -> Vec<u8> {
    let topology = compile("reference", &TOPOLOGY.replace('@', "")).unwrap();
    let web = topology.ports.keys().find(|name| name.workload == "web");
    let cast = Cast::of(&topology, web.unwrap());
    let frame: Description = serde_saphyr::from_str(&format!("{{ {probe} }}")).unwrap();
    frame.bytes(&cast, &Numbers::default()).unwrap()
}

/// A namespace that routes between two others as the topology has it.
fn kernel_router(router: &Namespace, web: &Namespace, db: &Namespace) {
    let settings = [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        ("net/ipv4/icmp_ratemask", "0"),
        ("net/ipv4/icmp_msgs_per_sec", "10000"),
        ("net/ipv6/icmp/ratelimit", "0"),
    ];
    for (setting, value) in settings {
        // Not every kernel has the limit of all messages in each namespace.
        if std::path::Path::new("/proc/sys").join(setting).exists() {
            router.sysctl(setting, value);
        }
    }
    for (number, mtu, end, space, station) in [
        ("1", "1500", "front", web, "10"),
        ("2", "1300", "back", db, "20"),
    ] {
        veth((router, end), (space, "eth0"));
        let mac = format!("02:00:00:00:0{number}:{station}");
        space.ip(&["link", "set", "eth0", "address", &mac]);
        let own = format!("02:00:00:00:0{number}:01");
        router.ip(&["link", "set", end, "address", &own, "mtu", mtu]);
        for (address, station) in [
            (
                format!("10.{number}.0.1/24"),
                format!("10.{number}.0.{station}"),
            ),
            (
                format!("fd00:{number}::1/64"),
                format!("fd00:{number}::{station}"),
            ),
        ] {
            let nodad = address.contains(':').then_some("nodad");
            let words = ["address", "add", &address, "dev", end];
            let words: Vec<_> = words.into_iter().chain(nodad).collect();
            router.ip(&words);
            router.ip(&["neighbor", "add", &station, "lladdr", &mac, "dev", end]);
        }
    }
    for (kind, number) in [("blackhole", "66"), ("prohibit", "77")] {
        router.ip(&["route", "add", kind, &format!("10.{number}.0.0/16")]);
        router.ip(&["-6", "route", "add", kind, &format!("fd00:{number}::/32")]);
    }
}

#[test]
fn a_virtual_router_does_what_the_kernels_does() {
    if !is_usable() {
        return;
    }
    let site = Site::new(["web", "db"]).unwrap();
    let bowline = site.bowline();
    bowline.load(&site.topology(TOPOLOGY));
    let ours = Ends::new(site.workload("web"), site.workload("db"));
    let [router, web, db] = ["router", "web", "db"].map(Namespace::new);
    kernel_router(&router, &web, &db);
    let theirs = Ends::new(&web, &db);
    for (probe, fate) in PROBES {
        let frame = bytes(probe);
        let [our_answer, our_packet] = ours.send(&frame, *fate, &format!("{probe}: ours"));
        let [their_answer, their_packet] = theirs.send(&frame, *fate, &format!("{probe}: theirs"));
        assert_same(
            &our_answer,
            &their_answer,
            &format!("{probe}: to the sender"),
        );
        assert_same(
            &our_packet,
            &their_packet,
            &format!("{probe}: to the receiver"),
        );
        let counts = [our_answer.len(), our_packet.len()];
        let expected = match fate {
            Forwarded => [0, 1],
            Answered => [1, 0],
            Silent => [0, 0],
        };
        assert_eq!(counts, expected, "{probe}");
    }
}

fn assert_same(ours: &[Vec<u8>], theirs: &[Vec<u8>], what: &str) {
    assert!(
        ours == theirs,
        "{what}\n  ours: {ours:02x?}\ntheirs: {theirs:02x?}"
    );
}
