//! What becomes of the packet in the end, why, and how to mend it.

use std::fmt;

use maps_schema::DropReason;
use serde::Serialize;

use super::party::Holder;

/// What becomes of the packet in the end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Outcome {
    /// It is handed to the workload behind this port.
    Delivered {
        /// The port.
        port: String,
        /// Whether this is only the next hop, which takes the packet further.
        next_hop: bool,
        /// The time to live, or hop limit, that routers left it.
        #[serde(skip_serializing_if = "Option::is_none")]
        ttl: Option<u8>,
        /// Where the port is declared, as `file:line:column`.
        origin: Option<String>,
    },
    /// It goes to another host or an ordinary VTEP, which takes it further.
    Sent {
        /// The peer.
        peer: String,
        /// The port there that it is for, if it is declared.
        port: Option<String>,
        /// Whether this is only the next hop, which takes the packet further.
        next_hop: bool,
        /// Where the port is declared, as `file:line:column`.
        origin: Option<String>,
    },
    /// It goes outside, by the host's own routing.
    Outside {
        /// The router by whose uplink it leaves.
        router: String,
        /// The address that it has then.
        source: String,
        /// Where the uplink is declared, as `file:line:column`.
        origin: String,
    },
    /// It goes to all these ports.
    Flooded {
        /// The ports, in order.
        ports: Vec<String>,
    },
    /// A router, whose address it is for, answers it.
    Answered {
        /// The router.
        router: String,
        /// Where the port that has the address is declared, as `file:line:column`.
        origin: String,
    },
    /// It is left to the host, which may route it or drop it: it is for no workload there.
    Passed,
    /// It stays within the workload, because the destination is an address of its own.
    Kept {
        /// The workload.
        workload: String,
    },
    /// The datapath drops it.
    Dropped(Refusal),
    /// The workload's kernel has no way to send it.
    NotSent(Refusal),
}

/// Why a packet does not get anywhere.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Refusal {
    /// A stable name: that of the [`DropReason`], or of what prevents the sending.
    pub reason: &'static str,
    /// What that means, as a sentence.
    pub meaning: String,
    /// What its sender is told, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told: Option<Box<Told>>,
    /// How to mend it.
    pub hint: Option<String>,
}

/// What the sender of a packet is told about it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Told {
    /// What the message says, in words.
    pub message: &'static str,
    /// The message's type; nothing if it is a TCP reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u16>,
    /// The message's code; nothing if it is a TCP reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u16>,
    /// The address that it comes from: a router's, or in its name that of whom the packet was for.
    pub from: String,
    /// The router's port that has this address, if one has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            message,
            icmp_type,
            icmp_code,
            from,
            port,
        } = self;
        write!(f, "the sender is told: {message} (")?;
        let protocol = if from.contains(':') { "ICMPv6" } else { "ICMP" };
        match (icmp_type, icmp_code) {
            (Some(kind), Some(code)) => write!(f, "{protocol} type {kind}, code {code}")?,
            _ => f.write_str("TCP reset")?,
        }
        write!(f, "), from {from}")?;
        match port {
            Some(port) => write!(f, " at {port}"),
            None => Ok(()),
        }
    }
}

impl Outcome {
    /// The packet is not sent.
    pub(super) fn not_sent(
        reason: NotSent,
        meaning: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::NotSent(Refusal {
            reason: reason.name(),
            meaning: meaning.into(),
            told: None,
            hint: Some(hint.into()),
        })
    }
}

/// Why a workload's kernel sends nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotSent {
    Elsewhere,
    Unplugged,
    NoAddress,
    NoRoute,
    TcpToGroup,
    Unanswered,
}

impl NotSent {
    const fn name(self) -> &'static str {
        match self {
            Self::Elsewhere => "elsewhere",
            Self::Unplugged => "unplugged",
            Self::NoAddress => "no_address",
            Self::NoRoute => "no_route",
            Self::TcpToGroup => "tcp_to_group",
            Self::Unanswered => "unanswered",
        }
    }
}

