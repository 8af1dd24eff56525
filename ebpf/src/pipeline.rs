//! The journey of a frame, from the interface that it came in on to where it leaves.

use core::mem::MaybeUninit;

use maps_schema::map::{EgressPort, FloodKey, FloodMember, IngressPort, Network};
use maps_schema::{DropReason, IfIndex, Ip, Mac, PolicyList, PortId, Vni};

use crate::admission::{self, Court};
use crate::departure::{self, Origin, Way};
use crate::edit;
use crate::edit::resolution::{self, Reply};
use crate::flood::{Audience, Flood};
use crate::flow::{self, TRANSLATED, Track};
use crate::frame::{Frame, Note, Refused};
use crate::parse::outer::Outer;
use crate::parse::{self, Kind, Packet};
use crate::router::{self, Outcome, Routed};
use crate::tables::{Count, Tables};
use crate::verdict::{Decided, Decision, Verdict};
use crate::{answer, bridge, guard, icmp, learning, nat, resolver, tcp};

/// What the program does with the frame in the end. Copies were sent and everything was counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Hands it to the workload behind this interface.
    Deliver(IfIndex),
    /// Sends it to the underlay; the kernel finds the neighbor.
    Underlay {
        /// By this interface.
        uplink: IfIndex,
        /// To this router or station; unspecified if the packet's own destination says where to.
        next_hop: Ip,
    },
    /// Sends it out of this interface as it is: back to the wire that it came from, or to the host itself.
    Send(IfIndex),
    /// Leaves it to the host: it is none of ours.
    Pass,
    /// Nothing is left to be done with it: whoever it was for has got a copy.
    Copied,
    /// Ends it: it was for this port of a virtual router, which has learned from it what it wanted.
    Consume(PortId),
    /// Drops it.
    Drop {
        /// Where it came in.
        port: PortId,
        /// Why it is dropped.
        reason: DropReason,
    },
}

impl Action {
    /// Drops a frame, and counts that at the port where it came in.
    #[inline(always)]
    pub(crate) fn refuse<T: Tables>(tables: &T, port: PortId, reason: DropReason) -> Self {
        tables.count(port, Count::Drop(reason));
        Self::Drop { port, reason }
    }
}

/// How far a frame's journey has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// It came from the underlay without a tunnel: [`bare`](crate::uplink::bare) says whom it is for.
    Bare,
    /// The packet is for a router: [`route`] finds its way.
    Route,
    /// The way is found: [`pass`] says whether the frame may go it.
    Pass,
    /// It may: [`prepare`](crate::departure::prepare) makes the frame what it is when it leaves.
    Prepare,
    /// The frame leaves: [`depart`](crate::departure::depart) is the last part of the journey.
    Depart,
    /// The journey is over.
    Done(Action),
}

/// Working memory for one frame. It is the caller's, because the kernel gives programs 512 bytes of
/// stack for everything. Memory of zeros is a valid value of it.
pub struct Scratch {
    pub(crate) packet: Packet,
    pub(crate) outer: Outer,
    pub(crate) way: Way,
    pub(crate) track: Track,
    pub(crate) court: Court,
    pub(crate) decision: Decision,
    routed: MaybeUninit<Routed>,
    /// Whether another gateway got the packet from the outside, and has brought it here.
    pub(crate) is_brought: bool,
    /// What the port is that the frame leaves by.
    pub(crate) exit: EgressPort,
}

