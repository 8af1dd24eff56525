//! Any text, as a topology file: it is refused with problems that lie within it, or it becomes a plan
//! that is the same every time.

#![no_main]

use bowline::instance::Instance;
use bowline::plan::{Plan, Situation};
use bowline::{document, topology};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let compiled = topology::compile_drafts([document::draft("fuzz.yaml", text)]);
    match compiled {
        Ok(topology) => {
            let instance = Instance::new(None).expect("the default name");
            let plan = || Plan::new(&topology, &instance, &Situation::default());
            assert_eq!(plan(), plan());
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for label in problems.iter().flat_map(|problem| &problem.labels) {
                let origin = &label.origin;
                assert!(origin.offset + origin.len <= origin.file.text.len());
            }
        }
    }
});