/// What a hint depends on.
pub(super) struct Circumstances<'a> {
    /// The port that the frame came in at.
    pub(super) from: String,
    /// Its network.
    pub(super) network: &'a str,
    /// Who was given the address, in this network.
    pub(super) holder: Option<Holder<'a>>,
    /// Whether something is plugged in there.
    pub(super) is_plugged: bool,
}

impl Circumstances<'_> {
    /// How to mend what makes the datapath drop the frame.
    pub(super) fn hint(&self, reason: DropReason) -> Option<String> {
        let Self { from, network, .. } = self;
        match reason {
            DropReason::UnknownUnicast | DropReason::NoOtherPort | DropReason::PortUnplugged
                if let Some(hint) = self.plug_in() =>
            {
                Some(hint)
            }
            DropReason::UnknownUnicast => Some(format!(
                "plug the destination into network {network}, or set `unknown_unicast: flood` there"
            )),
            DropReason::NoOtherPort => {
                Some(format!("plug another workload into network {network}"))
            }
            DropReason::SpoofedMac
            | DropReason::SpoofedIp
            | DropReason::SpoofedArp
            | DropReason::SpoofedNeighbor => Some(format!(
                "what is loaded does not give {from} this address: load the file again, or set \
                 `spoofing: allow` at the port"
            )),
            DropReason::PortUnplugged
            | DropReason::UnknownInterface
            | DropReason::UnknownRouterPort
            | DropReason::UnknownNetwork => Some(LOAD_AGAIN.to_owned()),
            DropReason::Martian => Some(
                "such an address holds within one network only: no router forwards it".to_owned(),
            ),
            DropReason::SamePort => Some(format!(
                "the MAC address was last seen behind {from} itself: look there for a loop, or for \
                 a station with the address of another"
            )),
            _ => None,
        }
    }

    /// What to do if the one who was given the address is not there.
    pub(super) fn plug_in(&self) -> Option<String> {
        let holder = self.holder.filter(|_| !self.is_plugged)?;
        Some(holder.plug_in())
    }
}

/// What to do about rows that are not what the file says.
pub(super) const LOAD_AGAIN: &str = "what is loaded is not what the file says: load it again";

/// What to do about a workload that is not there.
pub(super) fn plug_in(workload: &str) -> String {
    format!("start workload {workload}, then load the file again")
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered {
                port,
                next_hop,
                ttl,
                origin: _,
            } => {
                let role = if *next_hop { ", the next hop" } else { "" };
                write!(f, "delivered to {port}{role}")?;
                match ttl {
                    Some(ttl) => write!(f, ", with TTL {ttl}"),
                    None => Ok(()),
                }
            }
            Self::Outside { router, source, .. } => {
                write!(f, "sent outside by router {router}, from {source}")
            }
            Self::Sent {
                peer,
                port,
                next_hop,
                origin: _,
            } => {
                write!(f, "sent to {peer}")?;
                match (port, next_hop) {
                    (Some(port), true) => write!(f, ", to {port}, the next hop"),
                    (Some(port), false) => write!(f, ", to {port}"),
                    (None, _) => Ok(()),
                }
            }
            Self::Answered { router, .. } => write!(f, "answered by router {router}"),
            Self::Flooded { ports } => write!(f, "flooded to {}", listed(ports)),
            Self::Passed => f.write_str("left to the host: no workload there has the address"),
            Self::Kept { workload } => write!(f, "stays in {workload}: the address is its own"),
            Self::Dropped(refusal) => write!(f, "dropped: {}", refusal.reason),
            Self::NotSent(refusal) => write!(f, "not sent: {}", refusal.reason),
        }
    }
}

/// Names in one line, so many that it stays readable.
pub(super) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 8;
    match names.split_at_checked(SHOWN) {
        Some((shown, rest)) if !rest.is_empty() => {
            format!("{} and {} more", shown.join(", "), rest.len())
        }
        _ => names.join(", "),
    }
}
