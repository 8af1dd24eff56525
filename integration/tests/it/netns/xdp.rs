//! XDP at the uplinks of two hosts: what it drops is counted once, and what it lets pass arrives.

use std::net::TcpListener;
use std::thread;

use integration::lab::{
    Bowline, Namespace, PacketSocket, eventually, is_usable, receive_all, send_all, veth,
};

use super::{Site, drops, stats};

/// Two hosts with one workload each.
const HOSTS: &str = "version: 1
name: pair
hosts:
  alpha: { address: 192.0.2.11, xdp: off }
  beta: { address: 192.0.2.12, xdp: off }
networks:
  front: [10.77.0.0/24]
workloads:
  web: { host: alpha, netns: @web, ports: [{ network: front, addresses: [10.77.0.10] }] }
  db: { host: beta, netns: @db, ports: [{ network: front, addresses: [10.77.0.20] }] }
";

/// How many frames of each kind the attacker sends.
const FLOOD: u64 = 50;
/// No network of the topology has it.
const UNKNOWN: u32 = 99;

struct Pair {
    /// The workloads, and the host `alpha`.
    site: Site,
    beta: Namespace,
}

impl Pair {
    fn new() -> Option<Self> {
        if !is_usable() {
            return None;
        }
        let (host, beta) = (Namespace::quiet("alpha"), Namespace::quiet("beta"));
        veth((&host, "up0"), (&beta, "up0"));
        host.ip(&["address", "add", "192.0.2.11/24", "dev", "up0"]);
        beta.ip(&["address", "add", "192.0.2.12/24", "dev", "up0"]);
        let workloads = ["web", "db"].map(|name| (name, Namespace::new(name)));
        let site = Site {
            host,
            workloads: workloads.into_iter().collect(),
        };
        Some(Self { site, beta })
    }

    fn beta(&self) -> Bowline<'_> {
        Bowline::new(env!("CARGO_BIN_EXE_lab-bowline"), &self.beta)
    }

    fn topology(&self, mode: &str) -> String {
        self.site
            .topology(HOSTS)
            .replace("xdp: off", &format!("xdp: {mode}"))
    }

    /// Many packets of each kind that nobody should take in, to beta.
    fn flood(&self) {
        let wire = PacketSocket::new(&self.site.host, "up0");
        let to = self.beta.mac("up0");
        let mut no_vni = vxlan(to, 11, 7);
        no_vni[42] = 0;
        for _ in 0..FLOOD {
            wire.send(&vxlan(to, 99, 7));
            wire.send(&vxlan(to, 11, UNKNOWN));
            wire.send(&no_vni);
        }
    }
}

/// A packet from 192.0.2.`from` to beta in VXLAN, around an empty Ethernet frame.
fn vxlan(to: [u8; 6], from: u8, vni: u32) -> Vec<u8> {
    let [_, v0, v1, v2] = vni.to_be_bytes();
    let mut packet = vec![0x45, 0, 0, 50, 0, 1, 0, 0, 64, 17, 0, 0];
    packet.extend([192, 0, 2, from, 192, 0, 2, 12]);
    let sum: u32 = packet
        .chunks(2)
        .map(|it| u32::from(it[0]) << 8 | u32::from(it[1]))
        .sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend([0xc0, 0, 0x12, 0xb5, 0, 30, 0, 0, 8, 0, 0, 0, v0, v1, v2, 0]);
    packet.extend([0; 14]);
    [&to as &[u8], &[2, 0, 0, 0, 0, 9, 8, 0], &packet].concat()
}

/// What is shown of beta's uplink: driver and XDP.
fn shown(bowline: &Bowline<'_>) -> (String, String) {
    let shown = bowline.json(&["show", "hosts"]);
    let hosts = shown["hosts"].as_array().unwrap();
    let this = hosts.iter().find(|it| it["this_host"] == true).unwrap();
    let text = |key: &str| this["uplink"][key].as_str().unwrap().to_owned();
    (text("driver"), text("xdp"))
}

