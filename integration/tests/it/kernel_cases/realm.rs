//! A case's topology in the kernel: veth pairs between two namespaces of its own, and the datapath
//! with the plan's rows.

use std::collections::BTreeMap;
use std::marker;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aya::Pod;
use aya::maps::{HashMap, Map, MapData};
use aya::programs::SchedClassifier;
use bowline::instance::Instance;
use bowline::kernel::datapath::{Datapath, remove_all};
use bowline::kernel::object::Object;
use bowline::plan::Plan;
use bowline::program::{Program, Settings};
use bowline::topology::PortName;
use integration::case::{
    Case, Counters, Flows, HERE, Outcome, Peer, Receiver, Send, Step, UPLINK, WORLD, receiver_of,
    without_macs,
};
use integration::cast::{NEXT_HOP_MAC, UPLINK_MAC};
use integration::lab::{Namespace, PacketSocket, veth};
use maps_schema::map::{
    Budget, BudgetKey, EMBRYOS, ERROR_BUDGETS, FLOWS, FRAGMENTS, FdbKey, Flow, FlowKey,
    FragmentKey, LEARNED, LearnedEntry, MapName, NeighborKey, RESOLVED, Resolved, Start,
};
use maps_schema::plain::bytes_of;
use maps_schema::{IfIndex, Ip, PortId};

use super::Memory;

/// A case's topology in the kernel.
pub(crate) struct Realm<'a> {
    case: &'a Case,
    instance: Owned,
    host: Namespace,
    /// All workloads: the datapath does not know how many namespaces they are in.
    _workloads: Namespace,
    datapath: Mutex<Datapath>,
    ports: BTreeMap<PortName, Plugged>,
    /// The interface to the underlay.
    uplink: Option<Plugged>,
}

/// A port's veth pair, or the uplink's.
pub(crate) struct Plugged {
    /// Name and index of the host's end.
    pub(crate) host_end: String,
    pub(crate) ifindex: IfIndex,
    /// At the other end.
    pub(crate) socket: PacketSocket,
}

/// An instance whose pins are gone with it.
struct Owned(Instance);

impl Drop for Owned {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = remove_all(&self.0);
    }
}

impl<'a> Realm<'a> {
    pub(super) fn new(case: &'a Case, memory: Memory) -> Self {
        let (host, workloads) = (Namespace::quiet("host"), Namespace::quiet("work"));
        let instance = Owned(instance());
        let object = Object::embedded().unwrap_or_else(|error| panic!("{error:#}"));
        let mut datapath = Datapath::load(&instance.0, &object, &Settings::default())
            .unwrap_or_else(|error| panic!("{error:#}"));
        let uplink = case
            .has_uplink()
            .then(|| plug_uplink(case, &host, &workloads));
        let plan = case.plan(uplink.as_ref().map_or(IfIndex(0), |uplink| uplink.ifindex));
        let ports = plug(&plan, &host, &workloads);
        let interfaces = ports
            .values()
            .map(|plugged| (plugged.host_end.clone(), plugged.ifindex))
            .collect();
        let rows = plan.rows(&interfaces);
        let is_wanted = |map: &MapName| *map != MapName::Epochs || memory == Memory::Epochs;
        for map in MapName::ALL.iter().filter(|map| is_wanted(map)) {
            for (key, value) in &rows[map] {
                datapath.write(*map, key, value).unwrap();
            }
        }
        Self {
            case,
            instance,
            host,
            _workloads: workloads,
            datapath: Mutex::new(datapath),
            ports,
            uplink,
        }
    }

    /// Where a frame of the case comes in, and the program that it meets.
    pub(crate) fn entry(&self, frame: &Send) -> (&Plugged, Program) {
        match &frame.origin {
            Receiver::Port(port) => (&self.ports[port], Program::PortIngress),
            Receiver::Peer(_) | Receiver::Outside(_) => {
                let uplink = self.uplink.as_ref();
                let uplink = uplink.expect("only a case with hosts has peers and an outside");
                (uplink, Program::UplinkIngress)
            }
        }
    }

