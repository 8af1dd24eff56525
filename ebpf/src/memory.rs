//! The two traits over memory: how the same datapath runs outside the kernel, for `bowline trace`,
//! the tests and the fuzzer. It is not part of the BPF build.

mod tables;

use std::mem;

use maps_schema::plain::{bytes_of, from_bytes};
use maps_schema::{DropReason, IfIndex, Plain};

pub use tables::MemoryTables;

use crate::checksum;
use crate::departure;
use crate::frame::{Bytes, Checksum, Covered, Frame, Note, Outer, Refused, Short, Step};
use crate::parse::ethernet::{CUSTOMER_TAG, HEADER_LEN, IPV4, IPV6, SERVICE_TAG};
use crate::parse::{self, Packet};
use crate::pipeline::{self, Action, Progress, Scratch};
use crate::tables::Tables;
use crate::uplink;

/// A frame's whole journey from the workload behind `interface`. Copies that come in once more are
/// followed to where they leave.
pub fn port_ingress<T: Tables>(frame: &mut MemoryFrame, tables: &T, interface: IfIndex) -> Action {
    travel(frame, tables, |frame, scratch| {
        pipeline::port_ingress(frame, tables, scratch, interface)
    })
}

/// Its whole journey from the underlay.
pub fn uplink_ingress<T: Tables>(
    frame: &mut MemoryFrame,
    tables: &T,
    interface: IfIndex,
) -> Action {
    travel(
        frame,
        tables,
        |frame, scratch| match uplink::uplink_ingress(frame, tables, scratch, interface) {
            Progress::Bare => uplink::bare(frame, tables, scratch, interface),
            progress => progress,
        },
    )
}

fn travel<T: Tables>(
    frame: &mut MemoryFrame,
    tables: &T,
    enter: impl Fn(&mut MemoryFrame, &mut Scratch) -> Progress,
) -> Action {
    let program = |frame: &mut MemoryFrame| whole(frame, tables, &enter);
    let action = program(frame);
    let mut resubmitted = mem::take(&mut frame.resubmitted);
    while !resubmitted.is_empty() {
        for mut copy in mem::take(&mut resubmitted) {
            if let Action::Underlay { uplink: to, .. } | Action::Deliver(to) | Action::Send(to) =
                program(&mut copy)
            {
                frame.copies.push((to, copy.to_wire()));
            }
            resubmitted.append(&mut copy.resubmitted);
        }
    }
    action
}

/// All parts of a frame's journey.
pub(crate) fn whole<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    enter: impl Fn(&mut F, &mut Scratch) -> Progress,
) -> Action {
    let mut scratch = Scratch::new();
    let mut progress = enter(frame, &mut scratch);
    loop {
        progress = match progress {
            Progress::Route => pipeline::route(frame, tables, &mut scratch),
            Progress::Pass => pipeline::pass(frame, tables, &mut scratch),
            Progress::Prepare => departure::prepare(frame, tables, &mut scratch),
            Progress::Depart => Progress::Done(departure::depart(frame, tables, &mut scratch)),
            Progress::Done(action) => return action,
            // That is how a journey from the underlay begins, and only there.
            Progress::Bare => return Action::Pass,
        };
    }
}

/// [`parse::parse`] with memory of its own.
///
/// # Errors
/// The reason why the frame must be dropped.
pub fn parse(frame: &MemoryFrame) -> Result<Packet, DropReason> {
    parse::parse(frame, &mut { Packet::NONE }).map(|packet| *packet)
}

/// A frame in memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemoryFrame {
    bytes: Vec<u8>,
    /// The outermost tag: its EtherType and its control information.
    outer_tag: Option<(u16, u16)>,
    /// What [`Frame::segment_len`] says.
    pub segment_len: u32,
    /// Copies that were sent, in order: where to, and their bytes as on the wire. The Ethernet addresses
    /// of one to the underlay are zero: the kernel would write them.
    pub copies: Vec<(IfIndex, Vec<u8>)>,
    /// Copies that come in once more.
    resubmitted: Vec<Self>,
    /// The note that this one was resubmitted with.
    note: Option<Note>,
}

