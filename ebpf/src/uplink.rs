//! The journey of a frame that comes from the underlay.

use maps_schema::map::{EgressPort, IngressPort, Peer, Uplink};
use maps_schema::record::PeerState;
use maps_schema::{DropReason, IfIndex, Mac, PortId, Vni};

use crate::echo::{self, Outcome};
use crate::frame::{Frame, Note};
use crate::parse::outer::{self, Outer};
use crate::pipeline::{self, Action, Scratch};
use crate::tables::{Count, Tables};
use crate::{departure, direct};

/// How old the time at which a peer was heard last may become before it is noted again, in
/// nanoseconds.
const HEARD_NS: u64 = 100_000_000;

/// A frame comes in on the uplink `interface`. What is none of ours passes on to the host.
#[inline(always)]
pub fn uplink_ingress<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    scratch: &mut Scratch,
    interface: IfIndex,
) -> Action {
    let Some(uplink) = tables.uplink(interface) else {
        return Action::Pass;
    };
    let note = frame.note();
    if note == Note::WRAPPED {
        return match departure::resume(frame, tables, scratch, interface, note) {
            Ok(action) => action,
            Err(reason) => drop(tables, PortId::NONE, reason),
        };
    }
    let outer = match outer::parse(frame, uplink.address, &mut scratch.outer) {
        Ok(outer) => *outer,
        Err(reason) => return drop(tables, PortId::NONE, reason),
    };
    if outer.kind == EgressPort::WORKLOAD {
        if uplink.flags & Uplink::DIRECT == 0 {
            return Action::Pass;
        }
        return direct::receive(frame, tables, scratch);
    }
    match admit(tables, &outer) {
        Ok(peer) => {
            tables.count(peer.port, Count::Ingress(frame.len()));
            note_heard(tables, peer.port);
            match receive(frame, tables, scratch, interface, &outer, &peer) {
                Ok(action) => action,
                Err(reason) => drop(tables, peer.port, reason),
            }
        }
        Err(reason) => drop(tables, PortId::NONE, reason),
    }
}

#[inline(always)]
fn drop<T: Tables>(tables: &T, port: PortId, reason: DropReason) -> Action {
    tables.count(port, Count::Drop(reason));
    Action::Drop { port, reason }
}

/// Whether a packet in a tunnel comes from a peer, and in the tunnel that leads there.
///
/// # Errors
/// The reason why it must be dropped.
#[inline(always)]
pub fn admit<T: Tables>(tables: &T, outer: &Outer) -> Result<Peer, DropReason> {
    let peer = tables.peer(outer.source).ok_or(DropReason::UnknownPeer)?;
    // Echoes to peers without a tunnel are in VXLAN.
    let is_echo = outer.vni == 0 && peer.kind == EgressPort::DIRECT;
    if peer.kind != outer.kind && !is_echo {
        return Err(DropReason::WrongTunnel);
    }
    Ok(peer)
}

/// Takes the frame out of its tunnel, and lets it go on as one that comes from the port of its peer.
#[inline(always)]
fn receive<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    scratch: &mut Scratch,
    interface: IfIndex,
    outer: &Outer,
    peer: &Peer,
) -> Result<Action, DropReason> {
    let refused = |_refused| DropReason::KernelRefused;
    if outer.vni == 0 {
        return match echo::handle(frame, tables, outer, peer.port).map_err(refused)? {
            Outcome::Return => Ok(Action::Return(interface)),
            Outcome::Noted => Ok(Action::Copied),
            Outcome::Malformed => Err(DropReason::MalformedEcho),
        };
    }
    let vni = Vni::new(outer.vni).ok_or(DropReason::UnknownVni)?;
    if tables.network(vni).is_none() {
        return Err(DropReason::UnknownVni);
    }
    frame.pop(outer.len).map_err(refused)?;
    let port = IngressPort {
        port: peer.port,
        vni,
        mac: Mac::ZERO,
        flags: peer.flags as u8,
        reserved: 0,
    };
    pipeline::forward(
        frame,
        tables,
        scratch,
        interface,
        &port,
        outer.traffic_class,
    )
}

/// Notes that something came from a peer, unless that was noted a moment ago.
#[inline(always)]
fn note_heard<T: Tables>(tables: &T, port: PortId) {
    let state = tables.peer_state(port).unwrap_or(PeerState::ZERO);
    let heard_ns = tables.now_ns();
    if heard_ns.saturating_sub(state.heard_ns) >= HEARD_NS {
        tables.set_peer_state(port, &PeerState { heard_ns, ..state });
    }
}
