//! Cases through `BPF_PROG_TEST_RUN`. The kernel does not carry a redirect out there, so where the
//! frame would go is told by the counters alone.

use aya::programs::{TestRun, TestRunOptions};
use integration::case::{Fate, Outcome, Send};
use integration::lab::{self, eventually};
use maps_schema::IfIndex;
use maps_schema::map::PortCounters;

use super::realm::Realm;
use super::{Memory, Runner};

crate::cases::every_case!(check);
crate::rules::every_table!(super::super::check_rules::<super::TestRunner>);

/// Cases that `BPF_PROG_TEST_RUN` cannot run, and why.
fn obstacle(name: &str) -> Option<&'static str> {
    match name {
        // Linux puts the outermost tag beside the frame before programs run; here it stays inside.
        "vlan_carried" | "vlan_nested" | "vlan_priority" | "route_tagged" | "underlay_vlan" => {
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

/// `TC_ACT_UNSPEC`, `TC_ACT_SHOT` and `TC_ACT_REDIRECT`.
const UNSPEC: u32 = u32::MAX;
const SHOT: u32 = 2;
const REDIRECT: u32 = 7;

struct TestRunner;

impl Runner for TestRunner {
    const MEMORIES: &'static [Memory] = &[Memory::Epochs, Memory::NoEpochs];

    fn prepare(realm: &Realm<'_>) {
        if realm.has_uplink() {
            realm.attach();
        }
    }

    fn send(realm: &Realm<'_>, frame: &Send, expected: &Outcome, what: &str) -> Outcome {
        let before = realm.counters();
        let (entry, program) = realm.entry(frame);
        let program = realm.program(program);
        let context = context(entry.ifindex);
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
        let mut counted = Outcome::moved(&before, &realm.counters());
        if realm.has_uplink() {
            // Copies for peers come in again by themselves.
            eventually(&format!("{what}: copies are counted"), || {
                counted = Outcome::moved(&before, &realm.counters());
                // What was dropped leaves less to wait for.
                let is_dropped = |it: &PortCounters| it.drops != PortCounters::ZERO.drops;
                counted.len() >= expected.counted.len() || counted.values().any(is_dropped)
            });
        }
        let action = match frame.expect {
            Fate::Pass => UNSPEC,
            _ if frame.leaves() => REDIRECT,
            _ => SHOT,
        };
        assert_eq!(result.return_value, action, "{}: the action", what);
        Outcome {
            wire: Some(frame.comparable(wire)),
            counted,
            learned: realm.learned(),
            resolved: realm.resolved(),
            flows: realm.flows(),
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
