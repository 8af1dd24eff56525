//! Containers that Docker has given no network.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::json;

use super::super::Setting;
use super::super::attach::{Wish, check_mode};
use super::super::inventory::ListedContainer;
use super::super::member::Member;
use super::super::records::Holder;
use super::{Stage, id};
use crate::instance::Instance;

fn container(labels: &[(&str, &str)]) -> ListedContainer {
    let labels = labels.iter();
    let labels = labels.map(|(key, value)| (format!("bowline.{key}"), (*value).to_owned()));
    ListedContainer {
        name: "jam".to_owned(),
        is_alive: true,
        mode: "none".to_owned(),
        labels: labels.collect::<BTreeMap<_, _>>(),
    }
}

fn wish(labels: &[(&str, &str)]) -> Result<Option<Wish>, String> {
    let wish = Wish::of_labels(&id(7), &container(labels), "default");
    wish.map_err(|refusal| refusal.0)
}

impl Stage {
    fn attach(&mut self, wish: &Wish) -> Result<(), String> {
        let instance = Instance::new(None).unwrap();
        let setting = Setting {
            world: &self.world,
            instance: &instance,
            now: self.now,
        };
        let result = self.records.attach(wish, setting);
        self.check();
        result.map_err(|refusal| refusal.0)
    }
}

#[test]
fn labels_say_which_networks_and_slips_are_told() {
    assert_eq!(wish(&[]), Ok(None));
    assert_eq!(wish(&[("network", "front"), ("instance", "lab")]), Ok(None));
    let both = [
        ("network", "front, closed"),
        ("address", "10.77.0.99"),
        ("groups", "web,db"),
        ("aliases", "store, safe"),
    ];
    let both = wish(&both).unwrap().unwrap();
    assert_eq!(both.networks, ["front", "closed"]);
    assert_eq!(both.groups, ["web", "db"]);
    assert_eq!(both.aliases, ["store", "safe"]);
    let slip = wish(&[("network", "front"), ("adress", "10.77.0.99")]).unwrap_err();
    assert_eq!(
        slip,
        "unknown label `bowline.adress`: did you mean `bowline.address`?"
    );
    assert!(wish(&[("network", "front"), ("address", "x")]).is_err());
    assert!(wish(&[("network", "front"), ("mac", "01:00:00:00:00:00")]).is_err());
    assert!(wish(&[("network", "front"), ("aliases", "a b")]).is_err());
    let other = ListedContainer {
        mode: "bridge".to_owned(),
        ..container(&[])
    };
    assert!(check_mode(&other).is_err() && check_mode(&container(&[])).is_ok());
}

#[test]
fn an_attached_container_has_its_addresses_to_itself() {
    let mut stage = Stage::with_file("alpha");
    let labels = [("network", "front,closed"), ("address", "10.77.0.99")];
    let mut one = wish(&labels).unwrap().unwrap();
    stage.attach(&one).unwrap();
    let held = |stage: &Stage| {
        let leases = stage.records.leases.values();
        leases
            .filter(|it| it.holder == Holder::Attached(id(7)))
            .count()
    };
    // One of each family of the first network, and one of the second.
    assert_eq!(held(&stage), 3);
    let topology = stage.topology();
    assert_eq!(topology.ports.len(), 1 + 2);
    // Again is no change; another one comes second.
    let before = stage.records.clone();
    stage.attach(&one).unwrap();
    assert_eq!(stage.records, before);
    one.id = id(8);
    one.container = "tin".to_owned();
    let taken = stage.attach(&one).unwrap_err();
    assert!(taken.contains("container jam has it"), "{taken}");
    assert_eq!(stage.records, before);
    one.addresses = vec!["192.0.2.1".parse().unwrap()];
    assert!(stage.attach(&one).unwrap_err().contains("is in no subnet"));
    one.networks = vec!["frnt".to_owned()];
    assert!(
        stage
            .attach(&one)
            .unwrap_err()
            .contains("did you mean `front`")
    );
    assert_eq!(stage.records, before);
    // What is given back is nobody's.
    assert!(stage.records.detach(&id(7), Some("closed"), stage.now));
    assert_eq!(held(&stage), 2);
    assert!(stage.records.detach(&id(7), None, stage.now));
    assert!(!stage.records.detach(&id(7), None, stage.now));
    assert!(stage.records.is_empty() && stage.records.leases.is_empty());
}

