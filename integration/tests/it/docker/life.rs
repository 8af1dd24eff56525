//! What happens to a container in the course of its life, and what that does to its port.

use integration::lab::eventually;

use super::{Stage, pair};

/// What one container's end of the link is like: its own interface as `ip` shows it.
fn inside(stage: &Stage, container: &str) -> String {
    let shown = stage.exec(
        container,
        "ip -o address show dev eth0; ip -o link show dev eth0",
    );
    // Interface indexes and flags of the moment differ.
    let words = shown.split_whitespace();
    let kept = ["inet", "inet6", "link/ether", "mtu"];
    let mut words = words.peekable();
    let mut text = Vec::new();
    while let Some(word) = words.next() {
        if let Some(next) = words.peek().filter(|_| kept.contains(&word)) {
            text.push(format!("{word} {next}"));
        }
    }
    text.join("\n")
}

/// The host's end of a port's link, by name and index.
fn host_end(stage: &Stage, port: &str) -> (String, u64) {
    let shown = stage.port(port);
    let name = shown["host_interface"].as_str().unwrap().to_owned();
    let index = stage.index_of(&name);
    (name, index)
}

#[test]
fn a_restarted_container_gets_its_port_back() {
    let Some(stage) = Stage::set("restart") else {
        return;
    };
    for name in ["tea", "pot"] {
        stage.start(name);
    }
    let file = stage.file("pair.yaml", &pair("tea", "pot"));
    stage.load(&[&file]);
    stage.ping("tea", "10.1.0.20");
    let (mac, address) = (stage.port("tea/eth0")["mac"].clone(), inside(&stage, "tea"));
    let other = host_end(&stage, "pot/eth0");
    let counted = stage.counters("pot/eth0");

    stage.docker(&["restart", "tea"]);
    let shown = stage.port("tea/eth0");
    assert_eq!(shown["state"], "stale", "{shown}");
    let reason = shown["reason"].as_str().unwrap();
    assert!(reason.contains("run `bowline load`"), "{reason}");
    let table = stage.bowline(&["show"]).succeeded().stdout;
    assert!(
        table.contains("tea/eth0: the kernel holds it differently: run `bowline load`"),
        "{table}"
    );

    assert_eq!(stage.bowline(&["plan"]).code, Some(10));

    let loaded = stage.load(&[]);
    assert!(loaded.contains("1 link made"), "{loaded}");
    let shown = stage.port("tea/eth0");
    assert_eq!((&shown["state"], &shown["mac"]), (&"up".into(), &mac));
    assert!(address.contains(mac.as_str().unwrap()), "{address}");
    stage.ping("tea", "10.1.0.20");
    stage.ping("pot", "fd00:1::10");
    assert_eq!(inside(&stage, "tea"), address);

    assert_eq!(host_end(&stage, "pot/eth0"), other);
    let now = stage.counters("pot/eth0");
    for key in ["in_packets", "out_packets"] {
        let (now, before) = (now[key].as_u64().unwrap(), counted[key].as_u64().unwrap());
        assert!(now >= before + 6, "{key}: {before}, then {now}");
    }
}

#[test]
fn a_container_made_again_under_its_name_takes_its_port() {
    let Some(stage) = Stage::set("made_again") else {
        return;
    };
    for name in ["cat", "dog"] {
        stage.start(name);
    }
    let file = stage.file("pair.yaml", &pair("cat", "dog"));
    stage.load(&[&file]);
    stage.ping("dog", "10.1.0.10");
    let (address, other) = (inside(&stage, "cat"), host_end(&stage, "dog/eth0"));

    stage.docker(&["rm", "--force", "cat"]);
    let gone = stage.port("cat/eth0");
    assert_eq!(gone["state"], "unplugged");
    let reason = gone["reason"].as_str().unwrap();
    assert!(reason.contains("there is no container `cat`"), "{reason}");

    stage.start("cat");
    assert_eq!(stage.port("cat/eth0")["state"], "stale");
    stage.load(&[&file]);
    stage.ping("dog", "10.1.0.10");
    assert_eq!(inside(&stage, "cat"), address);
    assert_eq!(host_end(&stage, "dog/eth0"), other);
}

#[test]
fn a_stopped_container_is_refused_in_its_own_file_only() {
    let Some(stage) = Stage::set("stopped") else {
        return;
    };
    for name in ["sun", "moon", "star"] {
        stage.start(name);
    }
    let file = stage.file("pair.yaml", &pair("sun", "moon"));
    stage.load(&[&file]);
    stage.docker(&["stop", "sun"]);
    eventually("the link went with its container", || {
        !stage.traces().contains(":sun/eth0")
    });
    let shown = stage.port("sun/eth0");
    assert_eq!(shown["state"], "unplugged");
    let state = "container `sun` is not running (exited)";
    assert!(shown["reason"].as_str().unwrap().contains(state), "{shown}");

    let before = stage.traces();
    let refused = stage.bowline(&["load", &file]);
    refused.failed_saying(&[state, "start it with: docker start sun", "pair.yaml:6:3"]);
    assert_eq!(stage.traces(), before);

    // Another file does not depend on it, and shares its network with what is left.
    let other = stage.file(
        "other.yaml",
        "version: 1
name: other
workloads:
  star: { ports: [{ network: front, addresses: 10.1.0.30 }] }
",
    );
    let loaded = stage.bowline(&["load", &other]).succeeded();
    let warning = format!("warning: workload `sun` stays unplugged: {state}");
    loaded.said(&[&warning]);
    stage.ping("star", "10.1.0.20");
    let again = stage.bowline(&["load"]).succeeded();
    again.said(&[&warning]);
    assert_eq!(again.stdout, "loaded: nothing had to be changed\n");

    stage.docker(&["start", "sun"]);
    stage.load(&[]);
    stage.ping("star", "10.1.0.10");
}

#[test]
fn a_paused_container_stays_plugged_in() {
    let Some(stage) = Stage::set("paused") else {
        return;
    };
    for name in ["owl", "bat"] {
        stage.start(name);
    }
    // It can even be plugged in while it is paused.
    stage.docker(&["pause", "owl"]);
    let file = stage.file("pair.yaml", &pair("owl", "bat"));
    stage.load(&[&file]);
    assert_eq!(stage.port("owl/eth0")["state"], "up");
    // What is paused are its processes; its network stack is the kernel's and answers.
    stage.ping("bat", "10.1.0.10");
    stage.docker(&["unpause", "owl"]);
    assert_eq!(stage.load(&[]), "loaded: nothing had to be changed\n");
    stage.ping("owl", "10.1.0.20");
}
