//! The journey of a frame, from the interface that it came in on to where it leaves.

use core::mem;
use core::ops::ControlFlow;

use maps_schema::map::{FLOOD_MAX, FloodKey, IngressPort, Network};
use maps_schema::{DropReason, FloodList, IfIndex, PortId};

use crate::frame::{Frame, Refused, Step};
use crate::tables::{Count, Tables};
use crate::verdict::Verdict;
use crate::{answer, bridge, edit, guard, learning, parse};

/// What the program does with the frame in the end. Copies were sent and everything was counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Hands it to the workload behind this interface.
    Deliver(IfIndex),
    /// Drops it.
    Drop {
        /// Where it came in.
        port: PortId,
        /// Why it is dropped.
        reason: DropReason,
    },
}

/// A frame enters the virtual network from the workload behind `interface`.
#[inline(always)]
pub fn port_ingress<F: Frame, T: Tables>(frame: &mut F, tables: &T, interface: IfIndex) -> Action {
    let (id, result) = match tables.ingress_port(interface) {
        None => (PortId::NONE, Err(DropReason::UnknownInterface)),
        Some(port) => {
            tables.count(port.port, Count::Ingress(frame.len()));
            (port.port, forward(frame, tables, interface, &port))
        }
    };
    match result {
        Ok(interface) => Action::Deliver(interface),
        Err(reason) => {
            tables.count(id, Count::Drop(reason));
            Action::Drop { port: id, reason }
        }
    }
}

/// Decides, and carries the decision out up to the interface that the frame itself leaves by.
#[inline(always)]
fn forward<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    interface: IfIndex,
    port: &IngressPort,
) -> Result<IfIndex, DropReason> {
    match walk(frame, tables, port) {
        Verdict::Deliver(destination) => leave(tables, destination, frame.len()),
        Verdict::Flood(network) => flood(frame, tables, port, &network),
        Verdict::Reply(reply) => {
            edit::apply(frame, &reply).map_err(|_refused| DropReason::KernelRefused)?;
            tables.count(port.port, Count::Egress(frame.len()));
            Ok(interface)
        }
        Verdict::Drop(reason) => Err(reason),
    }
}

/// Walks the frame through the virtual topology. Nothing of it is written here.
#[inline(always)]
pub fn walk<F: Frame, T: Tables>(frame: &F, tables: &T, port: &IngressPort) -> Verdict {
    let packet = match parse::parse(frame) {
        Ok(packet) => packet,
        Err(reason) => return Verdict::Drop(reason),
    };
    if let Err(reason) = guard::check(tables, port, &packet) {
        return Verdict::Drop(reason);
    }
    learning::learn(tables, port, packet.source);
    match answer::answer(tables, port, &packet) {
        Some(reply) => Verdict::Reply(reply),
        None => bridge::decide(tables, port, packet.destination),
    }
}

/// The interface behind the destination port.
#[inline(always)]
fn leave<T: Tables>(tables: &T, destination: PortId, len: u32) -> Result<IfIndex, DropReason> {
    let port = tables
        .egress_port(destination)
        .ok_or(DropReason::PortUnplugged)?;
    tables.count(destination, Count::Egress(len));
    Ok(port.ifindex)
}

/// Sends a copy to every member of the network's list but the ingress port and the last other one,
/// which gets the frame itself.
#[inline(always)]
fn flood<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    port: &IngressPort,
    network: &Network,
) -> Result<IfIndex, DropReason> {
    let mut flood = Flood {
        frame,
        tables,
        list: network.flood,
        from: port.port,
        to: (PortId::NONE, NOWHERE),
    };
    F::repeat(network.flood_len.min(FLOOD_MAX), &mut flood);
    let (id, interface) = flood.to;
    if interface == NOWHERE {
        return Err(DropReason::NoOtherPort);
    }
    tables.count(id, Count::Egress(frame.len()));
    Ok(interface)
}

/// No interface has this index.
const NOWHERE: IfIndex = IfIndex(0);

/// A frame on its way to the members of a list.
struct Flood<'a, F, T> {
    frame: &'a mut F,
    tables: &'a T,
    list: FloodList,
    /// Where the frame came in.
    from: PortId,
    /// Who gets the next copy, or in the end the frame itself.
    to: (PortId, IfIndex),
}

impl<F: Frame, T: Tables> Step for Flood<'_, F, T> {
    #[inline(always)]
    fn step(&mut self, idx: u32) -> ControlFlow<()> {
        let key = FloodKey {
            list: self.list,
            idx,
        };
        if let Some(member) = self.tables.flood_member(&key)
            && member.port != self.from
            && let Some(next) = self.tables.egress_port(member.port)
        {
            let (id, interface) = mem::replace(&mut self.to, (member.port, next.ifindex));
            if interface != NOWHERE {
                self.copy(id, interface);
            }
        }
        ControlFlow::Continue(())
    }
}

impl<F: Frame, T: Tables> Flood<'_, F, T> {
    /// Sends one copy; one that the kernel refuses is counted at the port that the frame came from.
    #[inline(always)]
    fn copy(&mut self, id: PortId, interface: IfIndex) {
        match self.frame.copy_to(interface) {
            Ok(()) => self.tables.count(id, Count::Egress(self.frame.len())),
            Err(Refused) => self
                .tables
                .count(self.from, Count::Drop(DropReason::KernelRefused)),
        }
    }
}
