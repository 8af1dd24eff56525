//! What becomes of the packet in the end, why, and how to mend it.

use std::fmt;

use maps_schema::DropReason;
use serde::Serialize;

use super::party::NamedPort;

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
        /// Where the port is declared, as `file:line:column`.
        origin: Option<String>,
    },
    /// It goes to all these ports.
    Flooded {
        /// The ports, in order.
        ports: Vec<String>,
    },
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
    /// How to mend it.
    pub hint: Option<String>,
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
            hint: Some(hint.into()),
        })
    }

    /// The datapath drops the packet.
    pub(super) fn dropped(reason: DropReason, circumstances: &Circumstances<'_>) -> Self {
        Self::Dropped(Refusal {
            reason: reason.name(),
            meaning: reason.meaning().to_owned(),
            hint: circumstances.hint(reason),
        })
    }
}

/// Why a workload's kernel sends nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotSent {
    Unplugged,
    NoAddress,
    NoRoute,
    TcpToGroup,
    Unanswered,
}

impl NotSent {
    const fn name(self) -> &'static str {
        match self {
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
    pub(super) holder: Option<NamedPort<'a>>,
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
            | DropReason::UnknownNetwork => {
                Some("what is loaded is not what the file says: load it again".to_owned())
            }
            DropReason::SamePort => Some(format!(
                "the MAC address was last seen behind {from} itself: look there for a loop, or for \
                 a station with the address of another"
            )),
            _ => None,
        }
    }

    /// What to do if the one who was given the address is not there.
    pub(super) fn plug_in(&self) -> Option<String> {
        let (name, _) = self.holder.filter(|_| !self.is_plugged)?;
        Some(plug_in(&name.workload))
    }
}

/// What to do about a workload that is not there.
pub(super) fn plug_in(workload: &str) -> String {
    format!("start workload {workload}, then load the file again")
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered { port, next_hop, .. } => {
                let role = if *next_hop { ", the next hop" } else { "" };
                write!(f, "delivered to {port}{role}")
            }
            Self::Flooded { ports } => write!(f, "flooded to {}", listed(ports)),
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
