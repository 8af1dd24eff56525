//! How the steps of a change are taken back when a later one fails.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Error, Result};
use maps_schema::IfIndex;
use maps_schema::map::{EgressPort, IngressPort, MapName};
use maps_schema::plain::{bytes_of, from_bytes};

use super::apply::{Work, all};
use crate::diff::{RowChange, XdpChange};
use crate::kernel::datapath::{self, Datapath};
use crate::link::Link;
use crate::plan::PlannedUplink;
use crate::program::Program;

/// How to take a step back.
pub(super) enum Undo {
    /// Another table may have taken the place of one of connections.
    Tables,
    /// A link was made.
    Delete(String),
    /// A link was changed.
    Adjust(Link),
    /// A link was deleted, and this was its index.
    Restore(Link, IfIndex),
    /// A row was changed.
    Row(RowChange),
    /// A link was given another program.
    Attach(IfIndex, String),
    /// An uplink was attached to, or given another program.
    Uplink(PlannedUplink),
    /// XDP came to an uplink, or was changed there.
    Xdp(XdpChange),
}

impl Work<'_> {
    /// Undoes what was done, last step first, and says so beside the reason.
    pub(super) async fn take_back(mut self, reason: Error) -> Error {
        let mut again = Vec::new();
        while let Some(step) = self.undo.pop() {
            if self.step_back(&step).await.is_err() {
                again.push(step);
            }
        }
        // A link cannot have its route back before another one has lost it: what failed is tried
        // once more when nothing is in its way any longer.
        let mut errors = Vec::new();
        for step in again {
            errors.extend(self.step_back(&step).await.err());
        }
        let holdings = &self.outlook.holdings;
        let mut held: BTreeSet<String> = holdings.links.keys().cloned().collect();
        held.extend(holdings.uplinks.values().map(|it| it.interface.clone()));
        let pins = match &self.former {
            None => datapath::abandon(self.instance, &held),
            Some(former) => former.prune(&held),
        };
        errors.extend(pins.err().into_iter().flatten());
        match all(errors) {
            None => reason.context("nothing was changed"),
            Some(error) => {
                reason.context(format!("taking back what was done failed too: {error:#}"))
            }
        }
    }

    async fn step_back(&mut self, step: &Undo) -> Result<()> {
        match step {
            Undo::Tables => match &self.former {
                Some(former) => former.pin_tables(),
                None => Ok(()),
            },
            Undo::Delete(name) => self.links.delete(name).await,
            Undo::Adjust(link) => {
                let link = self.with_mtu(link);
                self.links.adjust(&link, self.netns(&link.name)?).await
            }
            Undo::Restore(link, ifindex) => self.restore(link, *ifindex).await,
            Undo::Row(change) => match (&mut self.former, &change.from) {
                (Some(former), Some(value)) => former.write(change.map, &change.key, value),
                (Some(former), None) => former.remove(change.map, &change.key),
                // The maps go as a whole.
                (None, _) => Ok(()),
            },
            Undo::Attach(ifindex, host_end) => match &mut self.former {
                Some(former) => former.attach(Program::PortIngress, *ifindex, host_end),
                None => Ok(()),
            },
            Undo::Uplink(uplink) => self.leave(uplink),
            Undo::Xdp(change) => self.leave_xdp(change),
        }
    }

    /// Lets XDP run at the uplink as it did before, or not at all.
    fn leave_xdp(&mut self, change: &XdpChange) -> Result<()> {
        let XdpChange {
            ifindex,
            interface,
            from,
            ..
        } = change;
        match (&mut self.former, from) {
            (Some(former), Some(mode)) => former.attach_xdp(*ifindex, interface, *mode),
            _ => {
                let interfaces = BTreeMap::from([(*ifindex, interface.clone())]);
                let detached = datapath::detach_xdp_everywhere(self.instance, &interfaces);
                detached.err().and_then(all).map_or(Ok(()), Err)
            }
        }
    }

    /// Puts the program back that ran at the uplink, or leaves it if none did.
    fn leave(&mut self, uplink: &PlannedUplink) -> Result<()> {
        let PlannedUplink {
            interface, ifindex, ..
        } = uplink;
        let ran = self.outlook.holdings.uplinks.contains_key(ifindex);
        match &mut self.former {
            Some(former) if ran => former.attach(Program::UplinkIngress, *ifindex, interface),
            _ => {
                let interfaces = BTreeMap::from([(*ifindex, interface.clone())]);
                let detached =
                    datapath::detach_everywhere(self.instance, Program::UplinkIngress, &interfaces);
                detached.err().and_then(all).map_or(Ok(()), Err)
            }
        }
    }

    /// Makes a link that was deleted anew. The kernel gives it another index, which its rows learn
    /// here: they have been taken back to what they were before the link was deleted.
    async fn restore(&mut self, link: &Link, before: IfIndex) -> Result<()> {
        let link = self.with_mtu(link);
        // Whatever a first attempt left.
        self.links.delete(&link.name).await?;
        let ifindex = self.links.create(&link, self.netns(&link.name)?).await?;
        let row = self.outlook.holdings.tables.get(&MapName::Interfaces);
        let row = row.and_then(|rows| from_bytes(rows.get(bytes_of(&before))?));
        if let Some(former) = &mut self.former {
            former.attach(Program::PortIngress, ifindex, &link.name)?;
            if let Some(ingress) = row {
                move_rows(former, &ingress, before, ifindex)?;
            }
        }
        self.links.adjust(&link, self.netns(&link.name)?).await
    }

    /// Where the ends of a link had different MTUs nobody noted which; they get the planned one.
    fn with_mtu(&self, link: &Link) -> Link {
        let planned = self.outlook.plan.links.get(&link.name);
        let mtu = match planned {
            Some(planned) if link.mtu == 0 => planned.link.mtu,
            _ => link.mtu,
        };
        Link {
            mtu,
            ..link.clone()
        }
    }
}

fn move_rows(
    datapath: &mut Datapath,
    ingress: &IngressPort,
    before: IfIndex,
    ifindex: IfIndex,
) -> Result<()> {
    let key = bytes_of(&ingress.port);
    let rows = datapath.rows(MapName::Ports)?;
    let held = rows.get(key).and_then(|row| from_bytes(row));
    let egress = EgressPort {
        ifindex,
        ..held.unwrap_or(EgressPort::behind(ingress, ifindex))
    };
    datapath.write(MapName::Ports, key, bytes_of(&egress))?;
    datapath.write(MapName::Interfaces, bytes_of(&ifindex), bytes_of(ingress))?;
    datapath.remove(MapName::Interfaces, bytes_of(&before))
}
