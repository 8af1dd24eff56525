//! What containers of several hosts call one another, and what they are told of their network.

use serde_json::Value;

use integration::lab::eventually;

use super::Driver;
use super::attach::start;
use super::hosts::{Site, reaches};

/// Where containers find the resolver.
const RESOLVER: &str = "169.254.0.53";
const DNS: [&str; 2] = ["--dns", RESOLVER];

#[test]
fn containers_find_one_another_by_name_and_hear_how_their_network_is_doing() {
    let Some(site) = Site::set("names") else {
        return;
    };
    let Site { alpha, beta, .. } = &site;
    let dns = ["--dns", "169.254.0.53"];
    Site::run(alpha, "nam-web", "front", &dns);
    Site::run(beta, "nam-db", "front", &dns);
    Site::run(beta, "nam-far", "back", &dns);
    for (driver, from, to) in [
        (alpha, "nam-web", "nam-db"),
        (alpha, "nam-web", "NAM-DB.front"),
        (beta, "nam-db", "nam-web"),
    ] {
        reaches(driver, from, to);
    }
    // Nobody is told the names of networks that he is not on.
    assert!(!alpha.reaches("nam-web", "nam-far"));
    let conditions = || {
        alpha
            .stage
            .exec("nam-web", "wget -q -O - http://169.254.0.53:947/")
    };
    eventually("beta is up", || conditions().contains("\"state\": \"up\""));
    let conditions: Value = serde_json::from_str(&conditions()).unwrap();
    assert_eq!(conditions["host"], "alpha");
    assert_eq!(
        conditions["ports"].as_array().unwrap().len(),
        1,
        "{conditions}"
    );
    assert_eq!(conditions["ports"][0]["network"], "front");
    assert!(conditions["ports"][0]["sent_packets"].as_u64() > Some(0));
    assert_eq!(conditions["peers"]["beta"]["networks"][0], "front");
    // A container takes nothing of it with it.
    let inside = Site::inside(alpha, "nam-web");
    let pid = alpha.inspect("nam-web", "{{.State.Pid}}");
    drop(inside);
    alpha.stage.docker(&["rm", "--force", "nam-web"]);
    assert!(!alpha.stage.engine().path(&format!("/proc/{pid}")).exists());
    eventually("its links are gone", || alpha.links().is_empty());
}

/// What the resolver says to a container.
fn asked(driver: &Driver, container: &str, question: &str) -> String {
    let line = format!("nslookup {question} {RESOLVER} 2>&1 || true");
    driver.stage.exec(container, &line)
}

#[test]
fn aliases_and_services_are_names_on_all_hosts() {
    let Some(site) = Site::set("aliases") else {
        return;
    };
    let Site { alpha, beta, .. } = &site;
    let alias = |name: &'static str| [&DNS[..], &["--network-alias", name]].concat();
    let web = Site::run(alpha, "als-web", "front", &alias("store"));
    let db = Site::run(beta, "als-db", "front", &alias("store"));
    let template = "{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}";
    let db_v6 = beta.inspect("als-db", template);
    // Each is a `store`, and all of them are told.
    for (driver, container) in [(alpha, "als-web"), (beta, "als-db")] {
        eventually("both are called store", || {
            let said = asked(driver, container, "store.front");
            [&web, &db, &db_v6]
                .iter()
                .all(|it| said.contains(&format!(" {it}\n")))
        });
        // The other way round an address has the container's own name.
        for address in [&db, &db_v6] {
            let said = asked(driver, container, address);
            assert!(said.contains("als-db.front"), "{said}");
        }
    }
    // Aliases are given to each network, live.
    Site::run(beta, "als-far", "back", &DNS);
    let front = Site::network(beta, "front");
    let connect = ["network", "connect", "--alias", "late", &front, "als-far"];
    beta.stage.docker(&connect);
    reaches(alpha, "als-web", "late");
    beta.stage
        .docker(&["network", "disconnect", &front, "als-far"]);
    eventually("nobody is called late any more", || {
        !alpha.reaches("als-web", "late")
    });
}

#[test]
fn what_is_attached_is_reached_from_other_hosts_and_by_its_names() {
    let Some(site) = Site::set("guests") else {
        return;
    };
    let Site { alpha, beta, .. } = &site;
    Site::run(alpha, "gst-web", "front", &DNS);
    let labels = [
        "bowline.network=front,back",
        "bowline.aliases=safe",
        "com.docker.compose.service=vault",
    ];
    start(beta, "gst-jam", &labels);
    for name in ["gst-jam", "safe", "vault"] {
        reaches(alpha, "gst-web", name);
    }
    let cat = Site::run(alpha, "gst-cat", "back", &DNS);
    reaches(alpha, "gst-cat", "vault");
    reaches(beta, "gst-jam", &cat);
    // Its names are inside its own namespace, too.
    let said = asked(beta, "gst-jam", "gst-web");
    assert!(said.contains("Name:") && said.contains("gst-web"), "{said}");
    // On demand, and no longer than that.
    start(beta, "gst-tin", &[]);
    let words = ["attach", "gst-tin", "front", "--alias", "attic"];
    beta.stage.bowline(&words).succeeded();
    reaches(alpha, "gst-web", "attic");
    beta.stage.bowline(&["detach", "gst-tin"]).succeeded();
    beta.stage.docker(&["rm", "--force", "gst-jam"]);
    for name in ["attic", "vault"] {
        eventually("it is gone for alpha, too", || {
            !alpha.reaches("gst-web", name)
        });
    }
}
