//! What is loaded, recorded durably: one text per source, so that a reboot, another `load` and
//! `unload` know what the host should carry. It also holds the lock that lets one process at a time
//! change an instance.
//!
//! A source is `sources/<name>.yaml`, the text as it was loaded, with `sources/<name>.json` beside it
//! that says where the text came from. The text decides: a source exists if and only if its text
//! does. `others/<host>.json` is what another host has said of its containers. `host` holds the name that this host was given among those of the topology. Each file is
//! written whole under another name, flushed and renamed, so that a crash at any point leaves the old
//! state or the new one.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::driver;
use crate::exchange::{List, Others};
use crate::instance::Instance;

/// One loaded source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// The file that it was loaded from, from the root; empty if that is not known any more.
    pub path: String,
    /// When it was loaded.
    pub loaded: SystemTime,
    /// The text.
    pub text: String,
}

/// What is recorded beside a text.
#[derive(Serialize, Deserialize, Default)]
struct Note {
    path: String,
    /// Seconds since 1970.
    loaded: u64,
}

/// The record of an instance's sources.
#[derive(Clone, Debug)]
pub struct Ledger {
    instance: Instance,
}

/// When the record was changed last: see [`Ledger::stamp`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp([Option<SystemTime>; 3]);

/// The right to change an instance; given back when it is dropped or the process ends.
#[derive(Debug)]
pub struct Locked {
    ledger: Ledger,
    lock: File,
}

