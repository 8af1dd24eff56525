//! What users of Docker do all day.

use serde_json::json;

use integration::lab::{IMAGE, eventually};

use super::Driver;

#[test]
fn containers_on_a_network_reach_one_another() {
    let Some(mut driver) = Driver::set("driver_run") else {
        return;
    };
    let options = [
        "--subnet",
        "10.77.0.0/24",
        "--ipv6",
        "--subnet",
        "fd00:77::/64",
    ];
    let front = driver.create("front", &options);
    driver.run("drv-web", &front, &["--ip", "10.77.0.9"]);
    driver.run("drv-db", &front, &[]);
    assert_eq!(driver.address("drv-web", &front), "10.77.0.9");
    let db = driver.address("drv-db", &front);
    driver.stage.ping("drv-web", &db);
    driver.stage.ping("drv-db", "10.77.0.9");
    let route = driver.stage.exec("drv-web", "ip route");
    assert!(route.contains("default via 10.77.0.1"), "{route}");
    // The gateway answers, and so do the names that Docker knows.
    driver.stage.ping("drv-web", "10.77.0.1");
    driver.stage.ping("drv-web", "fd00:77::1");
    driver.stage.ping("drv-db", "drv-web");
    let taken = driver.refusal(&front, "10.77.0.9");
    assert!(
        taken.contains("address 10.77.0.9 of subnet 10.77.0.0/24 is taken"),
        "{taken}"
    );
    let words = [
        "network",
        "create",
        "-d",
        &driver.name,
        "--ipam-driver",
        &driver.name,
    ];
    let slip = [&words[..], &["-o", "mtuu=1400", "other"]].concat();
    let slip = driver.stage.docker_fails(&slip);
    assert!(
        slip.contains("unknown option `-o mtuu`: did you mean `mtu`?"),
        "{slip}"
    );
}

#[test]
fn a_mac_address_and_an_mtu_are_as_they_were_said() {
    let Some(mut driver) = Driver::set("driver_mac") else {
        return;
    };
    let front = driver.create("front", &["--subnet", "10.78.0.0/24", "-o", "mtu=1400"]);
    let mac = "02:00:00:00:78:09";
    // The client of the lab refuses to say this to an older engine.
    driver.stage.remember("drv-mac");
    let body = json!({
        "Image": IMAGE,
        "Cmd": ["sleep", "86400"],
        "StopSignal": "KILL",
        "MacAddress": mac,
        "HostConfig": { "NetworkMode": front },
    });
    driver.api("/containers/create?name=drv-mac", &body);
    driver.stage.docker(&["start", "drv-mac"]);
    driver.run("drv-other", &front, &[]);
    let link = driver.stage.exec("drv-mac", "ip link show dev eth0");
    assert!(link.contains(mac) && link.contains("mtu 1400"), "{link}");
    let address = driver.address("drv-mac", &front);
    driver.stage.ping("drv-other", &address);
    assert_eq!(
        driver.inspect("drv-mac", "{{.NetworkSettings.MacAddress}}"),
        ""
    );
    let template = format!("{{{{(index .NetworkSettings.Networks \"{front}\").MacAddress}}}}");
    assert_eq!(driver.inspect("drv-mac", &template), mac);
}

