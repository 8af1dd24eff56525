//! The ring buffer of events.

use anyhow::{Context, Result};
use aya::maps::{Map, MapData, RingBuf};
use maps_schema::map::EVENTS;
use maps_schema::plain::from_bytes;
use maps_schema::record::DropEvent;
use tokio::io::unix::AsyncFd;

use super::bpffs::Pins;
use crate::instance::Instance;

/// The reader of an instance's events. There should be one at a time: events go to whoever is first.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Events {
    /// Opens the ring buffer of a loaded datapath.
    ///
    /// # Errors
    ///
    /// Nothing is loaded, or no tokio runtime is running.
    pub fn open(instance: &Instance) -> Result<Self> {
        let path = Pins::new(instance).maps().join(EVENTS);
        let data = MapData::from_pin(&path).with_context(|| format!("open {}", path.display()))?;
        let ring = RingBuf::try_from(Map::RingBuf(data)).context("read the events")?;
        // SAFETY: the ring buffer owns its descriptor, keeps it open as long as it lives, and always
        // names the same one.
        let ring = unsafe { AsyncFd::register(ring) }.context("wait for events")?;
        Ok(Self { ring })
    }

    /// The next event.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub async fn next(&mut self) -> Result<DropEvent> {
        loop {
            let mut ready = self.ring.readable_mut().await.context("wait for events")?;
            while let Some(item) = ready.get_inner_mut().next() {
                if let Some(event) = from_bytes(&item) {
                    return Ok(event);
                }
            }
            ready.clear_ready();
        }
    }
}
