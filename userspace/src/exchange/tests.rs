//! What hosts believe of one another, whatever is said.

use proptest::prelude::*;

use super::*;
use crate::document::draft;
use crate::problem::listing::listing;

/// Three hosts share `front`; `gate` is the only way to the outside, on gamma.
const FILE: &str = "version: 1
name: shop
hosts: { alpha: 192.0.2.11, beta: 192.0.2.12, gamma: 192.0.2.13 }
networks: { front: [10.77.0.0/28, 'fd00:77::/64'], back: 10.78.0.0/28 }
routers:
  gate: { ports: { front: [10.77.0.1, 'fd00:77::1'] }, uplink: { hosts: [gamma] } }
workloads:
  web: { host: alpha, netns: web, ports: [{ network: front, addresses: 10.77.0.3, mac: '02:00:00:00:00:03' }] }
";
/// What Docker has on this host.
const DOCKER: &str = "version: 1
name: docker
networks: { docker-aaaaaaaaaaaa: 10.79.0.0/28 }
workloads:
  docker-bbbbbbbbbbbb:
    endpoint: bbbbbbbbbbbbbbbbbbbb
    ports: [{ network: front, addresses: 10.77.0.4, mac: '02:00:00:00:00:04', publish: ['80:80/tcp'] }]
";

fn member(number: u8, network: &str, address: &str) -> Member {
    Member {
        endpoint: format!("{number:02x}").repeat(10),
        network: network.to_owned(),
        names: vec![format!("c{number}")],
        addresses: vec![address.parse().unwrap()],
        mac: Mac::new([2, b'd', 0, 0, 0, number]),
        groups: Vec::new(),
        publish: Vec::new(),
    }
}

fn others(lists: &[(&str, &[Member])]) -> Others {
    let lists = lists.iter();
    lists
        .map(|(host, members)| ((*host).to_owned(), List::of(members.to_vec())))
        .collect()
}

fn files() -> Vec<Draft> {
    vec![draft("shop.yaml", FILE), draft("docker", DOCKER)]
}

#[track_caller]
fn compiled(others: &Others) -> (Topology, String) {
    let topology = compile_with(files(), others);
    let topology = topology.unwrap_or_else(|problems| panic!("{}", listing(&problems)));
    let warnings = topology.warnings.iter().map(|it| it.message.clone());
    let warnings = warnings.collect::<Vec<_>>().join("\n");
    (topology, warnings)
}

/// An address of a host's block.
fn of_block(host: &str) -> String {
    let hosts = ["alpha", "beta", "gamma"].map(str::to_owned).into();
    let taken = ["10.77.0.1", "10.77.0.3", "10.77.0.4"];
    let blocks = blocks("10.77.0.0/28".parse().unwrap(), &hosts, host);
    let mut addresses = blocks.iter().flat_map(|it| it.addresses());
    let free = addresses.find(|it| !taken.contains(&it.to_string().as_str()));
    free.unwrap().to_string()
}

#[test]
fn what_another_host_has_is_behind_it() {
    let mut there = member(1, "front", &of_block("beta"));
    there.groups = vec!["db".to_owned()];
    let (topology, warnings) = compiled(&others(&[("beta", &[there.clone()])]));
    assert!(!warnings.contains("left out"), "{warnings}");
    let workload = &topology.workloads[&there.name()];
    assert_eq!(workload.host.as_deref(), Some("beta"));
    assert_eq!(workload.origin.file.title(), "docker@beta");
    let mut ports = topology.ports.iter();
    let (_, port) = ports
        .find(|(name, _)| name.workload == there.name())
        .unwrap();
    assert_eq!(port.mac, there.mac);
    assert_eq!(port.addresses[0].addr(), there.addresses[0]);
    assert!(topology.groups.contains_key("db"));
}

#[test]
fn nobody_takes_what_others_have() {
    let taken = [
        ("10.77.0.3", "workload web has 10.77.0.3"),
        ("10.77.0.4", "workload docker-bbbbbbbbbbbb has 10.77.0.4"),
        ("10.77.0.1", "router gate has 10.77.0.1"),
        ("10.78.0.3", "network front has no address 10.78.0.3"),
        ("10.77.0.15", "network front has no address 10.77.0.15"),
    ];
    for (address, reason) in taken {
        let (topology, warnings) = compiled(&others(&[("beta", &[member(1, "front", address)])]));
        let expected = format!("container c1 of host beta is left out: {reason}");
        assert!(warnings.starts_with(&expected), "{warnings}");
        assert_eq!(topology.ports.len(), 2);
    }
    let mut same_mac = member(1, "front", &of_block("beta"));
    same_mac.mac = Mac::new([2, 0, 0, 0, 0, 4]);
    let (_, warnings) = compiled(&others(&[("beta", &[same_mac])]));
    assert!(warnings.contains("docker-bbbbbbbbbbbb has 02:00:00:00:00:04"));
}

