//! Connections under policies: answers pass, and a change of the rules is felt at once.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use integration::lab::{Family, Talk, Underlay, eventually, patience, ping, ping_once};

use super::{house, load};
use crate::netns::hosts::{drops, fleet};

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
fn rules_say_how_often_they_decided() {
    let Some(underlay) = house(Family::V4) else {
        return;
    };
    let fleet = fleet(&underlay);
    load(&underlay, &fleet, CLOSED);
    let web = underlay.workload("web1");
    let db = "10.2.0.12".parse().unwrap();
    eventually("web1 reaches the database", || ping(web, db));
    // On all hosts together, of the rules that the databases have.
    let hits = || -> u64 {
        let shown = fleet.iter().map(|(_, it)| it.json(&["show", "policies"]));
        let rules = shown.flat_map(|it| it["policies"].as_array().cloned().unwrap_or_default());
        rules
            .filter(|rule| rule["list"].as_str().is_some_and(|it| it.contains("db")))
            .filter_map(|rule| rule["hits"].as_u64())
            .sum()
    };
    let before = hits();
    for _ in 0..3 {
        assert!(ping_once(web, db));
    }
    assert_eq!(hits() - before, 3);
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

/// What listens on the other host than the web server's, and where.
fn database(underlay: &Underlay) -> (SocketAddr, TcpListener) {
    let address = "10.2.0.15:7000".parse().unwrap();
    let db = underlay.workload("db2");
    (address, db.run(|| TcpListener::bind(address).unwrap()))
}

fn hear(stream: &mut TcpStream) -> io::Result<u8> {
    let mut octet = [0];
    stream.read_exact(&mut octet).map(|()| octet[0])
}

/// What the called side says after its caller is refused begins no connection of its own, by which the
/// caller's segments would be answers.
#[test]
fn a_connection_that_is_refused_does_not_turn_round() {
    let Some(underlay) = house(Family::V4) else {
        return;
    };
    let fleet = fleet(&underlay);
    load(&underlay, &fleet, CLOSED);
    let (address, listener) = database(&underlay);
    let mut caller = underlay
        .workload("web1")
        .run(|| TcpStream::connect_timeout(&address, patience()).unwrap());
    let (mut called, _) = listener.accept().unwrap();
    for stream in [&caller, &called] {
        stream.set_read_timeout(Some(patience())).unwrap();
    }
    caller.write_all(b"a").unwrap();
    assert_eq!(hear(&mut called).unwrap(), b'a');

    load(&underlay, &fleet, &CLOSED.replace("tcp/7000, ", ""));
    caller.write_all(b"b").unwrap();
    eventually("beta refuses the caller", || {
        drops(&fleet, "beta", "policy_ingress") > 0
    });
    let state = || fleet.on("beta").json(&["flows", "--protocol", "tcp"])[0]["state"].clone();
    assert_eq!(state(), "refused");
    // Its own rules let it say what it wants, to whom takes it for an answer.
    called.write_all(b"c").unwrap();
    assert_eq!(hear(&mut caller).unwrap(), b'c');
    // The caller sends again what it gets no acknowledgment for.
    let several = Duration::from_secs(3);
    called.set_read_timeout(Some(several)).unwrap();
    let silence = hear(&mut called).expect_err("the caller is refused");
    assert_eq!(silence.kind(), ErrorKind::WouldBlock);

    load(&underlay, &fleet, CLOSED);
    called.set_read_timeout(Some(patience())).unwrap();
    assert_eq!(hear(&mut called).unwrap(), b'b');
    assert_eq!(state(), "established");
}

/// A connection that begins while its table is exchanged for one of another size is in the other one, too:
/// nobody may begin what would have to be begun again.
#[test]
fn connections_begin_while_the_size_of_their_table_changes() {
    const SIZED: &str = "defaults: { connections: { established: 4096, opening: 2048 } }\n";
    let Some(underlay) = house(Family::V4) else {
        return;
    };
    let fleet = fleet(&underlay);
    load(&underlay, &fleet, CLOSED);
    let (address, listener) = database(&underlay);
    let is_over = AtomicBool::new(false);
    let pairs = thread::scope(|scope| {
        let (listener, is_over) = (&listener, &is_over);
        let begin = move || {
            let mut pairs = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let caller = TcpStream::connect_timeout(&address, patience()).unwrap();
                pairs.push((caller, listener.accept().unwrap().0));
                thread::sleep(Duration::from_millis(2));
            }
            pairs
        };
        let web = underlay.workload("web1");
        let begin = scope.spawn(move || web.run(begin));
        for policies in [format!("{CLOSED}{SIZED}"), CLOSED.to_owned()] {
            load(&underlay, &fleet, &policies);
        }
        is_over.store(true, Ordering::Relaxed);
        begin.join().unwrap()
    });
    // Only who is known to have been called may say something to the web server.
    for (mut caller, mut called) in pairs {
        caller.set_read_timeout(Some(patience())).unwrap();
        called.write_all(b"a").unwrap();
        let said = hear(&mut caller);
        assert_eq!(said.expect("the connection is known"), b'a');
    }
}
