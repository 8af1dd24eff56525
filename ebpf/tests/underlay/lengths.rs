//! Lengths that outer headers say, for frames of which Linux has put a part aside.

use datapath::Bytes as _;
use datapath::memory::{MemoryFrame, MemoryTables, port_ingress};
use maps_schema::map::{EgressPort, FdbEntry, FdbKey, IngressPort};
use maps_schema::{IfIndex, Ip, Mac, PortId, RouterId, Vni};

/// A frame of a VLAN goes to a peer with its tag, which the lengths count.
#[test]
fn a_tag_is_part_of_what_the_outer_lengths_say() {
    let vni = Vni::new(7).unwrap();
    let (web, db) = (Mac::new([2, 0, 0, 0, 0, 1]), Mac::new([2, 0, 0, 0, 0, 2]));
    let mut tables = MemoryTables::default();
    let ingress = IngressPort {
        port: PortId(1),
        vni,
        mac: web,
        flags: 0,
        reserved: 0,
    };
    tables.interfaces.insert(IfIndex(1), ingress);
    let entry = FdbEntry {
        port: PortId(2),
        router: RouterId::NONE,
    };
    tables.fdb.insert(FdbKey::new(vni, db), entry);
    let address = |last| Ip::from(std::net::Ipv4Addr::new(192, 0, 2, last));
    let exit = EgressPort {
        ifindex: IfIndex(9),
        kind: EgressPort::VXLAN,
        mtu: 1450,
        reserved: 0,
        local: address(11),
        remote: address(12),
    };
    tables.ports.insert(PortId(2), exit);
    let peer = maps_schema::map::Peer {
        port: PortId(2),
        kind: EgressPort::VXLAN,
    };
    tables.peers.insert(exit.remote, peer);
    let row = maps_schema::map::Network {
        flood: maps_schema::FloodList(1),
        flood_len: 0,
        ageing_ns: 1,
        flags: 0,
        reserved: 0,
    };
    tables.networks.insert(vni, row);

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
        let _ = port_ingress(&mut frame, &tables, IfIndex(1));
        let [(_, sent)] = frame.copies.as_slice() else {
            panic!("one copy: {:?}", frame.copies);
        };
        assert_eq!(sent[50..], wire, "inside is what was sent");
        let len = |at: usize| usize::from(u16::from_be_bytes([sent[at], sent[at + 1]]));
        assert_eq!((len(16), len(38)), (sent.len() - 14, sent.len() - 34));
    }
}