#[test]
fn unknown_networks_and_those_of_dockers_own_are_not_shared() {
    let said = [
        member(1, "elsewhere", "10.77.0.5"),
        member(2, "docker-aaaaaaaaaaaa", "10.79.0.5"),
    ];
    let (topology, warnings) = compiled(&others(&[("beta", &said), ("delta", &said)]));
    assert_eq!((topology.ports.len(), warnings.as_str()), (2, ""));
}

#[test]
fn of_two_hosts_the_one_whose_block_it_is_has_an_address() {
    for (owner, other) in [("beta", "gamma"), ("gamma", "beta")] {
        let address = of_block(owner);
        let said = others(&[
            (owner, &[member(1, "front", &address)]),
            (other, &[member(2, "front", &address)]),
        ]);
        let (topology, warnings) = compiled(&said);
        let there = &topology.workloads[&member(1, "front", &address).name()];
        assert_eq!(there.host.as_deref(), Some(owner));
        let expected = format!("container c2 of host {other} is left out: container c1 of host");
        assert!(warnings.starts_with(&expected), "{warnings}");
    }
}

#[test]
fn a_port_that_is_published_twice_keeps_no_container_out() {
    let mut there = member(1, "front", &of_block("beta"));
    there.publish = vec!["80:80/tcp".to_owned()];
    let other = member(2, "front", &of_block("gamma"));
    let said = others(&[("beta", &[there.clone()]), ("gamma", &[other])]);
    let (topology, warnings) = compiled(&said);
    assert_eq!(topology.ports.len(), 4);
    assert!(
        warnings.starts_with(
            "what container c1 of host beta publishes is left out: tcp/80 of host gamma"
        ),
        "{warnings}"
    );
    there.publish = vec!["8080:80/tcp".to_owned()];
    let (topology, warnings) = compiled(&others(&[("beta", &[there])]));
    let published: usize = topology.ports.values().map(|it| it.publish.len()).sum();
    assert_eq!((published, warnings.as_str()), (2, ""));
}

#[test]
fn one_bad_container_costs_only_itself() {
    let mut addresses = Vec::new();
    for last in 2..15 {
        let address = format!("10.77.0.{last}");
        if !["10.77.0.3", "10.77.0.4"].contains(&address.as_str()) {
            addresses.push(address);
        }
    }
    let good: Vec<Member> = (1..)
        .zip(&addresses)
        .map(|(i, it)| member(i, "front", it))
        .collect();
    let mut publishes_too_much = good[1].clone();
    publishes_too_much.publish = (0..5000)
        .map(|port| format!("{}:80/tcp", 2 * port + 1))
        .collect();
    let mut published_twice = good[2].clone();
    published_twice.publish = vec!["80:80/tcp".to_owned()];
    let mut nonsense = good[3].clone();
    nonsense.publish = vec!["nonsense".to_owned()];
    let mut of_no_group = good[4].clone();
    of_no_group.groups = vec!["no group at all".to_owned()];
    let mut of_no_id = good[5].clone();
    of_no_id.endpoint = "../x".repeat(8);
    let mut whole = vec!["5000-6000:5000-6000/tcp".to_owned()];
    whole.push("81:81/udp".to_owned());
    let mut busy = good[6].clone();
    busy.publish = whole;
    for (bad, expected) in [
        (
            &publishes_too_much,
            "it has 5000 ranges of published ports, and 4096 are taken",
        ),
        (
            &published_twice,
            "what container c3 of host beta publishes is left out: tcp/80 of host gamma",
        ),
        (
            &nonsense,
            "what container c4 of host beta publishes is left out: ",
        ),
        (&of_no_group, "container c5 of host beta is left out: "),
        (
            &of_no_id,
            "container c6 of host beta is left out: no endpoint has such an id",
        ),
        (&busy, ""),
    ] {
        let mut said = good.clone();
        for member in &mut said {
            if member.addresses == bad.addresses {
                *member = bad.clone();
            }
        }
        let (topology, warnings) = compiled(&others(&[("beta", &said)]));
        assert!(warnings.contains(expected), "{warnings}");
        let lost = usize::from(warnings.starts_with("container"));
        assert_eq!(topology.ports.len(), 2 + good.len() - lost, "{warnings}");
        assert_eq!(
            warnings.lines().count(),
            usize::from(!expected.is_empty()),
            "{warnings}"
        );
    }
    // All of these at once are found, too.
    let mut said = good.clone();
    said[2] = published_twice;
    said[3] = nonsense;
    said[4] = of_no_group;
    let (topology, warnings) = compiled(&others(&[("beta", &said)]));
    assert_eq!(
        (topology.ports.len(), warnings.lines().count()),
        (1 + good.len(), 3)
    );
}

