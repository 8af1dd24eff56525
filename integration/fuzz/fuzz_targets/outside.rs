//! Any bytes, as frames that workloads and the outside send one after another at a host that translates. The
//! tests of the datapath check the same.

#![no_main]

// What only the tests use.
#[allow(dead_code)]
#[path = "../../../ebpf/tests/flows/edge.rs"]
mod edge;

#[path = "../../../ebpf/tests/flows/journey.rs"]
mod journey;

#[allow(dead_code)]
#[path = "../../../ebpf/tests/router/line.rs"]
mod line;

#[allow(dead_code)]
#[path = "../../../ebpf/tests/flows/packet.rs"]
mod packet;

#[allow(dead_code)]
#[path = "../../../ebpf/tests/flows/random.rs"]
mod random;

#[allow(dead_code)]
#[path = "../../../ebpf/tests/flows/site.rs"]
mod site;

use journey::Journey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| Journey::new().play(data));
