//! Where TC programs run: at the ingress of the host's ends of links, and of the uplink.
//!
//! What is attached is found by asking the kernel about the interface, and not by looking at pins
//! alone: after a BPF file system was mounted over ours the pins are gone and the links still work,
//! and a second program attached beside the first would handle every frame twice.
//!
//! Programs, filters and qdiscs of others at the same interface are left alone, those of other
//! instances among them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact,
};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType, loaded_programs};
use maps_schema::IfIndex;
use rustix::io::Errno;

use super::bpf::{self, Attached};
use super::bpffs::{self, Pins};
use super::capability::KernelVersion;
use super::clsact::{self, Filter};
use super::programs;

use crate::fnv::fnv1a_64;
use crate::holdings::Attachment;
use crate::instance::Instance;
use crate::program::Program;

/// Priority of our filters in a `clsact`: before those to which the kernel gives one, from 49152 on.
const FILTER_PRIORITY: u16 = 98;

/// How programs are attached to interfaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// By links of their own, since Linux 6.6.
    Tcx,
    /// As filters of a `clsact` qdisc, on every kernel.
    Clsact,
}

impl Mode {
    /// The best mode of a kernel.
    #[must_use]
    pub fn of(kernel: KernelVersion) -> Self {
        if kernel.has_tcx() {
            Self::Tcx
        } else {
            Self::Clsact
        }
    }

    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

/// Attaches the TC programs of one instance.
#[derive(Debug)]
pub(super) struct Attacher {
    mode: Mode,
    pub(super) pins: Pins,
    /// The fingerprints of the pinned programs, by the id that the kernel gave them.
    pub(super) fingerprints: BTreeMap<u32, String>,
    instance: Instance,
    /// The handle of our filter in a `clsact`: always the same, so that it is found again, and
    /// another one for each instance.
    handle: TcHandle,
}

impl Attacher {
    pub(super) fn new(instance: &Instance, mode: Mode) -> Result<Self> {
        let pins = Pins::new(instance);
        let [.., high, low] = fnv1a_64([instance.name().as_bytes()]).to_be_bytes();
        Ok(Self {
            mode,
            fingerprints: programs::fingerprints(&pins)?,
            instance: instance.clone(),
            // A handle of 0 would let the kernel choose.
            handle: TcHandle::new(1, u16::from_be_bytes([high, low])),
            pins,
        })
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Where a program of ours, of whatever age, runs; interfaces with nothing of it, and those that
    /// are gone, are not in the answer.
    pub(super) fn attached(
        &self,
        program: Program,
        interfaces: &BTreeMap<IfIndex, String>,
    ) -> Result<BTreeMap<IfIndex, Attachment>> {
        let ours = self.ours(program.symbol())?;
        let mut attached = BTreeMap::new();
        for (&ifindex, name) in interfaces {
            let found = match self.mode {
                Mode::Tcx => self.at_tcx(ifindex, &self.link_pin(program.symbol(), name), &ours)?,
                Mode::Clsact => self.at_clsact(ifindex, &ours)?,
            };
            if let Some(attachment) = found {
                attached.insert(ifindex, attachment);
            }
        }
        Ok(attached)
    }

    fn at_tcx(&self, ifindex: IfIndex, pin: &Path, ours: &[u32]) -> Result<Option<Attachment>> {
        let entries = tcx_entries(ifindex, ours)?;
        let pinned = pinned_link(pin)?;
        let id = match &pinned {
            Some(link) => Some(link.info()?.id()),
            None => None,
        };
        Ok(entries.first().map(|first| Attachment {
            fingerprint: self.fingerprints.get(&first.program).cloned(),
            sound: entries.len() == 1 && id == Some(first.link),
        }))
    }

    fn at_clsact(&self, ifindex: IfIndex, ours: &[u32]) -> Result<Option<Attachment>> {
        let filters = clsact_entries(ifindex, ours)?;
        Ok(filters.first().map(|first| Attachment {
            fingerprint: self.fingerprints.get(&first.program).cloned(),
            sound: filters.len() == 1 && self.is_at_our_place(first),
        }))
    }

    /// Makes `classifier` the one program of ours of its name that runs at the interface: attaches it
    /// where none does, puts it in the place of an older one without a moment in which none runs, and
    /// removes duplicates.
    pub(super) fn attach(
        &self,
        program: Program,
        classifier: &mut SchedClassifier,
        ifindex: IfIndex,
        name: &str,
    ) -> Result<()> {
        let attach = match self.mode {
            Mode::Tcx => self.attach_tcx(program, classifier, ifindex, name),
            Mode::Clsact => self.attach_clsact(program, classifier, ifindex, name),
        };
        attach.with_context(|| format!("attach {} to {name}", program.symbol()))
    }

    fn attach_tcx(
        &self,
        program: Program,
        classifier: &mut SchedClassifier,
        ifindex: IfIndex,
        name: &str,
    ) -> Result<()> {
        let pin = self.link_pin(program.symbol(), name);
        let entries = tcx_entries(ifindex, &self.ours(program.symbol())?)?;
        let kept = match self.usable_link(&pin, &entries)? {
            Some(link) => {
                let id = link.info()?.id();
                let link = SchedClassifierLink::try_from(link)?;
                let link = classifier.attach_to_link(link)?;
                // Only this handle goes away; the pin keeps the link.
                drop(classifier.take_link(link)?);
                Some(id)
            }
            None => {
                let order = TcAttachOptions::TcxOrder(order(program));
                let link = classifier.attach_with_options(name, TcAttachType::Ingress, order)?;
                let link = FdLink::try_from(classifier.take_link(link)?)?;
                link.pin(&pin)
                    .with_context(|| format!("pin the link at {}", pin.display()))?;
                None
            }
        };
        for entry in entries {
            if Some(entry.link) != kept {
                remove_tcx(entry)?;
            }
        }
        Ok(())
    }

    fn attach_clsact(
        &self,
        program: Program,
        classifier: &mut SchedClassifier,
        ifindex: IfIndex,
        name: &str,
    ) -> Result<()> {
        match qdisc_add_clsact(name) {
            Err(TcError::NetlinkError(error))
                if error.raw_os_error() == Some(Errno::EXIST.raw_os_error()) => {}
            result => {
                result.context("add the clsact qdisc")?;
                self.note_qdisc(ifindex, name)?;
            }
        }
        let filters = clsact_entries(ifindex, &self.ours(program.symbol())?)?;
        if filters.iter().any(|filter| self.is_forgotten(filter)) {
            self.note_qdisc(ifindex, name)?;
        }
        let link = if filters.iter().any(|filter| self.is_at_our_place(filter)) {
            // A change of an existing filter exchanges its program in one step (`cls_bpf_change`).
            classifier.attach_to_link(filter_link(name, FILTER_PRIORITY, self.handle)?)?
        } else {
            let options = TcAttachOptions::Netlink(NlOptions {
                priority: FILTER_PRIORITY,
                handle: self.handle,
                classid: None,
            });
            classifier.attach_with_options(name, TcAttachType::Ingress, options)?
        };
        // A handle of this kind would remove the filter when it is dropped.
        mem::forget(classifier.take_link(link)?);
        for filter in &filters {
            if !self.is_at_our_place(filter) {
                remove_filter(name, filter)?;
            }
        }
        Ok(())
    }

    /// Whether a filter is of a time of which nothing is pinned any more: somebody has taken the BPF file system
    /// away, and the note of whose its qdisc is with it. It was most likely ours; if anybody else has come to
    /// use it, it stays.
    fn is_forgotten(&self, filter: &Filter) -> bool {
        self.is_at_our_place(filter) && !self.fingerprints.contains_key(&filter.program)
    }

    fn is_at_our_place(&self, filter: &Filter) -> bool {
        filter.priority == FILTER_PRIORITY && filter.handle == u32::from(self.handle)
    }

    /// The pinned link, if it is attached to the interface; else one that is attached, pinned again.
    /// A pin that belongs to an interface of the past is removed.
    fn usable_link(&self, pin: &Path, entries: &[Attached]) -> Result<Option<FdLink>> {
        if let Some(link) = pinned_link(pin)? {
            let id = link.info()?.id();
            if entries.iter().any(|entry| entry.link == id) {
                return Ok(Some(link));
            }
            fs::remove_file(pin).with_context(|| format!("remove {}", pin.display()))?;
        }
        let Some(orphan) = entries.iter().find(|entry| entry.link != 0) else {
            return Ok(None);
        };
        let link = bpf::link_by_id(orphan.link)
            .with_context(|| format!("open the link {}", orphan.link))?;
        bpf::pin_link(&link, pin).with_context(|| format!("pin the link at {}", pin.display()))?;
        pinned_link(pin)
    }

    /// Removes a program of ours, of whatever age, from the interface, and the qdisc that was added
    /// for it; nothing there is no error.
    pub(super) fn detach(&self, program: Program, ifindex: IfIndex, name: &str) -> Result<()> {
        let detach = || -> Result<()> {
            let ours = self.ours(program.symbol())?;
            match self.mode {
                Mode::Tcx => {
                    for entry in tcx_entries(ifindex, &ours)? {
                        remove_tcx(entry)?;
                    }
                    let pin = self.link_pin(program.symbol(), name);
                    gone(fs::remove_file(&pin), &pin)
                }
                Mode::Clsact => {
                    for filter in clsact_entries(ifindex, &ours)? {
                        remove_filter(name, &filter)?;
                    }
                    self.remove_qdisc(ifindex, name)
                }
            }
        };
        detach().with_context(|| format!("detach {} from {name}", program.symbol()))
    }

    /// The ids of all programs of this name, of any age, but for those of other instances, which may come at any
    /// time: they are pinned before they are attached.
    pub(super) fn ours(&self, symbol: &str) -> Result<Vec<u32>> {
        let mut ids = named(symbol)?;
        let others =
            bpffs::programs_of_others(&self.instance).context("look at other instances")?;
        let strangers = programs::ids(&others);
        ids.retain(|id| !strangers.contains(id));
        Ok(ids)
    }

    /// Where the link of a program at an interface is pinned.
    pub(super) fn link_pin(&self, symbol: &str, interface: &str) -> PathBuf {
        self.pins.links().join(pin_name(symbol, interface))
    }

    /// Where it is noted that the `clsact` of an interface was added by us. One that was there before
    /// stays when we go, and an interface of the past says nothing about one with the same name.
    fn qdisc_note(&self, ifindex: IfIndex, interface: &str) -> PathBuf {
        self.pins.qdiscs().join(note_name(ifindex, interface))
    }

    fn note_qdisc(&self, ifindex: IfIndex, interface: &str) -> Result<()> {
        let note = self.qdisc_note(ifindex, interface);
        fs::create_dir_all(&note).with_context(|| format!("make {}", note.display()))
    }

    /// Removes the interface's `clsact` if it was added by us and nobody has a filter in it.
    fn remove_qdisc(&self, ifindex: IfIndex, interface: &str) -> Result<()> {
        let note = self.qdisc_note(ifindex, interface);
        if note.exists() {
            clsact::remove_if_empty(ifindex)?;
        }
        gone(fs::remove_dir(&note), &note)
    }
}

/// Where among the programs at a hook a program runs. Nobody else has a business at the host's ends
/// of our links. At the uplink others have, and often let every packet pass, after which no program
/// is asked any more; ours takes what comes through a tunnel and hands everything else on.
fn order(program: Program) -> LinkOrder {
    match program {
        Program::PortIngress => LinkOrder::last(),
        Program::UplinkIngress => LinkOrder::first(),
    }
}

/// The name of what is pinned about an interface. A BPF file system takes no name with a dot, which an
/// interface's may have; a colon it may not.
fn pin_name(what: &str, interface: &str) -> String {
    format!("{what}@{}", interface.replace('.', ":"))
}

/// The name of a note about an interface: one of the past says nothing about one with its name.
pub(super) fn note_name(ifindex: IfIndex, interface: &str) -> String {
    pin_name(&ifindex.0.to_string(), interface)
}

/// The interface that the name of a pin is about.
pub(super) fn interface_of_pin(pin: &str) -> Option<String> {
    let (_, interface) = pin.split_once('@')?;
    Some(interface.replace(':', "."))
}

/// What is removed may not have been there.
pub(super) fn gone(removal: io::Result<()>, path: &Path) -> Result<()> {
    match removal {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The ids of all programs of a name, of any instance and age.
fn named(symbol: &str) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    for program in loaded_programs() {
        match program {
            Ok(program) if program.name() == symbol.as_bytes() => ids.push(program.id()),
            Ok(_) => {}
            // Programs of others come and go while we look.
            Err(ProgramError::SyscallError(error))
                if error.io_error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("list the loaded programs"),
        }
    }
    Ok(ids)
}

fn tcx_entries(ifindex: IfIndex, ours: &[u32]) -> Result<Vec<Attached>> {
    match bpf::tcx_ingress(ifindex) {
        Ok(mut entries) => {
            entries.retain(|entry| ours.contains(&entry.program));
            Ok(entries)
        }
        // Nothing at the hook, or no such interface.
        Err(error)
            if [Errno::NOENT, Errno::NODEV]
                .iter()
                .any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error).context("ask for the programs of an interface"),
    }
}

fn clsact_entries(ifindex: IfIndex, ours: &[u32]) -> Result<Vec<Filter>> {
    let mut filters = clsact::ingress(ifindex)?;
    filters.retain(|filter| ours.contains(&filter.program));
    Ok(filters)
}

fn remove_tcx(entry: Attached) -> Result<()> {
    if entry.link == 0 {
        bail!(
            "program {} is attached without a link, which bowline never does: detach it with \
             `bpftool net detach`",
            entry.program
        );
    }
    let detach = || bpf::detach_link(bpf::link_by_id(entry.link)?);
    match detach() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("detach the link {}", entry.link))
        }
        _ => Ok(()),
    }
}

pub(super) fn pinned_link(pin: &Path) -> Result<Option<FdLink>> {
    if !pin.exists() {
        return Ok(None);
    }
    let link = PinnedLink::from_pin(pin)
        .with_context(|| format!("open the pinned link {}", pin.display()))?;
    Ok(Some(link.into()))
}

fn filter_link(name: &str, priority: u16, handle: TcHandle) -> Result<SchedClassifierLink> {
    SchedClassifierLink::attached(name, TcAttachType::Ingress, priority, handle, None)
        .with_context(|| format!("there is no interface {name}"))
}

fn remove_filter(name: &str, filter: &Filter) -> Result<()> {
    use aya::programs::Link as _;

    let link = filter_link(name, filter.priority, TcHandle::from(filter.handle))?;
    link.detach().context("remove a traffic filter")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_tells_its_interface_whatever_that_is_called() {
        for interface in ["eth0", "eth0.100", "bl-00c0ffee", "a@b"] {
            let pin = pin_name("uplink_ingress", interface);
            assert!(!pin.contains('.'), "{pin}");
            assert_eq!(interface_of_pin(&pin).as_deref(), Some(interface));
        }
        assert_eq!(interface_of_pin("eth0"), None);
    }
}
