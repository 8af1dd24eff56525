//! Links: veth pairs between the host and the workloads' namespaces, by netlink.
//!
//! The host's end carries the instance's name prefix and, as the last step of its making, an alias
//! that says whose it is: an end without an alias was left by a process that died half-way.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures_util::StreamExt;
use maps_schema::IfIndex;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{In6AddrGenMode, InfoData, InfoVeth, LinkAttribute};
use rtnetlink::packet_route::nsid::{NsidAttribute, NsidMessage};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth};
use rustix::io::Errno;
use tokio::time::{Instant, sleep};

pub use super::inside::ROUTE_PROTOCOL;
use super::inside::Workload;
use super::interface::{self, Interface, system_error};
use super::netns::{Netns, NetnsId};
use crate::holdings::{Observed, Peer};
use crate::instance::Instance;
use crate::link::Link;

/// The smallest MTU that a link for IPv6 may have (RFC 8200, section 5).
const IPV6_MIN_MTU: u32 = 1280;

/// How long the kernel is given to take note of a carrier, and how often it is asked.
const CARRIER_LIMIT: Duration = Duration::from_secs(2);
const CARRIER_PAUSE: Duration = Duration::from_millis(1);

/// The links of one instance, seen from the host's namespace.
#[derive(Debug)]
pub struct Links {
    instance: Instance,
    host: Handle,
    home: NetnsId,
}

/// The workload already has an interface of the name that a link's end should get.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "workload {workload} ({netns}) already has an interface `{interface}`: give the port another \
     interface name in the topology, or remove that interface (a container started with \
     `--network none` has none but lo)"
)]
pub struct InterfaceTaken {
    /// The workload's name.
    pub workload: String,
    /// How its namespace was named.
    pub netns: String,
    /// The interface's name.
    pub interface: String,
}

impl Links {
    /// The links of an instance whose host is the namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// No tokio runtime is running, or netlink is not available.
    pub fn new(instance: &Instance) -> Result<Self> {
        Self::in_netns(instance, &Netns::current()?)
    }

    /// The links of an instance whose host is a certain namespace.
    ///
    /// # Errors
    ///
    /// As for [`Links::new`].
    pub fn in_netns(instance: &Instance, host: &Netns) -> Result<Self> {
        Ok(Self {
            instance: instance.clone(),
            host: host.connect()?,
            home: host.id(),
        })
    }

    /// Every link of the instance, by the name of the host's end. `places` says, by the same name,
    /// in which namespace the workload's end should be.
    ///
    /// # Errors
    ///
    /// The kernel refuses to tell.
    pub async fn observe(
        &self,
        places: &BTreeMap<String, &Netns>,
    ) -> Result<BTreeMap<String, Observed>> {
        let mut observed = BTreeMap::new();
        let mut inside: BTreeMap<NetnsId, Vec<(Interface, &Netns)>> = BTreeMap::new();
        for end in interface::interfaces(&self.host).await? {
            if !self.owns(&end) {
                continue;
            }
            let place = places.get(&end.name).copied();
            let entry = Observed {
                ifindex: IfIndex(end.index),
                alias: end.alias.clone(),
                peer: place.map_or(Peer::Unasked, |_| Peer::Elsewhere),
            };
            observed.insert(end.name.clone(), entry);
            if let Some(netns) = place {
                inside.entry(netns.id()).or_default().push((end, netns));
            }
        }
        for ends in inside.into_values() {
            self.observe_inside(&ends, &mut observed).await?;
        }
        Ok(observed)
    }

    /// Looks at the other ends of links that should lead into the same namespace.
    async fn observe_inside(
        &self,
        ends: &[(Interface, &Netns)],
        observed: &mut BTreeMap<String, Observed>,
    ) -> Result<()> {
        let Some(&(_, netns)) = ends.first() else {
            return Ok(());
        };
        // An index alone would not do: another namespace may have the same. The host's own has no number,
        // and none is told of a pair that is all in it.
        let expected = if netns.id() == self.home {
            None
        } else {
            match self.number_of(netns).await? {
                None => return Ok(()),
                number => number,
            }
        };
        let snapshot = Workload::open(netns)?.snapshot().await?;
        for (end, _) in ends {
            let Some((alias, peer)) = end.alias.clone().zip(end.peer) else {
                continue;
            };
            let other = snapshot.interface(peer);
            let (Some(other), Some(inside)) = (other, snapshot.inside(peer)) else {
                continue;
            };
            if end.peer_netns != expected {
                continue;
            }
            let link = Link {
                name: end.name.clone(),
                alias,
                mtu: if end.mtu == other.mtu { end.mtu } else { 0 },
                up: end.up && other.up,
                inside,
            };
            if let Some(entry) = observed.get_mut(&end.name) {
                entry.peer = Peer::Inside(link);
            }
        }
        Ok(())
    }

