//! What the rows say, against a naive reading of the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use datapath::memory::{MemoryFrame, MemoryTables};
use datapath::policy::{self, Ruling, Subject, Workspace, judge};
use ipnet::IpNet;
use maps_schema::map::{Identity, IdentityKey, MapName};
use maps_schema::plain::from_bytes;
use maps_schema::{Ip, PolicyList};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::instance::Instance;
use crate::plan::tests::{interfaces, topology};
use crate::plan::{Plan, Situation};
use crate::source::Origin;
use crate::topology::{
    Action, Chain, Direction, Group, Party, Policy, PortRange, Rule, RuleList, Service, Services,
    Topology, Verb,
};
use crate::trace::{Observed, tables_of};

/// Two networks that a router joins, and one that has a subnet of theirs but nothing to do with them.
const NETWORKS: &str = "\
networks:
  front: [10.1.0.0/24, 'fd00:1::/64']
  back: 10.2.0.0/24
  apart: 10.1.0.0/24
routers: { core: { ports: { front: [10.1.0.1, 'fd00:1::1'], back: 10.2.0.1 } } }
workloads:
  a: { ports: [{ network: front, addresses: [10.1.0.10, 'fd00:1::10'] }] }
  b: { ports: [{ network: front, addresses: 10.1.0.11 }] }
  c: { ports: [{ network: back, addresses: 10.2.0.10 }] }
  d: { ports: [{ network: apart, addresses: 10.1.0.10 }] }
  e: { ports: [{ network: apart, addresses: 10.1.0.11 }] }
";

const GROUPS: [&str; 4] = ["g0", "g1", "g2", "g3"];
const CHAINS: [&str; 3] = ["c0", "c1", "c2"];
const PREFIXES: [&str; 8] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/24",
    "10.1.0.10/32",
    "192.0.2.0/24",
    "::/0",
    "fd00:1::/64",
    "fd00:1::10/128",
];
const ADDRESSES: [&str; 9] = [
    "10.1.0.10",
    "10.1.0.11",
    "10.1.0.12",
    "10.2.0.10",
    "10.9.0.1",
    "192.0.2.200",
    "203.0.113.1",
    "fd00:1::10",
    "2001:db8::1",
];
const PORTS: [u16; 8] = [0, 1, 79, 80, 81, 443, 0x7fff, u16::MAX];
const PROTOCOLS: [u8; 3] = [6, 17, 58];

fn pick<T: Copy + std::fmt::Debug + 'static, const N: usize>(
    from: [T; N],
) -> impl Strategy<Value = T> {
    prop::sample::select(from.to_vec())
}

fn prefixes(max: usize) -> impl Strategy<Value = BTreeSet<IpNet>> {
    let prefixes = vec(pick(PREFIXES), 0..=max);
    prefixes.prop_map(|texts| texts.iter().map(|text| text.parse().unwrap()).collect())
}

fn party() -> impl Strategy<Value = Party> {
    let of = (vec(pick(GROUPS), 0..3), prefixes(2)).prop_map(|(groups, prefixes)| {
        if groups.is_empty() && prefixes.is_empty() {
            return Party::Any;
        }
        Party::Of {
            groups: groups.into_iter().map(str::to_owned).collect(),
            prefixes,
        }
    });
    prop_oneof![Just(Party::Any), of]
}

fn services() -> impl Strategy<Value = Services> {
    let service = (pick(PROTOCOLS), pick(PORTS), pick(PORTS), any::<bool>());
    let service = service.prop_map(|(protocol, a, b, is_whole)| Service {
        protocol,
        ports: if is_whole {
            PortRange::ALL
        } else {
            PortRange::new(a.min(b), a.max(b)).unwrap()
        },
    });
    let of = vec(service, 1..4).prop_map(Services::Of);
    prop_oneof![Just(Services::Any), of]
}

