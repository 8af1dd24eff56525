//! Packets of which the kernel has the sum of all bytes (`CHECKSUM_COMPLETE`), as many network cards give it:
//! who changes them must keep that sum true, or the receiver's kernel takes them for damaged.

use integration::lab::{Feature, ping};

use super::{Edge, WORLD, at, tcp, udp_of};

/// Longer than what the kernel sums up anew in any case (`CHECKSUM_BREAK`, 76 bytes).
const LONG: usize = 400;

/// A device of VXLAN has just verified the outer checksum, and thereby has the sum.
#[test]
fn the_sum_of_a_packet_stays_true() {
    if !Feature::Vxlan.is_there() {
        return;
    }
    let Some(edge) = Edge::through_vxlan() else {
        return;
    };
    let _bowline = edge.load();
    for (world, own) in WORLD.into_iter().zip(["10.1.0.10", "fd00:1::10"]) {
        let to = at(world, 53);
        udp_of(LONG, edge.workload("web"), to, (&edge.world, to));
        tcp(edge.workload("web"), to, (&edge.world, to));
        assert!(ping(edge.workload("web"), to.ip()));
        let published = at(
            if to.is_ipv4() {
                super::HOST[0]
            } else {
                super::HOST[1]
            },
            5300,
        );
        udp_of(
            LONG,
            &edge.world,
            published,
            (edge.workload("web"), at(own, 53)),
        );
    }
}
