//! A plan against what the kernel holds.

use std::collections::BTreeSet;

use maps_schema::Mac;

use super::*;
use crate::holdings::{Attachment, HeldUplink, HeldXdp, Observed, Peer, XdpState};
use crate::link::Inside;

const FINGERPRINT: &str = "0123456789ab";
const WEB: &str = "bl-c784aefb";
const DB: &str = "bl-a0dda82f";

/// A kernel that holds exactly what a plan says.
fn holdings(plan: &Plan) -> Holdings {
    let interfaces = interfaces(plan);
    let link = |(name, planned): (&String, &PlannedLink)| {
        let observed = Observed {
            ifindex: interfaces[name],
            alias: Some(planned.link.alias.clone()),
            peer: Peer::Inside(planned.link.clone()),
        };
        (name.clone(), observed)
    };
    let attachment = |&ifindex: &IfIndex| (ifindex, attachment(FINGERPRINT));
    Holdings {
        links: plan.links.iter().map(link).collect(),
        tables: tables(plan),
        attached: interfaces.values().map(attachment).collect(),
        uplinks: BTreeMap::new(),
        xdp: BTreeMap::new(),
        fingerprint: Some(FINGERPRINT.to_owned()),
    }
}

fn attachment(fingerprint: &str) -> Attachment {
    Attachment {
        fingerprint: Some(fingerprint.to_owned()),
        sound: true,
    }
}

/// The difference from the plan of [`SHOP`] after something in the kernel was changed.
fn after(change: impl FnOnce(&mut Holdings)) -> (Diff, Vec<String>) {
    let plan = plan(SHOP);
    let mut holdings = holdings(&plan);
    change(&mut holdings);
    differences(&plan, &holdings)
}

fn differences(plan: &Plan, holdings: &Holdings) -> (Diff, Vec<String>) {
    let diff = Diff::new(plan, FINGERPRINT, holdings);
    let lines: Vec<String> = diff
        .lines(plan, holdings)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(diff.is_empty(), lines.is_empty());
    (diff, lines)
}

/// What becomes of a link that is not as it was planned.
fn after_link(name: &str, change: impl FnOnce(&mut Link)) -> (Diff, Vec<String>) {
    after(|holdings| {
        let Peer::Inside(link) = &mut holdings.links.get_mut(name).unwrap().peer else {
            panic!("{name} leads elsewhere");
        };
        change(link);
    })
}

#[test]
fn nothing_is_different() {
    let (diff, lines) = after(|_| {});
    assert_eq!(diff, Diff::default());
    assert_eq!(lines, [""; 0]);
    let plan = plan_without(SHOP, &["web"]);
    assert!(Diff::new(&plan, FINGERPRINT, &holdings(&plan)).is_empty());
}

#[test]
fn in_an_empty_kernel_everything_is_made() {
    let plan = plan_without(SHOP, &["web", "tap"]);
    let (diff, mut lines) = differences(&plan, &Holdings::default());
    // Their numbers say nothing.
    lines.retain(|line| !line.starts_with("+ epoch"));
    let expected = [
        "+ program    port_ingress",
        "+ link       db/lan (bl-a0dda82f)",
        "+ attachment port_ingress at bl-a0dda82f (db/lan)",
        "+ counters   no port",
        "+ counters   db/lan",
        "+ neighbor   back: 10.2.0.20 is 02:00:00:00:00:20 at db/lan",
        "+ neighbor   back: fe80::ff:fe00:20 is 02:00:00:00:00:20 at db/lan",
        "+ fdb        back: 02:00:00:00:00:20 is at db/lan",
        "+ flood      list b86dc7b6[0]: db/lan",
        "+ network    front (vni 100): 0 ports in list d0ebd1f6, unknown unicast dropped, ageing 300s",
        "+ network    back (vni 200): 1 port in list b86dc7b6, unknown unicast flooded, ageing 7s",
    ];
    assert_eq!(lines, expected);
    let link = plan.links[DB].link.clone();
    assert_eq!(
        diff.links,
        BTreeMap::from([(DB.to_owned(), LinkChange::Create(link))])
    );
}

