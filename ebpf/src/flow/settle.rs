//! The way that was found for a packet is noted for those after it.

use maps_schema::map::{FdbKey, Flow, IngressPort, MemberKey, Source};
use maps_schema::{PortId, Vni};

use super::claim::claim;
use super::track::{Found, TRANSLATED, Track};
use super::{Store, life};
use crate::departure::Way;
use crate::frame::Frame;
use crate::parse::Packet;
use crate::tables::Tables;

/// Notes the way that a packet goes, and the connection that it begins. `false` if that finds no address
/// and port that its source can be translated to.
#[inline(never)]
pub(crate) fn settle<F: Frame, T: Tables>(
    tables: &T,
    track: &mut Track,
    packet: &Packet,
    way: &Way,
) -> bool {
    if matches!(track.found, Found::Untracked) {
        return true;
    }
    if matches!(track.found, Found::Nothing) && !open::<F, T>(tables, track, way) {
        return false;
    }
    if track.is_refused() {
        life::permit(tables, track);
    }
    // Nothing that the way depends on has changed since the walk began.
    let lasts = track.epoch != 0
        && is_declared(tables, packet, way)
        && tables.epoch(way.origin.vni) == track.epoch;
    if !lasts {
        return true;
    }
    let store = track.found.store();
    let Track {
        key, other, epoch, ..
    } = track;
    let moved = tables.visit_flow(store, key, |flow| {
        let is_moved = flow.origin != way.origin.port;
        if is_moved {
            *other = flow.other(key);
        }
        flow.origin = way.origin.port;
        flow.destination = way.destination;
        flow.vni = way.vni;
        flow.hops = way.hops;
        flow.mtu = way.mtu;
        flow.frame_destination = packet.destination;
        flow.frame_source = packet.source;
        flow.source = way.source;
        flow.target = way.target;
        flow.epoch = *epoch;
        is_moved
    });
    if moved == Some(true) {
        // It comes by way of another host, which its answers are for from now on.
        tables.visit_flow(store, other, |other| {
            other.destination = way.origin.port;
            other.epoch = 0;
        });
    }
    true
}

/// Whether the way leads to a declared station: what was learned or asked for changes without an epoch.
#[inline(always)]
fn is_declared<T: Tables>(tables: &T, packet: &Packet, way: &Way) -> bool {
    if way.vni == Vni::NONE {
        // To the outside, by the host's routing, which is asked every time.
        return true;
    }
    if way.hops == 0 {
        let key = FdbKey::new(way.origin.vni, packet.destination);
        return tables.fdb(&key).is_some();
    }
    tables.neighbor(&way.next_hop).is_some()
}

/// Makes the rows of both directions; `false` if none is free for the other one.
#[inline(always)]
fn open<F: Frame, T: Tables>(tables: &T, track: &mut Track, way: &Way) -> bool {
    let flags = tables
        .member(&MemberKey {
            port: way.destination,
            vni: way.vni,
        })
        .map_or(0, |member| member.flags as u8);
    // Another host routes what is answered there, so that it arrives in the network that this came from.
    // For the outside that is where the router with the uplink is.
    let answered_in = if way.origin.is_outside() {
        way.behind
    } else {
        way.origin.vni
    };
    let (other_port, other_vni) = if way.vni == Vni::NONE {
        (PortId::NONE, Vni::NONE)
    } else if IngressPort::leads_to_host(flags) {
        (PortId::NONE, answered_in)
    } else {
        (way.destination, way.vni)
    };
    track.draft = Flow {
        seen_ns: track.now_ns,
        began_ns: track.now_ns,
        packets: 1,
        bytes: u64::from(track.len),
        other_port,
        other_vni,
        origin: way.origin.port,
        destination: way.destination,
        flags: track.flags & TRANSLATED,
        translation: track.translation,
        next: track.segment.end,
        acked: track.segment.acknowledgment,
        ..Flow::NONE
    };
    if track.pool.addresses == 0 && track.flags & Flow::DESTINATION != 0 {
        // The same sender may talk to the same receiver by another of its addresses or ports. To tell the
        // answers apart, one of them gets another port then.
        track.pool = Source {
            first: track.key.source,
            addresses: 1,
            first_port: 1,
            last_port: u16::MAX,
        };
    }
    if track.pool.addresses == 0 {
        track.reflect();
        let _kept = tables.keep_flow(Store::Embryos, &track.other, &track.mirror);
    } else {
        if !claim::<F, T>(tables, track) {
            return false;
        }
        track.flags = track.draft.flags;
        track.translation = track.draft.translation;
    }
    if !tables.claim_flow(Store::Embryos, &track.key, &track.draft) {
        yield_to_other(tables, track);
    }
    true
}

/// Another packet of the flow was faster, on another CPU: what it found holds.
#[inline(never)]
fn yield_to_other<T: Tables>(tables: &T, track: &mut Track) {
    let Track { key, rival, .. } = track;
    let found = tables.visit_flow(Store::Embryos, key, |flow| *rival = flow.other(key));
    let key = track.key;
    tables.visit_flow(Store::Embryos, &key, |flow| track.take(flow));
    if found.is_some() && track.rival != track.other {
        tables.forget_flow(Store::Embryos, &track.other);
    }
}
