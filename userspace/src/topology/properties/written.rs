//! The way back from a document to what it was read from.

use ipnet::IpNet;
use serde_json::{Value, json};

use crate::document::{
    Address, Destination, Document, Gateway, Hop, Located, Member, Mtu, Party, Policy,
    PolicyDefault, Port, Router, Rule, Translation, Verb,
};
use crate::topology::{Direction, Mss, Services};

/// A document as the value that it was read from, in long form.
pub(super) fn written(document: &Document) -> Value {
    let networks = document.networks.iter().map(|(name, network)| {
        let subnets: Vec<String> = network
            .subnets
            .iter()
            .map(|s| s.value.to_string())
            .collect();
        let mut value = json!({ "subnets": subnets });
        put(&mut value, "internal", network.internal.as_ref(), |on| {
            json!(on)
        });
        put(&mut value, "docker", network.docker.as_ref(), |on| {
            json!(on)
        });
        put(&mut value, "vni", network.vni.as_ref(), |vni| json!(vni));
        put(&mut value, "mtu", network.mtu.as_ref(), |mtu| match mtu {
            Mtu::Auto => json!("auto"),
            Mtu::Bytes(bytes) => json!(bytes),
        });
        put(&mut value, "mss", network.mss.as_ref(), |mss| match mss {
            Mss::Keep => json!("keep"),
            Mss::Clamp => json!("clamp"),
        });
        put(&mut value, "ageing", network.ageing.as_ref(), |age| {
            json!(age.as_secs())
        });
        put(&mut value, "policy", network.policy.as_ref(), |name| {
            json!(name)
        });
        (name.clone(), value)
    });
    let workloads = document.workloads.iter().map(|(name, workload)| {
        let ports: Vec<Value> = workload.ports.iter().map(written_port).collect();
        let mut value = json!({ "ports": ports });
        put(
            &mut value,
            "container",
            workload.container.as_ref(),
            |name| json!(name),
        );
        put(&mut value, "netns", workload.netns.as_ref(), |name| {
            json!(name)
        });
        put(&mut value, "endpoint", workload.endpoint.as_ref(), |id| {
            json!(id)
        });
        put(&mut value, "pid", workload.pid.as_ref(), |pid| json!(pid));
        (name.clone(), value)
    });
    let routers = document.routers.iter();
    let routers: serde_json::Map<String, Value> = routers
        .map(|(name, router)| (name.clone(), written_router(router)))
        .collect();
    let networks: serde_json::Map<String, Value> = networks.collect();
    let workloads: serde_json::Map<String, Value> = workloads.collect();
    let groups = document.groups.iter().map(|(name, group)| {
        let addresses: Vec<Value> = group
            .addresses
            .iter()
            .map(|it| written_address(it))
            .collect();
        (name.clone(), json!({ "addresses": addresses }))
    });
    let groups: serde_json::Map<String, Value> = groups.collect();
    let chains = document.chains.iter();
    let chains = chains.map(|(name, chain)| (name.clone(), written_rules(chain)));
    let chains: serde_json::Map<String, Value> = chains.collect();
    let policies = document.policies.iter();
    let policies = policies.map(|(name, policy)| (name.clone(), written_policy(policy)));
    let policies: serde_json::Map<String, Value> = policies.collect();
    json!({
        "version": document.version,
        "name": document.name.value,
        "networks": networks,
        "routers": routers,
        "workloads": workloads,
        "groups": groups,
        "chains": chains,
        "policies": policies,
    })
}

fn written_translation(translation: &Translation) -> Value {
    let texts = |sources: &[Located<IpNet>]| {
        let texts = sources.iter().map(|source| source.value.to_string());
        texts.collect::<Vec<_>>()
    };
    match translation {
        Translation::MasqueradeAll => json!({ "masquerade": true }),
        Translation::Masquerade(sources) => json!({ "masquerade": texts(sources) }),
        Translation::Source(sources, pool) => {
            json!({ "snat": texts(sources), "to": pool.value.to_string() })
        }
        Translation::Floating { outside, inside } => {
            json!({ "floating": outside.value, "to": inside.value })
        }
    }
}

fn written_policy(policy: &Policy) -> Value {
    let mut value = json!({});
    for direction in Direction::ALL {
        if let Some(rules) = policy.list(direction) {
            value[direction.word()] = written_rules(rules);
        }
    }
    match &policy.default {
        None => {}
        Some(PolicyDefault::All(action)) => value["default"] = json!(action.word()),
        Some(PolicyDefault::Each(actions)) => {
            for direction in Direction::ALL {
                if let Some(action) = actions.of(direction) {
                    value["default"][direction.word()] = json!(action.word());
                }
            }
        }
    }
    value
}

