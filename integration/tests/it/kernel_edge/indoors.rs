//! The address inside a workload's namespace.

use std::net::Ipv4Addr;
use std::time::Duration;

use bowline::kernel::indoors::settle;
use integration::lab::{Namespace, eventually, is_usable};

use super::block_on;

/// Who would answer there may have died.
#[test]
fn an_address_that_nobody_renews_goes_by_itself() {
    if !is_usable() {
        return;
    }
    let space = Namespace::new("indoors");
    let address = Ipv4Addr::new(169, 254, 0, 53);
    let settle = |seconds| {
        let lifetime = Duration::from_secs(seconds);
        block_on(settle(&space.open(), address, lifetime)).unwrap();
    };
    let shown = || space.ip(&["address", "show", "dev", "lo"]);
    settle(300);
    assert!(
        shown().contains("inet 169.254.0.53/32 scope host"),
        "{}",
        shown()
    );
    // It is given another time, and not twice.
    settle(1);
    assert_eq!(shown().matches("169.254.0.53").count(), 1);
    eventually("it is gone", || !shown().contains("169.254.0.53"));
}
