//! What the datapath reports: counters per port and events.

use crate::id::{IfIndex, PortId};
use crate::plain::plain;
use crate::reason::REASON_SLOTS;

/// Counters of one port on one CPU. A frame that the sender's or the driver's segmentation offload
/// left whole counts once, as it does on the kernel's own interfaces; bytes are those of the frame
/// from the Ethernet header on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct PortCounters {
    /// Frames that entered the virtual network through this port, dropped ones included.
    pub ingress_packets: u64,
    /// Bytes of the same.
    pub ingress_bytes: u64,
    /// Frames that were handed to this port's workload.
    pub egress_packets: u64,
    /// Bytes of the same.
    pub egress_bytes: u64,
    /// Frames that entered through this port and were dropped, by the code point of their
    /// [`DropReason`](crate::reason::DropReason).
    pub drops: [u64; REASON_SLOTS],
}

impl PortCounters {
    /// Nothing counted yet.
    pub const ZERO: Self = Self {
        ingress_packets: 0,
        ingress_bytes: 0,
        egress_packets: 0,
        egress_bytes: 0,
        drops: [0; REASON_SLOTS],
    };
}

/// What was heard from a peer. Times are in nanoseconds of `CLOCK_MONOTONIC_COARSE`, and 0 is never.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct PeerState {
    /// When any frame came from it last; accurate to a tenth of a second.
    pub heard_ns: u64,
    /// When it answered an echo last.
    pub answered_ns: u64,
    /// How long that answer took, in nanoseconds.
    pub rtt_ns: u64,
    /// How many answers came.
    pub answers: u32,
    /// The sequence number of the echo that was answered last.
    pub sequence: u32,
    /// The length of the largest IP packet of the underlay that was answered since the state was
    /// made, in bytes.
    pub answered_len: u32,
    /// Always 0.
    pub reserved: u32,
}

impl PeerState {
    /// Nothing was heard yet.
    pub const ZERO: Self = Self {
        heard_ns: 0,
        answered_ns: 0,
        rtt_ns: 0,
        answers: 0,
        sequence: 0,
        answered_len: 0,
        reserved: 0,
    };
}

/// How much of a dropped frame goes into a [`DropEvent`], in bytes: Ethernet, two VLAN tags, IPv6
/// and the beginning of TCP fit.
pub const EVENT_HEAD_LEN: usize = 96;

/// One dropped frame, as it is written to the ring buffer `EVENTS` when events are switched on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct DropEvent {
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// The interface that the frame came in on.
    pub ifindex: IfIndex,
    /// The port behind it, or [`PortId::NONE`].
    pub port: PortId,
    /// The frame's length in bytes, from the Ethernet header on.
    pub len: u32,
    /// Bytes of the frame in `head` that are valid.
    pub head_len: u16,
    /// Code point of the [`DropReason`](crate::reason::DropReason).
    pub reason: u8,
    /// Always 0.
    pub reserved: u8,
    /// The beginning of the frame.
    pub head: [u8; EVENT_HEAD_LEN],
}

plain! {
    PortCounters = 32 + 8 * REASON_SLOTS;
    PeerState = 8 + 8 + 8 + 4 + 4 + 4 + 4;
    DropEvent = 24 + EVENT_HEAD_LEN;
}
