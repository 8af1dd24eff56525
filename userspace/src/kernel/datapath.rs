//! The datapath of an instance: its maps, its program and where the program runs, all of it pinned,
//! so that it works without any process of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use aya::maps::MapInfo;
use aya::programs::{ProgramError, ProgramInfo, SchedClassifier};
use aya::{EbpfError, EbpfLoader};
use maps_schema::map::{
    DROP_EVENTS, FdbKey, LearnedEntry, MapName, NeighborKey, PortCounters, Resolved,
};
use maps_schema::{IfIndex, PortId};

pub use super::attach::Mode;
use super::attach::{Attacher, PROGRAM};
use super::bpffs::{self, Pins};
use super::capability::check_kernel;
pub use super::maps::Rows;
use super::maps::{self, Maps};
use super::object::Object;
use crate::holdings::Attachment;
use crate::instance::Instance;

/// How often a program is offered to a verifier that was interrupted.
const VERIFIER_ATTEMPTS: usize = 10;
/// How much of the verifier's log is shown: the reason is at its end.
const VERIFIER_LINES: usize = 25;

/// The pinned datapath of an instance, opened.
#[derive(Debug)]
pub struct Datapath {
    instance: Instance,
    pins: Pins,
    maps: Maps,
    program: SchedClassifier,
    fingerprint: String,
    attacher: Attacher,
}

impl Datapath {
    /// The datapath that is in the kernel, or `None` if there is none or only a part of one, which
    /// [`Datapath::load`] completes. Of several programs (a change was interrupted) it is the one
    /// that was loaded last.
    ///
    /// # Errors
    ///
    /// What is pinned cannot be opened.
    pub fn open(instance: &Instance) -> Result<Option<Self>> {
        Self::open_with(instance, Mode::of(check_kernel()?), None)
    }

    /// The datapath of an object with a setting of its globals: what is in the kernel already is
    /// used, above all the rows of the maps; what is missing is loaded and pinned. Interfaces keep
    /// the program that they have until [`Datapath::attach`] gives them this one.
    ///
    /// # Errors
    ///
    /// There is no lasting BPF file system ([`bpffs::prepare`]), rights are missing, or the verifier
    /// refuses the program, in which case the end of its log is shown.
    pub fn load(instance: &Instance, object: &Object, drop_events: bool) -> Result<Self> {
        Self::load_in_mode(instance, object, drop_events, Mode::of(check_kernel()?))
    }

    /// The same with the way of attaching given: [`Mode::Clsact`] works on every kernel.
    ///
    /// # Errors
    ///
    /// As for [`Datapath::load`].
    pub fn load_in_mode(
        instance: &Instance,
        object: &Object,
        drop_events: bool,
        mode: Mode,
    ) -> Result<Self> {
        bpffs::prepare(instance)?;
        let fingerprint = object.fingerprint(drop_events);
        if let Some(datapath) = Self::open_with(instance, mode, Some(&fingerprint))? {
            return Ok(datapath);
        }
        load_and_pin(&Pins::new(instance), object, drop_events, &fingerprint)?;
        Self::open_with(instance, mode, Some(&fingerprint))?
            .ok_or_else(|| anyhow!("the datapath's object lacks a map of the map contract"))
    }

    fn open_with(
        instance: &Instance,
        mode: Mode,
        fingerprint: Option<&str>,
    ) -> Result<Option<Self>> {
        let pins = Pins::new(instance);
        let maps_dir = pins.maps();
        if !maps::symbols().all(|symbol| maps_dir.join(symbol).exists()) {
            return Ok(None);
        }
        let programs = pinned_programs(&pins.programs())?;
        let wanted = programs.iter().rev().find(|(info, found)| {
            fingerprint.is_none_or(|wanted| wanted == *found) && uses_maps_of(info, &maps_dir)
        });
        let Some((_, found)) = wanted else {
            return Ok(None);
        };
        let path = pins.programs().join(program_pin(found));
        let program = SchedClassifier::from_pin(&path)
            .with_context(|| format!("open the pinned program {}", path.display()))?;
        let fingerprint = found.clone();
        let by_id = programs
            .into_iter()
            .map(|(info, fingerprint)| (info.id(), fingerprint))
            .collect();
        Ok(Some(Self {
            instance: instance.clone(),
            maps: Maps::open(&maps_dir)?,
            attacher: Attacher::new(mode, pins.links(), by_id),
            pins,
            program,
            fingerprint,
        }))
    }

    /// What the program was made from: see [`Object::fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What the kernel says about the program.
    ///
    /// # Errors
    ///
    /// The kernel does not say it.
    pub fn program_info(&self) -> Result<ProgramInfo> {
        self.program.info().context("ask about the program")
    }

