//! Network address translation: workloads have other addresses outside than inside (RFC 2663, RFC 4787).
//!
//! A packet's destination is translated before its way is looked for, its source after the way is found.
//! Both belong to the flow: its row says what its packets leave with, and the row of the other direction
//! how that is undone. So the row that answers are found by is what holds a port: nobody else can claim
//! the same one for the same destination, and it is free again when the connection is over.

use maps_schema::map::{Flow, Public, PublicKey, RouteKey, Source};
use maps_schema::{DropReason, Ip, Vni};

use crate::departure::Way;
use crate::flow::{self, Found, Track};
use crate::parse::{Packet, TransportKind, transport};
use crate::tables::Tables;

/// A packet goes on to whom its destination stands for.
#[inline(always)]
pub(crate) fn apply(packet: &mut Packet, track: &Track) {
    if track.flags & Flow::DESTINATION == 0 {
        return;
    }
    packet.ip_destination = track.translation.destination;
    if matches!(packet.transport.kind, TransportKind::Ports) {
        packet.transport.destination = track.translation.destination_port;
    }
}

/// A packet that is walked goes on to whom its destination stands for.
#[inline(never)]
pub(crate) fn translate<T: Tables>(tables: &T, packet: &mut Packet, track: &mut Track) {
    confirm(tables, packet, track);
    apply(packet, track);
}

/// What a flow's destination stood for when it began may stand for somebody else by now, or for nobody: then
/// the packet begins another one.
#[inline(always)]
fn confirm<T: Tables>(tables: &T, packet: &Packet, track: &mut Track) {
    let is_begun_here = track.flags & (Flow::DESTINATION | Flow::REPLY) == Flow::DESTINATION;
    if !track.is_known() || !is_begun_here {
        return;
    }
    let translated = &track.translation;
    let is_same = match public(tables, packet) {
        Some(public) => {
            public.ip == translated.destination
                && (public.port == 0 || public.port == translated.destination_port)
        }
        // What is published no more takes no new connections; those that both sides keep go on.
        None => packet.protocol == transport::TCP,
    };
    if !is_same {
        flow::renew(tables, track);
    }
}

/// The packet is what its sender sent again.
#[inline(always)]
pub(crate) fn restore(packet: &mut Packet, track: &Track) {
    if track.flags & Flow::DESTINATION == 0 {
        return;
    }
    packet.ip_destination = track.key.destination;
    if matches!(packet.transport.kind, TransportKind::Ports) {
        packet.transport.destination = track.key.destination_port;
    }
}

/// Finds who a packet from outside is for: notes the uplink that leads there, and what the destination
/// becomes. Without an uplink it is for nobody here.
#[inline(never)]
pub(crate) fn find<T: Tables>(tables: &T, packet: &Packet, track: &mut Track) {
    let Some(public) = public(tables, packet) else {
        return;
    };
    track.uplink = public.uplink;
    track.is_elsewhere = public.flags & Public::ELSEWHERE != 0;
    if public.ip != packet.ip_destination || public.port != 0 {
        redirect(packet, track, public.ip, public.port);
    }
}

/// Whom a packet's destination stands for outside.
#[inline(always)]
pub(crate) fn public<T: Tables>(tables: &T, packet: &Packet) -> Option<Public> {
    let ip = packet.ip_destination;
    let found = match packet.transport.kind {
        TransportKind::Ports => {
            let port = packet.transport.destination;
            tables.public(&PublicKey::port(ip, packet.protocol, port))
        }
        _ => None,
    };
    match found {
        Some(public) => Some(public),
        None => tables.public(&PublicKey::whole(ip)),
    }
}

/// The packet's destination stands for somebody else. `port` is 0 if that stays what it is.
#[inline(always)]
pub(crate) fn redirect(packet: &Packet, track: &mut Track, ip: Ip, port: u16) {
    name(packet, track);
    track.flags |= Flow::DESTINATION;
    track.translation.destination = ip;
    track.translation.destination_port = if port == 0 {
        track.key.destination_port
    } else {
        port
    };
}

/// Notes the addresses of a packet that belongs to no flow where those of others are.
#[inline(always)]
fn name(packet: &Packet, track: &mut Track) {
    if !matches!(track.found, Found::Untracked) {
        return;
    }
    let key = &mut track.key;
    (key.source, key.destination) = (packet.ip_source, packet.ip_destination);
    (key.source_port, key.destination_port) = match packet.transport.kind {
        TransportKind::Ports => (packet.transport.source, packet.transport.destination),
        TransportKind::Icmp | TransportKind::Absent => (0, 0),
    };
}

/// Decides what the packet's source becomes on its way: notes which addresses a new flow may be given.
///
/// # Errors
/// The reason why it must be dropped.
#[inline(never)]
pub(crate) fn choose<T: Tables>(
    tables: &T,
    packet: &Packet,
    way: &Way,
    track: &mut Track,
) -> Result<(), DropReason> {
    let is_translated = track.flags & Flow::SOURCE != 0;
    let is_own = packet.ip_source == packet.ip_destination;
    if is_own && track.flags & Flow::DESTINATION != 0 {
        return choose_own(track);
    }
    if way.vni != Vni::NONE {
        // What is answered was translated on its way here. Otherwise only the port may be another one, so that
        // answers are told from those of another flow.
        let is_renamed = is_translated && track.translation.source != packet.ip_source;
        return if is_renamed && !track.is_answer() {
            Err(DropReason::NatChanged)
        } else {
            Ok(())
        };
    }
    let Some(uplink) = tables.router_port(way.destination) else {
        return Err(DropReason::UnknownRouterPort);
    };
    let Some(pool) = tables.source(&RouteKey::lookup(uplink.router, packet.ip_source)) else {
        return Ok(());
    };
    match track.found {
        _ if is_translated => {
            if track.is_answer() || has(&pool, track) {
                Ok(())
            } else {
                Err(DropReason::NatChanged)
            }
        }
        // Nothing leaves with an address that nobody outside knows.
        _ if pool.addresses == 0 => Err(DropReason::NatExhausted),
        Found::Embryo | Found::Connection => Err(DropReason::NatChanged),
        Found::Nothing => {
            track.pool = pool;
            Ok(())
        }
        // Without a flow nobody would know whom the answer is for, unless it is the address's only one.
        Found::Untracked if pool.first_port == 0 && pool.addresses == 1 => {
            name(packet, track);
            track.flags |= Flow::SOURCE;
            track.translation.source = pool.first;
            track.translation.source_port = track.key.source_port;
            Ok(())
        }
        Found::Untracked => Err(DropReason::NatUntracked),
    }
}

/// Whether a flow's source is one of a pool.
#[inline(always)]
fn has(pool: &Source, track: &Track) -> bool {
    let source = &track.translation;
    let ([a, b, c, first], [d, e, f, own]) = (pool.first.words(), source.source.words());
    let offset = u32::from_be(own).wrapping_sub(u32::from_be(first));
    [a, b, c] == [d, e, f]
        && offset < pool.addresses
        && (pool.first_port == 0
            || !flow::has_port(&track.key)
            || pool.first_port <= source.source_port && source.source_port <= pool.last_port)
}

/// A workload asks for itself by the address that the outside knows: no kernel takes a packet that comes
/// from its own address, so that it comes from that one.
#[inline(always)]
fn choose_own(track: &mut Track) -> Result<(), DropReason> {
    if track.is_known() {
        return Ok(());
    }
    track.pool = Source {
        first: track.key.destination,
        addresses: 1,
        first_port: 0,
        last_port: 0,
    };
    Ok(())
}
