//! Connections under policies: answers pass, and a change of the rules is felt at once.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use integration::lab::{Family, Talk, eventually, patience, ping};

use super::{house, load};
use crate::netns::hosts::fleet;

/// Nobody reaches the web servers, and only they reach the databases.
const CLOSED: &str = "\
policies:
  web: { default: { ingress: deny } }
  db: { ingress: [ { from: web, allow: [tcp/7000, udp/7000, icmp, icmpv6] } ] }
";

#[test]
fn answers_and_errors_pass_where_nobody_may_enter() {
    let Some(underlay) = house(Family::V4) else {
        return;
    };
    let fleet = fleet(&underlay);
    load(&underlay, &fleet, CLOSED);
    let web = underlay.workload("web1");
    for to in ["10.2.0.12", "10.2.0.15", "fd00:2::12", "fd00:2::15"] {
        let ip = to.parse().unwrap();
        eventually(&format!("web1 reaches {to}"), || ping(web, ip));
        // Nobody listens there: the error is about what was let through.
        let address = SocketAddr::new(ip, 7000);
        // What is cut into fragments is judged by its first one.
        for len in [8, 5000] {
            let refused = web.run(|| {
                let any: SocketAddr = if ip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }
                    .parse()
                    .unwrap();
                let socket = UdpSocket::bind(any).unwrap();
                socket.connect(address).unwrap();
                socket.set_read_timeout(Some(patience())).unwrap();
                socket.send(&vec![b'?'; len]).unwrap();
                socket.recv(&mut [0; 8]).unwrap_err().kind()
            });
            assert_eq!(refused, ErrorKind::ConnectionRefused, "{len} bytes to {to}");
        }
        let refused = web.run(|| {
            TcpStream::connect_timeout(&address, patience())
                .unwrap_err()
                .kind()
        });
        assert_eq!(refused, ErrorKind::ConnectionRefused, "{to}");
    }
    // The other way round nobody gets through.
    for to in ["10.1.0.11", "fd00:1::11"] {
        for from in ["db1", "db2", "free1", "web2"] {
            assert!(
                !ping(underlay.workload(from), to.parse().unwrap()),
                "{from} {to}"
            );
        }
    }
}

#[test]
fn a_change_of_the_rules_is_felt_by_connections() {
    let Some(underlay) = house(Family::V4) else {
        return;
    };
    let fleet = fleet(&underlay);
    load(&underlay, &fleet, CLOSED);
    // One on the same host, one across.
    let mut talks = ["10.2.0.12:7000", "10.2.0.15:7000"].map(|address| {
        let address: SocketAddr = address.parse().unwrap();
        let name = if address.ip().to_string() == "10.2.0.12" {
            "db1"
        } else {
            "db2"
        };
        let listen = || TcpListener::bind(address).unwrap();
        let listener = underlay.workload(name).run(listen);
        Talk::start(underlay.workload("web1"), address, &[listener])
    });
    talks.iter_mut().for_each(|talk| talk.go_on(5));
    // Another rule before it changes nothing for them, but that they are judged again.
    let more = CLOSED.replace("[ { from", "[ { from: 10.9.0.0/16, deny: any }, { from");
    load(&underlay, &fleet, &more);
    talks.iter_mut().for_each(|talk| talk.go_on(5));
    load(&underlay, &fleet, &CLOSED.replace("tcp/7000, ", ""));
    let stand = || {
        let before = talks.each_ref().map(Talk::rounds);
        std::thread::sleep(Duration::from_millis(500));
        before == talks.each_ref().map(Talk::rounds)
    };
    eventually("both stand still", stand);
    load(&underlay, &fleet, CLOSED);
    for mut talk in talks {
        talk.go_on(5);
        talk.finish();
    }
}
