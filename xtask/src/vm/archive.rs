//! The archive that the kernel unpacks into its memory before it starts the first process: cpio in
//! the form "newc" (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Writing it is less than what asking a program to do it would take: that would want a folder with
//! a copy of everything, and modes and owners as they are to be.

use crate::failure::{Context as _, Result};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The types of `st_mode`.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// An archive that is being written. Everything in it belongs to root.
pub(super) struct Archive {
    path: PathBuf,
    out: BufWriter<File>,
    entries: u32,
    places: BTreeSet<PathBuf>,
}

impl Archive {
    pub(super) fn create(path: PathBuf) -> Result<Self> {
        let file = File::create(&path).context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            path,
            out: BufWriter::new(file),
            entries: 0,
            places: BTreeSet::new(),
        })
    }

    /// A folder, with those above it.
    pub(super) fn folder(&mut self, place: &Path) -> Result<()> {
        let folders: Vec<_> = place.ancestors().collect();
        for folder in folders.into_iter().rev() {
            self.entry(folder, FOLDER | 0o755, &[])?;
        }
        Ok(())
    }

    /// What lies under `source`, at another place: a file, or a folder with all that is in it.
    /// Symbolic links are followed.
    pub(super) fn copy(&mut self, place: &Path, source: &Path) -> Result<()> {
        let context = || format!("cannot read {}", source.display());
        if source.is_dir() {
            self.folder(place)?;
            for entry in fs::read_dir(source).context(context)? {
                let entry = entry.context(context)?;
                self.copy(&place.join(entry.file_name()), &entry.path())?;
            }
            return Ok(());
        }
        let mode = fs::metadata(source).context(context)?.permissions().mode() & 0o777;
        self.file(place, mode, &fs::read(source).context(context)?)
    }

    pub(super) fn file(&mut self, place: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
        self.place(place, FILE | mode, bytes)
    }

    pub(super) fn link(&mut self, place: &Path, target: &str) -> Result<()> {
        self.place(place, LINK | 0o777, target.as_bytes())
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<()> {
        self.write(Path::new("TRAILER!!!"), 0, &[])?;
        self.out
            .flush()
            .context(|| format!("cannot write {}", self.path.display()))
    }

    fn place(&mut self, place: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
        if let Some(folder) = place.parent() {
            self.folder(folder)?;
        }
        self.entry(place, mode, bytes)
    }

    /// The first that comes to a place stays there.
    fn entry(&mut self, place: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
        let place = place.strip_prefix("/").unwrap_or(place);
        if place.as_os_str().is_empty() || !self.places.insert(place.to_path_buf()) {
            return Ok(());
        }
        self.write(place, mode, bytes)
    }

    fn write(&mut self, name: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
        self.entries += 1;
        let wire = encode(self.entries, name, mode, bytes);
        self.out
            .write_all(&wire)
            .context(|| format!("cannot write {}", self.path.display()))
    }
}

fn encode(number: u32, name: &Path, mode: u32, bytes: &[u8]) -> Vec<u8> {
    let name = name.as_os_str().as_encoded_bytes();
    // Inode, mode, owner, group, links, time, length, device and its own device (two each), length
    // of the name with its end, checksum.
    let fields = [
        number,
        mode,
        0,
        0,
        1,
        0,
        length(bytes),
        0,
        0,
        0,
        0,
        length(name) + 1,
        0,
    ];
    let mut wire = b"070701".to_vec();
    for field in fields {
        wire.extend(format!("{field:08x}").bytes());
    }
    wire.extend(name);
    wire.push(0);
    pad(&mut wire);
    wire.extend(bytes);
    pad(&mut wire);
    wire
}

/// No file of ours has four gigabytes; one that had would be cut, and be found so when it is used.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn pad(wire: &mut Vec<u8>) {
    wire.resize(wire.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::{FILE, encode};
    use std::path::Path;

    #[test]
    fn an_entry_has_its_header_name_and_bytes_in_words() {
        let wire = encode(7, Path::new("etc/motd"), FILE | 0o644, b"hello");
        let expected = concat!(
            "070701",
            "00000007",
            "000081a4",
            "0000000000000000",
            "00000001",
            "00000000",
            "00000005",
            "00000000000000000000000000000000",
            "00000009",
            "00000000",
            "etc/motd\0\0",
            "hello\0\0\0"
        );
        assert_eq!(String::from_utf8(wire).unwrap(), expected);
    }
}