    /// The number under which the host's namespace knows another one, if it has to do with it at
    /// all (`RTM_GETNSID`).
    async fn number_of(&self, netns: &Netns) -> Result<Option<i32>> {
        let mut question = NsidMessage::default();
        let fd = u32::try_from(netns.as_fd().as_raw_fd())?;
        question.attributes = vec![NsidAttribute::Fd(fd)];
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(question));
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
        let mut answers = self.host.clone().request(request).map_err(system_error)?;
        let mut number = None;
        while let Some(answer) = answers.next().await {
            match answer.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(message)) => {
                    number = message.attributes.iter().find_map(|a| match a {
                        NsidAttribute::Id(id) if *id >= 0 => Some(*id),
                        _ => None,
                    });
                }
                NetlinkPayload::Error(error) if error.code.is_some() => {
                    return Err(error.to_io())
                        .with_context(|| format!("ask for the number of {netns}"));
                }
                _ => {}
            }
        }
        Ok(number)
    }

    /// Makes a link with both ends down and without addresses. [`Links::adjust`] completes it; until
    /// then it counts as half-made. Between the two the datapath is attached, so that no frame gets
    /// past it into the host's own stack.
    ///
    /// # Errors
    ///
    /// [`InterfaceTaken`] when the workload has an interface of that name; else the kernel refuses.
    pub async fn create(&self, link: &Link, netns: &Netns) -> Result<IfIndex> {
        self.create_pair(link, netns).await?;
        if netns.id() == self.home {
            Workload::open(netns)?.distrust_routers(&link.inside.interface)?;
        }
        Ok(IfIndex(self.end(&link.name).await?.index))
    }

    /// One request makes both ends, the workload's one in its namespace and under its final name,
    /// so that no half of a pair is ever seen in the host's namespace.
    async fn create_pair(&self, link: &Link, netns: &Netns) -> Result<()> {
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(&link.inside.interface)
            .address(link.inside.mac.octets().to_vec())
            .mtu(link.mtu)
            .setns_by_fd(netns.as_fd().as_raw_fd())
            .build();
        let pair = LinkVeth::new(&link.name, &link.inside.interface)
            .mtu(link.mtu)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        let Err(error) = self.host.link().add(pair).execute().await else {
            return Ok(());
        };
        if interface::is_errno(&error, Errno::EXIST) {
            if interface::interface(&self.host, &link.name)
                .await?
                .is_some()
            {
                bail!(
                    "the host already has an interface `{}`, which bowline needs for {}",
                    link.name,
                    self.describe(link)
                );
            }
            let interface = &link.inside.interface;
            if Workload::open(netns)?.interface(interface).await?.is_some() {
                return Err(InterfaceTaken {
                    workload: self.workload(link),
                    netns: netns.to_string(),
                    interface: interface.clone(),
                }
                .into());
            }
        }
        Err(system_error(error)).with_context(|| format!("make the link {}", self.describe(link)))
    }

    /// Completes a new link, or changes an existing one into what it should be, as far as
    /// [`Link::needs_recreation`] does not say otherwise. Only what differs is touched, and the link stays up.
    ///
    /// # Errors
    ///
    /// There is no such link, or the kernel refuses a step; those before it stay done.
    pub async fn adjust(&self, to: &Link, netns: &Netns) -> Result<()> {
        let adjust = async {
            let end = self.end(&to.name).await?;
            self.set_host_up(&end, to).await?;
            self.inside_of(&end, to, netns).await?;
            if end.alias.as_ref() != Some(&to.alias) {
                self.set_alias(&end, to).await?;
            }
            anyhow::Ok(())
        };
        adjust
            .await
            .with_context(|| format!("change the link {}", self.describe(to)))
    }

    /// Waits until the host's end takes what is sent by it. The kernel refuses that until it has taken note of the
    /// carrier, which it does in the background (`net/core/link_watch.c`). A link whose workload has set its end
    /// down, or that has gone, is not waited for longer than a moment.
    ///
    /// # Errors
    ///
    /// The kernel refuses to tell.
    pub async fn await_carrier(&self, link: &Link) -> Result<()> {
        let begin = Instant::now();
        while let Some(end) = interface::interface(&self.host, &link.name).await? {
            if end.is_operational || begin.elapsed() > CARRIER_LIMIT {
                break;
            }
            sleep(CARRIER_PAUSE).await;
        }
        Ok(())
    }

    /// Lets the workload tell its neighbors which MAC address its addresses have, so that those who
    /// knew another one forget it.
    ///
    /// # Errors
    ///
    /// There is no such link, or the kernel refuses.
    pub async fn announce(&self, link: &Link, netns: &Netns) -> Result<()> {
        let end = self.end(&link.name).await?;
        Workload::open(netns)?
            .announce(peer_of(&end)?, link)
            .await
            .with_context(|| format!("announce the link {}", self.describe(link)))
    }

    /// Deletes a link, both ends of it; one that is not there any more is no error.
    ///
    /// # Errors
    ///
    /// The interface is not one of this instance, or the kernel refuses.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let Some(end) = interface::interface(&self.host, name).await? else {
            return Ok(());
        };
        if !self.owns(&end) {
            bail!("{name} is not a link of instance {}", self.instance.name());
        }
        self.remove(end.index)
            .await
            .with_context(|| format!("delete the link {name}"))
    }

    pub(super) async fn remove(&self, index: u32) -> Result<()> {
        match self.host.link().del(index).execute().await {
            Err(error) if !interface::is_errno(&error, Errno::NODEV) => Err(system_error(error)),
            _ => Ok(()),
        }
    }

    /// Ours is what has our alias, and what has our kind of name and no alias yet.
    fn owns(&self, end: &Interface) -> bool {
        end.is_veth
            && match &end.alias {
                Some(alias) => self.instance.port_of_alias(alias).is_some(),
                None => self.instance.is_host_end(&end.name),
            }
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.host
    }

    pub(super) fn instance(&self) -> &Instance {
        &self.instance
    }

    pub(super) async fn end(&self, name: &str) -> Result<Interface> {
        interface::interface(&self.host, name)
            .await?
            .ok_or_else(|| anyhow!("the host has no interface {name}"))
    }

    /// The host's end is a hole in the wall and not a station: it has no address of its own, and
    /// answers and asks for none.
    async fn set_host_up(&self, end: &Interface, link: &Link) -> Result<()> {
        if end.mtu != link.mtu {
            let message = LinkUnspec::new_with_index(end.index).mtu(link.mtu);
            interface::change(&self.host, message)
                .await
                .map_err(system_error)
                .with_context(|| format!("set the MTU of {} to {}", link.name, link.mtu))?;
        }
        interface::set_address_mode(&self.host, end.index, In6AddrGenMode::None).await?;
        if end.up && end.mtu < IPV6_MIN_MTU && link.mtu >= IPV6_MIN_MTU {
            // Below this MTU an interface forgets about IPv6, and above it, being up, it has made a
            // link-local address before it can be told not to.
            interface::remove_addresses(&self.host, end.index).await?;
        }
        let message = LinkUnspec::new_with_index(end.index).arp(false);
        let message = if link.up {
            message.up()
        } else {
            message.down()
        };
        interface::change(&self.host, message)
            .await
            .map_err(system_error)
            .with_context(|| format!("set {} up", link.name))
    }

    async fn inside_of(&self, end: &Interface, link: &Link, netns: &Netns) -> Result<()> {
        Workload::open(netns)?.reconcile(peer_of(end)?, link).await
    }

    async fn set_alias(&self, end: &Interface, link: &Link) -> Result<()> {
        let message = LinkUnspec::new_with_index(end.index)
            .append_extra_attribute(LinkAttribute::IfAlias(link.alias.clone()));
        interface::change(&self.host, message)
            .await
            .map_err(system_error)
            .with_context(|| format!("set the alias of {}", link.name))
    }

    fn workload(&self, link: &Link) -> String {
        self.instance
            .port_of_alias(&link.alias)
            .map_or_else(|| link.alias.clone(), |port| port.workload)
    }

    fn describe(&self, link: &Link) -> String {
        self.instance.port_of_alias(&link.alias).map_or_else(
            || link.name.clone(),
            |port| format!("{} of port {port}", link.name),
        )
    }
}

/// The index of the other end, in its own namespace.
fn peer_of(end: &Interface) -> Result<u32> {
    end.peer
        .with_context(|| format!("{} has no other end", end.name))
}
