//! Loading, loading again, being interrupted, and going away.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use integration::lab::{Bowline, Pings, eventually, ping, ping_once};
use serde_json::{Value, json};

use super::{PAIR, Site, TRIO, drops, stats};

#[test]
fn unload_leaves_nothing() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    let before = site.snapshot(&bowline);
    bowline.load(&site.topology(PAIR));
    site.assert_reaches("web", "10.77.0.20");
    bowline.succeed(&["unload", "pair"]);
    before.assert_same(&site.snapshot(&bowline));
    assert!(
        !bowline.instance().state_dir().exists(),
        "its state is gone too"
    );
}

#[test]
fn a_second_load_does_nothing() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    let file = bowline.write("pair.yaml", &site.topology(PAIR));
    let plan = bowline.run(&["plan", file, "-o", "json"]);
    assert_eq!(plan.status.code(), Some(10));
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(
        plan["changes"][0],
        json!({ "action": "add", "kind": "program", "text": "port_ingress" })
    );
    let first = bowline.json(&["load", file]);
    assert_eq!(
        (&first["changed"], &first["links_created"]),
        (&true.into(), &2.into())
    );
    // IPv6 settles a moment after the links are up.
    site.assert_reaches("web", "fd00:77::20");
    site.assert_reaches("db", "fd00:77::10");
    let loaded = site.snapshot(&bowline);
    let second = bowline.json(&["load", file]);
    assert_eq!(second["changed"], Value::Bool(false), "{second}");
    assert_eq!(bowline.json(&["plan", file]), json!({ "changes": [] }));
    loaded.assert_same(&site.snapshot(&bowline));
}

/// The kernels of workloads speak to everybody as soon as they have an interface: nobody who is still
/// coming up is in their way.
#[test]
fn ports_that_come_up_refuse_nothing() {
    let Some(site) = Site::new(["web", "db", "cache"]) else {
        return;
    };
    let bowline = site.bowline();
    for _ in 0..5 {
        bowline.load(&site.topology(TRIO));
        for (from, to) in [
            ("web", "fd00:77::20"),
            ("db", "fd00:77::30"),
            ("cache", "fd00:77::10"),
        ] {
            site.assert_reaches(from, to);
        }
        for port in ["web/eth0", "db/eth0", "cache/eth0"] {
            let said = stats(&bowline, port);
            assert_eq!(drops(&bowline, port, "kernel_refused"), 0, "{said}");
        }
        bowline.succeed(&["unload", "pair"]);
    }
}

/// Whatever happens to other workloads, what flows between these two is not touched.
#[test]
fn reloading_loses_nothing_of_untouched_workloads() {
    let Some(site) = Site::new(["web", "db", "cache"]) else {
        return;
    };
    let bowline = site.bowline();
    let (pair, trio) = (site.topology(PAIR), site.topology(TRIO));
    bowline.load(&pair);
    site.assert_reaches("web", "10.77.0.20");
    site.assert_reaches("web", "fd00:77::20");
    let pings = ["10.77.0.20", "fd00:77::20"]
        .map(|to| Pings::start(site.workload("web"), to.parse().unwrap()));
    for _ in 0..5 {
        for topology in [&trio, &trio, &pair, &pair] {
            bowline.load(topology);
        }
        bowline.load(&trio);
        let cache = "10.77.0.30".parse().unwrap();
        assert!(ping_once(site.workload("web"), cache));
        bowline.load(&pair);
    }
    for pings in pings {
        let (sent, received) = pings.finish();
        assert!(sent > 200, "{sent} is too few to tell");
        assert_eq!(received, sent);
    }
}

/// What others remember of a workload would send their frames to nobody, for up to a minute: they are
/// told.
#[test]
fn a_changed_mac_address_is_announced() {
    let Some(site) = Site::new(["web", "db", "cache"]) else {
        return;
    };
    let bowline = site.bowline();
    let with_mac = |last: u8| {
        let mac = format!("mac: '02:00:00:00:00:{last:02x}', addresses: [10.77.0.20");
        site.topology(&TRIO.replace("addresses: [10.77.0.20", &mac))
    };
    bowline.load(&with_mac(1));
    for last in 2..5 {
        for to in ["10.77.0.20", "fd00:77::20"] {
            site.assert_reaches("web", to);
            site.assert_reaches("cache", to);
        }
        bowline.load(&with_mac(last));
        assert_at_once(&site, &["10.77.0.20", "fd00:77::20"]);
    }
}

