//! The way that was found for a packet is noted for those after it.

use maps_schema::PortId;
use maps_schema::map::{FdbKey, Flow, IngressPort, MemberKey};

use super::Store;
use super::track::{Found, Track};
use crate::departure::Way;
use crate::parse::Packet;
use crate::tables::Tables;

/// Notes the way that a packet goes, and the connection that it begins.
#[inline(never)]
pub(crate) fn settle<T: Tables>(tables: &T, track: &mut Track, packet: &Packet, way: &Way) {
    if matches!(track.found, Found::Untracked) {
        return;
    }
    if matches!(track.found, Found::Nothing) {
        open(tables, track, way);
    }
    // Nothing that the way depends on has changed since the walk began.
    let lasts = track.epoch != 0
        && is_declared(tables, packet, way)
        && tables.epoch(way.origin.vni) == track.epoch;
    if !lasts {
        return;
    }
    let key = track.key;
    tables.visit_flow(track.found.store(), &key, |flow| {
        flow.origin = way.origin.port;
        flow.destination = way.destination;
        flow.vni = way.vni;
        flow.hops = way.hops;
        flow.mtu = way.mtu;
        flow.frame_destination = packet.destination;
        flow.frame_source = packet.source;
        flow.source = way.source;
        flow.target = way.target;
        flow.epoch = track.epoch;
    });
}

/// Whether the way leads to a declared station: what was learned or asked for changes without an epoch.
#[inline(always)]
fn is_declared<T: Tables>(tables: &T, packet: &Packet, way: &Way) -> bool {
    if way.hops == 0 {
        let key = FdbKey::new(way.origin.vni, packet.destination);
        return tables.fdb(&key).is_some();
    }
    tables.neighbor(&way.next_hop).is_some()
}

/// Makes the rows of both directions.
#[inline(always)]
fn open<T: Tables>(tables: &T, track: &mut Track, way: &Way) {
    let flags = tables
        .member(&MemberKey {
            port: way.destination,
            vni: way.vni,
        })
        .map_or(0, |member| member.flags as u8);
    // Another host routes what is answered there, so that it arrives in the network that this came from.
    let (other_port, other_vni) = if IngressPort::leads_to_host(flags) {
        (PortId::NONE, way.origin.vni)
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
        next: track.segment.end,
        acked: track.segment.acknowledgment,
        ..Flow::NONE
    };
    track.other = track.draft.other(&track.key);
    track.mirror = track.draft.mirrored(&track.key);
    let _kept = tables.keep_flow(Store::Embryos, &track.key, &track.draft)
        && tables.keep_flow(Store::Embryos, &track.other, &track.mirror);
}
