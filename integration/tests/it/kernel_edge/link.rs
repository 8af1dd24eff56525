//! Links between the host and workloads.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use bowline::holdings::Peer;
use bowline::kernel::link::{InterfaceTaken, Links};
use bowline::topology::PortName;
use integration::lab::{eventually, is_usable};
use maps_schema::PortId;

use super::{Owned, Space, addresses, block_on, create, ip, observe, routes, wanted};

#[test]
fn a_link_is_what_was_asked_for_until_it_is_deleted() {
    if !is_usable() {
        return;
    }
    let (host, workload) = (Space::new("host"), Space::new("work"));
    workload.ip(&["link", "set", "lo", "up"]);
    let (host_before, workload_before) = (host.contents(), workload.contents());
    let instance = Owned::new("link");
    let wanted = wanted(&instance.0, 1);
    block_on(async {
        let netns = workload.open();
        let links = Links::in_netns(&instance.0, &host.open()).unwrap();
        create(&links, &wanted, &netns).await;

        // The host's end is no station.
        let end = host.describe(&wanted.name);
        assert!(
            end.contains("NOARP") && end.contains("addrgenmode none"),
            "{end}"
        );
        assert!(!end.contains("inet"), "{end}");
        // The workload's end has the link-local address that the datapath expects of it.
        let inside = workload.describe("eth0");
        assert!(inside.contains("fe80::62:6cff:fe00:1/64"), "{inside}");

        // An index alone proves nothing: nobody said where it is, or it should be elsewhere.
        let unasked = links.observe(&BTreeMap::new()).await.unwrap();
        assert_eq!(unasked[&wanted.name].peer, Peer::Unasked);
        let other = Space::new("other");
        let elsewhere = observe(&links, &wanted.name, &other.open()).await.unwrap();
        assert_eq!(elsewhere.peer, Peer::Elsewhere);

        links.delete(&wanted.name).await.unwrap();
        links.delete(&wanted.name).await.unwrap();
        assert!(observe(&links, &wanted.name, &netns).await.is_none());
    });
    assert_eq!(host.contents(), host_before);
    assert_eq!(workload.contents(), workload_before);
}

#[test]
fn a_link_is_adjusted_without_going_down() {
    if !is_usable() {
        return;
    }
    let (host, workload) = (Space::new("host"), Space::new("work"));
    let instance = Owned::new("adjust");
    let before = wanted(&instance.0, 1);
    block_on(async {
        let netns = workload.open();
        let links = Links::in_netns(&instance.0, &host.open()).unwrap();
        let ifindex = create(&links, &before, &netns).await;
        let carrier = || -> Option<u64> {
            let json = host.ip(&["-s", "-s", "-j", "link", "show", "dev", &before.name]);
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            value[0]["stats64"]["tx"]["carrier_changes"].as_u64()
        };
        let changes_before = carrier();
        assert!(changes_before.is_some());

        let mut steps = Vec::new();
        let mut to = before.clone();
        to.mtu = 9000;
        steps.push(to.clone());
        // The first address goes, and with it, in the kernel, its subnet's others and their routes.
        to.inside.addresses = addresses(&["10.9.0.2/24", "10.9.0.3/24", "fd09::2/64"]);
        steps.push(to.clone());
        to.inside.routes = routes(&[("0.0.0.0/0", "10.9.0.253"), ("10.8.0.0/16", "10.9.0.9")]);
        steps.push(to.clone());
        // IPv6 needs 1280: it goes, and comes back with the settings that it should have.
        to.mtu = 1000;
        to.inside.addresses = addresses(&["10.9.0.2/24"]);
        steps.push(to.clone());
        steps.push(before.clone());
        let renamed = PortName {
            workload: "other".to_owned(),
            interface: "eth0".to_owned(),
        };
        to = before.clone();
        to.alias = instance.0.alias(&renamed);
        steps.push(to);
        for step in steps {
            links.adjust(&step, &netns).await.unwrap();
            let observed = observe(&links, &before.name, &netns).await.unwrap();
            assert_eq!(observed.link(), Some(&step));
            assert_eq!(observed.ifindex, ifindex);
        }
        let end = host.describe(&before.name);
        assert!(
            end.contains("addrgenmode none") && !end.contains("inet"),
            "{end}"
        );
        assert_eq!(carrier(), changes_before, "the link went down in between");
    });
}

