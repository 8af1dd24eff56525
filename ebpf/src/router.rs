//! The virtual router: which next hop a packet goes to (RFC 1812 section 5, RFC 8200).
//!
//! A packet passes as many routers as the topology has between its ports, all in one walk at the host
//! where it enters. Nothing is written on the way: the result says what the frame will look like when
//! it leaves the last one.

use core::ops::ControlFlow;

use maps_schema::map::{
    FdbKey, NeighborKey, NextHopKey, Resolved, Route, RouteKey, RouterAddressKey, RouterPort,
};
use maps_schema::{DropReason, Ip, Mac, PortId, RouterId, Vni};

use crate::frame::{Frame, Step};
use crate::icmp::Message;
use crate::parse::{self, Kind, Packet};
use crate::resolver::{self, Search};
use crate::tables::Tables;
use crate::{departure, ecmp, icmp};

/// How many virtual routers a packet may pass.
pub const MAX_ROUTERS: u32 = 32;

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
    /// The MAC addresses that it leaves with.
    pub source: Mac,
    /// As above.
    pub destination: Mac,
    /// The last next hop, and its network: where the packet is delivered, or who is asked for.
    pub neighbor: NeighborKey,
    /// `Error`: what its sender is told.
    pub message: Message,
    /// `Error` of [`Message::TooBig`]: the MTU that it did not fit, in bytes.
    pub mtu: u32,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It leaves the last router for a workload.
    Deliver,
    /// It is an echo request to a router, and is answered.
    Echo,
    /// It is dropped, and a neighbor is asked for.
    Ask,
    /// It is dropped, and its sender is told why.
    Error,
    /// It is dropped.
    Drop,
}

/// Routes a packet that came to a router's port, which `routed` names.
#[inline(always)]
pub fn route<F: Frame, T: Tables>(frame: &F, tables: &T, packet: &Packet, routed: &mut Routed) {
    if let Some(reason) = refuses(packet) {
        routed.reason = reason;
        return;
    }
    let mut walk = Walk {
        tables,
        packet,
        size: departure::size(frame, packet),
        routed,
    };
    F::repeat(MAX_ROUTERS, &mut walk);
}

impl Routed {
    /// A packet that came to a router's port. If its walk never ends, this is what became of it.
    #[inline(always)]
    #[must_use]
    pub const fn new(port: PortId) -> Self {
        Self {
            outcome: Outcome::Drop,
            reason: DropReason::TooManyRouters,
            port,
            hops: 0,
            source: Mac::ZERO,
            destination: Mac::ZERO,
            neighbor: NeighborKey {
                vni: Vni::NONE,
                ip: Ip::UNSPECIFIED_V6,
            },
            message: Message::None,
            mtu: 0,
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
    let martian = packet.ip_source.is_unroutable() || packet.ip_destination.is_unroutable();
    martian.then_some(DropReason::Martian)
}

/// A packet on its way from router to router.
struct Walk<'a, T> {
    tables: &'a T,
    packet: &'a Packet,
    size: u32,
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
        let ip = self.packet.ip_destination;
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
            Route::REJECT => return Err(self.error(DropReason::Rejected, Message::Prohibited)),
            _ => return Err(self.drop(DropReason::Blackhole)),
        }
        let (port, via) = self.next_hop(&route)?;
        let Some(exit) = self.tables.router_port(port) else {
            return Err(self.drop(DropReason::UnknownRouterPort));
        };
        if self.size > exit.mtu {
            self.routed.mtu = exit.mtu;
            return Err(self.error(DropReason::TooBig, Message::TooBig));
        }
        self.leave(port, &exit, via)
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
        Ok((
            port,
            if connected {
                self.packet.ip_destination
            } else {
                via
            },
        ))
    }

    /// Leaves the router by the port `exit` for the next hop, which is a workload, another router, or
    /// still to be asked for.
    #[inline(always)]
    fn leave(&mut self, port: PortId, exit: &RouterPort, ip: Ip) -> Result<(), Done> {
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
        self.routed.hops += 1;
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

    /// The packet is for the router itself.
    #[inline(always)]
    fn for_router(&mut self) -> Done {
        if icmp::is_echo_request(self.packet) {
            self.routed.outcome = Outcome::Echo;
            return Done;
        }
        self.error(DropReason::RouterService, Message::PortUnreachable)
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
