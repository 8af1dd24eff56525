//! Where the XDP program runs: at the uplink, through a link of its own.
//!
//! An interface has one XDP program. One of somebody else's stays, and ours is not needed: it only
//! drops early what the TC program drops as well.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result};
use aya::programs::links::{FdLink, LinkType};
use aya::programs::xdp::XdpLink;
use aya::programs::{Xdp, XdpMode as AyaMode, loaded_links};
use maps_schema::IfIndex;
use rtnetlink::packet_core::NLM_F_ACK;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage, LinkXdp, XdpAttached};
use rustix::io::Errno;

use super::attach::{Attacher, gone, note_name, pinned_link};
use super::{bpf, clsact};
use crate::holdings::{Attachment, XdpState};
use crate::program::{UPLINK_XDP, XdpMode};

impl Attacher {
    /// What XDP is at these interfaces; those with none, and those that are gone, are not in the
    /// answer.
    pub(super) fn xdp(
        &self,
        interfaces: &BTreeMap<IfIndex, String>,
    ) -> Result<BTreeMap<IfIndex, XdpState>> {
        let ours = self.ours(UPLINK_XDP)?;
        let mut states = BTreeMap::new();
        for (&ifindex, name) in interfaces {
            let state = match running(ifindex)? {
                Some((mode, program)) if ours.contains(&program) => XdpState::Ours {
                    mode,
                    attachment: self.soundness(ifindex, name, program)?,
                },
                Some((_, program)) => XdpState::Foreign(program),
                None if self.refusal(ifindex, name).exists() => XdpState::Refused,
                None => continue,
            };
            states.insert(ifindex, state);
        }
        Ok(states)
    }

    fn soundness(&self, ifindex: IfIndex, name: &str, program: u32) -> Result<Attachment> {
        let pinned = match pinned_link(&self.link_pin(UPLINK_XDP, name))? {
            Some(link) => Some(link.info()?.id()),
            None => None,
        };
        let links = links(ifindex, &[program])?;
        Ok(Attachment {
            fingerprint: self.fingerprints.get(&program).cloned(),
            sound: pinned.is_some_and(|id| links.contains(&id)),
        })
    }

    /// Makes `xdp` the XDP program of an interface, in this mode. An older one of ours is replaced in
    /// one step, unless it runs in another mode.
    pub(super) fn attach_xdp(
        &self,
        xdp: &mut Xdp,
        ifindex: IfIndex,
        name: &str,
        mode: XdpMode,
    ) -> Result<()> {
        let mut attach = || -> Result<()> {
            if running(ifindex)?.is_some_and(|(found, _)| found != mode) {
                self.remove_xdp(ifindex, name)?;
            }
            if let Some(link) = self.usable_xdp_link(ifindex, name)? {
                let link = xdp.attach_to_link(XdpLink::try_from(link)?)?;
                // Only this handle goes away; the pin keeps the link.
                drop(xdp.take_link(link)?);
                return Ok(());
            }
            let link = xdp.attach_to_if_index(ifindex.0, aya_mode(mode))?;
            let link = FdLink::try_from(xdp.take_link(link)?)?;
            let pin = self.link_pin(UPLINK_XDP, name);
            link.pin(&pin)
                .with_context(|| format!("pin the link at {}", pin.display()))?;
            Ok(())
        };
        attach().with_context(|| format!("attach {UPLINK_XDP} to {name} ({})", mode.word()))
    }

    /// The link of ours at an interface, pinned: a pin that belongs to an interface of the past is
    /// removed, and a link without a pin gets one.
    fn usable_xdp_link(&self, ifindex: IfIndex, name: &str) -> Result<Option<FdLink>> {
        let attached = links(ifindex, &self.ours(UPLINK_XDP)?)?;
        let pin = self.link_pin(UPLINK_XDP, name);
        if let Some(link) = pinned_link(&pin)? {
            if attached.contains(&link.info()?.id()) {
                return Ok(Some(link));
            }
            gone(fs::remove_file(&pin), &pin)?;
        }
        let Some(&orphan) = attached.first() else {
            return Ok(None);
        };
        let link = bpf::link_by_id(orphan).with_context(|| format!("open the link {orphan}"))?;
        bpf::pin_link(&link, &pin).with_context(|| format!("pin the link at {}", pin.display()))?;
        pinned_link(&pin)
    }

