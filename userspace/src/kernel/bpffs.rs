//! The BPF file system, where an instance's maps, programs and links outlive every process.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::mount::MountFlags;

use crate::instance::{BPFFS_ROOT, Instance};

/// Where the BPF file system is mounted, by convention.
const MOUNT_POINT: &str = "/sys/fs/bpf";
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
}

/// Makes sure that there is a BPF file system which outlives this process, mounting one if need be,
/// and that the instance has its folders in it.
///
/// # Errors
///
/// The process is in a mount namespace of its own, as `ip netns exec` makes one, in which a mount
/// would vanish together with it; or rights are missing.
pub fn prepare(instance: &Instance) -> Result<()> {
    let private = is_mount_namespace_private();
    if !is_bpffs(Path::new(MOUNT_POINT))? {
        if private {
            bail!(NOT_PERMANENT);
        }
        rustix::mount::mount("bpf", MOUNT_POINT, "bpf", MountFlags::empty(), c"mode=0700")
            .with_context(|| format!("mount the BPF file system on {MOUNT_POINT}"))?;
    } else if private && !is_the_same_as_pid_1_sees() {
        bail!(NOT_PERMANENT);
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

fn is_bpffs(path: &Path) -> Result<bool> {
    let kind = rustix::fs::statfs(path)
        .with_context(|| format!("look at {}", path.display()))?
        .f_type;
    Ok(kind == BPF_FS_MAGIC)
}

/// Whether mounts made by this process would be seen by nobody else. If that cannot be found out,
/// they probably would be seen.
fn is_mount_namespace_private() -> bool {
    let identity = |path: &str| {
        fs::metadata(path)
            .map(|metadata| (metadata.dev(), metadata.ino()))
            .ok()
    };
    match (identity("/proc/self/ns/mnt"), identity("/proc/1/ns/mnt")) {
        (Some(own), Some(first)) => own != first,
        _ => false,
    }
}

fn is_the_same_as_pid_1_sees() -> bool {
    let device = |path: &str| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    device(MOUNT_POINT) == device("/proc/1/root/sys/fs/bpf")
}

/// The folders of every version of the map contract that the instance has pins of.
pub(crate) fn versions(instance: &Instance) -> io::Result<Vec<PathBuf>> {
    entries(&instance.bpffs_dir())
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
