//! Tables of connections whose size changes: the kernel fixes the size of a map when it is made, so that
//! another map takes the place of the one that is pinned, with its rows.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aya::maps::{HashMap, Map, MapData, MapInfo};
use maps_schema::map::{EMBRYOS, FLOWS, Flow, FlowKey};

use crate::program::Room;

/// A table of connections, and where it is to be pinned.
pub(super) struct Table {
    symbol: &'static str,
    rows: u32,
    pinned: PathBuf,
    /// Where the other map is pinned until it has the rows, if there is to be another one.
    new: Option<PathBuf>,
}

/// The tables of connections with the sizes that they should have, as they are pinned in a folder.
///
/// # Errors
///
/// What is pinned cannot be opened, or what an interrupted change has left not removed.
pub(super) fn tables(dir: &Path, room: &Room) -> Result<[Table; 2]> {
    // A row for each direction.
    Ok([
        Table::find(dir, FLOWS, 2 * room.established)?,
        Table::find(dir, EMBRYOS, 2 * room.opening)?,
    ])
}

impl Table {
    fn find(dir: &Path, symbol: &'static str, rows: u32) -> Result<Self> {
        let (pinned, new) = (dir.join(symbol), dir.join(format!("{symbol}-new")));
        if new.exists() {
            fs::remove_file(&new).with_context(|| format!("remove {}", new.display()))?;
        }
        let is_other = pinned.exists()
            && MapInfo::from_pin(&pinned)
                .with_context(|| format!("open the pinned map {}", pinned.display()))?
                .max_entries()
                != rows;
        Ok(Self {
            symbol,
            rows,
            pinned,
            new: is_other.then_some(new),
        })
    }

    pub(super) fn symbol(&self) -> &'static str {
        self.symbol
    }

    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    /// Where the map is pinned that the programs are to work on.
    pub(super) fn pin(&self) -> &Path {
        self.new.as_ref().unwrap_or(&self.pinned)
    }

    /// Gives another map the rows of the pinned one. What programs note until they are exchanged is for
    /// [`Maps::catch_up`](super::maps::Maps::catch_up).
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub(super) fn fill(&self) -> Result<()> {
        let copied = self
            .new
            .as_ref()
            .map(|new| copy(&self.pinned, new, self.rows));
        copied.transpose().with_context(|| self.changing())?;
        Ok(())
    }

    /// Gives another map the place of the pinned one.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub(super) fn take_place(&self) -> Result<()> {
        let renamed = self.new.as_ref().map(|new| fs::rename(new, &self.pinned));
        renamed.transpose().with_context(|| self.changing())?;
        Ok(())
    }

    fn changing(&self) -> String {
        format!("change the size of {}", self.pinned.display())
    }

    /// Leaves the pinned map in its place. What cannot be removed of the other one is removed before the next
    /// attempt.
    pub(super) fn abandon(&self) {
        if let Some(new) = &self.new {
            let _removed = fs::remove_file(new);
        }
    }
}

/// Pins a table again, if another one has taken its place.
///
/// # Errors
///
/// The kernel refuses.
pub(super) fn put_back(table: &MapData, pinned: &Path) -> Result<()> {
    let put_back = || -> Result<()> {
        if MapInfo::from_pin(pinned)?.id() != table.info()?.id() {
            fs::remove_file(pinned)?;
            table.pin(pinned)?;
        }
        Ok(())
    };
    put_back().with_context(|| format!("put {} back", pinned.display()))
}

fn copy(from: &Path, to: &Path, rows: u32) -> Result<()> {
    let size = MapInfo::from_pin(from)?.max_entries();
    let from = Map::LruHashMap(MapData::from_pin(from)?);
    let mut to = Map::LruHashMap(MapData::from_pin(to)?);
    let from = HashMap::<_, FlowKey, Flow>::try_from(&from)?;
    let mut to = HashMap::<_, FlowKey, Flow>::try_from(&mut to)?;
    // The datapath goes on changing it: see `moving_rows`.
    for row in from.iter().take(2 * size as usize).take(rows as usize) {
        let (key, flow) = row?;
        to.insert(key, flow, 0)?;
    }
    Ok(())
}
