//! The way to the outside as a user notices it: a host with an uplink, and a world behind it.

mod complete;
mod gateways;
mod nftables;
mod publishing;
mod several;
mod translating;

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use integration::lab::{Bowline, Namespace, eventually_some, patience, veth};

use super::Site;

/// Where the world is: behind a router of its own, so that the host needs a route to there.
const WORLD: [&str; 2] = ["198.51.100.1", "2001:db8:1::1"];
/// The host's own addresses.
const HOST: [&str; 2] = ["192.0.2.2", "2001:db8::2"];

/// Two workloads behind a router that masquerades, and one of them behind a floating address.
const EDGE: &str = r#"
version: 1
name: edge
networks:
  front: [10.1.0.0/24, "fd00:1::/64"]
  back: [10.2.0.0/24, "fd00:2::/64"]
routers:
  core:
    ports: { front: [10.1.0.1, "fd00:1::1"], back: [10.2.0.1, "fd00:2::1"] }
    uplink: true
    nat:
      - { floating: 192.0.2.50, to: 10.2.0.20 }
      - { masquerade: [10.1.0.0/24, 10.2.0.0/24, "fd00:1::/64", "fd00:2::/64"] }
workloads:
  web:
    netns: @web
    ports: [{ network: front, addresses: [10.1.0.10, "fd00:1::10"], publish: ["8080:80", "5300-5310:53-63/udp"] }]
  db: { netns: @db, ports: [{ network: back, addresses: [10.2.0.20, "fd00:2::20"] }] }
"#;

/// A site whose host has an uplink to the world.
struct Edge {
    site: Site,
    world: Namespace,
}

impl Edge {
    fn new() -> Option<Self> {
        let site = Site::new(["web", "db"])?;
        let world = Namespace::new("world");
        veth((&site.host, "eth0"), (&world, "eth0"));
        Some(Self { site, world }.with_addresses())
    }

    /// As above, but for the link: it is a device of VXLAN at both ends, and what carries that computes all
    /// checksums by itself.
    fn through_vxlan() -> Option<Self> {
        let site = Site::new(["web", "db"])?;
        let world = Namespace::new("world");
        veth((&site.host, "wire"), (&world, "wire"));
        for (space, own, other) in [
            (&site.host, "203.0.113.2", "203.0.113.1"),
            (&world, "203.0.113.1", "203.0.113.2"),
        ] {
            let mut ethtool = space.command("ethtool");
            let status = ethtool.args(["-K", "wire", "tx", "off"]).output();
            assert!(status.expect("start ethtool").status.success());
            space.ip(&["address", "add", &format!("{own}/24"), "dev", "wire"]);
            // Not the port of bowline's own tunnels.
            space.ip(&[
                "link", "add", "eth0", "type", "vxlan", "id", "9", "dstport", "4790", "local", own,
                "remote", other, "udpcsum",
            ]);
            space.ip(&["link", "set", "eth0", "up"]);
        }
        Some(Self { site, world }.with_addresses())
    }

    fn with_addresses(self) -> Self {
        let Self { site, world } = &self;
        let addresses = [
            (&site.host, "192.0.2.2/24", "2001:db8::2/64"),
            (world, "192.0.2.1/24", "2001:db8::1/64"),
        ];
        for (space, v4, v6) in addresses {
            space.ip(&["address", "add", v4, "dev", "eth0"]);
            space.ip(&["address", "add", v6, "dev", "eth0", "nodad"]);
        }
        let [v4, v6] = WORLD;
        world.ip(&["address", "add", v4, "dev", "lo"]);
        world.ip(&["address", "add", v6, "dev", "lo"]);
        site.host
            .ip(&["route", "add", "default", "via", "192.0.2.1"]);
        site.host
            .ip(&["route", "add", "default", "via", "2001:db8::1"]);
        self
    }

