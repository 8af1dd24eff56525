//! The addresses that are recorded are looked through, and given back.

use std::net::IpAddr;

use serde_json::json;

use super::super::UNCLAIMED_SECONDS;
use super::super::records::Holder;
use super::{Stage, id};

fn stage() -> Stage {
    let mut stage = Stage::with_file("alpha");
    let options = json!({ "net": "front" });
    stage
        .create(&id(0), &["10.77.0.0/24"], &options, &json!({}))
        .unwrap();
    let interface = json!({ "Address": stage.address("10.77.0.0/24", "10.77.0.9").unwrap() });
    stage.plug(&id(0), &id(1), &interface).unwrap();
    stage
}

#[test]
fn leaks_and_doubles_are_found() {
    let mut stage = stage();
    assert_eq!(stage.records.check(&stage.world), Vec::<String>::new());
    let (key, lease) = stage.records.leases.iter().next_back().unwrap();
    let (key, lease) = (key.clone(), lease.clone());
    assert_eq!(lease.holder, Holder::Endpoint(id(1)));
    stage.records.leases.remove(&key);
    let wrong = stage.records.check(&stage.world);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(wrong[0].ends_with("has 10.77.0.9, which is not held for it"));
    stage.records.leases.insert(key, lease);
    // The same again under another id.
    let twin = stage.records.endpoints[&id(1)].clone();
    stage.records.endpoints.insert(id(2), twin);
    let wrong = stage.records.check(&stage.world).join("; ");
    assert!(
        wrong.contains("both have 10.77.0.9 on network front"),
        "{wrong}"
    );
    stage.records.endpoints.clear();
    let wrong = stage.records.check(&stage.world);
    assert_eq!(
        wrong,
        ["10.77.0.9 of network front (10.77.0.0/24) is held, and nobody has it"]
    );
    // What was found can be given back.
    let ip = IpAddr::from([10, 77, 0, 9]);
    stage.records.release(ip, stage.now).unwrap();
    assert_eq!(stage.records.check(&stage.world), Vec::<String>::new());
    stage.records.networks.clear();
    stage.records.pools.clear();
    assert_eq!(stage.records.check(&stage.world).len(), 1);
    stage
        .records
        .release(IpAddr::from([10, 77, 0, 1]), stage.now)
        .unwrap();
    assert!(stage.records.leases.is_empty());
}

#[test]
fn only_what_nobody_has_is_released() {
    let mut stage = stage();
    let ip = |last: u8| IpAddr::from([10, 77, 0, last]);
    let release = |stage: &mut Stage, last| {
        let now = stage.now;
        stage.records.release(ip(last), now).map_err(|it| it.0)
    };
    assert!(release(&mut stage, 9).unwrap_err().contains("is in use"));
    assert!(
        release(&mut stage, 1)
            .unwrap_err()
            .contains("the gateway has it")
    );
    assert!(release(&mut stage, 77).unwrap_err().contains("to nobody"));
    stage.address("10.77.0.0/24", "10.77.0.20").unwrap();
    let young = release(&mut stage, 20).unwrap_err();
    assert!(young.contains("has just been given to Docker"), "{young}");
    stage.now += UNCLAIMED_SECONDS;
    release(&mut stage, 20).unwrap();
    stage.address("10.77.0.0/24", "10.77.0.21").unwrap();
    stage.release("10.77.0.0/24", "10.77.0.21/24");
    release(&mut stage, 21).unwrap();
    assert_eq!(stage.records.leases.len(), 2);
}