/// Rules that jump to chains from this one on.
fn rules(first_chain: usize, origin: &Origin) -> impl Strategy<Value = Vec<Rule>> + use<> {
    let decides = pick([Action::Allow, Action::Reject, Action::Deny]).prop_map(Verb::Decide);
    let leads = (first_chain..=CHAINS.len()).prop_map(|chain| match CHAINS.get(chain) {
        Some(chain) => Verb::Jump((*chain).to_owned()),
        None => Verb::Return,
    });
    let verb = prop_oneof![2 => decides, 1 => leads];
    let origin = origin.clone();
    let rule = (party(), party(), services(), verb).prop_map(
        move |(source, destination, services, verb)| Rule {
            source,
            destination,
            services,
            verb,
            origin: origin.clone(),
        },
    );
    vec(rule, 0..6)
}

fn rule_list(origin: &Origin) -> impl Strategy<Value = Option<RuleList>> + use<> {
    let default_origin = origin.clone();
    let default = pick([Action::Allow, Action::Reject, Action::Deny]);
    let list = (rules(0, origin), default).prop_map(move |(rules, default)| RuleList {
        rules,
        default,
        default_origin: default_origin.clone(),
    });
    prop::option::of(list)
}

fn policy(origin: &Origin) -> impl Strategy<Value = Policy> + use<> {
    let lists = (rule_list(origin), rule_list(origin), rule_list(origin));
    let origin = origin.clone();
    lists.prop_map(move |(ingress, egress, forward)| Policy {
        ingress,
        egress,
        forward,
        origin: origin.clone(),
    })
}

/// A topology with groups, chains and policies, among them one for a network and one for a router.
fn topologies() -> impl Strategy<Value = Topology> {
    let base = topology(NETWORKS);
    let origin = base.networks["front"].origin.clone();
    let policies = vec(prop::option::of(policy(&origin)), GROUPS.len());
    let chains = (rules(1, &origin), rules(2, &origin), rules(3, &origin));
    let memberships = vec(vec(pick(GROUPS), 0..3), base.ports.len());
    let all = (
        policies,
        policy(&origin),
        chains,
        memberships,
        vec(prefixes(2), GROUPS.len()),
    );
    all.prop_map(move |(policies, shared, chains, memberships, prefixes)| {
        let mut topology = base.clone();
        for (name, prefixes) in GROUPS.into_iter().zip(prefixes) {
            let origin = origin.clone();
            topology
                .groups
                .insert(name.to_owned(), Group { prefixes, origin });
        }
        for (name, rules) in CHAINS.into_iter().zip([chains.0, chains.1, chains.2]) {
            let origin = origin.clone();
            topology
                .chains
                .insert(name.to_owned(), Chain { rules, origin });
        }
        for (name, policy) in GROUPS.into_iter().zip(policies) {
            topology
                .policies
                .extend(policy.map(|policy| (name.to_owned(), policy)));
        }
        topology.policies.insert("shared".to_owned(), shared);
        topology.networks.get_mut("front").unwrap().policy = Some("shared".to_owned());
        topology.routers.get_mut("core").unwrap().policy = Some("shared".to_owned());
        for (port, groups) in topology.ports.values_mut().zip(memberships) {
            for group in groups {
                if !port.groups.iter().any(|it| it == group) {
                    port.groups.push(group.to_owned());
                }
            }
        }
        topology
    })
}

fn subjects() -> impl Strategy<Value = (IpAddr, IpAddr, u8, u16)> {
    let address = || pick(ADDRESSES).prop_map(|text| text.parse().unwrap());
    let protocol = prop_oneof![4 => pick(PROTOCOLS), 1 => any::<u8>()];
    let port = prop_oneof![4 => pick(PORTS), 1 => any::<u16>()];
    (address(), address(), protocol, port)
}

/// The rules read one by one, as a person would.
struct Model<'a> {
    topology: &'a Topology,
    /// The networks among which addresses mean one station.
    networks: &'a [&'a str],
    subject: (IpAddr, IpAddr, u8, u16),
}