#[test]
fn other_hosts_are_told_what_is_attached() {
    let mut stage = Stage::with_file("alpha");
    let mut listed = container(&[("network", "front,closed"), ("aliases", "safe")]);
    let service = "com.docker.compose.service".to_owned();
    listed.labels.insert(service, "vault".to_owned());
    let wish = Wish::of_labels(&id(7), &listed, "default").unwrap();
    stage.attach(&wish.unwrap()).unwrap();
    // A network of Docker's alone is nobody else's.
    let own = id(1);
    stage
        .create(&own, &["10.99.0.0/24"], &json!({}), &json!({}))
        .unwrap();
    let mut alone = self::wish(&[("network", "own")]).unwrap().unwrap();
    alone.networks = vec![own];
    alone.id = id(8);
    stage.attach(&alone).unwrap();
    let told = Member::shared(&stage.records);
    let networks: Vec<&str> = told.iter().map(|it| it.network.as_str()).collect();
    assert_eq!(networks, ["front", "closed"]);
    assert_ne!(told[0].name(), told[1].name());
    let topology = stage.topology();
    for member in &told {
        assert_eq!(member.names, ["jam", "safe", "vault"]);
        // What they are told is what is there.
        let mut ports = topology.ports.values();
        let port = ports.find(|port| port.network == member.network && port.mac == member.mac);
        let port = port.unwrap();
        let addresses: Vec<IpAddr> = port.addresses.iter().map(|it| it.addr()).collect();
        assert_eq!(addresses, member.addresses);
    }
    let workload = topology.workloads.values().find(|it| it.names.len() > 1);
    assert_eq!(workload.unwrap().names, ["jam", "safe", "vault"]);
}

#[test]
fn what_somebody_has_plugged_out_labels_do_not_plug_in() {
    let mut stage = Stage::with_file("alpha");
    let labels = [
        ("network", "front,closed"),
        ("address", "10.77.0.99"),
        ("mac", "02:00:00:00:00:99"),
    ];
    let mut wish = wish(&labels).unwrap().unwrap();
    let networks = |stage: &Stage| {
        let ports = stage.records.attachments.values().flat_map(|it| &it.ports);
        let names: Vec<String> = ports.map(|it| it.title.clone()).collect();
        names.join(" ")
    };
    stage.attach(&wish).unwrap();
    let (labelled, now) = (wish.networks.clone(), stage.now);
    assert!(
        stage
            .records
            .plug_out(&id(7), Some("front"), &labelled, now)
    );
    assert_eq!(networks(&stage), "closed");
    // The container is started again.
    stage.records.detach(&id(7), None, now);
    stage.attach(&wish).unwrap();
    assert_eq!(networks(&stage), "closed");
    let mac = stage.records.attachments[&id(7)].ports[0].mac;
    assert_ne!(mac.to_string(), "02:00:00:00:00:99");
    stage.records.plug_out(&id(7), None, &labelled, now);
    stage.attach(&wish).unwrap();
    assert_eq!(networks(&stage), "");
    // Somebody who asks for it is meant.
    wish.by_label = false;
    wish.networks = vec!["front".to_owned()];
    stage.attach(&wish).unwrap();
    assert_eq!(networks(&stage), "front");
    assert_eq!(stage.records.detached[&id(7)].len(), 1);
}

#[test]
fn what_is_attached_to_a_network_goes_with_it() {
    let mut stage = Stage::empty();
    let network = id(1);
    stage
        .create(&network, &["10.99.0.0/24"], &json!({}), &json!({}))
        .unwrap();
    let mut wish = wish(&[("network", "front")]).unwrap().unwrap();
    wish.networks = vec![network.clone()];
    stage.attach(&wish).unwrap();
    assert_eq!(stage.topology().ports.len(), 1);
    // Docker knows of nobody there.
    let body = json!({ "NetworkID": network });
    stage.ask("NetworkDriver.DeleteNetwork", &body).unwrap();
    assert!(stage.records.attachments.is_empty());
    assert_eq!(stage.topology().ports.len(), 0);
}