#[test]
fn networks_come_and_go_while_a_container_runs() {
    let Some(mut driver) = Driver::set("driver_connect") else {
        return;
    };
    let front = driver.create("front", &["--subnet", "10.79.0.0/24"]);
    let back = driver.create("back", &["--subnet", "10.80.0.0/24", "--internal"]);
    driver.run("drv-cat", &front, &[]);
    driver.run("drv-dog", &back, &[]);
    driver
        .stage
        .docker(&["network", "connect", &back, "drv-cat"]);
    let (cat, dog) = (
        driver.address("drv-cat", &back),
        driver.address("drv-dog", &back),
    );
    driver.stage.ping("drv-cat", &dog);
    driver.stage.ping("drv-dog", &cat);
    // Whoever is on an internal network only has no way to anywhere else.
    let routes = driver.stage.exec("drv-dog", "ip route");
    assert!(!routes.contains("default"), "{routes}");
    let interfaces = driver.stage.exec("drv-dog", "ip -o link");
    assert_eq!(interfaces.lines().count(), 2, "{interfaces}");
    let front_address = driver.address("drv-cat", &front);
    driver.loses("drv-dog", &front_address);
    driver
        .stage
        .docker(&["network", "disconnect", &back, "drv-cat"]);
    driver.loses("drv-dog", &cat);
    driver
        .stage
        .docker(&["network", "connect", &back, "drv-cat"]);
    driver
        .stage
        .ping("drv-dog", &driver.address("drv-cat", &back));
}

#[test]
fn what_was_started_and_stopped_leaves_nothing() {
    let Some(mut driver) = Driver::set("driver_many") else {
        return;
    };
    let front = driver.create("front", &["--subnet", "10.81.0.0/24"]);
    let before = driver.links();
    let run = format!(
        "for i in $(seq 5); do for j in $(seq 10); do docker run --rm --network {front} {IMAGE} \
         ping -c 1 -W 2 10.81.0.1 >/dev/null & done; wait; done"
    );
    driver.stage.host(&["sh", "-ec", &run]);
    assert_eq!(driver.links(), before);
    let leases = driver.leases();
    assert!(
        leases.iter().all(|it| it == "gateway" || it == "released"),
        "{leases:?}"
    );
    let ports = driver.stage.json(&["show", "ports"]);
    assert_eq!(ports["ports"], json!([]));
    driver.stage.docker(&["network", "rm", &front]);
    driver.networks.clear();
    eventually("everything is gone", || {
        !driver.stage.traces().contains("links/")
    });
    driver.stop_agent("-TERM");
    assert_eq!(driver.stage.traces(), "");
}

#[test]
fn a_network_of_a_file_has_containers_of_docker() {
    let Some(mut driver) = Driver::set("driver_file") else {
        return;
    };
    driver.stage.start("drv-filed");
    let file = driver.stage.file(
        "shop.yaml",
        "version: 1
name: shop
networks: { front: 10.82.0.0/24, back: 10.83.0.0/24 }
routers: { core: { ports: { front: 10.82.0.1, back: 10.83.0.1 } } }
workloads:
  drv-filed: { ports: [{ network: back, addresses: 10.83.0.10 }] }
",
    );
    driver.stage.load(&[&file]);
    let front = driver.create("front", &["--subnet", "10.82.0.0/24", "-o", "net=front"]);
    driver.run("drv-plugged", &front, &["--ip", "10.82.0.9"]);
    driver.stage.ping("drv-plugged", "10.83.0.10");
    driver.stage.ping("drv-filed", "10.82.0.9");
    // Into the router of a file, without touching the file.
    let own = driver.create("own", &["--subnet", "10.84.0.0/24", "-o", "router=core"]);
    driver.run("drv-own", &own, &["--ip", "10.84.0.9"]);
    driver.stage.ping("drv-own", "10.83.0.10");
    driver.stage.ping("drv-own", "10.82.0.9");
    // What Docker needs stays.
    let unloaded = driver.stage.bowline(&["unload", "shop"]);
    unloaded.failed_saying(&["what else is loaded does not hold without `shop`"]);
    let reserved = driver.stage.bowline(&["unload", "docker"]);
    reserved.failed_saying(&["`docker network rm`"]);
    let taken = driver.stage.file(
        "taken.yaml",
        "version: 1
name: taken
workloads:
  drv-filed-2: { netns: none, ports: [{ network: front, addresses: 10.82.0.9 }] }
",
    );
    let refused = driver.stage.bowline(&["load", &taken]);
    refused.failed_saying(&["10.82.0.9", "source docker"]);
}
