//! Networks, and what is plugged in.

use serde_json::{Value, json};

use super::{Stage, id};

fn front(stage: &mut Stage) {
    let ipam = json!({ "net": "front" });
    stage
        .create(&id(1), &["v4", "v6"], &json!({}), &ipam)
        .unwrap();
}

#[test]
fn a_network_of_its_own_has_a_router_that_leads_out() {
    let mut stage = Stage::empty();
    stage
        .create(
            &id(1),
            &["10.90.0.0/24", "fd00:90::/64"],
            &json!({ "mtu": "1400", "conditions": "false" }),
            &json!({}),
        )
        .unwrap();
    let interface =
        json!({ "Address": "10.90.0.9/24", "AddressIPv6": "fd00:90::9/64", "MacAddress": "" });
    let answer = stage.plug(&id(1), &id(2), &interface).unwrap();
    assert_eq!(
        answer,
        json!({ "Interface": { "MacAddress": "02:64:0a:5a:00:09" } })
    );
    assert_eq!(
        stage.join(&id(1), &id(2)),
        json!({
            "InterfaceName": { "SrcName": format!("bc-{}", &id(2)[..9]), "DstPrefix": "eth" },
            "Gateway": "10.90.0.1",
            "GatewayIPv6": "fd00:90::1",
            "DisableGatewayService": false,
        })
    );
    let topology = stage.topology();
    let name = format!("docker-{}", &id(1)[..12]);
    assert_eq!(topology.networks[&name].mtu.bytes(1500), 1400);
    assert!(!topology.networks[&name].conditions);
    assert!(topology.routers[&name].uplink.is_some());
    let port = topology.ports.values().next().unwrap();
    assert_eq!(port.network, name);
}

#[test]
fn requests_that_are_repeated_are_answered_in_the_same_way() {
    let mut stage = Stage::empty();
    stage
        .create(&id(1), &["10.90.0.0/24"], &json!({}), &json!({}))
        .unwrap();
    let interface = json!({ "Address": "10.90.0.9/24" });
    let first = stage.plug(&id(1), &id(2), &interface).unwrap();
    let joined = stage.join(&id(1), &id(2));
    let before = stage.records.clone();
    assert_eq!(stage.plug(&id(1), &id(2), &interface).unwrap(), first);
    assert_eq!(stage.join(&id(1), &id(2)), joined);
    assert_eq!(stage.records, before);
    let given = json!({ "NetworkID": id(1), "EndpointID": id(2) });
    for method in [
        "Leave",
        "Leave",
        "DeleteEndpoint",
        "DeleteEndpoint",
        "RevokeExternalConnectivity",
    ] {
        let answer = stage.ask(&format!("NetworkDriver.{method}"), &given);
        assert_eq!(answer, Ok(json!({})));
    }
    for _ in 0..2 {
        let answer = stage.ask(
            "NetworkDriver.DeleteNetwork",
            &json!({ "NetworkID": id(1) }),
        );
        assert_eq!(answer, Ok(json!({})));
    }
    assert!(stage.records.is_empty());
}

#[test]
fn a_network_of_a_file_keeps_what_the_file_says() {
    let mut stage = Stage::with_file("alpha");
    front(&mut stage);
    let given = stage.address("10.77.0.0/24", "").unwrap();
    stage
        .plug(&id(1), &id(2), &json!({ "Address": given }))
        .unwrap();
    let joined = stage.join(&id(1), &id(2));
    assert_eq!(joined["Gateway"], "10.77.0.1");
    assert_eq!(joined["GatewayIPv6"], Value::Null);
    let topology = stage.topology();
    let on_front = topology
        .ports
        .values()
        .filter(|port| port.network == "front");
    assert_eq!(on_front.count(), 2);
    for options in [
        json!({ "net": "front", "mtu": "1400" }),
        json!({ "net": "front", "router": "core" }),
        json!({ "net": "front", "conditions": "false" }),
    ] {
        let refusal = stage
            .create(&id(3), &["10.77.0.0/24"], &options, &json!({}))
            .unwrap_err();
        assert!(
            refusal.contains("which source shop declares: say it there"),
            "{refusal}"
        );
    }
    // By its subnet and `-o net=` alone it works, too.
    stage
        .create(
            &id(3),
            &["10.77.0.0/24"],
            &json!({ "net": "front" }),
            &json!({}),
        )
        .unwrap();
    let taken = stage
        .plug(&id(3), &id(4), &json!({ "Address": given }))
        .unwrap_err();
    assert!(taken.contains("has it"), "{taken}");
}

#[test]
fn who_is_in_the_way_is_named() {
    let mut stage = Stage::with_file("alpha");
    front(&mut stage);
    let cases = [
        (
            json!({ "Address": "10.77.0.10/24" }),
            "workload web (shop) has it",
        ),
        (
            json!({ "Address": "10.99.0.10/24" }),
            "in none of the subnets of network front",
        ),
        (
            json!({ "Address": "10.77.0.20/24", "MacAddress": "02:00:00:00:00:10" }),
            "MAC address 02:00:00:00:00:10 is taken on network front: workload web (shop) has it",
        ),
        (
            json!({ "Address": "10.77.0.20/24", "MacAddress": "03:00:00:00:00:10" }),
            "no MAC address",
        ),
    ];
    for (interface, part) in cases {
        let refusal = stage.plug(&id(1), &id(2), &interface).unwrap_err();
        assert!(refusal.contains(part), "{refusal}");
    }
}

