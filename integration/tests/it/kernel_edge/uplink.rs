//! The program at the uplink: an interface that is not ours, with programs, filters and qdiscs of
//! others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType};
use bowline::instance::Instance;
use bowline::kernel::datapath::{Datapath, Mode, detach_everywhere, remove_all};
use bowline::kernel::object::Object;
use bowline::program::Program;
use maps_schema::IfIndex;

use bowline::kernel::capability::KernelVersion;
use integration::lab::{Feature, is_usable};

use super::{Owned, Space, settings};

/// A dot, which no pin's name may have: what VLAN interfaces are called.
pub(super) const UPLINK: &str = "up.100";

/// A host with an uplink.
pub(super) struct Wired {
    host: Space,
    pub(super) ifindex: IfIndex,
}

impl Wired {
    pub(super) fn new() -> Self {
        let host = Space::new("host");
        // An IPv6 address becomes usable by and by.
        let path = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
        host.open().run(|| fs::write(path, "1")).unwrap().unwrap();
        host.ip(&[
            "link", "add", UPLINK, "type", "veth", "peer", "name", "wire",
        ]);
        host.ip(&["link", "set", "wire", "up"]);
        host.ip(&["address", "add", "192.0.2.11/24", "dev", UPLINK]);
        host.ip(&["link", "set", UPLINK, "up"]);
        let index = host.ip(&["-o", "link", "show", "dev", UPLINK]);
        let index = index.split(':').next().unwrap().parse().unwrap();
        Self {
            host,
            ifindex: IfIndex(index),
        }
    }