impl Scratch {
    /// Memory that nothing was worked on in yet.
    #[must_use]
    pub const fn new() -> Self {
        let origin = Origin {
            interface: IfIndex(0),
            port: PortId::NONE,
            vni: Vni::NONE,
            policy: PolicyList::NONE,
            flags: 0,
        };
        Self {
            packet: Packet::NONE,
            outer: Outer::NONE,
            way: Way::back(origin),
            track: Track::NONE,
            court: Court::NEW,
            decision: Decision::NONE,
            routed: MaybeUninit::uninit(),
            is_brought: false,
            exit: EgressPort::workload(IfIndex(0)),
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// A frame enters the virtual network from the workload behind `interface`.
#[inline(always)]
pub fn port_ingress<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    scratch: &mut Scratch,
    interface: IfIndex,
) -> Progress {
    let (id, result) = match tables.ingress_port(interface) {
        None => (PortId::NONE, Err(DropReason::UnknownInterface)),
        Some(port) => (port.port, enter(frame, tables, scratch, interface, &port)),
    };
    match result {
        Ok(progress) => progress,
        Err(reason) => Progress::Done(Action::refuse(tables, id, reason)),
    }
}

/// The frame came in at this port, or it is a copy that came in again.
#[inline(always)]
fn enter<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    scratch: &mut Scratch,
    interface: IfIndex,
    port: &IngressPort,
) -> Result<Progress, DropReason> {
    let note = frame.note();
    if note == Note::WRAPPED {
        return departure::resume(frame, tables).map(Progress::Done);
    }
    if note == Note::NONE {
        tables.count(port.port, Count::Ingress(frame.len()));
    } else {
        frame.forget_note();
    }
    read(frame, &mut scratch.packet)?;
    if note == Note::NONE {
        return forward(frame, tables, scratch, interface, port);
    }
    let member = addressee(tables, note).ok_or(DropReason::UnknownMember)?;
    Ok(hand_on(scratch, origin(interface, port), &member))
}

/// A copy that came in again goes to whom it is for, if that one wants it. Its sender was judged when it
/// came in first, and it is of no flow.
#[inline(always)]
pub(crate) fn hand_on(scratch: &mut Scratch, origin: Origin, member: &FloodMember) -> Progress {
    let origin = Origin {
        policy: PolicyList::NONE,
        ..origin
    };
    scratch.way = Way::to(origin, member.port, member.vni);
    scratch.decision.kind = Decided::Deliver;
    scratch.track.clear();
    Progress::Pass
}

/// Whom a copy is for that came in again.
#[inline(always)]
pub(crate) fn addressee<T: Tables>(tables: &T, Note { list, idx }: Note) -> Option<FloodMember> {
    tables.flood_member(&FloodKey { list, idx })
}

#[inline(always)]
const fn origin(interface: IfIndex, port: &IngressPort) -> Origin {
    Origin {
        interface,
        port: port.port,
        vni: port.vni,
        policy: port.policy,
        flags: port.flags,
    }
}

/// Decides about a parsed frame, and carries the decision out up to where the frame itself leaves.
///
/// # Errors
/// The reason why it is dropped.
#[inline(always)]
pub(crate) fn forward<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    scratch: &mut Scratch,
    interface: IfIndex,
    port: &IngressPort,
) -> Result<Progress, DropReason> {
    let packet = &mut scratch.packet;
    let way = &mut scratch.way;
    let track = &mut scratch.track;
    // Until another one is found. What is kept there needs no place on the stack.
    *way = Way::back(origin(interface, port));
    if flow::recall(frame, tables, &way.origin, packet, track) {
        *way = flow::way(way.origin, track);
        nat::apply(packet, track);
        return Ok(Progress::Prepare);
    }
    nat::translate(tables, packet, track);
    let decision = &mut scratch.decision;
    decide(tables, port, packet, decision)?;
    match decision.kind {
        Decided::Deliver => {
            way.destination = decision.port;
            return Ok(Progress::Pass);
        }
        Decided::Route if resolver::is_answer(packet) && share(frame, tables, &way.origin) => {
            return Ok(Progress::Done(Action::Consume(decision.port)));
        }
        Decided::Route => return Ok(Progress::Route),
        Decided::Flood => {
            // Who gets it is not known yet.
            way.destination = PortId::NONE;
            return Ok(Progress::Pass);
        }
        Decided::Reply => {
            reply(frame, &decision.reply).map_err(|_refused| DropReason::KernelRefused)?;
        }
        Decided::Consume => {
            let _reached = share(frame, tables, &way.origin);
            return Ok(Progress::Done(Action::Consume(decision.port)));
        }
    }
    Ok(Progress::Prepare)
}

/// The packet goes through the routers on its way. The way in the working memory is the one back, and the
/// decision names the first router's port.
#[inline(always)]
pub fn route<F: Frame, T: Tables>(frame: &mut F, tables: &T, scratch: &mut Scratch) -> Progress {
    let Scratch {
        packet,
        way,
        track,
        routed,
        decision,
        ..
    } = scratch;
    let origin = way.origin;
    let routed = routed.write(Routed::new(
        decision.port,
        packet.ip_destination,
        track.exit,
    ));
    walk_routers(frame, tables, &origin, packet, routed);
    let told = match routed.outcome {
        Outcome::Deliver => {
            *way = Way::routed(origin, routed);
            if routed.is_redirected {
                nat::redirect(packet, track, routed.ip, routed.service);
                nat::apply(packet, track);
            }
            return Progress::Pass;
        }
        Outcome::Echo => echo(frame, packet).map_err(|_refused| DropReason::KernelRefused),
        Outcome::Error => complain(frame, tables, &origin, packet, routed),
        Outcome::Reset => reset(frame, tables, &origin, packet, routed),
        Outcome::Ask => {
            if question(frame, tables, routed) {
                ask(frame, tables, &origin, routed);
            }
            Err(routed.reason)
        }
        Outcome::Drop => Err(routed.reason),
    };
    match told {
        Ok(()) => Progress::Prepare,
        Err(reason) => Progress::Done(Action::refuse(tables, origin.port, reason)),
    }
}

