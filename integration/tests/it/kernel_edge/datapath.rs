//! The pinned datapath: maps, program and attachments.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;

use aya::programs::{SchedClassifier, TcAttachType, loaded_programs};
use bowline::holdings::Attachment;
use bowline::kernel::bpffs;
use bowline::kernel::datapath::{Datapath, Mode, remove_all};
use bowline::kernel::link::Links;
use bowline::kernel::object::Object;
use bowline::link::Link;
use bowline::program::{Program, Settings};
use integration::lab::{Feature, eventually, is_usable};
use maps_schema::map::{FdbEntry, FdbKey, IngressPort, MapName, PortCounters};
use maps_schema::plain::bytes_of;
use maps_schema::{IfIndex, Mac, PolicyList, PortId, RouterId, Vni};

use super::{Owned, Space, block_on, create, settings, wanted};

/// A host with one link to a workload, and the instance whose it is.
struct Plugged {
    instance: Owned,
    host: Space,
    workload: Space,
    link: Link,
    ifindex: IfIndex,
}

impl Plugged {
    fn new(what: &str) -> Self {
        let (host, workload) = (Space::new("host"), Space::new("work"));
        let instance = Owned::new(what);
        let link = wanted(&instance.0, 1);
        let ifindex = block_on(async {
            let links = Links::in_netns(&instance.0, &host.open()).unwrap();
            create(&links, &link, &workload.open()).await
        });
        Self {
            instance,
            host,
            workload,
            link,
            ifindex,
        }
    }

    fn load(&self, drop_events: bool, mode: Mode) -> Datapath {
        let object = Object::embedded().unwrap();
        Datapath::load_in_mode(&self.instance.0, &object, &settings(drop_events), mode).unwrap()
    }

    fn attachment(&self, datapath: &Datapath) -> Option<Attachment> {
        let interfaces = BTreeMap::from([
            (self.ifindex, self.link.name.clone()),
            (IfIndex(9999), "gone".to_owned()),
        ]);
        datapath
            .attached(Program::PortIngress, &interfaces)
            .unwrap()
            .remove(&self.ifindex)
    }

    /// How many frames of the workload were counted.
    fn frames(&self, datapath: &Datapath) -> u64 {
        datapath.counters().unwrap()[&PortId(1)].ingress_packets
    }

    /// Makes the workload ask for a neighbor, and waits until that was counted.
    fn is_counting(&self, datapath: &Datapath) {
        let before = self.frames(datapath);
        self.workload.open().run(send).unwrap();
        eventually("a counted frame", || self.frames(datapath) > before);
    }
}

fn send() {
    let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
    for last in 2..=9 {
        // Nobody is there: what counts is the attempt.
        let _ = socket.send_to(b"knock", format!("10.9.0.{last}:9"));
    }
}

fn is_loaded(program: u32) -> bool {
    loaded_programs().any(|info| info.is_ok_and(|info| info.id() == program))
}

fn attached_mode(mode: Mode) {
    let plugged = Plugged::new(match mode {
        Mode::Tcx => "tcx",
        Mode::Clsact => "clsact",
    });
    let instance = &plugged.instance.0;
    let host = plugged.host.open();
    let name = plugged.link.name.clone();
    let before = plugged.host.contents();
    let mut ids = Vec::new();
    host.run(|| {
        assert!(Datapath::open(instance).unwrap().is_none());
        let mut one = plugged.load(false, mode);
        write_rows(&mut one, plugged.ifindex);
        assert_eq!(plugged.attachment(&one), None);
        for _ in 0..2 {
            one.attach(Program::PortIngress, plugged.ifindex, &name)
                .unwrap();
            let attached = plugged.attachment(&one).unwrap();
            assert_eq!(attached.fingerprint.as_deref(), Some(one.fingerprint()));
            assert!(attached.sound);
        }
        plugged.is_counting(&one);
        ids.push(one.program_info(Program::PortIngress).unwrap().id());
        let first = one.fingerprint().to_owned();
        drop(one);

        // Another setting is another program, and the rows stay.
        let mut two = plugged.load(true, mode);
        ids.push(two.program_info(Program::PortIngress).unwrap().id());
        assert_ne!(two.fingerprint(), first);
        let attached = plugged.attachment(&two).unwrap();
        assert_eq!(attached.fingerprint.as_deref(), Some(&*first));
        two.attach(Program::PortIngress, plugged.ifindex, &name)
            .unwrap();
        let attached = plugged.attachment(&two).unwrap();
        assert_eq!(attached.fingerprint.as_deref(), Some(two.fingerprint()));
        plugged.is_counting(&two);
        let old_version = instance.bpffs_dir().join("v0/links");
        fs::create_dir_all(&old_version).unwrap();
        two.prune(&BTreeSet::from([name.clone()])).unwrap();
        assert!(!instance.bpffs_dir().join("v0").exists());
        eventually("the old program is gone", || !is_loaded(ids[0]));
        plugged.is_counting(&two);
        drop(two);

        unplug(&plugged, mode, ids[1]);
    })
    .unwrap();
    assert_eq!(plugged.host.contents(), before);
    assert!(!instance.bpffs_dir().exists());
    eventually("the programs are gone", || {
        !ids.iter().any(|&id| is_loaded(id))
    });
}