#[test]
fn a_list_is_read_as_far_as_it_has_the_form_of_one() {
    let (one, other) = (of_block("beta"), member(2, "front", "10.77.0.99"));
    let list = List::of(vec![member(1, "front", &one), other]);
    assert_eq!(List::read(list.body().as_bytes()).unwrap(), list);
    for broken in [
        list.body().replace("10.77.0.99", "10.77.0"),
        list.body().replace("02:64:00:00:00:02", "02:6"),
        list.body().replace("\"c2\"", "7"),
    ] {
        let list = List::read(broken.as_bytes()).unwrap();
        // It is kept on the disk like this.
        assert_eq!(List::read(list.body().as_bytes()).unwrap(), list);
        let (topology, warnings) = compiled(&[("beta".to_owned(), list)].into());
        assert_eq!(
            (topology.ports.len(), warnings.as_str()),
            (
                3,
                "a container of host beta is left out: what is said of it has another form"
            )
        );
    }
    let twice = List::of(vec![member(1, "front", &one); 2]);
    let (topology, warnings) = compiled(&[("beta".to_owned(), twice)].into());
    assert_eq!(topology.ports.len(), 3);
    assert!(
        warnings.starts_with("container c1 of host beta is left out: "),
        "{warnings}"
    );
    for broken in [list.body().replace(&list.tag, "a&b"), "[]".to_owned()] {
        assert!(List::read(broken.as_bytes()).is_err(), "{broken}");
    }
}

/// Anything that could be said.
fn any_member() -> impl Strategy<Value = Member> {
    let networks = prop_oneof![Just("front"), Just("back"), Just("docker-aaaaaaaaaaaa")];
    let publish = prop_oneof![Just(None), Just(Some("80:80/tcp")), Just(Some("nonsense"))];
    (0_u8..12, networks, 0_u8..20, 0_u8..8, publish).prop_map(
        |(number, network, last, mac, publish)| Member {
            mac: Mac::new([2, 0, 0, 0, 0, mac]),
            publish: publish.into_iter().map(str::to_owned).collect(),
            ..member(number, network, &format!("10.7{}.0.{last}", 7 + number % 2))
        },
    )
}

fn any_list() -> impl Strategy<Value = Vec<Member>> {
    prop::collection::vec(any_member(), 0..5).prop_map(|members| {
        let by_id: BTreeMap<String, Member> = members
            .into_iter()
            .map(|it| (it.endpoint.clone(), it))
            .collect();
        by_id.into_values().collect()
    })
}

/// What happens between hosts.
#[derive(Clone, Debug)]
enum Step {
    /// Docker has something else on a host.
    Change(usize, Vec<Member>),
    /// One asks another, and the answer arrives or is lost.
    Ask(usize, usize, bool),
    /// A host's agent begins anew with what is on its disk.
    Restart(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_usize..3, any_list()).prop_map(|(host, list)| Step::Change(host, list)),
        (0_usize..3, 0_usize..3, any::<bool>()).prop_map(|(a, b, lost)| Step::Ask(a, b, lost)),
        (0_usize..3).prop_map(Step::Restart),
    ]
}

const HOSTS: [&str; 3] = ["alpha", "beta", "gamma"];

#[derive(Default)]
struct Agent {
    own: List,
    heard: Others,
    disk: Others,
}

fn ask(agents: &mut [Agent; 3], asker: usize, asked: usize, is_lost: bool) {
    let since = agents[asker].heard.get(HOSTS[asked]);
    let since = since.map(|list| list.tag.clone()).unwrap_or_default();
    let own = &agents[asked].own;
    if asker == asked || own.tag == since || is_lost {
        return;
    }
    let list = List::read(own.body().as_bytes()).unwrap();
    agents[asker]
        .disk
        .insert(HOSTS[asked].to_owned(), list.clone());
    agents[asker].heard.insert(HOSTS[asked].to_owned(), list);
}

proptest! {
    // Each case compiles a dozen topologies.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn own_ports_stay_and_nothing_is_refused_whatever_others_say(
        beta in any_list(), gamma in any_list()
    ) {
        let (plain, _) = compiled(&Others::new());
        let (topology, _) = compiled(&others(&[("beta", &beta), ("gamma", &gamma)]));
        for (name, port) in &plain.ports {
            let now = &topology.ports[name];
            prop_assert_eq!((&port.addresses, port.mac), (&now.addresses, now.mac));
        }
        // Nor does anybody get more than he said.
        for (name, workload) in &topology.workloads {
            let said = match workload.host.as_deref() {
                Some("beta") => &beta,
                Some("gamma") => &gamma,
                _ => continue,
            };
            prop_assert!(said.iter().any(|it| it.name() == *name));
        }
    }

    #[test]
    fn all_hear_what_was_said_last(steps in prop::collection::vec(any_step(), 0..40)) {
        let mut agents: [Agent; 3] = Default::default();
        for agent in &mut agents {
            agent.own = List::of(Vec::new());
        }
        for step in steps {
            match step {
                Step::Change(host, members) => agents[host].own = List::of(members),
                Step::Ask(asker, asked, is_lost) => ask(&mut agents, asker, asked, is_lost),
                Step::Restart(host) => agents[host].heard = agents[host].disk.clone(),
            }
        }
        for asker in 0..3 {
            for asked in 0..3 {
                ask(&mut agents, asker, asked, false);
            }
            prop_assert!(!agents[asker].heard.contains_key(HOSTS[asker]));
        }
        for agent in &agents {
            for (host, list) in &agent.heard {
                let index = HOSTS.iter().position(|it| it == host).unwrap();
                prop_assert_eq!(list, &agents[index].own);
            }
        }
    }
}