#[test]
fn docker_alone_cannot_give_addresses_that_hosts_share() {
    let mut stage = Stage::with_file("alpha");
    let body = json!({
        "NetworkID": id(1),
        "Options": { "com.docker.network.generic": { "net": "front" } },
        "IPv4Data": [{ "AddressSpace": "LocalDefault", "Pool": "10.77.0.0/24", "Gateway": "10.77.0.1/24" }],
    });
    let refusal = stage.ask("NetworkDriver.CreateNetwork", &body).unwrap_err();
    assert!(
        refusal.contains("--ipam-driver bowline --ipam-opt net=front"),
        "{refusal}"
    );
}

#[test]
fn options_are_checked_against_what_is_loaded() {
    let mut stage = Stage::with_file("alpha");
    for (options, part) in [
        (
            json!({ "net": "fornt" }),
            "no loaded file declares network `fornt`: did you mean `front`?",
        ),
        (
            json!({ "router": "cor" }),
            "no loaded file declares this router: did you mean `core`?",
        ),
        (json!({ "policy": "strikt" }), "did you mean `strict`?"),
        (
            json!({ "mtuu": "1400" }),
            "unknown option `-o mtuu`: did you mean `mtu`?",
        ),
        (
            json!({ "conditions": "maybe" }),
            "`-o conditions=maybe` is not known",
        ),
    ] {
        let refusal = stage
            .create(&id(1), &["v4"], &options, &json!({}))
            .unwrap_err();
        assert!(refusal.contains(part), "{refusal}");
    }
    let options = json!({ "router": "core", "policy": "strict" });
    stage
        .create(&id(1), &["10.90.0.0/24"], &options, &json!({}))
        .unwrap();
    let topology = stage.topology();
    assert_eq!(topology.routers["core"].ports.len(), 2);
    assert_eq!(topology.routers.len(), 1);
}

#[test]
fn where_default_routes_lead_is_chosen() {
    for (options, internal, gateway, disabled) in [
        (json!({}), false, json!("10.90.0.1"), false),
        (json!({ "gateway": "gwbridge" }), false, Value::Null, false),
        (json!({ "gateway": "none" }), false, Value::Null, true),
        (json!({}), true, Value::Null, true),
    ] {
        let mut stage = Stage::empty();
        let body = json!({
            "NetworkID": id(1),
            "Options": { "com.docker.network.generic": options, "com.docker.network.internal": internal },
            "IPv4Data": [{ "AddressSpace": "LocalDefault", "Pool": "10.90.0.0/24", "Gateway": "10.90.0.1/24" }],
        });
        stage.ask("NetworkDriver.CreateNetwork", &body).unwrap();
        stage
            .plug(&id(1), &id(2), &json!({ "Address": "10.90.0.2/24" }))
            .unwrap();
        let joined = stage.join(&id(1), &id(2));
        assert_eq!(
            (&joined["Gateway"], &joined["DisableGatewayService"]),
            (&gateway, &json!(disabled))
        );
    }
}

#[test]
fn a_published_port_is_one_containers() {
    let mut stage = Stage::empty();
    stage
        .create(&id(1), &["10.90.0.0/24"], &json!({}), &json!({}))
        .unwrap();
    let publish = |stage: &mut Stage, endpoint: u64, ports: Value| {
        let body = json!({
            "NetworkID": id(1),
            "EndpointID": id(endpoint),
            "Options": { "com.docker.network.portmap": ports },
        });
        stage.ask("NetworkDriver.ProgramExternalConnectivity", &body)
    };
    for number in [2, 3] {
        let address = format!("10.90.0.{number}/24");
        stage
            .plug(&id(1), &id(number), &json!({ "Address": address }))
            .unwrap();
    }
    let web = json!([{ "Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8080, "HostPortEnd": 8080 }]);
    publish(&mut stage, 2, web.clone()).unwrap();
    publish(&mut stage, 2, web.clone()).unwrap();
    let refusal = publish(&mut stage, 3, web.clone()).unwrap_err();
    let expected = format!(
        "port 8080/tcp is published already: endpoint {} has it",
        &id(2)[..12]
    );
    assert_eq!(refusal, expected);
    // Of a range, and of all ports, one that is free.
    let some = json!([
        { "Proto": 6, "Port": 80, "HostPort": 8080, "HostPortEnd": 8082 },
        { "Proto": 17, "Port": 53, "HostPort": 0, "HostPortEnd": 0 },
    ]);
    publish(&mut stage, 3, some).unwrap();
    let published = &stage.records.endpoints[&id(3)].published;
    let ports: Vec<u16> = published.iter().map(|it| it.host_port).collect();
    assert_eq!(ports, [8081, 32768]);
    let topology = stage.topology();
    let publish_count = topology
        .ports
        .values()
        .map(|port| port.publish.len())
        .sum::<usize>();
    assert_eq!(publish_count, 3);
    let given = json!({ "NetworkID": id(1), "EndpointID": id(2) });
    stage
        .ask("NetworkDriver.RevokeExternalConnectivity", &given)
        .unwrap();
    publish(&mut stage, 3, web).unwrap();
}
