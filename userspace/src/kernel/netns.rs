//! Network namespaces: found by name, process or path, compared by identity, and entered on threads
//! that exist for that only, so that no other code ever runs in the wrong one.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::panic;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use rtnetlink::Handle;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::similar::Similar;

/// Where `ip netns` keeps namespaces that have names.
const NAMED: &str = "/run/netns";
/// `NSFS_MAGIC` of `linux/magic.h`.
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// An open network namespace: it lives at least as long as this handle.
#[derive(Debug)]
pub struct Netns {
    file: File,
    id: NetnsId,
    label: String,
}

/// The identity of a namespace. A namespace that was deleted and made again under the same name has
/// another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NetnsId {
    device: u64,
    inode: u64,
}

/// Why a namespace could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// There is no namespace of that name.
    #[error("there is no network namespace `{name}`: {similar} (`ip netns list` shows them)")]
    NoSuchName {
        /// The name.
        name: String,
        /// The names that exist.
        similar: Similar,
    },
    /// There is no such process.
    #[error("there is no process {0}")]
    NoSuchProcess(u32),
    /// There is a file, but no namespace is mounted on it.
    #[error(
        "{0} is a file and not a network namespace: it was probably left over when the machine \
         stopped; remove it with `ip netns delete`, and add the namespace again"
    )]
    NotANamespace(PathBuf),
    /// The kernel refuses.
    #[error("cannot open the network namespace {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl Netns {
    /// The namespace that the calling thread is in.
    ///
    /// # Errors
    ///
    /// `/proc` is not there.
    pub fn current() -> Result<Self, NetnsError> {
        Self::open(Path::new("/proc/thread-self/ns/net"), "the host".to_owned())
    }

    /// The namespace that `ip netns` knows under this name.
    ///
    /// # Errors
    ///
    /// [`NetnsError::NoSuchName`] with what was probably meant, or
    /// [`NotANamespace`](NetnsError::NotANamespace).
    pub fn by_name(name: &str) -> Result<Self, NetnsError> {
        let no_such = || NetnsError::NoSuchName {
            name: name.to_owned(),
            similar: Similar::new(name, named()),
        };
        if name.is_empty() || name.contains('/') || name == "." || name == ".." {
            return Err(no_such());
        }
        let path = Path::new(NAMED).join(name);
        Self::open(&path, format!("netns {name}")).map_err(|error| match error {
            NetnsError::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                no_such()
            }
            error => error,
        })
    }

    /// The namespace that a process is in.
    ///
    /// # Errors
    ///
    /// [`NetnsError::NoSuchProcess`], or the kernel refuses because of missing rights.
    pub fn by_pid(pid: u32) -> Result<Self, NetnsError> {
        let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
        Self::open(&path, format!("pid {pid}")).map_err(|error| match error {
            NetnsError::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                NetnsError::NoSuchProcess(pid)
            }
            error => error,
        })
    }

    /// The namespace that is mounted at a path.
    ///
    /// # Errors
    ///
    /// There is nothing, or no namespace.
    pub fn by_path(path: &Path) -> Result<Self, NetnsError> {
        Self::open(path, path.display().to_string())
    }

    fn open(path: &Path, label: String) -> Result<Self, NetnsError> {
        let error = |source| NetnsError::File {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(error)?;
        let kind = rustix::fs::fstatfs(&file).map_err(|errno| error(errno.into()))?;
        if kind.f_type != NSFS_MAGIC {
            return Err(NetnsError::NotANamespace(path.to_owned()));
        }
        let metadata = file.metadata().map_err(error)?;
        let id = NetnsId {
            device: metadata.dev(),
            inode: metadata.ino(),
        };
        Ok(Self { file, id, label })
    }

    /// The same namespace, once more.
    ///
    /// # Errors
    ///
    /// The process has no file descriptor left.
    pub fn try_clone(&self) -> Result<Self, NetnsError> {
        let file = self.file.try_clone().map_err(|source| NetnsError::File {
            path: PathBuf::from(&self.label),
            source,
        })?;
        Ok(Self {
            file,
            id: self.id,
            label: self.label.clone(),
        })
    }

    /// Which namespace this is, to compare it with another.
    #[must_use]
    pub fn id(&self) -> NetnsId {
        self.id
    }

    /// Runs `work` inside the namespace, on a thread of its own that ends with it: whatever happens
    /// in there, no other thread is ever in the wrong namespace.
    ///
    /// # Errors
    ///
    /// The namespace cannot be entered: `CAP_SYS_ADMIN` is missing.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let inside = || -> Result<T> {
            move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                .with_context(|| format!("enter the network namespace of {self}"))?;
            Ok(work())
        };
        thread::scope(|scope| {
            let worker = thread::Builder::new()
                .name("netns".to_owned())
                .spawn_scoped(scope, inside)
                .context("start a thread")?;
            worker
                .join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    /// A netlink connection whose socket is in the namespace: a socket stays where it was made. It
    /// is served by the tokio runtime that this is called in, until the handle is dropped.
    ///
    /// # Errors
    ///
    /// No runtime is running, or the namespace cannot be entered.
    pub fn connect(&self) -> Result<Handle> {
        let runtime = tokio::runtime::Handle::try_current()
            .context("netlink connections need a tokio runtime")?;
        let (connection, handle) = self
            .run(|| {
                let _entered = runtime.enter();
                rtnetlink::new_connection().map(|(connection, handle, _)| (connection, handle))
            })?
            .with_context(|| format!("open a netlink socket in {self}"))?;
        runtime.spawn(connection);
        Ok(handle)
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// How the namespace was named when it was opened.
impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// The names that exist; none if that cannot be found out.
fn named() -> Vec<String> {
    let Ok(entries) = fs::read_dir(NAMED) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_is_found_in_every_way() {
        let current = Netns::current().unwrap();
        assert_eq!(
            Netns::by_pid(std::process::id()).unwrap().id(),
            current.id()
        );
        let path = Path::new("/proc/self/ns/net");
        assert_eq!(Netns::by_path(path).unwrap().id(), current.id());
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = Netns::by_name("no-such-namespace").unwrap_err();
        assert!(matches!(error, NetnsError::NoSuchName { .. }));
        assert!(error.to_string().contains("`no-such-namespace`"));
        assert!(matches!(
            Netns::by_name("../../proc/self/ns/net").unwrap_err(),
            NetnsError::NoSuchName { .. }
        ));
        let error = Netns::by_pid(u32::MAX).unwrap_err();
        assert_eq!(error.to_string(), "there is no process 4294967295");
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Netns::by_path(file.path()).unwrap_err();
        assert!(matches!(error, NetnsError::NotANamespace(_)));
    }
}
