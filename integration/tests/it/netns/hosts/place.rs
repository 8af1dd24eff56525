//! Which of the topology's hosts this one is, and the program at its uplink.

use std::process::Command;

use integration::lab::{Bowline, Namespace, Run, is_usable, veth};
use serde_json::Value;

use super::super::Site;

/// Two hosts with one workload each. Line 4 is `alpha`, line 5 is `beta`.
const HOSTS: &str = "version: 1
name: pair
hosts:
  alpha: 192.0.2.11
  beta: 192.0.2.12
networks:
  front: [10.77.0.0/24]
workloads:
  web: { host: alpha, netns: @web, ports: [{ network: front, addresses: [10.77.0.10] }] }
  db: { host: beta, netns: @db, ports: [{ network: front, addresses: [10.77.0.20] }] }
";

/// A host with two interfaces, `up0` and `up1`, to the same wire. It has no address yet.
struct Wired {
    site: Site,
    _wire: Namespace,
}

impl Wired {
    fn new() -> Option<Self> {
        if !is_usable() {
            return None;
        }
        let (host, wire) = (Namespace::quiet("host"), Namespace::quiet("wire"));
        for interface in ["up0", "up1"] {
            veth((&host, interface), (&wire, interface));
        }
        let workloads = ["web", "db"].map(|name| (name, Namespace::new(name)));
        let site = Site {
            host,
            workloads: workloads.into_iter().collect(),
        };
        Some(Self { site, _wire: wire })
    }

    fn with_address(address: &str) -> Option<Self> {
        let wired = Self::new()?;
        wired.add_address(address, "up0");
        Some(wired)
    }

    fn add_address(&self, address: &str, interface: &str) {
        let host = &self.site.host;
        host.ip(&["address", "add", &format!("{address}/24"), "dev", interface]);
    }

    /// The names of the interfaces of a workload's namespace.
    fn interfaces(&self, workload: &str) -> Vec<String> {
        let links = self.site.workload(workload).ip(&["-j", "link"]);
        let links: Value = serde_json::from_str(&links).unwrap();
        let name = |link: &Value| link["ifname"].as_str().unwrap().to_owned();
        links.as_array().unwrap().iter().map(name).collect()
    }

    fn tc(&self, arguments: &[&str]) {
        let mut command: Command = self.site.host.command("tc");
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "tc {arguments:?}: {output:?}");
    }
}

/// What is shown of this host: its name, its uplink and how the program is attached there.
fn this_host(bowline: &Bowline<'_>) -> (String, String, Option<String>) {
    let shown = bowline.json(&["show", "hosts"]);
    let hosts = shown["hosts"].as_array().unwrap();
    let this: Vec<&Value> = hosts.iter().filter(|it| it["this_host"] == true).collect();
    let [this] = this.as_slice() else {
        panic!("{shown}");
    };
    let uplink = &this["uplink"];
    (
        this["name"].as_str().unwrap().to_owned(),
        uplink["interface"].as_str().unwrap().to_owned(),
        uplink["attached"].as_str().map(str::to_owned),
    )
}

#[track_caller]
fn assert_fails(run: &Run, says: &[&str]) {
    assert_eq!(run.status.code(), Some(1), "{run}");
    // Messages are broken into lines.
    let words: Vec<&str> = run
        .stderr
        .split_whitespace()
        .filter(|it| *it != "│")
        .collect();
    let text = words.join(" ");
    for part in says {
        assert!(text.contains(part), "`{part}` is not in {run}");
    }
}

