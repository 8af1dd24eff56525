//! What routers tell senders (RFC 792, RFC 1812 section 4.3; RFC 4443).

use maps_schema::map::{Budget, BudgetKey};
use maps_schema::{Ip, RouterId};

use crate::parse::{Fragment, Kind, Packet, TransportKind, transport};
use crate::tables::Tables;

/// ICMP type of an echo request and of its answer.
pub const ECHO_REQUEST: u8 = 8;
/// As above.
pub const ECHO_REPLY: u8 = 0;
/// ICMPv6 type of an echo request and of its answer.
pub const ECHO_REQUEST_V6: u8 = 128;
/// As above.
pub const ECHO_REPLY_V6: u8 = 129;

/// How many errors, or resets, one receiver may get from one router at once, and per second after that.
const BURST: u32 = 16;
/// The time in which one more error may be sent, in nanoseconds.
const PERIOD_NS: u64 = 50_000_000;

/// What a sender is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// Nothing.
    None,
    /// The packet's time to live is used up.
    TimeExceeded,
    /// There is no route.
    NetUnreachable,
    /// The next hop does not answer.
    HostUnreachable,
    /// The router offers nothing there.
    PortUnreachable,
    /// The router does not know the protocol.
    ProtocolUnreachable,
    /// A route forbids it.
    Prohibited,
    /// The packet does not fit the next link.
    TooBig,
}

impl Message {
    /// Type and code in ICMP.
    #[must_use]
    #[inline(always)]
    pub const fn v4(self) -> [u8; 2] {
        match self {
            Self::TimeExceeded => [11, 0],
            Self::None | Self::NetUnreachable => [3, 0],
            Self::HostUnreachable => [3, 1],
            Self::ProtocolUnreachable => [3, 2],
            Self::PortUnreachable => [3, 3],
            Self::TooBig => [3, 4],
            Self::Prohibited => [3, 13],
        }
    }

    /// Type and code in ICMPv6.
    #[must_use]
    #[inline(always)]
    pub const fn v6(self) -> [u8; 2] {
        match self {
            Self::TimeExceeded => [3, 0],
            Self::None | Self::NetUnreachable => [1, 0],
            Self::Prohibited => [1, 1],
            Self::HostUnreachable => [1, 3],
            Self::PortUnreachable => [1, 4],
            Self::TooBig => [2, 0],
            // A parameter problem, which points to the number (RFC 8200 section 4).
            Self::ProtocolUnreachable => [4, 1],
        }
    }
}

/// The type of an echo request of the packet's family.
#[inline(always)]
pub(crate) const fn echo_request(packet: &Packet) -> u8 {
    match packet.kind {
        Kind::Ipv4 => ECHO_REQUEST,
        _ => ECHO_REQUEST_V6,
    }
}

/// Whether a packet is an echo request that can be answered.
#[inline(always)]
pub fn is_echo_request(packet: &Packet) -> bool {
    matches!(packet.transport.kind, TransportKind::Icmp)
        && matches!(packet.fragment, Fragment::Whole)
        && packet.transport.source == u16::from(echo_request(packet))
}

/// Whether an error may be sent about a packet at all (RFC 1812 section 4.3.2.7, RFC 4443 section 2.4
/// (e)): never about another error, a later fragment, or a packet to or from a group or nobody.
/// Packets to groups do not come this far.
#[inline(always)]
pub fn may_complain(packet: &Packet) -> bool {
    let is_error = matches!(packet.transport.kind, TransportKind::Icmp)
        && match packet.kind {
            // Unreachable, source quench, redirect, time exceeded, parameter problem.
            Kind::Ipv4 => matches!(packet.transport.source, 3 | 4 | 5 | 11 | 12),
            _ => packet.transport.source < 128,
        };
    // An ICMP packet whose type cannot be read may be an error.
    let is_opaque = matches!(packet.transport.kind, TransportKind::Absent)
        && matches!(packet.protocol, transport::ICMP | transport::ICMPV6);
    !is_error && !is_opaque && !matches!(packet.fragment, Fragment::Later)
}

/// Spends from the budget of errors of one router to one receiver; `false` if there is nothing left.
#[inline(always)]
pub fn spend<T: Tables>(tables: &T, router: RouterId, ip: Ip) -> bool {
    let key = BudgetKey { router, ip };
    let now = tables.now_ns();
    let mut budget = tables.budget(&key).unwrap_or(Budget {
        time_ns: now,
        tokens: BURST,
        reserved: 0,
    });
    let earned = now.saturating_sub(budget.time_ns) / PERIOD_NS;
    if earned > 0 {
        budget.time_ns = now;
        let room = u64::from(BURST.saturating_sub(budget.tokens));
        budget.tokens += if earned < room {
            earned as u32
        } else {
            room as u32
        };
    }
    if budget.tokens == 0 {
        return false;
    }
    budget.tokens -= 1;
    tables.spend(&key, &budget);
    true
}