#[test]
fn what_is_dropped_is_counted_once_and_the_rest_arrives() {
    let Some(pair) = Pair::new() else {
        return;
    };
    let (alpha, beta) = (pair.site.bowline(), pair.beta());
    let before = [pair.site.snapshot(&alpha), pair.site.snapshot(&beta)];
    let links = pair.beta.ip(&["-d", "link", "show", "dev", "up0"]);
    for (round, mode) in ["off", "native", "generic", "auto"].into_iter().enumerate() {
        for bowline in [&alpha, &beta] {
            bowline.load(&pair.topology(mode));
            assert_eq!(bowline.json(&["load"])["changed"], false, "{mode}");
        }
        // By itself no XDP comes to a veth.
        let expected = if mode == "auto" { "off" } else { mode };
        assert_eq!(shown(&beta), ("veth".to_owned(), expected.to_owned()));

        pair.site.assert_reaches("web", "10.77.0.20");
        let address = "10.77.0.20:4000".parse().unwrap();
        let listener = pair.site.workload("db").run(|| TcpListener::bind(address));
        let listener = listener.unwrap();
        let receiver = thread::spawn(move || receive_all(&listener));
        let sent = send_all(pair.site.workload("web"), address, 8 << 20);
        assert_eq!(receiver.join().unwrap(), sent, "{mode}");

        let heard = stats(&beta, "peer alpha")["in_packets"].as_u64().unwrap();
        pair.flood();
        let counted = || {
            [
                drops(&beta, "no port", "unknown_peer"),
                drops(&beta, "no port", "malformed_outer"),
                drops(&beta, "peer alpha", "unknown_vni"),
            ]
        };
        let wanted = [FLOOD * (round as u64 + 1); 3];
        eventually(&format!("all is dropped, {mode}"), || counted() >= wanted);
        pair.site.assert_reaches("web", "10.77.0.20");
        assert_eq!(counted(), wanted, "{mode}");
        let now = stats(&beta, "peer alpha")["in_packets"].as_u64().unwrap();
        assert!(now >= heard + FLOOD, "{mode}: {heard}, then {now}");
    }
    for bowline in [&alpha, &beta] {
        bowline.succeed(&["unload", "pair"]);
    }
    assert_eq!(pair.beta.ip(&["-d", "link", "show", "dev", "up0"]), links);
    before[0].assert_same(&pair.site.snapshot(&alpha));
    before[1].assert_same(&pair.site.snapshot(&beta));
}

/// Another instance has the only place for XDP: it keeps it, and traffic flows.
#[test]
fn somebody_elses_program_stays_and_is_told_of() {
    let Some(pair) = Pair::new() else {
        return;
    };
    let (first, second) = (pair.beta(), pair.beta());
    let other = "version: 1\nname: other\nhosts: { alpha: 192.0.2.11, beta: { address: 192.0.2.12, \
                 xdp: native } }\nnetworks: { far: [10.79.0.0/24] }\n";
    first.load(other);
    assert_eq!(shown(&first).1, "native");
    let file = second.write("pair.yaml", &pair.topology("native"));
    let run = second.run(&["load", file]);
    assert!(run.status.success(), "{run}");
    assert!(run.stderr.contains("runs without XDP"), "{run}");
    assert_eq!(shown(&second).1, "taken");
    assert_eq!(second.json(&["load"])["changed"], false);
    second.succeed(&["unload", "pair"]);
    assert_eq!(shown(&first).1, "native");
    first.succeed(&["unload", "other"]);
}

/// What was asked for and cannot be is an error, after which all is as before.
#[test]
fn a_driver_that_refuses_is_told_of() {
    let Some(pair) = Pair::new() else {
        return;
    };
    let beta = pair.beta();
    // A bridge's driver has no XDP.
    pair.beta.ip(&["link", "add", "br0", "type", "bridge"]);
    pair.beta
        .ip(&["address", "del", "192.0.2.12/24", "dev", "up0"]);
    pair.beta
        .ip(&["address", "add", "192.0.2.12/24", "dev", "br0"]);
    pair.beta.ip(&["link", "set", "br0", "up"]);
    let before = pair.site.snapshot(&beta);
    let file = beta.write("pair.yaml", &pair.topology("native"));
    let run = beta.run(&["load", file]);
    assert!(!run.status.success(), "{run}");
    assert!(
        run.stderr.contains("`xdp: native` is not possible"),
        "{run}"
    );
    before.assert_same(&pair.site.snapshot(&beta));
    beta.load(&pair.topology("auto"));
    assert_eq!(shown(&beta), ("bridge".to_owned(), "refused".to_owned()));
    assert_eq!(beta.json(&["load"])["changed"], false);
    beta.load(&pair.topology("generic"));
    assert_eq!(shown(&beta).1, "generic");
    beta.succeed(&["unload", "pair"]);
    before.assert_same(&pair.site.snapshot(&beta));
}
