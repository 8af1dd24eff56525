//! An independent reader of frames: Wireshark's, in a terminal.

use std::process::Command;

use tempfile::TempDir;

use super::namespace::succeed;
use super::skip;

/// The kind of a capture file's frames that are Ethernet (`LINKTYPE_ETHERNET`).
const ETHERNET: u32 = 1;
const PROGRAM: &str = "tshark";

/// Whether there is one. If not, the running test is counted as skipped, and so should return.
#[must_use]
pub fn is_there() -> bool {
    let found = Command::new(PROGRAM).arg("--version").output().is_ok();
    if !found {
        skip("there is no tshark (`cargo xtask setup` installs it)");
    }
    found
}

/// What the reader says of each frame: of every field all values, from the outermost header inwards.
/// Checksums are checked; what needs more than the frame itself is not judged.
///
/// # Panics
/// It fails.
#[must_use]
pub fn dissect(frames: &[Vec<u8>], fields: &[&str]) -> Vec<Vec<Vec<String>>> {
    let folder = TempDir::with_prefix("bowline-lab-").expect("make a folder");
    let file = folder.path().join("frames.pcap");
    std::fs::write(&file, capture_file(frames)).expect("write a capture file");
    let mut command = Command::new(PROGRAM);
    command.arg("-n").arg("-r").arg(&file);
    for option in [
        "ip.check_checksum:TRUE",
        "udp.check_checksum:TRUE",
        "tcp.check_checksum:TRUE",
        "tcp.analyze_sequence_numbers:FALSE",
        "ip.defragment:FALSE",
    ] {
        command.args(["-o", option]);
    }
    command.args("-T fields -E separator=| -E occurrence=a -E aggregator=;".split(' '));
    for field in fields {
        command.args(["-e", field]);
    }
    let output = succeed(&mut command);
    let text = String::from_utf8(output.stdout).expect("tshark speaks UTF-8");
    let values = |field: &str| {
        let values = field.split(';').filter(|value| !value.is_empty());
        values.map(str::to_owned).collect()
    };
    let frame = |line: &str| line.split('|').map(values).collect();
    text.lines().map(frame).collect()
}

/// In the form of libpcap (`pcap-savefile(5)`), with times of zero.
fn capture_file(frames: &[Vec<u8>]) -> Vec<u8> {
    let head = [0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 0x4_0000, ETHERNET];
    let mut bytes: Vec<u8> = head.map(u32::to_le_bytes).concat();
    for frame in frames {
        let len = u32::try_from(frame.len()).expect("a frame");
        bytes.extend([0, 0, len, len].map(u32::to_le_bytes).concat());
        bytes.extend(frame);
    }
    bytes
}