    /// Removes the XDP program of ours, of whatever age, from an interface, and the note of a refusal;
    /// nothing there is no error.
    pub(super) fn detach_xdp(&self, ifindex: IfIndex, name: &str) -> Result<()> {
        let detach = || -> Result<()> {
            self.remove_xdp(ifindex, name)?;
            let note = self.refusal(ifindex, name);
            gone(fs::remove_dir(&note), &note)
        };
        detach().with_context(|| format!("detach {UPLINK_XDP} from {name}"))
    }

    fn remove_xdp(&self, ifindex: IfIndex, name: &str) -> Result<()> {
        for id in links(ifindex, &self.ours(UPLINK_XDP)?)? {
            let detach = || bpf::detach_link(bpf::link_by_id(id)?);
            match detach() {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("detach the link {id}"));
                }
                _ => {}
            }
        }
        let pin = self.link_pin(UPLINK_XDP, name);
        gone(fs::remove_file(&pin), &pin)
    }

    /// Notes that the driver of an interface refused, so that it is not asked again and again.
    pub(super) fn note_refusal(&self, ifindex: IfIndex, name: &str) -> Result<()> {
        let note = self.refusal(ifindex, name);
        fs::create_dir_all(&note).with_context(|| format!("make {}", note.display()))
    }

    fn refusal(&self, ifindex: IfIndex, name: &str) -> PathBuf {
        self.pins.refusals().join(note_name(ifindex, name))
    }
}

const fn aya_mode(mode: XdpMode) -> AyaMode {
    match mode {
        XdpMode::Native => AyaMode::Driver,
        XdpMode::Generic => AyaMode::Skb,
    }
}

/// The links that attach one of these programs to an interface.
///
/// A link does not say which network namespace its interface is in, but one instance serves one host.
fn links(ifindex: IfIndex, programs: &[u32]) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    // Links of others come and go while we look.
    for info in loaded_links().filter_map(Result::ok) {
        if !matches!(info.link_type(), Ok(LinkType::Xdp)) || !programs.contains(&info.program_id())
        {
            continue;
        }
        let interface = bpf::link_by_id(info.id()).and_then(bpf::xdp_link_interface);
        if interface.is_ok_and(|interface| interface == ifindex) {
            found.push(info.id());
        }
    }
    Ok(found)
}

/// The XDP program of an interface and its mode, as netlink says; one in the network card itself
/// counts as native.
fn running(IfIndex(ifindex): IfIndex) -> Result<Option<(XdpMode, u32)>> {
    let mut question = LinkMessage::default();
    question.header.index = ifindex;
    let answers = match clsact::request(RouteNetlinkMessage::GetLink(question), NLM_F_ACK) {
        Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => return Ok(None),
        answers => answers.context("ask for the XDP program of an interface")?,
    };
    let attributes = answers.into_iter().flat_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(message) => message.attributes,
        _ => Vec::new(),
    });
    let found = attributes
        .into_iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Xdp(xdp) => Some(xdp),
            _ => None,
        });
    let (mut mode, mut program) = (None, None);
    for attribute in found.unwrap_or_default() {
        match attribute {
            LinkXdp::Attached(XdpAttached::None) => return Ok(None),
            LinkXdp::Attached(XdpAttached::SocketBuffer) => mode = Some(XdpMode::Generic),
            LinkXdp::Attached(_) => mode = Some(XdpMode::Native),
            LinkXdp::ProgId(id) => program = Some(id),
            _ => {}
        }
    }
    Ok(mode.zip(program))
}
