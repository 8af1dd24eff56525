//! Ports that the outside reaches workloads by.

use std::net::{IpAddr, TcpListener};

use integration::lab::{Snapshot, Talk, ping};
use serde_json::json;

use super::{EDGE, Edge, HOST, at, fragments, tcp, udp};

const WEB: [&str; 2] = ["10.1.0.10", "fd00:1::10"];

#[test]
fn a_published_port_leads_to_its_workload_from_everywhere() {
    let Some(edge) = Edge::new() else { return };
    let _bowline = edge.load();
    for (family, (host, web)) in HOST.into_iter().zip(WEB).enumerate() {
        // The client's own address is what the workload sees.
        let callers = [
            (&edge.world, ["192.0.2.1", "2001:db8::1"]),
            (edge.workload("db"), ["10.2.0.20", "fd00:2::20"]),
        ];
        for (caller, seen) in callers {
            let peer = tcp(caller, at(host, 8080), (edge.workload("web"), at(web, 80)));
            assert_eq!(peer.ip(), seen[family].parse::<IpAddr>().unwrap());
            let listener = (edge.workload("web"), at(web, 55));
            fragments(caller, at(host, 5302), listener);
            let peer = udp(caller, at(host, 5302), listener);
            assert_eq!(peer.ip(), seen[family].parse::<IpAddr>().unwrap());
        }
    }
}

/// A workload that asks for itself by the host's address gets itself.
#[test]
fn a_workload_reaches_its_own_published_port() {
    let Some(edge) = Edge::new() else { return };
    let _bowline = edge.load();
    let web = edge.workload("web");
    for (host, own) in HOST.into_iter().zip(WEB) {
        let peer = tcp(web, at(host, 8080), (web, at(own, 80)));
        assert_eq!(peer.ip(), host.parse::<IpAddr>().unwrap());
    }
}

/// What is not published is the host's, as if nothing were loaded.
#[test]
fn the_host_keeps_its_own_traffic() {
    let Some(edge) = Edge::new() else { return };
    let _bowline = edge.load();
    for (host, world) in HOST.into_iter().zip(super::WORLD) {
        assert!(ping(&edge.world, host.parse().unwrap()));
        tcp(&edge.world, at(host, 22), (&edge.site.host, at(host, 22)));
        let peer = tcp(&edge.site.host, at(world, 80), (&edge.world, at(world, 80)));
        assert_eq!(peer.ip(), host.parse::<IpAddr>().unwrap());
        assert!((32768..=60999).contains(&peer.port()), "{peer}");
    }
}

/// What has begun goes on, whatever becomes of the port that it began by.
#[test]
fn connections_outlive_a_reload() {
    let Some(edge) = Edge::new() else { return };
    let bowline = edge.load();
    let [host, _] = HOST;
    let listener = edge
        .workload("web")
        .run(|| TcpListener::bind("10.1.0.10:80"));
    let mut talk = Talk::start(&edge.world, at(host, 8080), &[listener.unwrap()]);
    talk.go_on(100);
    let changed = EDGE.replace("8080:80", "8081:80");
    bowline.load(&edge.site.topology(&changed));
    talk.go_on(100);
    let flows = bowline.json(&["flows", "--address", "192.0.2.1", "--state", "established"]);
    let flow = &flows[0];
    let inside = json!({ "address": "10.1.0.10", "port": 80 });
    assert_eq!(flow["translated_destination"], inside, "{flows}");
    assert_eq!(flow["destination_port"], 8080);
    assert_eq!(flow["network"], "outside");
    assert_eq!(
        (&flow["enters"], &flow["leaves"]),
        (&json!("core/uplink"), &json!("web/eth0"))
    );
    talk.finish();
    tcp(
        &edge.world,
        at(host, 8081),
        (edge.workload("web"), at("10.1.0.10", 80)),
    );
}

#[test]
fn nothing_is_left_at_the_uplink() {
    let Some(edge) = Edge::new() else { return };
    let bowline = edge.site.bowline();
    let spaces = [&edge.site.host, &edge.world];
    let before = Snapshot::take(&spaces, bowline.instance());
    let bowline = edge.load();
    bowline.succeed(&["unload", "edge"]);
    before.assert_same(&Snapshot::take(&spaces, bowline.instance()));
}
