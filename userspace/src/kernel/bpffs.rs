//! The BPF file system, where an instance's maps, programs and links outlive every process.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::mount::MountFlags;

use crate::instance::{BPFFS_ROOT, Instance};

/// Where the BPF file system is mounted, by convention.
pub const MOUNT_POINT: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` of `linux/magic.h`.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// The folders in which an instance pins things.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pins {
    root: PathBuf,
}

impl Pins {
    pub(crate) fn new(instance: &Instance) -> Self {
        Self {
            root: instance.pin_dir(),
        }
    }

    pub(crate) fn maps(&self) -> PathBuf {
        self.root.join("maps")
    }

    pub(crate) fn programs(&self) -> PathBuf {
        self.root.join("programs")
    }

    pub(crate) fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// Notes of the `clsact` qdiscs that we added: a folder each, which is all that a BPF file system
    /// holds for nothing, and goes when the machine stops, as the qdisc does.
    pub(crate) fn qdiscs(&self) -> PathBuf {
        self.root.join("qdiscs")
    }

    /// Notes of the interfaces whose drivers refused to run XDP, as above.
    pub(crate) fn refusals(&self) -> PathBuf {
        self.root.join("refusals")
    }
}

/// Makes sure that there is a BPF file system which outlives this process, mounting one if need be,
/// and that the instance has its folders in it.
///
/// # Errors
///
/// The process is in a mount namespace of its own, as `ip netns exec` makes one, in which a mount
/// would vanish together with it; or rights are missing.
pub fn prepare(instance: &Instance) -> Result<()> {
    let outside = ancestor_in_another_mount_namespace();
    if !is_bpffs(Path::new(MOUNT_POINT))? {
        ensure!(outside.is_none(), NOT_PERMANENT);
        rustix::mount::mount("bpf", MOUNT_POINT, "bpf", MountFlags::empty(), c"mode=0700")
            .with_context(|| format!("mount the BPF file system on {MOUNT_POINT}"))?;
    } else if let Some(pid) = outside {
        ensure!(sees_the_same(pid), NOT_PERMANENT);
    }
    let pins = Pins::new(instance);
    for dir in [pins.maps(), pins.programs(), pins.links()] {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("make {}", dir.display()))?;
    }
    Ok(())
}

const NOT_PERMANENT: &str = "this process does not see the machine's BPF file system at \
     /sys/fs/bpf: `ip netns exec` and containers mount a /sys of their own, and what is pinned \
     there vanishes with them. To work inside a network namespace, use \
     `nsenter --net=/run/netns/NAME bowline ...`";

/// Whether there is a BPF file system where it should be.
///
/// # Errors
///
/// There is no such folder.
pub fn is_mounted() -> Result<bool> {
    is_bpffs(Path::new(MOUNT_POINT))
}

fn is_bpffs(path: &Path) -> Result<bool> {
    let kind = rustix::fs::statfs(path)
        .with_context(|| format!("look at {}", path.display()))?
        .f_type;
    Ok(kind == BPF_FS_MAGIC)
}

/// The nearest process above this one that does not see the mounts which this one makes. Often it is
/// the shell in which somebody typed `ip netns exec`; asking process 1 alone is not enough, because
/// not every root may look at that.
fn ancestor_in_another_mount_namespace() -> Option<u32> {
    let own = mount_namespace("self")?;
    let mut pid = std::process::id();
    while let Some(parent) = parent(pid) {
        if mount_namespace(&parent.to_string()).is_some_and(|other| other != own) {
            return Some(parent);
        }
        pid = parent;
    }
    None
}

fn mount_namespace(process: &str) -> Option<(u64, u64)> {
    let metadata = fs::metadata(format!("/proc/{process}/ns/mnt")).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    parent_in(&status).filter(|&parent| parent != 0)
}

fn parent_in(status: &str) -> Option<u32> {
    let value = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    value.trim().parse().ok()
}

/// Whether another process sees the same BPF file system as this one; if that cannot be found out,
/// it probably does.
fn sees_the_same(pid: u32) -> bool {
    let device = |path: &str| fs::metadata(path).map(|metadata| metadata.dev());
    match device(&format!("/proc/{pid}/root{MOUNT_POINT}")) {
        Ok(other) => device(MOUNT_POINT).is_ok_and(|own| own == other),
        Err(_) => true,
    }
}

/// The folders of every version of the map contract that the instance has pins of.
pub(crate) fn versions(instance: &Instance) -> io::Result<Vec<PathBuf>> {
    entries(&instance.bpffs_dir())
}

/// The folders of the pinned programs of every other instance, of every version of the map contract.
pub(crate) fn programs_of_others(instance: &Instance) -> io::Result<Vec<PathBuf>> {
    let own = instance.bpffs_dir();
    let mut dirs = Vec::new();
    for other in entries(Path::new(BPFFS_ROOT))? {
        if other != own && other.is_dir() {
            let versions = entries(&other)?.into_iter();
            dirs.extend(versions.map(|version| version.join("programs")));
        }
    }
    Ok(dirs)
}

/// What is in a folder; nothing if it is not there.
pub(crate) fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Removes everything below a folder and the folder; goes on after an error and collects them. What
/// is not there is no error.
pub(crate) fn remove_tree(dir: &Path, errors: &mut Vec<anyhow::Error>) {
    let paths = entries(dir).unwrap_or_else(|error| {
        note(Err(error), dir, errors);
        Vec::new()
    });
    let (dirs, files): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path.is_dir());
    for file in files {
        note(fs::remove_file(&file), &file, errors);
    }
    for dir in dirs {
        remove_tree(&dir, errors);
    }
    note(fs::remove_dir(dir), dir, errors);
}

/// Notes that something could not be removed, unless it was not there.
pub(crate) fn note(removal: io::Result<()>, path: &Path, errors: &mut Vec<anyhow::Error>) {
    match removal {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            errors.push(anyhow::Error::from(error).context(format!("remove {}", path.display())));
        }
        _ => {}
    }
}

/// Removes the folder that all instances share, if this was the last one.
pub(crate) fn remove_root_if_empty() {
    // Another instance's folder in it is the ordinary reason for a failure.
    let _ = fs::remove_dir(BPFFS_ROOT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_in_the_status() {
        assert_eq!(parent_in("Name:\tx\nPid:\t7\nPPid:\t3\n"), Some(3));
        assert_eq!(parent_in("Name:\tx\n"), None);
        assert!(parent(std::process::id()).is_some());
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let root = tempfile::tempdir().unwrap();
        let mut errors = Vec::new();
        remove_tree(&root.path().join("absent"), &mut errors);
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("a/b/c"), "").unwrap();
        remove_tree(&root.path().join("a"), &mut errors);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(entries(root.path()).unwrap(), Vec::<PathBuf>::new());
    }
}
