//! Flows: what was decided about packets that look alike, and what is known of their connections.

use crate::address::{Ip, Mac, Vni};
use crate::id::PortId;
use crate::plain::plain;

/// Key of a flow: one direction of a conversation, as it enters at one place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(C)]
pub struct FlowKey {
    /// The port that it enters by; [`PortId::NONE`] for all other hosts, because what is routed there
    /// may come by way of any of them, and for the outside.
    pub port: PortId,
    /// The network that it enters; [`Vni::NONE`] from the outside.
    pub vni: Vni,
    /// Who sends it.
    pub source: Ip,
    /// Who it is for.
    pub destination: Ip,
    /// TCP and UDP: the sender's port, in host byte order. Echo requests: the identifier. 0 for all else.
    pub source_port: u16,
    /// TCP and UDP: the receiver's port, in host byte order. Echo replies: the identifier. 0 for all else.
    pub destination_port: u16,
    /// The protocol, as IANA numbers them.
    pub protocol: u8,
    /// Always 0: a key of whole words is hashed faster (`jhash2`).
    pub reserved: [u8; 3],
}

impl FlowKey {
    /// The addresses and ports that the flow's packets come in with.
    #[must_use]
    #[inline(always)]
    pub const fn endpoints(&self) -> Translation {
        Translation {
            source: self.source,
            destination: self.destination,
            source_port: self.source_port,
            destination_port: self.destination_port,
        }
    }

    /// A key of zeroes.
    pub const NONE: Self = Self {
        port: PortId::NONE,
        vni: Vni::NONE,
        source: Ip::UNSPECIFIED_V6,
        destination: Ip::UNSPECIFIED_V6,
        source_port: 0,
        destination_port: 0,
        protocol: 0,
        reserved: [0; 3],
    };
}

/// One direction of a connection, and the way that its packets go. Both directions have a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Flow {
    /// The epoch in which the way below was found; 0 if there is none to be used.
    pub epoch: u64,
    /// When its last packet was seen, in nanoseconds of `CLOCK_MONOTONIC_COARSE`.
    pub seen_ns: u64,
    /// When the connection began, likewise.
    pub began_ns: u64,
    /// How many packets were seen; what segmentation offload left whole counts once.
    pub packets: u64,
    /// How many bytes their frames had, from the Ethernet header on.
    pub bytes: u64,
    /// Where the answers enter: the key of the other direction, but for what is the same in both.
    pub other_port: PortId,
    /// As above: the network.
    pub other_vni: Vni,
    /// The port that its packets enter by, if that is not part of the key.
    pub origin: PortId,
    /// The way: the port that its packets leave by; before any has, the one that they answer to.
    pub destination: PortId,
    /// The way: the network that they are in when they get there.
    pub vni: Vni,
    /// The way: how many routers forward them.
    pub hops: u32,
    /// The way: the largest packet that fits through all of those routers, in bytes.
    pub mtu: u32,
    /// TCP: the sequence number behind what was sent last.
    pub next: u32,
    /// TCP: what was acknowledged last.
    pub acked: u32,
    /// The MAC addresses that its packets have when they enter.
    pub frame_destination: Mac,
    /// As above.
    pub frame_source: Mac,
    /// The way: the MAC addresses that they leave with, if routers forward them.
    pub target: Mac,
    /// As above.
    pub source: Mac,
    /// How far the connection has come: [`Flow::OPENED`] and the others.
    pub state: u8,
    /// [`Flow::REPLY`], [`Flow::FINISHED`], [`Flow::OTHER_FINISHED`], [`Flow::SOURCE`],
    /// [`Flow::DESTINATION`], [`Flow::REFUSED`].
    pub flags: u8,
    /// Always 0.
    pub reserved: [u8; 6],
    /// What its packets leave with.
    pub translation: Translation,
}

/// The addresses and ports that packets leave with, where they are translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Translation {
    /// Who sends them, with [`Flow::SOURCE`].
    pub source: Ip,
    /// Who they are for, with [`Flow::DESTINATION`].
    pub destination: Ip,
    /// As the source: what [`FlowKey::source_port`] says.
    pub source_port: u16,
    /// As the destination: what [`FlowKey::destination_port`] says.
    pub destination_port: u16,
}

impl Translation {
    /// Nothing is translated.
    pub const NONE: Self = Self {
        source: Ip::UNSPECIFIED_V6,
        destination: Ip::UNSPECIFIED_V6,
        source_port: 0,
        destination_port: 0,
    };

    /// What becomes of addresses and ports, of which the flags say what is translated.
    #[must_use]
    #[inline(always)]
    pub const fn apply(&self, from: &Self, flags: u8) -> Self {
        let mut outcome = *from;
        if flags & Flow::SOURCE != 0 {
            (outcome.source, outcome.source_port) = (self.source, self.source_port);
        }
        if flags & Flow::DESTINATION != 0 {
            (outcome.destination, outcome.destination_port) =
                (self.destination, self.destination_port);
        }
        outcome
    }

    /// As the packets of the other direction have them.
    #[must_use]
    #[inline(always)]
    pub const fn reversed(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
        }
    }
}

impl Flow {
    /// State: only the side that began it has said something.
    pub const OPENED: u8 = 0;
    /// State: the other side has answered.
    pub const ANSWERED: u8 = 1;
    /// State: the side that began it has heard that, and goes on.
    pub const ESTABLISHED: u8 = 2;
    /// State: it was reset.
    pub const RESET: u8 = 3;