fn written_rules(rules: &[Rule]) -> Value {
    let rules = rules.iter().map(|rule| {
        let mut value = json!({});
        for (key, party) in [("from", &rule.from), ("to", &rule.to)] {
            if let Party::Of(members) = party {
                let members = members.iter().map(|member| match &member.value {
                    Member::Group(name) => json!(name),
                    Member::Address(address) => written_address(address),
                });
                value[key] = members.collect();
            }
        }
        let services: Vec<String> = match &rule.services {
            Services::Any => vec!["any".to_owned()],
            Services::Of(services) => services.iter().map(ToString::to_string).collect(),
        };
        match &rule.verb {
            Verb::Decide(action) => value[action.word()] = json!(services),
            Verb::Return => value["return"] = json!(services),
            Verb::Jump(chain) => {
                value["jump"] = json!(chain.value);
                if rule.services != Services::Any {
                    value["services"] = json!(services);
                }
            }
        }
        value
    });
    rules.collect()
}

fn written_address(address: &Address) -> Value {
    match address.prefix_len {
        Some(len) => json!(format!("{}/{len}", address.ip)),
        None => json!(address.ip.to_string()),
    }
}

fn written_router(router: &Router) -> Value {
    let ports = router.ports.iter().map(|(name, port)| {
        let addresses = port
            .addresses
            .iter()
            .map(|address| written_address(address));
        let addresses: Vec<Value> = addresses.collect();
        let mut value = json!({ "addresses": addresses });
        put(&mut value, "peer", port.peer.as_ref(), |peer| {
            let port = peer.port.as_deref().map(|port| format!("/{port}"));
            json!(format!("{}{}", peer.router, port.unwrap_or_default()))
        });
        put(&mut value, "mac", port.mac.as_ref(), |mac| {
            json!(mac.to_string())
        });
        put(&mut value, "mtu", port.mtu.as_ref(), |mtu| json!(mtu));
        (name.clone(), value)
    });
    let ports: serde_json::Map<String, Value> = ports.collect();
    let policy = router.policy.as_ref();
    let routes = router.routes.iter().map(|route| {
        let via = route.via.iter().map(|hop| written_hop(&hop.value));
        let via: Vec<String> = via.collect();
        let mut value = json!({ "to": written_destination(route.to.value), "via": via });
        put(&mut value, "metric", route.metric.as_ref(), |metric| {
            json!(metric)
        });
        value
    });
    let routes: Vec<Value> = routes.collect();
    let mut value = json!({ "ports": ports, "routes": routes });
    put(&mut value, "policy", policy, |name| json!(name));
    if router.uplink.is_some() {
        value["uplink"] = json!(true);
        let nat = router.nat.iter().map(|nat| &nat.translation);
        value["nat"] = nat.map(written_translation).collect();
    }
    value
}

fn written_hop(hop: &Hop) -> String {
    match hop {
        Hop::Address(ip) => ip.to_string(),
        Hop::Name(name) => name.clone(),
    }
}

fn written_destination(to: Destination) -> String {
    match to {
        Destination::Default => "default".to_owned(),
        Destination::Prefix(to) => to.to_string(),
    }
}

fn written_port(port: &Port) -> Value {
    let addresses: Vec<String> = port.addresses.iter().map(|a| a.ip.to_string()).collect();
    let routes: Vec<Value> = port
        .routes
        .iter()
        .map(|route| {
            let to = written_destination(route.to.value);
            json!({ "to": to, "via": route.via.value.to_string() })
        })
        .collect();
    let mut value = json!({ "network": port.network.value });
    if !addresses.is_empty() {
        value["addresses"] = json!(addresses);
    }
    if !routes.is_empty() {
        value["routes"] = json!(routes);
    }
    if !port.groups.is_empty() {
        let groups = port.groups.iter().map(|group| json!(group.value));
        value["groups"] = groups.collect();
    }
    put(&mut value, "interface", port.interface.as_ref(), |name| {
        json!(name)
    });
    put(&mut value, "mac", port.mac.as_ref(), |mac| {
        json!(mac.to_string())
    });
    put(&mut value, "mtu", port.mtu.as_ref(), |mtu| json!(mtu));
    put(
        &mut value,
        "gateway",
        port.gateway.as_ref(),
        |gateway| match gateway {
            Gateway::Off => json!(false),
            Gateway::Chosen(hops) => {
                let hops = hops.iter().map(|hop| written_hop(&hop.value));
                json!(hops.collect::<Vec<_>>())
            }
        },
    );
    put(&mut value, "learning", port.learning.as_ref(), |on| {
        json!(on)
    });
    value
}

fn put<T>(to: &mut Value, key: &str, from: Option<&Located<T>>, write: impl FnOnce(&T) -> Value) {
    if let Some(from) = from {
        to[key] = write(&from.value);
    }
}