#[test]
fn a_carrier_is_waited_for_as_long_as_it_may_still_come() {
    const ABSENCE: Duration = Duration::from_millis(300);
    if !is_usable() {
        return;
    }
    let (host, workload) = (Space::new("host"), Space::new("work"));
    let instance = Owned::new("carrier");
    let wanted = wanted(&instance.0, 1);
    block_on(async {
        let netns = workload.open();
        let links = Links::in_netns(&instance.0, &host.open()).unwrap();
        create(&links, &wanted, &netns).await;
        workload.ip(&["link", "set", "eth0", "down"]);
        let link = ["link", "show", "dev", &wanted.name];
        eventually("the kernel takes note", || {
            !host.ip(&link).contains("state UP")
        });
        let begin = Instant::now();
        let raise = ["-n", &workload.name, "link", "set", "eth0", "up"].map(str::to_owned);
        let later = thread::spawn(move || {
            thread::sleep(ABSENCE);
            ip(&raise.each_ref().map(String::as_str));
        });
        links.await_carrier(&wanted).await.unwrap();
        assert!(begin.elapsed() >= ABSENCE);
        later.join().unwrap();
        // There will be none any more: nobody is held up for ever.
        workload.ip(&["link", "set", "eth0", "down"]);
        links.await_carrier(&wanted).await.unwrap();
        links.delete(&wanted.name).await.unwrap();
        links.await_carrier(&wanted).await.unwrap();
    });
}

#[test]
fn what_others_did_to_a_link_is_seen_and_put_right() {
    if !is_usable() {
        return;
    }
    let (host, workload) = (Space::new("host"), Space::new("work"));
    let instance = Owned::new("spoiled");
    let before = wanted(&instance.0, 1);
    block_on(async {
        let netns = workload.open();
        let links = Links::in_netns(&instance.0, &host.open()).unwrap();
        create(&links, &before, &netns).await;
        workload.ip(&["link", "set", "eth0", "down"]);
        workload.ip(&["link", "set", "eth0", "mtu", "1300"]);
        workload.ip(&["address", "add", "10.7.0.1/24", "dev", "eth0"]);
        let observed = observe(&links, &before.name, &netns).await.unwrap();
        let spoiled = observed.link().unwrap();
        assert_eq!((spoiled.mtu, spoiled.up), (0, false));
        assert!(spoiled.inside.routes.is_empty());
        links.adjust(&before, &netns).await.unwrap();
        let observed = observe(&links, &before.name, &netns).await.unwrap();
        assert_eq!(observed.link(), Some(&before));
    });
}

#[test]
fn an_interface_name_that_is_taken_is_an_error_and_nothing_stays() {
    if !is_usable() {
        return;
    }
    let (host, workload) = (Space::new("host"), Space::new("work"));
    workload.ip(&["link", "add", "eth0", "type", "bridge"]);
    let before = host.contents();
    let instance = Owned::new("taken");
    block_on(async {
        let links = Links::in_netns(&instance.0, &host.open()).unwrap();
        let netns = workload.open();
        let error = links
            .create(&wanted(&instance.0, 1), &netns)
            .await
            .unwrap_err();
        let taken = error.downcast_ref::<InterfaceTaken>().unwrap();
        assert_eq!((&*taken.workload, &*taken.interface), ("w1", "eth0"));
        assert!(format!("{error:#}").contains(&workload.name), "{error:#}");
    });
    assert_eq!(host.contents(), before);
}

