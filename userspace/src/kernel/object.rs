//! The datapath's object: compiled by `cargo xtask build-ebpf`, embedded by the build script, and
//! checked here against the map contract that this binary was built with.

use std::borrow::Cow;

use anyhow::{Context, Result, bail, ensure};
use aya::include_bytes_aligned;
use maps_schema::plain::bytes_of;
use maps_schema::{SCHEMA_SECTION, SCHEMA_VERSION};
use object::{Object as _, ObjectSection as _};

use crate::fnv::fnv1a_64;
use crate::program::Settings;

/// Empty when there was no object to embed.
static EMBEDDED: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bowline-ebpf.o"));

/// An object that speaks this binary's version of the map contract.
#[derive(Clone, Debug)]
pub struct Object {
    bytes: Cow<'static, [u8]>,
    /// Of the bytes, which are many.
    hash: u64,
}

impl Object {
    /// The object that was embedded when this binary was built.
    ///
    /// # Errors
    ///
    /// There was none, or it was built from another version of the map contract.
    pub fn embedded() -> Result<Self> {
        ensure!(
            !EMBEDDED.is_empty(),
            "this binary was built without the datapath; run `cargo xtask build-ebpf` and build again"
        );
        Self::parse(EMBEDDED)
    }

    /// An object from anywhere.
    ///
    /// # Errors
    ///
    /// It is not an object of the datapath, or was built from another version of the map contract.
    pub fn parse(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self> {
        let bytes = bytes.into();
        let version = schema_version(&bytes)?;
        if version != SCHEMA_VERSION {
            bail!(
                "the datapath was built for version {version} of the map contract and this binary \
                 for {SCHEMA_VERSION}; run `cargo xtask build-ebpf` and build again"
            );
        }
        Ok(Self::hashed(bytes))
    }

    fn hashed(bytes: Cow<'static, [u8]>) -> Self {
        let hash = fnv1a_64([&*bytes]);
        Self { bytes, hash }
    }

    /// The object's bytes, an ELF file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Tells apart what different objects, loaded with different settings, become in the kernel: 12 hex
    /// digits.
    #[must_use]
    pub fn fingerprint(&self, settings: &Settings) -> String {
        let Settings {
            drop_events,
            timeouts,
            room,
        } = settings;
        let hash = fnv1a_64([
            &self.hash.to_be_bytes(),
            &[u8::from(*drop_events)][..],
            bytes_of(timeouts),
            &room.established.to_be_bytes(),
            &room.opening.to_be_bytes(),
        ]);
        format!("{:012x}", hash >> 16)
    }
}

fn schema_version(bytes: &[u8]) -> Result<u32> {
    let elf = object::File::parse(bytes).context("read the datapath's object")?;
    let section = elf
        .section_by_name(SCHEMA_SECTION)
        .with_context(|| format!("the object has no section `{SCHEMA_SECTION}`"))?;
    let version: [u8; 4] = section
        .data()
        .ok()
        .and_then(|data| data.try_into().ok())
        .with_context(|| format!("the section `{SCHEMA_SECTION}` does not hold four bytes"))?;
    Ok(u32::from_le_bytes(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_an_object_is_refused() {
        assert!(Object::parse(b"".as_slice()).is_err());
        assert!(Object::parse(b"\x7fELF and so on".as_slice()).is_err());
        let own = std::fs::read("/proc/self/exe").unwrap();
        let error = Object::parse(own).unwrap_err();
        assert!(error.to_string().contains("bowline_schema"), "{error}");
    }

    #[test]
    fn the_fingerprint_depends_on_bytes_and_settings() {
        let object = |bytes: &'static [u8]| Object::hashed(bytes.into());
        let usual = Settings::default();
        let one = object(b"one").fingerprint(&usual);
        assert_eq!(one.len(), 12);
        assert_eq!(one, object(b"one").fingerprint(&usual));
        assert_ne!(one, object(b"two").fingerprint(&usual));
        let changes: [fn(&mut Settings); 4] = [
            |settings| settings.drop_events = true,
            |settings| settings.timeouts.others += 1,
            |settings| settings.room.established += 1,
            |settings| settings.room.opening += 1,
        ];
        for change in changes {
            let mut changed = usual;
            change(&mut changed);
            assert_ne!(one, object(b"one").fingerprint(&changed));
        }
    }
}
