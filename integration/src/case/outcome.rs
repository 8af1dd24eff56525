//! What became of a frame, as every runner tells it.

use std::collections::{BTreeMap, BTreeSet};

use bowline::topology::{PortName, Topology};
use maps_schema::map::{Flow, FlowKey, NeighborKey, PortCounters, Resolved, Translation};
use maps_schema::{DropReason, Ip, PortId};

use super::underlay::{Outer, without_macs};
use super::{Peer, Send};

/// Who gets a frame, or where it comes from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Receiver {
    /// The workload behind a port of the case's host.
    Port(PortName),
    /// The host or the ordinary VTEP of this name, by the underlay.
    Peer(String),
    /// The outside, by the uplink of this router.
    Outside(String),
}

impl Receiver {
    /// The port that leads there.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn id(&self, topology: &Topology) -> PortId {
        match self {
            Self::Port(name) => topology.ports[name].id,
            Self::Peer(name) => Peer::named(topology, name).expect("a peer").id,
            Self::Outside(router) => {
                let uplink = topology.routers[router].uplink.as_ref();
                uplink.expect("a router with an uplink").id
            }
        }
    }
}

/// What must become of a frame, or became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It goes there, unchanged.
    Deliver(Receiver),
    /// A copy goes to each of these, unchanged.
    Flood(BTreeSet<Receiver>),
    /// It is left to the host, unchanged and not counted.
    Pass,
    /// It ends at a router, unchanged: what it said is noted.
    Consume,
    /// It goes nowhere, unchanged.
    Drop(DropReason),
    /// It goes back as these bytes.
    Reply(Vec<u8>),
    /// It goes to this port, as these bytes.
    Forward(Receiver, Vec<u8>),
    /// It goes nowhere, and these bytes go back instead.
    Error(DropReason, Vec<u8>),
    /// It goes nowhere, and these get these bytes instead.
    Ask(BTreeSet<Receiver>, Vec<u8>),
}

impl Fate {
    /// The bytes that the frame becomes, where it does not stay as it is.
    #[must_use]
    pub fn wire(&self) -> Option<&[u8]> {
        match self {
            Self::Deliver(_) | Self::Flood(_) | Self::Pass | Self::Consume | Self::Drop(_) => None,
            Self::Reply(wire)
            | Self::Forward(_, wire)
            | Self::Error(_, wire)
            | Self::Ask(_, wire) => Some(wire),
        }
    }

    /// Why the frame that was sent is dropped, if it is.
    #[must_use]
    pub const fn reason(&self) -> Option<DropReason> {
        match self {
            Self::Drop(reason) | Self::Error(reason, _) => Some(*reason),
            Self::Ask(..) => Some(DropReason::NeighborPending),
            Self::Deliver(_)
            | Self::Flood(_)
            | Self::Pass
            | Self::Consume
            | Self::Reply(_)
            | Self::Forward(..) => None,
        }
    }

    /// Who gets something if `from` has sent it.
    pub fn receivers<'a>(&'a self, from: &'a Receiver) -> impl Iterator<Item = &'a Receiver> {
        let (one, several) = match self {
            Self::Deliver(to) | Self::Forward(to, _) => (Some(to), None),
            Self::Reply(_) | Self::Error(..) => (Some(from), None),
            Self::Flood(to) | Self::Ask(to, _) => (None, Some(to)),
            Self::Pass | Self::Consume | Self::Drop(_) => (None, None),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }
}

/// Counters of all ports, by id; [`PortId::NONE`] is what belongs to no port.
pub type Counters = BTreeMap<PortId, PortCounters>;

/// What is known of connections: of each direction how far it has come, whose flags it has, and what its
/// packets leave with.
pub type Flows = BTreeMap<FlowKey, (u8, u8, Translation)>;

/// All that a runner can tell about a frame that was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The bytes that the frame had at the end, where the runner sees that.
    pub wire: Option<Vec<u8>>,
    /// What the counters moved by; ports whose counters did not move are not in it.
    pub counted: Counters,
    /// Which MAC addresses are learned afterwards, and at which ports.
    pub learned: BTreeMap<(u32, String), PortId>,
    /// Which neighbors were asked for: who answered, where, and how many questions are open.
    pub resolved: BTreeMap<(u32, Ip), (String, PortId, u32)>,
    /// Which connections are known.
    pub flows: Flows,
    /// Who got a copy, with its bytes, where the runner sees that.
    pub arrived: Option<BTreeMap<Receiver, Vec<Vec<u8>>>>,
}

