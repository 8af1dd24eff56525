//! Docker's four modes, and Compose.

use std::fs;
use std::path::Path;
use std::process::Command;

use integration::lab::{ENGINE_FOLDER as FOLDER, IMAGE, eventually, skip};

use super::Driver;

#[test]
fn containers_that_share_a_namespace_share_its_network() {
    let Some(mut driver) = Driver::set("driver_pod") else {
        return;
    };
    let front = driver.create("front", &["--subnet", "10.104.0.0/24"]);
    driver.run("drv-pod", &front, &["--ip", "10.104.0.9"]);
    driver.run("drv-far", &front, &[]);
    driver.run("drv-car", "container:drv-pod", &[]);
    driver
        .stage
        .ping("drv-car", &driver.address("drv-far", &front));
    // What the one serves, others find at the other's address.
    driver.stage.exec(
        "drv-car",
        "mkdir -p /srv && echo hello >/srv/x && httpd -p 81 -h /srv",
    );
    let got = driver
        .stage
        .exec("drv-far", "wget -q -O - http://10.104.0.9:81/x");
    assert_eq!(got, "hello\n");
    // The namespace lives as long as one of them: Docker ends it with the container that it is of.
    driver.stage.docker(&["restart", "drv-pod"]);
    driver.stage.docker(&["restart", "drv-car"]);
    driver.stage.ping("drv-car", "10.104.0.1");
    let refused = driver.stage.bowline(&["attach", "drv-car", &front]);
    refused.failed_saying(&["network mode `container:"]);
}

#[test]
fn a_container_of_the_host_is_the_host() {
    let Some(driver) = Driver::set("driver_hosted") else {
        return;
    };
    driver.run("drv-bare", "host", &[]);
    let inside = driver.stage.exec("drv-bare", "ip -o link");
    let outside = driver.stage.host(&["ip", "-o", "link"]);
    let name = |line: &str| line.split(": ").nth(1).unwrap_or_default().to_owned();
    let lo = |text: &str| text.lines().map(name).any(|name| name == "lo");
    assert!(lo(&inside) && lo(&outside));
    let refused = driver.stage.bowline(&["attach", "drv-bare", "front"]);
    refused.failed_saying(&["network mode `host`"]);
    let text = "version: 1\nname: odd\nnetworks: { front: 10.105.0.0/24 }\n\
                workloads: { drv-bare: { ports: [front] } }\n";
    let file = driver.stage.file("odd.yaml", text);
    let refused = driver.stage.bowline(&["load", &file]);
    refused.failed_saying(&["`--network host`"]);
}

#[test]
fn containers_of_the_host_take_part_by_its_port() {
    let Some(driver) = Driver::set_apart("driver_hostport") else {
        return;
    };
    driver.stage.start("drv-guest");
    driver.run("drv-owner", "host", &[]);
    let text = "version: 1\nname: home\nnetworks: { front: 10.105.0.0/24 }\nworkloads:\n  \
                house: { host_network: true, ports: [{ network: front, addresses: 10.105.0.1 }] }\n  \
                drv-guest: { ports: [{ network: front, addresses: 10.105.0.2 }] }\n";
    let file = driver.stage.file("home.yaml", text);
    driver.stage.load(&[&file]);
    driver.stage.ping("drv-owner", "10.105.0.2");
    driver.stage.ping("drv-guest", "10.105.0.1");
    let serve = "mkdir -p /srv && echo hello >/srv/x && httpd -p 8105 -h /srv";
    driver.stage.exec("drv-owner", serve);
    let fetch = "wget -q -O - http://10.105.0.1:8105/x";
    assert_eq!(driver.stage.exec("drv-guest", fetch), "hello\n");
    driver.stage.bowline(&["unload", "home"]).succeeded();
    let links = driver.stage.host(&["ip", "-o", "link"]);
    assert!(!links.contains("front"), "{links}");
}

#[test]
fn compose_brings_up_the_example_and_takes_it_down() {
    let is_there = Command::new("docker-compose").arg("version").output();
    if !is_there.is_ok_and(|output| output.status.success()) {
        return skip("there is no docker-compose");
    }
    let Some(mut driver) = Driver::set_apart("driver_compose") else {
        return;
    };
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/docker/compose.yaml");
    let text = fs::read_to_string(example).unwrap();
    let text = text.replace("driver: bowline", &format!("driver: {}", driver.name));
    // The version that Debian has wants to be told the version of the format.
    let file = driver
        .stage
        .file("compose.yaml", &format!("version: '3.8'\n{text}"));
    driver.stage.docker(&["tag", IMAGE, "busybox"]);
    let compose = |words: &[&str]| {
        let all = [&["docker-compose", "-p", "tour", "-f", &file][..], words].concat();
        driver.stage.host(&all)
    };
    compose(&["up", "-d"]);
    let exec = |service: &str, line: &str| compose(&["exec", "-T", service, "sh", "-c", line]);
    let out = exec("web", "ping -c 1 -W 2 db");
    assert!(out.contains("10.72.0.20"), "{out}");
    let mtu = exec("web", "cat /sys/class/net/eth*/mtu");
    assert!(mtu.contains("1400"), "{mtu}");
    let ports = driver.stage.json(&["ports"]);
    assert_eq!(ports["ports"][0]["host_port"], 8080);
    compose(&["stop", "-t", "0"]);
    compose(&["start"]);
    let out = exec("web", "ping -c 1 -W 2 10.72.0.20");
    assert!(out.contains("1 packets received"), "{out}");
    compose(&["down", "-t", "0"]);
    assert_eq!(driver.links(), Vec::<String>::new());
    driver.stop_agent("-TERM");
    assert_eq!(driver.stage.traces(), "");
}

