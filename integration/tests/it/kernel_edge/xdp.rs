//! The XDP program at the uplink, of which an interface has one at most.

use std::collections::BTreeSet;
use std::fs;

use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya_obj::programs::XdpAttachType;
use bowline::holdings::XdpState;
use bowline::kernel::datapath::{Datapath, Mode, detach_xdp_everywhere, remove_all, xdp};
use bowline::program::{UPLINK_XDP, XdpMode};
use datapath::memory::{MemoryFrame, MemoryTables};
use integration::lab::is_usable;
use maps_schema::map::{
    EgressPort, IngressPort, MapName, Member, MemberKey, Network, Peer, PortCounters, Uplink,
};
use maps_schema::plain::bytes_of;
use maps_schema::{FloodList, Ip, Plain, PortId, Vni};

use super::Owned;
use super::uplink::{UPLINK, Wired};

const MODES: [XdpMode; 2] = [XdpMode::Native, XdpMode::Generic];

fn attach(wired: &Wired, datapath: &mut Datapath, mode: XdpMode) -> anyhow::Result<()> {
    wired.run(|| datapath.attach_xdp(wired.ifindex, UPLINK, mode))
}

fn detach(wired: &Wired, datapath: &Datapath) {
    wired
        .run(|| datapath.detach_xdp(wired.ifindex, UPLINK))
        .unwrap();
}

fn state(wired: &Wired, instance: &Owned) -> Option<XdpState> {
    let states = wired.run(|| xdp(&instance.0, &wired.interfaces()));
    states.unwrap().remove(&wired.ifindex)
}

/// Our program runs in this mode, and is the one of `datapath`.
#[track_caller]
fn assert_runs(wired: &Wired, instance: &Owned, datapath: &Datapath, expected: XdpMode) {
    let Some(XdpState::Ours { mode, attachment }) = state(wired, instance) else {
        panic!("{:?}", state(wired, instance));
    };
    assert_eq!(mode, expected);
    assert!(attachment.sound, "{attachment:?}");
    assert_eq!(
        attachment.fingerprint.as_deref(),
        Some(datapath.fingerprint())
    );
}

#[test]
fn it_comes_is_replaced_changes_its_mode_and_goes() {
    if !is_usable() {
        return;
    }
    let wired = Wired::new();
    let before = wired.contents();
    let instance = Owned::new("xdp");
    let mut one = wired.load(&instance.0, false, Mode::Clsact);
    assert_eq!(state(&wired, &instance), None);
    for mode in MODES {
        for _ in 0..2 {
            attach(&wired, &mut one, mode).unwrap();
            assert_runs(&wired, &instance, &one, mode);
        }
        // Another setting makes another program, which takes the place of this one.
        let mut two = wired.load(&instance.0, true, Mode::Clsact);
        attach(&wired, &mut two, mode).unwrap();
        assert_runs(&wired, &instance, &two, mode);
        attach(&wired, &mut one, mode).unwrap();
        assert_runs(&wired, &instance, &one, mode);
    }
    detach(&wired, &one);
    detach(&wired, &one);
    assert_eq!(state(&wired, &instance), None);
    assert_eq!(wired.contents(), before);
    remove_all(&instance.0).unwrap();
    assert!(!instance.0.bpffs_dir().exists());
}

#[test]
fn a_program_of_somebody_else_stays() {
    if !is_usable() {
        return;
    }
    for theirs in MODES {
        let wired = Wired::new();
        let (instance, other) = (Owned::new("xdp-late"), Owned::new("xdp-early"));
        let mut stranger = wired.load(&other.0, false, Mode::Clsact);
        attach(&wired, &mut stranger, theirs).unwrap();
        let contents = wired.contents();
        let mut datapath = wired.load(&instance.0, false, Mode::Clsact);
        let found = state(&wired, &instance);
        assert!(matches!(found, Some(XdpState::Foreign(_))), "{found:?}");
        for ours in MODES {
            let error = attach(&wired, &mut datapath, ours).unwrap_err();
            assert!(format!("{error:#}").contains("uplink_xdp"), "{error:#}");
        }
        detach(&wired, &datapath);
        wired
            .run(|| detach_xdp_everywhere(&instance.0, &wired.interfaces()))
            .unwrap();
        assert_eq!(wired.contents(), contents);
        assert_runs(&wired, &other, &stranger, theirs);
    }
}

/// A BPF file system was mounted over ours: the link works on without its pin.
#[test]
fn a_link_whose_pin_is_lost_is_adopted() {
    if !is_usable() {
        return;
    }
    let wired = Wired::new();
    let before = wired.contents();
    let instance = Owned::new("xdp-orphan");
    let mut datapath = wired.load(&instance.0, false, Mode::Clsact);
    attach(&wired, &mut datapath, XdpMode::Native).unwrap();
    let links = instance.0.pin_dir().join("links");
    let pins: Vec<_> = fs::read_dir(&links).unwrap().collect();
    let [Ok(pin)] = pins.as_slice() else {
        panic!("{pins:?}");
    };
    // Something else keeps the link meanwhile.
    let other = links.join("elsewhere@nowhere");
    fs::rename(pin.path(), &other).unwrap();
    let lost = state(&wired, &instance);
    let is_sound = |state: &Option<XdpState>| match state {
        Some(XdpState::Ours { attachment, .. }) => attachment.sound,
        _ => true,
    };
    assert!(!is_sound(&lost), "{lost:?}");
    attach(&wired, &mut datapath, XdpMode::Native).unwrap();
    assert_runs(&wired, &instance, &datapath, XdpMode::Native);
    datapath
        .prune(&BTreeSet::from([UPLINK.to_owned()]))
        .unwrap();
    assert!(!other.exists());
    assert_runs(&wired, &instance, &datapath, XdpMode::Native);
    detach(&wired, &datapath);
    assert_eq!(wired.contents(), before);
}

