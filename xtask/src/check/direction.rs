//! Crates depend on each other in one direction: maps-schema <- ebpf <- userspace <- integration.
//!
//! Cargo is asked, not the manifests: what counts is what it resolves for this host.

use super::Verdict;
use crate::failure::{Failure, Result};
use crate::process;
use crate::workspace::Workspace;

/// Every crate of the workspace with the ones it may use.
const ALLOWED: [(&str, &[&str]); 5] = [
    ("maps-schema", &[]),
    ("bowline-ebpf", &["maps-schema"]),
    ("bowline", &["maps-schema", "bowline-ebpf"]),
    ("integration", &["maps-schema", "bowline-ebpf", "bowline"]),
    ("xtask", &[]),
];

/// Exports its own byte-loop memcpy and memset, unguarded: it would slow every host binary down.
const BPF_ONLY: &str = "aya-ebpf";

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut faults = Vec::new();
    for (package, allowed) in ALLOWED {
        let arguments = [
            "--package",
            package,
            "--depth",
            "1",
            "--edges",
            "normal,build",
        ];
        let direct = tree(workspace, &arguments)?;
        faults.extend(faults_of(package, allowed, &direct));
    }
    let everything = tree(workspace, &["--workspace", "--edges", "normal,build,dev"])?;
    if everything.iter().any(|name| name == BPF_ONLY) {
        faults.push(format!(
            "{BPF_ONLY} is in the host's tree: `cargo tree --workspace --invert {BPF_ONLY}` \
             shows through whom"
        ));
    }
    if faults.is_empty() {
        Ok(Verdict::Passed)
    } else {
        Err(Failure::new(faults.join("; ")))
    }
}

fn faults_of(package: &str, allowed: &[&str], direct: &[String]) -> Vec<String> {
    let is_ours = |name: &str| ALLOWED.iter().any(|(ours, _)| *ours == name);
    let others = direct.iter().filter(|name| *name != package);
    others
        .filter_map(|name| {
            if package == "xtask" {
                return Some(format!("xtask links nothing, but depends on {name}"));
            }
            let wrong = is_ours(name) && !allowed.contains(&name.as_str());
            wrong.then(|| format!("{package} must not depend on {name}"))
        })
        .collect()
}

/// The names of packages that `cargo tree` lists.
fn tree(workspace: &Workspace, arguments: &[&str]) -> Result<Vec<String>> {
    let mut command = workspace.cargo();
    command
        .args(["tree", "--locked", "--prefix", "none", "--format", "{p}"])
        .args(arguments);
    let listed = process::output(&mut command)?;
    let names = listed.lines().filter_map(|line| line.split(' ').next());
    Ok(names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::faults_of;

    #[test]
    fn a_step_backwards_is_a_fault_and_a_foreign_crate_is_none() {
        let direct = ["bowline-ebpf", "maps-schema", "network-types", "bowline"].map(str::to_owned);
        let faults = faults_of("bowline-ebpf", &["maps-schema"], &direct);
        assert_eq!(faults, ["bowline-ebpf must not depend on bowline"]);
        assert_eq!(faults_of("xtask", &[], &["libc".to_owned()]).len(), 1);
    }
}