impl MemoryFrame {
    /// The frame with these bytes on the wire. The outermost VLAN tag is put aside, as Linux does
    /// before TC programs run.
    #[must_use]
    pub fn from_wire(wire: &[u8]) -> Self {
        match (wire.get(..12), wire.get(12..16), wire.get(16..)) {
            (Some(macs), Some(&[t0, t1, c0, c1]), Some(rest)) => {
                Self::untag(macs, [t0, t1, c0, c1], rest)
            }
            _ => Self {
                bytes: wire.to_vec(),
                ..Self::default()
            },
        }
    }

    fn untag(macs: &[u8], [t0, t1, c0, c1]: [u8; 4], rest: &[u8]) -> Self {
        let ethertype = u16::from_be_bytes([t0, t1]);
        // A tag without an EtherType behind it is none: Linux drops such a frame before any program
        // sees it, so nothing depends on how it is taken here.
        let is_tag = matches!(ethertype, CUSTOMER_TAG | SERVICE_TAG) && rest.len() >= 2;
        let (outer_tag, middle): (_, &[u8]) = if is_tag {
            (Some((ethertype, u16::from_be_bytes([c0, c1]))), &[])
        } else {
            (None, &[t0, t1, c0, c1])
        };
        Self {
            bytes: [macs, middle, rest].concat(),
            outer_tag,
            ..Self::default()
        }
    }

    /// The frame's bytes as on the wire.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        match (self.outer_tag, self.bytes.split_at_checked(12)) {
            (Some((ethertype, tci)), Some((macs, rest))) => {
                [macs, &ethertype.to_be_bytes(), &tci.to_be_bytes(), rest].concat()
            }
            _ => self.bytes.clone(),
        }
    }
}

impl MemoryFrame {
    fn prepend(&mut self, len: u32) {
        // What the room holds is not defined: nobody may rely on zeros.
        self.bytes.splice(..0, vec![0xa5; len as usize]);
    }
}

impl Bytes for MemoryFrame {
    fn len(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn fixed<const OFFSET: usize, T: Plain>(&self) -> Result<T, Short> {
        self.load(OFFSET as u32)
    }

    fn load<T: Plain>(&self, offset: u32) -> Result<T, Short> {
        let start = offset as usize;
        let bytes = self
            .bytes
            .get(start..start.saturating_add(size_of::<T>()))
            .ok_or(Short)?;
        from_bytes(bytes).ok_or(Short)
    }
}

impl Frame for MemoryFrame {
    fn outer_tag(&self) -> Option<u16> {
        self.outer_tag.map(|(_ethertype, tci)| tci)
    }

    fn store<T: Plain>(&mut self, offset: u32, value: &T) -> Result<(), Refused> {
        let start = offset as usize;
        let target = self
            .bytes
            .get_mut(start..start.saturating_add(size_of::<T>()))
            .ok_or(Refused)?;
        target.copy_from_slice(bytes_of(value));
        Ok(())
    }

    fn adjust(
        &mut self,
        Checksum { at, is_optional }: Checksum,
        _covered: Covered,
        difference: u32,
    ) -> Result<(), Refused> {
        let found: u16 = self.load(at).map_err(|_short| Refused)?;
        if found == 0 && is_optional {
            return Ok(());
        }
        let updated = match checksum::finish(u64::from(!found) + u64::from(difference)) {
            0 if is_optional => u16::MAX,
            updated => updated,
        };
        self.store(at, &updated)
    }

    fn exchange<T: Plain>(&mut self, offset: u32, value: &T) -> Result<(), Refused> {
        self.store(offset, value)
    }

    fn repeat<S: Step>(count: u32, step: &mut S) {
        for idx in 0..count {
            if step.step(idx).is_break() {
                break;
            }
        }
    }

    fn segment_len(&self) -> u32 {
        self.segment_len
    }

    fn resize(&mut self, len: u32) -> Result<(), Refused> {
        self.bytes.resize(len as usize, 0);
        self.segment_len = 0;
        Ok(())
    }

    fn insert(&mut self, len: u32) -> Result<(), Refused> {
        // What the room holds is not defined: nobody may rely on zeros.
        let room = vec![0xa5; len as usize];
        if self.bytes.len() < HEADER_LEN {
            return Err(Refused);
        }
        self.bytes.splice(HEADER_LEN..HEADER_LEN, room);
        Ok(())
    }

