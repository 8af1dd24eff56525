//! What the kernel holds of an instance, as data: the kernel edge fills it in, `diff` compares it with
//! the plan.

use std::collections::BTreeMap;

use maps_schema::IfIndex;

use crate::link::Link;
use crate::plan::Tables;
use crate::program::XdpMode;

/// What the kernel holds of an instance.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    /// The links, by the name of the host's end.
    pub links: BTreeMap<String, Observed>,
    /// The rows of the maps; no map at all if no datapath is loaded.
    pub tables: Tables,
    /// What runs at the host's ends of links.
    pub attached: BTreeMap<IfIndex, Attachment>,
    /// What runs at interfaces that are not ours, those to the underlay: it is to be removed wherever
    /// it should not run any more, which is told by no link that goes away.
    pub uplinks: BTreeMap<IfIndex, HeldUplink>,
    /// What XDP is at such interfaces, of anybody.
    pub xdp: BTreeMap<IfIndex, HeldXdp>,
    /// What the loaded programs were made from.
    pub fingerprint: Option<String>,
}

impl Holdings {
    /// The index of every link that is there and leads to where it should, as far as anybody can
    /// tell.
    #[must_use]
    pub fn interfaces(&self) -> BTreeMap<String, IfIndex> {
        self.links
            .iter()
            .filter(|(_, observed)| observed.link().is_some() || is_left_alone(observed))
            .map(|(name, observed)| (name.clone(), observed.ifindex))
            .collect()
    }
}

/// The host's end of a link of ours, as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observed {
    /// Its index in the host's namespace.
    pub ifindex: IfIndex,
    /// Its alias: which port it belongs to. An end without one is half-made.
    pub alias: Option<String>,
    /// The workload's end.
    pub peer: Peer,
}

/// The workload's end of a link that exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Peer {
    /// It is in the namespace where it should be, and this is the link as a whole. Where its two
    /// ends have different MTUs, the link's MTU is 0, which no link should have.
    Inside(Link),
    /// It is not there (the container was started anew, the namespace made anew), or the link is
    /// half-made: the link is to be deleted and made again.
    Elsewhere,
    /// Nobody said where it should be.
    Unasked,
}

impl Observed {
    /// The link, if its workload's end is where it should be.
    #[must_use]
    pub fn link(&self) -> Option<&Link> {
        match &self.peer {
            Peer::Inside(link) => Some(link),
            Peer::Elsewhere | Peer::Unasked => None,
        }
    }
}

/// What of ours runs at an interface to the underlay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldUplink {
    /// The interface's name.
    pub interface: String,
    /// The program [`Program::UplinkIngress`](crate::program::Program::UplinkIngress).
    pub ingress: Attachment,
}

/// What XDP is at an interface to the underlay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldXdp {
    /// The interface's name.
    pub interface: String,
    /// What it is.
    pub state: XdpState,
}

/// What XDP is at an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum XdpState {
    /// Our program runs.
    Ours {
        /// Who calls it.
        mode: XdpMode,
        /// How it is attached.
        attachment: Attachment,
    },
    /// Somebody else's program runs, and this is its id.
    Foreign(u32),
    /// Nothing runs: the driver refused ours.
    Refused,
}

/// What of ours runs at the ingress of one interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// Which program runs, or the first one if there are several; nothing if its pin is gone, so
    /// that nobody knows what it was made from.
    pub fingerprint: Option<String>,
    /// Whether one program of ours runs there, held by our own pin. If not, frames may be handled
    /// twice, or not any more soon; attaching again puts it right.
    pub sound: bool,
}

/// A whole link to a workload of which nobody can say where it is stays as it is.
pub(crate) fn is_left_alone(observed: &Observed) -> bool {
    observed.peer == Peer::Unasked && observed.alias.is_some()
}
