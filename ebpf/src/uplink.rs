//! The journey of a frame that comes from the underlay.

use maps_schema::map::{EgressPort, FloodMember, IngressPort, MemberKey, Peer, Uplink};
use maps_schema::{DropReason, IfIndex, PolicyList, PortId, Vni};

use crate::departure::Origin;
use crate::echo::{self, Outcome};
use crate::frame::{Bytes, Frame, Note};
use crate::parse::ethernet::VID_MASK;
use crate::parse::outer::{self, Outer};
use crate::parse::{Kind, Packet};
use crate::pipeline::{self, Action, Progress, Scratch};
use crate::tables::{Count, Tables};
use crate::{departure, direct, ecn, edit, outside};

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
    let parsed = outer::parse(bytes, uplink.address, &mut scratch.outer);
    let outer = scratch.outer;
    if !is_ours(&uplink, &outer) {
        return Ok(());
    }
    if let Err(reason) = parsed {
        return Err(refuse(tables, PortId::NONE, reason));
    }
    match admit(tables, &outer) {
        Ok(peer) => {
            if outer.vni == 0 || member(tables, &peer, &outer).is_some() {
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
    scratch.is_brought = false;
    let note = frame.note();
    if note == Note::WRAPPED {
        return match departure::resume(frame, tables) {
            Ok(action) => Progress::Done(action),
            Err(reason) => drop(tables, PortId::NONE, reason),
        };
    }
    // A mark of somebody else is no note.
    if note != Note::NONE
        && let Some(member) = pipeline::addressee(tables, note)
    {
        frame.forget_note();
        return hand_on(frame, tables, scratch, interface, &member);
    }
    // A VLAN of the underlay is another network; a tag without one only says how urgent the frame is.
    if frame.outer_tag().is_some_and(|tci| tci & VID_MASK != 0) {
        return Progress::Done(Action::Pass);
    }
    let parsed = outer::parse(frame, uplink.address, &mut scratch.outer);
    let outer = scratch.outer;
    if !is_ours(&uplink, &outer) {
        return if uplink.kinds & BARE == 0 {
            Progress::Done(Action::Pass)
        } else {
            Progress::Bare
        };
    }
    if let Err(reason) = parsed {
        return drop(tables, PortId::NONE, reason);
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

/// The bits of what comes without a tunnel, and yet may be for workloads.
const BARE: u32 = Uplink::of(EgressPort::DIRECT) | Uplink::of(EgressPort::UPLINK);

/// A frame that came without a tunnel is for a workload, or for the host. One that another gateway has
/// brought has come without one, too, and its marks of congestion are still to be taken over.
#[inline(always)]
pub fn bare<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    scratch: &mut Scratch,
    interface: IfIndex,
) -> Progress {
    let Some(uplink) = tables.uplink(interface) else {
        return Progress::Done(Action::Pass);
    };
    if let Err(reason) = pipeline::read(frame, &mut scratch.packet) {
        return if scratch.is_brought {
            drop(tables, PortId::NONE, reason)
        } else {
            Progress::Done(Action::Pass)
        };
    }
    if scratch.is_brought {
        let class = scratch.outer.traffic_class;
        if let Err(reason) = take_mark(frame, &mut scratch.packet, class) {
            return drop(tables, PortId::NONE, reason);
        }
    } else if uplink.kinds & Uplink::of(EgressPort::DIRECT) != 0
        && let Some(station) = direct::station(tables, &scratch.packet)
    {
        return direct::receive(frame, tables, scratch, interface, &station);
    }
    if scratch.is_brought || uplink.kinds & Uplink::of(EgressPort::UPLINK) != 0 {
        return outside::receive(frame, tables, scratch, interface, &uplink);
    }
    Progress::Done(Action::Pass)
}

/// A copy goes to whom it is for: of a flooded frame to a workload that has rules for what it gets, or of a
/// router's question to another host, which the packet of an ordinary VTEP made necessary.
#[inline(always)]
fn hand_on<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    scratch: &mut Scratch,
    interface: IfIndex,
    member: &FloodMember,
) -> Progress {
    let origin = Origin {
        interface,
        port: PortId::NONE,
        vni: member.vni,
        policy: PolicyList::NONE,
        flags: 0,
    };
    match pipeline::read(frame, &mut scratch.packet) {
        Ok(()) => pipeline::hand_on(scratch, origin, member),
        Err(reason) => drop(tables, PortId::NONE, reason),
    }
}

/// Whether a packet is in a tunnel of a kind that leads anywhere from here.
#[inline(always)]
const fn is_ours(uplink: &Uplink, outer: &Outer) -> bool {
    outer.kind != EgressPort::WORKLOAD && uplink.kinds & Uplink::of(outer.kind) != 0
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

/// The port of a peer as the network of its packet sees it; nothing if the peer may not send for that.
#[inline(always)]
fn member<T: Tables>(tables: &T, peer: &Peer, outer: &Outer) -> Option<IngressPort> {
    let vni = Vni::from_wire(outer.vni);
    let port = peer.port;
    let member = tables.member(&MemberKey { port, vni })?;
    Some(IngressPort::peer(port, vni, member.flags as u8))
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
            Outcome::Return => Ok(Progress::Done(Action::Send(interface))),
            Outcome::Noted => Ok(Progress::Done(Action::Copied)),
            Outcome::Malformed => Err(DropReason::MalformedEcho),
        };
    }
    let port = member(tables, peer, outer).ok_or(DropReason::UnknownVni)?;
    frame.pop(outer.len).map_err(refused)?;
    if port.vni == Vni::OUTSIDE {
        scratch.is_brought = true;
        return Ok(Progress::Bare);
    }
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
    let heard_ns = tables.now_ns();
    let noted_ns = tables.peer_state(port).map_or(0, |state| state.heard_ns);
    if heard_ns.saturating_sub(noted_ns) >= HEARD_NS {
        tables.update_peer_state(port, |state| state.heard_ns = heard_ns);
    }
}
