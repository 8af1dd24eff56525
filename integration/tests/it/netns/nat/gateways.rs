//! Hosts that go out by way of another one.

use std::net::IpAddr;

use integration::lab::{Family, Fleet, UPLINK, Underlay, eventually, ping};

use super::super::hosts::fleet;
use super::{at, fragments, tcp, udp};

/// `web` and `far` are on a host that is no gateway; `far` is behind one more router. The world is one
/// more host on the underlay, which knows nothing of bowline.
const GATEWAY: &str = r#"
version: 1
name: gateway
hosts: { alpha: @address alpha, beta: @address beta }
networks:
  front: [10.1.0.0/24, "fd00:1::/64"]
  remote: [10.3.0.0/24, "fd00:3::/64"]
routers:
  core:
    ports:
      front: [10.1.0.1, "fd00:1::1"]
      edge: { peer: edge, addresses: [192.168.1.1/30, "fd00:99::1/64"] }
    uplink: { hosts: [beta] }
    nat: [{ masquerade: [10.0.0.0/8, "fd00::/16"] }]
    routes: [{ to: 10.3.0.0/24, via: edge }, { to: "fd00:3::/64", via: edge }]
  edge:
    ports:
      core: { peer: core, addresses: [192.168.1.2/30, "fd00:99::2/64"] }
      remote: [10.3.0.1, "fd00:3::1"]
    routes: [{ to: 0.0.0.0/0, via: core }, { to: "::/0", via: core }]
workloads:
  web:
    host: alpha
    netns: @web
    ports: [{ network: front, addresses: [10.1.0.10, "fd00:1::10"], publish: ["8080:80"] }]
  far: { host: alpha, netns: @far, ports: [{ network: remote, addresses: [10.3.0.40, "fd00:3::40"] }] }
  db: { host: beta, netns: @db, ports: [{ network: front, addresses: [10.1.0.20, "fd00:1::20"] }] }
"#;

fn site(family: Family) -> Option<Underlay> {
    let hosts = ["alpha", "beta", "world"];
    Underlay::new(family, 1500, &hosts, &["web", "far", "db"])
}

fn load<'a>(underlay: &'a Underlay) -> Fleet<'a> {
    let fleet = fleet(underlay);
    let text = underlay.topology(GATEWAY);
    for host in ["alpha", "beta"] {
        fleet.on(host).load(&text);
    }
    let world = underlay.address("world");
    for name in ["web", "far", "db"] {
        eventually(&format!("{name} reaches the world"), || {
            ping(underlay.workload(name), world)
        });
    }
    fleet
}

#[test]
fn what_is_for_the_outside_goes_by_way_of_the_gateway() {
    for family in [Family::V4, Family::V6] {
        let Some(underlay) = site(family) else { return };
        let _fleet = load(&underlay);
        // The world's packets fit the tunnel: a router does not cut them anew.
        let beta = underlay.address("beta").to_string();
        let route = ["route", "add", &beta, "dev", UPLINK, "mtu", "1400"];
        underlay.host("world").ip(&route);
        let world = underlay.address("world");
        for name in ["web", "far", "db"] {
            for (call, port) in [(tcp as super::Call, 80), (udp, 53), (fragments, 53)] {
                let to = at(&world.to_string(), port);
                let peer = call(underlay.workload(name), to, (underlay.host("world"), to));
                assert_eq!(
                    peer.ip(),
                    underlay.address("beta"),
                    "{name} over {family:?}"
                );
            }
        }
    }
}

#[test]
fn a_port_is_published_where_the_gateway_is() {
    for (family, own) in [(Family::V4, "10.1.0.10"), (Family::V6, "fd00:1::10")] {
        let Some(underlay) = site(family) else { return };
        let _fleet = load(&underlay);
        let to = at(&underlay.address("beta").to_string(), 8080);
        let web = (underlay.workload("web"), at(own, 80));
        let peer = tcp(underlay.host("world"), to, web);
        assert_eq!(peer.ip(), underlay.address("world"));
        let inside: [&str; 2] = match family {
            Family::V4 => ["10.3.0.40", "10.1.0.20"],
            Family::V6 => ["fd00:3::40", "fd00:1::20"],
        };
        for (caller, own) in ["far", "db"].into_iter().zip(inside) {
            let peer = tcp(underlay.workload(caller), to, web);
            assert_eq!(peer.ip(), own.parse::<IpAddr>().unwrap());
        }
    }
}
