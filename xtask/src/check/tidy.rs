//! Rules about files that no compiler knows: how long one may be, what the pure stages may not use,
//! and that none of them tells on whose machine it was written.

use super::Verdict;
use crate::failure::{Failure, Result};
use crate::process;
use crate::workspace::Workspace;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

const MAX_LINES: usize = 600;
/// The stages of user space that neither read nor write anything but what they are given.
const PURE: [&str; 5] = ["document", "topology", "plan", "diff", "trace"];
/// What a pure stage may not use.
const EDGES: [&str; 4] = ["crate::kernel", "crate::host", "crate::docker", "std::fs"];

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    if !workspace.root.join(".git").exists() {
        return Ok(Verdict::Skipped("not a git checkout".to_owned()));
    }
    let mut command = Command::new("git");
    // Root may look at a checkout that belongs to somebody else.
    command
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .current_dir(&workspace.root);
    let listed = process::output(&mut command)?;
    let forbidden = paths_of_this_machine(&workspace.root);
    let mut faults = Vec::new();
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        // A file that is not text has neither lines nor readable paths; one that was deleted but
        // not committed is listed all the same.
        let Ok(text) = fs::read_to_string(workspace.root.join(name)) else {
            continue;
        };
        let lines = text.lines().count();
        if name.ends_with(".rs") && lines > MAX_LINES {
            faults.push(format!(
                "{name} has {lines} lines, and {MAX_LINES} is the most"
            ));
        }
        let is_pure = is_pure(name);
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(edge) = EDGES.iter().find(|edge| is_pure && line.contains(*edge)) {
                faults.push(format!("{name}:{number} uses {edge} in a pure stage"));
            }
            if let Some(path) = forbidden.iter().find(|path| names(line, path)) {
                faults.push(format!(
                    "{name}:{number} names {path}, a path of this machine"
                ));
            }
        }
    }
    if faults.is_empty() {
        Ok(Verdict::Passed)
    } else {
        Err(Failure::new(faults.join("; ")))
    }
}

/// Whether a file belongs to a pure stage; their tests may read examples.
fn is_pure(name: &str) -> bool {
    let Some(path) = name.strip_prefix("userspace/src/") else {
        return false;
    };
    let stage = path.split(['/', '.']).next();
    let is_test = path.contains("/tests") || path.ends_with("/examples.rs");
    !is_test && PURE.iter().any(|pure| Some(*pure) == stage)
}

/// The checkout and the home folder, the two that slip in with pasted output. A path of one
/// component (`/src`, `/root`) says nothing about a machine; root's hidden folders do.
fn paths_of_this_machine(root: &Path) -> Vec<String> {
    let mut paths = vec![root.display().to_string()];
    if let Ok(home) = env::var("HOME") {
        paths.push(format!("{home}/."));
        paths.push(home);
    }
    paths.retain(|path| path.trim_end_matches('.').matches('/').count() >= 2);
    paths
}

/// Whether a line holds the path from its root: `/src/x` is not in `maps/src/x`.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"/._-}".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::{is_pure, names};

    #[test]
    fn pure_stages_are_known_by_their_folders() {
        assert!(is_pure("userspace/src/plan/rows.rs") && is_pure("userspace/src/diff.rs"));
        assert!(!is_pure("userspace/src/kernel/link.rs") && !is_pure("xtask/src/plan/x.rs"));
        assert!(!is_pure("userspace/src/diff/tests/order.rs"));
    }

    #[test]
    fn only_absolute_paths_count() {
        assert!(names("see /b/checkout/x.rs", "/b/checkout"));
        assert!(names("(\"/b/checkout\")", "/b/checkout"));
        assert!(!names("a/b/checkout", "/b/checkout"));
        assert!(!names("${HOME}/b/checkout", "/b/checkout"));
    }
}
