//! Neighbors that nobody declared: routers ask for them (RFC 826, RFC 4861 section 7.2) and note what
//! is answered.
//!
//! The packet that a neighbor is asked for with is lost, as its sender's transport expects of a
//! network; the next one finds the answer.

use maps_schema::map::{IngressPort, NeighborKey, Resolved};
use maps_schema::{Mac, PortId};

use crate::parse::{Claim, Message, Packet};
use crate::tables::Tables;

/// How long an answer holds, in nanoseconds. Hosts ask for their routers more often than this, and
/// every question is an answer too.
const LIFETIME_NS: u64 = 300_000_000_000;
/// How long to wait between two questions, in nanoseconds (RFC 4861 section 10, RETRANS_TIMER).
const INTERVAL_NS: u64 = 1_000_000_000;
/// How often to ask before senders are told (RFC 4861 section 10, MAX_MULTICAST_SOLICIT).
const QUESTIONS: u32 = 3;
/// How long senders are told before it is tried again, in nanoseconds.
const SILENCE_NS: u64 = 5_000_000_000;

/// What to do about a neighbor that is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Search {
    /// Ask for it now.
    Ask,
    /// It was asked for a moment ago.
    Wait,
    /// It was asked for often enough.
    GiveUp,
}

/// Whether what is known of a neighbor may be used.
#[inline(always)]
pub fn is_fresh<T: Tables>(tables: &T, resolved: &Resolved) -> bool {
    resolved.port != PortId::NONE && age(tables, resolved) < LIFETIME_NS
}

/// What to do about a neighbor of which `known` is not fresh; a question that is due is noted.
#[inline(always)]
pub fn search<T: Tables>(tables: &T, key: &NeighborKey, known: Option<Resolved>) -> Search {
    let mut questions = 0;
    if let Some(resolved) = known
        && resolved.port == PortId::NONE
    {
        let age = age(tables, &resolved);
        if age < INTERVAL_NS {
            return Search::Wait;
        }
        if age < SILENCE_NS {
            if resolved.questions >= QUESTIONS {
                return Search::GiveUp;
            }
            questions = resolved.questions;
        }
    }
    let asked = Resolved {
        time_ns: tables.now_ns(),
        port: PortId::NONE,
        questions: questions + 1,
        mac: Mac::ZERO,
        reserved: 0,
    };
    tables.resolve(key, &asked);
    Search::Ask
}

/// Notes the sender of an ARP packet or of a neighbor discovery message, if a router asked for it
/// before; `true` if so. Others are not noted: nobody can fill the table who was not asked for.
#[inline(always)]
pub fn note_answer<T: Tables>(tables: &T, port: &IngressPort, packet: &Packet) -> bool {
    let ip = match packet.resolution.message {
        Message::ArpRequest | Message::ArpOther => packet.ip_source,
        Message::NeighborSolicitation => packet.ip_source,
        Message::NeighborAdvertisement => packet.resolution.target,
        Message::None | Message::RouterSolicitation | Message::FromRouter => return false,
    };
    let key = NeighborKey { vni: port.vni, ip };
    if !matches!(packet.resolution.claim, Claim::Sender) || tables.resolved(&key).is_none() {
        return false;
    }
    let answer = Resolved {
        time_ns: tables.now_ns(),
        port: port.port,
        questions: 0,
        mac: packet.source,
        reserved: 0,
    };
    tables.resolve(&key, &answer);
    true
}

/// Whether a message answers a question, or would: nobody forwards it.
#[inline(always)]
pub fn is_answer(packet: &Packet) -> bool {
    matches!(
        packet.resolution.message,
        Message::ArpOther | Message::NeighborAdvertisement
    )
}

#[inline(always)]
fn age<T: Tables>(tables: &T, resolved: &Resolved) -> u64 {
    tables.now_ns().saturating_sub(resolved.time_ns)
}
