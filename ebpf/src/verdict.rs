//! What is to become of a frame, as the walk decided it. Nothing has been written yet.

use maps_schema::map::Network;
use maps_schema::{DropReason, PortId};

use crate::edit::resolution::Reply;

/// What is to become of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes to this port, as it is.
    Deliver(PortId),
    /// It is for this port of a virtual router.
    Route(PortId),
    /// It goes to every port of the network but the one that it came from.
    Flood(Network),
    /// It is turned into an answer and goes back to where it came from.
    Reply(Reply),
    /// It told this port of a virtual router what that had asked for, and ends there.
    Consume(PortId),
    /// It goes nowhere.
    Drop(DropReason),
}