impl Outcome {
    /// Checks everything but what was learned, which no file says.
    ///
    /// # Panics
    /// Something is not as expected.
    pub fn check(&self, topology: &Topology, send: &Send, what: &str) {
        let frame = send.expect.wire().unwrap_or(&send.frame);
        if let Some(seen) = &self.wire {
            let wire = match send.peer() {
                Some(peer) => send.wrapped(topology, peer, frame, seen),
                None if send.is_untouched() => send.wire.clone(),
                None => send.comparable(frame.to_vec()),
            };
            assert_eq!(Bytes(seen), Bytes(&wire), "{what}: the bytes");
        }
        let expected = expected_counters(topology, send);
        assert_eq!(self.counted, expected, "{what}: what was counted");
        if let Some(arrived) = &self.arrived {
            let one = |to: &Receiver| {
                let wire = match to {
                    Receiver::Port(_) | Receiver::Outside(_) => send.comparable(frame.to_vec()),
                    Receiver::Peer(peer) => {
                        let sent = arrived.get(to).and_then(|wires| wires.first());
                        let sent = sent.unwrap_or_else(|| panic!("{what}: nothing for {peer}"));
                        send.wrapped(topology, peer, frame, sent)
                    }
                };
                (to.clone(), vec![wire])
            };
            let expected: BTreeMap<Receiver, Vec<Vec<u8>>> =
                send.expect.receivers(&send.origin).map(one).collect();
            assert_eq!(*arrived, expected, "{what}: what arrived");
        }
    }

    /// The neighbors that were asked for, as an outcome has them.
    #[must_use]
    pub fn neighbors<'a>(
        rows: impl IntoIterator<Item = (&'a NeighborKey, &'a Resolved)>,
    ) -> BTreeMap<(u32, Ip), (String, PortId, u32)> {
        let row = |(key, row): (&NeighborKey, &Resolved)| {
            let key = (key.vni.number(), key.ip);
            (key, (row.mac.to_string(), row.port, row.questions))
        };
        rows.into_iter().map(row).collect()
    }

    /// What is known of connections, as an outcome has it.
    #[must_use]
    pub fn connections<'a>(rows: impl IntoIterator<Item = (&'a FlowKey, &'a Flow)>) -> Flows {
        let row =
            |(key, flow): (&FlowKey, &Flow)| (*key, (flow.state, flow.flags, flow.outcome(key)));
        rows.into_iter().map(row).collect()
    }

    /// What moved between two readings.
    #[must_use]
    pub fn moved(before: &Counters, after: &Counters) -> Counters {
        let difference = |(id, after): (&PortId, &PortCounters)| {
            let before = before.get(id).unwrap_or(&PortCounters::ZERO);
            let mut moved = *after;
            moved.ingress_packets -= before.ingress_packets;
            moved.ingress_bytes -= before.ingress_bytes;
            moved.egress_packets -= before.egress_packets;
            moved.egress_bytes -= before.egress_bytes;
            for (moved, before) in moved.drops.iter_mut().zip(before.drops) {
                *moved -= before;
            }
            (*id, moved)
        };
        after
            .iter()
            .map(difference)
            .filter(|(_, moved)| *moved != PortCounters::ZERO)
            .collect()
    }
}

/// The length that counters go by: the outermost tag is not among the bytes of a frame in Linux.
fn tagless_len(wire: &[u8]) -> u64 {
    let tagged = matches!(wire.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8])) && wire.len() >= 18;
    (wire.len() - if tagged { 4 } else { 0 }) as u64
}

impl Send {
    /// The peer that the frame itself leaves for.
    fn peer(&self) -> Option<&str> {
        let to = match &self.expect {
            Fate::Deliver(to) | Fate::Forward(to, _) => to,
            Fate::Reply(_) => &self.origin,
            _ => return None,
        };
        match to {
            Receiver::Peer(peer) => Some(peer),
            Receiver::Port(_) | Receiver::Outside(_) => None,
        }
    }

    /// Whether the frame itself leaves for the outside.
    fn is_outbound(&self) -> bool {
        let mut receivers = self.expect.receivers(&self.origin);
        receivers.any(|to| matches!(to, Receiver::Outside(_)))
    }

