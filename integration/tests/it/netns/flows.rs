//! Connections, as `bowline flows` shows them and as their ends notice.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use integration::lab::{Bowline, PacketSocket, Talk, eventually};
use serde_json::Value;

use super::{PAIR, Site, stats};

fn flows(bowline: &Bowline<'_>, filter: &[&str]) -> Vec<Value> {
    let found = bowline.json(&[&["flows"], filter].concat());
    found.as_array().expect("a list").clone()
}

fn state(bowline: &Bowline<'_>, filter: &[&str]) -> Vec<String> {
    let found = flows(bowline, filter);
    let state = |it: &Value| it["state"].as_str().unwrap().to_owned();
    found.iter().map(state).collect()
}

/// A server in `db`.
fn listen(site: &Site, address: SocketAddr) -> TcpListener {
    let listener = site.workload("db").run(|| TcpListener::bind(address));
    let listener = listener.unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

#[test]
fn connections_are_shown_as_they_go() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(PAIR));
    let address: SocketAddr = "10.77.0.20:5000".parse().unwrap();
    site.assert_reaches("web", "10.77.0.20");
    let echoes = flows(&bowline, &["--protocol", "icmp", "--address", "10.77.0.10"]);
    assert!(!echoes.is_empty());

    let filter = ["--protocol", "tcp"];
    let mut talk = Talk::start(site.workload("web"), address, &[listen(&site, address)]);
    talk.go_on(3);
    let found = flows(&bowline, &filter);
    let [one] = &found[..] else {
        panic!("{found:?}")
    };
    for (key, value) in [
        ("state", "established"),
        ("network", "front"),
        ("source", "10.77.0.10"),
        ("destination", "10.77.0.20"),
        ("enters", "web/eth0"),
        ("leaves", "db/eth0"),
    ] {
        assert_eq!(one[key], value, "{one}");
    }
    assert_eq!(one["destination_port"], 5000);
    for way in ["sent", "answered"] {
        assert!(one[way]["packets"].as_u64().unwrap() >= 3, "{one}");
        assert!(one[way]["bytes"].as_u64().unwrap() > 3 * 2048, "{one}");
    }
    talk.finish();
    eventually("both sides have closed", || {
        state(&bowline, &filter) == ["closed"]
    });

    let [client, server] = [("web", "10.77.0.10:4000"), ("db", "10.77.0.20:4001")]
        .map(|(name, at)| site.workload(name).run(|| UdpSocket::bind(at)).unwrap());
    let (client_at, server_at) = (client.local_addr().unwrap(), server.local_addr().unwrap());
    let filter = ["--protocol", "udp", "--port", "db/eth0"];
    for (from, to, expected) in [
        (&client, server_at, "opened"),
        (&server, client_at, "answered"),
        (&client, server_at, "established"),
    ] {
        from.send_to(b"hello", to).unwrap();
        eventually(expected, || state(&bowline, &filter) == [expected]);
    }
}

/// A talk of `web` with `db` over TCP that goes on.
fn talk(site: &Site) -> Talk {
    let address: SocketAddr = "10.77.0.20:5000".parse().unwrap();
    site.assert_reaches("web", "10.77.0.20");
    let mut talk = Talk::start(site.workload("web"), address, &[listen(site, address)]);
    talk.go_on(3);
    talk
}

/// How many packets its connection has sent, if it is the only one.
fn packets_sent(bowline: &Bowline<'_>) -> u64 {
    let found = flows(bowline, &["--protocol", "tcp"]);
    found[0]["sent"]["packets"].as_u64().unwrap()
}

#[test]
fn what_is_flushed_goes_on() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    let topology = site.topology(PAIR);
    bowline.load(&topology);
    let mut talk = talk(&site);
    let packets = || packets_sent(&bowline);
    // Another program finds what the former one has noted.
    let before = packets();
    bowline.load(&topology.replace(
        "name: pair\n",
        "name: pair\ndefaults: { drop_events: true }\n",
    ));
    talk.go_on(1);
    assert!(packets() > before);

    let flush = |filter: &[&str]| {
        let said = bowline.json(&[&["flows", "flush"], filter].concat());
        said["flushed"].as_u64().unwrap()
    };
    assert_eq!(flush(&["--address", "10.77.0.99"]), 0);
    for _ in 0..5 {
        assert_eq!(flush(&["--protocol", "tcp", "--port", "web/eth0"]), 1);
        talk.go_on(3);
        eventually("it is known again", || {
            state(&bowline, &["--protocol", "tcp"]) == ["established"]
        });
    }
    talk.finish();
}

