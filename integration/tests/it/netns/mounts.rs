//! What is pinned must last: the BPF file system that bowline finds, makes, or refuses to do without.

use std::fs;
use std::process::Output;

use super::{PAIR, Site};

/// Runs `load` in a mount namespace of its own in which no BPF file system is mounted, behind the
/// options of `unshare`; then says what is mounted there, and ends.
fn load_without_bpffs(site: &Site, unshare: &[&str]) -> Output {
    let bowline = site.bowline();
    let state = tempfile::TempDir::with_prefix("bowline-lab-").unwrap();
    let file = state.path().join("pair.yaml");
    fs::write(&file, site.topology(PAIR)).unwrap();
    let file = file.display();
    let program = env!("CARGO_BIN_EXE_lab-bowline");
    let instance = bowline.instance().name();
    let script = format!(
        "umount /sys/fs/bpf || exit 9; {program} --instance {instance} load {file}; code=$?; \
         stat -f -c %T /sys/fs/bpf; exit $code"
    );
    let mut command = site.host.command("unshare");
    command
        .args(unshare)
        .args(["sh", "-c", &script])
        .env("BOWLINE_STATE_DIR", state.path());
    command.output().unwrap()
}

/// The program and what started it see the same mounts, and there is no BPF file system yet.
#[test]
fn a_missing_bpf_file_system_is_mounted() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let output = load_without_bpffs(
        &site,
        &["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"],
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(
        text.contains("loaded") && text.contains("bpf_fs"),
        "{output:?}"
    );
}

/// As under `ip netns exec`: what would be mounted here would vanish with the process.
#[test]
fn a_mount_that_would_not_last_is_refused() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let before = site.snapshot(&site.bowline());
    let output = load_without_bpffs(&site, &["--mount"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text.contains("nsenter --net=") && text.contains("ip netns exec"),
        "{text}"
    );
    assert!(
        !String::from_utf8_lossy(&output.stdout).contains("bpf_fs"),
        "{output:?}"
    );
    before.assert_same(&site.snapshot(&site.bowline()));
}
