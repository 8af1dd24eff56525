//! What becomes of frames at the end of their journey.

use maps_schema::FloodList;
use maps_schema::map::{FLOOD_MAX, FloodKey, FloodMember, PortCounters};

use super::*;
use crate::frame::{self, Bytes, Refused, Step};
use crate::memory::{self, MemoryFrame, MemoryTables};
use crate::scene::{
    CACHE, DB, Station, TWIN, WEB, assert_dropped, assert_flooded, counters, send, tables,
};

/// A frame's whole journey.
fn travel<F: Frame>(frame: &mut F, tables: &MemoryTables, interface: IfIndex) -> Action {
    memory::whole(frame, tables, |frame, scratch| {
        port_ingress(frame, tables, scratch, interface)
    })
}

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
    let action = travel(&mut frame, &tables, IfIndex(9999));
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

impl Bytes for Stubborn {
    fn len(&self) -> u32 {
        self.0.len()
    }
    fn fixed<const OFFSET: usize, T: maps_schema::Plain>(&self) -> Result<T, crate::frame::Short> {
        self.0.fixed::<OFFSET, T>()
    }
    fn load<T: maps_schema::Plain>(&self, offset: u32) -> Result<T, crate::frame::Short> {
        self.0.load(offset)
    }
}

impl Frame for Stubborn {
    fn outer_tag(&self) -> Option<u16> {
        self.0.outer_tag()
    }
    fn store<T: maps_schema::Plain>(&mut self, _: u32, _: &T) -> Result<(), Refused> {
        Err(Refused)
    }
    fn adjust(&mut self, _: frame::Checksum, _: frame::Covered, _: u32) -> Result<(), Refused> {
        Err(Refused)
    }

    fn exchange<T: maps_schema::Plain>(&mut self, _: u32, _: &T) -> Result<(), Refused> {
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
    fn push(&mut self, _: frame::Outer) -> Result<(), Refused> {
        Err(Refused)
    }
    fn push_opaque(&mut self, _: frame::Outer) -> Result<(), Refused> {
        Err(Refused)
    }
    fn pop(&mut self, _: u32) -> Result<(), Refused> {
        Err(Refused)
    }
    fn resubmit(&mut self, _: IfIndex, _: Note) -> Result<(), Refused> {
        Err(Refused)
    }
    fn note(&self) -> Note {
        Note::NONE
    }

    fn forget_note(&mut self) {}
}

#[test]
fn an_answer_that_cannot_be_written_is_a_drop() {
    let tables = tables();
    let mut frame = Stubborn(MemoryFrame::from_wire(&WEB.asks_arp(DB.v4)));
    let reason = DropReason::KernelRefused;
    let port = WEB.port;
    let action = travel(&mut frame, &tables, WEB.interface);
    assert_eq!(action, Action::Drop { port, reason });
    assert_eq!(counters(&tables, port).drops[reason as usize], 1);
    assert_eq!(counters(&tables, port).egress_packets, 0);
}

#[test]
fn a_copy_that_cannot_be_sent_is_counted_and_the_others_go_on() {
    let tables = tables();
    let mut frame = Stubborn(MemoryFrame::from_wire(&broadcast()));
    let action = travel(&mut frame, &tables, WEB.interface);
    assert_eq!(action, Action::Deliver(CACHE.interface));
    let refused = DropReason::KernelRefused as usize;
    assert_eq!(counters(&tables, WEB.port).drops[refused], 1);
    assert_eq!(counters(&tables, DB.port).egress_packets, 0);
    assert_eq!(counters(&tables, CACHE.port).egress_packets, 1);
}