    fn load(&self) -> Bowline<'_> {
        let bowline = self.site.bowline();
        bowline.load(&self.site.topology(EDGE));
        for world in WORLD {
            self.site.assert_reaches("web", world);
            self.site.assert_reaches("db", world);
        }
        bowline
    }

    fn workload(&self, name: &str) -> &Namespace {
        self.site.workload(name)
    }
}

/// Who calls whom, and where that is answered.
type Call = fn(&Namespace, SocketAddr, (&Namespace, SocketAddr)) -> SocketAddr;

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address"), port)
}

/// Who calls, as the one who is called sees it: over TCP, with enough data in both directions that
/// segmentation offload has something to do.
#[track_caller]
fn tcp(from: &Namespace, to: SocketAddr, listener: (&Namespace, SocketAddr)) -> SocketAddr {
    const LEN: usize = 1 << 20;
    let (space, own) = listener;
    // A program that another test is just starting may still hold the one that was here before.
    let listener = eventually_some("there is a listener", || {
        space.run(|| TcpListener::bind(own)).ok()
    });
    let answering = thread::spawn(move || {
        let (mut stream, peer) = listener.accept().expect("a call");
        stream
            .set_read_timeout(Some(patience()))
            .expect("a timeout");
        let mut data = Vec::new();
        stream.read_to_end(&mut data).expect("what is asked");
        assert_eq!(data, vec![b'q'; LEN]);
        stream.write_all(&vec![b'a'; LEN]).expect("an answer");
        peer
    });
    let mut stream = from
        .run(|| TcpStream::connect_timeout(&to, patience()))
        .unwrap_or_else(|error| panic!("connect to {to}: {error}"));
    stream
        .set_read_timeout(Some(patience()))
        .expect("a timeout");
    stream.write_all(&vec![b'q'; LEN]).expect("to ask");
    stream.shutdown(Shutdown::Write).expect("an end");
    let mut data = Vec::new();
    stream.read_to_end(&mut data).expect("what is answered");
    assert_eq!(data, vec![b'a'; LEN]);
    answering.join().expect("an answer")
}

/// As above, over UDP, with so many bytes each.
#[track_caller]
fn udp_of(
    len: usize,
    from: &Namespace,
    to: SocketAddr,
    listener: (&Namespace, SocketAddr),
) -> SocketAddr {
    datagrams(from, to, listener, len)
}

/// As above, with a few bytes.
#[track_caller]
fn udp(from: &Namespace, to: SocketAddr, listener: (&Namespace, SocketAddr)) -> SocketAddr {
    datagrams(from, to, listener, 8)
}

/// As above, in packets that have to be cut into fragments.
#[track_caller]
fn fragments(from: &Namespace, to: SocketAddr, listener: (&Namespace, SocketAddr)) -> SocketAddr {
    datagrams(from, to, listener, 5000)
}

#[track_caller]
fn datagrams(
    from: &Namespace,
    to: SocketAddr,
    (space, own): (&Namespace, SocketAddr),
    len: usize,
) -> SocketAddr {
    let (question, answer) = (vec![b'q'; len], vec![b'a'; len]);
    // As above.
    let listener = eventually_some("there is a listener", || {
        space.run(|| UdpSocket::bind(own)).ok()
    });
    listener
        .set_read_timeout(Some(patience()))
        .expect("a timeout");
    let any: IpAddr = if to.is_ipv4() { "0.0.0.0" } else { "::" }
        .parse()
        .expect("an address");
    let caller = from.run(|| UdpSocket::bind((any, 0))).expect("a socket");
    caller
        .set_read_timeout(Some(Duration::from_secs(1)))
        .expect("a timeout");
    caller.connect(to).expect("a destination");
    caller.send(&question).expect("to ask");
    let mut data = [0; 8192];
    let (len, peer) = listener.recv_from(&mut data).expect("what is asked");
    assert_eq!(data.get(..len), Some(question.as_slice()));
    listener.send_to(&answer, peer).expect("to answer");
    let len = caller.recv(&mut data).expect("what is answered");
    assert_eq!(data.get(..len), Some(answer.as_slice()));
    peer
}
