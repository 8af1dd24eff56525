//! The programs of the datapath: loaded together, pinned side by side under the fingerprint of the
//! object that they are from, and found again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use aya::maps::MapInfo;
use aya::programs::{Program as LoadedProgram, ProgramError, ProgramInfo, SchedClassifier, Xdp};
use aya::{EbpfError, EbpfLoader};
use aya_obj::programs::XdpAttachType;
use maps_schema::map::DROP_EVENTS;
use maps_schema::plain::bytes_of;
use maps_schema::timeout::TIMEOUTS;

use super::bpffs::{self, Pins};
use super::maps;
use super::object::Object;
use super::resize::{self, Table};
use crate::program::{self, Program, Settings, UPLINK_XDP};

/// How often a program is offered to a verifier that was interrupted.
const VERIFIER_ATTEMPTS: usize = 10;
/// How much of the verifier's log is shown: the reason is at its end.
const VERIFIER_LINES: usize = 25;

/// The programs of one object, as they are pinned.
#[derive(Debug)]
pub(super) struct Programs {
    fingerprint: String,
    port_ingress: SchedClassifier,
    uplink_ingress: SchedClassifier,
    uplink_xdp: Xdp,
}

impl Programs {
    /// The pinned programs that were loaded last, all of which are there and work on the pinned maps;
    /// those of `fingerprint`, if it is given.
    pub(super) fn open(pins: &Pins, fingerprint: Option<&str>) -> Result<Option<Self>> {
        let mut sets: BTreeMap<String, BTreeMap<&str, ProgramInfo>> = BTreeMap::new();
        for pinned in pinned(&pins.programs())? {
            let set = sets.entry(pinned.fingerprint).or_default();
            set.insert(pinned.symbol, pinned.info);
        }
        let maps_dir = pins.maps();
        let usable = sets.into_iter().filter(|(found, set)| {
            fingerprint.is_none_or(|wanted| wanted == found)
                && set.len() == program::symbols().count()
                && set.values().all(|info| uses_maps_of(info, &maps_dir))
        });
        let newest = usable.max_by_key(|(_, set)| set.values().map(ProgramInfo::id).max());
        let Some((fingerprint, _)) = newest else {
            return Ok(None);
        };
        let path = |symbol| pins.programs().join(pin_name(symbol, &fingerprint));
        let opening = |symbol| format!("open the pinned program {}", path(symbol).display());
        let open = |program: Program| {
            let symbol = program.symbol();
            SchedClassifier::from_pin(path(symbol)).with_context(|| opening(symbol))
        };
        Ok(Some(Self {
            port_ingress: open(Program::PortIngress)?,
            uplink_ingress: open(Program::UplinkIngress)?,
            uplink_xdp: Xdp::from_pin(path(UPLINK_XDP), XdpAttachType::Interface)
                .with_context(|| opening(UPLINK_XDP))?,
            fingerprint,
        }))
    }

    /// Loads the programs of an object, on the maps that are pinned already and new ones for the
    /// rest, and pins all of them. A table of connections that has another size than it should have is
    /// replaced by one with the same rows.
    pub(super) fn load(pins: &Pins, object: &Object, settings: &Settings) -> Result<()> {
        let tables = resize::tables(&pins.maps(), &settings.room)?;
        let loaded = Self::load_on(pins, object, settings, &tables);
        let done = loaded
            .and_then(|()| tables.iter().try_for_each(Table::fill))
            .and_then(|()| tables.iter().try_for_each(Table::take_place));
        if done.is_err() {
            tables.iter().for_each(Table::abandon);
        }
        done
    }

    fn load_on(pins: &Pins, object: &Object, settings: &Settings, tables: &[Table]) -> Result<()> {
        let maps_dir = pins.maps();
        let fingerprint = object.fingerprint(settings);
        let drop_events = u32::from(settings.drop_events);
        let mut loader = EbpfLoader::new();
        // The programs ask for no type of the kernel's, so the many thousands that there are need not be
        // read.
        loader.btf(None);
        loader.override_global(DROP_EVENTS, &drop_events, true);
        loader.override_global(TIMEOUTS, bytes_of(&settings.timeouts), true);
        for symbol in maps::symbols() {
            loader.map_pin_path(symbol, maps_dir.join(symbol));
        }
        for table in tables {
            loader.map_pin_path(table.symbol(), table.pin());
            loader.map_max_entries(table.symbol(), table.rows());
        }
        let mut loaded = loader.load(object.bytes()).map_err(explain_load)?;
        for symbol in program::symbols() {
            let program = loaded
                .program_mut(symbol)
                .with_context(|| format!("the datapath's object has no program {symbol}"))?;
            verify(symbol, program)?;
            let path = pins.programs().join(pin_name(symbol, &fingerprint));
            replace_pin(program, &path)?;
        }
        Ok(())
    }

    /// What they were made from: see [`Object::fingerprint`].
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(super) fn get(&self, program: Program) -> &SchedClassifier {
        match program {
            Program::PortIngress => &self.port_ingress,
            Program::UplinkIngress => &self.uplink_ingress,
        }
    }

    pub(super) fn get_mut(&mut self, program: Program) -> &mut SchedClassifier {
        match program {
            Program::PortIngress => &mut self.port_ingress,
            Program::UplinkIngress => &mut self.uplink_ingress,
        }
    }

    pub(super) fn xdp_mut(&mut self) -> &mut Xdp {
        &mut self.uplink_xdp
    }

