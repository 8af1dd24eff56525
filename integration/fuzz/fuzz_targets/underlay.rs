//! Any bytes, as a frame that arrives from the underlay through any kind of tunnel: the first byte chooses
//! the tunnel and the family, the others are the frame. The tests of the datapath check the same.

#![no_main]

// What only the tests use.
#[allow(dead_code)]
#[path = "../../../ebpf/tests/underlay/pair.rs"]
mod pair;

#[path = "../../../ebpf/tests/underlay/arrival.rs"]
mod arrival;

use libfuzzer_sys::fuzz_target;
use maps_schema::map::EgressPort;
use pair::Side;

const TUNNELS: [u32; 3] = [EgressPort::VXLAN, EgressPort::GENEVE, EgressPort::GRE];

fuzz_target!(|data: &[u8]| {
    if let Some((choice, wire)) = data.split_first() {
        let kind = TUNNELS[usize::from(choice >> 1) % TUNNELS.len()];
        let _ = arrival::check(&pair::host(Side::Beta, kind, choice & 1 != 0), wire);
    }
});
