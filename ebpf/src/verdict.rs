//! What is to become of a frame, as the walk decided it. Nothing has been written yet.

use maps_schema::map::Network;
use maps_schema::{DropReason, FloodList, Ip, Mac, PortId};

use crate::edit::resolution::{Protocol, Reply};

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

/// A verdict as it is kept in the working memory, from where the next function takes it: flat, so that
/// every field always has a value; see [`crate::parse`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Which verdict it is.
    pub kind: Decided,
    /// `Deliver`, `Route` and `Consume`: the port.
    pub port: PortId,
    /// `Flood`: the network.
    pub network: Network,
    /// `Reply`: the answer.
    pub reply: Reply,
}

/// The verdicts but for a drop, which is an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decided {
    /// [`Verdict::Deliver`].
    Deliver,
    /// [`Verdict::Route`].
    Route,
    /// [`Verdict::Flood`].
    Flood,
    /// [`Verdict::Reply`].
    Reply,
    /// [`Verdict::Consume`].
    Consume,
}

impl Decision {
    /// Nothing was decided yet.
    pub const NONE: Self = Self {
        kind: Decided::Deliver,
        port: PortId::NONE,
        network: Network {
            flood: FloodList::NONE,
            flood_len: 0,
            ageing_ns: 0,
            flags: 0,
            reserved: 0,
        },
        reply: Reply {
            protocol: Protocol::Arp,
            ip: Ip::UNSPECIFIED_V6,
            mac: Mac::ZERO,
            asker_ip: Ip::UNSPECIFIED_V6,
            asker_mac: Mac::ZERO,
        },
    };

    /// Keeps a verdict.
    ///
    /// # Errors
    /// The reason why the frame is dropped.
    #[inline(always)]
    pub fn keep(&mut self, verdict: Verdict) -> Result<(), DropReason> {
        match verdict {
            Verdict::Deliver(port) => (self.kind, self.port) = (Decided::Deliver, port),
            Verdict::Route(port) => (self.kind, self.port) = (Decided::Route, port),
            Verdict::Flood(network) => (self.kind, self.network) = (Decided::Flood, network),
            Verdict::Reply(reply) => (self.kind, self.reply) = (Decided::Reply, reply),
            Verdict::Consume(port) => (self.kind, self.port) = (Decided::Consume, port),
            Verdict::Drop(reason) => return Err(reason),
        }
        Ok(())
    }
}
