//! Ports with several stations behind them: a Linux bridge inside the workload, as nested containers
//! have it.

use std::time::{Duration, Instant};

use integration::lab::{Feature, Namespace, PacketSocket, eventually, veth};

use super::{Site, drops, experiment, stats};

const TOPOLOGY: &str = "
version: 1
name: nested
networks:
  front: { subnets: 10.77.0.0/24, ageing: 2s }
workloads:
  web: { netns: @web, ports: [{ network: front, addresses: 10.77.0.10 }] }
  left: { netns: @left, ports: [{ network: front, learning: true }] }
  right: { netns: @right, ports: [{ network: front, learning: true }] }
";

/// Puts a bridge into a workload, with the workload's port and `stations` behind it.
pub(crate) fn nest(workload: &Namespace, stations: &[(&Namespace, &str)]) {
    workload.ip(&["link", "add", "br0", "type", "bridge"]);
    workload.ip(&["link", "set", "br0", "up"]);
    workload.ip(&["link", "set", "eth0", "master", "br0"]);
    for (number, (station, address)) in (0..).zip(stations) {
        let inner = format!("s{number}");
        veth((workload, &inner), (station, "eth0"));
        workload.ip(&["link", "set", &inner, "master", "br0"]);
        station.ip(&["address", "add", address, "dev", "eth0"]);
    }
}

#[test]
fn stations_behind_a_port_are_learned() {
    let Some(site) = Site::new(["web", "left", "right", "one", "two"]) else {
        return;
    };
    if !Feature::Bridge.is_there() {
        return;
    }
    let bowline = site.bowline();
    bowline.load(&site.topology(TOPOLOGY));
    let stations = [
        (site.workload("one"), "10.77.0.101/24"),
        (site.workload("two"), "10.77.0.102/24"),
    ];
    nest(site.workload("left"), &stations);
    site.assert_reaches("web", "10.77.0.101");
    site.assert_reaches("web", "10.77.0.102");
    site.assert_reaches("one", "10.77.0.102");
    site.assert_reaches("two", "10.77.0.10");
    let learned = bowline.json(&["show", "learned"]);
    let text = learned.to_string();
    for name in ["one", "two"] {
        let [a, b, c, d, e, f] = site.workload(name).mac("eth0");
        let mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
        assert!(text.contains(&mac), "{mac} is not in {text}");
    }
}

/// One station, first behind one port and then behind another, and then silent.
#[test]
fn a_station_moves_and_is_forgotten() {
    let Some(site) = Site::new(["web", "left", "right"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(TOPOLOGY));
    let station = [2, 0, 0, 0, 0, 0x99];
    let web = site.workload("web").mac("eth0");
    let [from_web, left, right] =
        ["web", "left", "right"].map(|name| PacketSocket::new(site.workload(name), "eth0"));
    let to_station = experiment(station, web, b"where are you?");
    let received = |name: &str| stats(&bowline, &format!("{name}/eth0"))["out_packets"].as_u64();

    let mut heard_at = Instant::now();
    for (socket, name) in [(&left, "left"), (&right, "right"), (&left, "left")] {
        let before = received(name);
        eventually(&format!("the station is found behind {name}"), || {
            // What was heard before it was said is not remembered for longer.
            heard_at = Instant::now();
            socket.send(&experiment(web, station, b"here"));
            from_web.send(&to_station);
            received(name) > before
        });
    }
    // It is silent for longer than the network remembers.
    let before = drops(&bowline, "web/eth0", "unknown_unicast");
    eventually("the station is forgotten", || {
        from_web.send(&to_station);
        drops(&bowline, "web/eth0", "unknown_unicast") > before
    });
    assert!(
        heard_at.elapsed() > Duration::from_millis(1900),
        "it was forgotten too early"
    );
}
