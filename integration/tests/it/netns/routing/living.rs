//! Routers and routes come and go under traffic that has nothing to do with them.

use integration::lab::{Pings, ping_once};

use super::super::Site;
use super::{BACK, ip, line};

/// What else there may be: routes, a router port, and a router.
fn variants() -> Vec<String> {
    let plain = line(2);
    let route = "      - { to: 203.0.113.0/24, via: blackhole }\n";
    let more = format!("{route}      - {{ to: 10.50.0.0/16, via: right }}\n");
    let changed = format!("{route}      - {{ to: 10.50.0.0/16, via: reject }}\n");
    let side = plain.replace(
        "networks:\n",
        "networks:\n  side: [10.3.0.0/24, \"fd00:3::/64\"]\n",
    );
    let port = side.replace(
        BACK,
        &format!("{BACK}      side: [10.3.0.1, \"fd00:3::1\"]\n"),
    );
    let router = side.clone() + "  other:\n    ports: { side: [10.3.0.1, \"fd00:3::1\"] }\n";
    vec![
        plain.replacen(route, &more, 1),
        plain.replacen(route, &changed, 1),
        port,
        router,
        plain,
    ]
}

#[test]
fn changes_lose_nothing_of_what_they_do_not_concern() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    let before = site.snapshot(&bowline);
    let variants: Vec<_> = variants().iter().map(|text| site.topology(text)).collect();
    bowline.load(&variants[0]);
    site.assert_reaches("web", "10.2.0.20");
    site.assert_reaches("web", "fd00:2::20");
    let pings = ["10.2.0.20", "fd00:2::20"].map(|to| Pings::start(site.workload("web"), ip(to)));
    for _ in 0..6 {
        for text in &variants {
            bowline.load(text);
        }
        assert!(ping_once(site.workload("web"), ip("192.168.1.2")));
    }
    for pings in pings {
        let (sent, received) = pings.finish();
        assert!(sent > 200, "{sent} is too few to tell");
        assert_eq!(received, sent);
    }
    bowline.succeed(&["unload", "line"]);
    before.assert_same(&site.snapshot(&bowline));
}

/// A route that moves from one way to another: packets go the old way or the new one.
#[test]
fn a_route_that_moves_loses_nothing() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    // Two ways from the first router to the second one.
    let text = line(2)
        .replace(
            "    routes:\n      - { to: \"10.2.0.0/24\"",
            "      spare: { peer: r2/spare, addresses: [192.168.9.1/30, \"fd00:99:9::1/64\"] }\n    \
             routes:\n      - { to: \"10.2.0.0/24\"",
        )
        .replace(
            BACK,
            &format!(
                "{BACK}      spare: {{ peer: r1/spare, addresses: [192.168.9.2/30, \
                 \"fd00:99:9::2/64\"] }}\n"
            ),
        )
        .replace("peer: r2,", "peer: r2/left,")
        .replace("peer: r1,", "peer: r1/right,");
    let moved = text.replace("via: right", "via: spare");
    let (text, moved) = (site.topology(&text), site.topology(&moved));
    bowline.load(&text);
    site.assert_reaches("web", "10.2.0.20");
    site.assert_reaches("web", "fd00:2::20");
    let pings = ["10.2.0.20", "fd00:2::20"].map(|to| Pings::start(site.workload("web"), ip(to)));
    for _ in 0..10 {
        bowline.load(&moved);
        bowline.load(&text);
    }
    for pings in pings {
        let (sent, received) = pings.finish();
        assert!(sent > 200, "{sent} is too few to tell");
        assert_eq!(received, sent);
    }
}

/// A gateway moves to another router. Workloads remember its MAC address, and nobody tells them of
/// another one.
#[test]
fn a_gateway_that_moves_loses_nothing() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    let text = line(1);
    let moved = text.replace("  r1:\n", "  other:\n");
    assert_ne!(text, moved);
    let [text, moved] = [&text, &moved].map(|text| site.topology(text));
    bowline.load(&text);
    site.assert_reaches("web", "10.2.0.20");
    site.assert_reaches("web", "fd00:2::20");
    let pings = ["10.2.0.20", "fd00:2::20"].map(|to| Pings::start(site.workload("web"), ip(to)));
    for _ in 0..10 {
        bowline.load(&moved);
        bowline.load(&text);
    }
    for pings in pings {
        let (sent, received) = pings.finish();
        assert!(sent > 200, "{sent} is too few to tell");
        assert_eq!(received, sent);
    }
}

/// One of two gateways moves to a router behind the first one, and back.
#[test]
fn a_gateway_that_moves_alone_is_found_at_once() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(&line(1)));
    site.assert_reaches("web", "10.2.0.20");
    site.assert_reaches("web", "fd00:2::20");
    for routers in [2, 1, 3, 1, 2] {
        bowline.load(&site.topology(&line(routers)));
        for (from, to) in [("web", "10.2.0.20"), ("db", "fd00:1::10")] {
            let space = site.workload(from);
            assert!(ping_once(space, ip(to)), "{to} over {routers} routers");
        }
    }
}
