//! How far a connection has come, and when it is over.

use maps_schema::map::Flow;

use super::Store;
use super::track::{FLIGHT, Found, Track, is_behind, is_other};
use crate::parse::transport;
use crate::tables::Tables;
use crate::tcp;

/// Both sides have nothing more to say.
const BOTH: u8 = Flow::FINISHED | Flow::OTHER_FINISHED;

const SECOND_NS: u64 = 1_000_000_000;
/// How long a connection is remembered that was not answered, or only answered.
const OPENING_NS: u64 = 60 * SECOND_NS;
/// TCP: five days, as Linux has it; RFC 5382 section 5 asks for two hours and four minutes.
const ESTABLISHED_NS: u64 = 5 * 24 * 3600 * SECOND_NS;
/// TCP: one side has nothing more to say, the other one may go on.
const HALF_CLOSED_NS: u64 = 3600 * SECOND_NS;
/// TCP: both have said that they are done (RFC 9293 section 3.4.2: twice the maximum segment lifetime,
/// which in practice is a minute).
const CLOSED_NS: u64 = 120 * SECOND_NS;
/// TCP: it was reset.
const RESET_NS: u64 = 10 * SECOND_NS;
/// UDP, once both sides have spoken and gone on (RFC 4787 section 4.3 asks for two minutes at least).
const DATAGRAMS_NS: u64 = 180 * SECOND_NS;
/// Echoes of ICMP (RFC 5508 section 3.2 asks for a minute at least).
const ECHOES_NS: u64 = 60 * SECOND_NS;
/// Other protocols.
const OTHERS_NS: u64 = 600 * SECOND_NS;

/// How long a connection of a protocol may be silent, in nanoseconds. State and flags are those of a
/// [`Flow`].
#[must_use]
pub const fn lifetime_ns(protocol: u8, state: u8, flags: u8) -> u64 {
    match (state, protocol) {
        (Flow::RESET, _) => RESET_NS,
        (Flow::ESTABLISHED, transport::TCP) => match flags & BOTH {
            0 => ESTABLISHED_NS,
            BOTH => CLOSED_NS,
            _ => HALF_CLOSED_NS,
        },
        (Flow::ESTABLISHED, transport::UDP) => DATAGRAMS_NS,
        (Flow::ESTABLISHED, transport::ICMP | transport::ICMPV6) => ECHOES_NS,
        (Flow::ESTABLISHED, _) => OTHERS_NS,
        (_, _) => OPENING_NS,
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
    let lifetime_ns = lifetime_ns(track.key.protocol, track.draft.state, track.draft.flags);
    if silence_ns < lifetime_ns {
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
    if is_begin && is_closed(&track.draft) {
        forget(tables, track);
        return false;
    }
    let store = track.found.store();
    proceed(track);
    let (draft, mirror) = (&track.draft, &track.mirror);
    if store == Store::Embryos && draft.state == Flow::ESTABLISHED {
        // What is established goes where nothing that is not takes its place.
        if tables.keep_flow(Store::Connections, &track.key, draft)
            && tables.keep_flow(Store::Connections, &track.other, mirror)
        {
            forget(tables, track);
            track.found = Found::Connection;
        }
        return true;
    }
    if store == Store::Connections && is_closed(draft) {
        // Nothing that goes on is to make room for what is over.
        if tables.keep_flow(Store::Embryos, &track.key, draft)
            && tables.keep_flow(Store::Embryos, &track.other, mirror)
        {
            forget(tables, track);
            track.found = Found::Embryo;
        }
        return true;
    }
    let (state, flags) = (draft.state, draft.flags);
    tables.visit_flow(store, &track.key, |own| proceed_to(own, state, flags));
    if track.is_paired {
        let (state, flags) = (mirror.state, mirror.flags);
        tables.visit_flow(store, &track.other, |other| {
            proceed_to(other, state, flags);
        });
    } else {
        let _kept = tables.claim_flow(store, &track.other, mirror);
    }
    true
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
    let segment = track.segment;
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
    let is_end = draft.next.wrapping_sub(segment.end) <= FLIGHT;
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