#[test]
fn the_host_takes_the_part_whose_address_it_has() {
    let Some(wired) = Wired::with_address("192.0.2.11") else {
        return;
    };
    let bowline = wired.site.bowline();
    let before = wired.site.snapshot(&bowline);
    let file = bowline.write("pair.yaml", &wired.site.topology(HOSTS));
    let plan = bowline.run(&["plan", file]);
    assert_eq!(plan.status.code(), Some(10), "{plan}");
    let line = "+ attachment uplink_ingress at up0";
    assert!(plan.stdout.contains(line), "{plan}");
    before.assert_same(&wired.site.snapshot(&bowline));

    let first = bowline.json(&["load", file]);
    assert_eq!(first["uplinks_attached"], 1, "{first}");
    let (name, uplink, attached) = this_host(&bowline);
    assert_eq!((name.as_str(), uplink.as_str()), ("alpha", "up0"));
    assert!(
        matches!(attached.as_deref(), Some("tcx" | "clsact")),
        "{attached:?}"
    );
    assert_eq!(wired.interfaces("web"), ["lo", "eth0"]);
    assert_eq!(wired.interfaces("db"), ["lo"]);
    let shown = bowline.json(&["show", "ports"]);
    let states: Vec<_> = shown["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| {
            (
                port["host"].as_str().unwrap(),
                port["state"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(states, [("beta", "remote"), ("alpha", "up")]);

    let loaded = wired.site.snapshot(&bowline);
    let second = bowline.json(&["load", file]);
    assert_eq!(second["changed"], false, "{second}");
    loaded.assert_same(&wired.site.snapshot(&bowline));

    let last = bowline.json(&["unload", "pair"]);
    assert_eq!(last["uplinks_detached"], 1, "{last}");
    before.assert_same(&wired.site.snapshot(&bowline));
    assert!(!bowline.instance().state_dir().exists());
}

#[test]
fn peers_are_shown_before_anything_was_heard() {
    let Some(wired) = Wired::with_address("192.0.2.11") else {
        return;
    };
    let bowline = wired.site.bowline();
    bowline.load(&wired.site.topology(HOSTS));
    let shown = bowline.json(&["show", "peers"]);
    let [peer] = shown["peers"].as_array().unwrap().as_slice() else {
        panic!("{shown}");
    };
    assert_eq!(
        (&peer["name"], &peer["kind"], &peer["address"]),
        (&"beta".into(), &"host".into(), &"192.0.2.12".into())
    );
    assert_eq!(
        (&peer["tunnel"], &peer["uplink"], &peer["state"]),
        (&"vxlan".into(), &"up0".into(), &"unknown".into())
    );
    assert_eq!(
        (&peer["heard_ms"], &peer["in_packets"]),
        (&Value::Null, &0.into())
    );
    let table = bowline.succeed(&["show", "peers"]);
    assert!(
        table.contains("PATH MTU") && table.contains("beta\t192.0.2.12\tvxlan\tup0"),
        "{table}"
    );
}

#[test]
fn who_is_nobody_or_everybody_is_told_how_to_say_who() {
    let Some(wired) = Wired::new() else {
        return;
    };
    let bowline = wired.site.bowline();
    let file = bowline.write("pair.yaml", &wired.site.topology(HOSTS));
    let before = wired.site.snapshot(&bowline);
    let both = "192.0.2.11 (`alpha`) or 192.0.2.12 (`beta`)";
    assert_fails(
        &bowline.run(&["load", file]),
        &["none of", both, "--host NAME"],
    );
    bowline.succeed(&["validate", file]);
    before.assert_same(&wired.site.snapshot(&bowline));

    wired.add_address("192.0.2.11", "up0");
    wired.add_address("192.0.2.12", "up1");
    let both = "192.0.2.11 (`alpha`) and 192.0.2.12 (`beta`)";
    for verb in ["plan", "load"] {
        assert_fails(
            &bowline.run(&[verb, file]),
            &["several", both, "--host NAME"],
        );
    }
    assert_fails(
        &bowline.run(&["load", file, "--host", "bta"]),
        &["no host `bta`", "`beta`"],
    );
    assert!(!bowline.instance().state_dir().exists());
}

/// A name that was given once is known from then on, until nothing is loaded any more.
#[test]
fn a_name_that_is_given_is_remembered() {
    let Some(wired) = Wired::with_address("192.0.2.11") else {
        return;
    };
    wired.add_address("192.0.2.12", "up1");
    let bowline = wired.site.bowline();
    let before = wired.site.snapshot(&bowline);
    let file = bowline.write("pair.yaml", &wired.site.topology(HOSTS));
    bowline.succeed(&["load", file, "--host", "beta"]);
    let (name, uplink, _) = this_host(&bowline);
    assert_eq!((name.as_str(), uplink.as_str()), ("beta", "up1"));
    assert_eq!(wired.interfaces("web"), ["lo"]);
    assert_eq!(wired.interfaces("db"), ["lo", "eth0"]);
    assert_eq!(bowline.json(&["load", file])["changed"], false);
    assert_eq!(bowline.json(&["load"])["changed"], false);

    // Another name, another part; a name that is refused changes nothing.
    assert_fails(&bowline.run(&["load", "--host", "gamma"]), &["`gamma`"]);
    assert_eq!(this_host(&bowline).0, "beta");
    let moved = bowline.json(&["load", "--host", "alpha"]);
    assert_eq!(
        (&moved["uplinks_attached"], &moved["uplinks_detached"]),
        (&1.into(), &1.into()),
        "{moved}"
    );
    let (name, uplink, attached) = this_host(&bowline);
    assert_eq!((name.as_str(), uplink.as_str()), ("alpha", "up0"));
    assert!(attached.is_some());
    assert_eq!(wired.interfaces("db"), ["lo"]);

    bowline.succeed(&["unload", "pair"]);
    before.assert_same(&wired.site.snapshot(&bowline));
    assert_fails(&bowline.run(&["load", file]), &["several", "--host NAME"]);
}

#[test]
fn an_uplink_that_is_not_there_is_told_with_its_line() {
    let Some(wired) = Wired::with_address("192.0.2.11") else {
        return;
    };
    let bowline = wired.site.bowline();
    let text = wired.site.topology(HOSTS);
    let uplink = "alpha: { address: 192.0.2.11, uplink: pu1 }";
    let file = bowline.write("pair.yaml", &text.replace("alpha: 192.0.2.11", uplink));
    let says = ["pair.yaml:4:", "`pu1`, which is not here", "`up1`"];
    assert_fails(&bowline.run(&["load", file]), &says);
    let bare = uplink.replace("pu1", "lo");
    let file = bowline.write("pair.yaml", &text.replace("alpha: 192.0.2.11", &bare));
    let says = ["pair.yaml:4:", "is lo, which carries no Ethernet frames"];
    assert_fails(&bowline.run(&["load", file]), &says);
    let file = bowline.write("other.yaml", &text);
    let run = bowline.run(&["load", file, "--host", "beta"]);
    let says = [
        "other.yaml:5:",
        "no interface here has its address 192.0.2.12",
        "`uplink:`",
    ];
    assert_fails(&run, &says);
}

/// The file moves the uplink: the program goes with it.
#[test]
fn the_program_follows_the_uplink() {
    let Some(wired) = Wired::with_address("192.0.2.11") else {
        return;
    };
    let bowline = wired.site.bowline();
    let before = wired.site.snapshot(&bowline);
    let text = wired.site.topology(HOSTS);
    bowline.load(&text);
    let loaded = wired.site.snapshot(&bowline);
    let uplink = "alpha: { address: 192.0.2.11, uplink: up1 }";
    bowline.load(&text.replace("alpha: 192.0.2.11", uplink));
    let (_, uplink, attached) = this_host(&bowline);
    assert_eq!(uplink, "up1");
    assert!(attached.is_some());
    bowline.load(&text);
    loaded.assert_same(&wired.site.snapshot(&bowline));
    // One source of two goes: what stays has no hosts, and no uplink.
    let alone = "version: 1\nname: alone\nnetworks: { other: [10.78.0.0/24] }\n";
    bowline.load(alone);
    let gone = bowline.json(&["unload", "pair"]);
    assert_eq!(gone["uplinks_detached"], 1, "{gone}");
    bowline.succeed(&["unload", "alone"]);
    before.assert_same(&wired.site.snapshot(&bowline));
}

/// A qdisc with a filter, and the program of another instance.
#[test]
fn what_others_have_at_the_uplink_survives() {
    let Some(wired) = Wired::with_address("192.0.2.11") else {
        return;
    };
    wired.tc(&["qdisc", "add", "dev", "up0", "clsact"]);
    let place = ["filter", "add", "dev", "up0", "ingress", "pref", "98"];
    let filter = ["bpf", "bytecode", "1,6 0 0 4294967295"];
    wired.tc(&[&place[..], &filter].concat());
    let (bowline, other) = (wired.site.bowline(), wired.site.bowline());
    let hosts = "version: 1\nname: other\nhosts: { alpha: 192.0.2.11, beta: 192.0.2.12 }\n\
                 networks: { far: [10.79.0.0/24] }\n";
    other.load(hosts);
    let before = wired.site.snapshot(&bowline);
    let text = wired.site.topology(HOSTS);
    for _ in 0..2 {
        bowline.load(&text);
        assert!(this_host(&bowline).2.is_some());
        assert!(this_host(&other).2.is_some());
        bowline.succeed(&["unload", "pair"]);
        before.assert_same(&wired.site.snapshot(&bowline));
    }
    assert!(this_host(&other).2.is_some());
    other.succeed(&["unload", "other"]);
}

/// The workload has another route to the same destination.
#[test]
fn a_load_that_fails_leaves_the_uplink() {
    let Some(wired) = Wired::with_address("192.0.2.11") else {
        return;
    };
    let bowline = wired.site.bowline();
    let web = wired.site.workload("web");
    veth((web, "lan"), (web, "other"));
    web.ip(&["address", "add", "10.50.0.1/24", "dev", "lan"]);
    web.ip(&["route", "add", "10.99.0.0/16", "via", "10.50.0.2"]);
    let before = wired.site.snapshot(&bowline);
    let text = wired.site.topology(HOSTS);
    let routes = "addresses: [10.77.0.10], routes: [{ to: 10.99.0.0/16, via: 10.77.0.1 }]";
    let failing = text.replace("addresses: [10.77.0.10]", routes);
    let file = bowline.write("failing.yaml", &failing);
    let run = bowline.run(&["load", file, "--host", "alpha"]);
    assert_fails(&run, &["another route", "nothing was changed"]);
    before.assert_same(&wired.site.snapshot(&bowline));
    assert!(!bowline.instance().state_dir().exists());
    // The same when something was loaded before: it stays.
    bowline.load(&text);
    let before = wired.site.snapshot(&bowline);
    assert_fails(&bowline.run(&["load", file]), &["another route"]);
    before.assert_same(&wired.site.snapshot(&bowline));
    assert!(this_host(&bowline).2.is_some());
}

#[test]
fn an_uplink_too_narrow_for_the_file_is_warned_of() {
    let Some(wired) = Wired::with_address("192.0.2.11") else {
        return;
    };
    let bowline = wired.site.bowline();
    let text = wired.site.topology(HOSTS);
    let jumbo = "alpha: { address: 192.0.2.11, mtu: 9000 }";
    let file = bowline.write("pair.yaml", &text.replace("alpha: 192.0.2.11", jumbo));
    let run = bowline.run(&["load", file]);
    assert!(run.status.success(), "{run}");
    assert!(
        run.stderr.contains("9000") && run.stderr.contains("up0"),
        "{run}"
    );
}