#[test]
fn the_units_are_what_systemd_understands() {
    let is_there = Command::new("systemd-analyze").arg("--version").output();
    if !is_there.is_ok_and(|output| output.status.success()) {
        return skip("there is no systemd-analyze");
    }
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../userspace/systemd");
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for entry in fs::read_dir(units).unwrap() {
        let path = entry.unwrap().path();
        // What is started need not be installed here.
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("/usr/local/bin/bowline", "/bin/true");
        let copy = folder.path().join(path.file_name().unwrap());
        fs::write(&copy, text).unwrap();
        paths.push(copy);
    }
    let mut command = Command::new("systemd-analyze");
    let output = command.arg("verify").args(["--man=no"]).args(&paths);
    let output = output.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("bowline"))
        .collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn a_transfer_goes_on_while_agents_are_killed() {
    let Some(mut driver) = Driver::set("driver_transfer") else {
        return;
    };
    let front = driver.create("front", &["--subnet", "10.106.0.0/24"]);
    driver.run("drv-source", &front, &["--ip", "10.106.0.9"]);
    driver.run("drv-sink", &front, &[]);
    let serve = "dd if=/dev/urandom of=/tmp/data bs=1M count=64 2>/dev/null; cd /tmp; httpd -p 81; \
                 md5sum </tmp/data";
    let sum = driver.stage.exec("drv-source", serve);
    let fetch = "for i in $(seq 20); do wget -q -O - http://10.106.0.9:81/data | md5sum; done";
    let words = ["docker", "exec", "drv-sink", "sh", "-c", fetch];
    let before = drops(&driver);
    let mut command = driver.stage.engine().command(&words);
    let transfer = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..4 {
        driver.stop_agent("-KILL");
        driver.start_agent();
        eventually("the agent answers", || {
            driver.stage.bowline(&["repair", "--dry-run"]).code == Some(0)
        });
    }
    let output = transfer.wait_with_output().unwrap();
    let got = String::from_utf8(output.stdout).unwrap();
    let sums: Vec<&str> = got.lines().collect();
    assert_eq!(sums.len(), 20);
    assert!(sums.iter().all(|it| *it == sum.trim()), "{got}");
    assert_eq!(drops(&driver), before, "frames were dropped");
}

/// How many frames of all ports were dropped.
fn drops(driver: &Driver) -> u64 {
    let stats = driver.stage.json(&["stats"]);
    let ports = stats["ports"].as_array().unwrap().iter();
    let reasons = ports.flat_map(|port| port["drops"].as_object().unwrap().values());
    reasons.map(|count| count.as_u64().unwrap()).sum()
}

/// 200 containers come and go, 20 at a time, while the agent is killed now and then.
#[test]
#[ignore = "takes minutes: run it by its name with `--ignored`"]
fn two_hundred_containers_leave_nothing() {
    let Some(mut driver) = Driver::set_apart("driver_crowd") else {
        return;
    };
    let front = driver.create("front", &["--subnet", "10.107.0.0/22"]);
    for round in 0..10 {
        let run = format!(
            "for i in $(seq 20); do docker run --rm --network {front} {IMAGE} \
             ping -c 1 -W 5 10.107.0.1 >>{FOLDER}/crowd 2>&1 & done; wait"
        );
        let mut command = driver.stage.engine().command(&["sh", "-c", &run]);
        let mut crowd = command.spawn().unwrap();
        if round % 3 == 2 {
            driver.stop_agent("-KILL");
            driver.start_agent();
        }
        assert!(crowd.wait().unwrap().success());
    }
    let said = fs::read_to_string(driver.stage.engine().path(&format!("{FOLDER}/crowd"))).unwrap();
    let answered = said.matches("1 packets received").count();
    eprintln!("{answered} of 200 were answered");
    assert!(answered == 200, "{said}");
    eventually("nothing is left", || {
        let leases = driver.leases();
        driver.links().is_empty() && leases.iter().all(|it| it == "gateway" || it == "released")
    });
    driver.stage.bowline(&["ipam", "check"]).succeeded();
    driver.stage.docker(&["network", "rm", &front]);
    driver.networks.clear();
    driver.stop_agent("-TERM");
    assert_eq!(driver.stage.traces(), "");
}
