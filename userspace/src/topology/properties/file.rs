//! Valid files.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::{policy, router};

/// What a generated port has: the network, how many of its features are given.
type PortSeed = (Index, u8, Option<u16>);

/// A valid file in long form.
pub(super) fn valid() -> impl Strategy<Value = Value> {
    let network = (any::<bool>(), proptest::option::of(1280..=9000_u32));
    let workload = vec(
        (
            any::<Index>(),
            any::<u8>(),
            proptest::option::of(1280..=1300_u16),
        ),
        0..4,
    );
    let names = btree_set("[a-z][a-z0-9_.-]{0,6}", 1..5);
    (
        names,
        vec(network, 5),
        btree_set("[A-Za-z0-9][a-z0-9-]{0,6}", 0..6),
        vec(workload, 6),
        vec(any::<u8>(), 0..4),
        vec(any::<policy::RuleSeed>(), 0..8),
    )
        .prop_map(|(names, networks, workloads, ports, routers, rules)| {
            let names: Vec<String> = names.into_iter().collect();
            let mut file = json!({ "version": 1, "name": "gen", "networks": {}, "routers": {}, "workloads": {}, "groups": {}, "chains": {}, "policies": {} });
            for (i, (name, (ipv6, mtu))) in names.iter().zip(networks).enumerate() {
                let mut subnets = vec![format!("10.{i}.0.0/16")];
                subnets.extend(ipv6.then(|| format!("fd00:{:x}::/64", i + 1)));
                let mut network = json!({ "subnets": subnets });
                if let Some(mtu) = mtu {
                    network["mtu"] = json!(mtu);
                    network["ageing"] = json!(mtu);
                    network["mss"] = json!(if mtu % 3 == 0 { "keep" } else { "clamp" });
                    network["internal"] = json!(mtu % 2 == 0);
                    network["docker"] = json!(mtu % 5 == 0);
                }
                file["networks"][name] = network;
            }
            router::add(&mut file, &names, &routers);
            policy::add(&mut file, &rules);
            let mut host = 0;
            for (workload, seeds) in workloads.into_iter().zip(ports) {
                let ports = seeds.iter().enumerate();
                let ports: Vec<Value> = ports
                    .map(|(i, seed)| valid_port(i, seed, &names, &mut host))
                    .collect();
                file["workloads"][workload] = json!({ "ports": ports });
            }
            file
        })
}

fn valid_port(position: usize, seed: &PortSeed, names: &[String], host: &mut u8) -> Value {
    let (index, features, mtu) = seed;
    let network = index.index(names.len());
    *host += 1;
    let mut port = json!({ "network": names[network] });
    if features & 1 != 0 {
        port["addresses"] = json!([format!("10.{network}.1.{host}")]);
    }
    if features & 3 == 3 && position == 0 {
        port["routes"] = json!([{ "to": "default", "via": format!("10.{network}.0.1") }]);
    }
    if features & 4 != 0 {
        port["mac"] = json!(format!("02:00:00:00:00:{host:02x}"));
    }
    if features & 8 != 0 {
        port["interface"] = json!(format!("net{position}"));
    }
    if features & 16 != 0 {
        port["learning"] = json!(true);
    }
    if features & 32 != 0 {
        port["gateway"] = json!(false);
    }
    let groups: Vec<&str> = policy::GROUPS
        .into_iter()
        .skip(usize::from(features >> 6))
        .collect();
    if !groups.is_empty() {
        port["groups"] = json!(groups);
    }
    if let Some(mtu) = mtu {
        port["mtu"] = json!(mtu.min(&1280));
    }
    port
}

/// The same file with short forms where there is nothing to say.
pub(super) fn shortened(mut file: Value) -> Value {
    for network in file["networks"].as_object_mut().unwrap().values_mut() {
        if network.as_object().unwrap().len() == 1 {
            let mut subnets = network["subnets"].take();
            let alone = subnets.as_array().unwrap().len() == 1;
            *network = if alone { subnets[0].take() } else { subnets };
        }
    }
    for router in file["routers"].as_object_mut().unwrap().values_mut() {
        for port in router["ports"].as_object_mut().unwrap().values_mut() {
            if port.as_object().unwrap().len() == 1 {
                let mut addresses = port["addresses"].take();
                let alone = addresses.as_array().unwrap().len() == 1;
                *port = if alone {
                    addresses[0].take()
                } else {
                    addresses
                };
            }
        }
        for route in router["routes"].as_array_mut().unwrap() {
            if route["via"].as_array().unwrap().len() == 1 {
                route["via"] = route["via"][0].take();
            }
        }
    }
    policy::shorten(&mut file);
    for workload in file["workloads"].as_object_mut().unwrap().values_mut() {
        for port in workload["ports"].as_array_mut().unwrap() {
            if port.as_object().unwrap().len() == 1 {
                *port = port["network"].take();
            } else if port["addresses"].is_array() {
                port["addresses"] = port["addresses"][0].take();
            }
        }
    }
    file
}
