//! Frames from the underlay that were cut off or changed anywhere: none gets in that a peer could not
//! have sent, each is counted once, and nothing is read that is not there.

use datapath::Action;
use maps_schema::map::EgressPort;

use super::arrival::check;
use super::pair::{Side, datagram, host, wrapped};

/// How many frames of each kind of tunnel and each family are tried: a million in all.
const FRAMES: u32 = 170_000;

/// Numbers without end (a linear congruential generator with the constants of MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn changed_frames_are_refused_or_are_what_a_peer_may_send() {
    let mut random = Random(1);
    for kind in [EgressPort::VXLAN, EgressPort::GENEVE, EgressPort::GRE] {
        for is_v6 in [false, true] {
            let alpha = host(Side::Alpha, kind, is_v6);
            let beta = host(Side::Beta, kind, is_v6);
            let whole = wrapped(&alpha, &datagram(Side::Alpha, 0, 60));
            let head = whole.len() - 102;
            let (mut delivered, mut refused, mut passed) = (0_u32, 0_u32, 0_u32);
            for _ in 0..FRAMES {
                let mut wire = whole.clone();
                for _ in 0..=random.below(3) {
                    let at = random.below(wire.len());
                    wire[at] ^= 1 << random.below(8);
                }
                if random.below(4) == 0 {
                    wire.truncate(random.below(wire.len()));
                }
                let (action, inner) = check(&beta, &wire);
                match action {
                    Action::Deliver(_) => {
                        delivered += 1;
                        assert_eq!(inner.len(), wire.len() - head);
                    }
                    Action::Drop { .. } => refused += 1,
                    Action::Pass => passed += 1,
                    _ => {}
                }
            }
            // A test in which all frames fare alike would not say much.
            for count in [delivered, refused, passed] {
                assert!(count > FRAMES / 50, "{delivered} {refused} {passed}");
            }
        }
    }
}
