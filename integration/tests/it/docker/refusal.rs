//! Containers that cannot be plugged in, and an engine that is not there: what the user is told. And
//! the other ways of naming a container, which go well.

use super::{Stage, pair};

/// A topology with one container under a name of its own for each of `containers`. The first place is
/// in line 6, the next in line 7.
fn named(containers: &[(&str, &str)]) -> String {
    let mut text = "version: 1
name: named
networks: { front: 10.1.0.0/24 }

workloads:
"
    .to_owned();
    for ((workload, container), number) in containers.iter().zip(10..) {
        text += &format!(
            "  {workload}: {{ container: \"{container}\", ports: [{{ network: front, addresses: \
             10.1.0.{number} }}] }}\n"
        );
    }
    text
}

#[test]
fn a_container_that_does_not_exist_is_guessed_at() {
    let Some(stage) = Stage::set("no_such_container") else {
        return;
    };
    stage.start("harbour-master");
    let file = stage.file("pair.yaml", &pair("harbour-mastr", "lighthouse-keeper"));
    let refused = stage.bowline(&["load", &file]);
    refused.failed_saying(&[
        "there is no container `harbour-mastr`: did you mean `harbour-master`?",
        "pair.yaml:6:3",
        "there is no container `lighthouse-keeper`: there ",
        "pair.yaml:7:3",
        "error: 2 problems",
    ]);
    assert_eq!(stage.traces(), "");
}

#[test]
fn a_container_on_the_hosts_network_is_refused() {
    let Some(stage) = Stage::set("host_network") else {
        return;
    };
    stage.start_with("exposed", "host");
    let file = stage.file("named.yaml", &named(&[("web", "exposed")]));
    let refused = stage.bowline(&["load", &file]);
    refused.failed_saying(&[
        "workload `web` cannot be plugged in: container `exposed` was started with `--network host`",
        "start it with `--network none`",
        "named.yaml:6:21",
    ]);
    assert_eq!(stage.traces(), "");
}

#[test]
fn a_container_is_found_by_its_id() {
    let Some(stage) = Stage::set("by_id") else {
        return;
    };
    for name in ["long", "short"] {
        stage.start(name);
    }
    let id = |name| stage.docker(&["inspect", "--format", "{{.Id}}", name]);
    let (long, short) = (id("long"), id("short"));
    let (long, short) = (long.trim(), &short[..12]);
    let file = stage.file("named.yaml", &named(&[("web", long), ("db", short)]));
    stage.load(&[&file]);
    stage.ping("long", "10.1.0.11");
    stage.ping("short", "10.1.0.10");
}

#[test]
fn a_container_named_twice_is_refused() {
    let Some(stage) = Stage::set("twice") else {
        return;
    };
    stage.start("janus");
    let id = stage.docker(&["inspect", "--format", "{{.Id}}", "janus"]);
    let file = stage.file("named.yaml", &named(&[("web", "janus"), ("db", &id[..12])]));
    let refused = stage.bowline(&["load", &file]);
    refused.failed_saying(&[
        "workload `web` cannot be plugged in",
        "its network namespace is that of workload `db`, too",
        "declare one workload with the ports of both",
        "named.yaml:6:21",
    ]);
    assert_eq!(stage.traces(), "");
}

#[test]
fn an_engine_that_is_not_there_is_named() {
    let Some(stage) = Stage::set("no_engine") else {
        return;
    };
    stage.start("alone");
    let file = stage.file("named.yaml", &named(&[("web", "alone")]));
    let refused = stage.bowline_with(
        &[("DOCKER_HOST", "unix:///run/nowhere/docker.sock")],
        &["load", &file],
    );
    refused.failed_saying(&[
        "no Docker engine at /run/nowhere/docker.sock",
        "is Docker installed and running",
        "set DOCKER_HOST",
        "named.yaml:6:21",
    ]);
    let remote = [("DOCKER_HOST", "tcp://192.0.2.1:2375")];
    let refused = stage.bowline_with(&remote, &["load", &file]);
    refused.failed_saying(&[
        "DOCKER_HOST is `tcp://192.0.2.1:2375`",
        "its own machine only",
    ]);
    assert_eq!(stage.traces(), "");
}

#[test]
fn an_engine_that_is_away_changes_nothing() {
    let Some(stage) = Stage::set("engine_away") else {
        return;
    };
    for name in ["ebb", "flow"] {
        stage.start(name);
    }
    let file = stage.file("pair.yaml", &pair("ebb", "flow"));
    stage.load(&[&file]);
    let before = stage.traces();
    let away = [("DOCKER_HOST", "unix:///run/nowhere/docker.sock")];
    let loaded = stage.bowline_with(&away, &["load"]).succeeded();
    loaded.said(&[
        "warning: workload `ebb` is left as it is: no Docker engine at /run/nowhere/docker.sock",
        "warning: workload `flow` is left as it is",
    ]);
    assert_eq!(loaded.stdout, "loaded: nothing had to be changed\n");
    assert_eq!(stage.traces(), before);
    stage.ping("ebb", "10.1.0.20");
}