impl Model<'_> {
    fn is_in(&self, ip: IpAddr, party: &Party) -> bool {
        let Party::Of { groups, prefixes } = party else {
            return true;
        };
        let is_member = |group: &String| {
            let prefixes = &self.topology.groups[group].prefixes;
            let mut ports = self.topology.ports.values();
            prefixes.iter().any(|prefix| prefix.contains(&ip))
                || ports.any(|port| {
                    port.groups.contains(group)
                        && self.networks.contains(&port.network.as_str())
                        && port.addresses.iter().any(|address| address.addr() == ip)
                })
        };
        prefixes.iter().any(|prefix| prefix.contains(&ip)) || groups.iter().any(is_member)
    }

    fn is_about(&self, services: &Services) -> bool {
        let (.., protocol, port) = self.subject;
        match services {
            Services::Any => true,
            Services::Of(services) => services.iter().any(|service| {
                service.protocol == protocol && service.ports.range().contains(&port)
            }),
        }
    }

    /// What decides, if anything does.
    fn run(&self, rules: &[Rule], place: &str) -> Option<(Action, String)> {
        let (source, destination, ..) = self.subject;
        for (number, rule) in (1..).zip(rules) {
            let matches = self.is_in(source, &rule.source)
                && self.is_in(destination, &rule.destination)
                && self.is_about(&rule.services);
            if !matches {
                continue;
            }
            match &rule.verb {
                Verb::Decide(action) => {
                    return Some((*action, format!("rule {number} {place}")));
                }
                Verb::Return => return None,
                Verb::Jump(name) => {
                    let chain = &self.topology.chains[name];
                    let decided = self.run(&chain.rules, &format!("of chain {name}"));
                    if decided.is_some() {
                        return decided;
                    }
                }
            }
        }
        None
    }

    fn judge(&self, direction: Direction, policies: &[(&str, &Policy)]) -> (Action, String) {
        let lists = policies
            .iter()
            .filter_map(|(name, policy)| Some((name, policy.list(direction)?)));
        let lists: Vec<_> = lists.collect();
        for (name, list) in &lists {
            let place = format!("of policy {name} for {direction}");
            if let Some(decided) = self.run(&list.rules, &place) {
                return decided;
            }
        }
        let mut default = None;
        for (name, list) in lists {
            let name = format!("the default of policy {name} for {direction}");
            default = match default {
                Some((strictest, _)) if strictest >= list.default => default,
                _ => Some((list.default, name)),
            };
        }
        default.unwrap_or((Action::Allow, "rule 00000000".to_owned()))
    }
}

fn planned(topology: &Topology) -> (Plan, MemoryTables) {
    let instance = Instance::new(None).unwrap();
    let plan = Plan::new(topology, &instance, &Situation::default());
    let tables = tables_of(&plan.rows(&interfaces(&plan)), Observed::default());
    (plan, tables)
}

fn ask(
    tables: &MemoryTables,
    list: PolicyList,
    subject: (IpAddr, IpAddr, u8, u16),
) -> (Action, Ruling) {
    let (source, destination, protocol, port) = subject;
    let subject = Subject {
        source: source.into(),
        destination: destination.into(),
        protocol,
        port,
    };
    let ruling = judge::<MemoryFrame, _>(tables, &mut { Workspace::NEW }, list, &subject);
    let action = match ruling.action {
        policy::Action::Allow => Action::Allow,
        policy::Action::Reject => Action::Reject,
        policy::Action::Deny => Action::Deny,
    };
    (action, ruling)
}

