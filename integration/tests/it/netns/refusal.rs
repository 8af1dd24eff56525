//! Bad input, and what it gets: a message that says what and where, exit code 1, and nothing changed.

use std::fs::{self, OpenOptions};

use integration::lab::{skip, veth};
use rustix::fs::{FlockOperation, flock};

use super::{PAIR, Site};

/// A topology in which one line is wrong.
struct Refused {
    /// What is wrong.
    what: &'static str,
    /// Replaced in the pair, by `new`.
    old: &'static str,
    new: &'static str,
    /// What the message must have, besides the place.
    says: &'static [&'static str],
    /// Line and column of the place, if the file is at fault.
    place: Option<&'static str>,
}

const REFUSED: &[Refused] = &[
    Refused {
        what: "no YAML",
        old: "networks:",
        new: "networks: ]",
        says: &[],
        place: Some("4:11"),
    },
    Refused {
        what: "an unknown key",
        old: "networks:",
        new: "netwroks:",
        says: &["netwroks", "networks"],
        place: Some("4:1"),
    },
    Refused {
        what: "a key given twice",
        old: "name: pair",
        new: "name: pair\nname: pear",
        says: &["name"],
        place: Some("4:1"),
    },
    Refused {
        what: "a wrong type",
        old: "version: 1",
        new: "version: one",
        says: &["version"],
        place: Some("2:10"),
    },
    Refused {
        what: "a network that is not there",
        old: "network: front, addresses: [10.77.0.20",
        new: "network: frnt, addresses: [10.77.0.20",
        says: &["frnt", "front"],
        place: Some("8:39"),
    },
    Refused {
        what: "an address outside of the subnets",
        old: "10.77.0.20",
        new: "10.99.0.20",
        says: &["10.99.0.20"],
        place: Some("8:58"),
    },
    Refused {
        what: "an address given twice",
        old: "10.77.0.20",
        new: "10.77.0.10",
        says: &["10.77.0.10", "web"],
        place: Some("8:58"),
    },
    Refused {
        what: "the network's own address",
        old: "10.77.0.20",
        new: "10.77.0.0",
        says: &["10.77.0.0"],
        place: Some("8:58"),
    },
    Refused {
        what: "the broadcast address",
        old: "10.77.0.20",
        new: "10.77.0.255",
        says: &["10.77.0.255", "broadcast"],
        place: Some("8:58"),
    },
    Refused {
        what: "an MTU too small for IPv6",
        old: r#"[10.77.0.0/24, "fd00:77::/64"]"#,
        new: r#"{ subnets: [10.77.0.0/24, "fd00:77::/64"], mtu: 1279 }"#,
        says: &["1279", "1280"],
        place: Some("5:58"),
    },
    Refused {
        what: "a MAC address of a group",
        old: "network: front, addresses: [10.77.0.20",
        new: "network: front, mac: 03:00:00:00:00:01, addresses: [10.77.0.20",
        says: &["03:00:00:00:00:01"],
        place: Some("8:51"),
    },
    Refused {
        what: "an interface name too long",
        old: "network: front, addresses: [10.77.0.20",
        new: "network: front, interface: abcdefghijklmnop, addresses: [10.77.0.20",
        says: &["abcdefghijklmnop"],
        place: Some("8:57"),
    },
];

