//! The addresses and ports that flows have outside.

use core::ops::ControlFlow;

use maps_schema::Ip;
use maps_schema::map::{Flow, FlowKey, Source};

use super::Store;
use super::life::lifetime_ns;
use super::track::Track;
use crate::frame::{Frame, Step};
use crate::parse::transport;
use crate::tables::Tables;

/// How many ports are tried. In a range that is full to nine tenths, one in a million packets finds none
/// that is free.
const TRIES: u32 = 128;

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
        } else {
            pick(&track.pool, tables.random())
        };
        let ip = address(&track.pool, track.key.source);
        track.draft.flags |= Flow::SOURCE;
        track.draft.translation.source = ip;
        track.draft.translation.source_port = port;
        track.other = track.draft.other(&track.key);
        track.mirror = track.draft.mirrored(&track.key);
        if is_free(*tables, track) {
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

/// Claims the row of the other direction.
#[inline(always)]
fn is_free<T: Tables>(tables: &T, track: &Track) -> bool {
    let (key, other, now_ns) = (&track.key, &track.other, track.now_ns);
    // It may have been the same flow's, whose own row was replaced, or of a connection that is over.
    let is_left = |flow: &mut Flow| {
        let is_own = flow.translation.destination == key.source
            && flow.translation.destination_port == key.source_port;
        let silence_ns = now_ns.saturating_sub(flow.seen_ns);
        is_own || silence_ns > lifetime_ns(key.protocol, flow.state, flow.flags)
    };
    match tables.visit_flow(Store::Connections, other, is_left) {
        Some(true) => tables.forget_flow(Store::Connections, other),
        Some(false) => return false,
        None => {}
    }
    if tables.visit_flow(Store::Embryos, other, is_left) == Some(true) {
        tables.forget_flow(Store::Embryos, other);
    }
    tables.claim_flow(Store::Embryos, other, &track.mirror)
}

/// Whether a flow has a port of its sender's choice: of echoes, that is the identifier of the requests.
#[inline(always)]
const fn has_port(key: &FlowKey) -> bool {
    match key.protocol {
        transport::TCP | transport::UDP => true,
        transport::ICMP | transport::ICMPV6 => key.destination_port == 0,
        _ => false,
    }
}

/// The address of a pool that a source is given: always the same one (RFC 4787 section 4.1, "paired").
#[inline(always)]
fn address(pool: &Source, source: Ip) -> Ip {
    let [a, b, c, d] = source.words();
    // Multiplied by an odd number without pattern, every bit reaches the upper ones.
    let hash = (a ^ b ^ c ^ d).wrapping_mul(0x9e37_79b1) >> 16;
    let [w0, w1, w2, last] = pool.first.words();
    let offset = hash % pool.addresses.max(1);
    Ip::from_words([w0, w1, w2, u32::from_be(last).wrapping_add(offset).to_be()])
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