    /// What has arrived since the last call, and where. Of packets on the underlay the Ethernet addresses
    /// are the kernel's matter.
    pub(crate) fn arrived(&self) -> impl Iterator<Item = (Receiver, Vec<u8>)> {
        let ports = self.ports.iter().flat_map(|(name, plugged)| {
            let wires = plugged.socket.drain().into_iter();
            wires.map(|wire| (Receiver::Port(name.clone()), wire))
        });
        let packets = self.uplink.iter().flat_map(|uplink| uplink.socket.drain());
        let sent = packets.filter_map(|mut wire| {
            // What the host says for itself is for nobody of the case.
            let receiver = receiver_of(&self.case.topology, &wire).ok()?;
            without_macs(&mut wire);
            Some((receiver, wire))
        });
        ports.chain(sent)
    }

    /// Whether copies may come in again: then the programs must be there to meet them.
    pub(crate) fn has_uplink(&self) -> bool {
        self.uplink.is_some()
    }

    /// Runs something in the host's namespace.
    pub(crate) fn on_host<T: marker::Send>(&self, work: impl FnOnce() -> T + marker::Send) -> T {
        self.host.run(work)
    }

    /// Attaches the programs to every port and to the uplink.
    pub(crate) fn attach(&self) {
        self.on_host(|| {
            let mut datapath = self.datapath.lock().unwrap();
            for plugged in self.ports.values() {
                let attached =
                    datapath.attach(Program::PortIngress, plugged.ifindex, &plugged.host_end);
                attached.unwrap_or_else(|error| panic!("{error:#}"));
            }
            if let Some(uplink) = &self.uplink {
                let attached = datapath.attach(Program::UplinkIngress, uplink.ifindex, UPLINK);
                attached.unwrap_or_else(|error| panic!("{error:#}"));
            }
        });
    }

    /// One of the loaded programs.
    pub(crate) fn program(&self, program: Program) -> SchedClassifier {
        let fingerprint = self.datapath.lock().unwrap().fingerprint().to_owned();
        let pin = format!("programs/{}-{fingerprint}", program.symbol());
        SchedClassifier::from_pin(self.instance.0.pin_dir().join(pin)).unwrap()
    }

    /// Takes a step that is no frame.
    pub(crate) fn take(&self, step: &Step) {
        match step {
            Step::Send(_) => unreachable!("frames are sent"),
            Step::Wait(time) => self.age(*time),
            Step::Unplug(port) => {
                let id = self.case.topology.ports[port].id;
                let mut datapath = self.datapath.lock().unwrap();
                datapath.remove(MapName::Ports, bytes_of(&id)).unwrap();
            }
        }
    }

    /// Lets time pass for what was learned and asked for, and for connections. The kernel's clock cannot be moved, so the
    /// entries are.
    fn age(&self, time: Duration) {
        let passed = u64::try_from(time.as_nanos()).unwrap();
        self.rewrite(LEARNED, |_: &FdbKey, entry: &mut LearnedEntry| {
            entry.seen_ns = entry.seen_ns.saturating_sub(passed);
        });
        self.rewrite(RESOLVED, |_: &NeighborKey, entry: &mut Resolved| {
            entry.time_ns = entry.time_ns.saturating_sub(passed);
        });
        self.rewrite(ERROR_BUDGETS, |_: &BudgetKey, entry: &mut Budget| {
            entry.time_ns = entry.time_ns.saturating_sub(passed);
        });
        for flows in [FLOWS, EMBRYOS] {
            self.rewrite(flows, |_: &FlowKey, flow: &mut Flow| {
                flow.seen_ns = flow.seen_ns.saturating_sub(passed);
            });
        }
        self.rewrite(FRAGMENTS, |_: &FragmentKey, start: &mut Start| {
            start.seen_ns = start.seen_ns.saturating_sub(passed);
        });
    }

