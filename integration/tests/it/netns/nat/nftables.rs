//! The kernel's own rules on the way: those of the host itself, and a router of the world that translates, too.

use std::net::IpAddr;

use integration::lab::{Complaint, Feature, Namespace, Probe, ping, veth};

use super::{Edge, HOST, WORLD, at, fragments, tcp, udp};

/// Nothing passes but what finds neighbors.
const WALL: &str = "\
table inet wall {
chain in { type filter hook input priority 0; policy drop; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; }
chain through { type filter hook forward priority 0; policy drop; }
chain out { type filter hook output priority 0; policy drop; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; }
}
";

/// What the docs say: the host's rules are for the host's own packets.
#[test]
fn the_hosts_own_rules_are_not_asked() {
    if !Feature::Nftables.is_there() {
        return;
    }
    let Some(edge) = Edge::new() else { return };
    edge.site.host.nft(WALL);
    assert!(
        !ping(&edge.site.host, "192.0.2.1".parse().unwrap()),
        "the wall"
    );
    let _bowline = edge.load();
    for (world, host) in WORLD.into_iter().zip(HOST) {
        let outside = (&edge.world, at(world, 80));
        for call in [tcp, udp, fragments] {
            let peer = call(edge.workload("web"), at(world, 80), outside);
            assert_eq!(peer.ip(), host.parse::<IpAddr>().unwrap());
        }
    }
    let [host, _] = HOST;
    let web = (edge.workload("web"), at("10.1.0.10", 80));
    let peer = tcp(&edge.world, at(host, 8080), web);
    assert_eq!(peer.ip().to_string(), "192.0.2.1");
}

/// Both ways between a workload and somebody who is behind a translating router: two translations, one of
/// bowline's and one of the kernel's, and errors that both have to undo.
#[test]
fn a_router_of_the_world_translates_once_more() {
    if !Feature::Nftables.is_there() {
        return;
    }
    let Some(edge) = Edge::new() else { return };
    let _bowline = edge.load();
    let far = Namespace::new("far");
    veth((&edge.world, "eth1"), (&far, "eth0"));
    for (space, device, address) in [
        (&edge.world, "eth1", "203.0.113.1/24"),
        (&far, "eth0", "203.0.113.2/24"),
    ] {
        space.ip(&["address", "add", address, "dev", device]);
    }
    edge.world.sysctl("net/ipv4/ip_forward", "1");
    // Nobody behind it knows of the host.
    edge.world.nft(
        "table ip nat {
        chain out { type nat hook postrouting priority 100; oifname eth1 masquerade; }
        chain in { type nat hook prerouting priority -100; iifname eth1 tcp dport 9090 dnat to 192.0.2.2:8080; }
        }
",
    );
    let to = at("203.0.113.2", 80);
    for call in [tcp, udp, fragments] {
        let peer = call(edge.workload("web"), to, (&far, to));
        assert_eq!(peer.ip().to_string(), "203.0.113.1");
    }
    assert!(ping(edge.workload("web"), to.ip()));
    let complaint = Probe::new(to.ip()).complaint(edge.workload("web"));
    let expected = Complaint {
        kind: 3,
        code: 3,
        from: to.ip(),
        mtu: 0,
    };
    assert_eq!(complaint, expected);
    let web = (edge.workload("web"), at("10.1.0.10", 80));
    let peer = tcp(&far, at("203.0.113.1", 9090), web);
    assert_eq!(peer.ip().to_string(), "203.0.113.2");
}
