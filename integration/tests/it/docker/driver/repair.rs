//! Docker, what is recorded of it and the kernel are made one again.

use serde_json::Value;

use integration::lab::eventually;

use super::Driver;

#[test]
fn what_stops_without_the_agent_can_be_started_with_it() {
    let Some(mut driver) = Driver::set("driver_stale") else {
        return;
    };
    let front = driver.create("front", &["--subnet", "10.93.0.0/24"]);
    driver.run("drv-stale", &front, &["--ip", "10.93.0.9"]);
    driver.run("drv-mate", &front, &["--ip", "10.93.0.10"]);
    driver.stop_agent("-KILL");
    driver.stage.docker(&["stop", "drv-stale"]);
    driver.start_agent();
    // Nobody has to know that anything has happened.
    eventually("the container starts again", || {
        let words = ["docker", "start", "drv-stale"];
        let started = driver.stage.engine().command(&words).output().unwrap();
        started.status.success()
    });
    driver.stage.ping("drv-mate", "10.93.0.9");
    eventually("nothing is left over", || {
        let shown = driver.stage.json(&["ipam", "show"]);
        let shown = shown["addresses"].as_array().unwrap().len();
        (shown, driver.links().len()) == (3, 2)
    });
    let repaired = driver.stage.bowline(&["repair"]).succeeded();
    assert_eq!(repaired.stdout, "nothing is wrong\n");
    // The names are those that the user has given.
    let shown = driver.stage.bowline(&["ipam", "show"]).succeeded().stdout;
    let line = shown.lines().find(|line| line.starts_with("10.93.0.9"));
    let line = line.unwrap();
    assert!(
        line.contains("container drv-stale") && line.contains(&front),
        "{shown}"
    );
}

#[test]
fn records_that_were_lost_are_made_again() {
    let Some(mut driver) = Driver::set("driver_lost") else {
        return;
    };
    let options = ["--subnet", "10.94.0.0/24", "-o", "mtu=1400"];
    let front = driver.create("front", &options);
    let options = ["--ip", "10.94.0.9", "-p", "8094:80", "-p", "81/udp"];
    driver.run("drv-lost", &front, &options);
    driver.run("drv-found", &front, &["--ip", "10.94.0.10"]);
    driver.stage.ping("drv-lost", "10.94.0.10");
    driver.stop_agent("-KILL");
    let state = format!(
        "{}/state/{}",
        integration::lab::ENGINE_FOLDER,
        driver.stage.instance()
    );
    driver.stage.host(&["rm", "-r", &state]);
    driver.start_agent();
    eventually("they are back", || {
        let shown = driver.stage.bowline(&["ipam", "show"]).stdout;
        shown.contains("container drv-lost") && shown.contains("container drv-found")
    });
    eventually("they reach each other", || {
        driver.reaches("drv-lost", "10.94.0.10") && driver.reaches("drv-found", "10.94.0.1")
    });
    // What it publishes, too; which port of the host it was given nobody knows but we.
    eventually("its ports are back", || {
        let ports = driver.stage.bowline(&["ports"]).stdout;
        ports.contains("8094/tcp") && ports.contains("32768/udp")
    });
    let told = "81/udp of container drv-lost: 32768 does now";
    assert!(driver.log().contains(told), "{}", driver.log());
    driver.run("drv-new", &front, &[]);
    driver.stage.ping("drv-new", "10.94.0.9");
    driver
        .stage
        .docker(&["rm", "--force", "drv-lost", "drv-found", "drv-new"]);
    assert_eq!(driver.links(), Vec::<String>::new());
}

#[test]
fn an_agent_that_is_another_driver_takes_nothing_away() {
    let Some(mut driver) = Driver::set("driver_other") else {
        return;
    };
    let front = driver.create("front", &["--subnet", "10.92.0.0/24"]);
    driver.run("drv-kept", &front, &["--ip", "10.92.0.9"]);
    driver.stop_agent("-TERM");
    driver.start_agent_at("off");
    eventually("the other agent runs", || {
        driver.log().matches("running, other hosts").count() == 2
    });
    let refused = driver.stage.bowline(&["repair"]);
    refused.failed_saying(&[
        "this agent is no driver of Docker's",
        "start it without that",
    ]);
    driver.stop_agent("-TERM");
    driver.start_agent_at("/run/docker/plugins/stranger.sock");
    let mut repaired = String::new();
    eventually("the other agent answers", || {
        repaired = driver.stage.bowline(&["repair"]).stdout;
        !repaired.is_empty()
    });
    let cure = format!("yours: network {front} is recorded here");
    assert!(
        repaired.contains(&cure) && repaired.contains(&driver.socket()),
        "{repaired}"
    );
    driver.stop_agent("-TERM");
    driver.start_agent();
    driver.run("drv-also", &front, &[]);
    driver.stage.ping("drv-also", "10.92.0.9");
    let repaired = driver.stage.bowline(&["repair"]).succeeded().stdout;
    assert_eq!(repaired, "nothing is wrong\n");
}

#[test]
fn the_doctor_finds_what_is_wrong_and_what_helps() {
    let Some(mut driver) = Driver::set("driver_doctor") else {
        return;
    };
    let front = driver.create("front", &["--subnet", "10.95.0.0/24"]);
    driver.run("drv-ill", &front, &[]);
    let socket = driver.socket();
    let doctor = |driver: &Driver| {
        let words = ["doctor", "--docker", &socket, "--output", "json"];
        let outcome = driver.stage.bowline(&words);
        let findings: Vec<Value> = serde_json::from_str(&outcome.stdout).unwrap();
        (outcome.code, findings)
    };
    let health = |findings: &[Value], subject: &str| {
        let mut findings = findings.iter();
        let found = findings.find(|it| it["subject"] == subject).unwrap();
        found["health"].as_str().unwrap().to_owned()
    };
    let (code, findings) = doctor(&driver);
    assert_eq!(code, Some(0), "{findings:#?}");
    for subject in ["kernel", "agent", "Docker's driver", "Docker's books"] {
        assert_eq!(health(&findings, subject), "well", "{findings:#?}");
    }
    // The container's interface is torn out behind everybody's back.
    let link = driver.links().remove(0);
    driver
        .stage
        .host(&["ip", "link", "del", link.trim_matches('"')]);
    let (code, findings) = doctor(&driver);
    assert_eq!(code, Some(11), "{findings:#?}");
    let mut lost = findings.iter().filter(|it| it["health"] == "failed");
    let cure = lost.next().unwrap()["cure"].as_str().unwrap();
    assert!(cure.contains("docker network connect"), "{cure}");
    driver.stage.docker(&["restart", "drv-ill"]);
    eventually("it is well again", || doctor(&driver).0 == Some(0));
    driver.stop_agent("-TERM");
    let (code, findings) = doctor(&driver);
    assert_eq!(
        (code, health(&findings, "agent")),
        (Some(0), "warning".to_owned())
    );
}