/// Why an instance could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds the lock.
    #[error(
        "another bowline{} is changing instance {instance}; try again when it has finished",
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    Busy {
        /// The instance.
        instance: String,
        /// The other process, if it has said so already.
        pid: Option<u32>,
    },
    /// The lock's file cannot be made or opened.
    #[error("cannot lock instance {instance}: {path}")]
    File {
        /// The instance.
        instance: String,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl Ledger {
    /// The record of an instance; nothing is read or made yet.
    #[must_use]
    pub fn new(instance: &Instance) -> Self {
        Self {
            instance: instance.clone(),
        }
    }

    /// Every loaded source, by name. It needs no lock: each text is replaced as a whole.
    ///
    /// # Errors
    ///
    /// A file is there but cannot be read.
    pub fn sources(&self) -> Result<BTreeMap<String, Source>> {
        let dir = self.sources_dir();
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries.with_context(|| format!("read {}", dir.display()))?,
        };
        let mut sources = BTreeMap::new();
        for entry in entries {
            let file = entry
                .with_context(|| format!("read {}", dir.display()))?
                .file_name();
            let Some(name) = file.to_str().and_then(|file| file.strip_suffix(".yaml")) else {
                continue;
            };
            if is_source_name(name)
                && let Some(source) = self.source(name)?
            {
                sources.insert(name.to_owned(), source);
            }
        }
        Ok(sources)
    }

    /// Something that changes when a source or the host's name does; it costs next to nothing.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        // Everything is put there by renaming, which the folder notes.
        let changed = |dir: PathBuf| fs::metadata(dir).and_then(|it| it.modified()).ok();
        Stamp([
            changed(self.sources_dir()),
            changed(self.others_dir()),
            changed(self.instance.state_dir()),
        ])
    }

    /// One source, or nothing if it was removed while the folder was being listed.
    fn source(&self, name: &str) -> Result<Option<Source>> {
        let path = self.text_path(name);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("read {}", path.display()))?,
        };
        // A note that is missing or torn costs a file name in a message, not the source.
        let mut note: Note = fs::read(self.note_path(name))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        if name == driver::source::NAME {
            note.path = path.display().to_string();
        }
        Ok(Some(Source {
            path: note.path,
            loaded: UNIX_EPOCH + Duration::from_secs(note.loaded),
            text,
        }))
    }

    /// Records what Docker has of bowline, as the source of its name; with `None`, that it has nothing. It
    /// needs no lock, because the agent is the only one who writes this source, and there is one agent.
    ///
    /// # Errors
    ///
    /// The disk refuses; the former record is then still there.
    pub fn put_driver_source(&self, text: Option<&str>) -> Result<()> {
        let path = self.text_path(driver::source::NAME);
        let Some(text) = text else {
            return remove_file(&path);
        };
        let dir = self.sources_dir();
        make_dirs(&dir).with_context(|| format!("make {}", dir.display()))?;
        write_whole(&path, text.as_bytes())
    }

    /// What other hosts have said last of their containers. What cannot be read is asked for again.
    ///
    /// # Errors
    ///
    /// The folder is there but cannot be read.
    pub fn others(&self) -> Result<Others> {
        let dir = self.others_dir();
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Others::new()),
            entries => entries.with_context(|| format!("read {}", dir.display()))?,
        };
        let mut others = Others::new();
        for entry in entries {
            let file = entry.with_context(|| format!("read {}", dir.display()))?;
            let name = file.file_name();
            if let Some(host) = name.to_str().and_then(|it| it.strip_suffix(".json"))
                && let Ok(text) = fs::read(file.path())
                && let Ok(list) = List::read(&text)
            {
                others.insert(host.to_owned(), list);
            }
        }
        Ok(others)
    }

    /// Records what another host has said of its containers; with `None`, that there is no such host any
    /// more. It needs no lock, as [`Ledger::put_driver_source`].
    ///
    /// # Errors
    ///
    /// The host's name cannot be a file's, or the disk refuses; the former record is then still there.
    pub fn put_other(&self, host: &str, list: Option<&List>) -> Result<()> {
        ensure!(is_source_name(host), "`{host}` cannot name a host");
        let path = self.others_dir().join(format!("{host}.json"));
        let Some(list) = list else {
            return remove_file(&path);
        };
        let dir = self.others_dir();
        make_dirs(&dir).with_context(|| format!("make {}", dir.display()))?;
        write_whole(&path, list.body().as_bytes())
    }

    /// The name that this host was given among those of the topology, if it was given one.
    ///
    /// # Errors
    ///
    /// It is recorded but cannot be read.
    pub fn host(&self) -> Result<Option<String>> {
        let path = self.host_path();
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            text => {
                let text = text.with_context(|| format!("read {}", path.display()))?;
                Ok(Some(text.trim().to_owned()).filter(|name| !name.is_empty()))
            }
        }
    }

    /// Takes the right to change the instance, waiting for another process for at most `patience`.
    ///
    /// # Errors
    ///
    /// [`LockError::Busy`] when another process still has it then; [`LockError::File`] when the
    /// state folder cannot be made or written.
    pub fn lock(&self, patience: Duration) -> Result<Locked, LockError> {
        let deadline = Instant::now() + patience;
        loop {
            match self.try_lock() {
                Ok(Some(lock)) => {
                    return Ok(Locked {
                        ledger: self.clone(),
                        lock,
                    });
                }
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
                Ok(None) => {
                    return Err(LockError::Busy {
                        instance: self.instance.name().to_owned(),
                        pid: self.holder(),
                    });
                }
                Err(source) => {
                    return Err(LockError::File {
                        instance: self.instance.name().to_owned(),
                        path: self.instance.lock_path(),
                        source,
                    });
                }
            }
        }
    }

    /// Whether the instance's driver has ever had something of Docker's.
    #[must_use]
    pub fn is_dockers(&self) -> bool {
        self.instance.driver_store().exists()
    }

    fn try_lock(&self) -> io::Result<Option<File>> {
        let path = self.instance.lock_path();
        make_dirs(&self.instance.state_dir())?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            result => result?,
        }
        // Whoever held the lock before may have removed the file together with the state folder;
        // a lock on a file without a name would exclude nobody.
        let named = fs::metadata(&path).is_ok_and(|named| {
            lock.metadata()
                .is_ok_and(|held| (held.dev(), held.ino()) == (named.dev(), named.ino()))
        });
        if !named {
            return Ok(None);
        }
        lock.set_len(0)?;
        lock.write_all(std::process::id().to_string().as_bytes())?;
        Ok(Some(lock))
    }

    fn holder(&self) -> Option<u32> {
        let mut text = String::new();
        File::open(self.instance.lock_path())
            .ok()?
            .take(16)
            .read_to_string(&mut text)
            .ok()?;
        text.trim().parse().ok()
    }

    fn sources_dir(&self) -> PathBuf {
        self.instance.state_dir().join("sources")
    }

    fn others_dir(&self) -> PathBuf {
        self.instance.state_dir().join("others")
    }

    fn host_path(&self) -> PathBuf {
        self.instance.state_dir().join("host")
    }

    fn text_path(&self, name: &str) -> PathBuf {
        self.sources_dir().join(format!("{name}.yaml"))
    }

    fn note_path(&self, name: &str) -> PathBuf {
        self.sources_dir().join(format!("{name}.json"))
    }
}

