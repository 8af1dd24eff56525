//! The edge to the kernel by itself: links, namespaces, pinned maps, programs and attachments, in
//! throw-away namespaces that stand for the host and its workloads.

mod changed;
mod datapath;
mod figures;
mod indoors;
mod link;
mod uplink;
mod xdp;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use bowline::holdings::Observed;
use bowline::instance::Instance;
use bowline::kernel::datapath::remove_all;
use bowline::kernel::link::Links;
use bowline::kernel::netns::Netns;
use bowline::link::{Inside, Link, Route};
use bowline::program::Settings;
use bowline::topology::PortName;
use integration::lab::{Feature, is_usable};
use maps_schema::{IfIndex, Mac, PortId};

/// What programs are loaded with, with and without events.
fn settings(drop_events: bool) -> Settings {
    Settings {
        drop_events,
        ..Settings::default()
    }
}

/// A network namespace of the test's own.
struct Space {
    name: String,
}

impl Space {
    fn new(what: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bledge-{}-{count}-{what}", std::process::id());
        let space = Self { name };
        space.make();
        space
    }

    fn make(&self) {
        ip(&["netns", "add", &self.name]);
    }

    fn destroy(&self) {
        ip(&["netns", "delete", &self.name]);
    }

    fn open(&self) -> Netns {
        Netns::by_name(&self.name).unwrap()
    }

    fn ip(&self, arguments: &[&str]) -> String {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments);
        ip(&all)
    }

    /// Everything that `ip` tells about one interface.
    fn describe(&self, interface: &str) -> String {
        calm(
            &(self.ip(&["-d", "link", "show", "dev", interface])
                + &self.ip(&["address", "show", "dev", interface])),
        )
    }

    /// Everything that `ip` tells about the namespace.
    fn contents(&self) -> String {
        calm(&(self.ip(&["-d", "link"]) + &self.ip(&["address"]) + &self.ip(&["route"])))
    }
}

/// Without what the kernel finds out about a new link a moment later: whether it has a carrier.
fn calm(text: &str) -> String {
    text.replace("NO-CARRIER,", "")
        .replace("LOWER_UP,", "")
        .replace(",LOWER_UP", "")
        .replace(" state DOWN ", " ")
        .replace(" state UP ", " ")
        .replace(" state LOWERLAYERDOWN ", " ")
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .output();
    }
}

fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "ip {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// An instance of the test's own, whose pins are gone afterwards whatever happens.
struct Owned(Instance);

impl Owned {
    fn new(what: &str) -> Self {
        let name = format!("edge-{}-{what}", std::process::id());
        Self(Instance::new(Some(&name)).unwrap())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = remove_all(&self.0);
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

fn wanted(instance: &Instance, port: u32) -> Link {
    let name = PortName {
        workload: format!("w{port}"),
        interface: "eth0".to_owned(),
    };
    Link {
        name: instance.host_end(PortId(port)),
        alias: instance.alias(&name),
        mtu: 1450,
        up: true,
        inside: Inside {
            interface: "eth0".to_owned(),
            mac: Mac::new([2, 0x62, 0x6c, 0, 0, port.to_be_bytes()[3]]),
            addresses: addresses(&["10.9.0.1/24", "fd09::1/64"]),
            routes: routes(&[("0.0.0.0/0", "10.9.0.254"), ("fd0a::/48", "fd09::fe")]),
        },
    }
}

fn addresses(texts: &[&str]) -> BTreeSet<ipnet::IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn routes(texts: &[(&str, &str)]) -> BTreeSet<Route> {
    let route = |&(to, via): &(&str, &str)| Route {
        to: to.parse().unwrap(),
        via: via.parse().unwrap(),
    };
    texts.iter().map(route).collect()
}

async fn observe(links: &Links, name: &str, netns: &Netns) -> Option<Observed> {
    let places = BTreeMap::from([(name.to_owned(), netns)]);
    links.observe(&places).await.unwrap().remove(name)
}

/// Makes the link and completes it, and checks that it counts as half-made until then, and that what
/// is there in the end is what was asked for.
async fn create(links: &Links, link: &Link, netns: &Netns) -> IfIndex {
    let ifindex = links.create(link, netns).await.unwrap();
    let observed = observe(links, &link.name, netns).await.unwrap();
    assert_eq!((observed.link(), observed.alias.as_deref()), (None, None));
    links.adjust(link, netns).await.unwrap();
    let observed = observe(links, &link.name, netns).await.unwrap();
    assert_eq!(observed.link(), Some(link));
    assert_eq!(observed.ifindex, ifindex);
    assert_eq!(observed.alias.as_ref(), Some(&link.alias));
    ifindex
}

#[test]
fn work_inside_a_namespace_leaves_the_thread_outside() {
    if !is_usable() {
        return;
    }
    let space = Space::new("run");
    let (inside, outside) = (space.open(), Netns::current().unwrap());
    assert_ne!(inside.id(), outside.id());
    let seen = inside.run(|| Netns::current().unwrap().id()).unwrap();
    assert_eq!(seen, inside.id());
    assert_eq!(Netns::current().unwrap().id(), outside.id());
    let typo = format!("{}x", space.name);
    let error = Netns::by_name(&typo).unwrap_err();
    assert!(error.to_string().contains(&space.name), "{error}");
}

/// Tests of tunnels and of other bridges ask for these. Where one is missing they are skipped, and so
/// is this, which says which one it is.
#[test]
fn the_kernel_has_what_bowline_is_compared_with() {
    if is_usable() {
        let _ = Feature::MODULES.iter().all(|feature| feature.is_there());
    }
}
