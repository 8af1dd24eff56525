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
        Verdict::Flood(network) => flood(frame, tables, interface, port, &network),
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
    interface: IfIndex,
    port: &IngressPort,
    network: &Network,
) -> Result<IfIndex, DropReason> {
    let mut flood = Flood {
        frame,
        tables,
        list: network.flood,
        from: (port.port, interface),
        to: (port.port, interface),
    };
    F::repeat(network.flood_len.min(FLOOD_MAX), &mut flood);
    let (id, to) = flood.to;
    if to == interface {
        return Err(DropReason::NoOtherPort);
    }
    tables.count(id, Count::Egress(frame.len()));
    Ok(to)
}

/// A frame on its way to the members of a list.
struct Flood<'a, F, T> {
    frame: &'a mut F,
    tables: &'a T,
    list: FloodList,
    /// Where the frame came in.
    from: (PortId, IfIndex),
    /// Who gets the next copy, or in the end the frame itself; where the frame came in as long as
    /// nobody was found.
    ///
    /// "Nobody" is not a constant, for the reason that [`Frame::repeat`] gives: older kernels would
    /// take the sending of copies for dead code.
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
            && member.port != self.from.0
            && let Some(next) = self.tables.egress_port(member.port)
        {
            let (id, interface) = mem::replace(&mut self.to, (member.port, next.ifindex));
            if interface != self.from.1 {
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
                .count(self.from.0, Count::Drop(DropReason::KernelRefused)),
        }
    }
}

#[cfg(test)]
mod tests {
    use maps_schema::map::{FloodMember, PortCounters};

    use super::*;
    use crate::memory::{MemoryFrame, MemoryTables};
    use crate::scene::{
        CACHE, DB, Station, TWIN, WEB, assert_dropped, assert_flooded, counters, send, tables,
    };

    /// Gives the first network another flood list.
    fn set_members(tables: &mut MemoryTables, members: &[PortId]) {
        let list = FloodList(99);
        for (idx, &port) in (0..).zip(members) {
            tables
                .flood
                .insert(FloodKey { list, idx }, FloodMember { port });
        }
        let network = tables.networks.get_mut(&WEB.vni).unwrap();
        (network.flood, network.flood_len) = (list, members.len() as u32);
    }

    fn broadcast() -> Vec<u8> {
        WEB.asks_arp(WEB.v4)
    }

    #[test]
    fn a_frame_of_no_port_is_counted_under_none() {
        let tables = tables();
        let mut frame = MemoryFrame::from_wire(&WEB.udp_to(&DB));
        let reason = DropReason::UnknownInterface;
        let port = PortId::NONE;
        let action = port_ingress(&mut frame, &tables, IfIndex(9999));
        assert_eq!(action, Action::Drop { port, reason });
        let mut expected = PortCounters::ZERO;
        expected.drops[reason as usize] = 1;
        assert_eq!(counters(&tables, port), expected);
    }

    #[test]
    fn a_frame_to_a_port_without_a_workload_is_dropped() {
        let mut tables = tables();
        tables.ports.remove(&DB.port);
        assert_dropped(&tables, &WEB, &WEB.udp_to(&DB), DropReason::PortUnplugged);
    }

    #[test]
    fn a_flooded_frame_reaches_all_others_wherever_the_sender_is_in_the_list() {
        let [a, b, c] = [WEB.port, DB.port, CACHE.port];
        for members in [
            [a, b, c],
            [b, a, c],
            [b, c, a],
            [c, b, a],
            [a, c, b],
            [c, a, b],
        ] {
            let mut tables = tables();
            set_members(&mut tables, &members);
            assert_flooded(&tables, &WEB, &broadcast(), &[DB, CACHE]);
            for to in [DB, CACHE] {
                let counted = counters(&tables, to.port);
                assert_eq!(counted.egress_packets, 1, "{members:?}");
                assert_eq!(counted.egress_bytes, broadcast().len() as u64);
            }
        }
    }

    #[test]
    fn members_without_a_workload_are_skipped() {
        for gone in [DB, CACHE] {
            let left = if gone.port == DB.port { CACHE } else { DB };
            let mut tables = tables();
            tables.ports.remove(&gone.port);
            assert_flooded(&tables, &WEB, &broadcast(), &[left]);
            assert_eq!(counters(&tables, gone.port), PortCounters::ZERO);
        }
    }

