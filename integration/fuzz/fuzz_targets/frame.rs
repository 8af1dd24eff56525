//! Any bytes, as a frame in any small topology: the first few bytes choose the topology, the others
//! are the frame. The property tests of the datapath check the same invariants.

#![no_main]

#[path = "../../../ebpf/tests/world/mod.rs"]
mod world;

use libfuzzer_sys::fuzz_target;
use world::{SEED_LEN, World};

fuzz_target!(|data: &[u8]| {
    if let Some((seed, wire)) = data.split_first_chunk::<SEED_LEN>() {
        World::new(*seed).check(wire);
    }
});