/// Finds the loaded program again, and removes everything.
fn unplug(plugged: &Plugged, mode: Mode, program: u32) {
    let (instance, name) = (&plugged.instance.0, &plugged.link.name);
    let opened = Datapath::open(instance).unwrap().unwrap();
    assert_eq!(
        opened.program_info(Program::PortIngress).unwrap().id(),
        program
    );
    let again = plugged.load(true, mode);
    assert_eq!(
        again.program_info(Program::PortIngress).unwrap().id(),
        program,
        "loaded once more"
    );
    again
        .detach(Program::PortIngress, plugged.ifindex, name)
        .unwrap();
    again
        .detach(Program::PortIngress, plugged.ifindex, name)
        .unwrap();
    assert_eq!(plugged.attachment(&again), None);
    drop((opened, again));
    remove_all(instance).unwrap();
    remove_all(instance).unwrap();
    assert!(Datapath::open(instance).unwrap().is_none());
}

fn write_rows(datapath: &mut Datapath, ifindex: IfIndex) {
    let (port, mac) = (PortId(1), Mac::new([2, 0x62, 0x6c, 0, 0, 1]));
    let ingress = IngressPort {
        port,
        vni: Vni::new(7).unwrap(),
        mac,
        flags: 0,
        reserved: 0,
        policy: PolicyList::NONE,
    };
    let counters = bytes_of(&PortCounters::ZERO);
    datapath
        .write(MapName::Counters, bytes_of(&port), counters)
        .unwrap();
    datapath
        .write(MapName::Interfaces, bytes_of(&ifindex), bytes_of(&ingress))
        .unwrap();
}

#[test]
fn a_program_runs_is_replaced_and_goes_tcx() {
    if is_usable() && Feature::Tcx.is_there() {
        attached_mode(Mode::Tcx);
    }
}

#[test]
fn a_program_runs_is_replaced_and_goes_clsact() {
    if is_usable() {
        attached_mode(Mode::Clsact);
    }
}

#[test]
fn rows_are_written_read_and_removed() {
    if !is_usable() {
        return;
    }
    let instance = Owned::new("rows");
    let object = Object::embedded().unwrap();
    let mut datapath = Datapath::load(&instance.0, &object, &Settings::default()).unwrap();
    let widths: &[(MapName, usize, usize)] = &[
        (MapName::Counters, 4, 0),
        (MapName::RuleCounters, 4, 0),
        (MapName::Rules, 8, 12),
        (MapName::Matches, 16, 64),
        (MapName::Services, 16, 4),
        (MapName::Prefixes, 28, 4),
        (MapName::IdentityPrefixes, 24, 32),
        (MapName::Identities, 20, 32),
        (MapName::Policies, 4, 8),
        (MapName::Ports, 4, 48),
        (MapName::RouterPorts, 4, 56),
        (MapName::RouterAddresses, 20, 4),
        (MapName::NextHops, 8, 20),
        (MapName::Routes, 28, 32),
        (MapName::Gateways, 8, 4),
        (MapName::Sources, 28, 24),
        (MapName::Public, 20, 24),
        (MapName::Neighbors, 20, 12),
        (MapName::Fdb, 12, 8),
        (MapName::Flood, 8, 8),
        (MapName::Networks, 4, 24),
        (MapName::Interfaces, 4, 20),
        (MapName::Direct, 16, 20),
        (MapName::Members, 8, 4),
        (MapName::Peers, 16, 8),
        (MapName::Uplinks, 4, 28),
        (MapName::Epochs, 4, 8),
    ];
    let tries = [
        MapName::Services,
        MapName::Prefixes,
        MapName::IdentityPrefixes,
        MapName::Routes,
        MapName::Sources,
    ];
    assert_eq!(widths.len(), MapName::ALL.len());
    for &(map, key_len, value_len) in widths {
        let mut expected = BTreeMap::new();
        let key = |n: u8| {
            let mut key = vec![n; key_len];
            if tries.contains(&map) {
                // The length of the prefix in bits comes first: the whole rest of the key.
                let bits = 8 * (key_len as u32 - 4);
                key[..4].copy_from_slice(&bits.to_ne_bytes());
            }
            key
        };
        for n in 1..=3_u8 {
            let (key, value) = (key(n), vec![n; value_len]);
            datapath.write(map, &key, &value).unwrap();
            datapath.write(map, &key, &value).unwrap();
            expected.insert(key, value);
        }
        assert_eq!(datapath.rows(map).unwrap(), expected, "{map:?}");
        assert!(datapath.write(map, &[0], &vec![0; value_len]).is_err());
        datapath.remove(map, &key(2)).unwrap();
        datapath.remove(map, &key(2)).unwrap();
        expected.remove(&key(2));
        assert_eq!(datapath.rows(map).unwrap(), expected, "{map:?}");
    }
    let entry = FdbEntry {
        port: PortId(5),
        router: RouterId::NONE,
    };
    let key = FdbKey::new(Vni::new(7).unwrap(), Mac::new([2, 0, 0, 0, 0, 1]));
    datapath
        .write(MapName::Fdb, bytes_of(&key), bytes_of(&entry))
        .unwrap();
    assert_eq!(
        datapath.rows(MapName::Fdb).unwrap()[bytes_of(&key)],
        bytes_of(&entry)
    );
    let counters = datapath.counters().unwrap();
    assert!(
        counters
            .values()
            .all(|counters| *counters == PortCounters::ZERO)
    );
    assert!(datapath.learned().unwrap().is_empty());
    // Another process finds the same rows.
    let opened = Datapath::open(&instance.0).unwrap().unwrap();
    let ports = opened.rows(MapName::Ports).unwrap();
    assert_eq!(ports.len(), 2);
}

