//! The journey of a frame, from the interface that it came in on to where it leaves.

use core::mem::{self, MaybeUninit};
use core::ops::ControlFlow;

use maps_schema::map::{FLOOD_MAX, FloodKey, IngressPort, Network, RouterPort};
use maps_schema::{DropReason, FloodList, IfIndex, Ip, PortId};

use crate::edit::{self, resolution};
use crate::frame::{Frame, Refused, Step};
use crate::icmp::Message;
use crate::parse::{self, Kind, Packet};
use crate::router::{self, Outcome, Routed};
use crate::tables::{Count, Tables};
use crate::verdict::Verdict;
use crate::{answer, bridge, guard, icmp, learning, resolver};

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

/// Working memory for one frame. It is the caller's, because the kernel gives programs 512 bytes of
/// stack for everything; what it holds beforehand does not matter.
pub struct Scratch {
    packet: MaybeUninit<Packet>,
    routed: MaybeUninit<Routed>,
}

impl Scratch {
    /// Memory that nothing was worked on in yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            packet: MaybeUninit::uninit(),
            routed: MaybeUninit::uninit(),
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
    let (id, result) = match tables.ingress_port(interface) {
        None => (PortId::NONE, Err(DropReason::UnknownInterface)),
        Some(port) => {
            tables.count(port.port, Count::Ingress(frame.len()));
            (port.port, forward(frame, tables, scratch, interface, &port))
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
    scratch: &mut Scratch,
    interface: IfIndex,
    port: &IngressPort,
) -> Result<IfIndex, DropReason> {
    let packet = parse::parse(frame, &mut scratch.packet)?;
    match walk(tables, port, packet)? {
        Verdict::Deliver(destination) => leave(tables, destination, frame.len()),
        Verdict::Route(router_port) => {
            let routed = scratch.routed.write(Routed::new(router_port));
            router::route(frame, tables, packet, routed);
            carry_out(frame, tables, interface, port, packet, routed)
        }
        Verdict::Flood(network) => flood(frame, tables, port, &network),
        Verdict::Reply(reply) => {
            let written = resolution::write_reply(frame, &reply);
            send_back(frame, tables, interface, port, written)
        }
        Verdict::Drop(reason) => Err(reason),
    }
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
    resolver::note_answer(tables, port, packet);
    Ok(match answer::answer(tables, port, packet) {
        Some(reply) => Verdict::Reply(reply),
        None => bridge::decide(tables, port, packet.destination),
    })
}

/// Carries out what the routers decided.
#[inline(always)]
fn carry_out<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    interface: IfIndex,
    port: &IngressPort,
    packet: &Packet,
    routed: &Routed,
) -> Result<IfIndex, DropReason> {
    match routed.outcome {
        Outcome::Deliver => {
            let Routed {
                source,
                destination,
                hops,
                ..
            } = *routed;
            // The frame stays as it is if it cannot leave after all.
            let exit = leave(tables, routed.port, frame.len())?;
            edit::forward::write(frame, packet, destination, source, hops)
                .map_err(|_refused| DropReason::KernelRefused)?;
            Ok(exit)
        }
        Outcome::Echo => {
            let written = edit::icmp::write_echo_reply(frame, packet);
            send_back(frame, tables, interface, port, written)
        }
        Outcome::Ask => {
            if let Some(asker) = tables.router_port(routed.port) {
                ask(frame, tables, &asker, routed);
            }
            Err(routed.reason)
        }
        Outcome::Error => {
            let Some(source) = complaint_source(tables, packet, routed) else {
                return Err(routed.reason);
            };
            // The packet is dropped, and what goes back is another one.
            tables.count(port.port, Count::Drop(routed.reason));
            let written =
                edit::icmp::write_error(frame, packet, source, routed.message, routed.mtu);
            send_back(frame, tables, interface, port, written)
        }
        Outcome::Drop => Err(routed.reason),
    }
}

/// The address that an error about a packet comes from; nothing if none may be sent.
#[inline(always)]
fn complaint_source<T: Tables>(tables: &T, packet: &Packet, routed: &Routed) -> Option<Ip> {
    let router_port = tables.router_port(routed.port)?;
    let source = match (routed.message, packet.kind) {
        // What was said to an address is answered by it (RFC 4443 section 2.2 (a)).
        (Message::PortUnreachable, _) => packet.ip_destination,
        (_, Kind::Ipv4) => router_port.ipv4,
        (_, _) => router_port.ipv6,
    };
    let may_send = source != Ip::UNSPECIFIED_V4
        && source != Ip::UNSPECIFIED_V6
        && icmp::may_complain(packet)
        && icmp::spend(tables, router_port.router, packet.ip_source);
    may_send.then_some(source)
}

/// Sends the frame, which is an answer now, back to where it came from.
#[inline(always)]
fn send_back<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    interface: IfIndex,
    port: &IngressPort,
    written: Result<(), Refused>,
) -> Result<IfIndex, DropReason> {
    written.map_err(|_refused| DropReason::KernelRefused)?;
    tables.count(port.port, Count::Egress(frame.len()));
    Ok(interface)
}

