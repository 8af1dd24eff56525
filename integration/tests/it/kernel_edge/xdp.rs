//! The XDP program at the uplink, of which an interface has one at most.

use std::collections::BTreeSet;
use std::fs;

use bowline::holdings::XdpState;
use bowline::kernel::datapath::{Datapath, Mode, detach_xdp_everywhere, remove_all, xdp};
use bowline::program::XdpMode;
use integration::lab::is_usable;

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
        let before = wired.load(&instance.0, false, Mode::Clsact);
        let mut stranger = wired.load(&other.0, false, Mode::Clsact);
        attach(&wired, &mut stranger, theirs).unwrap();
        let contents = wired.contents();
        // Nor does who was there first, and has not heard of the other one, take it for its own.
        detach(&wired, &before);
        assert_eq!(wired.contents(), contents);
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
