//! Flows: what was decided about a packet holds for those after it that look alike.
//!
//! A flow is one direction of a connection, as it enters at one place. Its row says which way its
//! packets go, how far the connection has come, and where the answers enter, so that a packet of a known
//! flow costs one lookup, however many devices are on its way. The way is used as long as the *epoch* is
//! the one that it was found in; afterwards the flow's next packet is walked again, and the connection
//! goes on.
//!
//! Connections that only one side has taken part in are in a table of their own, [`Store::Embryos`], in
//! which the least recently used make room for new ones. What is established ([`Store::Connections`])
//! never makes room for them. Nobody needs to collect what is over: it is replaced when there is no room,
//! and nobody is taken in by it before, because its age is looked at.

mod claim;
mod fragment;
mod life;
pub(crate) mod related;
mod settle;
mod track;

use maps_schema::map::{Flow, FlowKey, IngressPort, NeighborKey};
use maps_schema::{PolicyList, PortId, Timeouts, Vni};

use crate::departure::{GUARDS_MAX, Origin, Way};
use crate::frame::Frame;
use crate::parse::Packet;
use crate::tables::Tables;
use crate::tcp;

pub(crate) use claim::has_port;
pub use life::phase;
pub(crate) use life::{end, refuse, renew};
pub(crate) use settle::settle;
pub(crate) use track::{Found, TRANSLATED, Track};
use track::{identify, is_outside};

/// The two tables of flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Store {
    /// Connections that both sides have taken part in.
    Connections,
    /// Connections that may come to nothing.
    Embryos,
}

/// How long a flow may be silent before it is asked whether it is over, in nanoseconds: less than
/// [`Timeouts::MIN`].
const SILENCE_NS: u64 = 8_000_000_000;
const _: () = assert!(SILENCE_NS < Timeouts::MIN as u64 * 1_000_000_000);
/// How often the other direction of a flow that goes on is looked at, as a power of two of nanoseconds,
/// about a second: either may have been replaced.
const REFRESH_SHIFT: u32 = 30;

/// What a look at a flow's row says: bits of a number, which is what LLVM and the verifier agree on.
mod seen {
    /// Its way can be used for the packet.
    pub(super) const USABLE: u32 = 1;
    /// The connection may have come further.
    pub(super) const PROGRESS: u32 = 2;
    /// It was silent for so long that it may be over. Nothing was noted.
    pub(super) const SILENT: u32 = 4;
}

/// Recalls what was decided about packets like this one. If that is still true, the way is in `track`,
/// and `true` is returned.
#[inline(always)]
pub(crate) fn recall<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    origin: &Origin,
    packet: &mut Packet,
    track: &mut Track,
) -> bool {
    track.clear();
    if !identify(frame, tables, origin, packet, track) {
        related::note(frame, tables, origin, packet, track);
        return false;
    }
    // What such a port sends is looked at every time, because it is learned from.
    let is_learning = origin.flags & IngressPort::LEARNING != 0;
    track.epoch = if is_learning {
        0
    } else {
        tables.epoch(origin.vni)
    };
    track.now_ns = tables.now_ns();
    let mut bits = look(tables, origin, packet, track);
    if bits & seen::SILENT != 0 {
        if life::is_over(tables, track) {
            track.begin(Found::Nothing);
            return false;
        }
        track.is_awake = true;
        bits = look(tables, origin, packet, track);
    }
    if bits & seen::PROGRESS != 0 && !life::advance(tables, track) {
        track.begin(Found::Nothing);
        return false;
    }
    bits & seen::USABLE != 0
}

/// Takes the way that was recalled.
#[inline(always)]
pub(crate) fn way(origin: Origin, track: &Track) -> Way {
    Way {
        origin,
        destination: track.draft.destination,
        vni: track.draft.vni,
        // Only segments that are never recalled are clamped.
        clamp: Way::UNCLAMPED,
        hops: track.draft.hops,
        mtu: track.draft.mtu,
        source: track.draft.source,
        target: track.draft.target,
        next_hop: NeighborKey::NONE,
        // They were asked when the connection began.
        forward: [PolicyList::NONE; GUARDS_MAX],
        behind: Vni::NONE,
        translated: track.flags & TRANSLATED,
    }
}

/// Looks the flow up, notes the packet, and copies the way if it can be used.
#[inline(never)]
fn look<T: Tables>(tables: &T, origin: &Origin, packet: &Packet, track: &mut Track) -> u32 {
    let key = track.key;
    let connection = |flow: &mut Flow| visit(flow, origin, packet, track);
    if let Some(bits) = tables.visit_flow(Store::Connections, &key, connection) {
        track.found = Found::Connection;
        return bits;
    }
    let embryo = |flow: &mut Flow| visit(flow, origin, packet, track);
    if let Some(bits) = tables.visit_flow(Store::Embryos, &key, embryo) {
        track.found = Found::Embryo;
        return bits;
    }
    track.found = Found::Nothing;
    0
}

#[inline(always)]
fn visit(flow: &mut Flow, origin: &Origin, packet: &Packet, track: &mut Track) -> u32 {
    let age = track.now_ns.saturating_sub(flow.seen_ns);
    if age > SILENCE_NS && !track.is_awake {
        return seen::SILENT;
    }
    let is_refresh = track.now_ns >> REFRESH_SHIFT != flow.seen_ns >> REFRESH_SHIFT;
    track.take(flow);
    flow.packets += 1;
    flow.bytes += u64::from(track.len);
    flow.seen_ns = track.now_ns;
    track.note(flow);
    let mut bits = 0;
    // The answer, and what follows on it.
    let is_reply = flow.flags & Flow::REPLY != 0;
    let comes_further = match flow.state {
        Flow::OPENED => is_reply,
        Flow::ANSWERED => !is_reply,
        _ => false,
    };
    if comes_further || track.is_turn() || is_refresh {
        bits |= seen::PROGRESS;
    }
    let is_usable = flow.epoch == track.epoch
        && track.epoch != 0
        && track.segment.flags & tcp::SYN == 0
        && flow.frame_destination == packet.destination
        && flow.frame_source == packet.source
        && (key_has_port(&track.key) || is_outside(&track.key) || flow.origin == origin.port)
        && u32::from(packet.ttl) > flow.hops
        && track.size <= flow.mtu;
    if is_usable {
        bits |= seen::USABLE;
        let draft = &mut track.draft;
        draft.destination = flow.destination;
        draft.vni = flow.vni;
        draft.hops = flow.hops;
        draft.mtu = flow.mtu;
        draft.source = flow.source;
        draft.target = flow.target;
    }
    bits
}

/// Whether a flow's key says where its packets enter.
#[inline(always)]
const fn key_has_port(key: &FlowKey) -> bool {
    key.port.0 != PortId::NONE.0
}