    pub(super) fn interfaces(&self) -> BTreeMap<IfIndex, String> {
        BTreeMap::from([(self.ifindex, UPLINK.to_owned())])
    }

    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.host.open().run(work).unwrap()
    }

    /// What `tc` says about the uplink.
    fn tc(&self, arguments: &[&str]) -> String {
        let output = Command::new("tc")
            .args(["-n", &self.host.name])
            .args(arguments)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tc {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Everything at the uplink that is to stay as it is.
    pub(super) fn contents(&self) -> String {
        let filters = ["ingress", "egress"].map(|side| {
            let output = self.tc(&["filter", "show", "dev", UPLINK, side]);
            format!("{side}: {output}")
        });
        self.host.contents() + &self.tc(&["qdisc", "show", "dev", UPLINK]) + &filters.concat()
    }

    /// The programs at the uplink's ingress by name, in the order in which they run, without those
    /// of the qdisc.
    fn programs(&self) -> Vec<String> {
        if best_mode() == Mode::Clsact {
            return Vec::new();
        }
        let queried = self.run(|| SchedClassifier::query_tcx(UPLINK, TcAttachType::Ingress));
        let (_, programs) = queried.unwrap();
        let name = |info: &ProgramInfo| info.name_as_str().unwrap().to_owned();
        programs.iter().map(name).collect()
    }

    pub(super) fn load(&self, instance: &Instance, drop_events: bool, mode: Mode) -> Datapath {
        let object = Object::embedded().unwrap();
        self.run(|| {
            Datapath::load_in_mode(instance, &object, &settings(drop_events), mode).unwrap()
        })
    }

    pub(super) fn attach(&self, datapath: &mut Datapath) {
        self.run(|| datapath.attach(Program::UplinkIngress, self.ifindex, UPLINK))
            .unwrap();
    }

    fn detach(&self, datapath: &Datapath) {
        self.run(|| datapath.detach(Program::UplinkIngress, self.ifindex, UPLINK))
            .unwrap();
    }

    /// The fingerprint of what runs, which must be sound.
    fn attached(&self, datapath: &Datapath, program: Program) -> Option<String> {
        let attached = self.run(|| datapath.attached(program, &self.interfaces()));
        attached.unwrap().remove(&self.ifindex).map(|found| {
            assert!(found.sound, "{found:?}");
            found.fingerprint.unwrap()
        })
    }
}

fn attached_mode(mode: Mode, what: &str) {
    let wired = Wired::new();
    let before = wired.contents();
    let instance = Owned::new(what);
    let mut one = wired.load(&instance.0, false, mode);
    assert_eq!(wired.attached(&one, Program::UplinkIngress), None);
    for _ in 0..2 {
        wired.attach(&mut one);
        let found = wired.attached(&one, Program::UplinkIngress);
        assert_eq!(found.as_deref(), Some(one.fingerprint()));
    }
    // It is one program of two, and not the other one.
    assert_eq!(wired.attached(&one, Program::PortIngress), None);

    // Another setting makes other programs; the new one takes the place of the old one.
    let mut two = wired.load(&instance.0, true, mode);
    assert_ne!(two.fingerprint(), one.fingerprint());
    let found = wired.attached(&two, Program::UplinkIngress);
    assert_eq!(found.as_deref(), Some(one.fingerprint()));
    wired.attach(&mut two);
    two.prune(&BTreeSet::from([UPLINK.to_owned()])).unwrap();
    let found = wired.attached(&two, Program::UplinkIngress);
    assert_eq!(found.as_deref(), Some(two.fingerprint()));

    wired.detach(&two);
    wired.detach(&two);
    assert_eq!(wired.attached(&two, Program::UplinkIngress), None);
    assert_eq!(wired.contents(), before);
    remove_all(&instance.0).unwrap();
    assert!(!instance.0.bpffs_dir().exists());
}

#[test]
fn a_program_comes_to_the_uplink_and_goes_tcx() {
    if is_usable() && Feature::Tcx.is_there() {
        attached_mode(Mode::Tcx, "up-tcx");
    }
}

#[test]
fn a_program_comes_to_the_uplink_and_goes_clsact() {
    if is_usable() {
        attached_mode(Mode::Clsact, "up-clsact");
    }
}

fn best_mode() -> Mode {
    Mode::of(KernelVersion::running().unwrap())
}

/// The ways of attaching that this kernel has.
fn modes() -> Vec<Mode> {
    match best_mode() {
        Mode::Tcx => vec![Mode::Tcx, Mode::Clsact],
        Mode::Clsact => vec![Mode::Clsact],
    }
}

/// A filter of somebody else, in classic BPF: every packet passes.
const FILTER: &[&str] = &["pref", "98", "bpf", "bytecode", "1,6 0 0 4294967295"];

/// A qdisc and filters that were there before, or came while we were.
#[test]
fn what_others_have_at_the_uplink_stays() {
    if !is_usable() {
        return;
    }
    let qdisc = ["qdisc", "add", "dev", UPLINK, "clsact"];
    let filter = [&["filter", "add", "dev", UPLINK, "ingress"], FILTER].concat();
    let foreign: [&[&str]; 2] = [&qdisc, &filter];
    for mode in modes() {
        for first in 1..=foreign.len() {
            let wired = Wired::new();
            let instance = Owned::new(&format!("up-others-{first}-{mode:?}").to_lowercase());
            let (before, after) = foreign.split_at(first);
            before.iter().for_each(|command| drop(wired.tc(command)));
            let contents = wired.contents();
            let mut datapath = wired.load(&instance.0, false, mode);
            wired.attach(&mut datapath);
            wired.detach(&datapath);
            assert_eq!(wired.contents(), contents, "{mode:?} {before:?}");
            wired.attach(&mut datapath);
            after.iter().for_each(|command| drop(wired.tc(command)));
            wired.detach(&datapath);
            let left = wired.contents();
            assert!(left.contains("clsact"), "{mode:?} {after:?}: {left}");
            assert_eq!(left.matches("filter ").count(), 2, "{left}");
        }
    }
}

/// Somebody takes the BPF file system away, and with it what was noted.
#[test]
fn what_was_forgotten_in_between_goes_all_the_same() {
    if !is_usable() {
        return;
    }
    for mode in modes() {
        let wired = Wired::new();
        let instance = Owned::new(&format!("up-forgotten-{mode:?}").to_lowercase());
        let before = wired.contents();
        let mut datapath = wired.load(&instance.0, false, mode);
        wired.attach(&mut datapath);
        drop(datapath);
        fs::remove_dir_all(instance.0.bpffs_dir()).unwrap();
        let mut datapath = wired.load(&instance.0, false, mode);
        wired.attach(&mut datapath);
        wired.detach(&datapath);
        assert_eq!(wired.contents(), before, "{mode:?}");
    }
}

/// In a `clsact` that we added somebody else has put a filter: it is his now.
#[test]
fn a_qdisc_that_others_came_to_use_stays() {
    if !is_usable() {
        return;
    }
    let wired = Wired::new();
    let instance = Owned::new("up-shared");
    let mut datapath = wired.load(&instance.0, false, Mode::Clsact);
    wired.attach(&mut datapath);
    let filter = [&["filter", "add", "dev", UPLINK, "egress"], FILTER].concat();
    wired.tc(&filter);
    wired.detach(&datapath);
    let left = wired.contents();
    assert!(
        left.contains("clsact") && left.contains("bytecode"),
        "{left}"
    );
    assert!(!left.contains("uplink_ingress"), "{left}");
    // It stays after another round, too.
    wired.attach(&mut datapath);
    wired.detach(&datapath);
    assert_eq!(wired.contents(), left);
}

/// Two instances at one uplink do not take one another's programs for their own.
#[test]
fn instances_share_an_uplink() {
    if !is_usable() {
        return;
    }
    for mode in modes() {
        let wired = Wired::new();
        let before = wired.contents();
        let one = Owned::new(&format!("up-one-{mode:?}").to_lowercase());
        let other = Owned::new(&format!("up-other-{mode:?}").to_lowercase());
        let mut first = wired.load(&one.0, false, mode);
        wired.attach(&mut first);
        let mut second = wired.load(&other.0, false, mode);
        assert_eq!(wired.attached(&second, Program::UplinkIngress), None);
        wired.attach(&mut second);
        let first = wired.load(&one.0, false, mode);
        for datapath in [&first, &second] {
            let found = wired.attached(datapath, Program::UplinkIngress);
            assert_eq!(found.as_deref(), Some(datapath.fingerprint()));
        }
        wired.detach(&first);
        assert_eq!(wired.attached(&first, Program::UplinkIngress), None);
        assert!(wired.attached(&second, Program::UplinkIngress).is_some());
        wired.detach(&second);
        // The qdisc was added by the first one, which left it to the second.
        if mode == Mode::Tcx {
            assert_eq!(wired.contents(), before);
        }
    }
}

/// A program that lets every packet pass ends the chain at the hook: ours is asked before.
#[test]
fn ours_is_asked_first() {
    if !is_usable() || !Feature::Tcx.is_there() {
        return;
    }
    let wired = Wired::new();
    let (instance, other) = (Owned::new("up-first"), Owned::new("up-stranger"));
    let mut stranger = wired.load(&other.0, false, Mode::Tcx);
    wired
        .run(|| stranger.attach(Program::PortIngress, wired.ifindex, UPLINK))
        .unwrap();
    let mut datapath = wired.load(&instance.0, false, Mode::Tcx);
    wired.attach(&mut datapath);
    assert_eq!(wired.programs(), ["uplink_ingress", "port_ingress"]);
    wired.detach(&datapath);
    assert_eq!(wired.programs(), ["port_ingress"]);
}

/// The way out when the rest of the datapath is in ruins.
#[test]
fn what_cannot_be_opened_can_be_detached() {
    if !is_usable() {
        return;
    }
    let wired = Wired::new();
    let before = wired.contents();
    let instance = Owned::new("up-ruins");
    let mode = best_mode();
    let mut datapath = wired.load(&instance.0, false, mode);
    wired.attach(&mut datapath);
    drop(datapath);
    std::fs::remove_file(instance.0.pin_dir().join("maps/PORTS")).unwrap();
    let detach =
        || detach_everywhere(&instance.0, Program::UplinkIngress, &wired.interfaces()).unwrap();
    wired.run(detach);
    wired.run(detach);
    assert_eq!(wired.contents(), before);
    assert_eq!(wired.programs(), Vec::<String>::new());
}
