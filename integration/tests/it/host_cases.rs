//! Case files through the datapath's library, without root or a kernel.

use integration::case::Case;
use integration::case::host::Host;

use crate::rules::{List, tables};

crate::cases::every_case!(check);
crate::rules::every_table!(super::check_rules);

/// Runs one case file.
fn check(name: &str) {
    play(&Case::read(name).unwrap_or_else(|error| panic!("{error:#}")));
}

/// Runs a truth table.
fn check_rules(lists: &[List]) {
    let cases = tables(lists);
    let frames: usize = cases.iter().map(|case| case.steps.len()).sum();
    assert!(frames > 1000, "{frames} are few");
    cases.iter().for_each(play);
}

fn play(case: &Case) {
    let mut host = Host::new(case);
    for (number, step) in (1..).zip(&case.steps) {
        let what = format!("step {number}");
        let played = host.take(step);
        if let Some(played) = played.unwrap_or_else(|error| panic!("{what}: {error:#}")) {
            played.outcome.check(&case.topology, &played.send, &what);
        }
    }
}
