//! The virtual router: which next hop a packet goes to (RFC 1812 section 5, RFC 8200).
//!
//! A packet passes as many routers as the topology has between its ports, all in one walk at the host
//! where it enters. Nothing is written on the way: the result says what the frame will look like when
//! it leaves the last one.

use core::ops::ControlFlow;

use maps_schema::map::{
    FdbKey, GatewayKey, IngressPort, NeighborKey, NextHopKey, Public, ROUTERS_MAX, Resolved, Route,
    RouteKey, RouterAddressKey, RouterPort,
};
use maps_schema::{DropReason, Ip, Mac, PolicyList, PortId, RouterId, Vni};

use crate::departure::{self, GUARDS_MAX, Origin};
use crate::frame::{Frame, Step};
use crate::icmp::Message;
use crate::nat;
use crate::parse::ethernet::HEADER_LEN;
use crate::parse::{self, Kind, Packet, outer, transport};
use crate::resolver::{self, Search};
use crate::tables::Tables;
use crate::{ecmp, icmp};

/// What the routers make of a packet. Every field always has a value; see [`crate::parse`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Routed {
    /// What becomes of it.
    pub outcome: Outcome,
    /// Why it is dropped, where it is.
    pub reason: DropReason,
    /// `Deliver`: the port that it goes to. Otherwise the router's port that speaks.
    pub port: PortId,
    /// How many routers have forwarded it.
    pub hops: u32,
    /// The largest packet that all ports of routers send that it has passed, in bytes.
    pub mtu: u32,
    /// The rules of those of them that have any; none in the others' places.
    pub forward: [PolicyList; GUARDS_MAX],
    /// What all of them say about clamping ([`RouterPort::CLAMPS_MSS`]).
    pub clamps: u16,
    /// The MAC addresses that it leaves with.
    pub source: Mac,
    /// As above.
    pub destination: Mac,
    /// The last next hop, and its network: where the packet is delivered, or who is asked for.
    pub neighbor: NeighborKey,
    /// `Error`: what its sender is told.
    pub message: Message,
    /// `Error`: the word that goes with the message. Of [`Message::TooBig`] it is the MTU that it did
    /// not fit, in bytes; of [`Message::ProtocolUnreachable`], in IPv6, where in the packet the protocol
    /// is.
    pub detail: u32,
    /// `Error` and `Reset`: the address that the sender is told from, once it is known that it may be.
    pub speaker: Ip,
    /// The network behind the first of the routers.
    pub behind: Vni,
    /// By which port the packet's flow left before, or came that it answers to: other gateways do not know
    /// what is translated of it.
    pub exit: PortId,
    /// Who the packet is for.
    pub ip: Ip,
    /// With `is_redirected`: the port there, in host byte order; 0 if it stays what it is.
    pub service: u16,
    /// Whether that was somebody else before: by the address that a workload has outside.
    pub is_redirected: bool,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It leaves the last router for a workload, or for the outside.
    Deliver,
    /// It is an echo request to a router, and is answered.
    Echo,
    /// It is dropped, and a neighbor is asked for.
    Ask,
    /// It is dropped, and its sender is told why.
    Error,
    /// It is a TCP segment that is dropped and answered with a reset.
    Reset,
    /// It is dropped.
    Drop,
}

/// Routes a packet that is for a router's port, which `routed` names.
#[inline(always)]
pub fn route<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    origin: &Origin,
    packet: &Packet,
    routed: &mut Routed,
) {
    if let Some(reason) = refuses(packet) {
        routed.reason = reason;
        return;
    }
    if is_impostor(tables, origin, packet, routed.port) {
        routed.reason = DropReason::Martian;
        return;
    }
    let mut walk = Walk {
        tables,
        packet,
        size: departure::size(frame, packet),
        is_from_host: origin.is_host(),
        routed,
    };
    F::repeat(ROUTERS_MAX, &mut walk);
}

impl Routed {
    /// A packet that came to a router's port. If its walk never ends, this is what became of it.
    #[inline(always)]
    #[must_use]
    pub const fn new(port: PortId, ip: Ip, exit: PortId) -> Self {
        Self {
            outcome: Outcome::Drop,
            reason: DropReason::TooManyRouters,
            port,
            hops: 0,
            mtu: u32::MAX,
            forward: [PolicyList::NONE; GUARDS_MAX],
            clamps: 0,
            source: Mac::ZERO,
            destination: Mac::ZERO,
            neighbor: NeighborKey::NONE,
            message: Message::None,
            detail: 0,
            speaker: Ip::UNSPECIFIED_V6,
            behind: Vni::NONE,
            exit,
            ip,
            service: 0,
            is_redirected: false,
        }
    }
}

