//! A truth table: what a naive reading of the rules says, and what packets do.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use integration::lab::{Family, Underlay, patience};

use super::{house, load};
use crate::netns::hosts::fleet;
use crate::rules::Verb::{Allow, Deny, Reject};
use crate::rules::{
    BETWEEN, BOTH, Cell, INGRESS, INHABITANTS, Inhabitant, List, PORTS, Packet, cells, verdict,
    written,
};

/// How long to wait for what must not come.
const SILENCE: Duration = Duration::from_millis(500);

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
        let all = cells(&PORTS.map(Packet::Udp)).collect::<Vec<_>>();
        let allowed = all.iter().filter(|cell| verdict(lists, **cell) == Allow);
        let expected: BTreeSet<Cell> = allowed.copied().collect();
        assert!(expected.len() > 20 && expected.len() < all.len() - 20);
        let arrived = datagrams(&underlay, &all, &expected);
        let wrong: Vec<_> = arrived.symmetric_difference(&expected).collect();
        assert!(wrong.is_empty(), "{text}{wrong:?}");
        connections(&underlay, lists, &text);
    }
}

/// Sends a datagram for every cell, again and again until all that should have arrived; returns which
/// did.
fn datagrams(underlay: &Underlay, all: &[Cell], expected: &BTreeSet<Cell>) -> BTreeSet<Cell> {
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
        for cell in all {
            let Packet::Udp(port) = cell.packet else {
                panic!("{cell:?} is no datagram");
            };
            let ip = match INHABITANTS[cell.to].ips()[cell.family] {
                IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
                ip => ip,
            };
            // An error of the one before may be told now.
            for _ in 0..2 {
                let to = SocketAddr::new(ip, port);
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
                        packet: Packet::Udp(*port),
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
        for cell in cells(&[7432, 8005].map(Packet::Tcp)) {
            scope.spawn(move || {
                let Packet::Tcp(port) = cell.packet else {
                    panic!("{cell:?} is no connection");
                };
                let expected = verdict(lists, cell);
                let to = SocketAddr::new(INHABITANTS[cell.to].ips()[cell.family], port);
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
