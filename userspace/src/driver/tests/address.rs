//! Which addresses are given.

use serde_json::json;

use super::super::UNCLAIMED_SECONDS;
use super::{Stage, id};

const SUBNET: &str = "10.90.0.0/29";

fn stage() -> Stage {
    let mut stage = Stage::empty();
    stage
        .create(&id(1), &[SUBNET], &json!({}), &json!({}))
        .unwrap();
    stage
}

#[test]
fn what_was_given_back_comes_last() {
    let mut stage = stage();
    // The gateway has .1.
    let mut given: Vec<String> = (0..3).map(|_| stage.address(SUBNET, "").unwrap()).collect();
    assert_eq!(given, ["10.90.0.2/29", "10.90.0.3/29", "10.90.0.4/29"]);
    for (address, seconds) in [(&given[1], 1), (&given[0], 2)] {
        stage.now += seconds;
        stage.release(SUBNET, address);
    }
    given = (0..4).map(|_| stage.address(SUBNET, "").unwrap()).collect();
    let expected = [
        "10.90.0.5/29",
        "10.90.0.6/29",
        "10.90.0.3/29",
        "10.90.0.2/29",
    ];
    assert_eq!(given, expected);
    let refusal = stage.address(SUBNET, "").unwrap_err();
    assert_eq!(
        refusal,
        "subnet 10.90.0.0/29 has no free address left: of the 6 that this host may give, 5 are held by \
         containers"
    );
}

#[test]
fn a_container_gets_the_address_that_it_had() {
    let mut stage = stage();
    let ask = |stage: &mut Stage, name: &str| {
        let pool = stage.records.pools.keys().next().unwrap().clone();
        let body = json!({
            "PoolID": pool,
            "Options": { "com.docker.network.endpoint.name": name },
        });
        let answer = stage.ask("IpamDriver.RequestAddress", &body).unwrap();
        answer["Address"].as_str().unwrap().to_owned()
    };
    let (web, db) = (ask(&mut stage, "web"), ask(&mut stage, "db"));
    for address in [&web, &db] {
        stage.release(SUBNET, address);
    }
    assert_eq!(ask(&mut stage, "db"), db);
    assert_eq!(ask(&mut stage, "other"), "10.90.0.4/29");
    assert_eq!(ask(&mut stage, "web"), web);
}

#[test]
fn an_address_that_nobody_came_with_is_free_again() {
    let mut stage = stage();
    let first = stage.address(SUBNET, "10.90.0.6").unwrap();
    // The answer may have got lost: the same request is answered in the same way.
    assert_eq!(stage.address(SUBNET, "10.90.0.6").unwrap(), first);
    for _ in 0..4 {
        stage.address(SUBNET, "").unwrap();
    }
    assert!(stage.address(SUBNET, "").is_err());
    stage.now += UNCLAIMED_SECONDS;
    stage.address(SUBNET, "").unwrap();
}

#[test]
fn who_has_an_address_is_named() {
    let mut stage = stage();
    let address = stage.address(SUBNET, "10.90.0.4").unwrap();
    stage
        .plug(&id(1), &id(7), &json!({ "Address": address }))
        .unwrap();
    let refusal = stage.address(SUBNET, "10.90.0.4").unwrap_err();
    let expected = format!(
        "address 10.90.0.4 of subnet 10.90.0.0/29 is taken: endpoint {} has it",
        &id(7)[..12]
    );
    assert_eq!(refusal, expected);
    stage.records.endpoints.get_mut(&id(7)).unwrap().label = Some("web".to_owned());
    let refusal = stage.address(SUBNET, "10.90.0.4").unwrap_err();
    assert!(refusal.ends_with("container web has it"), "{refusal}");
    // What follows the refusal does not take it from the one who has it.
    stage.release(SUBNET, "10.90.0.4");
    assert!(stage.address(SUBNET, "10.90.0.4").is_err());
    for (wanted, part) in [
        ("10.90.0.1", "the gateway has it"),
        ("10.90.0.7", "no station can have 10.90.0.7"),
        ("10.91.0.1", "is not in subnet 10.90.0.0/29"),
        ("x", "`x` is no address"),
    ] {
        let refusal = stage.address(SUBNET, wanted).unwrap_err();
        assert!(refusal.contains(part), "{refusal}");
    }
}

#[test]
fn hosts_give_different_addresses_of_what_they_share() {
    let (mut alpha, mut beta) = (Stage::with_file("alpha"), Stage::with_file("beta"));
    let mut given = Vec::new();
    for stage in [&mut alpha, &mut beta] {
        let ipam = json!({ "net": "front" });
        stage
            .create(&id(1), &["v4", "v6"], &json!({}), &ipam)
            .unwrap();
        while let Ok(address) = stage.address("10.77.0.0/24", "") {
            given.push(address);
        }
        let refusal = stage.address("10.77.0.0/24", "").unwrap_err();
        let part = "network front (10.77.0.0/24) has no free address left";
        assert!(refusal.contains(part), "{refusal}");
        assert!(stage.address("fd00:77::/64", "").is_ok());
    }
    // All of them but those of the router and of the workload in the file.
    let count = given.len();
    given.sort();
    given.dedup();
    assert_eq!((given.len(), count), (252, 252));
}

#[test]
fn what_a_file_declares_is_not_given() {
    let mut stage = Stage::with_file("alpha");
    let ipam = json!({ "net": "front" });
    stage.create(&id(1), &["v4"], &json!({}), &ipam).unwrap();
    for (wanted, holder) in [
        ("10.77.0.10", "workload web (shop) has it"),
        ("10.77.0.1", "router core has it"),
    ] {
        let refusal = stage.address("10.77.0.0/24", wanted).unwrap_err();
        assert!(refusal.ends_with(holder), "{refusal}");
    }
}

#[test]
fn subnets_that_overlap_name_their_owner() {
    let mut stage = Stage::with_file("alpha");
    stage
        .create(&id(1), &["10.90.0.0/24"], &json!({}), &json!({}))
        .unwrap();
    stage.records.networks.get_mut(&id(1)).unwrap().label = Some("own".to_owned());
    for (subnet, part) in [
        (
            "10.77.0.0/16",
            "overlaps network front (10.77.0.0/24) of source shop",
        ),
        ("10.90.0.128/25", "overlaps network own (10.90.0.0/24)"),
        ("10.77.0.0/24", "say `-o net=front`"),
    ] {
        let refusal = stage.create(&id(2), &[subnet], &json!({}), &json!({}));
        let refusal = refusal.unwrap_err();
        assert!(refusal.contains(part), "{refusal}");
    }
}

#[test]
fn subnets_that_nobody_named_are_all_different() {
    let mut stage = Stage::empty();
    for number in 0..3 {
        let options = json!({});
        stage
            .create(&id(number), &["v4", "v6"], &options, &options)
            .unwrap();
    }
    let networks = stage.records.networks.values();
    let mut subnets: Vec<String> = networks
        .flat_map(|network| &network.subnets)
        .map(|subnet| subnet.subnet.to_string())
        .collect();
    subnets.sort();
    subnets.dedup();
    assert_eq!(subnets.len(), 6, "{subnets:?}");
}