/// The middle of the journey: the packet goes its way if it may, and what is known of its flow is noted.
#[inline(always)]
pub fn pass<F: Frame, T: Tables>(frame: &mut F, tables: &T, scratch: &mut Scratch) -> Progress {
    let origin = scratch.way.origin;
    if !admission::admits::<F, T>(tables, scratch) {
        if admission::is_for_receiver::<F, T>(tables, scratch) {
            // It is of no flow here: what it is for is all that is translated, if that stands for somebody.
            scratch.way.translated = scratch.track.flags & TRANSLATED;
            scratch.way.source = Mac::ANSWERING;
            return Progress::Prepare;
        }
        if let Err(reason) = admission::refuse(frame, tables, scratch) {
            return Progress::Done(Action::refuse(tables, origin.port, reason));
        }
        tables.count(origin.port, Count::Drop(scratch.court.reason));
        scratch.way = Way::back(origin);
        return Progress::Prepare;
    }
    let Scratch {
        track,
        packet,
        way,
        decision,
        ..
    } = scratch;
    if !matches!(decision.kind, Decided::Flood) {
        let settled = match nat::choose(tables, packet, way, track) {
            Ok(()) if flow::settle::<F, T>(tables, track, packet, way) => {
                way.translated = track.flags & TRANSLATED;
                return Progress::Prepare;
            }
            Ok(()) => DropReason::NatExhausted,
            Err(reason) => reason,
        };
        // What is translated otherwise now is another connection.
        flow::end(tables, track);
        return Progress::Done(Action::refuse(tables, origin.port, settled));
    }
    match flood(frame, tables, &origin, &decision.network, way) {
        Reached::Nobody => {
            Progress::Done(Action::refuse(tables, origin.port, DropReason::NoOtherPort))
        }
        Reached::Others => Progress::Done(Action::Copied),
        Reached::Workload => Progress::Prepare,
    }
}

// These steps are functions of their own in the kernel too: each has a part of the stack to itself, and
// what the verifier knows ends with it. What they find out is in the working memory.

/// Parses the frame.
///
/// # Errors
/// The reason why it must be dropped.
#[inline(never)]
pub(crate) fn read<F: Frame>(frame: &F, packet: &mut Packet) -> Result<(), DropReason> {
    parse::parse(frame, packet).map(drop)
}

/// Decides what is to become of the packet.
///
/// # Errors
/// The reason why it must be dropped.
#[inline(never)]
fn decide<T: Tables>(
    tables: &T,
    port: &IngressPort,
    packet: &Packet,
    decision: &mut Decision,
) -> Result<(), DropReason> {
    decision.keep(walk(tables, port, packet)?)
}

/// Walks the packet through its network, up to a router if it is for one. Nothing is written here.
///
/// # Errors
/// The reason why the port may not send it.
#[inline(always)]
pub fn walk<T: Tables>(
    tables: &T,
    port: &IngressPort,
    packet: &Packet,
) -> Result<Verdict, DropReason> {
    guard::check(tables, port, packet)?;
    learning::learn(tables, port, packet.source);
    let is_noted = resolver::note_answer(tables, port, packet);
    Ok(match answer::answer(tables, port, packet) {
        Some(reply) => Verdict::Reply(reply),
        None => match bridge::decide(tables, port, packet.destination) {
            // Another host passes on what a router was told there: it may have been asked for here.
            Verdict::Route(router_port)
                if is_noted || port.is_host() && resolver::is_answer(packet) =>
            {
                Verdict::Consume(router_port)
            }
            verdict => verdict,
        },
    })
}

/// Walks the packet through the routers on its way.
#[inline(never)]
fn walk_routers<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    origin: &Origin,
    packet: &Packet,
    routed: &mut Routed,
) {
    router::route(frame, tables, origin, packet, routed);
}

/// Turns an echo request into the reply to it.
///
/// # Errors
/// [`Refused`] if the kernel cannot make the frame's bytes writable.
#[inline(never)]
fn echo<F: Frame>(frame: &mut F, packet: &Packet) -> Result<(), Refused> {
    edit::icmp::write_echo_reply(frame, packet)
}

/// Turns the packet into an error about it. It counts as dropped, and what goes back is another one.
///
/// # Errors
/// The reason why it is dropped, if nobody may be told; [`DropReason::KernelRefused`].
#[inline(never)]
fn complain<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    origin: &Origin,
    packet: &Packet,
    routed: &mut Routed,
) -> Result<(), DropReason> {
    if !may_tell(tables, packet, routed) {
        return Err(routed.reason);
    }
    tables.count(origin.port, Count::Drop(routed.reason));
    edit::icmp::write_error(frame, packet, routed.speaker, routed.message, routed.detail)
        .map_err(|_refused| DropReason::KernelRefused)
}

