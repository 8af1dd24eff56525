//! The journey of a frame, from the interface that it came in on to where it leaves.

use core::mem::MaybeUninit;

use maps_schema::map::{EgressPort, IngressPort, Network, RouterPort};
use maps_schema::{DropReason, IfIndex, Ip, PortId, RouterId, Vni};

use crate::departure;
use crate::edit::{self, resolution};
use crate::flood::{Audience, Flood};
use crate::frame::{Frame, Note};
use crate::icmp::Message;
use crate::parse::outer::Outer;
use crate::parse::{self, Kind, Packet};
use crate::router::{self, Outcome, Routed};
use crate::tables::{Count, Tables};
use crate::verdict::Verdict;
use crate::{answer, bridge, ecn, guard, icmp, learning, resolver, tcp};

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
    /// Sends it out of the interface that it came in on.
    Return(IfIndex),
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

/// Working memory for one frame. It is the caller's, because the kernel gives programs 512 bytes of
/// stack for everything; what it holds beforehand does not matter.
pub struct Scratch {
    pub(crate) packet: MaybeUninit<Packet>,
    pub(crate) routed: MaybeUninit<Routed>,
    pub(crate) exit: MaybeUninit<EgressPort>,
    pub(crate) outer: MaybeUninit<Outer>,
}

impl Scratch {
    /// Memory that nothing was worked on in yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            packet: MaybeUninit::uninit(),
            routed: MaybeUninit::uninit(),
            exit: MaybeUninit::uninit(),
            outer: MaybeUninit::uninit(),
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
) -> Action {
    let note = frame.note();
    let (id, result) = match tables.ingress_port(interface) {
        None => (PortId::NONE, Err(DropReason::UnknownInterface)),
        Some(port) if note != Note::NONE => (
            port.port,
            departure::resume(frame, tables, scratch, interface, note),
        ),
        Some(port) => {
            tables.count(port.port, Count::Ingress(frame.len()));
            let result = forward(frame, tables, scratch, interface, &port, 0);
            (port.port, result)
        }
    };
    match result {
        Ok(action) => action,
        Err(reason) => {
            tables.count(id, Count::Drop(reason));
            Action::Drop { port: id, reason }
        }
    }
}

/// Where a frame came in.
struct Origin<'a> {
    interface: IfIndex,
    port: &'a IngressPort,
}

/// Decides, and carries the decision out up to where the frame itself leaves. `outer_class` is the
/// traffic class of the outer header that it came in, or 0.
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
    outer_class: u8,
) -> Result<Action, DropReason> {
    let origin = Origin { interface, port };
    let packet = parse::parse(frame, &mut scratch.packet)?;
    if port.flags & IngressPort::PEER != 0 {
        leave_tunnel(frame, packet, outer_class)?;
    }
    let way = match walk(tables, port, packet)? {
        Verdict::Deliver(destination) => Way::new(destination, port.vni),
        Verdict::Route(router_port) => {
            let routed = scratch.routed.write(Routed::new(router_port));
            router::route(frame, tables, port, packet, routed);
            carry_out(frame, tables, &origin, packet, routed)?
        }
        Verdict::Flood(network) => return flood(frame, tables, &origin, &network),
        Verdict::Reply(reply) => {
            resolution::write_reply(frame, &reply).map_err(|_refused| DropReason::KernelRefused)?;
            Way::back(&origin)
        }
        Verdict::Consume(router_port) => return Ok(Action::Consume(router_port)),
        Verdict::Drop(reason) => return Err(reason),
    };
    leave(frame, tables, &origin, packet, &way, &mut scratch.exit)
}

/// Where the frame itself goes.
struct Way<'a> {
    destination: PortId,
    /// The network that it is in when it gets there.
    vni: Vni,
    /// The routers that it passes, which is still to be written.
    routed: Option<&'a Routed>,
}

impl<'a> Way<'a> {
    #[inline(always)]
    const fn new(destination: PortId, vni: Vni) -> Self {
        Self {
            destination,
            vni,
            routed: None,
        }
    }

    /// The frame is an answer now, and goes to where it came from.
    #[inline(always)]
    const fn back(origin: &Origin<'_>) -> Self {
        Self::new(origin.port.port, origin.port.vni)
    }

    #[inline(always)]
    const fn routed(routed: &'a Routed) -> Self {
        Self {
            destination: routed.port,
            vni: routed.neighbor.vni,
            routed: Some(routed),
        }
    }
}

/// Lets the frame leave, if it can: until that is known it stays as it is.
#[inline(always)]
fn leave<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    origin: &Origin<'_>,
    packet: &Packet,
    way: &Way<'_>,
    exit: &mut MaybeUninit<EgressPort>,
) -> Result<Action, DropReason> {
    let exit = departure::exit(tables, way.destination, exit)?;
    if exit.kind != EgressPort::WORKLOAD {
        if is_tunnel_to_tunnel(origin.port, way.destination) {
            return Err(DropReason::SplitHorizon);
        }
        if !departure::fits(frame, packet, exit) {
            return refuse_size(frame, tables, origin, packet, exit.mtu);
        }
    }
    if let Some(routed) = way.routed {
        edit::forward::write(
            frame,
            packet,
            routed.destination,
            routed.source,
            routed.hops,
        )
        .map_err(|_refused| DropReason::KernelRefused)?;
    }
    departure::leave(
        frame,
        tables,
        packet,
        origin.interface,
        way.destination,
        exit,
        way.vni,
    )
}

