//! Case files in the kernel, which must agree with the host in everything: verdict, bytes, counters
//! and what was learned.
//!
//! Each case runs in two ways. [`test_run`] hands frames to the loaded program with
//! `BPF_PROG_TEST_RUN`; [`wire`] sends them through real veth pairs with the program attached, and
//! sees what arrives where. The first needs nothing but the program, the second includes all that
//! the kernel does around it.

mod realm;
mod test_run;
mod wire;

use std::time::Duration;

use bowline::kernel::clock::coarse_ns;
use integration::case::host::{Host, Played};
use integration::case::{Case, Outcome, Send, Step};
use integration::lab;
use integration::number::Numbers;

use crate::rules::{self, List};
use realm::Realm;

/// A way to send frames to the program.
trait Runner {
    /// With what the case is run, one after the other.
    const MEMORIES: &'static [Memory];

    /// Makes the realm ready.
    fn prepare(realm: &Realm<'_>);

    /// Sends a frame, of which the host says what to expect; messages are about `what`.
    fn send(realm: &Realm<'_>, frame: &Send, expected: &Outcome, what: &str) -> Outcome;
}

/// Runs a case, and compares what becomes of each frame with the file and with the host.
fn check<R: Runner>(name: &str) {
    if !lab::is_usable() {
        return;
    }
    let case = Case::read(name).unwrap_or_else(|error| panic!("{error:#}"));
    check_case::<R>(&case, R::MEMORIES);
}

/// Runs a truth table. Every packet begins a flow of its own, so that nothing is remembered of it.
fn check_rules<R: Runner>(lists: &[List]) {
    if lab::is_usable() {
        for case in rules::tables(lists) {
            check_case::<R>(&case, &[Memory::Epochs]);
        }
    }
}

fn check_case<R: Runner>(case: &Case, memories: &[Memory]) {
    if let Some(reason) = is_too_young(case) {
        lab::skip(&reason);
        return;
    }
    for &memory in memories {
        check_with::<R>(case, memory);
    }
}

/// Whether the datapath remembers the ways that it has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Memory {
    Epochs,
    NoEpochs,
}

fn check_with<R: Runner>(case: &Case, memory: Memory) {
    let realm = Realm::new(case, memory);
    R::prepare(&realm);
    let mut host = Host::new(case);
    let mut numbers = Numbers::default();
    for (number, step) in (1..).zip(&case.steps) {
        let what = format!("step {number} in the kernel, {memory:?}");
        let fail = |error| -> Send { panic!("{what}: {error:#}") };
        let played = host
            .take(step)
            .unwrap_or_else(|error| panic!("{what}: {error:#}"));
        let (
            Step::Send(draft),
            Some(Played {
                outcome: expected, ..
            }),
        ) = (step, played)
        else {
            realm.take(step);
            continue;
        };
        let frame = draft.send(&case.topology, &numbers).unwrap_or_else(fail);
        let mut outcome = R::send(&realm, &frame, &expected, &what);
        let settled = draft.settle(&case.topology, &mut numbers, frame, &outcome);
        let frame = settled.unwrap_or_else(fail);
        outcome.check(&case.topology, &frame, &what);
        let is_same = numbers == *host.numbers();
        // Not every runner sees what arrives, or the end of what does not.
        if outcome.arrived.is_none() || !is_same {
            outcome.arrived.clone_from(&expected.arrived);
        }
        if outcome.wire.is_none() || !is_same {
            outcome.wire.clone_from(&expected.wire);
        }
        // What was chosen at random the file alone can tell.
        if !is_same {
            outcome.flows.clone_from(&expected.flows);
        }
        assert_eq!(outcome, expected, "{what}: the kernel and the host");
    }
}

/// Why a case cannot run on a machine that has just been started: what is let pass is taken from the
/// times of entries, and the kernel's clock begins at zero.
fn is_too_young(case: &Case) -> Option<String> {
    let waits = case.steps.iter().filter_map(|step| match step {
        Step::Wait(time) => Some(*time),
        _ => None,
    });
    let (needed, up) = (waits.sum::<Duration>(), Duration::from_nanos(coarse_ns()));
    (up < needed)
        .then(|| format!("the machine is up for {up:.0?}, and the case ages by {needed:?}"))
}
