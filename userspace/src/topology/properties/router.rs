//! Routers of valid files, and what holds for all routers.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::file::valid;
use super::{RouteTarget, compiled};

/// Adds a router for each seed. Each is on some of the networks and linked with the next one, to
/// which its default route leads, so that there are no loops.
pub(super) fn add(file: &mut Value, networks: &[String], seeds: &[u8]) {
    for (i, seed) in seeds.iter().enumerate() {
        let mut ports = serde_json::Map::new();
        let mut routes = Vec::new();
        for (n, network) in networks.iter().enumerate() {
            if seed >> n & 1 == 0 {
                continue;
            }
            let mut addresses = vec![format!("10.{n}.2.{}", i + 1)];
            let subnets = file["networks"][network]["subnets"].as_array();
            if subnets.is_some_and(|subnets| subnets.len() > 1) {
                addresses.push(format!("fd00:{:x}::2:{:x}", n + 1, i + 1));
            }
            ports.insert(network.clone(), json!({ "addresses": addresses }));
            let hops = [1, 2].map(|host| format!("10.{n}.3.{host}"));
            routes.push(json!({ "to": format!("10.200.{n}.0/24"), "via": hops }));
            routes
                .push(json!({ "to": format!("10.200.{n}.0/24"), "via": ["reject"], "metric": 7 }));
            routes.push(json!({ "to": format!("10.201.{n}.0/24"), "via": [network] }));
        }
        if i > 0 {
            let peer = format!("router_{}/Up", i - 1);
            let addresses = [format!("192.0.2.{}/30", 4 * i - 2)];
            ports.insert(
                "Down".to_owned(),
                json!({ "peer": peer, "addresses": addresses }),
            );
        }
        if i + 1 < seeds.len() {
            let peer = format!("router_{}", i + 1);
            let addresses = [format!("192.0.2.{}/30", 4 * i + 1)];
            ports.insert(
                "Up".to_owned(),
                json!({ "peer": peer, "addresses": addresses }),
            );
            routes.push(json!({ "to": "default", "via": ["Up"] }));
        }
        let mut router = json!({ "ports": ports, "routes": routes });
        if seed & 32 != 0 {
            router["uplink"] = json!(true);
            router["nat"] = json!([
                { "floating": format!("198.51.100.{i}"), "to": format!("10.9.0.{i}") },
                { "snat": ["10.0.1.0/24"], "to": "203.0.113.4-203.0.113.7" },
                { "masquerade": ["10.0.0.0/8", "fd00::/8"] },
            ]);
        }
        file["routers"][format!("router_{i}")] = router;
    }
}

proptest! {
    #[test]
    fn every_route_leads_somewhere(file in valid()) {
        let topology = compiled(&file, false);
        for router in topology.routers.values() {
            let destinations: Vec<_> = router.routes.iter().map(|route| route.to).collect();
            let distinct: BTreeSet<_> = destinations.iter().copied().collect();
            prop_assert_eq!(&destinations, &distinct.into_iter().collect::<Vec<_>>());
            for (name, port) in &router.ports {
                prop_assert!(topology.networks.contains_key(&port.network));
                for address in &port.addresses {
                    let own = router.routes.iter().find(|route| route.to == address.trunc()).unwrap();
                    let RouteTarget::Forward(hops) = &own.target else { panic!("{own:?}") };
                    prop_assert_eq!((&hops[0].port, hops[0].via, own.metric), (name, None, 0));
                }
            }
            for route in &router.routes {
                prop_assert_eq!(route.to, route.to.trunc());
                let RouteTarget::Forward(hops) = &route.target else { continue };
                prop_assert!(!hops.is_empty());
                let distinct: BTreeSet<_> = hops.iter().collect();
                prop_assert_eq!(distinct.len(), hops.len());
                for hop in hops {
                    let port = &router.ports[&hop.port];
                    if let Some(via) = hop.via {
                        prop_assert_eq!(via.is_ipv4(), route.to.addr().is_ipv4());
                        prop_assert!(port.addresses.iter().any(|own| own.contains(&via)));
                        prop_assert!(port.addresses.iter().all(|own| own.addr() != via));
                    }
                }
            }
        }
    }

    #[test]
    fn workloads_have_one_default_route_at_most(file in valid()) {
        let topology = compiled(&file, false);
        let mut defaults = BTreeSet::new();
        for (name, port) in &topology.ports {
            for route in port.routes.iter().filter(|route| route.to.prefix_len() == 0) {
                prop_assert!(defaults.insert((&name.workload, route.to)));
                prop_assert!(port.addresses.iter().any(|own| own.contains(&route.via)));
            }
        }
    }
}
