//! Networks of files that are Docker's, too.

use integration::lab::eventually;

use super::Driver;

const FILE: &str = "version: 1
name: town
networks:
  lane: { subnets: [10.101.0.0/24, 'fd00:101::/64'], docker: true }
  cave: { subnets: 10.102.0.0/24, internal: true, docker: true }
  path: 10.103.0.0/24
routers: { core: { ports: { lane: [10.101.0.1, 'fd00:101::1'], path: 10.103.0.1 } } }
";

#[test]
fn a_network_of_a_file_is_dockers_by_itself() {
    let Some(mut driver) = Driver::set("driver_declared") else {
        return;
    };
    let networks = |driver: &Driver| {
        let words = ["network", "ls", "--format", "{{.Name}}", "--filter"];
        let filter = format!("driver={}", driver.name);
        let shown = driver.stage.docker(&[&words[..], &[&filter]].concat());
        let mut names: Vec<String> = shown.lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    let file = driver.stage.file("town.yaml", FILE);
    driver.stage.load(&[&file]);
    eventually("they are there", || networks(&driver) == ["cave", "lane"]);
    driver.run("drv-hut", "lane", &["--ip", "10.101.0.9"]);
    driver.run("drv-bat", "cave", &[]);
    driver.stage.ping("drv-hut", "10.103.0.1");
    driver.stage.ping("drv-hut", "fd00:101::1");
    let routes = driver.stage.exec("drv-bat", "ip route");
    assert!(!routes.contains("default"), "{routes}");
    // Again is no change.
    driver.stop_agent("-TERM");
    driver.start_agent();
    driver.stage.load(&[&file]);
    driver.stage.ping("drv-hut", "10.101.0.1");
    assert_eq!(networks(&driver), ["cave", "lane"]);
    // What nobody uses goes with the file; what is in use keeps the file.
    let unloaded = driver.stage.bowline(&["unload", "town"]);
    unloaded.failed_saying(&["what else is loaded does not hold without `town`"]);
    let less = FILE.replace(", internal: true, docker: true", ", internal: true");
    let file = driver.stage.file("town.yaml", &less);
    driver.stage.load(&[&file]);
    assert_eq!(networks(&driver), ["cave", "lane"]);
    driver.stage.docker(&["rm", "--force", "drv-bat"]);
    eventually("it is gone", || networks(&driver) == ["lane"]);
    driver.stage.docker(&["rm", "--force", "drv-hut"]);
    driver.stage.bowline(&["unload", "town"]).succeeded();
    eventually("all are gone", || networks(&driver).is_empty());
    // The agent plans that, too, before it may go.
    eventually("nothing is loaded", || {
        let traces = driver.stage.traces();
        !traces.contains("docker.yaml") && !traces.contains("programs")
    });
    driver.stop_agent("-TERM");
    assert_eq!(driver.stage.traces(), "");
}
