//! Loops are found exactly where following the packets, one address after the other, finds them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::{compile, read};

/// Routers that are all on one network.
const N_ROUTERS: usize = 4;

/// A router's routes: prefixes of sixteen addresses, and the routers that are the next
/// hops; none means that the packets are dropped.
type Tables = Vec<BTreeMap<Ipv4Net, Vec<usize>>>;

fn prefix() -> impl Strategy<Value = Ipv4Net> {
    (0..16_u8, 28..=32_u8).prop_map(|(host, len)| {
        let address = Ipv4Addr::new(10, 9, 0, host);
        Ipv4Net::new(address, len).unwrap().trunc()
    })
}

fn tables() -> impl Strategy<Value = Tables> {
    let route = (prefix(), vec(0..N_ROUTERS, 0..3));
    vec(vec(route, 0..4), N_ROUTERS).prop_map(|tables| {
        let tables = tables.into_iter().enumerate();
        let table = tables.map(|(own, routes)| {
            let routes = routes.into_iter().map(|(to, mut hops)| {
                hops.sort_unstable();
                hops.dedup();
                hops.retain(|hop| *hop != own);
                (to, hops)
            });
            routes.collect()
        });
        table.collect()
    })
}

/// Whether a packet to this address can come back to a router on the path.
fn returns(tables: &Tables, to: Ipv4Addr, path: &mut Vec<usize>) -> bool {
    let routes = tables[*path.last().unwrap()].iter();
    let fitting = routes.filter(|(prefix, _)| prefix.contains(&to));
    let Some((_, hops)) = fitting.max_by_key(|(prefix, _)| prefix.prefix_len()) else {
        return false;
    };
    hops.iter().any(|&next| {
        if path.contains(&next) {
            return true;
        }
        path.push(next);
        let found = returns(tables, to, path);
        path.pop();
        found
    })
}

proptest! {
    #[test]
    fn loops_are_found_where_packets_find_them(tables in tables()) {
        let mut file = json!({ "version": 1, "name": "gen", "networks": { "n": { "subnets": ["10.1.0.0/24"] } }, "routers": {} });
        for (i, routes) in tables.iter().enumerate() {
            let routes: Vec<_> = routes
                .iter()
                .map(|(to, hops)| {
                    let via: Vec<String> = hops.iter().map(|hop| format!("10.1.0.{}", hop + 1)).collect();
                    let via = if via.is_empty() { json!("blackhole") } else { json!(via) };
                    json!({ "to": to.to_string(), "via": via })
                })
                .collect();
            let ports = json!({ "n": { "addresses": [format!("10.1.0.{}", i + 1)] } });
            file["routers"][format!("r{i}")] = json!({ "ports": ports, "routes": routes });
        }
        let expected = (0..16).any(|host| {
            let to = Ipv4Addr::new(10, 9, 0, host);
            (0..N_ROUTERS).any(|start| returns(&tables, to, &mut vec![start]))
        });
        match compile(&[read(&file, false)]) {
            Ok(_) => prop_assert!(!expected),
            Err(problems) => {
                prop_assert!(expected);
                for problem in problems {
                    prop_assert!(problem.message.contains("go round in a loop"), "{}", problem);
                    prop_assert!(problem.labels.len() >= 2);
                }
            }
        }
    }
}
