//! Frames from the underlay that were cut off or changed anywhere: the programs in the kernel and the
//! same code in memory say the same of each, and count the same.

use aya::programs::{SchedClassifier, TestRun, TestRunOptions, TestRunResult, Xdp};
use aya_obj::programs::XdpAttachType;
use bowline::kernel::datapath::{Datapath, Mode};
use bowline::program::UPLINK_XDP;
use datapath::Action;
use datapath::memory::{MemoryFrame, MemoryTables, uplink_ingress};
use integration::lab::is_usable;
use maps_schema::map::{
    EgressPort, FdbEntry, FdbKey, IngressPort, MapName, Member, MemberKey, Network, Peer,
    PortCounters, Uplink,
};
use maps_schema::plain::bytes_of;
use maps_schema::{FloodList, IfIndex, Ip, Mac, Plain, PortId, RouterId, Vni};

use super::Owned;
use super::uplink::Wired;

/// The port of a workload here, and the one that leads to the peer.
const OWN: PortId = PortId(49);
const PEER: PortId = PortId(50);
/// The stations at either.
const HERE: Mac = Mac::new([2, 0, 0, 0, 0, 11]);
const THERE: Mac = Mac::new([2, 0, 0, 0, 0, 12]);

/// A host with one peer and one network, in the kernel and in memory.
struct Realm {
    datapath: Datapath,
    tables: MemoryTables,
}

impl Realm {
    fn new(wired: &Wired, instance: &Owned) -> Self {
        let mut realm = Self {
            datapath: wired.load(&instance.0, false, Mode::Clsact),
            tables: MemoryTables::default(),
        };
        let vni = Vni::new(7).unwrap();
        for port in [PortId::NONE, OWN, PEER] {
            realm.add(MapName::Counters, &port, &PortCounters::ZERO);
        }
        let address = |text: &str| Ip::from(text.parse::<std::net::IpAddr>().unwrap());
        let (local, remote) = (address("192.0.2.11"), address("192.0.2.12"));
        let kind = EgressPort::VXLAN;
        let uplink = Uplink {
            address: local,
            kinds: Uplink::of(kind),
            mac: Mac::ZERO,
            reserved: 0,
        };
        realm.add(MapName::Uplinks, &wired.ifindex, &uplink);
        let port = PEER;
        realm.add(MapName::Peers, &remote, &Peer { port, kind });
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
        for (port, mac) in [(OWN, HERE), (PEER, THERE)] {
            let router = RouterId::NONE;
            realm.add(
                MapName::Fdb,
                &FdbKey::new(vni, mac),
                &FdbEntry { port, router },
            );
        }
        // The other end of the uplink stands for a workload: nothing is sent there.
        realm.add(MapName::Ports, &OWN, &EgressPort::workload(wired.ifindex));
        realm
    }

    fn add<K: Plain, V: Plain>(&mut self, map: MapName, key: &K, value: &V) {
        let (key, value) = (bytes_of(key), bytes_of(value));
        self.datapath.write(map, key, value).unwrap();
        self.tables.insert(map, key, value).unwrap();
    }

    /// Both have counted the same.
    fn assert_counted(self) {
        let counted = self.datapath.counters().unwrap();
        assert_eq!(counted, self.tables.counters.take());
    }
}

/// The length of a frame that nobody changed. Inside, it is not shorter than Ethernet's shortest
/// (IEEE 802.3): the kernel takes no tunnel off that would leave less than an IP header.
const WHOLE: usize = 110;

/// An experiment from there to here, in VXLAN.
fn whole() -> Vec<u8> {
    let outer = [
        0x45, 0, 0, 96, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 12, 192, 0, 2, 11, 0xc0, 0, 0x12,
        0xb5, 0, 76, 0, 0, 8, 0, 0, 0, 0, 0, 7, 0,
    ];
    let mut wire = [&[0; 12], &[8, 0][..], &outer].concat();
    wire.extend([HERE.octets(), THERE.octets()].concat());
    wire.extend([0x88, 0xb5]);
    wire.resize(WHOLE, 0);
    let sum = integration::checksum::of(&wire[14..34]);
    wire[24..26].copy_from_slice(&sum.to_be_bytes());
    wire
}

/// Twenty thousand, always the same.
fn changed_frames() -> Vec<Vec<u8>> {
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let whole = whole();
    let mut changed = || {
        let mut wire = whole.clone();
        for _ in 0..random(3) {
            wire[12 + random(54)] = random(256) as u8;
        }
        // The kernel takes nothing shorter than an Ethernet header.
        wire.truncate(if random(2) == 0 {
            WHOLE
        } else {
            14 + random(WHOLE - 14)
        });
        wire
    };
    (0..20_000).map(|_| changed()).collect()
}