    /// Flag: this is the direction of those who answer.
    pub const REPLY: u8 = 1;
    /// Flag: this side has nothing more to say.
    pub const FINISHED: u8 = 2;
    /// Flag: the other side has nothing more to say; twice the flag before.
    pub const OTHER_FINISHED: u8 = 4;
    /// Flag: the source of its packets is translated.
    pub const SOURCE: u8 = 8;
    /// Flag: the destination of its packets is translated; twice the flag before.
    pub const DESTINATION: u8 = 16;
    /// Flag, in both directions: the side that began the connection may not go on with it. The rows stay, so
    /// that nobody takes the other side for the one that began it.
    pub const REFUSED: u8 = 32;

    /// A flow of which nothing is known.
    pub const NONE: Self = Self {
        epoch: 0,
        seen_ns: 0,
        began_ns: 0,
        packets: 0,
        bytes: 0,
        other_port: PortId::NONE,
        other_vni: Vni::NONE,
        origin: PortId::NONE,
        destination: PortId::NONE,
        vni: Vni::NONE,
        hops: 0,
        mtu: 0,
        next: 0,
        acked: 0,
        frame_destination: Mac::ZERO,
        frame_source: Mac::ZERO,
        target: Mac::ZERO,
        source: Mac::ZERO,
        state: Self::OPENED,
        flags: 0,
        reserved: [0; 6],
        translation: Translation::NONE,
    };

    /// What the other direction is at first; `key` is this one's.
    #[must_use]
    #[inline(always)]
    pub const fn mirrored(&self, key: &FlowKey) -> Self {
        let finished =
            (self.flags & Self::FINISHED) << 1 | (self.flags & Self::OTHER_FINISHED) >> 1;
        // What is sent from a translated source is answered to there, and so on.
        let translated = (self.flags & Self::SOURCE) << 1 | (self.flags & Self::DESTINATION) >> 1;
        Self {
            seen_ns: self.seen_ns,
            began_ns: self.began_ns,
            other_port: key.port,
            other_vni: key.vni,
            origin: self.destination,
            destination: self.origin,
            state: self.state,
            flags: (self.flags ^ Self::REPLY) & Self::REPLY
                | self.flags & Self::REFUSED
                | finished
                | translated,
            translation: key.endpoints().reversed(),
            ..Self::NONE
        }
    }

    /// The addresses and ports that its packets leave with, translated or not; `key` is its own.
    #[must_use]
    #[inline(always)]
    pub const fn outcome(&self, key: &FlowKey) -> Translation {
        self.translation.apply(&key.endpoints(), self.flags)
    }

    /// The key of the other direction of the flow that has this key.
    #[must_use]
    #[inline(always)]
    pub const fn other(&self, key: &FlowKey) -> FlowKey {
        let Translation {
            source,
            destination,
            source_port,
            destination_port,
        } = self.outcome(key);
        FlowKey {
            port: self.other_port,
            vni: self.other_vni,
            source: destination,
            destination: source,
            source_port: destination_port,
            destination_port: source_port,
            protocol: key.protocol,
            reserved: [0; 3],
        }
    }
}

/// Key of what the first fragment of a packet says: what all of its fragments have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct FragmentKey {
    /// Where it enters, as [`FlowKey::port`].
    pub port: PortId,
    /// As above: the network.
    pub vni: Vni,
    /// Who sends it.
    pub source: Ip,
    /// Who it is for.
    pub destination: Ip,
    /// The packet's identification, in network byte order; IPv4 has 16 bits of it.
    pub identification: u32,
    /// The protocol, as IANA numbers them.
    pub protocol: u8,
    /// Always 0.
    pub reserved: [u8; 3],
}

impl FragmentKey {
    /// A key of zeroes.
    pub const NONE: Self = Self {
        port: PortId::NONE,
        vni: Vni::NONE,
        source: Ip::UNSPECIFIED_V6,
        destination: Ip::UNSPECIFIED_V6,
        identification: 0,
        protocol: 0,
        reserved: [0; 3],
    };
}

/// What the first fragment of a packet says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Start {
    /// When it was seen, in nanoseconds of `CLOCK_MONOTONIC_COARSE`.
    pub seen_ns: u64,
    /// [`FlowKey::source_port`] of its flow.
    pub source_port: u16,
    /// [`FlowKey::destination_port`] of its flow.
    pub destination_port: u16,
    /// The sender's port, or the type of an ICMP message, in host byte order.
    pub source: u16,
    /// The receiver's port, or the code of an ICMP message.
    pub destination: u16,
}

/// When the ways of a network's flows were found that may still be used: a number that changes with
/// everything that such a way depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Epoch {
    /// The number; never 0.
    pub number: u64,
}

plain! {
    FlowKey = 4 + 4 + 16 + 16 + 2 + 2 + 1 + 3;
    Flow = 5 * 8 + 9 * 4 + 4 * 6 + 2 + 6 + 36;
    Translation = 2 * 16 + 2 * 2;
    Epoch = 8;
    FragmentKey = 2 * 4 + 2 * 16 + 4 + 1 + 3;
    Start = 8 + 4 * 2;
}
