//! What holds for whatever workloads and the outside send at a host that translates. The fuzz target
//! `outside` checks the same.

use datapath::Action;
use datapath::memory::{MemoryFrame, MemoryTables, port_ingress, uplink_ingress};
use maps_schema::{IfIndex, Ip};

use super::edge::{HOST, add_uplink, host_mac};
use super::line::ip;
use super::site::{OUTSIDE, Station, gateway, one_host, set_epoch};

const SECOND: u64 = 1_000_000_000;

/// A host with a router that leads to the outside, twice: one remembers ways, the other one does not.
pub(crate) struct Journey {
    keen: MemoryTables,
    plain: MemoryTables,
}

impl Journey {
    pub(crate) fn new() -> Self {
        let mut plain = one_host(1);
        plain.now_ns.set(1000 * SECOND);
        add_uplink(&mut plain, 1);
        let mut keen = plain.clone();
        set_epoch(&mut keen, 1);
        Self { keen, plain }
    }

    pub(crate) fn wait(&self, seconds: u8) {
        for tables in [&self.keen, &self.plain] {
            let passed = u64::from(seconds) * SECOND;
            tables.now_ns.set(tables.now_ns.get() + passed);
        }
    }

    /// A frame comes in, from a workload or from the outside. Returns what becomes of it.
    pub(crate) fn check(&self, from: IfIndex, wire: &[u8]) -> (Action, Vec<u8>) {
        let before = drops(&self.plain);
        let [keen, plain] = [&self.keen, &self.plain].map(|tables| {
            let mut frame = MemoryFrame::from_wire(wire);
            let action = if from == OUTSIDE {
                uplink_ingress(&mut frame, tables, from)
            } else {
                port_ingress(&mut frame, tables, from)
            };
            (action, frame)
        });
        assert_eq!(keen, plain, "what is remembered changes nothing");
        let (action, frame) = plain;
        let after = frame.to_wire();
        let dropped = drops(&self.plain) - before;
        assert_eq!(*self.keen.counters.borrow(), *self.plain.counters.borrow());
        assert!(frame.copies.iter().all(|(to, _)| *to != OUTSIDE));
        match action {
            Action::Drop { .. } => assert_eq!(dropped, 1, "a drop is counted once"),
            Action::Pass => assert_eq!((after.as_slice(), dropped), (wire, 0)),
            Action::Underlay { uplink, .. } => {
                assert_eq!(uplink, OUTSIDE);
                if let Some((source, _)) = addresses(&after) {
                    assert!(HOST.map(ip).contains(&source), "{source:?} leaves");
                }
            }
            Action::Deliver(to) => {
                assert!(Station::all(1).iter().any(|it| it.interface() == to));
                // An error or a reset goes to who has sent the packet.
                if let Some((_, destination)) = addresses(&after).filter(|_| from == OUTSIDE) {
                    let stations = Station::all(1);
                    let mut inside = stations.iter().flat_map(Station::ips);
                    assert!(inside.any(|it| it == destination), "{destination:?}");
                }
            }
            Action::Send(to) => assert_eq!((to, from), (OUTSIDE, OUTSIDE)),
            Action::Copied | Action::Consume(_) => assert_eq!(dropped, 0),
        }
        if header(wire).is_some_and(is_right) {
            let is_right = header(&after).is_none_or(is_right);
            assert!(is_right, "the header's checksum stays right");
        }
        (action, after)
    }

    /// Frames as the fuzzer makes them up: who sends, how many bytes, and these.
    pub(crate) fn play(&self, mut data: &[u8]) {
        while let [choice, len, rest @ ..] = data {
            let (bytes, next) = rest.split_at(usize::from(*len).min(rest.len()));
            data = next;
            if choice & 0xf8 == 0xf8 {
                self.wait(*len);
                continue;
            }
            let station = Station::all(1).into_iter().nth(usize::from(choice & 3));
            let (from, source, destination) = match station {
                Some(it) => (it.interface(), it.mac, gateway(&it, 1)),
                None => (OUTSIDE, gateway(&Station::all(1)[0], 1), host_mac()),
            };
            let macs = [destination.octets(), source.octets()];
            // With them, the rest is more likely to be looked at.
            let is_addressed = choice & 4 != 0;
            let macs: &[u8] = if is_addressed {
                macs.as_flattened()
            } else {
                &[]
            };
            self.check(from, &[macs, bytes].concat());
        }
    }
}

fn drops(tables: &MemoryTables) -> u64 {
    let counters = tables.counters.borrow();
    counters.values().flat_map(|it| it.drops).sum()
}

/// The source and the destination of a frame with an IP packet and no tag.
fn addresses(wire: &[u8]) -> Option<(Ip, Ip)> {
    let v4 = |at: usize| {
        let octets: [u8; 4] = wire.get(at..at + 4)?.try_into().ok()?;
        Some(Ip::from(std::net::Ipv4Addr::from(octets)))
    };
    let v6 = |at: usize| {
        let octets: [u8; 16] = wire.get(at..at + 16)?.try_into().ok()?;
        Some(Ip::from(std::net::Ipv6Addr::from(octets)))
    };
    match wire.get(12..14)? {
        [8, 0] => Some((v4(26)?, v4(30)?)),
        [0x86, 0xdd] => Some((v6(22)?, v6(38)?)),
        _ => None,
    }
}

/// The IPv4 header of a frame without a tag.
fn header(wire: &[u8]) -> Option<&[u8]> {
    let is_v4 = wire.get(12..14)? == [8, 0] && wire.get(14)? >> 4 == 4;
    let len = usize::from(wire.get(14)? & 0xf) * 4;
    wire.get(14..14 + len).filter(|_| is_v4 && len >= 20)
}

fn is_right(header: &[u8]) -> bool {
    let words = header.chunks(2);
    let sum: u32 = words
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    (sum & 0xffff) + (sum >> 16) == 0xffff
}
