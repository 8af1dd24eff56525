//! What holds for every frame, with arbitrary frames in arbitrary small topologies.

mod world;

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use world::{SEED_LEN, World};

/// MAC addresses of which most are somebody's.
fn mac() -> impl Strategy<Value = [u8; 6]> {
    prop_oneof![
        6 => (0..5_u8).prop_map(|last| [2, 0, 0, 0, 0, last]),
        1 => (0..5_u8).prop_map(|last| [2, 0, 0, 0, 1, last]),
        2 => Just([0xff; 6]),
        1 => (0..0x20_u8).prop_map(|last| [0x01, 0x80, 0xc2, 0, 0, last]),
        1 => any::<[u8; 6]>(),
    ]
}

fn v4() -> impl Strategy<Value = [u8; 4]> {
    prop_oneof![
        8 => (0..5_u8).prop_map(|last| [10, 77, 0, last]),
        1 => Just(Ipv4Addr::UNSPECIFIED.octets()),
        1 => any::<[u8; 4]>(),
    ]
}

fn v6() -> impl Strategy<Value = [u8; 16]> {
    let known = |last: u8| Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, last.into()).octets();
    prop_oneof![
        8 => (0..5_u8).prop_map(known),
        1 => Just([0; 16]),
        1 => any::<[u8; 16]>(),
    ]
}

prop_compose! {
    fn arp()(
        operation in prop_oneof![4 => Just(1_u8), 1 => any::<u8>()],
        sender in (mac(), v4()),
        target in (mac(), v4()),
    ) -> Vec<u8> {
        let head = [8, 6, 0, 1, 8, 0, 6, 4, 0, operation];
        [&head as &[u8], &sender.0, &sender.1, &target.0, &target.1].concat()
    }
}

prop_compose! {
    fn ipv4()(source in v4(), destination in v4(), protocol: u8, data in vec(any::<u8>(), 0..40))
        -> Vec<u8>
    {
        let len = 20 + data.len() as u8;
        let head = [8, 0, 0x45, 0, 0, len, 0, 0, 0, 0, 64, protocol, 0, 0];
        [&head as &[u8], &source, &destination, &data].concat()
    }
}

prop_compose! {
    fn discovery()(
        source in v6(),
        destination in v6(),
        kind in 133..138_u8,
        target in v6(),
        options in vec((prop_oneof![Just(1_u8), Just(2), Just(14)], mac()), 0..3),
        extension: bool,
    ) -> Vec<u8> {
        let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
        message.extend(target);
        for (kind, mac) in options {
            message.extend([kind, 1]);
            message.extend(mac);
        }
        let mut next_header = 58;
        if extension {
            message.splice(0..0, [58, 0, 1, 4, 0, 0, 0, 0]);
            next_header = 0;
        }
        let head = [0x86, 0xdd, 0x60, 0, 0, 0, 0, message.len() as u8, next_header, 255];
        [&head as &[u8], &source, &destination, &message].concat()
    }
}

prop_compose! {
    /// A frame that is nearly one that somebody would send.
    fn frame()(
        destination in mac(),
        source in mac(),
        tags in vec(prop_oneof![Just([0x81, 0, 0, 0]), Just([0x88, 0xa8, 0x60, 9])], 0..2),
        payload in prop_oneof![arp(), ipv4(), discovery(), discovery(), vec(any::<u8>(), 0..60)],
        damage in vec((any::<Index>(), any::<u8>()), 0..2),
        cut in prop_oneof![4 => Just(None), 1 => any::<Index>().prop_map(Some)],
    ) -> Vec<u8> {
        let mut wire = [&destination as &[u8], &source, &tags.concat(), &payload].concat();
        for (at, byte) in damage {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        if let Some(cut) = cut {
            wire.truncate(cut.index(wire.len()));
        }
        wire
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8192))]

    #[test]
    fn any_bytes_in_any_topology(
        seed: [u8; SEED_LEN],
        wire in vec(any::<u8>(), 0..120),
    ) {
        World::new(seed).check(&wire);
    }

    #[test]
    fn nearly_sensible_frames_in_any_topology(seed: [u8; SEED_LEN], wire in frame()) {
        World::new(seed).check(&wire);
    }
}