/// A pinned program's path.
fn pin(instance: &Owned, realm: &Realm, program: &str) -> std::path::PathBuf {
    let programs = instance.0.pin_dir().join("programs");
    programs.join(format!("{program}-{}", realm.datapath.fingerprint()))
}

fn run<P>(program: &P, wire: &[u8], context: &[u32], out: &mut [u8]) -> TestRunResult
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
{
    let context: Vec<u8> = context.iter().flat_map(|it| it.to_ne_bytes()).collect();
    let options = TestRunOptions {
        data_in: Some(wire),
        data_out: Some(out),
        ctx_in: Some(&context),
        ..TestRunOptions::default()
    };
    program.test_run(options).unwrap()
}

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

#[test]
fn by_xdp() {
    if !is_usable() {
        return;
    }
    let wired = Wired::new();
    let instance = Owned::new("xdp-run");
    let realm = Realm::new(&wired, &instance);
    let path = pin(&instance, &realm, UPLINK_XDP);
    let program = Xdp::from_pin(path, XdpAttachType::Interface).unwrap();
    let frames = changed_frames();
    let verdict = |wire: &Vec<u8>| {
        let mut context = [0_u32; 6];
        (context[1], context[3]) = (wire.len() as u32, wired.ifindex.0);
        run(&program, wire, &context, &mut [0; 256]).return_value
    };
    let verdicts: Vec<u32> = wired.run(|| frames.iter().map(verdict).collect());
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
    realm.assert_counted();
}

const TC_ACT_SHOT: u32 = 2;
const TC_ACT_REDIRECT: u32 = 7;
const TC_ACT_UNSPEC: u32 = u32::MAX;
/// Where `ifindex` is among the words of `struct __sk_buff` (`linux/bpf.h`), and how many there are
/// up to it.
const IFINDEX: usize = 10;

/// What the program should return of a frame, and with which bytes.
fn judged(tables: &MemoryTables, interface: IfIndex, wire: &[u8]) -> (u32, Option<Vec<u8>>) {
    let mut frame = MemoryFrame::from_wire(wire);
    match uplink_ingress(&mut frame, tables, interface) {
        Action::Deliver(_) => (TC_ACT_REDIRECT, Some(frame.to_wire())),
        Action::Pass => (TC_ACT_UNSPEC, Some(wire.to_vec())),
        Action::Underlay { .. } | Action::Send(_) => (TC_ACT_REDIRECT, None),
        Action::Copied | Action::Consume(_) | Action::Drop { .. } => (TC_ACT_SHOT, None),
    }
}

#[test]
fn by_tc() {
    if !is_usable() {
        return;
    }
    let wired = Wired::new();
    let instance = Owned::new("tc-run");
    let realm = Realm::new(&wired, &instance);
    let program = SchedClassifier::from_pin(pin(&instance, &realm, "uplink_ingress")).unwrap();
    let mut context = [0_u32; IFINDEX + 1];
    context[IFINDEX] = wired.ifindex.0;
    let frames = changed_frames();
    // The kernel itself refuses a frame that ends within the header that it announces.
    let is_taken = |wire: &&Vec<u8>| match wire[12..14] {
        [0x08, 0x00] => wire.len() >= 34,
        [0x86, 0xdd] => wire.len() >= 54,
        [0x81, 0x00] | [0x88, 0xa8] => false,
        _ => true,
    };
    let frames: Vec<&Vec<u8>> = frames.iter().filter(is_taken).collect();
    let result = |wire: &&Vec<u8>| {
        let mut out = vec![0; 256];
        let result = run(&program, wire, &context, &mut out);
        out.truncate(usize::try_from(result.data_size_out).unwrap());
        (result.return_value, out)
    };
    let results: Vec<_> = wired.run(|| frames.iter().map(result).collect());
    let mut seen = std::collections::BTreeMap::new();
    for (wire, (verdict, bytes)) in frames.iter().zip(results) {
        let (expected, after) = judged(&realm.tables, wired.ifindex, wire);
        assert_eq!(verdict, expected, "{wire:02x?}");
        if let Some(mut after) = after {
            // A test run does not return the tag that the kernel has put aside.
            if matches!(after.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8])) {
                after.drain(12..16);
            }
            assert_eq!(bytes, after, "{wire:02x?}");
        }
        *seen.entry(verdict).or_insert(0_u32) += 1;
    }
    for verdict in [TC_ACT_SHOT, TC_ACT_REDIRECT, TC_ACT_UNSPEC] {
        assert!(seen.get(&verdict) > Some(&500), "{seen:?}");
    }
    realm.assert_counted();
}