/// Turns the packet into a reset of its connection, likewise.
///
/// # Errors
/// The reason why it is dropped, if nobody may be told; [`DropReason::KernelRefused`].
#[inline(never)]
fn reset<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    origin: &Origin,
    packet: &Packet,
    routed: &mut Routed,
) -> Result<(), DropReason> {
    let Some(reset) = tcp::reset(frame, packet) else {
        return Err(routed.reason);
    };
    if !may_tell(tables, packet, routed) {
        return Err(routed.reason);
    }
    tables.count(origin.port, Count::Drop(routed.reason));
    edit::tcp::write_reset(frame, packet, routed.speaker, &reset)
        .map_err(|_refused| DropReason::KernelRefused)
}

/// Turns the frame into the answer to it.
///
/// # Errors
/// [`Refused`] if the kernel cannot make the frame's bytes writable.
#[inline(never)]
fn reply<F: Frame>(frame: &mut F, reply: &Reply) -> Result<(), Refused> {
    resolution::write_reply(frame, reply)
}

/// Whether the sender of a packet may be told what became of it, and by whom: `speaker` becomes the
/// address that an error or a reset comes from.
#[inline(never)]
fn may_tell<T: Tables>(tables: &T, packet: &Packet, routed: &mut Routed) -> bool {
    let Some(router_port) = tables.router_port(routed.port) else {
        return false;
    };
    let source = match (routed.reason, packet.kind) {
        // What was said to an address is answered by it (RFC 4443 section 2.2 (a)).
        (DropReason::RouterService, _) => packet.ip_destination,
        (_, Kind::Ipv4) => router_port.ipv4,
        (_, _) => router_port.ipv6,
    };
    routed.speaker = source;
    source != Ip::UNSPECIFIED_V4
        && source != Ip::UNSPECIFIED_V6
        && icmp::may_complain(packet)
        && icmp::spend(tables, router_port.router, packet.ip_source)
}

/// Turns the frame into the question for its next hop. Says whether that was possible.
#[inline(never)]
fn question<F: Frame, T: Tables>(frame: &mut F, tables: &T, routed: &Routed) -> bool {
    tables
        .router_port(routed.port)
        .is_some_and(|asker| resolution::write_question(frame, routed.neighbor.ip, &asker).is_ok())
}

/// Asks all stations of the next hop's network, on other hosts too: it is this host's router that asks,
/// whoever the packet came from. All of them get copies: the kernel would hand the frame
/// itself over as the protocol that it was.
#[inline(never)]
fn ask<F: Frame, T: Tables>(frame: &mut F, tables: &T, origin: &Origin, routed: &Routed) {
    let Some(network) = tables.network(routed.neighbor.vni) else {
        return;
    };
    let interface = origin.interface;
    Flood::run(
        frame,
        tables,
        &network,
        Audience::All,
        PortId::NONE,
        interface,
    )
    .finish();
}

/// Whom a flooded frame reached.
enum Reached {
    Nobody,
    /// All of them have got copies.
    Others,
    /// One gets the frame itself.
    Workload,
}

/// Sends a copy to every member of the network's list but the ingress port and the last workload on
/// this host, to which the frame itself goes.
#[inline(never)]
fn flood<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    origin: &Origin,
    network: &Network,
    way: &mut Way,
) -> Reached {
    let (from, interface) = (origin.port, origin.interface);
    let flood = Flood::run(frame, tables, network, audience(origin), from, interface);
    match (flood.last(), flood.is_resubmitted()) {
        (Some((id, _interface)), _) => {
            *way = Way::to(*origin, id, origin.vni);
            Reached::Workload
        }
        (None, true) => Reached::Others,
        (None, false) => Reached::Nobody,
    }
}

/// Sends an answer to a router's question on to the network's other hosts: the router is there too, and
/// it may have asked from there. Says whether there are any.
#[inline(never)]
fn share<F: Frame, T: Tables>(frame: &mut F, tables: &T, origin: &Origin) -> bool {
    if origin.is_peer() {
        return false;
    }
    let (from, interface) = (origin.port, origin.interface);
    tables.network(origin.vni).is_some_and(|network| {
        Flood::run(frame, tables, &network, Audience::Peers, from, interface).is_resubmitted()
    })
}

/// Who gets what is flooded.
#[inline(always)]
fn audience(origin: &Origin) -> Audience {
    if origin.is_peer() {
        Audience::Workloads
    } else {
        Audience::All
    }
}

#[cfg(test)]
mod tests;
