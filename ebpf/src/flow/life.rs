//! How far a connection has come, and when it is over.

use maps_schema::Phase;
use maps_schema::map::Flow;

use super::Store;
use super::track::{FLIGHT, Found, Track, is_behind, is_other};
use crate::parse::transport;
use crate::tables::Tables;
use crate::tcp;

/// Both sides have nothing more to say.
const BOTH: u8 = Flow::FINISHED | Flow::OTHER_FINISHED;

/// What it depends on how long a connection of a protocol may be silent. State and flags are those of a
/// [`Flow`].
#[must_use]
pub const fn phase(protocol: u8, state: u8, flags: u8) -> Phase {
    match (state, protocol) {
        (Flow::RESET, _) => Phase::Reset,
        (Flow::ESTABLISHED, transport::TCP) => match flags & BOTH {
            0 => Phase::Established,
            BOTH => Phase::Closed,
            _ => Phase::HalfClosed,
        },
        (Flow::ESTABLISHED, transport::UDP) => Phase::Datagrams,
        (Flow::ESTABLISHED, transport::ICMP | transport::ICMPV6) => Phase::Echoes,
        (Flow::ESTABLISHED, _) => Phase::Others,
        (_, _) => Phase::Opening,
    }
}

/// Copies the rows of both directions into the working memory; `false` if the flow's own has just been
/// replaced. Where the other one has been, it becomes what follows from this one. A flow that has lost it to
/// another one gets no answers any more: it is forgotten, too.
#[inline(never)]
fn draft<T: Tables>(tables: &T, track: &mut Track) -> bool {
    let store = track.found.store();
    // The keys stay where they are, as the stack has no room for copies.
    let Track {
        key,
        other,
        draft,
        mirror,
        is_paired,
        ..
    } = track;
    let own = tables.visit_flow(store, key, |flow| {
        *other = flow.other(key);
        *draft = *flow;
        *mirror = flow.mirrored(key);
    });
    if own.is_none() {
        return false;
    }
    let paired = tables.visit_flow(store, other, |flow| {
        let is_own = is_other(flow, other, key);
        if is_own {
            *mirror = *flow;
        }
        is_own
    });
    if paired == Some(false) {
        tables.forget_flow(store, key);
        return false;
    }
    *is_paired = paired.is_some();
    true
}

/// Whether the flow was silent for longer than its connection lasts, in both directions. It is forgotten
/// then.
#[inline(never)]
pub(super) fn is_over<T: Tables>(tables: &T, track: &mut Track) -> bool {
    if !draft(tables, track) {
        return true;
    }
    let last_ns = track.draft.seen_ns.max(track.mirror.seen_ns);
    let silence_ns = track.now_ns.saturating_sub(last_ns);
    let phase = phase(track.key.protocol, track.draft.state, track.draft.flags);
    if silence_ns < tables.timeout_ns(phase) {
        return false;
    }
    forget(tables, track);
    true
}

/// The connection may not go on: it is forgotten.
#[inline(never)]
pub(crate) fn end<T: Tables>(tables: &T, track: &mut Track) {
    let is_known = matches!(track.found, Found::Embryo | Found::Connection);
    if is_known && draft(tables, track) {
        forget(tables, track);
    }
}

/// The packet begins another connection than the one that it would go on with.
#[inline(never)]
pub(crate) fn renew<T: Tables>(tables: &T, track: &mut Track) {
    end(tables, track);
    track.begin(Found::Nothing);
}

/// The packet may not pass. Its connection stays known, because what the other side says next must not begin
/// one by which this packet would be an answer; nor does anything end it that does not arrive.
#[inline(never)]
pub(crate) fn refuse<T: Tables>(tables: &T, track: &mut Track) {
    if track.flags & Flow::REPLY != 0 {
        // The other side was not refused anything.
        return;
    }
    mark(tables, track, |flow| {
        flow.flags = flow.flags & !BOTH | Flow::REFUSED;
        flow.state = flow.state.min(Flow::ESTABLISHED);
        flow.epoch = 0;
    });
    // What it said may have moved the connection to where anybody makes it yield.
    if matches!(track.found, Found::Embryo)
        && track.is_turn()
        && draft(tables, track)
        && track.draft.state == Flow::ESTABLISHED
    {
        relocate(tables, track, Found::Connection);
    }
}

/// The side that began the connection may go on with it.
#[inline(never)]
pub(super) fn permit<T: Tables>(tables: &T, track: &mut Track) {
    mark(tables, track, |flow| flow.flags &= !Flow::REFUSED);
    track.flags &= !Flow::REFUSED;
}

/// Changes the rows of both directions, if there are any.
#[inline(always)]
fn mark<T: Tables>(tables: &T, track: &mut Track, change: impl Fn(&mut Flow)) {
    if !track.is_known() {
        return;
    }
    let store = track.found.store();
    let Track { key, other, .. } = track;
    let own = tables.visit_flow(store, key, |flow| {
        *other = flow.other(key);
        change(flow);
    });
    if own.is_some() {
        tables.visit_flow(store, other, change);
    }
}

