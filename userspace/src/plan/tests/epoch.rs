//! Epochs: a change ends those of the networks that it concerns, and no others.

use std::collections::BTreeSet;

use maps_schema::Vni;
use maps_schema::plain::from_bytes;

use super::*;

/// Two networks that a router joins, and one apart.
const PARTS: &str = "\
networks:
  front: { subnets: 10.1.0.0/24, vni: 100 }
  back: { subnets: 10.2.0.0/24, vni: 200 }
  apart: { subnets: 10.3.0.0/24, vni: 300 }
routers:
  core: { ports: { front: 10.1.0.1, back: 10.2.0.1 } }
workloads:
  web: { ports: [{ network: front, addresses: 10.1.0.10 }] }
  db: { ports: [{ network: back, addresses: 10.2.0.20 }] }
  lone: { ports: [{ network: apart, addresses: 10.3.0.30 }] }
";

fn epochs(text: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
    tables(&plan(text))[&MapName::Epochs].clone()
}

/// The networks whose flows are walked anew.
fn ended(from: &str, to: &str) -> BTreeSet<u32> {
    let (from, to) = (epochs(from), epochs(to));
    let ended = from
        .iter()
        .filter(|(vni, epoch)| to.get(*vni) != Some(epoch));
    ended
        .map(|(vni, _)| from_bytes::<Vni>(vni).unwrap().number())
        .collect()
}

#[test]
fn what_depends_on_nothing_that_changed_goes_on() {
    for (old, new) in [
        ("10.2.0.20", "10.2.0.21"),
        (
            "core: { ports",
            "core: { routes: [{ to: 10.9.0.0/16, via: 10.2.0.20 }], ports",
        ),
        ("back, addresses", "back, learning: true, addresses"),
        ("vni: 200", "ageing: 9, vni: 200"),
    ] {
        let changed = PARTS.replace(old, new);
        assert_ne!(changed, PARTS);
        assert_eq!(ended(PARTS, &changed), [100, 200].into(), "{new}");
        // What is changed back is as it was.
        assert_eq!(ended(PARTS, PARTS), [].into());
    }
    let changed = PARTS.replace("10.3.0.30", "10.3.0.31");
    assert_eq!(ended(PARTS, &changed), [300].into());
    let commented = format!("# nothing\n{PARTS}");
    assert_eq!(ended(PARTS, &commented), [].into());
}

#[test]
fn networks_that_are_joined_share_an_epoch() {
    let epochs = epochs(PARTS);
    let of = |vni: u32| &epochs[bytes_of(&Vni::new(vni).unwrap())];
    assert_eq!(of(100), of(200));
    assert_ne!(of(100), of(300));
    // A router that joins the third ends all epochs.
    let joined = PARTS.replace("back: 10.2.0.1 }", "back: 10.2.0.1, apart: 10.3.0.1 }");
    assert_eq!(ended(PARTS, &joined), [100, 200, 300].into());
}