    #[test]
    fn a_list_without_others_is_a_reason_to_drop() {
        let lists: [&[PortId]; 3] = [&[], &[WEB.port], &[PortId(12345)]];
        for members in lists {
            let mut tables = tables();
            set_members(&mut tables, members);
            assert_dropped(&tables, &WEB, &broadcast(), DropReason::NoOtherPort);
        }
        let frame = TWIN.asks_arp(TWIN.v4);
        assert_dropped(&tables(), &TWIN, &frame, DropReason::NoOtherPort);
    }

    #[test]
    fn a_list_is_followed_to_its_length_and_not_beyond_the_bound() {
        let mut tables = tables();
        let members = vec![DB.port; FLOOD_MAX as usize + 5];
        set_members(&mut tables, &members);
        send(&tables, &WEB, &broadcast());
        let counted = counters(&tables, DB.port).egress_packets;
        assert_eq!(counted, u64::from(FLOOD_MAX));
        tables.networks.get_mut(&WEB.vni).unwrap().flood_len = 2;
        send(&tables, &WEB, &broadcast());
        assert_eq!(counters(&tables, DB.port).egress_packets, counted + 2);
    }

    #[test]
    fn counters_are_exact() {
        let tables = tables();
        let (data, question) = (WEB.udp_to(&DB), WEB.asks_arp(DB.v4));
        let spoofed = DB.udp_to(&CACHE);
        for wire in [&data, &data, &question, &spoofed] {
            send(&tables, &WEB, wire);
        }
        let mut web = PortCounters {
            ingress_packets: 4,
            ingress_bytes: (2 * data.len() + question.len() + spoofed.len()) as u64,
            egress_packets: 1,
            egress_bytes: question.len() as u64,
            ..PortCounters::ZERO
        };
        web.drops[DropReason::SpoofedMac as usize] = 1;
        let db = PortCounters {
            egress_packets: 2,
            egress_bytes: 2 * data.len() as u64,
            ..PortCounters::ZERO
        };
        let expected = [(WEB, web), (DB, db), (CACHE, PortCounters::ZERO)];
        for (Station { port, .. }, expected) in expected {
            assert_eq!(counters(&tables, port), expected);
        }
    }

    /// A frame of which the kernel refuses copies or changes.
    struct Stubborn(MemoryFrame);

    impl Frame for Stubborn {
        fn len(&self) -> u32 {
            self.0.len()
        }
        fn outer_tag(&self) -> Option<u16> {
            self.0.outer_tag()
        }
        fn fixed<const OFFSET: usize, T: maps_schema::Plain>(
            &self,
        ) -> Result<T, crate::frame::Short> {
            self.0.fixed::<OFFSET, T>()
        }
        fn load<T: maps_schema::Plain>(&self, offset: u32) -> Result<T, crate::frame::Short> {
            self.0.load(offset)
        }
        fn store<T: maps_schema::Plain>(&mut self, _: u32, _: &T) -> Result<(), Refused> {
            Err(Refused)
        }
        fn repeat<S: Step>(count: u32, step: &mut S) {
            MemoryFrame::repeat(count, step);
        }
        fn copy_to(&mut self, _: IfIndex) -> Result<(), Refused> {
            Err(Refused)
        }
    }

    #[test]
    fn an_answer_that_cannot_be_written_is_a_drop() {
        let tables = tables();
        let mut frame = Stubborn(MemoryFrame::from_wire(&WEB.asks_arp(DB.v4)));
        let reason = DropReason::KernelRefused;
        let port = WEB.port;
        let action = port_ingress(&mut frame, &tables, WEB.interface);
        assert_eq!(action, Action::Drop { port, reason });
        assert_eq!(counters(&tables, port).drops[reason as usize], 1);
        assert_eq!(counters(&tables, port).egress_packets, 0);
    }

    #[test]
    fn a_copy_that_cannot_be_sent_is_counted_and_the_others_go_on() {
        let tables = tables();
        let mut frame = Stubborn(MemoryFrame::from_wire(&broadcast()));
        let action = port_ingress(&mut frame, &tables, WEB.interface);
        assert_eq!(action, Action::Deliver(CACHE.interface));
        let refused = DropReason::KernelRefused as usize;
        assert_eq!(counters(&tables, WEB.port).drops[refused], 1);
        assert_eq!(counters(&tables, DB.port).egress_packets, 0);
        assert_eq!(counters(&tables, CACHE.port).egress_packets, 1);
    }
}
