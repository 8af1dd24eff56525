//! Where the program runs: at the ingress of the host's ends of links.
//!
//! What is attached is found by asking the kernel about the interface, and not by looking at pins
//! alone: after a BPF file system was mounted over ours the pins are gone and the links still work,
//! and a second program attached beside the first would handle every frame twice.

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
use super::capability::KernelVersion;
use super::clsact::{self, Filter};

use crate::holdings::Attachment;

/// The program's name, in the object and in the kernel.
pub(super) const PROGRAM: &str = "port_ingress";
/// Priority and handle of our filter in a `clsact`: always the same, so that it is found again.
const FILTER_PRIORITY: u16 = 98;
const FILTER_HANDLE: TcHandle = TcHandle::new(0, 1);

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
}

/// Attaches the program of one instance.
#[derive(Debug)]
pub(super) struct Attacher {
    mode: Mode,
    /// The folder of the pins of TCX links, which are named after their interfaces.
    links: PathBuf,
    /// The fingerprints of the pinned programs, by the id that the kernel gave them.
    fingerprints: BTreeMap<u32, String>,
}

impl Attacher {
    pub(super) fn new(mode: Mode, links: PathBuf, fingerprints: BTreeMap<u32, String>) -> Self {
        Self {
            mode,
            links,
            fingerprints,
        }
    }

    /// What of ours runs at these interfaces; interfaces with nothing of ours, and those that are
    /// gone, are not in the answer.
    pub(super) fn attached(
        &self,
        interfaces: &BTreeMap<IfIndex, String>,
    ) -> Result<BTreeMap<IfIndex, Attachment>> {
        let ours = ours()?;
        let mut attached = BTreeMap::new();
        for (&ifindex, name) in interfaces {
            let found = match self.mode {
                Mode::Tcx => self.at_tcx(ifindex, name, &ours)?,
                Mode::Clsact => self.at_clsact(ifindex, &ours)?,
            };
            if let Some(attachment) = found {
                attached.insert(ifindex, attachment);
            }
        }
        Ok(attached)
    }

    fn at_tcx(&self, ifindex: IfIndex, name: &str, ours: &[u32]) -> Result<Option<Attachment>> {
        let entries = tcx_entries(ifindex, ours)?;
        let pinned = pinned_link(&self.links.join(name))?;
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
            sound: filters.len() == 1 && is_at_our_place(first),
        }))
    }

    /// Makes `program` the one of ours that runs at the interface: attaches it where none does, puts
    /// it in the place of an older one without a moment in which none runs, and removes duplicates.
    pub(super) fn attach(
        &self,
        program: &mut SchedClassifier,
        ifindex: IfIndex,
        name: &str,
    ) -> Result<()> {
        let attach = match self.mode {
            Mode::Tcx => self.attach_tcx(program, ifindex, name),
            Mode::Clsact => attach_clsact(program, ifindex, name),
        };
        attach.with_context(|| format!("attach {PROGRAM} to {name}"))
    }

    fn attach_tcx(
        &self,
        program: &mut SchedClassifier,
        ifindex: IfIndex,
        name: &str,
    ) -> Result<()> {
        let pin = self.links.join(name);
        let entries = tcx_entries(ifindex, &ours()?)?;
        let kept = match self.usable_link(&pin, &entries)? {
            Some(link) => {
                let id = link.info()?.id();
                let link = SchedClassifierLink::try_from(link)?;
                let link = program.attach_to_link(link)?;
                // Only this handle goes away; the pin keeps the link.
                drop(program.take_link(link)?);
                Some(id)
            }
            None => {
                let order = TcAttachOptions::TcxOrder(LinkOrder::last());
                let link = program.attach_with_options(name, TcAttachType::Ingress, order)?;
                let link = FdLink::try_from(program.take_link(link)?)?;
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

    /// Removes everything of ours from the interface; nothing there is no error.
    pub(super) fn detach(&self, ifindex: IfIndex, name: &str) -> Result<()> {
        let detach = || -> Result<()> {
            let ours = ours()?;
            match self.mode {
                Mode::Tcx => {
                    for entry in tcx_entries(ifindex, &ours)? {
                        remove_tcx(entry)?;
                    }
                }
                Mode::Clsact => {
                    for filter in clsact_entries(ifindex, &ours)? {
                        remove_filter(name, &filter)?;
                    }
                    clsact::remove_if_empty(ifindex)?;
                }
            }
            let pin = self.links.join(name);
            match fs::remove_file(&pin) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("remove {}", pin.display()))
                }
                _ => Ok(()),
            }
        };
        detach().with_context(|| format!("detach {PROGRAM} from {name}"))
    }
}

/// The ids of all programs of ours, of any instance and age.
fn ours() -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    for program in loaded_programs() {
        match program {
            Ok(program) if program.name() == PROGRAM.as_bytes() => ids.push(program.id()),
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

fn pinned_link(pin: &Path) -> Result<Option<FdLink>> {
    if !pin.exists() {
        return Ok(None);
    }
    let link = PinnedLink::from_pin(pin)
        .with_context(|| format!("open the pinned link {}", pin.display()))?;
    Ok(Some(link.into()))
}

fn is_at_our_place(filter: &Filter) -> bool {
    filter.priority == FILTER_PRIORITY && filter.handle == u32::from(FILTER_HANDLE)
}

fn attach_clsact(program: &mut SchedClassifier, ifindex: IfIndex, name: &str) -> Result<()> {
    match qdisc_add_clsact(name) {
        Err(TcError::NetlinkError(error))
            if error.raw_os_error() == Some(Errno::EXIST.raw_os_error()) => {}
        result => result.context("add the clsact qdisc")?,
    }
    let filters = clsact_entries(ifindex, &ours()?)?;
    let link = if filters.iter().any(is_at_our_place) {
        // A change of an existing filter exchanges its program in one step (`cls_bpf_change`).
        program.attach_to_link(our_filter(name)?)?
    } else {
        let options = TcAttachOptions::Netlink(NlOptions {
            priority: FILTER_PRIORITY,
            handle: FILTER_HANDLE,
            classid: None,
        });
        program.attach_with_options(name, TcAttachType::Ingress, options)?
    };
    // A handle of this kind would remove the filter when it is dropped.
    mem::forget(program.take_link(link)?);
    for filter in filters.iter().filter(|filter| !is_at_our_place(filter)) {
        remove_filter(name, filter)?;
    }
    Ok(())
}

fn our_filter(name: &str) -> Result<SchedClassifierLink> {
    filter_link(name, FILTER_PRIORITY, FILTER_HANDLE)
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