/// What is remembered, and for how long, is changed without a connection being lost.
#[test]
fn connections_outlive_a_change_of_how_many_and_how_long() {
    let Some(site) = Site::new(["web", "db", "cache"]) else {
        return;
    };
    let bowline = site.bowline();
    let topology = site.topology(PAIR);
    bowline.load(&topology);
    let mut talk = talk(&site);
    let packets = || packets_sent(&bowline);
    let room = |kind: &str| bowline.json(&["stats"])["flows"][kind]["room"].clone();
    assert_eq!([room("established"), room("opening")], [131_072, 65_536]);
    let [client, server] = [("web", "10.77.0.10:4000"), ("db", "10.77.0.20:4001")]
        .map(|(name, at)| site.workload(name).run(|| UdpSocket::bind(at)).unwrap());
    client
        .send_to(b"hello", server.local_addr().unwrap())
        .unwrap();
    let udp = ["--protocol", "udp"];
    eventually("it is opened", || state(&bowline, &udp) == ["opened"]);

    let before = packets();
    let defaults = "defaults: { connections: { established: 2048, opening: 1024, \
                    timeouts: { opening: 10s } } }";
    bowline.load(&topology.replace("name: pair\n", &format!("name: pair\n{defaults}\n")));
    assert_eq!([room("established"), room("opening")], [4096, 2048]);
    talk.go_on(1);
    assert!(packets() > before);
    assert_eq!(bowline.json(&["load"])["changed"], false);
    // The usual minute would be longer than this test may take.
    eventually("the unanswered one is forgotten", || {
        state(&bowline, &udp).is_empty()
    });
    // What fails later takes the tables back, too: the interface is one that the workload has already.
    let before = packets();
    let failing = "  other: { netns: @cache, ports: [{ network: front, interface: lo0 }] }\n";
    let failing = site.topology(&format!("{topology}{failing}"));
    let refused = bowline.write("failing.yaml", &failing);
    site.workload("cache")
        .ip(&["link", "add", "lo0", "type", "veth"]);
    let refused = bowline.run(&["load", refused]);
    assert!(
        refused.stderr.contains("already has an interface `lo0`"),
        "{refused}"
    );
    assert_eq!([room("established"), room("opening")], [4096, 2048]);
    talk.go_on(1);
    assert!(packets() > before);

    bowline.load(&topology);
    assert_eq!([room("established"), room("opening")], [131_072, 65_536]);
    talk.go_on(1);
    assert!(packets() > before);
    talk.finish();
}

/// The first segment of a connection between these ports, with a checksum that its receiver refuses.
fn beginning(macs: &[u8], ports: u32) -> Vec<u8> {
    let mut frame = [macs, &[8, 0]].concat();
    frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0x26, 0x19]);
    frame.extend([10, 77, 0, 10, 10, 77, 0, 20]);
    frame.extend(ports.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    frame.resize(60, 0);
    frame
}

#[test]
fn a_flood_of_beginnings_breaks_no_connection_and_hinders_no_new_one() {
    flood(1_000_000, Duration::from_secs(15));
}

#[test]
#[ignore = "it sends for minutes"]
fn a_flood_of_ten_million_beginnings_does_not_either() {
    flood(10_000_000, Duration::from_secs(900));
}

/// Sends so many beginnings, or as many as there is time for, beside a connection, and begins another one.
fn flood(frames: u32, limit: Duration) {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(PAIR));
    site.assert_reaches("web", "10.77.0.20");
    let addresses = [5000, 5001].map(|port| SocketAddr::from(([10, 77, 0, 20], port)));
    let listeners = addresses.map(|address| listen(&site, address));
    let web = site.workload("web");
    let mut talk = Talk::start(web, addresses[0], &listeners);
    talk.go_on(3);
    let began = Instant::now();
    let socket = PacketSocket::new(web, "eth0");
    let macs = [site.workload("db").mac("eth0"), web.mac("eth0")].concat();
    let mut sent = 0;
    while sent < frames && began.elapsed() < limit {
        // An odd factor: no pair of ports comes twice.
        socket.send(&beginning(&macs, sent.wrapping_mul(0x9e37_79b1)));
        sent += 1;
    }
    talk.go_on(3);
    let found = bowline.json(&["stats"])["flows"].clone();
    let rows = |table: &str| {
        let number = |what: &str| found[table][what].as_u64().unwrap();
        (number("rows"), number("room"))
    };
    println!("{sent} beginnings in {:.0?}: {found}", began.elapsed());
    let (opening, room) = rows("opening");
    assert!(u64::from(sent) > room, "{sent} frames are no flood");
    assert!(opening > room / 2 && opening <= room, "{found}");
    let (established, _) = rows("established");
    assert!((2..20).contains(&established), "{found}");
    let carried = stats(&bowline, "db/eth0")["out_packets"].as_u64().unwrap();
    assert!(carried >= u64::from(sent), "{carried} of {sent}");
    let mut another = Talk::start(web, addresses[1], &listeners);
    another.go_on(3);
    another.finish();
    talk.finish();
}
