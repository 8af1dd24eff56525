//! Rules about files that no compiler knows: how long one may be, and that none of them tells
//! on whose machine it was written.

use super::Verdict;
use crate::failure::{Failure, Result};
use crate::process;
use crate::workspace::Workspace;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

const MAX_LINES: usize = 600;

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
        for (number, line) in (1..).zip(text.lines()) {
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
    use super::names;

    #[test]
    fn only_absolute_paths_count() {
        assert!(names("see /b/checkout/x.rs", "/b/checkout"));
        assert!(names("(\"/b/checkout\")", "/b/checkout"));
        assert!(!names("a/b/checkout", "/b/checkout"));
        assert!(!names("${HOME}/b/checkout", "/b/checkout"));
    }
}