impl Locked {
    /// The record, to read from.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Records a source, in place of the one of the same name if there is one.
    ///
    /// # Errors
    ///
    /// The name cannot be a file's, or the disk refuses; the former record is then still there.
    pub fn put(&self, name: &str, source: &Source) -> Result<()> {
        ensure!(
            is_source_name(name),
            "`{name}` cannot name a source: letters, digits, `.`, `_` and `-` can, \
             at most 64 of them and no dot at the beginning"
        );
        let dir = self.ledger.sources_dir();
        make_dirs(&dir).with_context(|| format!("make {}", dir.display()))?;
        let loaded = source.loaded.duration_since(UNIX_EPOCH).unwrap_or_default();
        let note = Note {
            path: source.path.clone(),
            loaded: loaded.as_secs(),
        };
        // The note goes first: the text is what makes the source exist.
        write_whole(&self.ledger.note_path(name), &serde_json::to_vec(&note)?)?;
        write_whole(&self.ledger.text_path(name), source.text.as_bytes())
    }

    /// Records which of the topology's hosts this one is; with `None`, that nobody said so.
    ///
    /// # Errors
    ///
    /// The disk refuses; the former record is then still there.
    pub fn put_host(&self, name: Option<&str>) -> Result<()> {
        let path = self.ledger.host_path();
        match name {
            Some(name) => write_whole(&path, format!("{name}\n").as_bytes()),
            None => remove_file(&path),
        }
    }

    /// Removes a source from the record; one that is not there is no error.
    ///
    /// # Errors
    ///
    /// The disk refuses.
    pub fn remove(&self, name: &str) -> Result<()> {
        ensure!(is_source_name(name), "`{name}` cannot name a source");
        for path in [self.ledger.text_path(name), self.ledger.note_path(name)] {
            remove_file(&path)?;
        }
        let dir = self.ledger.sources_dir();
        if dir.exists() {
            flush_dir(&dir).with_context(|| format!("flush {}", dir.display()))?;
        }
        Ok(())
    }

    /// Removes the instance's state folder if no source is left and nothing is recorded of Docker's side,
    /// and gives the lock back.
    ///
    /// # Errors
    ///
    /// The disk refuses.
    pub fn remove_if_empty(self) -> Result<()> {
        if !self.ledger.sources()?.is_empty() || self.ledger.is_dockers() {
            return Ok(());
        }
        let dir = self.ledger.instance.state_dir();
        fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
        drop(self.lock);
        Ok(())
    }
}

fn is_source_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// The texts may be somebody's business secret: only root looks in.
fn make_dirs(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Removes a file that may be gone already.
fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Writes a file so that a crash leaves the old content or the new one under its name. The name of
/// the unfinished file is always the same, so that what a crash left is overwritten next time.
fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let unfinished = path.with_extension("unfinished");
    let write = || -> io::Result<()> {
        let mut file = File::create(&unfinished)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        path.parent().map_or(Ok(()), flush_dir)
    };
    write().with_context(|| format!("write {}", path.display()))
}

/// A rename is durable once the folder is flushed.
fn flush_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
