//! Cases on the wire: frames are sent by the workload's end of a real veth pair, and captured where
//! they arrive.

use std::collections::BTreeMap;

use integration::case::{Fate, Outcome, Receiver, Send};
use integration::lab::{self, eventually};

use super::realm::Realm;
use super::{Memory, Runner};

crate::cases::every_case!(check);
crate::rules::every_table!(super::super::check_rules::<super::Wire>);

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
        let (entry, _) = realm.entry(frame);
        entry.socket.send(&frame.wire);
        // The frame is counted before it is sent on, and what is sent on arrives in the same breath.
        let mut arrived: BTreeMap<Receiver, Vec<Vec<u8>>> = BTreeMap::new();
        let mut look = || {
            for (to, wire) in realm.arrived() {
                arrived.entry(to).or_default().push(wire);
            }
            let wanted = expected.arrived.as_ref();
            let counted = Outcome::moved(&before, &realm.counters());
            // What passes on to the host is neither counted nor seen.
            let is_dealt_with = !counted.is_empty() || frame.expect == Fate::Pass;
            is_dealt_with && wanted.is_none_or(|wanted| count(wanted) <= count(&arrived))
        };
        eventually(&format!("{}: the frame is dealt with", what), &mut look);
        // Whatever else there is would be there by now.
        look();
        // Of what goes nowhere nobody sees the end.
        let wire = match arrived.values().flatten().next() {
            Some(wire) if frame.leaves() => Some(wire.clone()),
            _ => None,
        };
        Outcome {
            wire,
            counted: Outcome::moved(&before, &realm.counters()),
            learned: realm.learned(),
            resolved: realm.resolved(),
            flows: realm.flows(),
            arrived: Some(arrived),
        }
    }
}

fn count(arrived: &BTreeMap<Receiver, Vec<Vec<u8>>>) -> usize {
    arrived.values().map(Vec::len).sum()
}
