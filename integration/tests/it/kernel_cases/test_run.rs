//! Cases through `BPF_PROG_TEST_RUN`. The kernel does not carry a redirect out there, so where the
//! frame would go is told by the counters alone.

use aya::programs::{TestRun, TestRunOptions};
use bowline::program::Program;
use integration::case::{Outcome, Send};
use integration::lab;
use maps_schema::IfIndex;

use super::realm::Realm;
use super::{Memory, Runner};

crate::cases::every_case!(check);

/// Cases that `BPF_PROG_TEST_RUN` cannot run, and why.
fn obstacle(name: &str) -> Option<&'static str> {
    match name {
        // Linux puts the outermost tag beside the frame before programs run; here it stays inside.
        "vlan_carried" | "vlan_nested" | "vlan_priority" | "route_tagged" => {
            Some("it cannot put a VLAN tag aside")
        }
        // Since Linux 6.18 it wants as many bytes as the EtherType promises.
        "ip_truncated" => Some("it takes no packet that ends within its header"),
        _ => None,
    }
}

fn check(name: &str) {
    match obstacle(name) {
        Some(reason) => lab::skip(&format!(
            "BPF_PROG_TEST_RUN: {reason}; see the same case on the wire"
        )),
        None => super::check::<TestRunner>(name),
    }
}

/// `TC_ACT_SHOT` and `TC_ACT_REDIRECT`.
const SHOT: u32 = 2;
const REDIRECT: u32 = 7;

struct TestRunner;

impl Runner for TestRunner {
    const MEMORIES: &'static [Memory] = &[Memory::Epochs, Memory::NoEpochs];

    fn prepare(_: &Realm<'_>) {}

    fn send(realm: &Realm<'_>, frame: &Send, _: &Outcome, what: &str) -> Outcome {
        let before = realm.counters();
        let program = realm.program(Program::PortIngress);
        let context = context(realm.port(&frame.from).ifindex);
        let mut wire = vec![0; frame.wire.len() + 256];
        let result = realm.on_host(|| {
            let options = TestRunOptions {
                data_in: Some(&frame.wire),
                data_out: Some(&mut wire),
                ctx_in: Some(&context),
                ..TestRunOptions::default()
            };
            program.test_run(options).unwrap()
        });
        wire.truncate(usize::try_from(result.data_size_out).unwrap());
        let counted = Outcome::moved(&before, &realm.counters());
        let action = if frame.expect.leaves() {
            REDIRECT
        } else {
            SHOT
        };
        assert_eq!(result.return_value, action, "{}: the action", what);
        Outcome {
            wire,
            counted,
            learned: realm.learned(),
            resolved: realm.resolved(),
            arrived: None,
        }
    }
}

/// The beginning of `struct __sk_buff`: everything zero but the interface that the frame came in on.
fn context(IfIndex(ifindex): IfIndex) -> [u8; 192] {
    /// `ifindex` is the eleventh field of four bytes.
    const OFFSET: usize = 40;
    let mut context = [0; 192];
    context[OFFSET..OFFSET + 4].copy_from_slice(&ifindex.to_ne_bytes());
    context
}