    fn push(&mut self, outer: Outer) -> Result<(), Refused> {
        self.outer_tag = None;
        let macs = self.fixed::<0, [u8; 12]>().map_err(|_short| Refused)?;
        self.prepend(outer.len);
        self.store(0, &macs)
    }

    fn push_opaque(&mut self, outer: Outer) -> Result<(), Refused> {
        let ethertype = self.fixed::<12, u16>().unwrap_or(0);
        let is_ip = matches!(u16::from_be(ethertype), IPV4 | IPV6);
        if self.segment_len != 0 && !(is_ip && self.outer_tag.is_some()) {
            return Err(Refused);
        }
        self.bytes = self.to_wire();
        self.outer_tag = None;
        self.prepend(outer.len);
        self.store(0, &[0_u8; 12])
    }

    fn pop(&mut self, len: u32) -> Result<(), Refused> {
        if self.bytes.len() < len as usize {
            return Err(Refused);
        }
        let inner = Self::from_wire(&self.bytes.split_off(len as usize));
        (self.bytes, self.outer_tag) = (inner.bytes, inner.outer_tag);
        Ok(())
    }

    fn resubmit(&mut self, _interface: IfIndex, note: Note) -> Result<(), Refused> {
        let copy = Self {
            note: Some(note),
            copies: Vec::new(),
            resubmitted: Vec::new(),
            ..self.clone()
        };
        self.resubmitted.push(copy);
        Ok(())
    }

    fn forget_note(&mut self) {
        self.note = None;
    }

    fn note(&self) -> Note {
        self.note.unwrap_or(Note::NONE)
    }

    fn copy_to(&mut self, interface: IfIndex) -> Result<(), Refused> {
        self.copies.push((interface, self.to_wire()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use maps_schema::PortId;
    use maps_schema::map::MapName;

    use super::*;
    use crate::scene::{DB, WEB, tag};

    #[test]
    fn the_outermost_tag_is_put_aside_and_comes_back() {
        let plain = WEB.udp_to(&DB);
        let frame = MemoryFrame::from_wire(&plain);
        assert_eq!((frame.outer_tag(), frame.len()), (None, plain.len() as u32));
        let inner = tag(&plain, CUSTOMER_TAG, 5);
        let wire = tag(&inner, SERVICE_TAG, 0x6009);
        let frame = MemoryFrame::from_wire(&wire);
        assert_eq!(frame.outer_tag(), Some(0x6009));
        assert_eq!(frame.bytes, inner);
        assert_eq!(frame.to_wire(), wire);
    }

    #[test]
    fn any_bytes_come_back() {
        let wire = tag(&tag(&WEB.udp_to(&DB), CUSTOMER_TAG, 5), CUSTOMER_TAG, 0);
        for len in 0..wire.len() {
            let short = &wire[..len];
            assert_eq!(MemoryFrame::from_wire(short).to_wire(), short);
        }
    }

    #[test]
    fn reads_and_writes_stay_within_the_frame() {
        let mut frame = MemoryFrame::from_wire(&[0; 20]);
        assert_eq!(frame.load::<[u8; 4]>(16), Ok([0; 4]));
        for offset in [17, 20, 21, u32::MAX] {
            assert_eq!(frame.load::<[u8; 4]>(offset), Err(Short));
            assert_eq!(frame.store(offset, &[1_u8; 4]), Err(Refused));
        }
        assert_eq!(frame.to_wire(), [0; 20]);
        frame.store(16, &[1_u8; 4]).unwrap();
        assert!(frame.to_wire().ends_with(&[0, 1, 1, 1, 1]));
    }

    #[test]
    fn rows_of_another_width_are_refused() {
        let mut tables = MemoryTables::default();
        for &map in MapName::ALL {
            assert_eq!(tables.insert(map, &[0; 3], &[0; 3]), None, "{map:?}");
        }
        let inserted = tables.insert(MapName::Ports, &[1, 0, 0, 0], &[0; 48]);
        assert_eq!(inserted, Some(()));
        let port = PortId(u32::from_ne_bytes([1, 0, 0, 0]));
        assert!(tables.egress_port(port).is_some());
    }
}