    /// Changes every row of a map that the datapath fills.
    fn rewrite<K: Pod, V: Pod>(&self, symbol: &str, change: impl Fn(&K, &mut V)) {
        let path = self.instance.0.pin_dir().join("maps").join(symbol);
        let map = Map::LruHashMap(MapData::from_pin(path).unwrap());
        let mut map: HashMap<_, K, V> = HashMap::try_from(map).unwrap();
        let rows: Vec<_> = map.iter().map(Result::unwrap).collect();
        for (key, mut row) in rows {
            change(&key, &mut row);
            map.insert(key, row, 0).unwrap();
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.datapath.lock().unwrap().counters().unwrap()
    }

    pub(crate) fn resolved(&self) -> BTreeMap<(u32, Ip), (String, PortId, u32)> {
        let resolved = self.datapath.lock().unwrap().resolved().unwrap();
        Outcome::neighbors(&resolved)
    }

    pub(crate) fn flows(&self) -> Flows {
        Outcome::connections(&self.datapath.lock().unwrap().flows().unwrap())
    }

    pub(crate) fn learned(&self) -> BTreeMap<(u32, String), PortId> {
        let learned = self.datapath.lock().unwrap().learned().unwrap();
        learned
            .into_iter()
            .map(|(key, entry)| ((key.vni.number(), key.mac.to_string()), entry.port))
            .collect()
    }
}

fn instance() -> Instance {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("case-{}-{count}", std::process::id());
    Instance::new(Some(&name)).unwrap()
}

/// Makes the plan's links, by hand and bare: the cases are about frames and not about links.
fn plug(plan: &Plan, host: &Namespace, workloads: &Namespace) -> BTreeMap<PortName, Plugged> {
    let ends: BTreeMap<PortName, String> = Case::host_ends(plan);
    (0..)
        .zip(ends)
        .map(|(number, (name, host_end))| {
            let inside = format!("w{number}");
            veth((host, &host_end), (workloads, &inside));
            let ifindex = ifindex(host, &host_end).expect("the index of a new interface");
            let socket = PacketSocket::new(workloads, &inside);
            let plugged = Plugged {
                host_end,
                ifindex,
                socket,
            };
            (name, plugged)
        })
        .collect()
}

/// Makes the link to the underlay. The kernel knows the way to every peer, and all of them as neighbors.
fn plug_uplink(case: &Case, host: &Namespace, workloads: &Namespace) -> Plugged {
    veth((host, UPLINK), (workloads, "underlay"));
    let own = case.topology.hosts[HERE].address;
    let prefix_len = if own.is_ipv4() {
        24
    } else {
        host.sysctl(&format!("net/ipv6/conf/{UPLINK}/disable_ipv6"), "0");
        64
    };
    let mut add = vec!["address", "add"];
    let local = format!("{own}/{prefix_len}");
    add.extend([&local, "dev", UPLINK]);
    if own.is_ipv6() {
        add.push("nodad");
    }
    host.ip(&add);
    host.ip(&["link", "set", UPLINK, "address", &UPLINK_MAC.to_string()]);
    let peers = Peer::names(&case.topology);
    let peers = peers.map(|name| Peer::named(&case.topology, name).expect("a peer").address);
    let next_hop: IpAddr = if own.is_ipv4() {
        "192.0.2.1".parse().unwrap()
    } else {
        "2001:db8::1".parse().unwrap()
    };
    let mac = NEXT_HOP_MAC.to_string();
    for neighbor in peers.chain([next_hop]) {
        let neighbor = neighbor.to_string();
        host.ip(&["neigh", "replace", &neighbor, "lladdr", &mac, "dev", UPLINK]);
    }
    let world = WORLD[usize::from(own.is_ipv6())];
    host.ip(&[
        "route",
        "add",
        world,
        "via",
        &next_hop.to_string(),
        "dev",
        UPLINK,
    ]);
    Plugged {
        host_end: UPLINK.to_owned(),
        ifindex: ifindex(host, UPLINK).expect("the index of a new interface"),
        socket: PacketSocket::new(workloads, "underlay"),
    }
}

/// `/sys` shows the interfaces of the namespace that it was mounted in, so the kernel is asked.
fn ifindex(host: &Namespace, interface: &str) -> Option<IfIndex> {
    let links = host.ip(&["-j", "link", "show", "dev", interface]);
    let links: serde_json::Value = serde_json::from_str(&links).ok()?;
    let index = links.get(0)?.get("ifindex")?.as_u64()?;
    Some(IfIndex(u32::try_from(index).ok()?))
}