#[test]
fn a_link_that_cannot_be_completed_says_why_and_can_be_deleted() {
    if !is_usable() {
        return;
    }
    let (host, workload) = (Space::new("host"), Space::new("work"));
    workload.ip(&["link", "set", "lo", "up"]);
    let before = (host.contents(), workload.contents());
    let instance = Owned::new("undo");
    let mut wanted = wanted(&instance.0, 1);
    // The last step inside: a next hop that is in no subnet of the port.
    wanted.inside.routes = routes(&[("10.8.0.0/16", "192.0.2.1")]);
    block_on(async {
        let links = Links::in_netns(&instance.0, &host.open()).unwrap();
        let netns = workload.open();
        links.create(&wanted, &netns).await.unwrap();
        let error = links.adjust(&wanted, &netns).await.unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("w1/eth0") && text.contains("192.0.2.1"),
            "{text}"
        );
        links.delete(&wanted.name).await.unwrap();
        // IPv6 with an MTU that it cannot have.
        wanted = super::wanted(&instance.0, 1);
        wanted.mtu = 1000;
        links.create(&wanted, &netns).await.unwrap();
        let error = links.adjust(&wanted, &netns).await.unwrap_err();
        assert!(format!("{error:#}").contains("1280"), "{error:#}");
        links.delete(&wanted.name).await.unwrap();
    });
    assert_eq!((host.contents(), workload.contents()), before);
}

#[test]
fn ipv6_is_switched_on_where_docker_switched_it_off() {
    if !is_usable() {
        return;
    }
    let (host, workload) = (Space::new("host"), Space::new("work"));
    let instance = Owned::new("ipv6");
    block_on(async {
        let netns = workload.open();
        netns
            .run(|| fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"))
            .unwrap()
            .unwrap();
        let links = Links::in_netns(&instance.0, &host.open()).unwrap();
        create(&links, &wanted(&instance.0, 1), &netns).await;
        let own = fs::read_to_string("/proc/sys/net/ipv6/conf/default/disable_ipv6").unwrap();
        assert_eq!(own.trim(), "0", "the test's own namespace was changed");
    });
}

#[test]
fn a_namespace_made_anew_under_its_old_name_is_another_one() {
    if !is_usable() {
        return;
    }
    let (host, workload) = (Space::new("host"), Space::new("work"));
    let instance = Owned::new("anew");
    let wanted = wanted(&instance.0, 1);
    block_on(async {
        let links = Links::in_netns(&instance.0, &host.open()).unwrap();
        let old = workload.open();
        create(&links, &wanted, &old).await;
        // Our handle keeps the old namespace, and the link in it, alive.
        workload.destroy();
        workload.make();
        let new = workload.open();
        assert_ne!(old.id(), new.id());
        let observed = observe(&links, &wanted.name, &new).await.unwrap();
        assert_eq!(observed.peer, Peer::Elsewhere);
        links.delete(&wanted.name).await.unwrap();
        create(&links, &wanted, &new).await;
    });
}

#[test]
fn half_made_links_are_ours_and_strangers_are_not() {
    if !is_usable() {
        return;
    }
    let (host, workload) = (Space::new("host"), Space::new("work"));
    let instance = Owned::new("half");
    let half = instance.0.host_end(PortId(1));
    let stranger = instance.0.host_end(PortId(2));
    let other = format!("{}x", instance.0.interface_prefix());
    host.ip(&[
        "link",
        "add",
        &half,
        "type",
        "veth",
        "peer",
        "eth0",
        "netns",
        &workload.name,
    ]);
    host.ip(&["link", "add", &stranger, "type", "bridge"]);
    host.ip(&["link", "add", &other, "type", "veth", "peer", "p"]);
    block_on(async {
        let links = Links::in_netns(&instance.0, &host.open()).unwrap();
        let netns = workload.open();
        let places = BTreeMap::from([(half.clone(), &netns)]);
        let observed = links.observe(&places).await.unwrap();
        assert_eq!(observed.keys().collect::<Vec<_>>(), [&half]);
        assert_eq!(observed[&half].peer, Peer::Elsewhere);
        assert!(links.delete(&stranger).await.is_err());
        assert!(links.delete(&other).await.is_err());
        links.delete(&half).await.unwrap();
    });
}
