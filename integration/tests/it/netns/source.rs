//! Several files on one host, and several hosts on one machine.

use std::fs;

use integration::lab::ping;

use super::{PAIR, Site};

const FRONT: &str = "
version: 1
name: first
networks: { front: 10.77.0.0/24 }
workloads:
  web: { netns: @web, ports: [{ network: front, addresses: 10.77.0.10 }] }
";

/// Plugs into the network that the first file declares.
const BACK: &str = "
version: 1
name: second
networks: { back: 10.88.0.0/24 }
workloads:
  db: { netns: @db, ports: [{ network: back, addresses: 10.88.0.20 }] }
  cache: { netns: @cache, ports: [{ network: back, addresses: 10.88.0.30 }] }
";

#[test]
fn files_are_loaded_side_by_side_and_unloaded_alone() {
    let Some(site) = Site::new(["web", "db", "cache"]) else {
        return;
    };
    let bowline = site.bowline();
    let empty = site.snapshot(&bowline);
    let front = bowline.write("front.yaml", &site.topology(FRONT));
    let back = bowline.write("back.yaml", &site.topology(BACK));
    bowline.succeed(&["load", front]);
    let first = site.snapshot(&bowline);
    bowline.succeed(&["load", back]);
    site.assert_reaches("db", "10.88.0.30");
    let sources = bowline.json(&["show", "sources"]).to_string();
    assert!(
        sources.contains("first") && sources.contains("second"),
        "{sources}"
    );
    bowline.succeed(&["unload", "second"]);
    first.assert_same(&site.snapshot(&bowline));
    bowline.succeed(&["unload", "first"]);
    empty.assert_same(&site.snapshot(&bowline));
}

#[test]
fn a_conflict_names_both_files_and_changes_nothing() {
    let Some(site) = Site::new(["web", "db", "cache"]) else {
        return;
    };
    let bowline = site.bowline();
    let front = bowline.write("front.yaml", &site.topology(FRONT));
    bowline.succeed(&["load", front]);
    let loaded = site.snapshot(&bowline);
    // The same network, the same workload, the same VNI.
    let conflicts = [
        site.topology(FRONT).replace("first", "other"),
        site.topology(BACK).replace("back", "front"),
        site.topology(BACK).replace("  db:", "  web:"),
    ];
    for text in conflicts {
        let other = bowline.write("other.yaml", &text);
        let run = bowline.run(&["load", other]);
        assert_eq!(run.status.code(), Some(1), "{run}");
        for file in ["front.yaml", "other.yaml"] {
            assert!(run.stderr.contains(file), "{file} is not in: {run}");
        }
        loaded.assert_same(&site.snapshot(&bowline));
    }
}

#[test]
fn unloading_what_is_not_loaded_says_what_is() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(PAIR));
    let run = bowline.run(&["unload", "pear"]);
    assert_eq!(run.status.code(), Some(1), "{run}");
    assert!(
        run.stderr.contains("`pear`") && run.stderr.contains("`pair`"),
        "{run}"
    );
    site.assert_reaches("web", "10.77.0.20");
}

/// Neither of two sources that do not hold any more can go while the other one stays.
#[test]
fn all_can_be_unloaded_whatever_is_recorded() {
    let Some(site) = Site::new(["web", "db", "cache"]) else {
        return;
    };
    let bowline = site.bowline();
    let before = site.snapshot(&bowline);
    let sources = bowline.instance().state_dir().join("sources");
    for (name, text) in [("first", FRONT), ("second", BACK)] {
        let file = bowline.write(name, &site.topology(text));
        bowline.succeed(&["load", file]);
    }
    for name in ["first", "second"] {
        let text = format!("version: 1\nname: {name}\nnetworks: {{ {name}: nowhere }}\n");
        fs::write(sources.join(format!("{name}.yaml")), text).unwrap();
    }
    for name in ["first", "second"] {
        let run = bowline.run(&["unload", name]);
        assert_eq!(run.status.code(), Some(1), "{run}");
        assert!(run.stderr.contains("`bowline unload --all`"), "{run}");
    }
    let run = bowline.run(&["unload", "first", "--all"]);
    assert_eq!(run.status.code(), Some(2), "{run}");
    assert_eq!(bowline.run(&["unload"]).status.code(), Some(2));

    let unloaded = bowline.json(&["unload", "--all"]);
    assert_eq!(unloaded["links_deleted"], 3, "{unloaded}");
    before.assert_same(&site.snapshot(&bowline));
    assert!(!bowline.instance().state_dir().exists());
    let again = bowline.json(&["unload", "--all"]);
    assert_eq!(again["changed"], false, "{again}");
    assert!(!bowline.instance().state_dir().exists());
}

/// Two instances with the same file but for its namespaces, on one host: neither knows the other.
#[test]
fn instances_do_not_meet() {
    let Some(site) = Site::new(["web", "db", "other-web", "other-db"]) else {
        return;
    };
    let (one, two) = (site.bowline(), site.bowline());
    let text = PAIR
        .replace("@web", "@other-web")
        .replace("@db", "@other-db");
    one.load(&site.topology(PAIR));
    // IPv6 settles a moment after the links are up.
    site.assert_reaches("web", "fd00:77::20");
    let loaded = site.snapshot(&one);
    two.load(&site.topology(&text));
    site.assert_reaches("web", "10.77.0.20");
    site.assert_reaches("other-web", "10.77.0.20");
    two.succeed(&["unload", "pair"]);
    loaded.assert_same(&site.snapshot(&one));
    site.assert_reaches("web", "10.77.0.20");
    assert!(!ping(
        site.workload("other-web"),
        "10.77.0.20".parse().unwrap()
    ));
}

/// As when the machine starts, before anything was ever loaded.
#[test]
fn nothing_recorded_is_nothing_to_load() {
    let Some(site) = Site::new(["web"]) else {
        return;
    };
    let bowline = site.bowline();
    let before = site.snapshot(&bowline);
    assert_eq!(bowline.run(&["plan"]).status.code(), Some(0));
    let loaded = bowline.json(&["load"]);
    assert_eq!(loaded["changed"], false, "{loaded}");
    before.assert_same(&site.snapshot(&bowline));
    assert!(!bowline.instance().state_dir().exists());
}

/// The record was lost, but not what it was the record of.
#[test]
fn what_nobody_recorded_goes_with_the_next_load() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    let before = site.snapshot(&bowline);
    bowline.load(&site.topology(PAIR));
    fs::remove_dir_all(bowline.instance().state_dir()).unwrap();
    assert_eq!(bowline.run(&["plan"]).status.code(), Some(10));
    let loaded = bowline.json(&["load"]);
    assert_eq!(loaded["links_deleted"], 2, "{loaded}");
    before.assert_same(&site.snapshot(&bowline));
    assert_eq!(bowline.run(&["plan"]).status.code(), Some(0));
}
