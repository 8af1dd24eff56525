//! Restarts and deaths.

use std::process::{Child, Stdio};

use integration::lab::{ENGINE_FOLDER as FOLDER, Pings, eventually};

use super::Driver;

#[test]
fn a_container_that_is_restarted_is_back() {
    let Some(mut driver) = Driver::set("driver_restart") else {
        return;
    };
    let front = driver.create("front", &["--subnet", "10.85.0.0/24"]);
    driver.run("drv-tea", &front, &["--ip", "10.85.0.9"]);
    driver.run("drv-pot", &front, &[]);
    driver.stage.ping("drv-pot", "10.85.0.9");
    driver.stage.docker(&["restart", "drv-tea"]);
    // It has another interface with the same MAC address, so nobody has to forget anything.
    driver.stage.ping("drv-pot", "10.85.0.9");
    driver.stage.ping("drv-pot", "drv-tea");
}

#[test]
fn traffic_goes_on_without_the_agent() {
    let Some(mut driver) = Driver::set("driver_kill") else {
        return;
    };
    let front = driver.create("front", &["--subnet", "10.86.0.0/24"]);
    driver.run("drv-sun", &front, &["--ip", "10.86.0.9"]);
    driver.run("drv-moon", &front, &["--ip", "10.86.0.10"]);
    driver.stage.ping("drv-sun", "10.86.0.10");
    driver.stop_agent("-KILL");
    driver.stage.ping("drv-sun", "10.86.0.10");
    // Nobody is there to hear of it: Docker keeps an endpoint that is none.
    driver.stage.docker(&["stop", "drv-moon"]);
    driver.start_agent();
    driver.stage.ping("drv-sun", "10.86.0.1");
    let words = ["network", "disconnect", "-f", &front, "drv-moon"];
    driver.stage.docker(&words);
    driver.stage.docker(&[
        "network",
        "connect",
        "--ip",
        "10.86.0.10",
        &front,
        "drv-moon",
    ]);
    driver.stage.docker(&["start", "drv-moon"]);
    driver.stage.ping("drv-sun", "10.86.0.10");
}

#[test]
fn an_agent_that_is_killed_all_the_time_loses_nothing() {
    let Some(mut driver) = Driver::set("driver_kills") else {
        return;
    };
    let front = driver.create("front", &["--subnet", "10.87.0.0/24"]);
    for round in 0..4 {
        let names: Vec<String> = (0..4).map(|i| format!("drv-k{round}-{i}")).collect();
        let mut runs: Vec<_> = names
            .iter()
            .map(|name| {
                driver.stage.remember(name);
                let words = [
                    "docker",
                    "run",
                    "--detach",
                    "--stop-signal",
                    "KILL",
                    "--name",
                    name,
                    "--network",
                    &front,
                    "busybox:lab",
                    "sleep",
                    "86400",
                ];
                driver.stage.engine().command(&words).spawn().unwrap()
            })
            .collect();
        driver.stop_agent("-KILL");
        driver.start_agent();
        for run in &mut runs {
            assert!(run.wait().unwrap().success());
        }
        let mut addresses: Vec<String> = names
            .iter()
            .map(|name| driver.address(name, &front))
            .collect();
        for address in &addresses {
            eventually("a container answers", || driver.reaches(&names[0], address));
        }
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), names.len());
        let mut words = vec!["rm", "--force"];
        words.extend(names.iter().map(String::as_str));
        driver.stage.docker(&words);
    }
    assert_eq!(driver.links(), Vec::<String>::new());
}

#[test]
fn an_agent_that_dies_after_the_last_network_leaves_nothing_to_the_next_one() {
    let Some(mut driver) = Driver::set("driver_last") else {
        return;
    };
    let front = driver.create("front", &["--subnet", "10.85.0.0/24"]);
    let instance = driver.stage.instance();
    let engine = driver.stage.engine();
    let pins = engine.path(&format!("/sys/fs/bpf/bowline/{instance}"));
    eventually("the network is there", || pins.exists());
    // Who holds the lock keeps the agent from planning.
    let lock = format!("{FOLDER}/state/{instance}/lock");
    let held = || {
        let words = ["flock", "--nonblock", &lock, "true"];
        let status = engine.command(&words).status().unwrap();
        !status.success()
    };
    eventually("the agent has planned", || !held());
    let mut holder = engine.command(&["flock", &lock, "cat"]);
    let mut holder = holder.stdin(Stdio::piped()).spawn().unwrap();
    eventually("the lock is held", held);
    driver.stage.docker(&["network", "rm", &front]);
    driver.networks.clear();
    driver.stop_agent("-KILL");
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert!(pins.exists());
    driver.start_agent();
    eventually("nothing is left", || !pins.exists());
}

#[test]
fn containers_survive_their_engine() {
    let Some(mut driver) = Driver::set_apart("driver_engine") else {
        return;
    };
    let front = driver.create("front", &["--subnet", "10.91.0.0/24"]);
    let options = ["--restart", "always", "--ip"];
    driver.run("drv-east", &front, &[&options[..], &["10.91.0.9"]].concat());
    driver.run(
        "drv-west",
        &front,
        &[&options[..], &["10.91.0.10"]].concat(),
    );
    driver.stage.ping("drv-east", "10.91.0.10");
    let mut engines = Vec::new();
    for signal in ["-TERM", "-KILL"] {
        engines.push(driver.stage.engine().restart(signal));
        eventually("the containers are back", || {
            driver.reaches("drv-east", "10.91.0.10") && driver.reaches("drv-west", "10.91.0.9")
        });
        // None of them has a link of before.
        assert_eq!(driver.links().len(), 2);
    }
    driver
        .stage
        .docker(&["rm", "--force", "drv-east", "drv-west"]);
    assert_eq!(driver.links(), Vec::<String>::new());
    end(driver, engines);
}

