//! The datapath of an instance: its maps, its programs and where they run, all of it pinned, so that
//! it works without any process of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use aya::programs::ProgramInfo;
use maps_schema::map::{
    FdbKey, Flow, FlowKey, LearnedEntry, MapName, NeighborKey, PortCounters, Resolved,
};
use maps_schema::record::PeerState;
use maps_schema::{IfIndex, PortId, RuleId};

pub use super::attach::Mode;
use super::attach::{self, Attacher};
use super::bpffs::{self, Pins};
use super::capability::check_kernel;
pub use super::maps::Rows;
use super::maps::{self, Maps};
use super::object::Object;
use super::programs::Programs;
use crate::holdings::{Attachment, XdpState};
use crate::instance::Instance;
use crate::program::{Program, Settings, XdpMode};

/// The pinned datapath of an instance, opened.
#[derive(Debug)]
pub struct Datapath {
    instance: Instance,
    pins: Pins,
    maps: Maps,
    programs: Programs,
    attacher: Attacher,
}

impl Datapath {
    /// The datapath that is in the kernel, or `None` if there is none or only a part of one, which
    /// [`Datapath::load`] completes. Of programs of several objects (a change was interrupted) it is
    /// those that were loaded last.
    ///
    /// # Errors
    ///
    /// What is pinned cannot be opened.
    pub fn open(instance: &Instance) -> Result<Option<Self>> {
        Self::open_with(instance, Mode::of(check_kernel()?), None)
    }

    /// The datapath of an object with these settings: what is in the kernel already is
    /// used, above all the rows of the maps; what is missing is loaded and pinned. Interfaces keep
    /// the programs that they have until [`Datapath::attach`] gives them these.
    ///
    /// # Errors
    ///
    /// There is no lasting BPF file system ([`bpffs::prepare`]), rights are missing, or the verifier
    /// refuses a program, in which case the end of its log is shown.
    pub fn load(instance: &Instance, object: &Object, settings: &Settings) -> Result<Self> {
        Self::load_in_mode(instance, object, settings, Mode::of(check_kernel()?))
    }

