//! Pairs of plans: a change touches its own rows and no others.

use super::*;
use crate::diff::{Diff, row_changes};
use crate::holdings::Holdings;

/// The rows that change when the file `to` replaces the file `from`, in words.
fn changes(from: &str, to: &str) -> Vec<String> {
    changes_of(&plan(from), &plan(to))
}

fn changes_of(from: &Plan, to: &Plan) -> Vec<String> {
    let diff = Diff {
        rows: row_changes(&tables(from), &tables(to)),
        ..Diff::default()
    };
    let lines = diff.lines(to, &Holdings::default());
    let lines = lines.iter().map(ToString::to_string);
    // Epochs have tests of their own.
    lines
        .filter(|line| !line[2..].starts_with("epoch"))
        .collect()
}

/// [`SHOP`] with another workload in the network `back`.
fn shop_with_new() -> String {
    format!(
        "{SHOP}  new:\n    ports: [{{ network: back, addresses: 10.2.0.30, mac: 02:00:00:00:00:40 }}]\n"
    )
}

#[test]
fn nothing_changes_by_itself() {
    assert_eq!(changes(SHOP, SHOP), [""; 0]);
    let commented = format!("# another line\n{SHOP}");
    assert_eq!(changes(SHOP, &commented), [""; 0]);
}

#[test]
fn a_new_workload_adds_its_rows_and_lengthens_its_list() {
    assert_eq!(
        changes(SHOP, &shop_with_new()),
        [
            "+ counters   new/eth0",
            "+ port       new/eth0 leads to interface 15",
            "+ neighbor   back: 10.2.0.30 is 02:00:00:00:00:40 at new/eth0",
            "+ neighbor   back: fe80::ff:fe00:40 is 02:00:00:00:00:40 at new/eth0",
            "+ fdb        back: 02:00:00:00:00:40 is at new/eth0",
            "+ flood      list ac7c410f[0]: db/lan",
            "+ flood      list ac7c410f[1]: new/eth0",
            "+ flood      list ac7c410f[2]: web/eth1",
            "~ network    back (vni 200): 3 ports in list ac7c410f, unknown unicast flooded, ageing 7s",
            "+ interface  interface 15 is new/eth0 in back with 02:00:00:00:00:40",
            "- flood      list 40a6df25[0]: db/lan",
            "- flood      list 40a6df25[1]: web/eth1",
        ]
    );
}

#[test]
fn a_removed_workload_takes_its_rows_along() {
    assert_eq!(
        changes(&shop_with_new(), SHOP),
        [
            "+ flood      list 40a6df25[0]: db/lan",
            "+ flood      list 40a6df25[1]: web/eth1",
            "~ network    back (vni 200): 2 ports in list 40a6df25, unknown unicast flooded, ageing 7s",
            "- interface  interface 15 is port b979db7b in back with 02:00:00:00:00:40",
            "- flood      list ac7c410f[0]: db/lan",
            "- flood      list ac7c410f[1]: port b979db7b",
            "- flood      list ac7c410f[2]: web/eth1",
            "- fdb        back: 02:00:00:00:00:40 is at port b979db7b",
            "- neighbor   back: 10.2.0.30 is 02:00:00:00:00:40 at port b979db7b",
            "- neighbor   back: fe80::ff:fe00:40 is 02:00:00:00:00:40 at port b979db7b",
            "- port       port b979db7b leads to interface 15",
            "- counters   port b979db7b",
        ]
    );
}

#[test]
fn a_workload_that_disappears_is_one_that_is_removed() {
    let with_new = shop_with_new();
    let absent = plan_without(&with_new, &["new"]);
    assert_eq!(tables(&absent), tables(&plan(SHOP)));
    assert_eq!(absent.links, plan(SHOP).links);
    // Only that it still has its name.
    let lines = changes_of(&plan(&with_new), &absent);
    assert_eq!(lines.last().unwrap(), "- counters   new/eth0");
}

#[test]
fn a_changed_address_is_one_row_more_and_one_less() {
    assert_eq!(
        changes(SHOP, &SHOP.replace("10.2.0.20", "10.2.0.21")),
        [
            "+ neighbor   back: 10.2.0.21 is 02:00:00:00:00:20 at db/lan",
            "- neighbor   back: 10.2.0.20 is 02:00:00:00:00:20 at db/lan",
        ]
    );
}

