//! What gets in from the underlay, and what passes on to the host.

use datapath::Action;
use maps_schema::map::{EgressPort, IngressPort, Member, MemberKey};
use maps_schema::{DropReason, PortId, Vni};

use super::pair::{PEER, Side, VNI, all_dropped, datagram, dropped, host, receive, sum, wrapped};

/// What beta says of a frame of alpha's that was changed on the way.
fn refused(kind: u32, change: impl FnOnce(&mut Vec<u8>)) -> Option<DropReason> {
    let (alpha, beta) = (
        host(Side::Alpha, kind, false),
        host(Side::Beta, kind, false),
    );
    let mut outer = wrapped(&alpha, &datagram(Side::Alpha, 0, 40));
    change(&mut outer);
    let (action, _frame) = receive(&beta, &outer);
    match action {
        Action::Drop { reason, .. } => {
            assert_eq!((dropped(&beta, reason), all_dropped(&beta)), (1, 1));
            Some(reason)
        }
        Action::Pass => {
            assert_eq!(all_dropped(&beta), 0);
            None
        }
        other => panic!("{other:?}"),
    }
}

/// Writes the IPv4 header's checksum anew.
fn mend(outer: &mut [u8]) {
    outer[24..26].fill(0);
    let checksum = !sum(&outer[14..34]) as u16;
    outer[24..26].copy_from_slice(&checksum.to_be_bytes());
}

#[test]
fn only_a_peer_gets_in_and_only_for_its_networks() {
    let vxlan = EgressPort::VXLAN;
    let stranger = refused(vxlan, |outer| {
        outer[29] = 99;
        mend(outer);
    });
    assert_eq!(stranger, Some(DropReason::UnknownPeer));
    let elsewhere = refused(vxlan, |outer| outer[48] ^= 1);
    assert_eq!(elsewhere, Some(DropReason::UnknownVni));
    let spoofed = refused(vxlan, |outer| outer[61] ^= 1);
    assert_eq!(spoofed, Some(DropReason::SpoofedMac));
    let fragment = refused(vxlan, |outer| {
        outer[20] = 0x20;
        mend(outer);
    });
    assert_eq!(fragment, Some(DropReason::OuterFragment));
    let no_vni = refused(vxlan, |outer| outer[42] = 0);
    assert_eq!(no_vni, Some(DropReason::MalformedOuter));
    let control = refused(EgressPort::GENEVE, |outer| outer[43] |= 0x80);
    assert_eq!(control, Some(DropReason::CriticalOption));
}

#[test]
fn what_is_for_somebody_else_passes_on() {
    let vxlan = EgressPort::VXLAN;
    let other_address = refused(vxlan, |outer| {
        outer[33] = 13;
        mend(outer);
    });
    assert_eq!(other_address, None);
    assert_eq!(refused(vxlan, |outer| outer[37] ^= 1), None, "another port");
    let geneve = refused(vxlan, |outer| {
        outer[36..38].copy_from_slice(&6081_u16.to_be_bytes())
    });
    assert_eq!(
        geneve, None,
        "a tunnel that leads nowhere from here is the host's own"
    );
    let vlan = refused(vxlan, |outer| drop(outer.splice(12..12, [0x81, 0, 0, 5])));
    assert_eq!(vlan, None, "a VLAN of the underlay is another network");
}

#[test]
fn a_peer_of_one_network_does_not_get_into_another_one() {
    let alpha = host(Side::Alpha, EgressPort::VXLAN, false);
    let mut beta = host(Side::Beta, EgressPort::VXLAN, false);
    let other = Vni::new(VNI + 1).unwrap();
    let row = beta.networks[&super::pair::vni()];
    beta.networks.insert(other, row);
    let mut outer = wrapped(&alpha, &datagram(Side::Alpha, 0, 40));
    outer[48] += 1;
    let (action, _) = receive(&beta, &outer);
    let (port, reason) = (PEER, DropReason::UnknownVni);
    assert_eq!(action, Action::Drop { port, reason });
    // A member that learns is let in; one that does not speaks for declared stations only.
    let key = MemberKey {
        port: PortId(PEER.0),
        vni: other,
    };
    let flags = u32::from(IngressPort::PEER);
    beta.members.insert(key, Member { flags });
    let (action, _) = receive(&beta, &outer);
    let reason = DropReason::SpoofedMac;
    assert_eq!(action, Action::Drop { port, reason });
}
