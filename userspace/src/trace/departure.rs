//! What the workload's own kernel does with the packet, before there is a frame.

use std::net::IpAddr;

use maps_schema::IfIndex;

use super::journey::Journey;
use super::mend;
use super::outcome::{NotSent, Outcome, plug_in};
use super::packet::Station;
use super::party::{Holder, Receiver, Sender};
use super::route::{self, Hop, Kind, Way};
use super::{Protocol, Stage};
use crate::plan::PlannedLink;

/// What the workload's kernel has decided.
pub(super) struct Departure<'a> {
    /// The way that it takes out of the workload.
    pub(super) way: Way<'a>,
    /// Whom the packet is for.
    pub(super) destination: IpAddr,
    /// The host's end of the link.
    pub(super) interface: IfIndex,
    /// The network that the link leads to.
    pub(super) network: &'a str,
}

impl Departure<'_> {
    pub(super) fn source(&self) -> Station {
        Station {
            mac: self.way.link.link.inside.mac,
            ip: self.way.source,
        }
    }

    /// The station whose MAC address is needed.
    pub(super) fn next_hop(&self) -> IpAddr {
        match self.way.hop {
            Hop::Via(_, via) => via,
            Hop::OnLink(_) | Hop::Group(_) => self.destination,
        }
    }
}

