//! A workload's namespace: its interfaces as they are, and the one that bowline put there brought to
//! what it should be, changing only what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt;
use ipnet::IpNet;
use maps_schema::Mac;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::In6AddrGenMode;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol,
};
use rtnetlink::{AddressMessageBuilder, Handle, LinkUnspec, RouteMessageBuilder};
use rustix::io::Errno;

use super::interface::{
    Interface, announce, change, interface, interfaces, is_errno, set_address_mode, system_error,
};
use super::netns::Netns;
use crate::link::{Inside, Link, Route, link_local};

/// The `rtm_protocol` of the routes that bowline makes ("b"), by which it knows them again. The
/// kernel gives the numbers from 64 on no meaning (`linux/rtnetlink.h`).
pub const ROUTE_PROTOCOL: u8 = 98;

/// A workload's namespace and a connection in it.
pub(super) struct Workload<'a> {
    netns: &'a Netns,
    handle: Handle,
}

/// What is in a workload's namespace at one moment.
pub(super) struct Snapshot {
    interfaces: BTreeMap<u32, Interface>,
    addresses: BTreeMap<u32, BTreeSet<IpNet>>,
    routes: BTreeMap<u32, BTreeSet<Route>>,
}

impl<'a> Workload<'a> {
    pub(super) fn open(netns: &'a Netns) -> Result<Self> {
        Ok(Self {
            netns,
            handle: netns.connect()?,
        })
    }

    pub(super) async fn interface(&self, name: &str) -> Result<Option<Interface>> {
        interface(&self.handle, name).await
    }

    /// Reads everything.
    pub(super) async fn snapshot(&self) -> Result<Snapshot> {
        let read = async {
            let interfaces = interfaces(&self.handle).await?;
            anyhow::Ok(Snapshot {
                interfaces: interfaces.into_iter().map(|i| (i.index, i)).collect(),
                addresses: self.addresses().await?,
                routes: self.routes().await?,
            })
        };
        read.await
            .with_context(|| format!("look into the network namespace of {}", self.netns))
    }

    async fn addresses(&self) -> Result<BTreeMap<u32, BTreeSet<IpNet>>> {
        let messages: Vec<AddressMessage> = self
            .handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(system_error)
            .context("list addresses")?;
        let mut addresses: BTreeMap<u32, BTreeSet<IpNet>> = BTreeMap::new();
        for message in messages {
            // What has a lifetime came from a protocol inside the workload and is its own business.
            if message.header.flags.contains(AddressHeaderFlags::Permanent)
                && let Some(address) = address(&message)
            {
                addresses
                    .entry(message.header.index)
                    .or_default()
                    .insert(address);
            }
        }
        Ok(addresses)
    }

    async fn routes(&self) -> Result<BTreeMap<u32, BTreeSet<Route>>> {
        let mut routes: BTreeMap<u32, BTreeSet<Route>> = BTreeMap::new();
        for question in [
            RouteMessageBuilder::<Ipv4Addr>::new().build(),
            RouteMessageBuilder::<Ipv6Addr>::new().build(),
        ] {
            let messages = super::interface::routes(&self.handle, question).await?;
            for (index, route) in messages.iter().filter_map(own_route) {
                routes.entry(index).or_default().insert(route);
            }
        }
        Ok(routes)
    }

    /// Brings one interface to what the link says, without taking it down.
    ///
    /// # Errors
    ///
    /// The kernel refuses a step; those before it stay done.
    pub(super) async fn reconcile(&self, index: u32, link: &Link) -> Result<()> {
        let now = self.snapshot().await?;
        let interface = now.interfaces.get(&index).with_context(|| {
            format!(
                "{} is not in {} any more",
                link.inside.interface, self.netns
            )
        })?;
        self.set_up(interface, &now, link).await?;
        if self.set_addresses(index, &now, link).await? {
            // Without `promote_secondaries` the kernel removes, together with an IPv4 address, the
            // later ones of its subnet, and with the last one the routes that need it.
            let now = self.snapshot().await?;
            self.set_addresses(index, &now, link).await?;
        }
        if link.up {
            let now = self.snapshot().await?;
            self.set_routes(index, &now, link).await?;
        }
        Ok(())
    }

