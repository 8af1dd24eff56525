//! Containers that Docker has given no network, plugged in by labels and on demand.

use std::env;

use integration::lab::{IMAGE, eventually, skip};

use super::Driver;

const FILE: &str = "version: 1
name: shop
networks: { shelf: [10.96.0.0/24, 'fd00:96::/64'], yard: 10.97.0.0/24 }
routers: { core: { ports: { shelf: [10.96.0.1, 'fd00:96::1'], yard: 10.97.0.1 } } }
groups: { clerks: [] }
";

/// `docker run --network none` of a container that sleeps, with labels.
pub(super) fn start(driver: &Driver, name: &str, labels: &[&str]) {
    driver.stage.remember(name);
    let mut words = vec!["run", "--name", name, "--detach", "--stop-signal", "KILL"];
    words.extend(["--network", "none"]);
    let instance = format!("bowline.instance={}", driver.stage.instance());
    for label in labels.iter().chain(&[instance.as_str()]) {
        words.extend(["--label", label]);
    }
    words.extend([IMAGE, "sleep", "86400"]);
    driver.stage.docker(&words);
}

#[test]
fn labels_plug_containers_in() {
    let Some(driver) = Driver::set("driver_labels") else {
        return;
    };
    let file = driver.stage.file("shop.yaml", FILE);
    driver.stage.load(&[&file]);
    let labels = [
        "bowline.network=shelf, yard",
        "bowline.address=10.96.0.9",
        "bowline.mac=02:00:00:00:96:09",
        "bowline.groups=clerks",
    ];
    start(&driver, "drv-jam", &labels);
    start(&driver, "drv-tin", &["bowline.network=shelf"]);
    eventually("they reach each other", || {
        driver.reaches("drv-tin", "10.96.0.9")
    });
    let first = driver.stage.exec("drv-jam", "ip addr show dev eth0");
    assert!(first.contains("02:00:00:00:96:09"), "{first}");
    assert!(first.contains("fd00:96::"), "{first}");
    driver.stage.ping("drv-jam", "10.97.0.1");
    let shown = driver.stage.bowline(&["ipam", "show"]).succeeded().stdout;
    assert!(shown.contains("container drv-jam"), "{shown}");
    let port = driver.stage.port("drv-jam/eth1");
    assert_eq!(port["network"], "yard");
    // Back by itself, with the same address.
    driver.stage.docker(&["restart", "drv-jam"]);
    eventually("it is back", || driver.reaches("drv-tin", "10.96.0.9"));
    // What is plugged out stays so, whatever the labels say, until somebody plugs it in.
    let detach = ["detach", "drv-tin", "shelf"];
    driver.stage.bowline(&detach).succeeded();
    driver.stage.docker(&["restart", "drv-tin"]);
    // What cannot be is told in the agent's log, and waits until it can.
    start(&driver, "drv-late", &["bowline.network=cellar"]);
    start(
        &driver,
        "drv-slip",
        &["bowline.network=yard", "bowline.adress=10.97.0.9"],
    );
    let refusals = [
        "there is no network `cellar`",
        "did you mean `bowline.address`?",
    ];
    for refusal in refusals {
        eventually("it is told", || driver.log().contains(refusal));
    }
    let interfaces = driver.stage.exec("drv-tin", "ip -o link");
    assert_eq!(interfaces.lines().count(), 1, "{interfaces}");
    let attach = ["attach", "drv-tin", "shelf"];
    driver.stage.bowline(&attach).succeeded();
    eventually("it is plugged in", || {
        driver.reaches("drv-tin", "10.96.0.9")
    });
    let text = "version: 1\nname: below\nnetworks: { cellar: 10.98.0.0/24 }\n";
    let file = driver.stage.file("below.yaml", text);
    driver.stage.load(&[&file]);
    eventually("it is plugged in", || {
        driver
            .stage
            .exec("drv-late", "ip addr")
            .contains("10.98.0.")
    });
    driver
        .stage
        .docker(&["rm", "--force", "drv-jam", "drv-tin", "drv-late"]);
    eventually("nothing is left", || {
        let shown = driver.stage.json(&["ipam", "show"]);
        shown["addresses"].as_array().unwrap().is_empty() && driver.links().is_empty()
    });
    driver.stage.bowline(&["unload", "--all"]).succeeded();
}

#[test]
fn a_container_is_attached_and_detached_while_it_runs() {
    let Some(mut driver) = Driver::set("driver_attach") else {
        return;
    };
    let front = driver.create("front", &["--subnet", "10.99.0.0/24"]);
    driver.run("drv-host", &front, &[]);
    let host = driver.address("drv-host", &front);
    start(&driver, "drv-guest", &[]);
    let words = ["attach", "drv-guest", &front, "--address", "10.99.0.9"];
    let attached = driver.stage.bowline(&words).succeeded().stdout;
    assert_eq!(
        attached,
        format!("attached: drv-guest to {front} by eth0, 10.99.0.9/24\n")
    );
    driver.stage.ping("drv-guest", &host);
    driver.stage.ping("drv-host", "10.99.0.9");
    let taken = driver.refusal(&front, "10.99.0.9");
    assert!(taken.contains("container drv-guest has it"), "{taken}");
    // Not those that Docker plugs in itself.
    let refused = driver.stage.bowline(&["attach", "drv-host", &front]);
    refused.failed_saying(&["start it with `--network none`"]);
    let refused = driver.stage.bowline(&["attach", "drv-gest", &front]);
    refused.failed_saying(&["did you mean `drv-guest`?"]);
    driver.stage.docker(&["restart", "drv-guest"]);
    eventually("it is back", || driver.reaches("drv-host", "10.99.0.9"));
    driver.stage.bowline(&["detach", "drv-guest"]).succeeded();
    eventually("it is gone", || !driver.reaches("drv-host", "10.99.0.9"));
    let again = driver.stage.bowline(&["detach", "drv-guest", &front]);
    again.failed_saying(&["is not attached to network"]);
}

#[test]
fn a_container_waits_for_its_network() {
    let Ok(binary) = env::var("BOWLINE_STATIC") else {
        skip("there is no static bowline: `cargo xtask test docker` makes one");
        return;
    };
    let Some(driver) = Driver::set("driver_wait") else {
        return;
    };
    let file = driver.stage.file("shop.yaml", FILE);
    driver.stage.load(&[&file]);
    driver.stage.remember("drv-eager");
    // The image has no C library at all.
    let program = format!("{binary}:/bowline:ro");
    let instance = format!("bowline.instance={}", driver.stage.instance());
    let mut words = vec!["run", "--name", "drv-eager", "--network", "none"];
    words.extend(["--label", &instance]);
    words.extend([
        "--label",
        "bowline.network=yard",
        "--entrypoint",
        "/bowline",
    ]);
    words.extend(["--volume", &program]);
    words.extend([
        IMAGE,
        "wait",
        "--",
        "ping",
        "-c",
        "1",
        "-W",
        "2",
        "10.97.0.1",
    ]);
    let output = driver.stage.docker(&words);
    assert!(output.contains("1 packets received"), "{output}");
    let mut words = vec![
        "run",
        "--rm",
        "--network",
        "none",
        "--entrypoint",
        "/bowline",
    ];
    words.extend(["--volume", &program]);
    words.extend([IMAGE, "wait", "--timeout", "0"]);
    let late = driver.stage.docker_fails(&words);
    assert!(
        late.contains("there is no network after 0 seconds"),
        "{late}"
    );
}
