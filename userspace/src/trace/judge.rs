//! The verdict on a frame that went through the datapath.

use std::net::IpAddr;

use datapath::memory::parse;
use datapath::parse::TransportKind;
use datapath::{Action, icmp};
use maps_schema::{DropReason, Ip, PortId};

use super::departure::Departure;
use super::hops::RouterHop;
use super::journey::Journey;
use super::mend;
use super::onward::Onward;
use super::outcome::{Outcome, Refusal, Told};
use super::record::Passage;
use super::route::Hop;

impl<'a> Journey<'a> {
    /// What becomes of the packet, and whether it arrives.
    pub(super) fn judge(
        &self,
        departure: &Departure<'a>,
        passage: &Passage,
        hops: &[RouterHop],
        onward: &[Onward<'_>],
    ) -> (Outcome, bool) {
        if let Some(reason) = passage.refused() {
            return (self.refusal(departure, passage, hops, reason), false);
        }
        let names = &self.plan.names;
        let reached = passage.reached();
        if passage.is_flooded() {
            let is_group = matches!(departure.way.hop, Hop::Group(_));
            let holder = self.circumstances(departure).holder;
            let ports = reached.iter().map(|&port| names.port(port)).collect();
            let elsewhere = |port| onward.iter().find(|onward| onward.peer == port);
            let gets = |&port: &PortId| elsewhere(port).is_none_or(Onward::arrives);
            let arrives = match holder {
                Some(holder) if !is_group => self.is_reached(&holder, passage, onward),
                _ => is_group && reached.iter().any(gets),
            };
            return (Outcome::Flooded { ports }, arrives);
        }
        let last = hops.last();
        if let Some((key, address)) = last.and_then(|hop| hop.own) {
            let origin = names.ports.get(&address.port);
            let outcome = Outcome::Answered {
                router: names.router(key.router),
                origin: origin
                    .map(|named| named.origin.to_string())
                    .unwrap_or_default(),
            };
            return (outcome, true);
        }
        let port = reached.last().copied().unwrap_or(PortId::NONE);
        let origin = names.ports.get(&port);
        let next_hop = match last.and_then(|hop| hop.neighbor) {
            Some((key, _)) => key.ip != passage.meant(Ip::from(departure.destination)),
            None => matches!(departure.way.hop, Hop::Via(..)),
        };
        if let Some(outcome) = self.outside(port, passage) {
            return (outcome, true);
        }
        if matches!(passage.action, Action::Underlay { .. } | Action::Copied) {
            let holder = self.next_station(departure, last);
            let outcome = Outcome::Sent {
                peer: names.port(port),
                port: holder.map(|holder| holder.to_string()),
                next_hop,
                origin: holder.map(|holder| holder.origin().to_string()),
            };
            return (outcome, onward.iter().all(Onward::arrives));
        }
        let sent = last.and_then(|_| parse(&passage.frame).ok());
        let outcome = Outcome::Delivered {
            port: names.port(port),
            next_hop,
            ttl: sent.map(|packet| packet.ttl),
            origin: origin.map(|named| named.origin.to_string()),
        };
        (outcome, true)
    }

    /// The way outside, if the packet left by the uplink of a router.
    fn outside(&self, port: PortId, passage: &Passage) -> Option<Outcome> {
        let mut routers = self.topology.routers.iter();
        let (name, uplink) = routers.find_map(|(name, router)| {
            let uplink = router.uplink.as_ref()?;
            (uplink.id == port).then_some((name, uplink))
        })?;
        let source = parse(&passage.frame).ok()?.ip_source;
        Some(Outcome::Outside {
            router: name.clone(),
            source: source.to_string(),
            origin: uplink.origin.to_string(),
        })
    }

    /// The station that the frame is for, as far as it is declared.
    fn next_station(
        &self,
        departure: &Departure<'a>,
        last: Option<&RouterHop>,
    ) -> Option<super::party::Holder<'a>> {
        let Some((key, _)) = last.and_then(|hop| hop.neighbor) else {
            return self.circumstances(departure).holder;
        };
        let network = self.plan.names.network(key.vni);
        let mut holders = super::party::Holder::all(self.topology);
        let is_next = |ip: IpAddr| Ip::from(ip) == key.ip;
        holders.find(|it| it.network() == network && it.addresses().any(is_next))
    }

    fn refusal(
        &self,
        departure: &Departure<'a>,
        passage: &Passage,
        hops: &[RouterHop],
        reason: DropReason,
    ) -> Outcome {
        let circumstances = self.circumstances(departure);
        let hint = match hops.last() {
            Some(hop) => mend::hint(self, departure.destination, hop, reason),
            None => circumstances.hint(reason),
        };
        Outcome::Dropped(Refusal {
            reason: reason.name(),
            meaning: reason.meaning().to_owned(),
            told: self.told(passage).map(Box::new),
            hint,
        })
    }

    /// What the frame, if it was turned into an error, tells its sender.
    fn told(&self, passage: &Passage) -> Option<Told> {
        if !passage.is_answered() {
            return None;
        }
        let packet = parse(&passage.frame).ok()?;
        let is_reset = matches!(packet.transport.kind, TransportKind::Ports);
        let code = [packet.transport.source, packet.transport.destination];
        let [icmp_type, icmp_code] = code.map(|part| (!is_reset).then_some(part));
        let from = packet.ip_source;
        let rows = self.tables.router_ports.iter();
        let port = rows
            .filter(|(_, row)| row.ipv4 == from || row.ipv6 == from)
            .map(|(&id, _)| self.plan.names.port(id));
        Some(Told {
            message: if is_reset {
                "connection refused"
            } else {
                message(code, from.is_v4())
            },
            icmp_type,
            icmp_code,
            from: from.to_string(),
            port: port.min(),
        })
    }

    /// Whether this address was given to a port of a network that is not there at this moment.
    pub(super) fn absent(&self, network: &str, ip: IpAddr) -> Option<super::party::Holder<'a>> {
        let mut holders = super::party::Holder::all(self.topology);
        let holder = holders.find(|holder| holder.network() == network && holder.has(ip))?;
        (!self.is_there(&holder)).then_some(holder)
    }
}

/// What an ICMP or ICMPv6 message of this type and code says.
fn message(code: [u16; 2], is_v4: bool) -> &'static str {
    use icmp::Message::{
        HostUnreachable, NetUnreachable, PortUnreachable, Prohibited, ProtocolUnreachable,
        TimeExceeded, TooBig,
    };
    let all = [
        (TimeExceeded, "time exceeded"),
        (NetUnreachable, "no route to the destination"),
        (HostUnreachable, "host unreachable"),
        (PortUnreachable, "port unreachable"),
        (ProtocolUnreachable, "unknown protocol"),
        (Prohibited, "administratively prohibited"),
        (TooBig, "packet too big"),
    ];
    let found = all.into_iter().find(|(message, _)| {
        let own = if is_v4 { message.v4() } else { message.v6() };
        own.map(u16::from) == code
    });
    found.map_or("an error", |(_, text)| text)
}
