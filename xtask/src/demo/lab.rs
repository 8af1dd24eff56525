//! The lab: its names, and how every trace of it is removed.
//!
//! All names are fixed, so that cleaning needs nothing but this file, after any crash. A
//! process is ended only if it lives in a namespace of the lab or on an image of its engine,
//! which nobody else's process does.

use super::host::{self, Host};
use super::{engine, stage};
use crate::failure::{Context as _, Failure, Result};
use crate::process;
use crate::workspace::Workspace;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The namespace between the hosts, with a bridge that joins their uplinks.
pub(super) const SWITCH: &str = "demo-switch";
/// Engines, image and logs. Not below /run, which is often mounted noexec, nor below /tmp, where
/// anybody could have made it first.
pub(super) const FOLDER: &str = "/var/lib/bowline-demo";

/// Written before the load with the name of the source, removed after the unload.
const LOADED: &str = "loaded";

/// Whether anything of a lab is there.
pub(super) fn exists() -> bool {
    Path::new(FOLDER).exists() || namespaces().any(|name| namespace(&name).exists())
}

/// The namespaces that a lab may have.
fn namespaces() -> impl Iterator<Item = String> {
    let of_host = |host: &'static Host| {
        let workloads = host.workloads.iter().map(|name| host::stand_in(name));
        workloads.chain([host.name.to_owned()])
    };
    host::ALL
        .into_iter()
        .flat_map(of_host)
        .chain([SWITCH.to_owned()])
}

pub(super) fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Makes the folder of the lab.
pub(super) fn create() -> Result<()> {
    create_folder(Path::new(FOLDER))
}

/// Makes a host: its folder and its namespace.
pub(super) fn add_host(host: &Host) -> Result<()> {
    create_folder(&host.folder())?;
    add_namespace(host.name)
}

fn create_folder(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().mode(0o700).create(path);
    made.context(|| format!("cannot make {}", path.display()))
}

/// Joins hosts by a switch: each gets an uplink `eth0` with an address.
pub(super) fn wire(hosts: &[(&Host, &str)]) -> Result<()> {
    add_namespace(SWITCH)?;
    let run = |space: &str, line: &str| {
        let mut command = Command::new("nsenter");
        process::output(command.args([&entry(space), "ip"]).args(line.split(' '))).map(drop)
    };
    run(SWITCH, "link add br0 type bridge")?;
    run(SWITCH, "link set br0 up")?;
    for (host, address) in hosts {
        let (port, name) = (host.prompt, host.name);
        run(
            SWITCH,
            &format!("link add {port} type veth peer name eth0 netns {name}"),
        )?;
        run(SWITCH, &format!("link set {port} master br0 up"))?;
        run(name, &format!("address add {address} dev eth0"))?;
        run(name, "link set eth0 up")?;
    }
    Ok(())
}

pub(super) fn add_namespace(name: &str) -> Result<()> {
    process::output(Command::new("ip").args(["netns", "add", name]))?;
    process::output(Command::new("nsenter").args([&entry(name), "ip", "link", "set", "lo", "up"]))?;
    Ok(())
}

/// Remembers that a source is loaded, for a clean-up that may have to unload it.
pub(super) fn set_loaded(host: &Host, source: &str) -> Result<()> {
    fs::write(host.path(LOADED), source).context(|| format!("cannot write in {FOLDER}"))
}

pub(super) fn set_unloaded(host: &Host) -> Result<()> {
    fs::remove_file(host.path(LOADED)).context(|| format!("cannot remove a file in {FOLDER}"))
}

/// Removes all there is, going on after every failure, and reports all of them.
pub(super) fn clean(workspace: &Workspace) -> Result<()> {
    let mut failures = Vec::new();
    let mut attempt = |result: Result<()>| {
        if let Err(failure) = result {
            failures.push(failure.to_string());
        }
    };
    for host in host::ALL {
        if let Ok(source) = fs::read_to_string(host.path(LOADED)) {
            attempt(undo(
                stage::bowline(workspace, host).args(["unload", &source]),
            ));
        }
        if host.path("docker.sock").exists() {
            // The engine may be dead although its socket is there: then its processes are met
            // below.
            let _ = undo(
                Command::new("docker")
                    .env("DOCKER_HOST", host.engine())
                    .args(["rm", "--force"])
                    .args(host.workloads),
            );
        }
    }
    // First the engines, which end their containers in order, then what they stand on.
    for program in ["dockerd", "containerd"] {
        end(|| {
            residents()
                .into_iter()
                .filter(|pid| name_of(*pid) == program)
                .collect()
        });
    }
    end(|| residents().into_iter().chain(orphans()).collect());
    for mount in mounts() {
        attempt(undo(Command::new("umount").arg(mount)));
    }
    engine::remove_by_products();
    if Path::new(FOLDER).exists() {
        attempt(fs::remove_dir_all(FOLDER).context(|| format!("cannot remove {FOLDER}")));
    }
    for name in namespaces().filter(|name| namespace(name).exists()) {
        attempt(undo(Command::new("ip").args(["netns", "delete", &name])));
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(failures.join("; ")))
    }
}

/// Runs a command of the clean-up where a second Ctrl-C does not reach it.
fn undo(command: &mut Command) -> Result<()> {
    process::output(command.process_group(0)).map(drop)
}

/// The word that makes nsenter enter a namespace. `ip netns exec` and `ip -n` mount a new /sys on
/// the way, which hides the BPF file system and takes rights that a container may not have.
pub(super) fn entry(name: &str) -> String {
    format!("--net={}", namespace(name).display())
}

fn namespace(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// Asks processes to end, and makes them after ten seconds.
fn end(processes: impl Fn() -> Vec<u32>) {
    for (name, patience) in [("TERM", 10), ("KILL", 5)] {
        for pid in processes() {
            process::signal(name, pid);
        }
        let deadline = Instant::now() + Duration::from_secs(patience);
        while !processes().is_empty() && Instant::now() < deadline {
            sleep(Duration::from_millis(50));
        }
    }
}

/// Processes that live in a namespace of the lab.
fn residents() -> Vec<u32> {
    let inode = |path: PathBuf| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let ours: Vec<_> = namespaces()
        .filter_map(|name| inode(namespace(&name)))
        .collect();
    let lives_here = |pid: &u32| {
        inode(PathBuf::from(format!("/proc/{pid}/ns/net"))).is_some_and(|ns| ours.contains(&ns))
    };
    all_processes().into_iter().filter(lives_here).collect()
}

/// Containers whose engine died without ending them: their root lies in the lab's folder.
fn orphans() -> Vec<u32> {
    let on_our_image = |pid: &u32| {
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        mounts.lines().any(|line| {
            // The fields are: id, parent, device, root within the file system, mount point.
            let mut fields = line.split(' ').skip(3);
            let root = fields.next().unwrap_or_default();
            root.contains("/bowline-demo/") && fields.next() == Some("/")
        })
    };
    all_processes().into_iter().filter(on_our_image).collect()
}

fn all_processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn name_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Mount points below the lab's folder, innermost first.
fn mounts() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = format!("{FOLDER}/");
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let mut points: Vec<_> = points
        .filter(|at| at.starts_with(&below))
        .map(str::to_owned)
        .collect();
    points.reverse();
    points
}
