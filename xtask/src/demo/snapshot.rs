//! What a machine holds that bowline could leave behind: links, here and on the lab's hosts, and pins.

use super::host::Host;
use super::lab;
use crate::failure::{Failure, Result};
use crate::process;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

const BPF_FOLDER: &str = "/sys/fs/bpf";

/// Everything found, one line each, so that two of them can be compared and shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Snapshot(BTreeSet<String>);

impl Snapshot {
    pub(super) fn take(hosts: &[&Host]) -> Result<Self> {
        let mut found = BTreeSet::new();
        let mut note = |place: &str, listed: &str| {
            let names = listed
                .lines()
                .filter_map(|line| line.split_whitespace().next());
            found.extend(names.map(|name| format!("link {name} of {place}")));
        };
        for host in hosts {
            let entry = lab::entry(host.name);
            let mut command = Command::new("nsenter");
            let listed = process::output(command.args([&entry, "ip", "-brief", "link"]))?;
            note(host.name, &listed);
        }
        let listed = process::output(Command::new("ip").args(["-brief", "link"]))?;
        note("this machine", &listed);
        collect(Path::new(BPF_FOLDER), &mut found);
        Ok(Self(found))
    }

    /// Fails on whatever is there now and was not before.
    pub(super) fn refuse_new(&self, now: &Self) -> Result<()> {
        let new: Vec<_> = now.0.difference(&self.0).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        Err(Failure::new(format!(
            "left behind after the unload: {}",
            new.join(", ")
        )))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        found.insert(format!("pin {}", entry.path().display()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
        }
    }
}