    /// Every row of every planned map, as [`Datapath::rows`] gives them.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn tables(&self) -> Result<BTreeMap<MapName, Rows>> {
        MapName::ALL
            .iter()
            .map(|&map| Ok((map, self.rows(map)?)))
            .collect()
    }

    /// Every row of a map, as bytes. Those of `COUNTERS` have empty values, because a row there
    /// should exist and nothing more can be planned about it.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn rows(&self, map: MapName) -> Result<Rows> {
        self.maps.rows(map)
    }

    /// Writes a row. In `COUNTERS` the value does not matter: the row is made with zeroes on all
    /// CPUs, and one that exists goes on counting.
    ///
    /// # Errors
    ///
    /// Key or value have another width than the map's, the map is full, or the kernel refuses.
    pub fn write(&mut self, map: MapName, key: &[u8], value: &[u8]) -> Result<()> {
        self.maps.write(map, key, value)
    }

    /// Removes a row; one that is not there is no error.
    ///
    /// # Errors
    ///
    /// The key has another width than the map's, or the kernel refuses.
    pub fn remove(&mut self, map: MapName, key: &[u8]) -> Result<()> {
        self.maps.remove(map, key)
    }

    /// What was counted, by port.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn counters(&self) -> Result<BTreeMap<PortId, PortCounters>> {
        self.maps.counters()
    }

    /// The learned MAC addresses, as far as they hold still while they are read.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn learned(&self) -> Result<BTreeMap<FdbKey, LearnedEntry>> {
        self.maps.learned()
    }

    /// Forgets a learned MAC address; one that is not known is no error.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn forget(&mut self, station: &FdbKey) -> Result<()> {
        self.maps.forget(station)
    }

    /// The neighbors that the datapath asked for, as far as they hold still while they are read.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn resolved(&self) -> Result<BTreeMap<NeighborKey, Resolved>> {
        self.maps.resolved()
    }

    /// What of ours runs at the ingress of these interfaces of the calling thread's network
    /// namespace, as the kernel says. Interfaces with nothing of ours are not in the answer.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn attached(
        &self,
        interfaces: &BTreeMap<IfIndex, String>,
    ) -> Result<BTreeMap<IfIndex, Attachment>> {
        self.attacher.attached(interfaces)
    }

    /// Makes this program the one that runs at the ingress of an interface: where an older one runs
    /// it is replaced in one step, and every frame meets the one or the other; duplicates are
    /// removed. Doing it again changes nothing.
    ///
    /// # Errors
    ///
    /// There is no such interface in the calling thread's network namespace, or the kernel refuses.
    pub fn attach(&mut self, ifindex: IfIndex, interface: &str) -> Result<()> {
        self.attacher.attach(&mut self.program, ifindex, interface)
    }

    /// Removes everything of ours from the ingress of an interface. Nothing there, or an interface
    /// that is gone, is no error.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn detach(&self, ifindex: IfIndex, interface: &str) -> Result<()> {
        self.attacher.detach(ifindex, interface)
    }

    /// Removes the pins of programs other than this one, of links at interfaces other than
    /// `interfaces`, and everything of other versions of the map contract. It comes last in a change:
    /// an older program goes on running where it is still attached, but nobody knows any more what
    /// it was made from.
    ///
    /// # Errors
    ///
    /// A pin cannot be removed; the others are.
    pub fn prune(&self, interfaces: &BTreeSet<String>) -> Result<(), Vec<anyhow::Error>> {
        let own = program_pin(&self.fingerprint);
        let mut errors = Vec::new();
        prune_dir(&self.pins.programs(), |name| name == own, &mut errors);
        prune_dir(
            &self.pins.links(),
            |name| interfaces.contains(name),
            &mut errors,
        );
        let versions = bpffs::versions(&self.instance).unwrap_or_default();
        let current = self.instance.pin_dir();
        for version in versions.iter().filter(|&version| *version != current) {
            bpffs::remove_tree(version, &mut errors);
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }
}

