//! Why a frame was dropped. Every frame that does not leave has exactly one of these reasons.

/// Declares the reasons once: code point, name for machines and sentence for people.
macro_rules! reasons {
    ($($(#[doc = $line:literal])+ $variant:ident = $code:literal, $name:literal;)+) => {
        /// Why a frame was dropped. The code point is also the index into
        /// [`PortCounters::drops`](crate::record::PortCounters::drops).
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $line])+ $variant = $code,)+
        }

        impl DropReason {
            /// Every reason, by code point.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The stable name that statistics use.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it means, as a sentence for people.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($line),+).trim_ascii_start(),)+ }
            }
        }

        impl TryFrom<u8> for DropReason {
            type Error = u8;

            fn try_from(code: u8) -> Result<Self, u8> {
                match code { $($code => Ok(Self::$variant),)+ _ => Err(code) }
            }
        }
    };
}

reasons! {
    /// The interface that the frame came in on belongs to no port.
    UnknownInterface = 1, "unknown_interface";
    /// The port's network has no row: it was removed while the frame was on its way.
    UnknownNetwork = 2, "unknown_network";
    /// The frame ends within its Ethernet header or VLAN tags.
    TruncatedEthernet = 3, "truncated_ethernet";
    /// The ARP packet is cut short, or not one for IPv4 over Ethernet (RFC 826).
    MalformedArp = 4, "malformed_arp";
    /// The IPv4 header is cut short, or contradicts itself or the frame's length (RFC 791).
    MalformedIpv4 = 5, "malformed_ipv4";
    /// The IPv6 header or one of its extension headers is cut short, contradicts the frame's length,
    /// or there are more of them than the datapath follows (RFC 8200).
    MalformedIpv6 = 6, "malformed_ipv6";
    /// The source MAC address is a group address or zero, which no station has.
    InvalidSourceMac = 7, "invalid_source_mac";
    /// Anti-spoofing: the source MAC address is not the port's.
    SpoofedMac = 8, "spoofed_mac";
    /// Anti-spoofing: the source IP address is not one of the port's.
    SpoofedIp = 9, "spoofed_ip";
    /// Anti-spoofing: the ARP packet claims an address that is not the port's.
    SpoofedArp = 10, "spoofed_arp";
    /// Anti-spoofing: the neighbor discovery message claims an address that is not the port's.
    SpoofedNeighbor = 11, "spoofed_neighbor";
    /// Anti-spoofing: a workload sent a router advertisement or a redirect (RFC 6105, RA-Guard).
    RogueRouter = 12, "rogue_router";
    /// The destination is a group address that bridges never forward (IEEE 802.1Q-2022, table 8-1).
    ReservedGroup = 13, "reserved_group";
    /// Nobody in the network is known to have the destination MAC address, and the network does not
    /// flood unknown unicast.
    UnknownUnicast = 14, "unknown_unicast";
    /// The destination is behind the port that the frame came from: a bridge filters it
    /// (IEEE 802.1Q-2022, 8.6.1).
    SamePort = 15, "same_port";
    /// The frame was to be flooded, but the network has no other port on this host.
    NoOtherPort = 16, "no_other_port";
    /// The destination port is known, but nothing is plugged in on this host at this moment.
    PortUnplugged = 17, "port_unplugged";
    /// A tag that carries only a priority is wrapped around another one: receivers differ on what
    /// such a frame is, so the checks cannot tell.
    NestedPriorityTag = 19, "nested_priority_tag";
    /// The kernel refused to change or to send the frame: it has no memory, or segmentation offload left
    /// the frame whole and it is in a tunnel or in two VLANs already.
    KernelRefused = 18, "kernel_refused";
    /// The packet is for a router but not IP, or for a group, or it is a workload's own tunnel to another host
    /// in its host's name: routers forward none of them.
    NotRoutable = 20, "not_routable";
    /// The source or destination address must not be routed (RFC 1812 section 5.3.7, RFC 4291
    /// section 2.5): loopback, link-local, multicast or unspecified, or the router's own as the source.
    Martian = 21, "martian";
    /// The packet was forwarded as often as its time to live, or hop limit, allows. Its sender is
    /// told.
    TtlExceeded = 22, "ttl_exceeded";
    /// The packet passed more virtual routers than the datapath follows: a loop of routes.
    TooManyRouters = 23, "too_many_routers";
    /// The router has no route to the destination. The sender is told.
    NoRoute = 24, "no_route";
    /// A route says to drop the packet and tell nobody.
    Blackhole = 25, "blackhole";
    /// A route says to drop the packet; the sender is told that it is prohibited.
    Rejected = 26, "rejected";
    /// The next hop is not known yet; it is being asked for.
    NeighborPending = 27, "neighbor_pending";
    /// The next hop did not answer. The sender is told.
    NeighborUnreachable = 28, "neighbor_unreachable";
    /// The packet is larger than the next link's MTU. The sender is told which size fits.
    TooBig = 29, "too_big";
    /// The packet is for the router itself, which offers nothing there. The sender is told, or its TCP
    /// connection is reset.
    RouterService = 30, "router_service";
    /// A router's port or next hop has no row: it was removed while the packet was on its way.
    UnknownRouterPort = 31, "unknown_router_port";
    /// The packet is for the broadcast address of a subnet that the router is in. Sent on, it would
    /// make one packet many (RFC 2644).
    DirectedBroadcast = 32, "directed_broadcast";
    /// The frame came through a tunnel from an underlay address that is no peer's.
    UnknownPeer = 40, "unknown_peer";
    /// The outer header is cut short, or contradicts itself or the frame's length.
    MalformedOuter = 41, "malformed_outer";
    /// The frame came through another kind of tunnel than the one to that peer.
    WrongTunnel = 42, "wrong_tunnel";
    /// The frame came through a tunnel for a network that this host has nothing to do with, or that
    /// peer.
    UnknownVni = 43, "unknown_vni";
    /// The underlay cut the outer packet into fragments, which a datapath cannot put together.
    OuterFragment = 44, "outer_fragment";
    /// The outer packet was marked for congestion and the inner one cannot carry the mark, so that
    /// dropping it is the only way to tell (RFC 6040 section 4.2).
    Congestion = 45, "congestion";
    /// What came through a tunnel never goes back into one.
    SplitHorizon = 46, "split_horizon";
    /// The frame cannot go to a peer without a tunnel: it is not an IP packet of the underlay's family to one
    /// of the stations there.
    NeedsTunnel = 47, "needs_tunnel";
    /// A copy of a flooded frame is for a member that its list does not have any more.
    UnknownMember = 48, "unknown_member";
    /// The Geneve header has an option that a receiver must understand, or is a control message, and we
    /// understand none (RFC 8926 section 3.4).
    CriticalOption = 49, "critical_option";
    /// An echo between hosts that is none.
    MalformedEcho = 50, "malformed_echo";
    /// The frame is larger than what the tunnel carries, and is no packet whose sender can be told.
    TunnelTooSmall = 51, "tunnel_too_small";
    /// A policy for what the destination may be sent does not allow the packet.
    PolicyIngress = 52, "policy_ingress";
    /// A policy for what the source may send does not allow the packet.
    PolicyEgress = 53, "policy_egress";
    /// The policy of a router on the way does not allow the packet.
    PolicyForward = 54, "policy_forward";
    /// NAT: every port of the address that the packet's source is translated to is in use for
    /// conversations with this destination, or the host has no address of that family or pool.
    NatExhausted = 55, "nat_exhausted";
    /// NAT: the packet's source must be translated, but it belongs to no connection: it is a
    /// fragment that came before its first, or a message that begins none. Or another gateway has brought it here, and it answers
    /// nothing.
    NatUntracked = 56, "nat_untracked";
    /// NAT: the connection began when its source was translated otherwise. It is forgotten; the next
    /// packet begins a new one.
    NatChanged = 57, "nat_changed";
    /// The packet came from the outside, and leads back there.
    NoTransit = 58, "no_transit";
}

/// One more than the highest code point that fits the counters.
pub const REASON_SLOTS: usize = 64;

const _: () = assert!(DropReason::ALL.len() < REASON_SLOTS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_and_names_are_unique_and_round_trip() {
        let mut names = std::collections::BTreeSet::new();
        for &reason in DropReason::ALL {
            assert_eq!(DropReason::try_from(reason as u8), Ok(reason));
            assert!((reason as usize) < REASON_SLOTS);
            assert!(names.insert(reason.name()));
            assert!(reason.meaning().ends_with('.'));
            assert!(
                reason
                    .meaning()
                    .starts_with(|first: char| first.is_ascii_uppercase())
            );
        }
        assert_eq!(DropReason::try_from(0), Err(0));
        assert_eq!(DropReason::try_from(255), Err(255));
    }
}
