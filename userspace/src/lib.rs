//! Bowline's user space: a YAML document becomes a topology, the topology a plan, the plan's
//! difference from what the kernel holds a few changes, and these are applied.
//!
//! `document`, `topology`, `plan`, `diff`, `directory`, `dns`, `conditions`, `doorways`, `driver`, `exchange` and
//! `trace` do no I/O; only `document` knows YAML and only `kernel` knows aya and netlink.

pub mod agent;
pub mod cli;
pub mod conditions;
mod counted;
pub mod diff;
pub mod directory;
pub mod dns;
pub mod docker;
pub mod doctor;
pub mod document;
pub mod doorways;
pub mod driver;
pub mod exchange;
pub mod fnv;
pub mod holdings;
pub mod host;
pub mod instance;
pub mod kernel;
pub mod ledger;
pub mod link;
pub mod plan;
pub mod problem;
pub mod program;
pub mod similar;
pub mod source;
pub mod subnet;
pub mod topology;
pub mod trace;
pub mod verdicts;