    /// Whether a pin of this name is one of these programs.
    pub(super) fn is_pin(&self, name: &str) -> bool {
        name.split_once('-')
            .is_some_and(|(_, fingerprint)| fingerprint == self.fingerprint)
    }
}

/// A pinned program.
struct Pinned {
    symbol: &'static str,
    fingerprint: String,
    info: ProgramInfo,
}

fn pin_name(symbol: &str, fingerprint: &str) -> String {
    format!("{symbol}-{fingerprint}")
}

/// What the name of a pin says.
fn of_pin(path: &Path) -> Option<(&'static str, String)> {
    let name = path.file_name()?.to_str()?;
    let (found, fingerprint) = name.split_once('-')?;
    let symbol = program::symbols().find(|&symbol| symbol == found)?;
    Some((symbol, fingerprint.to_owned()))
}

fn pinned(dir: &Path) -> Result<Vec<Pinned>> {
    let paths = bpffs::entries(dir).with_context(|| format!("read {}", dir.display()))?;
    let named = paths
        .iter()
        .filter_map(|path| of_pin(path).map(|(symbol, fingerprint)| (path, symbol, fingerprint)));
    named
        .map(|(path, symbol, fingerprint)| {
            let info = ProgramInfo::from_pin(path)
                .with_context(|| format!("open the pinned program {}", path.display()))?;
            Ok(Pinned {
                symbol,
                fingerprint,
                info,
            })
        })
        .collect()
}

/// The fingerprints of all pinned programs, by the id that the kernel gave them.
pub(super) fn fingerprints(pins: &Pins) -> Result<BTreeMap<u32, String>> {
    let pinned = pinned(&pins.programs())?;
    Ok(pinned
        .into_iter()
        .map(|pinned| (pinned.info.id(), pinned.fingerprint))
        .collect())
}

/// The ids of the programs that these folders hold the pins of. Whoever they belong to may remove
/// them at the same time.
pub(super) fn ids(dirs: &[PathBuf]) -> BTreeSet<u32> {
    let paths = dirs
        .iter()
        .flat_map(|dir| bpffs::entries(dir).unwrap_or_default());
    paths
        .filter_map(|path| ProgramInfo::from_pin(path).ok())
        .map(|info| info.id())
        .collect()
}

/// Whether a program works on the pinned maps and not on others of the same names: somebody may have
/// removed some pins and not others.
fn uses_maps_of(program: &ProgramInfo, dir: &Path) -> bool {
    let Ok(Some(ids)) = program.map_ids() else {
        return false;
    };
    let used: BTreeSet<u32> = ids.into_iter().collect();
    maps::symbols().all(|symbol| {
        let pinned = MapInfo::from_pin(dir.join(symbol));
        pinned.is_ok_and(|pinned| {
            used.contains(&pinned.id()) || !used.iter().any(|&id| has_name(id, symbol))
        })
    })
}

fn has_name(map: u32, symbol: &str) -> bool {
    MapInfo::from_id(map).is_ok_and(|info| info.name() == symbol.as_bytes())
}

/// Loads a program. The verifier gives up with `EAGAIN` when a signal is pending, which says nothing
/// about the program (`bpf_check` in kernel/bpf/verifier.c).
fn verify(symbol: &str, program: &mut LoadedProgram) -> Result<()> {
    let explain = |error| explain_program(symbol, error);
    for _ in 0..VERIFIER_ATTEMPTS {
        match load(program) {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result.map_err(explain),
        }
    }
    load(program).map_err(explain)
}

fn load(program: &mut LoadedProgram) -> Result<(), ProgramError> {
    match program {
        LoadedProgram::SchedClassifier(classifier) => classifier.load(),
        LoadedProgram::Xdp(xdp) => xdp.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Pins a program; a pin of the same name belongs to a program that does not work on our maps.
fn replace_pin(program: &mut LoadedProgram, path: &PathBuf) -> Result<()> {
    ensure!(
        !path.exists() || fs::remove_file(path).is_ok(),
        "cannot remove {}",
        path.display()
    );
    program
        .pin(path)
        .with_context(|| format!("pin the program at {}", path.display()))
}

fn explain_load(error: EbpfError) -> anyhow::Error {
    anyhow!(error).context("load the datapath's object into the kernel")
}

fn explain_program(symbol: &str, error: ProgramError) -> anyhow::Error {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            let log = verifier_log.to_string();
            anyhow!(io_error).context(format!(
                "the kernel's verifier refuses {symbol}; this is a fault of bowline, please report \
                 it with `uname -r` and these last lines of the verifier's log:\n{}",
                last_lines(&log, VERIFIER_LINES)
            ))
        }
        other => anyhow!(other).context(format!("load {symbol} into the kernel")),
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let skipped = lines.len().saturating_sub(count);
    lines
        .get(skipped..)
        .unwrap_or_default()
        .iter()
        .map(|line| format!("    {line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_shown() {
        assert_eq!(last_lines("one\n\ntwo\nthree\n", 2), "    two\n    three\n");
        assert_eq!(last_lines("one", 2), "    one\n");
        assert_eq!(last_lines("", 2), "");
    }

    #[test]
    fn a_pin_tells_which_program_it_is_and_what_it_was_made_from() {
        for symbol in program::symbols() {
            let pin = pin_name(symbol, "0123456789ab");
            let found = of_pin(&Path::new("/x").join(pin));
            assert_eq!(found, Some((symbol, "0123456789ab".to_owned())));
        }
        assert_eq!(of_pin(Path::new("/x/other-0123456789ab")), None);
    }
}