/// What no router forwards or answers, whatever its routes.
#[inline(always)]
fn refuses(packet: &Packet) -> Option<DropReason> {
    // What neighbors tell one another is for their network alone, and nobody complains about it.
    let is_resolution = !matches!(packet.resolution.message, parse::Message::None);
    if !matches!(packet.kind, Kind::Ipv4 | Kind::Ipv6)
        || packet.destination.is_group()
        || is_resolution
    {
        return Some(DropReason::NotRoutable);
    }
    // The tables hold IPv4 addresses in mapped form, which is no address of an IPv6 packet on a wire
    // (RFC 6890 section 2.2.3): it would find the routes and neighbors of IPv4.
    let martian = packet.ip_source.is_unroutable() || packet.ip_destination.is_unroutable();
    (martian || packet.is_mapped()).then_some(DropReason::Martian)
}

/// Whether the packet claims to come from the router that it is for, or, from the outside, from where the
/// router does not send to by its uplink (RFC 3704 section 2.2). Ports that are held to the addresses that
/// they were given cannot send such a packet, and need no lookup for it.
#[inline(always)]
fn is_impostor<T: Tables>(
    tables: &T,
    origin: &Origin,
    packet: &Packet,
    router_port: PortId,
) -> bool {
    let free =
        IngressPort::MAY_SPOOF | IngressPort::LEARNING | IngressPort::SERVED | IngressPort::OUTSIDE;
    if origin.flags & free == 0 {
        return false;
    }
    let Some(entry) = tables.router_port(router_port) else {
        return false;
    };
    let key = RouterAddressKey {
        router: entry.router,
        ip: packet.ip_source,
    };
    if origin.is_outside() {
        let route = tables.route(&RouteKey::lookup(entry.router, packet.ip_source));
        if route.is_some_and(|route| route.kind == Route::FORWARD) {
            return true;
        }
    }
    tables.router_address(&key).is_some()
}

/// A packet on its way from router to router.
struct Walk<'a, T> {
    tables: &'a T,
    packet: &'a Packet,
    size: u32,
    /// Whether another host has routed it already, to the uplink that its router has here.
    is_from_host: bool,
    routed: &'a mut Routed,
}

impl<T: Tables> Step for Walk<'_, T> {
    #[inline(always)]
    fn step(&mut self, _idx: u32) -> ControlFlow<()> {
        match self.pass() {
            Ok(()) => ControlFlow::Continue(()),
            Err(Done) => ControlFlow::Break(()),
        }
    }
}

/// The walk has come to its end.
struct Done;

