//! What workloads find inside their own namespaces.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use integration::lab::{Family, Namespace, Underlay, eventually};
use rustix::process::Signal;

use super::{Agent, QUICK, fleet};

const NAMES: &str = "
version: 1
name: names
@hosts
networks: { front: 10.1.0.0/24, many: 10.3.0.0/24, silent: { subnets: 10.4.0.0/24, names: false }, back: { subnets: 10.2.0.0/24, conditions: false } }
workloads:
@many  web: { host: alpha, netns: @web, names: www, ports: [{ network: front, addresses: 10.1.0.10 }] }
  db: { host: beta, netns: @db, ports: [{ network: front, addresses: 10.1.0.20 }] }
  far: { host: alpha, netns: @far, ports: [{ network: back, addresses: 10.2.0.30 }, { network: many, addresses: 10.3.0.3 }] }
  dns: { host: alpha, netns: @dns, ports: [{ network: silent, addresses: 10.4.0.53 }] }
";

const RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 0, 53));

/// A question for the IPv4 addresses of a name.
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// What the resolver answers by UDP: its code and the last four bytes, which are an address if there is one.
fn lookup(from: &Namespace, name: &str) -> Option<(u8, [u8; 4])> {
    from.run(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .ok()?;
        socket.connect((RESOLVER, 53)).ok()?;
        socket.send(&question(name)).ok()?;
        let mut answer = [0; 512];
        let len = socket.recv(&mut answer).ok()?;
        assert_eq!(answer[..2], [0x12, 0x34]);
        Some((answer[3] & 0xf, answer[len - 4..len].try_into().unwrap()))
    })
}

fn conditions(from: &Namespace) -> String {
    from.run(|| {
        let mut stream = TcpStream::connect(SocketAddr::new(RESOLVER, 947)).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
}

#[test]
fn a_workload_asks_inside_for_names_and_conditions() {
    let names = ["web", "db", "far", "dns"];
    let Some(underlay) = Underlay::new(Family::V4, 1500, &["alpha", "beta", "gamma"], &names)
    else {
        return;
    };
    let fleet = fleet(&underlay);
    // So many have one name that their addresses do not fit into a datagram.
    let many = |i| {
        format!(
            "  w{i}: {{ host: gamma, netns: w{i}, names: all, ports: [{{ network: many, addresses: 10.3.0.{i} }}] }}\n"
        )
    };
    let many: String = (10..90).map(many).collect();
    let file = underlay.topology(&NAMES.replace("@many", &many));
    for host in ["alpha", "beta"] {
        fleet.on(host).load(&file);
    }
    let arguments = [&QUICK[..], &["--docker", "off"]].concat();
    let alpha = Agent::start(fleet.on("alpha"), &arguments);
    let _beta = Agent::start(fleet.on("beta"), &arguments);
    let [web, db, far, dns] = names.map(|name| underlay.workload(name));
    for (from, name, address) in [
        (web, "db", [10, 1, 0, 20]),
        (web, "DB.front", [10, 1, 0, 20]),
        (db, "www", [10, 1, 0, 10]),
        (far, "far.back", [10, 2, 0, 30]),
    ] {
        eventually("the resolver answers", || {
            lookup(from, name) == Some((0, address))
        });
    }
    // Others' networks are none of its business; whether anybody else knows such a name, who knows.
    assert_ne!(lookup(far, "db.front"), Some((0, [10, 1, 0, 20])));
    // What is cut short is whole by TCP, as often as one likes over one connection.
    let (code, _) = lookup(far, "all").unwrap();
    assert_eq!(code, 0);
    let lens = far.run(|| {
        let mut stream = TcpStream::connect((RESOLVER, 53)).unwrap();
        let message = question("all");
        let framed = [&[0, u8::try_from(message.len()).unwrap()], &message[..]].concat();
        let mut lens = Vec::new();
        for _ in 0..2 {
            stream.write_all(&framed).unwrap();
            let mut len = [0; 2];
            stream.read_exact(&mut len).unwrap();
            let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer[6..8], [0, 80]);
            lens.push(answer.len());
        }
        lens
    });
    assert_eq!(lens[0], lens[1]);
    // Programs of workloads have their ports nevertheless.
    for (space, port) in [(web, 80), (web, 53), (dns, 53)] {
        let listener = space.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)));
        assert!(listener.is_ok(), "{port}: {listener:?}");
    }
    let socket = dns.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)));
    assert!(socket.is_ok(), "{socket:?}");
    eventually("beta is up", || {
        conditions(web).contains("\"state\": \"up\"")
    });
    let told = conditions(web);
    assert!(
        told.contains("web/eth0") && told.contains("\"beta\""),
        "{told}"
    );
    // What a network keeps to itself, and what others have, is not told.
    let told = conditions(far);
    assert!(told.contains("far/eth1"), "{told}");
    assert!(
        !told.contains("far/eth0") && !told.contains("web"),
        "{told}"
    );
    // A workload that is gone is gone, although there were sockets in it.
    let links = || underlay.host("alpha").ip(&["-o", "link"]).lines().count();
    let before = links();
    far.destroy();
    eventually("its link is gone", || links() < before);
    far.create();
    assert!(alpha.stop(Signal::TERM).success());
    let left = web.ip(&["address", "show", "dev", "lo"]);
    assert!(!left.contains("169.254"), "{left}");
}
