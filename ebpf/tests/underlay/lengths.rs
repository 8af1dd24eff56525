//! Lengths that outer headers say, for frames of which Linux has put a part aside.

use datapath::Bytes as _;
use datapath::memory::{MemoryFrame, port_ingress};
use maps_schema::map::EgressPort;

use super::pair::{INSIDE, Side, host};

/// A frame of a VLAN goes to a peer with its tag, which the lengths count.
#[test]
fn a_tag_is_part_of_what_the_outer_lengths_say() {
    let tables = host(Side::Alpha, EgressPort::VXLAN, false);
    let (web, db) = (Side::Alpha.mac(), Side::Beta.mac());
    let tag: &[u8] = &[0x81, 0, 0x60, 5];
    for tag in [&[] as &[u8], tag] {
        let wire = [
            &db.octets()[..],
            &web.octets(),
            tag,
            &[0x88, 0xb5],
            &[7; 50],
        ]
        .concat();
        let mut frame = MemoryFrame::from_wire(&wire);
        assert_eq!(frame.len(), 64);
        let _ = port_ingress(&mut frame, &tables, INSIDE);
        let [(_, sent)] = frame.copies.as_slice() else {
            panic!("one copy: {:?}", frame.copies);
        };
        assert_eq!(sent[50..], wire, "inside is what was sent");
        let len = |at: usize| usize::from(u16::from_be_bytes([sent[at], sent[at + 1]]));
        assert_eq!((len(16), len(38)), (sent.len() - 14, sent.len() - 34));
    }
}
