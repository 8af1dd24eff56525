//! Frames from the underlay that were cut off or changed anywhere: none gets in that a peer could not
//! have sent, each is counted once, and nothing is read that is not there.

use datapath::Action;
use datapath::memory::MemoryTables;
use maps_schema::map::{EgressPort, PortCounters};

use super::pair::{INSIDE, OWN, PEER, Side, datagram, host, receive, wrapped};

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

fn reset(tables: &MemoryTables) {
    for counters in tables.counters.borrow_mut().values_mut() {
        *counters = PortCounters::ZERO;
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
                reset(&beta);
                let (action, frame) = receive(&beta, &wire);
                let counted = beta.counters.borrow();
                let drops: u64 = counted.values().flat_map(|it| it.drops).sum();
                match action {
                    Action::Deliver(interface) => {
                        delivered += 1;
                        assert_eq!(interface, INSIDE);
                        assert_eq!((drops, counted[&OWN].egress_packets), (0, 1));
                        assert_eq!(counted[&PEER].ingress_packets, 1);
                        // From the peer, for the network, and said to be by its station.
                        let inner = frame.to_wire();
                        assert_eq!(inner[6..12], Side::Alpha.mac().octets());
                        assert_eq!(inner.len(), wire.len() - head);
                    }
                    Action::Drop { port, reason } => {
                        refused += 1;
                        assert_eq!((drops, counted[&port].drops[reason as usize]), (1, 1));
                    }
                    Action::Pass => {
                        passed += 1;
                        assert_eq!(frame.to_wire(), wire, "what is not ours is not touched");
                        assert_eq!(drops, 0);
                    }
                    Action::Return(_) | Action::Copied | Action::Consume(_) => {
                        assert_eq!(drops, 0);
                    }
                    Action::Underlay { .. } => panic!("nothing goes back into a tunnel"),
                }
            }
            // A test in which all frames fare alike would not say much.
            for count in [delivered, refused, passed] {
                assert!(count > FRAMES / 50, "{delivered} {refused} {passed}");
            }
        }
    }
}
