//! The journey of a frame that comes from the underlay.

use maps_schema::map::{EgressPort, IngressPort, Peer, Uplink};
use maps_schema::record::PeerState;
use maps_schema::{DropReason, IfIndex, Mac, PortId, Vni};

use crate::echo::{self, Outcome};
use crate::frame::{Bytes, Frame, Note};
use crate::parse::outer::{self, Outer};
use crate::parse::{Kind, Packet};
use crate::pipeline::{self, Action, Progress, Scratch};
use crate::tables::{Count, Tables};
use crate::{departure, direct, ecn, edit};

/// How old the time at which a peer was heard last may become before it is noted again, in
/// nanoseconds.
const HEARD_NS: u64 = 100_000_000;

/// A frame that is not taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The port at which the drop was counted.
    pub port: PortId,
    /// Why.
    pub reason: DropReason,
}

/// A frame reaches the uplink `interface`, and the kernel has not made anything of it yet. What
/// [`uplink_ingress`] would drop for its outer header is dropped here, counted in the same way;
/// everything else goes on to there, and is counted there.
///
/// # Errors
/// The frame must be dropped.
#[inline(always)]
pub fn uplink_xdp<B: Bytes, T: Tables>(
    bytes: &B,
    tables: &T,
    scratch: &mut Scratch,
    interface: IfIndex,
) -> Result<(), Refusal> {
    let Some(uplink) = tables.uplink(interface) else {
        return Ok(());
    };
    let outer = match outer::parse(bytes, uplink.address, &mut scratch.outer) {
        Ok(outer) => *outer,
        Err(reason) => return Err(refuse(tables, PortId::NONE, reason)),
    };
    if outer.kind == EgressPort::WORKLOAD {
        return Ok(());
    }
    match admit(tables, &outer) {
        Ok(peer) => {
            if outer.vni == 0 || is_known(tables, &outer) {
                return Ok(());
            }
            note_arrival(tables, &peer, bytes.len() - outer.len);
            Err(refuse(tables, peer.port, DropReason::UnknownVni))
        }
        Err(reason) => Err(refuse(tables, PortId::NONE, reason)),
    }
}

/// A frame comes in on the uplink `interface`. What is none of ours passes on to the host.
#[inline(always)]
pub fn uplink_ingress<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    scratch: &mut Scratch,
    interface: IfIndex,
) -> Progress {
    let Some(uplink) = tables.uplink(interface) else {
        return Progress::Done(Action::Pass);
    };
    if frame.note() == Note::WRAPPED {
        return match departure::resume(frame, tables) {
            Ok(action) => Progress::Done(action),
            Err(reason) => drop(tables, PortId::NONE, reason),
        };
    }
    let outer = match outer::parse(frame, uplink.address, &mut scratch.outer) {
        Ok(outer) => *outer,
        Err(reason) => return drop(tables, PortId::NONE, reason),
    };
    if outer.kind == EgressPort::WORKLOAD {
        return Progress::Done(if uplink.flags & Uplink::DIRECT == 0 {
            Action::Pass
        } else {
            direct::receive(frame, tables, scratch)
        });
    }
    match admit(tables, &outer) {
        Ok(peer) => {
            note_arrival(tables, &peer, frame.len() - outer.len);
            match receive(frame, tables, scratch, interface, &outer, &peer) {
                Ok(progress) => progress,
                Err(reason) => drop(tables, peer.port, reason),
            }
        }
        Err(reason) => drop(tables, PortId::NONE, reason),
    }
}

#[inline(always)]
fn drop<T: Tables>(tables: &T, port: PortId, reason: DropReason) -> Progress {
    let Refusal { port, reason } = refuse(tables, port, reason);
    Progress::Done(Action::Drop { port, reason })
}

#[inline(always)]
fn refuse<T: Tables>(tables: &T, port: PortId, reason: DropReason) -> Refusal {
    tables.count(port, Count::Drop(reason));
    Refusal { port, reason }
}

/// Counts what a peer sent, `len` bytes without what they were wrapped in, and notes that it lives.
#[inline(always)]
fn note_arrival<T: Tables>(tables: &T, peer: &Peer, len: u32) {
    tables.count(peer.port, Count::Ingress(len));
    note_heard(tables, peer.port);
}

/// Whether the network of a packet in a tunnel is one of this host's.
#[inline(always)]
fn is_known<T: Tables>(tables: &T, outer: &Outer) -> bool {
    Vni::new(outer.vni).is_some_and(|vni| tables.network(vni).is_some())
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
) -> Result<Progress, DropReason> {
    let refused = |_refused| DropReason::KernelRefused;
    if outer.vni == 0 {
        return match echo::handle(frame, tables, outer, peer.port).map_err(refused)? {
            Outcome::Return => Ok(Progress::Done(Action::Return(interface))),
            Outcome::Noted => Ok(Progress::Done(Action::Copied)),
            Outcome::Malformed => Err(DropReason::MalformedEcho),
        };
    }
    let vni = Vni::new(outer.vni).ok_or(DropReason::UnknownVni)?;
    if !is_known(tables, outer) {
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
    pipeline::read(frame, &mut scratch.packet)?;
    take_mark(frame, &mut scratch.packet, outer.traffic_class)?;
    pipeline::forward(frame, tables, scratch, interface, &port)
}

/// What the outer header says about congestion goes into the inner one.
#[inline(always)]
fn take_mark<F: Frame>(
    frame: &mut F,
    packet: &mut Packet,
    outer_class: u8,
) -> Result<(), DropReason> {
    if matches!(packet.kind, Kind::Ipv4 | Kind::Ipv6) {
        let traffic_class = ecn::decapsulate(packet.traffic_class, outer_class)?;
        edit::outer::write_ecn(frame, packet, traffic_class)
            .map_err(|_refused| DropReason::KernelRefused)?;
        packet.traffic_class = traffic_class;
    }
    Ok(())
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

#[cfg(test)]
mod tests;
