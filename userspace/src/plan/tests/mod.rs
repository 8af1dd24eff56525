//! What a topology becomes in the kernel, row by row.

mod change;
mod epoch;
mod hosts;
mod row;

use std::collections::BTreeMap;

use maps_schema::plain::bytes_of;
use maps_schema::{Plain, Vni};

use super::*;
use crate::document::parse;
use crate::problem::listing::listing;
use crate::topology::compile;

/// Two networks with different settings, a workload that is in both, and one with stations behind it.
pub(crate) const SHOP: &str = "\
networks:
  front: { subnets: [10.1.0.0/24, 'fd00:1::/64'], vni: 100 }
  back: { subnets: 10.2.0.0/24, vni: 200, unknown_unicast: flood, ageing: 7 }
workloads:
  web:
    ports:
      - { network: front, addresses: [10.1.0.10, 'fd00:1::10'], mac: 02:00:00:00:00:10,
          routes: [{ to: default, via: 10.1.0.1 }], mtu: 1400 }
      - { network: back, addresses: 10.2.0.10, mac: 02:00:00:00:00:11 }
  db:
    ports:
      - { network: back, addresses: 10.2.0.20, mac: 02:00:00:00:00:20, interface: lan }
  tap:
    ports:
      - { network: front, mac: 02:00:00:00:00:30, learning: true, spoofing: allow }
";

/// The topology of a file below its first two lines.
pub(crate) fn topology(rest: &str) -> Topology {
    let text = format!("version: 1\nname: test\n{rest}");
    parse("test.yaml", &text)
        .and_then(|document| compile(&[document]))
        .unwrap_or_else(|problems| panic!("{text}\n{}", listing(&problems)))
}

/// The plan of a file whose workloads are there, but for those in `absent`.
pub(crate) fn plan_without(rest: &str, absent: &[&str]) -> Plan {
    let situation = Situation {
        absent: absent.iter().map(|&name| name.to_owned()).collect(),
        ..Situation::default()
    };
    let instance = Instance::new(None).unwrap();
    Plan::new(&topology(rest), &instance, &situation)
}

pub(crate) fn plan(rest: &str) -> Plan {
    plan_without(rest, &[])
}

/// Interfaces as a kernel could have numbered them: a port has the same one in every plan.
pub(crate) fn interfaces(plan: &Plan) -> BTreeMap<String, IfIndex> {
    let number = |planned: &PlannedLink| match planned.name.to_string().as_str() {
        "db/lan" => 11,
        "tap/eth0" => 12,
        "web/eth0" => 13,
        "web/eth1" => 14,
        "new/eth0" => 15,
        _ => planned.ingress.port.0,
    };
    plan.links
        .iter()
        .map(|(end, planned)| (end.clone(), IfIndex(number(planned))))
        .collect()
}

/// All rows once the links are there.
pub(crate) fn tables(plan: &Plan) -> Tables {
    plan.rows(&interfaces(plan))
}

/// Every row in words, map by map, but for epochs, which are numbers that say nothing.
fn described(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for (map, rows) in tables(plan) {
        if map == MapName::Epochs {
            continue;
        }
        for (key, value) in rows {
            let text = plan.names.describe(map, &key, &value);
            lines.push(format!("{}: {text}", map.symbol()));
        }
    }
    lines
}

fn has(tables: &Tables, map: MapName, key: &impl Plain) -> bool {
    tables[&map].contains_key(bytes_of(key))
}

fn vni(number: u32) -> Vni {
    Vni::new(number).unwrap()
}
