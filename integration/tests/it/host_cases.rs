//! Case files through the datapath's library, without root or a kernel.

use integration::case::host::Host;
use integration::case::{Case, Step};

crate::cases::every_case!(check);

/// Runs one case file.
fn check(name: &str) {
    let case = Case::read(name).unwrap_or_else(|error| panic!("{error:#}"));
    let mut host = Host::new(&case);
    for (number, step) in (1..).zip(&case.steps) {
        let outcome = host.take(step);
        if let (Some(outcome), Step::Send(send)) = (outcome, step) {
            outcome.check(&case.topology, send, &format!("step {number}"));
        }
    }
}