#[test]
fn a_refusal_is_noted_until_it_is_detached() {
    if !is_usable() {
        return;
    }
    let wired = Wired::new();
    let instance = Owned::new("xdp-refused");
    let datapath = wired.load(&instance.0, false, Mode::Clsact);
    datapath.note_xdp_refusal(wired.ifindex, UPLINK).unwrap();
    assert_eq!(state(&wired, &instance), Some(XdpState::Refused));
    datapath
        .prune(&BTreeSet::from([UPLINK.to_owned()]))
        .unwrap();
    assert_eq!(state(&wired, &instance), Some(XdpState::Refused));
    detach(&wired, &datapath);
    assert_eq!(state(&wired, &instance), None);
}

/// A host with one peer and one network, in the kernel and in memory.
struct Realm {
    datapath: Datapath,
    tables: MemoryTables,
}

impl Realm {
    fn add<K: Plain, V: Plain>(&mut self, map: MapName, key: &K, value: &V) {
        let (key, value) = (bytes_of(key), bytes_of(value));
        self.datapath.write(map, key, value).unwrap();
        self.tables.insert(map, key, value).unwrap();
    }
}

/// A packet in VXLAN from the peer, with nothing but zeros in its frame.
const WIRE: [u8; 80] = {
    let mut wire = [0; 80];
    let head = [
        8, 0, 0x45, 0, 0, 66, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 12, 192, 0, 2, 11, 0xc0, 0,
        0x12, 0xb5, 0, 46, 0, 0, 8, 0, 0, 0, 0, 0, 7, 0,
    ];
    let mut at = 0;
    while at < head.len() {
        wire[12 + at] = head[at];
        at += 1;
    }
    wire
};
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// The program in the kernel and the same code in memory say the same of frames that were cut off and
/// changed anywhere, and count the same.
#[test]
fn frames_that_were_changed_anywhere_are_judged_as_in_memory() {
    if !is_usable() {
        return;
    }
    let wired = Wired::new();
    let instance = Owned::new("xdp-run");
    let mut realm = Realm {
        datapath: wired.load(&instance.0, false, Mode::Clsact),
        tables: MemoryTables::default(),
    };
    let (peer, vni) = (PortId(50), Vni::new(7).unwrap());
    for port in [PortId::NONE, peer] {
        realm.add(MapName::Counters, &port, &PortCounters::ZERO);
    }
    let address = |text: &str| Ip::from(text.parse::<std::net::IpAddr>().unwrap());
    let uplink = Uplink {
        address: address("192.0.2.11"),
        kinds: Uplink::of(EgressPort::VXLAN),
    };
    realm.add(MapName::Uplinks, &wired.ifindex, &uplink);
    let (port, kind) = (peer, EgressPort::VXLAN);
    let row = Peer { port, kind };
    realm.add(MapName::Peers, &address("192.0.2.12"), &row);
    let flags = u32::from(IngressPort::PEER);
    realm.add(
        MapName::Members,
        &MemberKey { port, vni },
        &Member { flags },
    );
    let network = Network {
        flood: FloodList(1),
        flood_len: 0,
        flags: 0,
        reserved: 0,
        ageing_ns: 0,
    };
    realm.add(MapName::Networks, &vni, &network);

    let programs = instance.0.pin_dir().join("programs");
    let pin = programs.join(format!("{UPLINK_XDP}-{}", realm.datapath.fingerprint()));
    let program = Xdp::from_pin(pin, XdpAttachType::Interface).unwrap();
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut changed = || {
        let mut wire = WIRE.to_vec();
        for _ in 0..random(3) {
            wire[12 + random(42)] = random(256) as u8;
        }
        // The kernel takes nothing shorter than an Ethernet header.
        wire.truncate(if random(2) == 0 { 80 } else { 14 + random(66) });
        wire
    };
    let frames: Vec<Vec<u8>> = (0..20_000).map(|_| changed()).collect();
    let run = |wire: &Vec<u8>| {
        let mut context = [0_u32; 6];
        (context[1], context[3]) = (wire.len() as u32, wired.ifindex.0);
        let context: Vec<u8> = context.iter().flat_map(|it| it.to_ne_bytes()).collect();
        let options = TestRunOptions {
            data_in: Some(wire),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        program.test_run(options).unwrap().return_value
    };
    let verdicts: Vec<u32> = wired.run(|| frames.iter().map(run).collect());
    let mut dropped = 0;
    for (wire, verdict) in frames.iter().zip(verdicts) {
        let frame = MemoryFrame::from_wire(wire);
        let scratch = &mut datapath::Scratch::new();
        let expected = match datapath::uplink_xdp(&frame, &realm.tables, scratch, wired.ifindex) {
            Ok(()) => XDP_PASS,
            Err(_) => XDP_DROP,
        };
        assert_eq!(verdict, expected, "{wire:02x?}");
        dropped += u32::from(expected == XDP_DROP);
    }
    assert!((1000..19_000).contains(&dropped), "{dropped}");
    assert_eq!(
        realm.datapath.counters().unwrap(),
        realm.tables.counters.take()
    );
}
