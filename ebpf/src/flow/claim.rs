//! The addresses and ports that flows have outside.

use core::ops::ControlFlow;

use maps_schema::Ip;
use maps_schema::map::{Flow, FlowKey, Source};

use super::Store;
use super::life::phase;
use super::track::{Track, is_other};
use crate::frame::{Frame, Step};
use crate::parse::transport;
use crate::tables::Tables;

/// How many ports are tried. In a range that is full to nine tenths, one in a thousand packets finds none
/// among those of the first half that nobody has; the other half may have had somebody.
const TRIES: u32 = 128;
/// From which try on a port may be taken over from a connection that is over. Two that take the same one
/// over at the same moment would both have it, so that ports that nobody has come first.
const PATIENCE: u32 = TRIES / 2;

/// Gives a new flow's source an address and a port of its pool that nobody has for the same destination,
/// and makes the row of the other direction, which holds them. `false` if none was found.
#[inline(always)]
pub(super) fn claim<F: Frame, T: Tables>(tables: &T, track: &mut Track) -> bool {
    let mut claim = Claim {
        tables,
        track,
        is_done: false,
    };
    F::repeat(TRIES, &mut claim);
    claim.is_done
}

/// The search for an address and a port.
struct Claim<'a, T> {
    tables: &'a T,
    track: &'a mut Track,
    is_done: bool,
}

impl<T: Tables> Step for Claim<'_, T> {
    #[inline(always)]
    fn step(&mut self, idx: u32) -> ControlFlow<()> {
        let Self { tables, track, .. } = self;
        let own = track.key.source_port;
        let is_fixed = track.pool.first_port == 0 || !has_port(&track.key);
        let port = if is_fixed || idx == 0 && is_within(&track.pool, own) {
            own
        } else if idx <= 1 {
            // The same one for every destination, if that is free there (RFC 4787 section 4.1): nobody
            // guesses it who does not know the sender's own.
            pick(&track.pool, hash(track.key.source) ^ mix(u32::from(own)))
        } else {
            pick(&track.pool, tables.random())
        };
        let ip = address(&track.pool, track.key.source);
        if ip == track.key.source && port == own {
            track.draft.flags &= !Flow::SOURCE;
        } else {
            track.draft.flags |= Flow::SOURCE;
        }
        track.draft.translation.source = ip;
        track.draft.translation.source_port = port;
        track.reflect();
        let may_take_over = is_fixed || idx >= PATIENCE;
        if try_claim(*tables, track, may_take_over) {
            self.is_done = true;
            return ControlFlow::Break(());
        }
        if is_fixed {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// Claims the row of the other direction, if nobody has it.
#[inline(always)]
fn try_claim<T: Tables>(tables: &T, track: &mut Track, may_take_over: bool) -> bool {
    let other = track.other;
    for store in [Store::Connections, Store::Embryos] {
        let is_over = tables.visit_flow(store, &other, |row| {
            track.rival = row.other(&other);
            is_over(tables, row, &other, track.now_ns)
        });
        let Some(is_over) = is_over else { continue };
        // It may be the same flow's, whose own row was replaced.
        if track.rival != track.key && !(may_take_over && is_over && is_left(tables, track)) {
            return false;
        }
        tables.forget_flow(store, &other);
    }
    tables.claim_flow(Store::Embryos, &other, &track.mirror)
}

/// Whether the flow that has the row of the other direction is over. It may go on without any answers.
#[inline(never)]
fn is_left<T: Tables>(tables: &T, track: &Track) -> bool {
    let (rival, other, now_ns) = (&track.rival, &track.other, track.now_ns);
    let goes_on =
        |row: &mut Flow| is_other(row, rival, other) && !is_over(tables, row, rival, now_ns);
    tables.visit_flow(Store::Connections, rival, goes_on) != Some(true)
        && tables.visit_flow(Store::Embryos, rival, goes_on) != Some(true)
}

/// Whether one direction was silent for longer than its connection lasts.
#[inline(always)]
fn is_over<T: Tables>(tables: &T, row: &Flow, key: &FlowKey, now_ns: u64) -> bool {
    let silence_ns = now_ns.saturating_sub(row.seen_ns);
    silence_ns > tables.timeout_ns(phase(key.protocol, row.state, row.flags))
}

/// Whether a flow has a port of its sender's choice: of echoes, that is the identifier of the requests.
#[inline(always)]
pub(crate) const fn has_port(key: &FlowKey) -> bool {
    match key.protocol {
        transport::TCP | transport::UDP => true,
        transport::ICMP | transport::ICMPV6 => key.destination_port == 0,
        _ => false,
    }
}

/// The address of a pool that a source is given: always the same one (RFC 4787 section 4.1, "paired").
#[inline(always)]
fn address(pool: &Source, source: Ip) -> Ip {
    let [w0, w1, w2, last] = pool.first.words();
    let offset = hash(source) % pool.addresses.max(1);
    Ip::from_words([w0, w1, w2, u32::from_be(last).wrapping_add(offset).to_be()])
}

#[inline(always)]
const fn hash(source: Ip) -> u32 {
    let [a, b, c, d] = source.words();
    mix(a ^ b ^ c ^ d)
}

/// Multiplied by an odd number without pattern, every bit reaches the upper ones.
#[inline(always)]
const fn mix(word: u32) -> u32 {
    word.wrapping_mul(0x9e37_79b1) >> 16
}

#[inline(always)]
const fn is_within(pool: &Source, port: u16) -> bool {
    pool.first_port <= port && port <= pool.last_port
}

/// A port of a pool.
#[inline(always)]
const fn pick(pool: &Source, random: u32) -> u16 {
    let ports = pool.last_port.wrapping_sub(pool.first_port) as u32 + 1;
    pool.first_port.wrapping_add((random % ports) as u16)
}
