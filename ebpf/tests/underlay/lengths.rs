//! Lengths that outer headers say, for frames of which Linux has put a part aside.

use datapath::Bytes as _;
use datapath::memory::{MemoryFrame, port_ingress};
use maps_schema::DropReason;
use maps_schema::map::EgressPort;

use super::pair::{INSIDE, MTU, Side, dropped, host};

/// TCP in a VLAN that segmentation offload left whole goes to a peer if each of its segments fits.
#[test]
fn segments_of_a_vlan_go_if_each_fits() {
    let (web, db) = (Side::Alpha.mac(), Side::Beta.mac());
    let wire = |ethertype: [u8; 2], ip: &[u8]| {
        let tcp = [&[0; 12][..], &[0x80, 0x10], &[0; 18], &[7; 10_000]].concat();
        [
            &db.octets()[..],
            &web.octets(),
            &[0x81, 0, 0, 5],
            &ethertype,
            ip,
            &tcp,
        ]
        .concat()
    };
    let v4 = [&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6][..], &[0; 10]].concat();
    let v6 = [&[0x60, 0, 0, 0, 0, 0, 6, 64][..], &[0; 32]].concat();
    for (wire, headers) in [
        (wire([8, 0], &v4), 4 + 20 + 32),
        (wire([0x86, 0xdd], &v6), 4 + 40 + 32),
    ] {
        for (segment_len, fits) in [(MTU - headers, true), (MTU - headers + 1, false)] {
            let tables = host(Side::Alpha, EgressPort::VXLAN, false);
            let mut frame = MemoryFrame::from_wire(&wire);
            frame.segment_len = segment_len;
            let _ = port_ingress(&mut frame, &tables, INSIDE);
            assert_eq!(
                dropped(&tables, DropReason::TunnelTooSmall),
                u64::from(!fits)
            );
            match frame.copies.as_slice() {
                [(_, sent)] => assert!(fits && sent[50..] == wire),
                copies => assert!(!fits && copies.is_empty(), "{copies:?}"),
            }
        }
    }
    // What is in no VLAN, and no IP, is nothing that a kernel would have left whole.
    let tables = host(Side::Alpha, EgressPort::VXLAN, false);
    let mut frame = MemoryFrame::from_wire(&wire([0x88, 0xb5], &[]));
    frame.segment_len = 100;
    let _ = port_ingress(&mut frame, &tables, INSIDE);
    assert_eq!(dropped(&tables, DropReason::KernelRefused), 1);
}

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
