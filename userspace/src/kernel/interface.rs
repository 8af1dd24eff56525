//! One interface of any namespace, read and changed by netlink.

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use maps_schema::Mac;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoKind, LinkAttribute, LinkFlags, LinkInfo,
    LinkLayerType, LinkMessage, State,
};
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec};
use rustix::io::Errno;

/// Netlink's error as the system's error that it carries.
pub(super) fn system_error(error: rtnetlink::Error) -> anyhow::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io().into(),
        other => other.into(),
    }
}

/// Whether netlink refused with this error.
pub(super) fn is_errno(error: &rtnetlink::Error, errno: Errno) -> bool {
    match error {
        rtnetlink::Error::NetlinkError(message) => {
            message.to_io().raw_os_error() == Some(errno.raw_os_error())
        }
        _ => false,
    }
}

/// One interface, as the kernel has it.
#[derive(Clone, Default, Debug)]
pub(super) struct Interface {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) alias: Option<String>,
    pub(super) mac: Option<Mac>,
    pub(super) mtu: u32,
    pub(super) up: bool,
    /// It has a carrier, and the kernel has taken note: what is sent by it is no longer refused.
    pub(super) is_operational: bool,
    pub(super) is_veth: bool,
    pub(super) is_loopback: bool,
    pub(super) is_ethernet: bool,
    /// The other end's index, in the namespace that `peer_netns` names.
    pub(super) peer: Option<u32>,
    /// The other end's namespace by the number that this namespace knows it under; nothing if both
    /// ends are in the same one.
    pub(super) peer_netns: Option<i32>,
    /// How it makes its IPv6 link-local address; nothing if it has no IPv6.
    pub(super) address_mode: Option<In6AddrGenMode>,
}

impl From<LinkMessage> for Interface {
    fn from(message: LinkMessage) -> Self {
        let mut interface = Self {
            index: message.header.index,
            up: message.header.flags.contains(LinkFlags::Up),
            is_ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            is_loopback: message.header.flags.contains(LinkFlags::Loopback),
            ..Self::default()
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => interface.name = name,
                LinkAttribute::IfAlias(alias) => interface.alias = Some(alias),
                LinkAttribute::Address(mac) => interface.mac = mac.try_into().ok().map(Mac::new),
                LinkAttribute::Mtu(mtu) => interface.mtu = mtu,
                LinkAttribute::OperState(state) => interface.is_operational = state == State::Up,
                LinkAttribute::Link(peer) => interface.peer = Some(peer),
                LinkAttribute::LinkNetNsId(netns) => interface.peer_netns = Some(netns),
                LinkAttribute::LinkInfo(infos) => {
                    interface.is_veth = infos.contains(&LinkInfo::Kind(InfoKind::Veth));
                }
                LinkAttribute::AfSpecUnspec(specs) => {
                    interface.address_mode = specs.into_iter().find_map(address_mode);
                }
                _ => {}
            }
        }
        interface
    }
}

fn address_mode(spec: AfSpecUnspec) -> Option<In6AddrGenMode> {
    let AfSpecUnspec::Inet6(inet6) = spec else {
        return None;
    };
    inet6.into_iter().find_map(|attribute| match attribute {
        AfSpecInet6::AddrGenMode(mode) => Some(mode),
        _ => None,
    })
}

/// Every route of one family in the namespace that the connection is in.
pub(super) async fn routes(handle: &Handle, question: RouteMessage) -> Result<Vec<RouteMessage>> {
    let routes = handle.route().get(question).execute().try_collect().await;
    routes.map_err(system_error).context("list routes")
}

/// Every interface of the namespace that the connection is in.
pub(super) async fn interfaces(handle: &Handle) -> Result<Vec<Interface>> {
    handle
        .link()
        .get()
        .execute()
        .map_ok(Interface::from)
        .try_collect()
        .await
        .map_err(system_error)
        .context("list interfaces")
}

/// The interface of this name, if there is one.
pub(super) async fn interface(handle: &Handle, name: &str) -> Result<Option<Interface>> {
    let mut found = handle.link().get().match_name(name.to_owned()).execute();
    match found.try_next().await {
        Ok(message) => Ok(message.map(Interface::from)),
        Err(error) if is_errno(&error, Errno::NODEV) => Ok(None),
        Err(error) => Err(system_error(error)).with_context(|| format!("look up {name}")),
    }
}

/// Applies a change to an interface.
pub(super) async fn change(
    handle: &Handle,
    message: LinkMessageBuilder<LinkUnspec>,
) -> Result<(), rtnetlink::Error> {
    handle.link().change(message.build()).execute().await
}

/// How an interface makes its IPv6 link-local address.
///
/// An interface without IPv6 (switched off in the kernel, or an MTU below 1280) has no such setting.
pub(super) async fn set_address_mode(
    handle: &Handle,
    index: u32,
    mode: In6AddrGenMode,
) -> Result<()> {
    let inet6 = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(mode)]);
    let message = LinkUnspec::new_with_index(index)
        .append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![inet6]));
    match change(handle, message).await {
        Err(error) if !is_errno(&error, Errno::AFNOSUPPORT) => {
            Err(system_error(error)).context("set how IPv6 link-local addresses are made")
        }
        _ => Ok(()),
    }
}

/// Makes an interface tell its neighbors about its addresses, by a gratuitous ARP request and
/// unsolicited neighbor advertisements. `arp_notify` and `ndisc_notify` must be on for it.
///
/// The kernel does that when an interface goes up or is given a MAC address, the one that it has
/// included (`NETDEV_CHANGEADDR`); no message of netlink's asks for it directly.
pub(super) async fn announce(handle: &Handle, index: u32, mac: Mac) -> Result<()> {
    let message = LinkUnspec::new_with_index(index).address(mac.octets().to_vec());
    change(handle, message)
        .await
        .map_err(system_error)
        .context("announce an interface's addresses")
}

/// Removes every address of an interface.
pub(super) async fn remove_addresses(handle: &Handle, index: u32) -> Result<()> {
    let messages: Vec<AddressMessage> = handle
        .address()
        .get()
        .set_link_index_filter(index)
        .execute()
        .try_collect()
        .await
        .map_err(system_error)
        .context("list addresses")?;
    for message in messages {
        match handle.address().del(message).execute().await {
            Err(error) if !is_errno(&error, Errno::ADDRNOTAVAIL) => {
                return Err(system_error(error)).context("remove an address");
            }
            _ => {}
        }
    }
    Ok(())
}
