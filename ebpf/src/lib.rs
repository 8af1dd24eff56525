//! The datapath: what becomes of a frame.
//!
//! A frame goes through these modules once, forward. [`pipeline`] is the whole journey on one page:
//! [`parse`] turns bytes into values, [`guard`] refuses what the port may not send, [`learning`]
//! notes where a station is, [`bridge`] decides, [`answer`] answers for stations that are known,
//! [`edit`] is the only writer of the frame's bytes.
//!
//! Everything is generic over [`Frame`] (the bytes; [`Bytes`] where they are only read) and [`Tables`]
//! (the lookups). The kernel's
//! programs implement the two over socket buffers and maps, user space over a byte buffer and the
//! plan, so that the same compiled decision serves the kernel, `bowline trace`, the tests and the
//! fuzzer.
//!
//! Nothing here allocates, loops without a bound, panics or uses `unsafe`.

#![cfg_attr(target_arch = "bpf", no_std)]
#![forbid(unsafe_code)]

mod admission;
pub mod answer;
pub mod bridge;
pub mod checksum;
pub mod departure;
pub mod direct;
pub mod echo;
pub mod ecmp;
pub mod ecn;
pub mod edit;
pub mod flood;
pub mod flow;
pub mod frame;
pub mod guard;
pub mod icmp;
pub mod learning;
#[cfg(not(target_arch = "bpf"))]
pub mod memory;
pub(crate) mod nat;
pub(crate) mod outside;
pub mod parse;
pub mod pipeline;
pub mod policy;
pub mod resolver;
pub mod router;
#[cfg(test)]
mod scene;
pub mod tables;
pub mod tcp;
pub mod uplink;
pub mod verdict;

pub use departure::{depart, prepare};
pub use frame::{Bytes, Frame, Refused, Short, Step};
pub use pipeline::{Action, Progress, Scratch, pass, port_ingress, route};
pub use tables::{Count, Tables};
pub use uplink::{bare, uplink_ingress, uplink_xdp};
pub use verdict::Verdict;
