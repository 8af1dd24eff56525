//! The host as the underlay sees it: its interfaces, their addresses, and the ways from there.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt;
use maps_schema::{IfIndex, Mac};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteVia,
};
use rtnetlink::{Handle, RouteMessageBuilder};
use rustix::io::Errno;

use super::driver::Drivers;
use super::interface::{self, is_errno, system_error};
use super::netns::Netns;

/// An interface of the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostInterface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub ifindex: IfIndex,
    /// The largest IP packet that it carries, in bytes.
    pub mtu: u32,
    /// Whether it leads to the host itself only.
    pub is_loopback: bool,
    /// Whether it carries Ethernet frames.
    pub is_ethernet: bool,
    /// What its driver is called, if it says so.
    pub driver: Option<String>,
    /// Its MAC address, if it has one.
    pub mac: Option<Mac>,
}

/// The interfaces of a host and the addresses that they have.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Interfaces {
    /// The interfaces.
    pub all: Vec<HostInterface>,
    /// Which interface has an address.
    pub addresses: BTreeMap<IpAddr, IfIndex>,
    /// The first and the last of the ports that programs are given where they ask for none.
    pub local_ports: (u16, u16),
}

impl Interfaces {
    /// The interface of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&HostInterface> {
        self.all.iter().find(|it| it.name == name)
    }

    /// The interface that has an address.
    #[must_use]
    pub fn with(&self, address: IpAddr) -> Option<&HostInterface> {
        let ifindex = self.addresses.get(&address)?;
        self.all.iter().find(|it| it.ifindex == *ifindex)
    }
}

/// The first step on the way to an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way {
    /// The interface that it leads through.
    pub ifindex: IfIndex,
    /// The next hop: the address itself if it can be reached directly.
    pub next_hop: IpAddr,
}

/// A host's connection to what the kernel knows of the underlay.
#[derive(Debug)]
pub struct Underlay {
    handle: Handle,
}

impl Underlay {
    /// That of a host.
    ///
    /// # Errors
    ///
    /// No tokio runtime is running, or netlink is not available.
    pub fn new(host: &Netns) -> Result<Self> {
        Ok(Self {
            handle: host.connect()?,
        })
    }

    /// The interfaces and their addresses.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub async fn interfaces(&self) -> Result<Interfaces> {
        let interfaces = interface::interfaces(&self.handle).await?;
        let messages: Vec<AddressMessage> = self
            .handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(system_error)
            .context("list addresses")?;
        let drivers = Drivers::new()?;
        let all = interfaces.into_iter().map(|it| HostInterface {
            driver: drivers.of(&it.name),
            name: it.name,
            ifindex: IfIndex(it.index),
            mtu: it.mtu,
            is_loopback: it.is_loopback,
            is_ethernet: it.is_ethernet,
            mac: it.mac,
        });
        Ok(Interfaces {
            all: all.collect(),
            addresses: messages.iter().filter_map(address).collect(),
            local_ports: local_ports()?,
        })
    }

    /// The interface that the default route leads through: that of IPv4, or else that of IPv6. All routes
    /// are read for it, of which a machine may have many.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub async fn outside(&self) -> Result<Option<IfIndex>> {
        match self.default_way::<Ipv4Addr>().await? {
            Some(ifindex) => Ok(Some(ifindex)),
            None => self.default_way::<Ipv6Addr>().await,
        }
    }

    /// The interface of the default route that the main table prefers.
    async fn default_way<A>(&self) -> Result<Option<IfIndex>>
    where
        RouteMessageBuilder<A>: Default,
    {
        let question = RouteMessageBuilder::<A>::default().build();
        let routes = interface::routes(&self.handle, question).await?;
        let defaults = routes.iter().filter(|route| {
            route.header.destination_prefix_length == 0
                && route.header.table == RouteHeader::RT_TABLE_MAIN
        });
        let best = defaults.min_by_key(|route| metric(route));
        Ok(best
            .and_then(|route| way(route, IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
            .map(|way| way.ifindex))
    }

    /// The way to an address, as the routing tables have it now (`RTM_GETROUTE`, what `ip route get`
    /// asks); nothing if there is none.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub async fn way(&self, to: IpAddr) -> Result<Option<Way>> {
        let question = match to {
            IpAddr::V4(to) => RouteMessageBuilder::<std::net::Ipv4Addr>::new()
                .destination_prefix(to, 32)
                .build(),
            IpAddr::V6(to) => RouteMessageBuilder::<std::net::Ipv6Addr>::new()
                .destination_prefix(to, 128)
                .build(),
        };
        let mut answers = Box::pin(self.handle.route().get(question).execute());
        match answers.try_next().await {
            Ok(answer) => Ok(answer.and_then(|route| way(&route, to))),
            Err(error) if NO_WAY.iter().any(|&errno| is_errno(&error, errno)) => Ok(None),
            Err(error) => {
                Err(system_error(error)).with_context(|| format!("ask for a way to {to}"))
            }
        }
    }
}

/// What the kernel says of an address to which no route leads, or one that forbids it.
const NO_WAY: &[Errno] = &[
    Errno::NETUNREACH,
    Errno::HOSTUNREACH,
    Errno::ACCESS,
    Errno::INVAL,
];

/// What is asked of a route where several lead to the same destination; less is better.
fn metric(route: &RouteMessage) -> u32 {
    let metric = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    };
    route.attributes.iter().find_map(metric).unwrap_or(0)
}

/// The ports that programs are given, as the network namespace of this thread has it.
fn local_ports() -> Result<(u16, u16)> {
    let path = "/proc/sys/net/ipv4/ip_local_port_range";
    let text = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Ok((first, last)),
        _ => bail!("{path} holds no range of ports: {text:?}"),
    }
}

fn address(message: &AddressMessage) -> Option<(IpAddr, IfIndex)> {
    let mut own = None;
    for attribute in &message.attributes {
        match attribute {
            // At an interface to a single neighbor, `Address` is the neighbor's.
            AddressAttribute::Local(address) => own = Some(*address),
            AddressAttribute::Address(address) => own = own.or(Some(*address)),
            _ => {}
        }
    }
    Some((own?, IfIndex(message.header.index)))
}

fn way(route: &RouteMessage, to: IpAddr) -> Option<Way> {
    let mut ifindex = None;
    let mut next_hop = to;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(IfIndex(*index)),
            RouteAttribute::Gateway(RouteAddress::Inet(ip))
            | RouteAttribute::Via(RouteVia::Inet(ip)) => next_hop = (*ip).into(),
            RouteAttribute::Gateway(RouteAddress::Inet6(ip))
            | RouteAttribute::Via(RouteVia::Inet6(ip)) => next_hop = (*ip).into(),
            _ => {}
        }
    }
    Some(Way {
        ifindex: ifindex?,
        next_hop,
    })
}