#[test]
fn what_nothing_asks_for_is_removed() {
    let shop = plan(SHOP);
    let held = holdings(&shop);
    let without_web = plan_without(SHOP, &["web", "tap"]);
    let (_, lines) = differences(&without_web, &held);
    let expected = [
        "- link       web/eth1 (bl-c684ad68)",
        "- link       web/eth0 (bl-c784aefb)",
        "- link       tap/eth0 (bl-f8b638ee)",
    ];
    assert_eq!(lines[..3], expected);
    // The kernel's links still know the names of ports that no file has any more.
    let nothing = plan("networks: {}");
    let (_, lines) = differences(&nothing, &held);
    assert!(lines.contains(&"- link       db/lan (bl-a0dda82f)".to_owned()));
    assert!(lines.contains(&"- fdb        vni 200: 02:00:00:00:00:20 is at db/lan".to_owned()));
    assert!(lines.contains(&"- counters   web/eth0".to_owned()));
    assert!(!lines.contains(&"- counters   no port".to_owned()));
}

#[test]
fn a_link_is_changed_while_it_is_up() {
    let planned = plan(SHOP).links[WEB].link.clone();
    let (diff, lines) = after_link(WEB, |link| {
        link.mtu = 0;
        link.up = false;
        link.alias = "bowline:default:web/old".to_owned();
        let inside = &mut link.inside;
        inside.addresses.remove(&"10.1.0.10/24".parse().unwrap());
        inside.addresses.insert("10.9.9.9/8".parse().unwrap());
        inside.routes.clear();
        let via = "fd00:1::1".parse().unwrap();
        let to = "::/0".parse().unwrap();
        inside.routes.insert(crate::link::Route { to, via });
    });
    assert_eq!(
        lines,
        [
            "~ link       web/eth0 (bl-c784aefb): mtu 1400, up, alias, +10.1.0.10/24, -10.9.9.9/8, \
          +0.0.0.0/0 via 10.1.0.1, -::/0 via fd00:1::1"
        ]
    );
    let Some(LinkChange::Adjust { from, to }) = diff.links.get(WEB) else {
        panic!("{diff:?}");
    };
    assert_eq!((from.mtu, to), (0, &planned));
    assert!(diff.attach.is_empty() && diff.rows.is_empty());
}

#[test]
fn a_link_with_another_mac_or_name_is_made_again() {
    let changes: [fn(&mut Inside); 2] = [
        |inside| inside.mac = Mac::new([2, 0, 0, 0, 0, 0x99]),
        |inside| inside.interface = "eth9".to_owned(),
    ];
    for change in changes {
        let (diff, lines) = after_link(WEB, |link| change(&mut link.inside));
        let expected = [
            "~ link       web/eth0 (bl-c784aefb), made again",
            "~ attachment port_ingress at bl-c784aefb (web/eth0)",
        ];
        assert_eq!(lines, expected);
        assert!(matches!(diff.links[WEB], LinkChange::Recreate(_)));
        assert_eq!(diff.attach, [WEB]);
    }
}

#[test]
fn a_link_that_leads_elsewhere_is_made_again_and_loses_its_rows() {
    let (diff, lines) =
        after(|holdings| holdings.links.get_mut(WEB).unwrap().peer = Peer::Elsewhere);
    let expected = [
        "~ link       web/eth0 (bl-c784aefb), made again",
        "~ attachment port_ingress at bl-c784aefb (web/eth0)",
        "- interface  interface 13 is web/eth0 in front with 02:00:00:00:00:10",
        "- port       web/eth0 leads to interface 13",
    ];
    assert_eq!(lines, expected);
    assert!(matches!(diff.links[WEB], LinkChange::Recreate(_)));
}

#[test]
fn a_link_of_which_nobody_can_say_where_it_should_lead_is_left_alone() {
    let ask_nobody = |holdings: &mut Holdings| {
        let observed = holdings.links.get_mut(WEB).unwrap();
        observed.peer = Peer::Unasked;
    };
    let (diff, _) = after(ask_nobody);
    assert!(diff.is_empty());
    // Half of one is of no use to anybody.
    let (diff, _) = after(|holdings| {
        ask_nobody(holdings);
        holdings.links.get_mut(WEB).unwrap().alias = None;
    });
    assert!(matches!(diff.links[WEB], LinkChange::Recreate(_)));
}

