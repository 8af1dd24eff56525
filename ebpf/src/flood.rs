//! Flooding: a copy for every member of a list.

use core::mem;
use core::ops::ControlFlow;

use maps_schema::map::{FLOOD_MAX, FloodKey, Network};
use maps_schema::{DropReason, FloodList, IfIndex, PolicyList, PortId};

use crate::frame::{Frame, Note, Refused, Step};
use crate::tables::{Count, Tables};

/// Who gets a flooded frame, besides that its own port does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Audience {
    /// Every member of the list.
    All,
    /// Those on this host: what came by a tunnel never goes back into one (split horizon, RFC 4762
    /// section 4.4).
    Workloads,
    /// Those on other hosts.
    Peers,
}

/// A frame on its way to the members of a list.
pub struct Flood<'a, F, T> {
    frame: &'a mut F,
    tables: &'a T,
    list: FloodList,
    audience: Audience,
    /// Where the frame came in.
    from: PortId,
    /// The interface that it came in on.
    interface: IfIndex,
    /// Which workload gets the next copy, or in the end the frame itself.
    to: (PortId, IfIndex),
    /// What `to` and `resubmitted` begin as.
    nowhere: IfIndex,
    /// Whether a copy comes in again: then it is the interface. A number of copies would be another one in
    /// every turn, and the verifier would follow them all.
    resubmitted: IfIndex,
}

impl<'a, F: Frame, T: Tables> Flood<'a, F, T> {
    /// Sends a copy to every member of the network's list but the ingress port and the last workload
    /// on this host. Peers get theirs when the copy comes in again on `interface`: each of them has
    /// an outer header of its own, and the kernel looks for its neighbor. So do workloads that have
    /// rules for what they get: each of them has its own.
    #[inline(always)]
    pub fn run(
        frame: &'a mut F,
        tables: &'a T,
        network: &Network,
        audience: Audience,
        from: PortId,
        interface: IfIndex,
    ) -> Self {
        // No interface has the index 0, and no frame is so long that this is another number. But the
        // verifier does not know that: for the reason that `Frame::repeat` gives, older kernels would
        // take the sending of copies for dead code if it began as a constant.
        let nowhere = IfIndex(frame.len() >> 31);
        let mut flood = Self {
            frame,
            tables,
            list: network.flood,
            audience,
            from,
            interface,
            to: (PortId::NONE, nowhere),
            nowhere,
            resubmitted: nowhere,
        };
        F::repeat(network.flood_len.min(FLOOD_MAX), &mut flood);
        flood
    }

    /// The workload that was found last, if any was; it has got no copy.
    #[inline(always)]
    pub fn last(&self) -> Option<(PortId, IfIndex)> {
        (self.to.1 != self.nowhere).then_some(self.to)
    }

    /// Whether copies come in again.
    #[inline(always)]
    pub fn is_resubmitted(&self) -> bool {
        self.resubmitted != self.nowhere
    }

    /// Sends the last workload a copy too.
    #[inline(always)]
    pub fn finish(mut self) {
        if let Some((id, interface)) = self.last() {
            self.copy(id, interface);
        }
    }

    /// Sends one copy; one that the kernel refuses is counted at the port that the frame came from.
    #[inline(always)]
    fn copy(&mut self, id: PortId, interface: IfIndex) {
        match self.frame.copy_to(interface) {
            Ok(()) => self.tables.count(id, Count::Egress(self.frame.len())),
            Err(Refused) => self.refused(),
        }
    }

    #[inline(always)]
    fn refused(&self) {
        self.tables
            .count(self.from, Count::Drop(DropReason::KernelRefused));
    }
}

impl<F: Frame, T: Tables> Step for Flood<'_, F, T> {
    #[inline(always)]
    fn step(&mut self, idx: u32) -> ControlFlow<()> {
        let list = self.list;
        if let Some(member) = self.tables.flood_member(&FloodKey { list, idx })
            && member.port != self.from
            && let Some(next) = self.tables.egress_port(member.port)
        {
            let is_here = next.is_workload();
            let is_meant = match self.audience {
                Audience::All => true,
                Audience::Workloads => is_here,
                Audience::Peers => !is_here,
            };
            if !is_meant {
                return ControlFlow::Continue(());
            }
            if is_here && next.policy == PolicyList::NONE {
                let (id, interface) = mem::replace(&mut self.to, (member.port, next.ifindex));
                if interface != self.nowhere {
                    self.copy(id, interface);
                }
            } else {
                match self.frame.resubmit(self.interface, Note { list, idx }) {
                    Ok(()) => self.resubmitted = self.interface,
                    Err(Refused) => self.refused(),
                }
            }
        }
        ControlFlow::Continue(())
    }
}
