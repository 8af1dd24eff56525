//! What `bowline trace` says, against what happens.

use super::{PAIR, Site};

#[test]
fn trace_says_what_happens() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(PAIR));
    site.assert_reaches("web", "10.77.0.20");
    let run = bowline.run(&["trace", "web", "db", "icmp"]);
    assert_eq!(run.status.code(), Some(0), "{run}");
    assert!(run.stdout.contains("db/eth0"), "{run}");
    site.assert_does_not_reach("web", "10.77.0.99");
    let run = bowline.run(&["trace", "web", "10.77.0.99", "icmp"]);
    assert_eq!(run.status.code(), Some(10), "{run}");
}
