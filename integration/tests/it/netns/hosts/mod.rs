//! Several hosts with one topology, as a user notices them.

mod direct;
mod dissecting;
mod flooding;
mod interop;
mod itself;
mod living;
mod place;
mod reaching;
mod refusing;
mod sizing;
mod tracing;

use std::net::IpAddr;

use integration::lab::{Fleet, Underlay, eventually, ping};
use serde_json::Value;

/// An instance on every host.
pub(super) fn fleet(underlay: &Underlay) -> Fleet<'_> {
    underlay.instances(env!("CARGO_BIN_EXE_lab-bowline"))
}

/// Waits until one workload reaches an address.
#[track_caller]
fn assert_reaches(underlay: &Underlay, from: &str, to: &str) {
    let address = ip(to);
    eventually(&format!("{from} reaches {to}"), || {
        ping(underlay.workload(from), address)
    });
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// How many frames a host has dropped for a reason, at one port or, if that is `None`, at no port's
/// account.
pub(super) fn drops(fleet: &Fleet<'_>, host: &str, reason: &str) -> u64 {
    let stats = fleet.on(host).json(&["stats"]);
    sum(&stats, reason)
}

/// All numbers with this name, however deep.
fn sum(value: &Value, name: &str) -> u64 {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| match value.as_u64() {
                Some(number) if key == name => number,
                _ => sum(value, name),
            })
            .sum(),
        Value::Array(values) => values.iter().map(|value| sum(value, name)).sum(),
        _ => 0,
    }
}
