//! Two containers are connected: what they notice of it, and that nothing is left afterwards.

use integration::lab::eventually;

use super::Stage;

const TWO_CONTAINERS: &str = include_str!("../../../../examples/two-containers.yaml");

#[test]
fn two_containers_are_connected_and_parted() {
    let Some(stage) = Stage::set("connection") else {
        return;
    };
    for name in ["web", "db"] {
        stage.start(name);
    }
    let before = interfaces(&stage, "web");
    assert_eq!(before, ["lo"]);
    let file = stage.file("two-containers.yaml", TWO_CONTAINERS);
    let loaded = stage.load(&[&file]);
    assert!(loaded.contains("2 links made"), "{loaded}");

    for port in ["web/eth0", "db/eth0"] {
        let shown = stage.port(port);
        assert_eq!(
            (&shown["state"], &shown["reason"]),
            (&"up".into(), &().into())
        );
    }
    for address in ["10.77.0.20", "fd00:77::20"] {
        stage.ping("web", address);
        transfer(&stage, address);
    }
    for port in ["web/eth0", "db/eth0"] {
        let counted = stage.counters(port);
        for key in ["in_packets", "in_bytes", "out_packets", "out_bytes"] {
            assert!(counted[key].as_u64() > Some(0), "{key} of {counted}");
        }
        // What a kernel says to everybody before anybody else is plugged in gets nowhere.
        let mut drops = counted["drops"].clone();
        drops
            .as_object_mut()
            .expect("an object")
            .remove("no_other_port");
        assert_eq!(drops, serde_json::json!({}), "{port}");
    }
    assert_eq!(stage.load(&[&file]), "loaded: nothing had to be changed\n");

    let unloaded = stage.bowline(&["unload", "two-containers"]).succeeded();
    assert!(unloaded.stdout.contains("2 links deleted"), "{unloaded:?}");
    for name in ["web", "db"] {
        assert_eq!(interfaces(&stage, name), ["lo"]);
    }
    assert_eq!(stage.traces(), "");
}

/// Sends some MiB from web to db, and compares what arrives.
fn transfer(stage: &Stage, to: &str) {
    const MEBIBYTES: u32 = 8;
    let make = format!("dd if=/dev/urandom of=/tmp/sent bs=1M count={MEBIBYTES}");
    stage.exec("web", &make);
    // nc itself would hang up when its standard input ends, which it has none of here.
    let listen = "nc -l -p 7000 -e sh -c 'cat > /tmp/received; touch /tmp/done'";
    stage.exec("db", "rm -f /tmp/received /tmp/done");
    stage.docker(&["exec", "--detach", "db", "sh", "-c", listen]);
    eventually("somebody listens in db", || {
        stage.exec("db", "netstat -ltn").contains(":7000 ")
    });
    stage.exec("web", &format!("timeout 120 nc {to} 7000 < /tmp/sent"));
    eventually("db has received all", || {
        stage.exec("db", "ls /tmp").contains("done")
    });
    let sum = |container, file| {
        let line = stage.exec(container, &format!("sha256sum < {file}"));
        line.split(' ').next().map(str::to_owned)
    };
    assert_eq!(sum("web", "/tmp/sent"), sum("db", "/tmp/received"), "{to}");
}

/// The names of a container's interfaces.
fn interfaces(stage: &Stage, container: &str) -> Vec<String> {
    let names = stage.exec(container, "ls /sys/class/net");
    names.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_interface_inside_is_as_the_file_says() {
    let Some(stage) = Stage::set("interface") else {
        return;
    };
    stage.start("probe");
    let file = stage.file(
        "probe.yaml",
        "version: 1
name: probe
networks:
  front: [10.1.0.0/24, \"fd00:1::/64\"]
  back: { subnets: 10.2.0.0/24, mtu: 1450 }
workloads:
  probe:
    ports:
      - network: front
        interface: net7
        addresses: [10.1.0.10, \"fd00:1::10\"]
        mac: 02:00:00:00:00:10
        mtu: 1400
        routes:
          - { to: default, via: 10.1.0.1 }
          - { to: \"fd00:9::/48\", via: \"fd00:1::1\" }
      - network: back
        addresses: 10.2.0.10
",
    );
    stage.load(&[&file]);
    assert_eq!(interfaces(&stage, "probe"), ["eth1", "lo", "net7"]);
    let first = stage.exec("probe", "ip address show dev net7");
    for part in [
        "mtu 1400",
        "link/ether 02:00:00:00:00:10",
        "inet 10.1.0.10/24",
        "inet6 fd00:1::10/64 scope global",
        "UP,LOWER_UP",
    ] {
        assert!(first.contains(part), "no `{part}` in {first}");
    }
    let second = stage.exec("probe", "ip address show dev eth1");
    for part in ["mtu 1450", "inet 10.2.0.10/24", "UP,LOWER_UP"] {
        assert!(second.contains(part), "no `{part}` in {second}");
    }
    let routes = stage.exec("probe", "ip route; ip -6 route");
    for part in [
        "default via 10.1.0.1 dev net7",
        "10.1.0.0/24 dev net7",
        "10.2.0.0/24 dev eth1",
        "fd00:9::/48 via fd00:1::1 dev net7",
        "fd00:1::/64 dev net7",
    ] {
        assert!(routes.contains(part), "no `{part}` in {routes}");
    }
}

#[test]
fn two_files_share_a_network() {
    let Some(stage) = Stage::set("two_files") else {
        return;
    };
    for name in ["shop", "bank"] {
        stage.start(name);
    }
    let shop = stage.file(
        "shop.yaml",
        "version: 1
name: shop
networks: { front: 10.1.0.0/24 }
workloads:
  shop: { ports: [{ network: front, addresses: 10.1.0.10 }] }
",
    );
    let bank = stage.file(
        "bank.yaml",
        "version: 1
name: bank
workloads:
  bank: { ports: [{ network: front, addresses: 10.1.0.20 }] }
",
    );
    stage.load(&[&shop]);
    let link = stage.port("shop/eth0")["host_interface"].clone();
    let index = stage.index_of(link.as_str().unwrap());
    let loaded = stage.load(&[&bank]);
    assert!(loaded.contains("1 link made"), "{loaded}");
    stage.ping("shop", "10.1.0.20");
    assert_eq!(stage.index_of(link.as_str().unwrap()), index);

    // The bank stands on the shop's network.
    let before = stage.traces();
    let refused = stage.bowline(&["unload", "shop"]);
    refused.failed_saying(&[
        "what else is loaded does not hold without `shop`",
        "bank.yaml:4:",
    ]);
    assert_eq!(stage.traces(), before);
    stage.ping("shop", "10.1.0.20");

    stage.bowline(&["unload", "bank"]).succeeded();
    assert_eq!(interfaces(&stage, "bank"), ["lo"]);
    assert_eq!(stage.port("shop/eth0")["state"], "up");
    assert_eq!(stage.index_of(link.as_str().unwrap()), index);
    stage.bowline(&["unload", "shop"]).succeeded();
    assert_eq!(stage.traces(), "");
}
