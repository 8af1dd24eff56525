//! The list of case files: each is a test of its own in every runner.

/// Declares one test for each case file, which gives its name to `$check`.
macro_rules! every_case {
    ($check:path) => {
        crate::cases::every_case! { $check;
            arp_announced arp_answered arp_malformed arp_probe arp_spoofed arp_unicast arp_unknown_target
            flood flood_alone flood_pair flow_datagrams flow_errors flow_tcp fragments ip_spoofed ip_truncated ipv4_malformed ipv6_extensions
            ipv6_malformed isolation learning learning_aged learning_flooded learning_guarded learning_moved
            mac_spoofed nat_answers nat_closing nat_elsewhere nat_errors nat_floating nat_fragments nat_gateways nat_hairpin nat_idle nat_ipv6 nat_masquerade nat_pool nat_published nd_answered nd_duplicate_detection nd_fragmented nd_link_local nd_many_options
            nd_options nd_spoofed nd_truncated nd_unicast nd_unknown_target nd_unusual other_protocols
            reserved_group rogue_router route_apart route_asked_for route_broadcast route_echo route_equal
            route_forward route_fragments route_line route_martian route_mss route_neighbor
            route_neighbor_aged route_neighbor_silent route_options route_prefix route_quote route_reset
            route_service route_silent route_tagged route_too_big route_unreachable same_port several_ports
            short_packets spoofing_allowed truncated_tag underlay_congestion underlay_direct underlay_geneve
            underlay_gre underlay_ipv6_geneve underlay_ipv6_gre underlay_ipv6_vxlan underlay_refused
            underlay_routed underlay_vlan underlay_vtep underlay_vxlan unicast unknown_unicast
            unknown_unicast_flooded unplugged unspecified_source vlan_carried vlan_nested vlan_priority
        }
    };
    ($check:path; $($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                $check(stringify!($name));
            }
        )+

        #[test]
        fn every_case_file_is_listed() {
            let listed = [$(stringify!($name)),+];
            assert_eq!(integration::case::Case::names().unwrap(), listed);
        }
    };
}
pub(crate) use every_case;
