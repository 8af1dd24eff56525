//! Identifiers: small numbers that stand for objects of the topology file.
//!
//! An id is derived from the object's name, so that it stays the same when the rest of the file
//! changes and is the same on every host. They are stored in the machine's own byte order: both
//! sides of a map live on one machine.

use crate::plain::plain;

/// A port: the place where a workload is plugged into a network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct PortId(pub u32);

impl PortId {
    /// No port: what is counted under it happened before the port was known.
    pub const NONE: Self = Self(0);
}

/// A virtual router.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct RouterId(pub u32);

impl RouterId {
    /// No router.
    pub const NONE: Self = Self(0);
}

/// An immutable list of the next hops of a route, one per bucket of the flow hash. Its id is derived
/// from its content, as that of a [`FloodList`] is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct NextHopList(pub u32);

/// A group of addresses that policies speak of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct GroupId(pub u32);

impl GroupId {
    /// No group.
    pub const NONE: Self = Self(0);
}

/// An immutable list of rules. Its id is derived from its content, as that of a [`FloodList`] is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct PolicyList(pub u32);

impl PolicyList {
    /// No list: everything may pass.
    pub const NONE: Self = Self(0);
}

/// A rule of a policy, or the default of one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct RuleId(pub u32);

impl RuleId {
    /// No rule.
    pub const NONE: Self = Self(0);
}

/// An interface index of the host's network namespace, as the kernel numbers them (from 1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct IfIndex(pub u32);

/// An immutable list of the ports that a flooded frame goes to. The id is derived from the list's
/// content: a network whose ports change gets a new list, written in full before the network's row
/// points at it, so that a frame is flooded along the old list or the new one and never a mixture.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct FloodList(pub u32);

impl FloodList {
    /// No list.
    pub const NONE: Self = Self(0);
    /// No list either: the note of a frame that has its outer header already.
    pub const WRAPPED: Self = Self(u32::MAX);
}

plain! {
    PortId = 4;
    IfIndex = 4;
    FloodList = 4;
    RouterId = 4;
    NextHopList = 4;
    GroupId = 4;
    PolicyList = 4;
    RuleId = 4;
}