/// Turns the frame into the question for its next hop, and asks all stations of that network. All of
/// them get copies: the kernel would hand the frame itself over as the protocol that it was.
#[inline(always)]
fn ask<F: Frame, T: Tables>(frame: &mut F, tables: &T, asker: &RouterPort, routed: &Routed) {
    let Some(network) = tables.network(asker.vni) else {
        return;
    };
    if resolution::write_question(frame, routed.neighbor.ip, asker).is_err() {
        return;
    }
    let mut flood = Flood::new(frame, tables, &network, PortId::NONE);
    F::repeat(network.flood_len.min(FLOOD_MAX), &mut flood);
    if let Some((id, interface)) = flood.last() {
        flood.copy(id, interface);
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
    let mut flood = Flood::new(frame, tables, network, port.port);
    F::repeat(network.flood_len.min(FLOOD_MAX), &mut flood);
    let (id, interface) = flood.last().ok_or(DropReason::NoOtherPort)?;
    tables.count(id, Count::Egress(frame.len()));
    Ok(interface)
}

/// A frame on its way to the members of a list.
struct Flood<'a, F, T> {
    frame: &'a mut F,
    tables: &'a T,
    list: FloodList,
    /// Where the frame came in.
    from: PortId,
    /// Who gets the next copy, or in the end the frame itself.
    to: (PortId, IfIndex),
    /// What `to` begins as.
    nowhere: IfIndex,
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
            if interface != self.nowhere {
                self.copy(id, interface);
            }
        }
        ControlFlow::Continue(())
    }
}

impl<'a, F: Frame, T: Tables> Flood<'a, F, T> {
    #[inline(always)]
    fn new(frame: &'a mut F, tables: &'a T, network: &Network, from: PortId) -> Self {
        // No interface has the index 0, and no frame is so long that this is another number. But the
        // verifier does not know that: for the reason that `Frame::repeat` gives, older kernels would
        // take the sending of copies for dead code if it began as a constant.
        let nowhere = IfIndex(frame.len() >> 31);
        let to = (PortId::NONE, nowhere);
        Self {
            frame,
            tables,
            list: network.flood,
            from,
            to,
            nowhere,
        }
    }

    /// Who was found last, if anybody was.
    #[inline(always)]
    fn last(&self) -> Option<(PortId, IfIndex)> {
        (self.to.1 != self.nowhere).then_some(self.to)
    }

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

#[cfg(test)]
mod tests {
    use maps_schema::map::{FloodMember, PortCounters};

    use super::*;
    use crate::memory::{MemoryFrame, MemoryTables, port_ingress};
    use crate::scene::{
        CACHE, DB, Station, TWIN, WEB, assert_dropped, assert_flooded, counters, send, tables,
    };

    /// Gives the first network another flood list.
    fn set_members(tables: &mut MemoryTables, members: &[PortId]) {
        let list = FloodList(99);
        for (idx, &port) in (0..).zip(members) {
            tables
                .flood
                .insert(FloodKey { list, idx }, FloodMember { port, vni: WEB.vni });
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
        fn segment_len(&self) -> u32 {
            0
        }
        fn resize(&mut self, _: u32) -> Result<(), Refused> {
            Err(Refused)
        }
        fn insert(&mut self, _: u32) -> Result<(), Refused> {
            Err(Refused)
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