#[test]
fn bad_files_are_refused_with_their_place() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    // Names of the test's namespaces would move the columns.
    let text = PAIR.replace("@web", "web").replace("@db", "db");
    let before = site.snapshot(&bowline);
    let mut wrong = Vec::new();
    for refused in REFUSED {
        assert!(text.contains(refused.old), "{}", refused.what);
        let file = bowline.write("bad.yaml", &text.replacen(refused.old, refused.new, 1));
        for verb in ["validate", "load"] {
            let run = bowline.run(&[verb, file]);
            let place = refused.place.map(|place| format!("bad.yaml:{place}"));
            let expected = refused.says.iter().copied().chain(place.as_deref());
            let missing: Vec<_> = expected.filter(|text| !run.stderr.contains(text)).collect();
            if run.status.code() != Some(1) || !missing.is_empty() {
                wrong.push(format!(
                    "{verb} of {}: {missing:?} not in {run}",
                    refused.what
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    before.assert_same(&site.snapshot(&bowline));
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    let text = site
        .topology(PAIR)
        .replace("10.77.0.20", "10.99.0.20")
        .replace(
            "network: front, addresses: [10.77.0.10",
            "network: frnt, addresses: [10.77.0.10",
        )
        .replace("version: 1", "version: 2");
    let file = bowline.write("bad.yaml", &text);
    let run = bowline.run(&["validate", file]);
    for part in ["10.99.0.20", "frnt", "version", "3 problems"] {
        assert!(run.stderr.contains(part), "{part} is not in {run}");
    }
}

/// A change that fails leaves what was loaded before as it was.
#[test]
fn what_cannot_be_realized_changes_nothing() {
    let Some(site) = Site::new(["web", "db", "cache"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(PAIR));
    site.assert_reaches("web", "10.77.0.20");
    let cache = site.workload("cache");
    veth((cache, "eth0"), (cache, "other"));
    let before = site.snapshot(&bowline);
    let add = |port: &str| site.topology(PAIR) + port;
    let netns = cache.name();
    let taken = format!("  cache: {{ netns: {netns}, ports: [front] }}\n");
    let run = bowline.run(&["load", bowline.write("taken.yaml", &add(&taken))]);
    assert_eq!(run.status.code(), Some(1), "{run}");
    assert!(
        run.stderr.contains("eth0") && run.stderr.contains("cache"),
        "{run}"
    );
    before.assert_same(&site.snapshot(&bowline));
    site.assert_reaches("web", "10.77.0.20");
}

#[test]
fn two_changes_at_the_same_time_exclude_one_another() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(PAIR));
    let path = bowline.instance().lock_path();
    let lock = OpenOptions::new().write(true).open(&path).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let before = site.snapshot(&bowline);
    for arguments in [&["load"] as &[_], &["unload", "pair"]] {
        let run = bowline.run(arguments);
        assert_eq!(run.status.code(), Some(1), "{run}");
        assert!(
            run.stderr.contains("lock") || run.stderr.contains("another"),
            "{run}"
        );
    }
    before.assert_same(&site.snapshot(&bowline));
    drop(lock);
    bowline.succeed(&["load"]);
}

#[test]
fn who_lacks_the_rights_is_told_which() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    let program = env!("CARGO_BIN_EXE_lab-bowline");
    let mut command = site.host.command("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        program,
        "--version",
    ]);
    if !command.output().is_ok_and(|output| output.status.success()) {
        skip("nobody but root can run the binary where it is");
        return;
    }
    let folder = tempfile::TempDir::with_prefix("bowline-lab-").unwrap();
    let file = folder.path().join("pair.yaml");
    fs::write(&file, site.topology(PAIR)).unwrap();
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), all).unwrap();
    let before = site.snapshot(&bowline);
    let mut command = site.host.command("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args([program, "--instance", bowline.instance().name(), "load"])
        .arg(&file)
        .env("BOWLINE_STATE_DIR", folder.path());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("root") || text.contains("CAP_"), "{text}");
    before.assert_same(&site.snapshot(&bowline));
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    for arguments in [
        &["lod"] as &[_],
        &["load", "a", "b"],
        &["show", "prots"],
        &["trace"],
    ] {
        let run = bowline.run(arguments);
        assert_eq!(run.status.code(), Some(2), "{arguments:?}: {run}");
    }
    let run = bowline.run(&["load", "no-such-file.yaml"]);
    assert_eq!(run.status.code(), Some(1), "{run}");
    assert!(run.stderr.contains("no-such-file.yaml"), "{run}");
}
