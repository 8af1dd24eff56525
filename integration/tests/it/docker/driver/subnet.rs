//! Hosts that keep Docker's own bridge.

use integration::lab::{ENGINE_FOLDER as FOLDER, eventually};

use super::Driver;
use super::hosts::Site;
use super::life::end;

const HOSTS: &str = "version: 1
name: shop
hosts: { alpha: 192.0.2.11, beta: 192.0.2.12 }
networks: { fabric: 10.4.0.0/24 }
";

/// Lets Docker's bridge be as the file says, and runs a container on it; the container's address.
fn settle(driver: &Driver, container: &str, engines: &mut Vec<std::process::Child>) -> String {
    let settings = format!("{FOLDER}/daemon.json");
    let subnet = ["subnet", "fabric", "--settings", &settings];
    driver.stage.host(&[
        "sh",
        "-c",
        &format!("echo '{{\"debug\": false}}' >{settings}"),
    ]);
    let told = driver.stage.bowline(&subnet).succeeded().stdout;
    assert!(told.contains("mtu 1450"), "{told}");
    let again = driver.stage.bowline(&subnet).succeeded().stdout;
    assert!(again.contains("has bip 10.224."), "{again}");
    // The host forwards, as Docker lets it where nobody forbids that.
    let forward = ["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"];
    driver.stage.host(&forward);
    engines.push(driver.stage.engine().restart_as("-TERM", |words| {
        words.retain(|word| *word != "--bridge=none");
        words.extend(["--config-file".to_owned(), settings]);
    }));
    driver.run_anywhere(container, &[]);
    driver.inspect(container, "{{.NetworkSettings.IPAddress}}")
}

#[test]
fn bridges_of_two_engines_are_one_network() {
    let Some(site) = Site::bare("192.0.2.", "24", "subnet") else {
        return;
    };
    // The file gets what the command says it lacks.
    let mut text = HOSTS.to_owned();
    for driver in [&site.alpha, &site.beta] {
        let file = driver.stage.file("shop.yaml", &text);
        driver.stage.load(&[&file]);
        if text == HOSTS {
            let refused = driver.stage.bowline(&["subnet", "fabric"]).stderr;
            let (reason, proposal) = refused.split_once('\n').unwrap();
            assert!(
                reason.contains("host alpha has no port of its own"),
                "{refused}"
            );
            text.push_str(proposal);
            let file = driver.stage.file("shop.yaml", &text);
            driver.stage.load(&[&file]);
        }
    }
    let mut engines = [Vec::new(), Vec::new()];
    let [first, second] = &mut engines;
    let web = settle(&site.alpha, "sub-web", first);
    let db = settle(&site.beta, "sub-db", second);
    assert_eq!((web.as_str(), db.as_str()), ("10.224.1.2", "10.224.2.2"));
    eventually("they reach each other", || {
        site.alpha.reaches("sub-web", &db) && site.beta.reaches("sub-db", &web)
    });
    let mtu = site
        .alpha
        .stage
        .exec("sub-web", "cat /sys/class/net/eth0/mtu");
    assert_eq!(mtu.trim(), "1450");
    let page = "mkdir -p /www; head -c 3000000 /dev/zero >/www/page; httpd -p 80 -h /www";
    site.beta.stage.exec("sub-db", page);
    let fetch = format!("wget -q -O - http://{db}/page | wc -c");
    assert_eq!(site.alpha.stage.exec("sub-web", &fetch).trim(), "3000000");
    let Site { alpha, beta, .. } = site;
    let [first, second] = engines;
    for (driver, container, engines) in [(alpha, "sub-web", first), (beta, "sub-db", second)] {
        driver.stage.docker(&["rm", "--force", container]);
        end(driver, engines);
    }
}