/// What the outer header says about congestion goes into the inner one.
#[inline(always)]
fn leave_tunnel<F: Frame>(
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

/// Whether a frame from another host would go to another host. An ordinary VTEP's may: it has not
/// sent the frame there itself.
#[inline(always)]
fn is_tunnel_to_tunnel(port: &IngressPort, destination: PortId) -> bool {
    let from_host = port.flags & (IngressPort::PEER | IngressPort::SERVED) == IngressPort::PEER;
    from_host && port.port != destination
}

/// The frame does not fit through the tunnel. Its sender is told by the bridge, in the name of whom the
/// packet is for: bridges have no addresses.
#[inline(always)]
fn refuse_size<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    origin: &Origin<'_>,
    packet: &Packet,
    mtu: u32,
) -> Result<Action, DropReason> {
    // An error into a tunnel is more than it is worth.
    let may_tell = origin.port.flags & IngressPort::PEER == 0
        && matches!(packet.kind, Kind::Ipv4 | Kind::Ipv6)
        && !packet.destination.is_group()
        && icmp::may_complain(packet)
        && icmp::spend(tables, RouterId::NONE, packet.ip_source);
    if !may_tell {
        return Err(DropReason::TunnelTooSmall);
    }
    tables.count(origin.port.port, Count::Drop(DropReason::TooBig));
    let source = packet.ip_destination;
    edit::icmp::write_error(frame, packet, source, Message::TooBig, mtu)
        .map_err(|_refused| DropReason::KernelRefused)?;
    tables.count(origin.port.port, Count::Egress(frame.len()));
    Ok(Action::Deliver(origin.interface))
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
            Verdict::Route(router_port) if is_noted => Verdict::Consume(router_port),
            verdict => verdict,
        },
    })
}

/// Carries out what the routers decided.
#[inline(always)]
fn carry_out<'a, F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    origin: &Origin<'_>,
    packet: &Packet,
    routed: &'a Routed,
) -> Result<Way<'a>, DropReason> {
    let refused = |_refused| DropReason::KernelRefused;
    match routed.outcome {
        Outcome::Deliver => Ok(Way::routed(routed)),
        Outcome::Echo => {
            edit::icmp::write_echo_reply(frame, packet).map_err(refused)?;
            Ok(Way::back(origin))
        }
        Outcome::Ask => {
            if let Some(asker) = tables.router_port(routed.port) {
                ask(frame, tables, origin, &asker, routed);
            }
            Err(routed.reason)
        }
        Outcome::Error => {
            let Some(source) = complaint_source(tables, packet, routed) else {
                return Err(routed.reason);
            };
            // The packet is dropped, and what goes back is another one.
            tables.count(origin.port.port, Count::Drop(routed.reason));
            edit::icmp::write_error(frame, packet, source, routed.message, routed.detail)
                .map_err(refused)?;
            Ok(Way::back(origin))
        }
        Outcome::Reset => {
            let Some(reset) = tcp::reset(frame, packet) else {
                return Err(routed.reason);
            };
            let Some(source) = complaint_source(tables, packet, routed) else {
                return Err(routed.reason);
            };
            tables.count(origin.port.port, Count::Drop(routed.reason));
            edit::tcp::write_reset(frame, packet, source, &reset).map_err(refused)?;
            Ok(Way::back(origin))
        }
        Outcome::Drop => Err(routed.reason),
    }
}

/// The address that an error or a reset about a packet comes from; nothing if none may be sent.
#[inline(always)]
fn complaint_source<T: Tables>(tables: &T, packet: &Packet, routed: &Routed) -> Option<Ip> {
    let router_port = tables.router_port(routed.port)?;
    let source = match (routed.reason, packet.kind) {
        // What was said to an address is answered by it (RFC 4443 section 2.2 (a)).
        (DropReason::RouterService, _) => packet.ip_destination,
        (_, Kind::Ipv4) => router_port.ipv4,
        (_, _) => router_port.ipv6,
    };
    let may_send = source != Ip::UNSPECIFIED_V4
        && source != Ip::UNSPECIFIED_V6
        && icmp::may_complain(packet)
        && icmp::spend(tables, router_port.router, packet.ip_source);
    may_send.then_some(source)
}

/// Turns the frame into the question for its next hop, and asks all stations of that network. All of
/// them get copies: the kernel would hand the frame itself over as the protocol that it was.
#[inline(always)]
fn ask<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    origin: &Origin<'_>,
    asker: &RouterPort,
    routed: &Routed,
) {
    let Some(network) = tables.network(asker.vni) else {
        return;
    };
    if resolution::write_question(frame, routed.neighbor.ip, asker).is_err() {
        return;
    }
    let interface = origin.interface;
    Flood::run(
        frame,
        tables,
        &network,
        audience(origin),
        PortId::NONE,
        interface,
    )
    .finish();
}

/// Sends a copy to every member of the network's list but the ingress port and the last other one on
/// this host, which gets the frame itself.
#[inline(always)]
fn flood<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    origin: &Origin<'_>,
    network: &Network,
) -> Result<Action, DropReason> {
    let (from, interface) = (origin.port.port, origin.interface);
    let flood = Flood::run(frame, tables, network, audience(origin), from, interface);
    let reached_peers = flood.reached_peers();
    let last = flood.last();
    match last {
        Some((id, interface)) => {
            tables.count(id, Count::Egress(frame.len()));
            Ok(Action::Deliver(interface))
        }
        None if reached_peers => Ok(Action::Copied),
        None => Err(DropReason::NoOtherPort),
    }
}

/// Who gets what is flooded.
#[inline(always)]
fn audience(origin: &Origin<'_>) -> Audience {
    if origin.port.flags & IngressPort::PEER == 0 {
        Audience::All
    } else {
        Audience::Workloads
    }
}

#[cfg(test)]
mod tests;