    /// Whether the frame itself leaves, as itself or as another one, and not in copies.
    #[must_use]
    pub fn leaves(&self) -> bool {
        let is_ip = |frame: &[u8]| matches!(frame[12..14], [8, 0] | [0x86, 0xdd]);
        match &self.expect {
            Fate::Pass | Fate::Consume | Fate::Drop(_) | Fate::Ask(..) => false,
            Fate::Flood(to) => to.iter().any(|to| matches!(to, Receiver::Port(_))),
            // The kernel finds no way for another protocol.
            fate => self.peer().is_none() || is_ip(fate.wire().unwrap_or(&self.frame)),
        }
    }

    /// The bytes of a frame at the end, but for Ethernet addresses of the underlay.
    #[must_use]
    pub fn comparable(&self, mut wire: Vec<u8>) -> Vec<u8> {
        if self.peer().is_some() || self.is_outbound() {
            without_macs(&mut wire);
        }
        wire
    }

    /// A frame on its way to a peer, of which `sent` is what was sent.
    fn wrapped(&self, topology: &Topology, peer: &str, frame: &[u8], sent: &[u8]) -> Vec<u8> {
        let peer = Peer::named(topology, peer).expect("a peer");
        Outer::to(topology, &peer, self.vni, frame).expected(frame, sent)
    }

    /// Whether a packet from the underlay was left as it is: it was none of ours, or was refused for its
    /// outer headers.
    fn is_untouched(&self) -> bool {
        let for_vni = [DropReason::UnknownVni, DropReason::MalformedEcho];
        let reason = self.expect.reason();
        self.expect == Fate::Pass
            || self.is_nobodys()
            || reason.is_some_and(|reason| for_vni.contains(&reason))
    }

    /// Whether what came from outside is brought to another gateway, and enters no network here.
    fn is_brought_on(&self) -> bool {
        let is_outside = matches!(self.origin, Receiver::Outside(_));
        is_outside && self.expect.wire().is_none() && self.peer().is_some()
    }

    fn is_from_peer(&self) -> bool {
        matches!(self.origin, Receiver::Peer(_))
    }

    /// Whether a packet from the underlay was refused before it was known who had sent it.
    fn is_nobodys(&self) -> bool {
        let unknown = [
            DropReason::UnknownPeer,
            DropReason::WrongTunnel,
            DropReason::MalformedOuter,
            DropReason::OuterFragment,
            DropReason::CriticalOption,
        ];
        let reason = self.expect.reason();
        self.is_from_peer() && reason.is_some_and(|reason| unknown.contains(&reason))
    }
}

fn expected_counters(topology: &Topology, send: &Send) -> Counters {
    let mut counters = Counters::new();
    if send.expect == Fate::Pass {
        return counters;
    }
    let len = tagless_len(&send.frame);
    let id = if send.is_nobodys() {
        PortId::NONE
    } else {
        send.origin.id(topology)
    };
    if !send.is_nobodys() && !send.is_brought_on() {
        let from = counters.entry(id).or_insert(PortCounters::ZERO);
        from.ingress_packets += 1;
        // What is still in a tunnel has its tag among its bytes.
        from.ingress_bytes += if send.is_from_peer() {
            send.frame.len() as u64
        } else {
            len
        };
    }
    if let Some(reason) = send.expect.reason() {
        // What another gateway should not have brought is no port's.
        let is_astray = send.exit.is_some() && reason == DropReason::NatUntracked;
        let at = counters.entry(if is_astray { PortId::NONE } else { id });
        at.or_insert(PortCounters::ZERO).drops[reason as usize] += 1;
    } else if let Some(exit) = send.exit {
        let exit = counters.entry(exit).or_insert(PortCounters::ZERO);
        exit.ingress_packets += 1;
        exit.ingress_bytes += len;
    }
    // An error or a question has another length than what it is about.
    let out = match &send.expect {
        Fate::Error(_, wire) | Fate::Ask(_, wire) => tagless_len(wire),
        _ => len,
    };
    for to in send.expect.receivers(&send.origin) {
        let to = counters
            .entry(to.id(topology))
            .or_insert(PortCounters::ZERO);
        to.egress_packets += 1;
        to.egress_bytes += out;
    }
    counters
}

/// Bytes that show themselves in hex.
#[derive(PartialEq, Eq)]
struct Bytes<'a>(&'a [u8]);

impl std::fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x?}", self.0)
    }
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outcome")
            .field("wire", &self.wire.as_deref().map(Bytes))
            .field("counted", &self.counted)
            .field("learned", &self.learned)
            .field("resolved", &self.resolved)
            .field("flows", &self.flows)
            .finish_non_exhaustive()
    }
}