/// What goes down with a machine: processes, links, what is pinned, and what is noted in `/run`. The agent is up
/// before the engine, as its socket's unit sees to.
#[test]
fn containers_survive_their_machine() {
    let Some(mut driver) = Driver::set_apart("driver_machine") else {
        return;
    };
    let front = driver.create("front", &["--subnet", "10.92.0.0/24"]);
    let options = ["--restart", "always", "--ip"];
    for (name, address) in [("drv-east", "10.92.0.9"), ("drv-west", "10.92.0.10")] {
        driver.run(name, &front, &[&options[..], &[address]].concat());
    }
    driver.stage.ping("drv-east", "10.92.0.10");
    let links = driver.links();
    driver.stop_agent("-KILL");
    let engine = driver.stage.engine();
    let run = |words: &[&str]| engine.command(words).status().unwrap();
    let mut agent = None;
    let restarted = engine.restart_as("-KILL", |_| {
        run(&["pkill", "-KILL", "-f", "containerd-shim"]);
        for link in &links {
            run(&["ip", "link", "delete", link.trim_matches('"')]);
        }
        let instance = driver.stage.instance();
        run(&["rm", "-rf", &format!("/sys/fs/bpf/bowline/{instance}")]);
        run(&["rm", "-rf", &format!("/run/bowline/{instance}")]);
        let socket = driver.socket();
        run(&["rm", "-f", &socket]);
        agent = Some(driver.agent_command(&socket).spawn().unwrap());
        eventually("the driver listens", || engine.path(&socket).exists());
    });
    driver.agent = agent;
    eventually("the containers are back", || {
        driver.reaches("drv-east", "10.92.0.10") && driver.reaches("drv-west", "10.92.0.9")
    });
    assert_eq!(driver.links().len(), 2);
    let words = ["rm", "--force", "drv-east", "drv-west"];
    driver.stage.docker(&words);
    assert_eq!(driver.links(), Vec::<String>::new());
    end(driver, vec![restarted]);
}

/// Ends the engine for good, and waits for all that were started.
pub(super) fn end(mut driver: Driver, engines: Vec<Child>) {
    driver
        .stage
        .host(&["sh", "-c", &format!("kill $(cat {FOLDER}/docker.pid)")]);
    for mut engine in engines {
        engine.wait().unwrap();
    }
    // There is no engine any more that could take it away.
    driver.networks.clear();
}

#[test]
fn containers_do_not_notice_that_a_live_restore_engine_is_restarted() {
    let Some(mut driver) = Driver::set_apart("driver_live") else {
        return;
    };
    let live = |words: &mut Vec<String>| words.push("--live-restore".to_owned());
    let mut engines = vec![driver.stage.engine().restart_as("-TERM", live)];
    let front = driver.create("front", &["--subnet", "10.87.0.0/24"]);
    let back = driver.create("back", &["--subnet", "10.86.0.0/24"]);
    driver.run("drv-live", &front, &["--ip", "10.87.0.9", "-p", "8087:80"]);
    driver.run("drv-peer", &front, &["--ip", "10.87.0.10"]);
    driver.stage.ping("drv-live", "10.87.0.10");
    let pid = driver.inspect("drv-live", "{{.State.Pid}}");
    let before = driver.links();
    for signal in ["-TERM", "-KILL"] {
        let space = driver.stage.engine().namespace_of(pid.parse().unwrap());
        let pings = Pings::start(&space, "10.87.0.10".parse().unwrap());
        engines.push(driver.stage.engine().restart(signal));
        let (sent, answered) = pings.finish();
        assert!(sent > 100 && sent == answered, "{answered} of {sent}");
        assert_eq!(driver.links(), before);
    }
    // What goes on living is driven as before.
    driver
        .stage
        .docker(&["network", "connect", "--ip", "10.86.0.9", &back, "drv-live"]);
    driver.run("drv-far", &back, &[]);
    driver.stage.ping("drv-far", "10.86.0.9");
    driver
        .stage
        .docker(&["network", "disconnect", &back, "drv-live"]);
    driver.loses("drv-far", "10.86.0.9");
    driver.stage.ping("drv-peer", "10.87.0.9");
    driver.stage.docker(&["restart", "drv-live"]);
    driver.stage.ping("drv-peer", "10.87.0.9");
    let ports = driver.stage.json(&["ports"]);
    assert_eq!(ports["ports"][0]["host_port"], 8087, "{ports}");
    driver.stage.docker(&["stop", "drv-live", "drv-peer"]);
    eventually("nothing is left of them", || driver.links().len() == 1);
    let repaired = driver.stage.bowline(&["repair"]).succeeded().stdout;
    assert_eq!(repaired, "nothing is wrong\n");
    driver.stage.docker(&["rm", "--force", "drv-far"]);
    end(driver, engines);
}
