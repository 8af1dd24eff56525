//! Cases on the wire: frames are sent by the workload's end of a real veth pair, and captured where
//! they arrive.

use std::collections::BTreeMap;

use bowline::topology::PortName;
use integration::case::{Fate, Outcome, Send};
use integration::lab::{self, eventually};

use super::realm::Realm;
use super::{Memory, Runner};

crate::cases::every_case!(check);

fn check(name: &str) {
    if name == "truncated_tag" {
        lab::skip("the kernel drops a frame that ends within its tag before any program sees it");
        return;
    }
    super::check::<Wire>(name);
}

struct Wire;

impl Runner for Wire {
    const MEMORIES: &'static [Memory] = &[Memory::Epochs];

    fn prepare(realm: &Realm<'_>) {
        realm.attach();
    }

    fn send(realm: &Realm<'_>, frame: &Send, expected: &Outcome, what: &str) -> Outcome {
        let before = realm.counters();
        realm.port(&frame.from).socket.send(&frame.wire);
        // The frame is counted before it is sent on, and what is sent on arrives in the same breath.
        let mut arrived: BTreeMap<PortName, Vec<Vec<u8>>> = BTreeMap::new();
        let mut look = || {
            for (name, plugged) in realm.ports() {
                for wire in plugged.socket.drain() {
                    arrived.entry(name.clone()).or_default().push(wire);
                }
            }
            let wanted = expected.arrived.as_ref();
            let counted = Outcome::moved(&before, &realm.counters());
            !counted.is_empty() && wanted.is_none_or(|wanted| count(wanted) <= count(&arrived))
        };
        eventually(&format!("{}: the frame is dealt with", what), &mut look);
        // Whatever else there is would be there by now.
        look();
        let wire = match (&frame.expect, arrived.values().flatten().next()) {
            (Fate::Drop(_), None) | (_, None) => frame.wire.clone(),
            (_, Some(wire)) => wire.clone(),
        };
        Outcome {
            wire,
            counted: Outcome::moved(&before, &realm.counters()),
            learned: realm.learned(),
            resolved: realm.resolved(),
            arrived: Some(arrived),
        }
    }
}

fn count(arrived: &BTreeMap<PortName, Vec<Vec<u8>>>) -> usize {
    arrived.values().map(Vec::len).sum()
}
