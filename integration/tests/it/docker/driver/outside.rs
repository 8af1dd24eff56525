//! The way to the outside, and what restarts leave of it.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use integration::lab::{IMAGE, Namespace, eventually, veth};

use super::Driver;

/// A world around the machine, to which its default route leads.
pub(super) fn world(driver: &Driver) -> Namespace {
    let machine = driver.stage.engine().namespace();
    let world = Namespace::new("world");
    veth((&machine, "uplink0"), (&world, "eth0"));
    for (space, interface, address) in [
        (&machine, "uplink0", "192.0.2.2/24"),
        (&world, "eth0", "192.0.2.1/24"),
    ] {
        space.ip(&["address", "add", address, "dev", interface]);
        space.ip(&["link", "set", interface, "up"]);
    }
    machine.ip(&["route", "add", "default", "via", "192.0.2.1"]);
    world
}

/// What the published port answers.
fn page() -> io::Result<String> {
    let published = SocketAddr::from(([192, 0, 2, 2], 8080));
    let mut stream = TcpStream::connect_timeout(&published, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

#[test]
fn containers_reach_the_outside_and_are_reached_by_published_ports() {
    let Some(mut driver) = Driver::set_apart("driver_outside") else {
        return;
    };
    let world = world(&driver);
    let front = driver.create("front", &["--subnet", "10.88.0.0/24"]);
    driver.run("drv-out", &front, &["-p", "8080:80", "-p", "5353:53/udp"]);
    eventually("the outside answers", || {
        driver.reaches("drv-out", "192.0.2.1")
    });
    driver.stage.exec(
        "drv-out",
        "mkdir -p /www; echo hello >/www/index.html; httpd -p 80 -h /www",
    );
    let fetch = || world.run(page);
    assert!(fetch().unwrap().ends_with("hello\n"));
    let ports = driver.stage.json(&["ports"]);
    assert_eq!(ports["ports"][1]["host_port"], 8080, "{ports}");
    let words = [
        "run",
        "--rm",
        "--network",
        &front,
        "-p",
        "8080:81",
        IMAGE,
        "true",
    ];
    let taken = driver.stage.docker_fails(&words);
    assert!(
        taken.contains("port 8080/tcp is published already"),
        "{taken}"
    );
    driver.stage.docker(&["stop", "drv-out"]);
    assert!(fetch().is_err());
    assert_eq!(
        driver.stage.json(&["ports"])["ports"],
        serde_json::json!([])
    );
}

/// What it costs to start a container, against Docker's own bridge. It says so, and asserts nothing:
/// machines differ.
#[test]
#[ignore = "a measurement, which asserts nothing: run it by its name with `--ignored`"]
fn what_docker_run_costs() {
    let Some(mut driver) = Driver::set_apart("driver_cost") else {
        return;
    };
    driver
        .stage
        .docker(&["network", "create", "-d", "bridge", "plain"]);
    let own = driver.create("own", &["--subnet", "10.89.0.0/24"]);
    let mut times: [Vec<u128>; 2] = Default::default();
    for _ in 0..10 {
        for (network, times) in ["plain", &own].into_iter().zip(&mut times) {
            let began = Instant::now();
            let words = ["run", "--rm", "--network", network, IMAGE, "true"];
            driver.stage.docker(&words);
            times.push(began.elapsed().as_millis());
        }
    }
    for (network, times) in ["Docker's bridge", "bowline"].into_iter().zip(&mut times) {
        times.sort_unstable();
        let (least, most) = (times[0], times[times.len() - 1]);
        eprintln!(
            "{network}: median {} ms ({least} to {most})",
            times[times.len() / 2]
        );
    }
}
