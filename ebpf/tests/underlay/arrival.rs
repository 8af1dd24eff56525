//! What holds for any frame that arrives from the underlay. The fuzzer checks the same.

use datapath::Action;
use datapath::memory::MemoryTables;
use maps_schema::map::PortCounters;

use super::pair::{INSIDE, OWN, PEER, Side, receive};

/// Lets a frame arrive at beta: none gets in that alpha could not have sent, each is counted once, and
/// what is not ours is not touched. Returns what becomes of it, and its bytes then.
pub(crate) fn check(beta: &MemoryTables, wire: &[u8]) -> (Action, Vec<u8>) {
    for counters in beta.counters.borrow_mut().values_mut() {
        *counters = PortCounters::ZERO;
    }
    let (action, frame) = receive(beta, wire);
    let after = frame.to_wire();
    let counted = beta.counters.borrow();
    let drops: u64 = counted.values().flat_map(|it| it.drops).sum();
    match action {
        Action::Deliver(interface) => {
            assert_eq!(interface, INSIDE);
            assert_eq!((drops, counted[&OWN].egress_packets), (0, 1));
            assert_eq!(counted[&PEER].ingress_packets, 1);
            // From the peer, for the network, and said to be by its station.
            assert_eq!(after[6..12], Side::Alpha.mac().octets());
            assert!(after.len() < wire.len());
        }
        Action::Drop { port, reason } => {
            assert_eq!((drops, counted[&port].drops[reason as usize]), (1, 1));
        }
        Action::Pass => {
            assert_eq!(after, wire, "what is not ours is not touched");
            assert_eq!(drops, 0);
        }
        Action::Send(_) | Action::Copied | Action::Consume(_) => assert_eq!(drops, 0),
        Action::Underlay { .. } => panic!("nothing goes back into a tunnel"),
    }
    (action, after)
}