    /// The same with the way of attaching given: [`Mode::Clsact`] works on every kernel.
    ///
    /// # Errors
    ///
    /// As for [`Datapath::load`].
    pub fn load_in_mode(
        instance: &Instance,
        object: &Object,
        settings: &Settings,
        mode: Mode,
    ) -> Result<Self> {
        bpffs::prepare(instance)?;
        let fingerprint = object.fingerprint(settings);
        if let Some(datapath) = Self::open_with(instance, mode, Some(&fingerprint))? {
            return Ok(datapath);
        }
        Programs::load(&Pins::new(instance), object, settings)?;
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
        let Some(programs) = Programs::open(&pins, fingerprint)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            instance: instance.clone(),
            maps: Maps::open(&maps_dir)?,
            attacher: Attacher::new(instance, mode)?,
            pins,
            programs,
        }))
    }

    /// Pins the tables of connections that these programs work on, where others are pinned: since it was
    /// opened, somebody has loaded programs with tables of another size.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn pin_tables(&self) -> Result<()> {
        self.maps.pin_tables(&self.pins.maps())
    }

    /// Gives the tables of connections that these programs work on, if they have another size than those that
    /// they took the place of, what was noted in the others since a time (see [`clock`](super::clock)): while
    /// the rows were copied, and until the programs were exchanged.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn catch_up(&mut self, former: &Self, since_ns: u64) -> Result<()> {
        self.maps
            .catch_up(&former.maps, since_ns)
            .context("bring the tables of connections up to date")
    }

    /// What the programs were made from: see [`Object::fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        self.programs.fingerprint()
    }

    /// How its TC programs are attached.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.attacher.mode()
    }

    /// What the kernel says about a program.
    ///
    /// # Errors
    ///
    /// The kernel does not say it.
    pub fn program_info(&self, program: Program) -> Result<ProgramInfo> {
        let info = self.programs.get(program).info();
        info.with_context(|| format!("ask about {}", program.symbol()))
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

    /// How often each rule decided, summed over all CPUs.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn rule_hits(&self) -> Result<BTreeMap<RuleId, u64>> {
        self.maps.rule_hits()
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

    /// What was heard from peers, by the ports that lead to them.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn peer_states(&self) -> Result<BTreeMap<PortId, PeerState>> {
        self.maps.peer_states()
    }

    /// Forgets what was heard from a peer; one that was not heard from is no error.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn forget_peer(&mut self, peer: PortId) -> Result<()> {
        self.maps.forget_peer(peer)
    }

    /// The rows of all connections, one for each direction, as far as they hold still while they are
    /// read. Some may be over.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn flows(&self) -> Result<BTreeMap<FlowKey, Flow>> {
        self.maps.flows()
    }

    /// How many rows there are of established connections, and of those that are not established, and how
    /// many there may be.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn count_flows(&self) -> Result<[(usize, u32); 2]> {
        self.maps.count_flows()
    }

    /// Forgets one direction of a connection; one that is not known is no error.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn forget_flow(&mut self, key: &FlowKey) -> Result<()> {
        self.maps.forget_flow(key)
    }

    /// The neighbors that the datapath asked for, as far as they hold still while they are read.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn resolved(&self) -> Result<BTreeMap<NeighborKey, Resolved>> {
        self.maps.resolved()
    }

    /// Where a program of ours, of whatever age, runs at the ingress of these interfaces of the calling
    /// thread's network namespace, as the kernel says. Interfaces at which it does not run are not in
    /// the answer.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn attached(
        &self,
        program: Program,
        interfaces: &BTreeMap<IfIndex, String>,
    ) -> Result<BTreeMap<IfIndex, Attachment>> {
        self.attacher.attached(program, interfaces)
    }

    /// Makes this program the one that runs at the ingress of an interface: where an older one runs
    /// it is replaced in one step, and every frame meets the one or the other; duplicates are
    /// removed. Programs of others stay. Doing it again changes nothing.
    ///
    /// # Errors
    ///
    /// There is no such interface in the calling thread's network namespace, or the kernel refuses.
    pub fn attach(&mut self, program: Program, ifindex: IfIndex, interface: &str) -> Result<()> {
        let classifier = self.programs.get_mut(program);
        self.attacher
            .attach(program, classifier, ifindex, interface)
    }

    /// Removes a program of ours, of whatever age, from the ingress of an interface, which is as it
    /// was before. Nothing there, or an interface that is gone, is no error.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn detach(&self, program: Program, ifindex: IfIndex, interface: &str) -> Result<()> {
        self.attacher.detach(program, ifindex, interface)
    }

    /// Makes the XDP program the one of an interface, in this mode, as [`Datapath::attach`] does with
    /// TC programs.
    ///
    /// # Errors
    ///
    /// There is a program of somebody else, which stays; or the driver or the kernel refuses.
    pub fn attach_xdp(&mut self, ifindex: IfIndex, interface: &str, mode: XdpMode) -> Result<()> {
        let xdp = self.programs.xdp_mut();
        self.attacher.attach_xdp(xdp, ifindex, interface, mode)
    }

    /// Notes that the driver of an interface does not run the XDP program, until it is detached.
    ///
    /// # Errors
    ///
    /// The note cannot be made.
    pub fn note_xdp_refusal(&self, ifindex: IfIndex, interface: &str) -> Result<()> {
        self.attacher.note_refusal(ifindex, interface)
    }

    /// Removes the XDP program, of whatever age, from an interface. Nothing there, or an interface that
    /// is gone, is no error; a program of somebody else stays.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn detach_xdp(&self, ifindex: IfIndex, interface: &str) -> Result<()> {
        self.attacher.detach_xdp(ifindex, interface)
    }

    /// Removes the pins of programs other than these, of links at interfaces other than
    /// `interfaces`, and everything of other versions of the map contract. It comes last in a change:
    /// an older program goes on running where it is still attached, but nobody knows any more what
    /// it was made from.
    ///
    /// # Errors
    ///
    /// A pin cannot be removed; the others are.
    pub fn prune(&self, interfaces: &BTreeSet<String>) -> Result<(), Vec<anyhow::Error>> {
        let mut errors = Vec::new();
        let is_own = |name: &str| self.programs.is_pin(name);
        prune_dir(&self.pins.programs(), is_own, &mut errors);
        prune_attachments(&self.pins, interfaces, &mut errors);
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
/// programs stop running where TCX links kept them. Filters of a `clsact` go with their interface, or
/// by [`detach_everywhere`].
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
    prune_attachments(&pins, interfaces, &mut errors);
    bpffs::remove_tree(&pins.programs(), &mut errors);
    bpffs::remove_tree(&pins.maps(), &mut errors);
    for dir in [
        pins.links(),
        pins.qdiscs(),
        pins.refusals(),
        instance.pin_dir(),
        instance.bpffs_dir(),
    ] {
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

/// Removes a program of an instance from all of these interfaces of the calling thread's network
/// namespace, whether or not the rest of the datapath can be opened.
///
/// # Errors
///
/// All that went wrong: it goes on after an error.
pub fn detach_everywhere(
    instance: &Instance,
    program: Program,
    interfaces: &BTreeMap<IfIndex, String>,
) -> Result<(), Vec<anyhow::Error>> {
    let detach = || -> Result<Vec<anyhow::Error>> {
        let attacher = Attacher::new(instance, Mode::of(check_kernel()?))?;
        let attached = attacher.attached(program, interfaces)?;
        let held = interfaces
            .iter()
            .filter(|(ifindex, _)| attached.contains_key(*ifindex));
        let results = held.map(|(&ifindex, name)| attacher.detach(program, ifindex, name));
        Ok(results.filter_map(Result::err).collect())
    };
    let errors = detach().unwrap_or_else(|error| vec![error]);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// What XDP is at these interfaces of the calling thread's network namespace, of anybody and whether or
/// not there is a datapath: one of them with none is not in the answer.
///
/// # Errors
///
/// The kernel refuses.
pub fn xdp(
    instance: &Instance,
    interfaces: &BTreeMap<IfIndex, String>,
) -> Result<BTreeMap<IfIndex, XdpState>> {
    Attacher::new(instance, Mode::of(check_kernel()?))?.xdp(interfaces)
}

/// Removes the XDP program of an instance from all of these interfaces, as [`detach_everywhere`] does
/// with a TC program.
///
/// # Errors
///
/// All that went wrong: it goes on after an error.
pub fn detach_xdp_everywhere(
    instance: &Instance,
    interfaces: &BTreeMap<IfIndex, String>,
) -> Result<(), Vec<anyhow::Error>> {
    let detach = || -> Result<Vec<anyhow::Error>> {
        let attacher = Attacher::new(instance, Mode::of(check_kernel()?))?;
        let states = attacher.xdp(interfaces)?;
        let held = interfaces
            .iter()
            .filter(|(ifindex, _)| matches!(states.get(ifindex), Some(XdpState::Ours { .. })));
        let results = held.map(|(&ifindex, name)| attacher.detach_xdp(ifindex, name));
        Ok(results.filter_map(Result::err).collect())
    };
    let errors = detach().unwrap_or_else(|error| vec![error]);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// Removes the notes of attachments to interfaces other than these.
fn prune_attachments(pins: &Pins, keep: &BTreeSet<String>, errors: &mut Vec<anyhow::Error>) {
    let is_kept = |pin: &str| attach::interface_of_pin(pin).is_some_and(|it| keep.contains(&it));
    prune_dir(&pins.links(), is_kept, errors);
    prune_dir(&pins.qdiscs(), is_kept, errors);
    prune_dir(&pins.refusals(), is_kept, errors);
}

fn prune_dir(dir: &Path, keep: impl Fn(&str) -> bool, errors: &mut Vec<anyhow::Error>) {
    let paths = bpffs::entries(dir).unwrap_or_else(|error| {
        errors.push(anyhow!(error).context(format!("read {}", dir.display())));
        Vec::new()
    });
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(&keep) {
            continue;
        }
        if path.is_dir() {
            bpffs::remove_tree(&path, errors);
        } else {
            bpffs::note(fs::remove_file(&path), &path, errors);
        }
    }
}