impl<'a> Journey<'a> {
    /// What the workload's kernel decides; or what becomes of the packet if it goes no further.
    pub(super) fn depart(
        &mut self,
        sender: &Sender<'a>,
        receiver: &Receiver<'a>,
        protocol: Protocol,
    ) -> Result<Departure<'a>, Outcome> {
        let links = self.plugged(sender)?;
        let (destination, holder) = self.destination(&links, receiver)?;
        let own = self.plan.links.values();
        let own: Vec<_> = own
            .filter(|planned| planned.name.workload == sender.workload)
            .collect();
        let ways = match route::kind(&own, destination) {
            Kind::Own => {
                let workload = sender.workload.to_owned();
                return Err(Outcome::Kept { workload });
            }
            Kind::Group => route::group_ways(&links, destination),
            Kind::Station => route::ways(&links, destination),
        };
        let preferred = holder.map(|holder| holder.network());
        let by_preference = |way: &&Way<'a>| Some(self.network_of(way.link)) != preferred;
        let Some(&way) = ways.iter().min_by_key(by_preference) else {
            return Err(self.no_route(sender, &links, destination, holder));
        };
        self.tell_way(&way, &ways, destination, holder);
        if protocol == Protocol::Tcp && matches!(way.hop, Hop::Group(_)) {
            return Err(Outcome::not_sent(
                NotSent::TcpToGroup,
                format!("TCP connects two stations, and {destination} is for many."),
                "trace udp or icmp instead",
            ));
        }
        Ok(Departure {
            destination,
            // There is one: only such links were taken. No port is behind interface 0.
            interface: self.interface(way.link).unwrap_or(IfIndex(0)),
            network: self.network_of(way.link),
            way,
        })
    }

    /// The sender's links that are there.
    fn plugged(&mut self, sender: &Sender<'a>) -> Result<Vec<&'a PlannedLink>, Outcome> {
        let links: Vec<_> = sender
            .ports
            .iter()
            .filter_map(|(_, port)| self.plan.link_of(port.id))
            .filter(|link| self.interface(link).is_some())
            .collect();
        if !links.is_empty() {
            return Ok(links);
        }
        for (name, port) in &sender.ports {
            let text = format!("nothing is plugged in at {name}");
            self.tell(Stage::Workload, text, Some(&port.origin));
        }
        let workload = sender.workload;
        if let Some((host, _)) = self.elsewhere(workload) {
            let meaning =
                format!("Workload {workload} is on host {host}, where its packets start.");
            let hint = format!("trace it there, or with `--host {host}`");
            return Err(Outcome::not_sent(NotSent::Elsewhere, meaning, hint));
        }
        let hint = if sender.ports.is_empty() {
            format!("give workload {workload} a port")
        } else {
            plug_in(workload)
        };
        let meaning = format!("Nothing is plugged in for {} at this moment.", sender.name);
        Err(Outcome::not_sent(NotSent::Unplugged, meaning, hint))
    }

    /// The destination's address, and the port that the user meant by it, if any. Of several
    /// addresses it is one that can be reached, on a network of the sender, of IPv4, in this order.
    fn destination(
        &mut self,
        links: &[&'a PlannedLink],
        receiver: &Receiver<'a>,
    ) -> Result<(IpAddr, Option<Holder<'a>>), Outcome> {
        let ports = match receiver {
            Receiver::Address(ip) => return Ok((*ip, self.holder(links, *ip))),
            Receiver::Ports(ports) => ports,
        };
        let addresses = ports
            .iter()
            .flat_map(|&holder| holder.addresses().map(move |address| (address, holder)));
        let found = addresses.min_by_key(|(ip, holder)| {
            let ways = route::ways(links, *ip);
            let is_shared = |way: &Way<'a>| self.network_of(way.link) == holder.network();
            (ways.is_empty(), !ways.iter().any(is_shared), ip.is_ipv6())
        });
        let Some((ip, holder)) = found else {
            for holder in ports {
                let text = format!("{holder} has no address");
                self.tell(Stage::Workload, text, Some(holder.origin()));
            }
            let hint = if ports.is_empty() {
                "give the workload a port"
            } else {
                "give its port one: `addresses: [...]`"
            };
            let meaning = "The destination has no address.";
            return Err(Outcome::not_sent(NotSent::NoAddress, meaning, hint));
        };
        let text = format!("{holder} has {ip} on network {}", holder.network());
        self.tell(Stage::Workload, text, Some(holder.origin()));
        Ok((ip, Some(holder)))
    }

    /// Who was given an address, on a network of the sender if there are several.
    fn holder(&self, links: &[&PlannedLink], ip: IpAddr) -> Option<Holder<'a>> {
        Holder::all(self.topology)
            .filter(|holder| holder.has(ip))
            .min_by_key(|holder| !self.is_shared(links, holder))
    }

    /// Whether a port is on a network of these links.
    pub(super) fn is_shared(&self, links: &[&PlannedLink], holder: &Holder<'_>) -> bool {
        let mut networks = links.iter().map(|link| self.network_of(link));
        networks.any(|network| network == holder.network())
    }

    fn no_route(
        &mut self,
        sender: &Sender<'_>,
        links: &[&'a PlannedLink],
        destination: IpAddr,
        holder: Option<Holder<'_>>,
    ) -> Outcome {
        for link in links {
            let text = format!("{} leads {}", link.name, route::reach(&link.link));
            self.tell(Stage::Workload, text, self.origin_of(link));
        }
        let name = sender.name;
        let family = if destination.is_ipv4() {
            "IPv4"
        } else {
            "IPv6"
        };
        let mut addresses = links.iter().flat_map(|link| &link.link.inside.addresses);
        if !addresses.any(|address| address.addr().is_ipv4() == destination.is_ipv4()) {
            return Outcome::not_sent(
                NotSent::NoAddress,
                format!("There is no {family} address to send from at {name}."),
                "give its port one: `addresses: [...]`",
            );
        }
        let meaning =
            format!("{destination} is in no subnet of {name}, and no route of it leads there.");
        let hint = mend::no_way(self, name, links, destination, holder);
        Outcome::not_sent(NotSent::NoRoute, meaning, hint)
    }

    fn tell_way(
        &mut self,
        way: &Way<'a>,
        ways: &[Way<'a>],
        destination: IpAddr,
        holder: Option<Holder<'_>>,
    ) {
        let origin = self.origin_of(way.link);
        let (name, source) = (&way.link.name, way.source);
        let decision = match way.hop {
            Hop::OnLink(subnet) => format!("{destination} is in its subnet {subnet}"),
            Hop::Via(to, via) => format!("its route to {to} goes via {via}"),
            Hop::Group(_) => format!("{destination} is for many stations"),
        };
        let text = format!("sends from {source} at {name}: {decision}");
        self.tell(Stage::Workload, text, origin);
        let others: Vec<_> = ways
            .iter()
            .filter(|other| other.link.name != way.link.name)
            .collect();
        for other in others {
            let text = format!(
                "{} leads there just as well: trace from it by its name",
                other.link.name
            );
            self.tell(Stage::Workload, text, self.origin_of(other.link));
        }
        let mtu = way.link.link.mtu;
        let back = holder
            .map(|holder| (holder, holder.mtu(self.topology, self.plan.carried)))
            .filter(|(_, theirs)| *theirs != mtu)
            .map_or_else(String::new, |(holder, theirs)| {
                format!(", those of {holder} {theirs}")
            });
        let text = format!("mtu: its packets have {mtu} bytes at most{back}");
        self.tell(Stage::Workload, text, origin);
    }
}