#[test]
fn an_attachment_whose_pin_is_lost_is_adopted_and_not_doubled() {
    if !is_usable() || !Feature::Tcx.is_there() {
        return;
    }
    let plugged = Plugged::new("orphan");
    let instance = &plugged.instance.0;
    let name = plugged.link.name.clone();
    let pin = format!("links/port_ingress@{name}");
    let pin = instance.pin_dir().join(pin);
    plugged
        .host
        .open()
        .run(|| {
            let mut datapath = plugged.load(false, Mode::Tcx);
            write_rows(&mut datapath, plugged.ifindex);
            datapath
                .attach(Program::PortIngress, plugged.ifindex, &name)
                .unwrap();
            // As after a BPF file system was mounted over ours: the pin is out of sight and works.
            let hidden = instance.pin_dir().join("hidden");
            fs::rename(&pin, &hidden).unwrap();
            assert!(!plugged.attachment(&datapath).unwrap().sound);
            datapath
                .attach(Program::PortIngress, plugged.ifindex, &name)
                .unwrap();
            assert!(plugged.attachment(&datapath).unwrap().sound);
            let (_, programs) = SchedClassifier::query_tcx(&name, TcAttachType::Ingress).unwrap();
            assert_eq!(programs.len(), 1);
            // The pin of an interface of the past: the link in it is attached to nothing.
            fs::remove_file(&hidden).unwrap();
            datapath
                .detach(Program::PortIngress, plugged.ifindex, &name)
                .unwrap();
            datapath
                .attach(Program::PortIngress, plugged.ifindex, &name)
                .unwrap();
        })
        .unwrap();
    block_on(async {
        let links = Links::in_netns(instance, &plugged.host.open()).unwrap();
        links.delete(&name).await.unwrap();
        assert!(pin.exists());
        let ifindex = create(&links, &plugged.link, &plugged.workload.open()).await;
        assert_ne!(ifindex, plugged.ifindex);
        let attach = || {
            let mut datapath = plugged.load(false, Mode::Tcx);
            write_rows(&mut datapath, ifindex);
            datapath
                .attach(Program::PortIngress, ifindex, &name)
                .unwrap();
            plugged.is_counting(&datapath);
            datapath.prune(&BTreeSet::new()).unwrap();
        };
        plugged.host.open().run(attach).unwrap();
    });
    assert!(!pin.exists());
}

#[test]
fn what_a_crash_left_is_completed() {
    if !is_usable() {
        return;
    }
    let instance = Owned::new("crash");
    let object = Object::embedded().unwrap();
    let load = || Datapath::load(&instance.0, &object, &Settings::default()).unwrap();
    let first = load().program_info(Program::PortIngress).unwrap().id();
    let row = ([1; 4], [2; 48]);
    load().write(MapName::Ports, &row.0, &row.1).unwrap();

    // A program's pin is missing: all are loaded again on the maps that are there.
    let programs: Vec<PathBuf> = fs::read_dir(instance.0.pin_dir().join("programs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    // Those of TC, and the one of XDP.
    assert_eq!(programs.len(), Program::ALL.len() + 1);
    fs::remove_file(&programs[1]).unwrap();
    assert!(Datapath::open(&instance.0).unwrap().is_none());
    let second = load();
    assert_ne!(
        second.program_info(Program::PortIngress).unwrap().id(),
        first
    );
    assert_eq!(second.rows(MapName::Ports).unwrap().len(), 1);

    // A map's pin is missing: the program works on a map that nobody can write any more.
    fs::remove_file(instance.0.pin_dir().join("maps/PORTS")).unwrap();
    assert!(Datapath::open(&instance.0).unwrap().is_none());
    let third = load();
    assert_ne!(
        third.program_info(Program::PortIngress).unwrap().id(),
        second.program_info(Program::PortIngress).unwrap().id()
    );
    assert!(third.rows(MapName::Ports).unwrap().is_empty());
    bpffs::prepare(&instance.0).unwrap();
}
