//! The contract between bowline's datapath and its user space.
//!
//! Everything that crosses the boundary is here and nowhere else: the maps with their keys, values,
//! sizes, writers and readers ([`map`]), identifiers and wire-order addresses ([`id`], [`address`]),
//! the reasons for dropping a frame ([`reason`]), counters and event records ([`record`]), and how long
//! connections are remembered ([`timeout`]).
//!
//! Rules that hold for every type that is stored in a map:
//!
//! - plain bytes and integers only: no enum, `bool`, `Option` or implicit padding, so that every bit
//!   pattern is a valid value. Code points are decoded with `TryFrom` where they are read;
//! - what is on the wire in network order is a byte array here and never a bare integer;
//! - sizes are asserted at compile time, so a field cannot be added without noticing the layout.
//!
//! No logic lives here beyond conversion.

#![cfg_attr(not(test), no_std)]
#![forbid(clippy::indexing_slicing)]

pub mod address;
pub mod id;
pub mod map;
pub mod plain;
pub mod reason;
pub mod record;
pub mod timeout;

pub use address::{Ip, Mac, Vni};
pub use id::{FloodList, GroupId, IfIndex, NextHopList, PolicyList, PortId, RouterId, RuleId};
pub use plain::Plain;
pub use reason::DropReason;
pub use timeout::{Phase, Timeouts};

/// Version of everything in this crate: the loader refuses an object that was built from another one,
/// and keeps the pins of each version in a folder of their own, so that an upgrade never reads the
/// rows of an older layout.
///
/// It is raised with every change of a key, a value, a code point or the meaning of one of them.
pub const SCHEMA_VERSION: u32 = 7;

/// Name of the ELF section of the datapath's object that holds [`SCHEMA_VERSION`] as four bytes in
/// little-endian order.
pub const SCHEMA_SECTION: &str = "bowline_schema";
