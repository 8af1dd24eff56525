//! Case files through the datapath's library, without root or a kernel.

use integration::case::Case;
use integration::case::host::Host;

crate::cases::every_case!(check);

/// Runs one case file.
fn check(name: &str) {
    let case = Case::read(name).unwrap_or_else(|error| panic!("{error:#}"));
    let mut host = Host::new(&case);
    for (number, step) in (1..).zip(&case.steps) {
        let what = format!("step {number}");
        let played = host.take(step);
        if let Some(played) = played.unwrap_or_else(|error| panic!("{what}: {error:#}")) {
            played.outcome.check(&case.topology, &played.send, &what);
        }
    }
}