    /// Tells the neighbors in the network which MAC address the interface's addresses have. Who had
    /// one of them before may still be in their caches, and nothing else would tell them for a minute.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub(super) async fn announce(&self, index: u32, link: &Link) -> Result<()> {
        let name = &link.inside.interface;
        let notify = || {
            for path in [
                format!("/proc/sys/net/ipv4/conf/{name}/arp_notify"),
                format!("/proc/sys/net/ipv6/conf/{name}/ndisc_notify"),
            ] {
                write_if_there(&path, "1")?;
            }
            anyhow::Ok(())
        };
        // The folder shows the namespace of the thread that looks.
        self.netns
            .run(notify)?
            .with_context(|| format!("in {}", self.netns))?;
        announce(&self.handle, index, link.inside.mac)
            .await
            .with_context(|| format!("{name} in {}", self.netns))
    }

    /// Lets nobody in the network tell this namespace where its packets go: it is the host's own.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub(super) fn distrust_routers(&self, interface: &str) -> Result<()> {
        let distrust = || {
            for path in [
                format!("/proc/sys/net/ipv6/conf/{interface}/accept_ra"),
                format!("/proc/sys/net/ipv6/conf/{interface}/accept_redirects"),
                format!("/proc/sys/net/ipv4/conf/{interface}/accept_redirects"),
            ] {
                write_if_there(&path, "0")?;
            }
            anyhow::Ok(())
        };
        self.netns
            .run(distrust)?
            .with_context(|| format!("in {}", self.netns))
    }

    async fn set_up(&self, interface: &Interface, now: &Snapshot, link: &Link) -> Result<()> {
        let index = interface.index;
        let name = &link.inside.interface;
        if interface.mtu != link.mtu {
            let message = LinkUnspec::new_with_index(index).mtu(link.mtu);
            change(&self.handle, message)
                .await
                .map_err(system_error)
                .with_context(|| format!("set the MTU of {name} to {}", link.mtu))?;
        }
        if let Some(loopback) = now.interfaces.values().find(|i| i.name == "lo" && !i.up) {
            let message = LinkUnspec::new_with_index(loopback.index).up();
            change(&self.handle, message)
                .await
                .map_err(system_error)
                .context("set lo up")?;
        }
        if interface.address_mode != Some(In6AddrGenMode::Eui64) {
            // The datapath lets a workload use the link-local address that follows from its MAC
            // address, and no other.
            set_address_mode(&self.handle, index, In6AddrGenMode::Eui64).await?;
        }
        if link.inside.addresses.iter().any(|a| a.addr().is_ipv6()) {
            self.enable_ipv6(name)?;
        }
        if interface.up != link.up {
            let message = LinkUnspec::new_with_index(index);
            let message = if link.up {
                message.up()
            } else {
                message.down()
            };
            change(&self.handle, message)
                .await
                .map_err(system_error)
                .with_context(|| format!("set {name} up"))?;
        }
        Ok(())
    }

    /// Docker switches IPv6 off in its containers' interfaces unless its own network has it.
    fn enable_ipv6(&self, interface: &str) -> Result<()> {
        let path = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
        let enable = || -> io::Result<()> {
            if fs::read_to_string(&path)?.trim() == "0" {
                return Ok(());
            }
            fs::write(&path, "0")
        };
        // The folder shows the namespace of the thread that looks.
        match self.netns.run(enable)? {
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
                "{interface} in {} should get an IPv6 address, but has no IPv6: it is switched off \
                 in this kernel, or the MTU is below 1280",
                self.netns
            ),
            result => result.with_context(|| format!("write {path} in {}", self.netns)),
        }
    }

    /// Adds what is missing, then removes what is too much; says whether anything was removed.
    async fn set_addresses(&self, index: u32, now: &Snapshot, link: &Link) -> Result<bool> {
        let wanted = &link.inside.addresses;
        let present = now.addresses_of(index, link.inside.mac);
        let name = &link.inside.interface;
        for &address in wanted.difference(&present) {
            let mut request =
                self.handle
                    .address()
                    .add(index, address.addr(), address.prefix_len());
            if address.addr().is_ipv6() {
                // The topology says that the address is unique: nothing waits for its detection.
                request.message_mut().header.flags = AddressHeaderFlags::Nodad;
            }
            request
                .execute()
                .await
                .map_err(system_error)
                .with_context(|| format!("add {address} to {name} in {}", self.netns))?;
        }
        let mut removed = false;
        for &address in present.difference(wanted) {
            match self
                .handle
                .address()
                .del(message_of(index, address))
                .execute()
                .await
            {
                // Removed together with another one, or with all of IPv6 by an MTU below 1280.
                Err(error)
                    if is_errno(&error, Errno::ADDRNOTAVAIL) || is_errno(&error, Errno::NXIO) => {}
                result => result
                    .map_err(system_error)
                    .with_context(|| format!("remove {address} from {name} in {}", self.netns))?,
            }
            removed = true;
        }
        Ok(removed)
    }

    async fn set_routes(&self, index: u32, now: &Snapshot, link: &Link) -> Result<()> {
        let wanted = &link.inside.routes;
        let empty = BTreeSet::new();
        let present = now.routes.get(&index).unwrap_or(&empty);
        // A changed next hop has the destination of the route that it replaces, so this time the
        // old one must go first.
        for route in present.difference(wanted) {
            match self
                .handle
                .route()
                .del(route_message(index, route)?)
                .execute()
                .await
            {
                Err(error) if is_errno(&error, Errno::SRCH) => {}
                result => result
                    .map_err(system_error)
                    .with_context(|| format!("remove the {}", self.describe(route)))?,
            }
        }
        for route in wanted.difference(present) {
            match self
                .handle
                .route()
                .add(route_message(index, route)?)
                .execute()
                .await
            {
                Err(error) if is_errno(&error, Errno::EXIST) => bail!(
                    "cannot add the {}: it has another route to the same destination; remove that \
                     one, or this one from the topology",
                    self.describe(route)
                ),
                result => result
                    .map_err(system_error)
                    .with_context(|| format!("add the {}", self.describe(route)))?,
            }
        }
        Ok(())
    }

    fn describe(&self, route: &Route) -> String {
        format!("route to {} via {} in {}", route.to, route.via, self.netns)
    }
}