/// The same goes for an address that another workload has got.
#[test]
fn a_moved_address_is_announced() {
    let Some(site) = Site::new(["web", "db", "cache"]) else {
        return;
    };
    let bowline = site.bowline();
    let moved = TRIO
        .replace(r#"10.77.0.20, "fd00:77::20""#, "10.77.0.21")
        .replace(
            "fd00:77::30\"",
            r#"fd00:77::30", 10.77.0.20, "fd00:77::20""#,
        );
    for text in [TRIO, &moved, TRIO] {
        bowline.load(&site.topology(text));
        assert_at_once(&site, &["10.77.0.20", "fd00:77::20"]);
    }
}

/// The first ping that `web` sends is answered.
#[track_caller]
fn assert_at_once(site: &Site, addresses: &[&str]) {
    for to in addresses {
        let web = site.workload("web");
        assert!(
            ping_once(web, to.parse().unwrap()),
            "{to}; web knows {}",
            web.ip(&["neighbor"])
        );
    }
}

/// `load` is killed at moments spread over its whole duration; what it leaves is put right by the
/// next one, whichever file that has.
#[test]
fn a_load_that_was_killed_is_put_right_by_the_next() {
    let Some(site) = Site::new(["web", "db", "cache"]) else {
        return;
    };
    let bowline = site.bowline();
    let before = site.snapshot(&bowline);
    let trio = bowline.write("trio.yaml", &site.topology(TRIO));
    let pair = bowline.write("pair.yaml", &site.topology(PAIR));
    let started = Instant::now();
    bowline.succeed(&["load", trio]);
    let duration = started.elapsed();
    for round in 0..24_u32 {
        if round % 3 == 0 {
            // From nothing.
            bowline.succeed(&["unload", "pair"]);
        }
        let (killed, next) = if round % 2 == 0 {
            (trio, pair)
        } else {
            (pair, trio)
        };
        kill_after(&bowline, &["load", killed], duration * round / 20);
        bowline.succeed(&["load", next]);
        let what = format!("after round {round}");
        assert_eq!(
            bowline.run(&["plan", next]).status.code(),
            Some(0),
            "{what}"
        );
        let reached = ping_once(site.workload("web"), "10.77.0.20".parse().unwrap());
        assert!(reached, "{what}");
    }
    bowline.succeed(&["unload", "pair"]);
    before.assert_same(&site.snapshot(&bowline));
}

/// The same with `unload`, which may be killed as well.
#[test]
fn an_unload_that_was_killed_is_finished_by_the_next() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    let before = site.snapshot(&bowline);
    let pair = bowline.write("pair.yaml", &site.topology(PAIR));
    bowline.succeed(&["load", pair]);
    let started = Instant::now();
    bowline.succeed(&["unload", "pair"]);
    let duration = started.elapsed();
    for round in 0..10_u32 {
        bowline.succeed(&["load", pair]);
        kill_after(&bowline, &["unload", "pair"], duration * round / 10);
        // It may have come so far that there is nothing left to name, but for the remains.
        let again = bowline.run(&["unload", "pair"]);
        if !again.status.success() {
            bowline.succeed(&["load", pair]);
            bowline.succeed(&["unload", "pair"]);
        }
        before.assert_same(&site.snapshot(&bowline));
    }
}

fn kill_after(bowline: &Bowline<'_>, arguments: &[&str], delay: Duration) {
    let mut command = bowline.command(arguments);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The moment is the point here, so this waits for no event. nsenter becomes bowline by exec, so
    // the child is bowline itself.
    thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A container that stops takes its namespace and its interface along, and comes back with a new
/// one. The kernel takes its time to clear the old one away, and `load` may come before that.
#[test]
fn a_workload_that_was_restarted_gets_its_port_back() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(PAIR));
    site.assert_reaches("web", "10.77.0.20");
    let sent = stats(&bowline, "db/eth0")["in_packets"].as_u64().unwrap();
    for is_cleared in [true, false, false] {
        site.workload("db").destroy();
        if is_cleared {
            let db = "10.77.0.20".parse().unwrap();
            eventually("db is gone", || !ping(site.workload("web"), db));
        }
        site.workload("db").create();
        bowline.succeed(&["load"]);
        site.assert_reaches("web", "10.77.0.20");
        site.assert_reaches("web", "fd00:77::20");
        let run = bowline.json(&["load"]);
        assert_eq!(run["changed"], Value::Bool(false), "{run}");
    }
    let now = stats(&bowline, "db/eth0")["in_packets"].as_u64().unwrap();
    assert!(now > sent, "its counters went on");
}

/// The state folder of an instance was lost, or the machine was started again: what is recorded is
/// put into force, and what is in the kernel is not asked.
#[test]
fn what_was_loaded_is_remembered() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(PAIR));
    // A machine that starts again has neither pins nor links.
    bowline::kernel::datapath::remove_all(bowline.instance()).unwrap();
    for end in host_ends(&site) {
        site.host.ip(&["link", "delete", &end]);
    }
    let db = "10.77.0.20".parse().unwrap();
    eventually("db is gone", || !ping(site.workload("web"), db));
    bowline.succeed(&["load"]);
    site.assert_reaches("web", "10.77.0.20");
}

/// Somebody else removes what is ours, one thing at a time: the next load puts it back.
#[test]
fn what_somebody_removed_is_put_back() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(PAIR));
    let pins = bowline.instance().pin_dir();
    let (web, db) = (site.workload("web"), site.workload("db"));
    let removals: [(&str, &dyn Fn()); 6] = [
        ("an address", &|| {
            drop(web.ip(&["address", "del", "10.77.0.10/24", "dev", "eth0"]))
        }),
        ("all addresses", &|| {
            drop(db.ip(&["address", "flush", "dev", "eth0"]))
        }),
        ("an interface", &|| drop(db.ip(&["link", "delete", "eth0"]))),
        ("a link that is up", &|| {
            drop(web.ip(&["link", "set", "eth0", "down"]))
        }),
        ("a map's pin", &|| {
            fs::remove_file(pins.join("maps/FDB")).unwrap()
        }),
        ("all pins", &|| fs::remove_dir_all(&pins).unwrap()),
    ];
    for (what, remove) in removals {
        remove();
        bowline.succeed(&["load"]);
        let reached = || ping(web, "10.77.0.20".parse().unwrap());
        eventually(&format!("{what} is back"), reached);
        let json = bowline.json(&["load"]);
        assert_eq!(json["changed"], Value::Bool(false), "{what}: {json}");
    }
}

/// The names of the host's ends of links.
fn host_ends(site: &Site) -> Vec<String> {
    let links: Value = serde_json::from_str(&site.host.ip(&["-j", "link"])).unwrap();
    let names = links.as_array().unwrap().iter();
    names
        .filter_map(|link| link["ifname"].as_str())
        .filter(|name| name.starts_with("bl"))
        .map(str::to_owned)
        .collect()
}
