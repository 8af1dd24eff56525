//! What became of a frame, as every runner tells it.

use std::collections::{BTreeMap, BTreeSet};

use bowline::topology::{PortName, Topology};
use maps_schema::map::{NeighborKey, PortCounters, Resolved};
use maps_schema::{DropReason, Ip, PortId};

use super::Send;

/// What must become of a frame, or became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It goes to this port, unchanged.
    Deliver(PortName),
    /// A copy goes to each of these ports, unchanged.
    Flood(BTreeSet<PortName>),
    /// It ends at a router, unchanged: what it said is noted.
    Consume,
    /// It goes nowhere, unchanged.
    Drop(DropReason),
    /// It goes back as these bytes.
    Reply(Vec<u8>),
    /// Routers send it to this port, as these bytes.
    Forward(PortName, Vec<u8>),
    /// It goes nowhere, and these bytes go back instead.
    Error(DropReason, Vec<u8>),
    /// It goes nowhere, and these ports get these bytes instead.
    Ask(BTreeSet<PortName>, Vec<u8>),
}

impl Fate {
    /// The bytes that the frame becomes, where it does not stay as it is.
    #[must_use]
    pub fn wire(&self) -> Option<&[u8]> {
        match self {
            Self::Deliver(_) | Self::Flood(_) | Self::Consume | Self::Drop(_) => None,
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
            | Self::Consume
            | Self::Reply(_)
            | Self::Forward(..) => None,
        }
    }

    /// Whether the frame itself leaves, as itself or as another one: a question goes out in copies.
    #[must_use]
    pub const fn leaves(&self) -> bool {
        !matches!(self, Self::Consume | Self::Drop(_) | Self::Ask(..))
    }

    /// Which ports get something if the port `from` has sent it.
    pub fn receivers<'a>(&'a self, from: &'a PortName) -> impl Iterator<Item = &'a PortName> {
        let (one, several) = match self {
            Self::Deliver(to) | Self::Forward(to, _) => (Some(to), None),
            Self::Reply(_) | Self::Error(..) => (Some(from), None),
            Self::Flood(to) | Self::Ask(to, _) => (None, Some(to)),
            Self::Consume | Self::Drop(_) => (None, None),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }
}

/// Counters of all ports, by id; [`PortId::NONE`] is what belongs to no port.
pub type Counters = BTreeMap<PortId, PortCounters>;

/// All that a runner can tell about a frame that was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The bytes that the frame had at the end.
    pub wire: Vec<u8>,
    /// What the counters moved by; ports whose counters did not move are not in it.
    pub counted: Counters,
    /// Which MAC addresses are learned afterwards, and at which ports.
    pub learned: BTreeMap<(u32, String), PortId>,
    /// Which neighbors were asked for: who answered, where, and how many questions are open.
    pub resolved: BTreeMap<(u32, Ip), (String, PortId, u32)>,
    /// Which ports got a copy, with its bytes, where the runner sees that.
    pub arrived: Option<BTreeMap<PortName, Vec<Vec<u8>>>>,
}

impl Outcome {
    /// Checks everything but what was learned, which no file says.
    ///
    /// # Panics
    /// Something is not as expected.
    pub fn check(&self, topology: &Topology, send: &Send, what: &str) {
        let wire = send.expect.wire().unwrap_or(&send.wire);
        assert_eq!(Bytes(&self.wire), Bytes(wire), "{what}: the bytes");
        let len = tagless_len(&send.wire);
        let expected = expected_counters(topology, send, len);
        assert_eq!(self.counted, expected, "{what}: what was counted");
        if let Some(arrived) = &self.arrived {
            let receivers = send.expect.receivers(&send.from);
            let one = |to: &PortName| (to.clone(), vec![wire.to_vec()]);
            let expected: BTreeMap<PortName, Vec<Vec<u8>>> = receivers.map(one).collect();
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

fn expected_counters(topology: &Topology, send: &Send, len: u64) -> Counters {
    let mut counters = Counters::new();
    let id = |name: &PortName| topology.ports[name].id;
    let from = counters.entry(id(&send.from)).or_insert(PortCounters::ZERO);
    from.ingress_packets += 1;
    from.ingress_bytes += len;
    if let Some(reason) = send.expect.reason() {
        from.drops[reason as usize] += 1;
    }
    // An error or a question has another length than what it is about.
    let out = match &send.expect {
        Fate::Error(_, wire) | Fate::Ask(_, wire) => tagless_len(wire),
        _ => len,
    };
    for to in send.expect.receivers(&send.from) {
        let to = counters.entry(id(to)).or_insert(PortCounters::ZERO);
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
            .field("wire", &Bytes(&self.wire))
            .field("counted", &self.counted)
            .field("learned", &self.learned)
            .field("resolved", &self.resolved)
            .finish_non_exhaustive()
    }
}