impl<T: Tables> Walk<'_, T> {
    /// Passes one router.
    #[inline(always)]
    fn pass(&mut self) -> Result<(), Done> {
        let Some(entry) = self.tables.router_port(self.routed.port) else {
            return Err(self.drop(DropReason::UnknownRouterPort));
        };
        let ip = self.routed.ip;
        if self.is_from_host && !self.leads_outside(&entry, ip) {
            return Err(self.drop(DropReason::NotRoutable));
        }
        if self
            .tables
            .router_address(&RouterAddressKey {
                router: entry.router,
                ip,
            })
            .is_some()
        {
            return Err(self.for_router());
        }
        if u32::from(self.packet.ttl) <= self.routed.hops + 1 {
            return Err(self.error(DropReason::TtlExceeded, Message::TimeExceeded));
        }
        let Some(route) = self.tables.route(&RouteKey::lookup(entry.router, ip)) else {
            return Err(self.error(DropReason::NoRoute, Message::NetUnreachable));
        };
        match route.kind {
            Route::FORWARD => {}
            Route::UPLINK => return self.leave_network(&entry, &route),
            Route::REJECT => return Err(self.error(DropReason::Rejected, Message::Prohibited)),
            Route::BROADCAST => return Err(self.drop(DropReason::DirectedBroadcast)),
            _ => return Err(self.drop(DropReason::Blackhole)),
        }
        let (port, via) = self.next_hop(&route)?;
        let Some(exit) = self.tables.router_port(port) else {
            return Err(self.drop(DropReason::UnknownRouterPort));
        };
        if self.size > exit.mtu {
            self.routed.detail = exit.mtu;
            return Err(self.error(DropReason::TooBig, Message::TooBig));
        }
        if !self.is_noted(exit.policy) {
            return Err(self.drop(DropReason::TooManyRouters));
        }
        self.leave(port, &entry, &exit, via)
    }

    /// Notes a router's rules, which are asked when the way is known; `false` if there are too many.
    #[inline(always)]
    fn is_noted(&mut self, list: PolicyList) -> bool {
        if list == PolicyList::NONE {
            return true;
        }
        for place in &mut self.routed.forward {
            if *place == PolicyList::NONE {
                *place = list;
                return true;
            }
        }
        false
    }

    /// The port and the address of the next hop.
    #[inline(always)]
    fn next_hop(&mut self, route: &Route) -> Result<(PortId, Ip), Done> {
        let (mut port, mut via) = (route.port, route.via);
        if route.buckets != 0 {
            let bucket = ecmp::flow_hash(self.packet) & (route.buckets - 1);
            match self.tables.next_hop(&NextHopKey {
                list: route.next_hops,
                bucket,
            }) {
                Some(next_hop) => (port, via) = (next_hop.port, next_hop.via),
                None => return Err(self.drop(DropReason::UnknownRouterPort)),
            }
        }
        let connected = via == Ip::UNSPECIFIED_V6;
        Ok((port, if connected { self.routed.ip } else { via }))
    }

    /// Leaves the router, which it has entered by the port `entry`, by the port `exit` for the next hop, which is a workload, another router, or
    /// still to be asked for.
    #[inline(always)]
    fn leave(
        &mut self,
        port: PortId,
        entry: &RouterPort,
        exit: &RouterPort,
        ip: Ip,
    ) -> Result<(), Done> {
        let key = NeighborKey { vni: exit.vni, ip };
        self.routed.neighbor = key;
        let (mac, declared) = match self.tables.neighbor(&key) {
            Some(neighbor) => (neighbor.mac, neighbor.port),
            None => match self.tables.resolved(&key) {
                Some(resolved) if resolver::is_fresh(self.tables, &resolved) => {
                    (resolved.mac, resolved.port)
                }
                known => return Err(self.ask(port, key, known)),
            },
        };
        if self.routed.hops == 0 {
            self.routed.behind = exit.vni;
        }
        self.routed.hops += 1;
        self.routed.mtu = self.routed.mtu.min(entry.mtu).min(exit.mtu);
        self.routed.clamps |= entry.flags | exit.flags;
        self.routed.source = exit.mac;
        self.routed.destination = mac;
        self.routed.port = declared;
        let is_router = self
            .tables
            .fdb(&FdbKey::new(exit.vni, mac))
            .is_some_and(|entry| entry.router != RouterId::NONE);
        if is_router {
            return Ok(());
        }
        self.routed.outcome = Outcome::Deliver;
        Err(Done)
    }

    /// Whether a router sends packets for an address to its own uplink on this host.
    #[inline(always)]
    fn leads_outside(&self, entry: &RouterPort, ip: Ip) -> bool {
        self.tables
            .route(&RouteKey::lookup(entry.router, ip))
            .is_some_and(|route| route.kind == Route::UPLINK)
    }

    /// Leaves the router for the outside: by its uplink, which is here or on another host, unless the
    /// address is one that a workload has outside.
    #[inline(always)]
    fn leave_network(&mut self, entry: &RouterPort, route: &Route) -> Result<(), Done> {
        if entry.vni == Vni::NONE {
            return Err(self.drop(DropReason::NoTransit));
        }
        if !self.routed.is_redirected && self.is_redirected(entry) {
            // The router looks where that is, as if it had been asked for in the first place.
            return Ok(());
        }
        let port = self.gateway(entry, route)?;
        let Some(uplink) = self.tables.router_port(port) else {
            if self.is_from_host {
                return Err(self.drop(DropReason::NotRoutable));
            }
            // To the router there, as it is here.
            if self.routed.hops == 0 {
                self.routed.neighbor = NeighborKey {
                    vni: entry.vni,
                    ip: Ip::UNSPECIFIED_V6,
                };
            }
            self.routed.port = port;
            self.routed.outcome = Outcome::Deliver;
            return Err(Done);
        };
        if self.is_tunnel() && self.tables.peer(self.routed.ip).is_some() {
            // By this host's address it would be taken for a tunnel of this host's.
            return Err(self.drop(DropReason::NotRoutable));
        }
        if self.size > uplink.mtu {
            self.routed.detail = uplink.mtu;
            return Err(self.error(DropReason::TooBig, Message::TooBig));
        }
        if !self.is_noted(uplink.policy) {
            return Err(self.drop(DropReason::TooManyRouters));
        }
        self.routed.hops += 1;
        self.routed.mtu = self.routed.mtu.min(entry.mtu).min(uplink.mtu);
        self.routed.clamps |= entry.flags | uplink.flags;
        self.routed.neighbor = NeighborKey::NONE;
        self.routed.port = port;
        self.routed.outcome = Outcome::Deliver;
        Err(Done)
    }

    /// Whether the packet has the form of one in a tunnel.
    #[inline(always)]
    fn is_tunnel(&self) -> bool {
        match self.packet.protocol {
            transport::GRE => true,
            transport::UDP => matches!(
                self.packet.transport.destination,
                outer::VXLAN_PORT | outer::GENEVE_PORT
            ),
            _ => false,
        }
    }

    /// By which port the packet leaves for the outside: as before, if that still leads there.
    #[inline(always)]
    fn gateway(&mut self, entry: &RouterPort, route: &Route) -> Result<PortId, Done> {
        let key = GatewayKey {
            router: entry.router,
            port: self.routed.exit,
        };
        if !self.is_from_host && key.port != PortId::NONE && self.tables.gateway(&key).is_some() {
            return Ok(key.port);
        }
        let (port, _via) = self.next_hop(route)?;
        Ok(port)
    }

    /// Whether the packet is for an address, or a port, by which the outside knows a workload: it goes
    /// straight there.
    #[inline(always)]
    fn is_redirected(&mut self, entry: &RouterPort) -> bool {
        let Some(public) = nat::public(self.tables, self.packet) else {
            return false;
        };
        if public.flags & Public::ELSEWHERE != 0 || !self.knows(entry, &public) {
            return false;
        }
        self.routed.ip = public.ip;
        self.routed.service = public.port;
        self.routed.is_redirected = true;
        true
    }

    /// Whether the router has a way to the workload inside: another router, of somebody else's perhaps, may have
    /// published it.
    #[inline(always)]
    fn knows(&self, entry: &RouterPort, public: &Public) -> bool {
        self.tables
            .route(&RouteKey::lookup(entry.router, public.ip))
            .is_some_and(|route| route.kind == Route::FORWARD)
            && self
                .tables
                .router_port(public.uplink)
                .is_none_or(|uplink| uplink.router == entry.router)
    }

    /// The packet is for the router itself.
    #[inline(always)]
    fn for_router(&mut self) -> Done {
        if icmp::is_echo_request(self.packet) {
            self.routed.outcome = Outcome::Echo;
            return Done;
        }
        let reason = DropReason::RouterService;
        match (self.packet.kind, self.packet.protocol) {
            // Messages that are not understood are discarded in silence (RFC 1122 section 3.2.2,
            // RFC 4443 section 2.4 (b)).
            (Kind::Ipv4, transport::ICMP) => self.drop(reason),
            (Kind::Ipv6, transport::ICMPV6 | transport::NO_NEXT_HEADER) => self.drop(reason),
            (_, transport::TCP) => {
                self.routed.outcome = Outcome::Reset;
                self.routed.reason = reason;
                Done
            }
            (_, transport::UDP) => self.error(reason, Message::PortUnreachable),
            (kind, _) => {
                if matches!(kind, Kind::Ipv6) {
                    self.routed.detail = self.packet.protocol_at - HEADER_LEN as u32;
                }
                self.error(reason, Message::ProtocolUnreachable)
            }
        }
    }

    /// The next hop is not known: it is asked for, unless that is of no use.
    #[inline(always)]
    fn ask(&mut self, port: PortId, key: NeighborKey, known: Option<Resolved>) -> Done {
        match resolver::search(self.tables, &key, known) {
            Search::GiveUp => {
                return self.error(DropReason::NeighborUnreachable, Message::HostUnreachable);
            }
            Search::Wait => {}
            Search::Ask => {
                self.routed.outcome = Outcome::Ask;
                self.routed.port = port;
            }
        }
        self.routed.reason = DropReason::NeighborPending;
        Done
    }

    /// The packet is dropped, and its sender is told.
    #[inline(always)]
    fn error(&mut self, reason: DropReason, message: Message) -> Done {
        self.routed.outcome = Outcome::Error;
        self.routed.reason = reason;
        self.routed.message = message;
        Done
    }

    #[inline(always)]
    fn drop(&mut self, reason: DropReason) -> Done {
        self.routed.outcome = Outcome::Drop;
        self.routed.reason = reason;
        Done
    }
}