/// Removes everything that an instance has pinned, of every version of the map contract: its
/// programs stop running where TCX links kept them (filters of a `clsact` go with their interface).
///
/// # Errors
///
/// All that went wrong: it goes on after an error. What is not there is no error.
pub fn remove_all(instance: &Instance) -> Result<(), Vec<anyhow::Error>> {
    let mut errors = Vec::new();
    match bpffs::versions(instance) {
        Err(error) => errors.push(anyhow!(error).context("look at what is pinned")),
        Ok(versions) => {
            for version in versions {
                // Links first: no frame meets a program whose pins are half gone.
                bpffs::remove_tree(&version.join("links"), &mut errors);
                bpffs::remove_tree(&version, &mut errors);
            }
        }
    }
    bpffs::remove_tree(&instance.bpffs_dir(), &mut errors);
    bpffs::remove_root_if_empty();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// Removes what was pinned by a change that failed and before which there was no datapath:
/// everything of this version of the map contract but the links at `interfaces`, at which programs
/// ran before and go on running. Other versions are left alone, and may be what these links are of.
///
/// # Errors
///
/// All that went wrong: it goes on after an error. What is not there is no error.
pub fn abandon(
    instance: &Instance,
    interfaces: &BTreeSet<String>,
) -> Result<(), Vec<anyhow::Error>> {
    let mut errors = Vec::new();
    let pins = Pins::new(instance);
    prune_dir(&pins.links(), |name| interfaces.contains(name), &mut errors);
    bpffs::remove_tree(&pins.programs(), &mut errors);
    bpffs::remove_tree(&pins.maps(), &mut errors);
    for dir in [pins.links(), instance.pin_dir(), instance.bpffs_dir()] {
        // A folder with something in it stays.
        let _ = fs::remove_dir(dir);
    }
    bpffs::remove_root_if_empty();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

fn prune_dir(dir: &Path, keep: impl Fn(&str) -> bool, errors: &mut Vec<anyhow::Error>) {
    let paths = bpffs::entries(dir).unwrap_or_else(|error| {
        errors.push(anyhow!(error).context(format!("read {}", dir.display())));
        Vec::new()
    });
    for path in paths {
        if !file_name(&path).is_some_and(&keep) {
            bpffs::note(fs::remove_file(&path), &path, errors);
        }
    }
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

fn program_pin(fingerprint: &str) -> String {
    format!("{PROGRAM}-{fingerprint}")
}

/// The pinned programs with their fingerprints, the one that was loaded last at the end.
fn pinned_programs(dir: &Path) -> Result<Vec<(ProgramInfo, String)>> {
    let mut programs = Vec::new();
    let paths = bpffs::entries(dir).with_context(|| format!("read {}", dir.display()))?;
    for path in paths {
        let Some(fingerprint) = fingerprint_of(&path) else {
            continue;
        };
        let info = ProgramInfo::from_pin(&path)
            .with_context(|| format!("open the pinned program {}", path.display()))?;
        programs.push((info, fingerprint));
    }
    programs.sort_by_key(|(info, _)| info.id());
    Ok(programs)
}

fn fingerprint_of(path: &Path) -> Option<String> {
    let name = file_name(path)?;
    let fingerprint = name.strip_prefix(PROGRAM)?.strip_prefix('-')?;
    Some(fingerprint.to_owned())
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

fn load_and_pin(pins: &Pins, object: &Object, drop_events: bool, fingerprint: &str) -> Result<()> {
    let maps_dir = pins.maps();
    let drop_events = u32::from(drop_events);
    let mut loader = EbpfLoader::new();
    // The programs ask for no type of the kernel's, so the many thousands that there are need not be
    // read.
    loader.btf(None);
    loader.override_global(DROP_EVENTS, &drop_events, true);
    for symbol in maps::symbols() {
        loader.map_pin_path(symbol, maps_dir.join(symbol));
    }
    let mut loaded = loader.load(object.bytes()).map_err(explain_load)?;
    let program: &mut SchedClassifier = loaded
        .program_mut(PROGRAM)
        .with_context(|| format!("the datapath's object has no program {PROGRAM}"))?
        .try_into()
        .with_context(|| format!("{PROGRAM} is not a TC program"))?;
    verify(program)?;
    let path = pins.programs().join(program_pin(fingerprint));
    replace_pin(program, &path)
}

/// Loads the program. The verifier gives up with `EAGAIN` when a signal is pending, which says nothing
/// about the program (`bpf_check` in kernel/bpf/verifier.c).
fn verify(program: &mut SchedClassifier) -> Result<()> {
    for _ in 0..VERIFIER_ATTEMPTS {
        match program.load() {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result.map_err(explain_program),
        }
    }
    program.load().map_err(explain_program)
}

/// Pins the program; a pin of the same name belongs to a program that does not work on our maps.
fn replace_pin(program: &mut SchedClassifier, path: &PathBuf) -> Result<()> {
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

fn explain_program(error: ProgramError) -> anyhow::Error {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            let log = verifier_log.to_string();
            anyhow!(io_error).context(format!(
                "the kernel's verifier refuses {PROGRAM}; this is a fault of bowline, please report \
                 it with `uname -r` and these last lines of the verifier's log:\n{}",
                last_lines(&log, VERIFIER_LINES)
            ))
        }
        other => anyhow!(other).context(format!("load {PROGRAM} into the kernel")),
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
    fn a_program_pin_tells_what_it_was_made_from() {
        let pin = program_pin("0123456789ab");
        assert_eq!(
            fingerprint_of(Path::new(&pin)).as_deref(),
            Some("0123456789ab")
        );
        assert_eq!(fingerprint_of(Path::new("/x/other-0123456789ab")), None);
    }
}
