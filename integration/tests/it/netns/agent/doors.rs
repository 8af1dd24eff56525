//! How a host itself reaches what is published on it.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use integration::lab::{Family, Namespace, Underlay, eventually, ping, veth};
use rustix::process::Signal;

use super::{Agent, QUICK, fleet};

const PUBLISHED: &str = "
version: 1
name: doors
@hosts
networks: { front: 10.1.0.0/24 }
routers: { core: { ports: { front: 10.1.0.1 }, uplink: true } }
workloads:
  web:
    host: alpha
    netns: @web
    ports: [{ network: front, addresses: 10.1.0.10, publish: ['8080:80', '5353:53/udp', '9090:80'] }]
";
const WEB: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 10));

/// Tells everybody who connects from where.
fn serve(space: &Namespace) {
    let listener = space.run(|| TcpListener::bind((WEB, 80))).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let from = stream.peer_addr().unwrap().ip().to_string();
            stream.write_all(from.as_bytes()).unwrap();
        }
    });
    let socket = space.run(|| UdpSocket::bind((WEB, 53))).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2000];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).unwrap();
            socket.send_to(&buffer[..len], from).unwrap();
        }
    });
}

/// From where a service believes that it is spoken with, if it answers.
fn seen_from(from: &Namespace, to: (&str, u16)) -> Option<String> {
    let to = SocketAddr::new(to.0.parse().unwrap(), to.1);
    from.run(|| {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    })
}

/// How much of a datagram comes back.
fn echoed(from: &Namespace, to: &str, len: usize) -> Option<usize> {
    from.run(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        socket.connect((to, 5353)).ok()?;
        socket.send(&vec![7; len]).ok()?;
        socket.recv(&mut [0; 2000]).ok()
    })
}

#[test]
fn a_host_reaches_what_is_published_on_it() {
    let Some(underlay) = Underlay::new(Family::V4, 1500, &["alpha", "beta"], &["web"]) else {
        return;
    };
    let fleet = fleet(&underlay);
    fleet.load(&underlay.topology(PUBLISHED));
    let (alpha, beta) = (underlay.host("alpha"), underlay.host("beta"));
    serve(underlay.workload("web"));
    // A program of the host's keeps its port.
    let own = alpha
        .run(|| TcpListener::bind(("127.0.0.1", 9090)))
        .unwrap();
    let agent = Agent::start(
        fleet.on("alpha"),
        &[&QUICK[..], &["--docker", "off"]].concat(),
    );
    for address in ["127.0.0.1", "192.0.2.11"] {
        eventually("the host gets in", || {
            seen_from(alpha, (address, 8080)).as_deref() == Some("10.1.0.10")
        });
        assert_eq!(echoed(alpha, address, 1400), Some(1400));
    }
    assert!(
        agent.log().contains("does not reach web by 127.0.0.1:9090"),
        "{}",
        agent.log()
    );
    // When that is gone, so is the reason.
    drop(own);
    eventually("the host gets in there, too", || {
        seen_from(alpha, ("127.0.0.1", 9090)).as_deref() == Some("10.1.0.10")
    });
    // Others' packets are taken by the datapath: the workload sees whose they are.
    assert_eq!(
        seen_from(beta, ("192.0.2.11", 8080)).as_deref(),
        Some("192.0.2.12")
    );
    assert_eq!(echoed(beta, "192.0.2.11", 100), Some(100));
    // Who comes in elsewhere would get past the workload's policy.
    let guest = Namespace::new("guest");
    veth((alpha, "side0"), (&guest, "eth0"));
    alpha.ip(&["address", "add", "198.51.100.1/24", "dev", "side0"]);
    guest.ip(&["address", "add", "198.51.100.2/24", "dev", "eth0"]);
    guest.ip(&["route", "add", "default", "via", "198.51.100.1"]);
    assert!(ping(&guest, "192.0.2.11".parse().unwrap()));
    assert_eq!(seen_from(&guest, ("192.0.2.11", 8080)), None);
    assert_eq!(echoed(&guest, "192.0.2.11", 100), None);
    assert_eq!(echoed(alpha, "192.0.2.11", 100), Some(100));
    // What is published no more is no way in any more.
    let closed = PUBLISHED.replace("'8080:80', ", "");
    fleet.load(&underlay.topology(&closed));
    eventually("the door is closed", || {
        seen_from(alpha, ("127.0.0.1", 8080)).is_none()
    });
    assert!(agent.stop(Signal::TERM).success());
    assert_eq!(echoed(alpha, "127.0.0.1", 10), None);
    assert_eq!(echoed(beta, "192.0.2.11", 10), Some(10));
}