#[test]
fn addresses_that_change_hands_are_never_without_an_owner() {
    let swapped = SHOP
        .replace("10.2.0.10", "10.2.0.x")
        .replace("10.2.0.20", "10.2.0.10")
        .replace("10.2.0.x", "10.2.0.20");
    assert_eq!(
        changes(SHOP, &swapped),
        [
            "~ neighbor   back: 10.2.0.10 is 02:00:00:00:00:20 at db/lan",
            "~ neighbor   back: 10.2.0.20 is 02:00:00:00:00:11 at web/eth1",
        ]
    );
}

#[test]
fn a_changed_mac_address_leaves_the_flood_list_alone() {
    assert_eq!(
        changes(
            SHOP,
            &SHOP.replace("02:00:00:00:00:20", "02:00:00:00:00:21")
        ),
        [
            "~ neighbor   back: 10.2.0.20 is 02:00:00:00:00:21 at db/lan",
            "+ neighbor   back: fe80::ff:fe00:21 is 02:00:00:00:00:21 at db/lan",
            "+ fdb        back: 02:00:00:00:00:21 is at db/lan",
            "~ interface  interface 11 is db/lan in back with 02:00:00:00:00:21",
            "- fdb        back: 02:00:00:00:00:20 is at db/lan",
            "- neighbor   back: fe80::ff:fe00:20 is 02:00:00:00:00:20 at db/lan",
        ]
    );
}

#[test]
fn settings_of_a_port_are_in_its_interface_and_those_of_a_network_in_its_row() {
    assert_eq!(
        changes(SHOP, &SHOP.replace("spoofing: allow", "spoofing: deny")),
        ["~ interface  interface 12 is tap/eth0 in front with 02:00:00:00:00:30, learning"]
    );
    assert_eq!(
        changes(SHOP, &SHOP.replace("learning: true, ", "")),
        [
            "~ network    front (vni 100): 2 ports in list cb33f013, unknown unicast dropped, ageing 300s",
            "~ interface  interface 12 is tap/eth0 in front with 02:00:00:00:00:30, may spoof",
        ]
    );
    assert_eq!(
        changes(SHOP, &SHOP.replace("ageing: 7", "ageing: 8")),
        [
            "~ network    back (vni 200): 2 ports in list 40a6df25, unknown unicast flooded, ageing 8s"
        ]
    );
    // The MTU and the routes of a port are the link's.
    let inside = SHOP
        .replace("1400", "1300")
        .replace("via: 10.1.0.1 ", "via: 10.1.0.2 ");
    assert_eq!(changes(SHOP, &inside), [""; 0]);
    assert_ne!(plan(SHOP).links, plan(&inside).links);
}

#[test]
fn a_port_that_moves_to_another_network_keeps_its_interface() {
    let moved = SHOP.replace(
        "network: back, addresses: 10.2.0.20,",
        "network: front, addresses: 10.1.0.20,",
    );
    assert_eq!(
        changes(SHOP, &moved),
        [
            "+ neighbor   front: 10.1.0.20 is 02:00:00:00:00:20 at db/lan",
            "+ neighbor   front: fe80::ff:fe00:20 is 02:00:00:00:00:20 at db/lan",
            "+ fdb        front: 02:00:00:00:00:20 is at db/lan",
            "+ flood      list c6a18c8c[0]: web/eth1",
            "+ flood      list 6c37a9cf[0]: db/lan",
            "+ flood      list 6c37a9cf[1]: tap/eth0",
            "+ flood      list 6c37a9cf[2]: web/eth0",
            "~ network    front (vni 100): 3 ports in list 6c37a9cf, unknown unicast dropped, learning, ageing 300s",
            "~ network    back (vni 200): 1 port in list c6a18c8c, unknown unicast flooded, ageing 7s",
            "~ interface  interface 11 is db/lan in front with 02:00:00:00:00:20",
            "- flood      list cb33f013[0]: tap/eth0",
            "- flood      list cb33f013[1]: web/eth0",
            "- flood      list 40a6df25[0]: db/lan",
            "- flood      list 40a6df25[1]: web/eth1",
            "- fdb        back: 02:00:00:00:00:20 is at db/lan",
            "- neighbor   back: 10.2.0.20 is 02:00:00:00:00:20 at db/lan",
            "- neighbor   back: fe80::ff:fe00:20 is 02:00:00:00:00:20 at db/lan",
        ]
    );
}