/// Forgets the connection.
#[inline(always)]
fn forget<T: Tables>(tables: &T, track: &Track) {
    let store = track.found.store();
    tables.forget_flow(store, &track.key);
    tables.forget_flow(store, &track.other);
}

/// Notes how far the connection has come with this packet, in both directions. `false` if it is a new
/// one in the place of one that is over, which is forgotten.
#[inline(never)]
pub(super) fn advance<T: Tables>(tables: &T, track: &mut Track) -> bool {
    if !draft(tables, track) {
        // Another CPU may have found it established just now.
        track.found = Found::Connection;
        if !draft(tables, track) {
            return false;
        }
    }
    let segment = &track.segment;
    let is_begin = segment.flags & (tcp::SYN | tcp::ACK | tcp::RST) == tcp::SYN;
    if is_begin && is_closed(&track.draft) && !track.is_refused() {
        forget(tables, track);
        return false;
    }
    let store = track.found.store();
    proceed(track);
    let (draft, mirror) = (&track.draft, &track.mirror);
    // What is established goes where nothing that is not takes its place, and what is over leaves, so that
    // nothing that goes on makes room for it.
    let belongs = match store {
        Store::Embryos if draft.state == Flow::ESTABLISHED => Found::Connection,
        Store::Connections if is_closed(draft) => Found::Embryo,
        _ => track.found,
    };
    if belongs != track.found {
        relocate(tables, track, belongs);
        return true;
    }
    let (state, flags) = (draft.state, draft.flags & BOTH);
    tables.visit_flow(store, &track.key, |own| proceed_to(own, state, flags));
    if track.is_paired {
        let (state, flags) = (mirror.state, mirror.flags & BOTH);
        tables.visit_flow(store, &track.other, |other| {
            proceed_to(other, state, flags);
        });
    } else {
        let _kept = tables.claim_flow(store, &track.other, mirror);
    }
    true
}

/// Moves the drafts of both rows to where the connection belongs.
#[inline(never)]
fn relocate<T: Tables>(tables: &T, track: &mut Track, to: Found) {
    let store = to.store();
    if tables.keep_flow(store, &track.key, &track.draft)
        && tables.keep_flow(store, &track.other, &track.mirror)
    {
        forget(tables, track);
        track.found = to;
    }
}

/// Notes how far the connection has come. It never goes back: the other direction may be noting
/// something on another CPU at the same time.
#[inline(always)]
fn proceed_to(flow: &mut Flow, state: u8, flags: u8) {
    flow.state = flow.state.max(state);
    flow.flags |= flags;
}

/// Whether nothing more is expected of a connection, so that its place is free.
const fn is_closed(flow: &Flow) -> bool {
    flow.state == Flow::RESET || flow.flags & BOTH == BOTH
}

/// How far the connection has come with this packet.
#[inline(always)]
fn proceed(track: &mut Track) {
    let (segment, is_heard) = (track.segment, track.is_heard);
    let protocol = track.key.protocol;
    let (draft, mirror) = (&mut track.draft, &mut track.mirror);
    let is_reply = draft.flags & Flow::REPLY != 0;
    draft.state = draft.state.max(mirror.state);
    if draft.state == Flow::OPENED && is_reply {
        draft.state = Flow::ANSWERED;
    }
    if draft.state == Flow::ANSWERED && !is_reply && is_confirmed(protocol, &segment, mirror.next) {
        draft.state = Flow::ESTABLISHED;
    }
    // Where it ends is noted by now, if that is plausible.
    let is_end = is_heard && draft.next.wrapping_sub(segment.end) <= FLIGHT;
    if segment.flags & tcp::FIN != 0 && is_end {
        draft.flags |= Flow::FINISHED;
        mirror.flags |= Flow::OTHER_FINISHED;
    }
    // A reset counts only with a sequence number that its receiver waits for, or will: who cannot see
    // the connection does not know one (RFC 5961 section 3.2).
    let is_expected =
        !is_behind(segment.sequence, mirror.acked) && !is_behind(draft.next, segment.sequence);
    if segment.flags & tcp::RST != 0 && (is_expected || draft.state != Flow::ESTABLISHED) {
        draft.state = Flow::RESET;
    }
    mirror.state = draft.state;
}

/// Whether a packet shows that its sender has heard the other side: so much is not to be had by sending
/// at random.
const fn is_confirmed(protocol: u8, segment: &tcp::Segment, next: u32) -> bool {
    protocol != transport::TCP
        || segment.flags & (tcp::ACK | tcp::SYN) == tcp::ACK
            && next.wrapping_sub(segment.acknowledgment) <= FLIGHT
}
