//! What became of a frame, as every runner tells it.

use std::collections::{BTreeMap, BTreeSet};

use bowline::topology::{PortName, Topology};
use maps_schema::map::PortCounters;
use maps_schema::{DropReason, PortId};

use super::Send;

/// What must become of a frame, or became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It goes to this port, unchanged.
    Deliver(PortName),
    /// A copy goes to each of these ports, unchanged.
    Flood(BTreeSet<PortName>),
    /// It goes nowhere, unchanged.
    Drop(DropReason),
    /// It goes back as these bytes.
    Reply(Vec<u8>),
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
    /// Which ports got a copy, with its bytes, where the runner sees that.
    pub arrived: Option<BTreeMap<PortName, Vec<Vec<u8>>>>,
}

impl Outcome {
    /// Checks everything but what was learned, which no file says.
    ///
    /// # Panics
    /// Something is not as expected.
    pub fn check(&self, topology: &Topology, send: &Send, what: &str) {
        let untouched = match &send.expect {
            Fate::Reply(answer) => answer,
            _ => &send.wire,
        };
        assert_eq!(Bytes(&self.wire), Bytes(untouched), "{what}: the bytes");
        let len = tagless_len(&send.wire);
        let expected = expected_counters(topology, send, len);
        assert_eq!(self.counted, expected, "{what}: what was counted");
        if let Some(arrived) = &self.arrived {
            let one = || vec![untouched.clone()];
            let expected: BTreeMap<PortName, Vec<Vec<u8>>> = match &send.expect {
                Fate::Deliver(to) => BTreeMap::from([(to.clone(), one())]),
                Fate::Flood(to) => to.iter().map(|to| (to.clone(), one())).collect(),
                Fate::Drop(_) => BTreeMap::new(),
                Fate::Reply(_) => BTreeMap::from([(send.from.clone(), one())]),
            };
            assert_eq!(*arrived, expected, "{what}: what arrived");
        }
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
    let reached: Vec<&PortName> = match &send.expect {
        Fate::Deliver(to) => vec![to],
        Fate::Flood(to) => to.iter().collect(),
        Fate::Reply(_) => vec![&send.from],
        Fate::Drop(reason) => {
            from.drops[*reason as usize] += 1;
            Vec::new()
        }
    };
    for to in reached {
        let to = counters.entry(id(to)).or_insert(PortCounters::ZERO);
        to.egress_packets += 1;
        to.egress_bytes += len;
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
            .finish_non_exhaustive()
    }
}