/// What the rows of a port or router say is what its rules say.
fn check(
    model: &Model<'_>,
    (plan, tables): &(Plan, MemoryTables),
    direction: Direction,
    (list, policies): (PolicyList, &[(&str, &Policy)]),
) -> Result<(), TestCaseError> {
    let (action, ruling) = ask(tables, list, model.subject);
    let name = plan.names.rule(ruling.rule);
    prop_assert_eq!((action, name), model.judge(direction, policies));
    if list != PolicyList::NONE {
        // There is a row for it to be counted in.
        let counters = tables.rule_counters.borrow();
        prop_assert!(counters.contains_key(&ruling.rule));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn rows_say_what_rules_say(
        topology in topologies(),
        subjects in vec(subjects(), 1..12),
    ) {
        let planned = planned(&topology);
        for subject in subjects {
            for port in topology.ports.values() {
                let networks: &[&str] = match port.network.as_str() {
                    "apart" => &["apart"],
                    _ => &["front", "back"],
                };
                let model = Model { topology: &topology, networks, subject };
                let policies: Vec<_> = topology.policies_of(port).collect();
                let mut rows = planned.1.interfaces.values();
                let from = rows.find(|row| row.port == port.id).unwrap().policy;
                let to = planned.1.ports[&port.id].policy;
                check(&model, &planned, Direction::Egress, (from, &policies))?;
                check(&model, &planned, Direction::Ingress, (to, &policies))?;
            }
            let networks: &[&str] = &["front", "back"];
            let model = Model { topology: &topology, networks, subject };
            let shared = [("shared", &topology.policies["shared"])];
            for port in topology.routers["core"].ports.values() {
                let list = planned.1.router_ports[&port.id].policy;
                check(&model, &planned, Direction::Forward, (list, &shared))?;
            }
        }
    }
}

fn group(topology: &Topology, prefixes: &[&str]) -> Group {
    Group {
        prefixes: prefixes.iter().map(|text| text.parse().unwrap()).collect(),
        origin: topology.networks["front"].origin.clone(),
    }
}

/// A rule that allows some protocol's ports from a group.
fn allow(topology: &Topology, source: &str, ports: (u16, u16)) -> Rule {
    Rule {
        source: Party::Of {
            groups: BTreeSet::from([source.to_owned()]),
            prefixes: BTreeSet::new(),
        },
        destination: Party::Any,
        services: Services::Of(vec![Service {
            protocol: 6,
            ports: PortRange::new(ports.0, ports.1).unwrap(),
        }]),
        verb: Verb::Decide(Action::Allow),
        origin: topology.networks["front"].origin.clone(),
    }
}

/// A topology in which `a` is in `web`, and `c` in `db`, whose policy for ingress has these rules.
fn shop(rules: impl FnOnce(&Topology) -> Vec<Rule>) -> Topology {
    let mut topology = topology(NETWORKS);
    for name in ["web", "db"] {
        let group = group(&topology, &[]);
        topology.groups.insert(name.to_owned(), group);
    }
    let origin = topology.networks["front"].origin.clone();
    let list = RuleList {
        rules: rules(&topology),
        default: Action::Deny,
        default_origin: origin.clone(),
    };
    let policy = Policy {
        ingress: Some(list),
        egress: None,
        forward: None,
        origin,
    };
    topology.policies.insert("db".to_owned(), policy);
    join(&mut topology, "a", "web");
    join(&mut topology, "c", "db");
    topology
}

fn join(topology: &mut Topology, workload: &str, group: &str) {
    for (name, port) in &mut topology.ports {
        if name.workload == workload {
            port.groups.push(group.to_owned());
        }
    }
}

type Rows = BTreeMap<MapName, BTreeMap<Vec<u8>, Vec<u8>>>;

fn rows(topology: &Topology) -> Rows {
    let (plan, _) = planned(topology);
    plan.rows(&interfaces(&plan))
}

/// How many rows are not the same, by map.
fn differing(one: &Rows, two: &Rows) -> BTreeMap<MapName, usize> {
    let mut differing = BTreeMap::new();
    for map in MapName::ALL {
        let keys: BTreeSet<_> = one[map].keys().chain(two[map].keys()).collect();
        let count = keys
            .iter()
            .filter(|key| one[map].get(**key) != two[map].get(**key))
            .count();
        if count > 0 {
            differing.insert(*map, count);
        }
    }
    differing
}

#[test]
fn a_new_member_is_one_row_for_each_of_its_addresses() {
    let before = shop(|topology| vec![allow(topology, "web", (5432, 5432))]);
    let mut after = before.clone();
    join(&mut after, "b", "web");
    // The link-local address is the second one. Ways that were found are judged again where the address
    // means anything: the third network is a part of its own.
    assert_eq!(
        differing(&rows(&before), &rows(&after)),
        BTreeMap::from([(MapName::Identities, 2), (MapName::Epochs, 2)])
    );
}

#[test]
fn a_changed_rule_moves_its_ports_to_another_list() {
    let before = shop(|topology| vec![allow(topology, "web", (5432, 5432))]);
    let after = shop(|topology| {
        vec![
            allow(topology, "web", (5432, 5432)),
            allow(topology, "web", (80, 80)),
        ]
    });
    let (before, after) = (rows(&before), rows(&after));
    assert_eq!(before[&MapName::Policies].len(), 1);
    assert_eq!(differing(&before, &after)[&MapName::Policies], 2);
    assert_eq!(before[&MapName::Identities], after[&MapName::Identities]);
    // What went to the port before is judged again, in the part of the topology that it is in.
    assert_eq!(differing(&before, &after)[&MapName::Epochs], 2);
    // What a rule counted stays: only the new one gets a row.
    assert_eq!(differing(&before, &after)[&MapName::RuleCounters], 1);
}

#[test]
fn a_port_that_no_policy_speaks_of_has_no_list() {
    let (_, tables) = planned(&shop(|topology| vec![allow(topology, "web", (1, 9))]));
    let lists = tables
        .ports
        .values()
        .filter(|port| port.policy != PolicyList::NONE);
    assert_eq!(lists.count(), 1);
    let lists = tables
        .interfaces
        .values()
        .filter(|port| port.policy != PolicyList::NONE);
    assert_eq!(lists.count(), 0);
}

#[test]
fn addresses_are_in_the_groups_of_the_prefixes_that_cover_them() {
    let mut topology = shop(|_| Vec::new());
    let office = group(&topology, &["10.0.0.0/8", "192.0.2.0/24"]);
    topology.groups.insert("office".to_owned(), office);
    let desk = group(&topology, &["192.0.2.7/32"]);
    topology.groups.insert("desk".to_owned(), desk);
    let (plan, tables) = planned(&topology);
    let named = |identity: &Identity| {
        let groups = identity.groups.iter().filter(|it| it.0 != 0);
        groups.map(|&it| plan.names.group(it)).collect::<Vec<_>>()
    };
    let part = tables.policies.values().next().unwrap().part;
    let ip = Ip::from("10.1.0.10".parse::<IpAddr>().unwrap());
    assert_eq!(
        named(&tables.identities[&IdentityKey { part, ip }]),
        ["office", "web"]
    );
    let desk = tables
        .identity_prefixes
        .values()
        .map(named)
        .find(|it| it.len() == 2);
    assert_eq!(desk.unwrap(), ["desk", "office"]);
}

#[test]
fn rows_are_told_in_words() {
    let topology = shop(|topology| vec![allow(topology, "web", (5432, 5432))]);
    let (plan, _) = planned(&topology);
    let tables = plan.rows(&interfaces(&plan));
    let described = |map: MapName| {
        let rows = tables[&map].iter();
        let described = rows.map(|(key, value)| plan.names.describe(map, key, value));
        described.collect::<Vec<_>>().join("\n")
    };
    let list: PolicyList = from_bytes(tables[&MapName::Policies].keys().next().unwrap()).unwrap();
    let list = format!("policy list {:08x}", list.0);
    let part = plan
        .names
        .networks
        .iter()
        .filter(|(_, it)| it.name != "apart");
    let part = part.map(|(vni, _)| vni.number()).min().unwrap();
    assert_eq!(
        described(MapName::Policies),
        format!("{list} has 2 rules (part {part})")
    );
    assert_eq!(
        described(MapName::Services),
        format!("{list}: protocol 6 ports 5432 to 5432 are service 1")
    );
    assert!(described(MapName::Rules).contains(&format!(
        "{list}[0]: rule 1 of policy db for ingress allows"
    )));
    assert!(described(MapName::Rules).contains(&format!(
        "{list}[1]: the default of policy db for ingress denies"
    )));
    assert!(described(MapName::Identities).contains(&format!("10.1.0.10 is in web (part {part})")));
    assert!(described(MapName::Matches).contains("source group web matches 1 rule of"));
    let wording: Vec<_> = plan
        .names
        .rules
        .values()
        .map(|rule| rule.wording.as_str())
        .collect();
    assert!(wording.contains(&"allow tcp/5432 from web"));
    assert!(wording.contains(&"otherwise deny"));
    assert!(described(MapName::Ports).contains(&format!(", held by {list}")));
}
