//! The part of `bowline show` that is about hosts and the uplink.

use std::net::IpAddr;

use serde::Serialize;

use crate::holdings::XdpState;
use crate::host::Outlook;
use crate::kernel::datapath::Datapath;
use crate::topology::Host;

pub(super) const HOSTS: &[&str] = &[
    "HOST", "ADDRESS", "UPLINK", "DRIVER", "MTU", "ATTACHED", "XDP", "DECLARED",
];
#[derive(Serialize)]
pub(super) struct HostState {
    name: String,
    address: IpAddr,
    this_host: bool,
    uplink: Option<UplinkState>,
    origin: String,
}

/// The uplink of this host.
#[derive(Serialize)]
struct UplinkState {
    interface: String,
    driver: Option<String>,
    mtu: u32,
    /// How XDP runs there: `native`, `generic` or `off`; or why it does not although it is wanted:
    /// `refused` by the driver, or `taken` by somebody else's program.
    xdp: &'static str,
    /// How the program is attached; nothing if it is not, or not as it should be.
    attached: Option<&'static str>,
}

/// The hosts of the topology.
pub(super) fn hosts(outlook: &Outlook, datapath: Option<&Datapath>) -> Vec<HostState> {
    let own = outlook.situation.host.as_deref();
    let state = |(name, host): (&String, &Host)| HostState {
        name: name.clone(),
        address: host.address,
        this_host: own == Some(name),
        uplink: (own == Some(name))
            .then(|| uplink(outlook, datapath))
            .flatten(),
        origin: host.origin.to_string(),
    };
    outlook.topology.hosts.iter().map(state).collect()
}

fn uplink(outlook: &Outlook, datapath: Option<&Datapath>) -> Option<UplinkState> {
    let uplink = outlook.situation.uplink.as_ref()?;
    let held = outlook.holdings.uplinks.contains_key(&uplink.ifindex);
    let is_attached = held && outlook.diff.uplinks.is_empty();
    Some(UplinkState {
        interface: uplink.interface.clone(),
        driver: uplink.driver.clone(),
        mtu: uplink.mtu,
        xdp: xdp(outlook),
        attached: datapath
            .filter(|_| is_attached)
            .map(|datapath| datapath.mode().word()),
    })
}

fn xdp(outlook: &Outlook) -> &'static str {
    let Some(uplink) = &outlook.plan.uplink else {
        return "off";
    };
    let held = outlook.holdings.xdp.get(&uplink.ifindex);
    match held.map(|held| &held.state) {
        Some(XdpState::Ours { mode, .. }) => mode.word(),
        Some(XdpState::Refused) if uplink.xdp.is_some() => "refused",
        Some(XdpState::Foreign(_)) if uplink.xdp.is_some() => "taken",
        _ => "off",
    }
}

pub(super) fn host_rows(hosts: &[HostState]) -> Vec<Vec<String>> {
    let row = |host: &HostState| {
        let uplink = match &host.uplink {
            Some(uplink) => [
                uplink.interface.clone(),
                uplink.driver.clone().unwrap_or_else(dash),
                uplink.mtu.to_string(),
                uplink.attached.unwrap_or("no").to_owned(),
                uplink.xdp.to_owned(),
            ],
            None => [dash(), dash(), dash(), dash(), dash()],
        };
        let this = if host.this_host { " (this host)" } else { "" };
        let name = [format!("{}{this}", host.name), host.address.to_string()];
        let origin = [host.origin.clone()];
        name.into_iter().chain(uplink).chain(origin).collect()
    };
    hosts.iter().map(row).collect()
}

fn dash() -> String {
    "-".to_owned()
}
