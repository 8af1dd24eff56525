//! Neighbors that no file declares: routers ask for them.

use integration::lab::{Complaint, Probe, eventually, ping, ping_once};

use super::super::{Site, drops};
use super::{ip, line};
use crate::netns::learning::nest;

#[test]
fn an_undeclared_neighbor_is_asked_for_and_reached() {
    let Some(site) = Site::new(["web", "db", "nested"]) else {
        return;
    };
    let bowline = site.bowline();
    let text = line(1).replace(
        r#"addresses: [10.2.0.20, "fd00:2::20"] }"#,
        r#"addresses: [10.2.0.20, "fd00:2::20"], learning: true }"#,
    );
    bowline.load(&site.topology(&text));
    site.assert_reaches("web", "10.2.0.20");
    site.assert_reaches("web", "fd00:2::20");
    let nested = site.workload("nested");
    nest(site.workload("db"), &[(nested, "10.2.0.101/24")]);
    nested.ip(&["address", "add", "fd00:2::101/64", "dev", "eth0", "nodad"]);
    nested.ip(&["route", "add", "default", "via", "10.2.0.1"]);
    nested.ip(&["-6", "route", "add", "default", "via", "fd00:2::1"]);
    for address in ["10.2.0.101", "fd00:2::101"] {
        let before = drops(&bowline, "web/eth0", "neighbor_pending");
        // The first packet is lost, and is the question.
        assert!(!ping(site.workload("web"), ip(address)), "{address}");
        assert!(drops(&bowline, "web/eth0", "neighbor_pending") > before);
        site.assert_reaches("web", address);
        let pending = drops(&bowline, "web/eth0", "neighbor_pending");
        for _ in 0..5 {
            assert!(ping_once(site.workload("web"), ip(address)), "{address}");
        }
        assert_eq!(drops(&bowline, "web/eth0", "neighbor_pending"), pending);
    }
}

#[test]
fn a_neighbor_that_never_answers_is_unreachable() {
    let Some(site) = Site::new(["web", "db"]) else {
        return;
    };
    let bowline = site.bowline();
    bowline.load(&site.topology(&line(1)));
    site.assert_reaches("web", "10.2.0.20");
    site.assert_reaches("web", "fd00:2::20");
    for (to, kind, code, from) in [
        ("10.2.0.99", 3, 1, "10.1.0.1"),
        ("fd00:2::99", 1, 3, "fd00:1::1"),
    ] {
        let expected = Complaint {
            kind,
            code,
            from: ip(from),
            mtu: 0,
        };
        let complaint = Probe::new(ip(to)).complaint(site.workload("web"));
        assert_eq!(complaint, expected, "to {to}");
    }
    eventually("it is counted", || {
        drops(&bowline, "web/eth0", "neighbor_unreachable") >= 2
    });
}