#[test]
fn a_lost_link_is_made_and_a_half_made_one_is_cleared_away() {
    let (diff, lines) = after(|holdings| {
        holdings.links.remove(WEB);
        let half_made = Observed {
            ifindex: IfIndex(77),
            alias: None,
            peer: Peer::Unasked,
        };
        holdings.links.insert("bl-12345678".to_owned(), half_made);
    });
    let expected = [
        "- link       half-made (bl-12345678)",
        "+ link       web/eth0 (bl-c784aefb)",
        "+ attachment port_ingress at bl-c784aefb (web/eth0)",
        "- interface  interface 13 is web/eth0 in front with 02:00:00:00:00:10",
        "- port       web/eth0 leads to interface 13",
    ];
    assert_eq!(lines, expected);
    assert_eq!(diff.links["bl-12345678"], LinkChange::Delete);
}

#[test]
fn another_program_is_attached_everywhere() {
    let plan = plan(SHOP);
    let mut held = holdings(&plan);
    held.fingerprint = Some("another".to_owned());
    for found in held.attached.values_mut() {
        *found = attachment("another");
    }
    let (diff, lines) = differences(&plan, &held);
    let expected = [
        "~ program    port_ingress",
        "~ attachment port_ingress at bl-a0dda82f (db/lan)",
        "~ attachment port_ingress at bl-c684ad68 (web/eth1)",
        "~ attachment port_ingress at bl-c784aefb (web/eth0)",
        "~ attachment port_ingress at bl-f8b638ee (tap/eth0)",
    ];
    assert_eq!(lines, expected);
    assert!(diff.program);
}

#[test]
fn an_interface_without_one_sound_current_program_gets_it() {
    let (web, db) = (IfIndex(13), IfIndex(11));
    let changes: [fn(&mut Holdings, IfIndex); 4] = [
        |holdings, at| drop(holdings.attached.remove(&at)),
        |holdings, at| holdings.attached.get_mut(&at).unwrap().sound = false,
        |holdings, at| holdings.attached.get_mut(&at).unwrap().fingerprint = None,
        |holdings, at| drop(holdings.attached.insert(at, attachment("older"))),
    ];
    for change in changes {
        let (diff, lines) = after(|holdings| change(holdings, web));
        assert_eq!(diff.attach, [WEB]);
        assert_eq!(
            lines,
            ["~ attachment port_ingress at bl-c784aefb (web/eth0)"]
        );
        let (diff, _) = after(|holdings| {
            change(holdings, web);
            change(holdings, db);
        });
        assert_eq!(diff.attach, [DB, WEB]);
    }
}

#[test]
fn a_stray_row_is_removed_and_a_lost_one_written() {
    let (diff, lines) = after(|holdings| {
        let counters = holdings.tables.get_mut(&MapName::Counters).unwrap();
        counters.insert(vec![0xab; 4], Vec::new());
        holdings.tables.remove(&MapName::Networks);
    });
    assert_eq!(
        lines,
        [
            "+ network    front (vni 100): 2 ports in list cb33f013, unknown unicast dropped, learning, ageing 300s",
            "+ network    back (vni 200): 2 ports in list 40a6df25, unknown unicast flooded, ageing 7s",
            "- counters   port abababab",
        ]
    );
    assert_eq!(diff.rows.len(), 3);
}

#[test]
fn interfaces_are_those_of_links_that_lead_where_they_should() {
    let plan = plan(SHOP);
    let mut held = holdings(&plan);
    assert_eq!(held.interfaces(), interfaces(&plan));
    held.links.get_mut(WEB).unwrap().peer = Peer::Elsewhere;
    held.links.get_mut(DB).unwrap().peer = Peer::Unasked;
    let tap = held.links.get_mut("bl-f8b638ee").unwrap();
    (tap.peer, tap.alias) = (Peer::Unasked, None);
    let names: BTreeSet<String> = held.interfaces().into_keys().collect();
    let expected = ["bl-c684ad68", DB].map(str::to_owned);
    assert_eq!(names, BTreeSet::from(expected));
}