impl Snapshot {
    pub(super) fn interface(&self, index: u32) -> Option<&Interface> {
        self.interfaces.get(&index)
    }

    /// The interface as the plan speaks of it, if it has a MAC address.
    pub(super) fn inside(&self, index: u32) -> Option<Inside> {
        let interface = self.interfaces.get(&index)?;
        let mac = interface.mac?;
        Some(Inside {
            interface: interface.name.clone(),
            mac,
            addresses: self.addresses_of(index, mac),
            routes: self.routes.get(&index).cloned().unwrap_or_default(),
        })
    }

    /// The addresses besides the one that the kernel makes of the MAC address.
    fn addresses_of(&self, index: u32, mac: Mac) -> BTreeSet<IpNet> {
        let own = IpAddr::V6(link_local(mac));
        let mut addresses = self.addresses.get(&index).cloned().unwrap_or_default();
        addresses.retain(|address| address.addr() != own);
        addresses
    }
}

/// Writes a setting. This interface, or all of this kernel, may have no IPv6.
fn write_if_there(path: &str, value: &str) -> Result<()> {
    match fs::write(path, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.with_context(|| format!("write {path}")),
    }
}

fn address(message: &AddressMessage) -> Option<IpNet> {
    // On an interface that is not point-to-point, IPv4's `Local` and `Address` are the same; IPv6
    // has `Address` only.
    let address = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    })?;
    IpNet::new(address, message.header.prefix_len).ok()
}

fn message_of(index: u32, address: IpNet) -> AddressMessage {
    match address {
        IpNet::V4(net) => AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(net.addr(), net.prefix_len())
            .build(),
        IpNet::V6(net) => AddressMessageBuilder::<Ipv6Addr>::new()
            .index(index)
            .address(net.addr(), net.prefix_len())
            .build(),
    }
}

fn route_message(index: u32, route: &Route) -> Result<RouteMessage> {
    let message = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(route.to.network(), route.to.prefix_len())
        .and_then(|message| message.gateway(route.via))
        .with_context(|| format!("route to {} via {}", route.to, route.via))?;
    Ok(message
        .output_interface(index)
        .protocol(RouteProtocol::Other(ROUTE_PROTOCOL))
        .build())
}

/// A route of ours and the interface that it leads through.
fn own_route(message: &RouteMessage) -> Option<(u32, Route)> {
    let header = &message.header;
    if header.protocol != RouteProtocol::Other(ROUTE_PROTOCOL)
        || header.table != RouteHeader::RT_TABLE_MAIN
    {
        return None;
    }
    let unspecified = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let (mut to, mut via, mut index) = (unspecified, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(address)?,
            RouteAttribute::Gateway(address) => via = ip(address),
            RouteAttribute::Oif(oif) => index = Some(*oif),
            _ => {}
        }
    }
    let to = IpNet::new(to, header.destination_prefix_length).ok()?;
    Some((index?, Route { to, via: via? }))
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_survives_its_message_and_others_are_not_ours() {
        for (to, via) in [
            ("0.0.0.0/0", "10.1.0.1"),
            ("10.2.0.0/16", "10.1.0.1"),
            ("::/0", "fd00::1"),
            ("fd00:2::/64", "fd00::1"),
        ] {
            let route = Route {
                to: to.parse().unwrap(),
                via: via.parse().unwrap(),
            };
            let mut message = route_message(7, &route).unwrap();
            assert_eq!(own_route(&message), Some((7, route)));
            message.header.protocol = RouteProtocol::Static;
            assert_eq!(own_route(&message), None);
        }
        let mixed = Route {
            to: "10.2.0.0/16".parse().unwrap(),
            via: "fd00::1".parse().unwrap(),
        };
        let message = route_message(7, &mixed).unwrap();
        assert_eq!(own_route(&message), None);
    }

    #[test]
    fn an_address_survives_its_message() {
        for text in ["10.1.0.10/24", "10.1.0.10/32", "fd00::a/64"] {
            let net: IpNet = text.parse().unwrap();
            assert_eq!(address(&message_of(1, net)), Some(net));
        }
    }
}
