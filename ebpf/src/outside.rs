//! Packets that come from the outside, to which routers have uplinks.

use maps_schema::map::{IngressPort, Uplink};
use maps_schema::{DropReason, IfIndex, Mac, PolicyList, PortId, Vni};

use crate::departure::{Origin, Way};
use crate::edit::resolution;
use crate::frame::Frame;
use crate::parse::{Kind, Message};
use crate::pipeline::{Action, Progress, Scratch};
use crate::tables::{Count, Tables};
use crate::verdict::Decided;
use crate::{answer, flow, nat};

/// A packet goes to the workload that its destination stands for, if there is one: as an answer, or because
/// the address or the port is published. All else passes on to the host.
#[inline(always)]
pub(crate) fn receive<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    scratch: &mut Scratch,
    interface: IfIndex,
    uplink: &Uplink,
) -> Progress {
    let pass = Progress::Done(Action::Pass);
    let packet = &mut scratch.packet;
    if matches!(packet.kind, Kind::Opaque) {
        return pass;
    }
    if !matches!(packet.resolution.message, Message::None) {
        return answer(frame, tables, scratch, interface);
    }
    let is_brought = scratch.is_brought;
    if packet.destination != uplink.mac && !is_brought {
        return pass;
    }
    let track = &mut scratch.track;
    let is_recalled = flow::recall(
        frame,
        tables,
        &origin(interface, PortId::NONE),
        packet,
        track,
    );
    if !is_recalled {
        nat::translate(tables, packet, track);
    }
    if track.uplink == PortId::NONE {
        nat::find(tables, packet, track);
    }
    let port = track.uplink;
    if is_brought && (port == PortId::NONE || track.is_elsewhere) {
        // Who brought it has an older or a newer topology.
        let reason = DropReason::NatUntracked;
        return Progress::Done(Action::refuse(tables, PortId::NONE, reason));
    }
    if port == PortId::NONE {
        return pass;
    }
    if track.is_elsewhere {
        // As it is: that host does what would be done here.
        track.clear();
        scratch.way = Way::to(origin(interface, PortId::NONE), port, Vni::OUTSIDE);
        return Progress::Prepare;
    }
    tables.count(port, Count::Ingress(frame.len()));
    let origin = origin(interface, port);
    nat::apply(packet, track);
    if is_recalled {
        scratch.way = flow::way(origin, track);
        return Progress::Prepare;
    }
    scratch.way = Way::back(origin);
    (scratch.decision.kind, scratch.decision.port) = (Decided::Route, port);
    Progress::Route
}

const fn origin(interface: IfIndex, port: PortId) -> Origin {
    Origin {
        interface,
        port,
        vni: Vni::NONE,
        policy: PolicyList::NONE,
        flags: IngressPort::OUTSIDE,
    }
}

/// Answers who asks for an address that stands for workloads.
#[inline(never)]
fn answer<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    scratch: &mut Scratch,
    interface: IfIndex,
) -> Progress {
    let port = IngressPort {
        port: PortId::NONE,
        vni: Vni::NONE,
        mac: Mac::ZERO,
        flags: IngressPort::OUTSIDE,
        reserved: 0,
        policy: PolicyList::NONE,
    };
    let Some(reply) = answer::answer(tables, &port, &scratch.packet) else {
        return Progress::Done(Action::Pass);
    };
    match resolution::write_reply(frame, &reply) {
        Ok(()) => Progress::Done(Action::Send(interface)),
        Err(_refused) => Progress::Done(Action::refuse(
            tables,
            PortId::NONE,
            DropReason::KernelRefused,
        )),
    }
}