#[test]
fn the_program_at_the_uplink_follows_the_plan() {
    let uplink = |interface: &str, ifindex| {
        let interface = interface.to_owned();
        Some(PlannedUplink {
            interface,
            ifindex: IfIndex(ifindex),
            xdp: None,
        })
    };
    let held = |fingerprint: &str| HeldUplink {
        interface: "lan0".to_owned(),
        ingress: attachment(fingerprint),
    };
    let mut plan = plan(SHOP);
    let mut holdings = holdings(&plan);
    plan.uplink = uplink("lan0", 2);
    assert_eq!(
        differences(&plan, &holdings).1,
        ["+ attachment uplink_ingress at lan0"]
    );
    holdings.uplinks.insert(IfIndex(2), held("another"));
    assert_eq!(
        differences(&plan, &holdings).1,
        ["~ attachment uplink_ingress at lan0"]
    );
    holdings.uplinks.insert(IfIndex(2), held(FINGERPRINT));
    assert_eq!(differences(&plan, &holdings).1, [""; 0]);
    plan.uplink = uplink("lan1", 3);
    assert_eq!(
        differences(&plan, &holdings).1,
        [
            "+ attachment uplink_ingress at lan1",
            "- attachment uplink_ingress at lan0",
        ]
    );
    plan.uplink = None;
    let gone = ["- attachment uplink_ingress at lan0"];
    assert_eq!(differences(&plan, &holdings).1, gone);
    let removal = Diff::removal(&holdings).lines(&plan, &holdings);
    let removal: Vec<String> = removal.iter().map(ToString::to_string).collect();
    assert!(removal.contains(&gone[0].to_owned()), "{removal:?}");
}

#[test]
fn xdp_at_the_uplink_follows_the_plan_unless_somebody_is_in_its_way() {
    let mut plan = plan(SHOP);
    let mut holdings = holdings(&plan);
    let ingress = attachment(FINGERPRINT);
    let interface = "lan0".to_owned();
    let uplink = HeldUplink {
        interface: interface.clone(),
        ingress,
    };
    holdings.uplinks.insert(IfIndex(2), uplink);
    let mut changes = |required: Option<bool>, state: Option<XdpState>| {
        let mode = XdpMode::Native;
        plan.uplink = Some(PlannedUplink {
            interface: interface.clone(),
            ifindex: IfIndex(2),
            xdp: required.map(|required| PlannedXdp { mode, required }),
        });
        let held = state.map(|state| HeldXdp {
            interface: interface.clone(),
            state,
        });
        holdings.xdp = held.map(|held| (IfIndex(2), held)).into_iter().collect();
        differences(&plan, &holdings).1
    };
    let ours = |mode, fingerprint| {
        Some(XdpState::Ours {
            mode,
            attachment: attachment(fingerprint),
        })
    };
    let comes = ["+ attachment uplink_xdp at lan0 (native)"];
    let changed = ["~ attachment uplink_xdp at lan0 (native)"];
    assert_eq!(changes(Some(false), None), comes);
    assert_eq!(changes(Some(false), Some(XdpState::Refused)), [""; 0]);
    assert_eq!(changes(Some(true), Some(XdpState::Refused)), comes);
    assert_eq!(changes(Some(true), Some(XdpState::Foreign(7))), [""; 0]);
    assert_eq!(
        changes(Some(true), ours(XdpMode::Native, FINGERPRINT)),
        [""; 0]
    );
    assert_eq!(
        changes(Some(true), ours(XdpMode::Native, "another")),
        changed
    );
    assert_eq!(
        changes(Some(true), ours(XdpMode::Generic, FINGERPRINT)),
        changed
    );
    let gone = ["- attachment uplink_xdp at lan0 (native)"];
    assert_eq!(changes(None, ours(XdpMode::Native, FINGERPRINT)), gone);
    assert_eq!(changes(None, Some(XdpState::Foreign(7))), [""; 0]);
}
