//! What goes wrong, and what that may cost.

use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use integration::lab::{Bowline, Generator, PacketSocket, eventually, ping};

use crate::random::Random;
use crate::site::{HOSTS, NEAR, NOISE, PROGRAM, Stage, VNI};

/// How many frames of a flood are sent at once, each of a connection of its own: far more than the table of
/// beginnings has rows.
const FLOOD: u32 = 10_000_000;
/// How many of them are asked for at a time.
const PORTION: u32 = 100_000;
/// How many conversations are begun at once: two rows each are more than the table has.
const CONVERSATIONS: u32 = 70_000;
/// How many mutated frames are sent at once.
const MUTANTS: u32 = 1_000_000;
/// How much less that is where it is to be little.
const LIGHT: u32 = 32;

/// Something that may happen to a host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    SameFile,
    ChangedFile,
    OtherPrograms,
    KilledLoader,
    KilledAgent,
    SecondInstance,
    Beginnings,
    FullTable,
    Mutants,
    UplinkDown,
    PeerLost,
    Unmounted,
    DockerRestarted,
}

/// Which packets may be lost because of it, and why.
pub(crate) enum Toll {
    Nothing,
    /// Between the hosts.
    Far(&'static str),
    All(&'static str),
}

impl Toll {
    /// Whether packets may be lost on one host, and between hosts.
    pub(crate) fn lets_lose(&self) -> [bool; 2] {
        match self {
            Self::Nothing => [false, false],
            Self::Far(_) => [false, true],
            Self::All(_) => [true, true],
        }
    }
}

impl Fault {
    pub(crate) const ALL: &[Self] = &[
        Self::SameFile,
        Self::ChangedFile,
        Self::OtherPrograms,
        Self::KilledLoader,
        Self::KilledAgent,
        Self::SecondInstance,
        Self::Beginnings,
        Self::FullTable,
        Self::Mutants,
        Self::UplinkDown,
        Self::PeerLost,
        Self::Unmounted,
        Self::DockerRestarted,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SameFile => "the same file again",
            Self::ChangedFile => "a changed file, and back",
            Self::OtherPrograms => "programs exchanged",
            Self::KilledLoader => "loader killed",
            Self::KilledAgent => "agent killed",
            Self::SecondInstance => "a second instance",
            Self::Beginnings => "flood of beginnings",
            Self::FullTable => "table of connections full",
            Self::Mutants => "mutated frames",
            Self::UplinkDown => "uplink down and up",
            Self::PeerLost => "peer lost and found",
            Self::Unmounted => "BPF file system unmounted",
            Self::DockerRestarted => "Docker restarted",
        }
    }

    pub(crate) const fn toll(self) -> Toll {
        match self {
            Self::UplinkDown | Self::PeerLost => Toll::Far("what is sent while there is no way"),
            Self::Unmounted => {
                Toll::All("what is sent until the next load: the pins hold the programs")
            }
            _ => Toll::Nothing,
        }
    }

    /// Lets it happen, and puts right what it takes a user to put right; tells what was done.
    pub(crate) fn happen(self, stage: &mut Stage<'_>, random: &mut Random) -> String {
        match self {
            Self::SameFile => same_file(stage),
            Self::ChangedFile => changed_file(stage),
            Self::OtherPrograms => {
                stage.exchange_programs();
                stage.load();
                String::new()
            }
            Self::KilledLoader => killed_loader(stage, random),
            Self::KilledAgent => {
                let number = random.below(HOSTS.len());
                thread::sleep(random.duration(Duration::from_millis(300)));
                stage.replace_agent(number);
                format!("on {}", HOSTS[number])
            }
            Self::SecondInstance => second_instance(stage),
            Self::Beginnings => beginnings(stage),
            Self::FullTable => full_table(stage, random),
            Self::Mutants => mutants(stage, random),
            Self::UplinkDown => {
                let time = random.duration(Duration::from_millis(500));
                stage.site.underlay.set_link("beta", false);
                thread::sleep(time);
                stage.site.underlay.set_link("beta", true);
                format!("for {} ms", time.as_millis())
            }
            Self::PeerLost => peer_lost(stage),
            Self::Unmounted => {
                remount();
                stage.load();
                String::new()
            }
            Self::DockerRestarted => {
                let signal = ["-TERM", "-KILL"][random.below(2)];
                let guest = stage.guest.as_mut().expect("a host with an engine");
                guest.restart(signal)
            }
        }
    }
}

fn same_file(stage: &Stage<'_>) -> String {
    for (_, bowline) in stage.fleet.iter() {
        let file = bowline.write("same.yaml", &stage.topology(false));
        let loaded = bowline.json(&["load", file]);
        assert_eq!(loaded["changed"], false, "{loaded}");
    }
    String::new()
}

fn changed_file(stage: &Stage<'_>) -> String {
    stage.load_changed();
    let web = stage.site.workload("web");
    let extra = "10.1.0.30".parse().expect("an address");
    eventually("the new workload is reached", || ping(web, extra));
    stage.load();
    String::new()
}

/// A load is killed somewhere on its way to another file; the next one has the usual file.
fn killed_loader(stage: &Stage<'_>, random: &mut Random) -> String {
    let alpha = stage.fleet.on("alpha");
    let file = alpha.write("changed.yaml", &stage.topology(true));
    let mut command = alpha.command(&["load", file]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let time = random.duration(Duration::from_millis(400));
    let mut child = command.spawn().expect("start bowline");
    thread::sleep(time);
    // It may have ended before.
    let _ = child.kill();
    let _ = child.wait();
    stage.load();
    format!("after {} ms", time.as_millis())
}

fn second_instance(stage: &Stage<'_>) -> String {
    let alpha = stage.site.underlay.host("alpha");
    let other = Bowline::new(PROGRAM, alpha);
    other.load(&stage.other());
    let to = "10.99.0.20".parse().expect("an address");
    let one = stage.site.workload("one");
    eventually("the other instance carries", || ping(one, to));
    other.succeed(&["unload", "other"]);
    String::new()
}

/// An Ethernet and an IPv4 header from `noise` to `cache`.
fn headers(stage: &Stage<'_>, protocol: u8, len: u8) -> Vec<u8> {
    let macs = [stage.site.mac("cache"), stage.site.mac("noise")].concat();
    let mut frame = [&macs[..], &[8, 0]].concat();
    let [a, b, c, d] = NOISE;
    frame.extend([
        0x45, 0, 0, len, 0, 0, 0x40, 0, 64, protocol, 0, 0, a, b, c, d, 10, 1, 0, 20,
    ]);
    let sum = integration::checksum::of(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn beginnings(stage: &Stage<'_>) -> String {
    /// Where the ports are.
    const PORTS: u16 = 34;
    let count = stage.count(FLOOD);
    let mut frame = headers(stage, 6, 40);
    frame.extend([0; 4]);
    // The checksum is wrong: the receiver's kernel remembers nothing.
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    frame.resize(60, 0);
    let noise = stage.site.workload("noise");
    let alpha = stage.site.underlay.host("alpha");
    let generator = Generator::new(noise, "eth0", alpha, &frame, Some(PORTS));
    let generator = generator.expect("live frames of XDP");
    let noise = || {
        let stats = stage.fleet.on("alpha").json(&["stats"]);
        let ports = stats["ports"].as_array().expect("a list of ports");
        let port = ports.iter().find(|port| port["port"] == "noise/eth0");
        let frames = port.and_then(|port| port["in_packets"].as_u64());
        frames.expect("a count of frames")
    };
    let before = noise();
    // A busy processor loses some of them before they meet the program: those count for nothing.
    let mut seen = 0;
    while seen < u64::from(count) {
        generator.send(PORTION).expect("the kernel sends frames");
        seen = noise() - before;
    }
    let [rows, room] = stage.rows("opening");
    assert!(rows > room / 2, "{rows} of {room} rows");
    format!("{seen} beginnings; {rows} of {room} rows")
}

/// Conversations in which both sides have spoken, and the first one again, more than there is room for.
fn full_table(stage: &Stage<'_>, random: &mut Random) -> String {
    let cache = stage.site.workload("cache");
    let echo = cache.run(|| UdpSocket::bind((NEAR, 7)));
    let echo = echo.expect("an echo's socket");
    let patience = Some(Duration::from_millis(100));
    echo.set_read_timeout(patience).expect("a timeout");
    let socket = PacketSocket::new(stage.site.workload("noise"), "eth0");
    let headers = headers(stage, 17, 28);
    let first = random.next() as u32;
    let conversations: Vec<_> = (0..stage.count(CONVERSATIONS))
        .map(|number| question(&headers, first.wrapping_add(number)))
        .collect();
    let (answered, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let mut buffer = [0; 32];
                if let Ok((len, from)) = echo.recv_from(&mut buffer) {
                    let _ = echo.send_to(&buffer[..len], from);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let mut sent = 0;
        // As many as the echo's socket has room for.
        for some in conversations.chunks(100) {
            // The first time somebody asks, the second time he goes on.
            for _ in 0..2 {
                some.iter().for_each(|frame| socket.send(frame));
                sent += some.len();
                let deadline = Instant::now() + Duration::from_millis(100);
                while answered.load(Ordering::Relaxed) < sent && Instant::now() < deadline {
                    thread::yield_now();
                }
                // What is still missing has been lost at the socket.
                sent = answered.load(Ordering::Relaxed);
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let [rows, room] = stage.rows("established");
    assert!(rows > room / 10 * 9, "{rows} of {room} rows");
    format!("{rows} of {room} rows")
}

/// An empty UDP packet for the echo. There are 131,072 of them, from both addresses of the sender.
fn question(headers: &[u8], number: u32) -> Vec<u8> {
    let mut frame = headers.to_vec();
    frame[29] = NOISE[3] + (number >> 16 & 1) as u8;
    frame[24..26].fill(0);
    let sum = integration::checksum::of(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.extend((number as u16).to_be_bytes());
    frame.extend([0, 7, 0, 8, 0, 0]);
    frame.resize(60, 0);
    frame
}

/// Frames of a workload and of the underlay with some of their bytes changed, or without their ends.
fn mutants(stage: &Stage<'_>, random: &mut Random) -> String {
    let mut inside = headers(stage, 17, 46);
    inside.extend([0x30, 0, 0x30, 1, 0, 26, 0, 0]);
    inside.resize(60, 0);
    let outside = tunnelled(stage);
    let noise = PacketSocket::new(stage.site.workload("noise"), "eth0");
    let underlay = stage.site.underlay.socket_to("alpha");
    let count = stage.count(MUTANTS);
    for _ in 0..count / 2 {
        noise.send(&mutated(&inside, 6, random));
        // The outer addresses of Ethernet stay, so that the host takes it.
        underlay.send(&mutated(&outside, 12, random));
    }
    format!("{count} frames")
}

/// An experiment (IEEE 802) in VXLAN, from the second host to a workload of the first.
fn tunnelled(stage: &Stage<'_>) -> Vec<u8> {
    let underlay = &stage.site.underlay;
    let link = |host: &str| underlay.host(host).mac("up0");
    let mut frame = [&link("alpha")[..], &link("beta"), &[8, 0]].concat();
    frame.extend([
        0x45, 0, 0, 96, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 12, 192, 0, 2, 11,
    ]);
    let sum = integration::checksum::of(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.extend([0xc0, 0, 0x12, 0xb5, 0, 76, 0, 0, 8, 0, 0, 0]);
    frame.extend((VNI << 8).to_be_bytes());
    frame.extend(stage.site.mac("web"));
    frame.extend([2, 0, 0, 0, 0, 99, 0x88, 0xb5]);
    frame.resize(110, 0);
    frame
}

impl Stage<'_> {
    /// How many of a flood there are.
    fn count(&self, count: u32) -> u32 {
        if self.is_light { count / LIGHT } else { count }
    }

    /// How many rows a table of connections of the first host has, and how many there is room for.
    fn rows(&self, table: &str) -> [u64; 2] {
        let stats = self.fleet.on("alpha").json(&["stats"]);
        ["rows", "room"].map(|name| stats["flows"][table][name].as_u64().expect("a number"))
    }
}

/// The frame with up to four bytes changed behind the first `fixed`, one in four of them cut off.
fn mutated(frame: &[u8], fixed: usize, random: &mut Random) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for _ in 0..=random.below(4) {
        let at = fixed + random.below(frame.len() - fixed);
        frame[at] = random.next() as u8;
    }
    if random.below(4) == 0 {
        frame.truncate(14 + random.below(frame.len() - 14));
    }
    frame
}

/// The second host is away for as long as it takes the first one's agent to notice.
fn peer_lost(stage: &Stage<'_>) -> String {
    let alpha = stage.fleet.on("alpha");
    let wait = |state: &str| {
        let began = Instant::now();
        eventually("the agent notices", || {
            let shown = alpha.json(&["show", "peers"]);
            let peers = shown["peers"].as_array().cloned().unwrap_or_default();
            peers
                .iter()
                .any(|peer| peer["name"] == "beta" && peer["state"] == state)
        });
        began.elapsed()
    };
    wait("up");
    stage.site.underlay.set_link("beta", false);
    let down = wait("down");
    stage.site.underlay.set_link("beta", true);
    let up = wait("up");
    format!(
        "noticed after {} ms and {} ms",
        down.as_millis(),
        up.as_millis()
    )
}

/// Takes the BPF file system away with all that is pinned there, and mounts an empty one.
fn remount() {
    for (program, arguments) in [
        ("umount", &["/sys/fs/bpf"][..]),
        ("mount", &["-t", "bpf", "bpf", "/sys/fs/bpf"]),
    ] {
        let status = Command::new(program).args(arguments).status();
        assert!(status.expect(program).success(), "{program} {arguments:?}");
    }
}
