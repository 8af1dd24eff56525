//! A Docker engine that belongs to a host of the lab: own containerd, own folders, own namespace.
//!
//! It does not meet the machine's own engine: without an own containerd, dockerd would use the
//! system's, and see its containers.

use super::host::Host;
use super::lab;
use super::stage::Stage;
use crate::failure::{Context as _, Failure, Result};
use crate::process;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const CGROUP: &str = "bowline-demo";

/// Files that an engine makes outside of the folders it is given, deepest first.
const BY_PRODUCTS: [&str; 4] = [
    "/etc/docker/key.json",
    "/etc/docker",
    "/run/docker/plugins",
    "/run/docker",
];
/// Lists those of them that were not there before us.
const BY_PRODUCT_LIST: &str = "by-products";

/// Starts containerd and dockerd and waits until the engine answers.
pub(super) fn start(stage: &Stage) -> Result<()> {
    for program in ["dockerd", "containerd", "docker"] {
        if process::find(program).is_none() {
            return Err(Failure::new(format!("there is no {program} here")));
        }
    }
    let host = stage.host;
    write_configuration(host)?;
    let containerd_config = host.path("containerd.toml");
    let mut containerd = stage.command("containerd");
    let mut containerd = spawn(
        host,
        containerd.arg("--config").arg(&containerd_config),
        "containerd",
    )?;
    let socket = host.path("containerd.sock");
    wait_for(host, &mut containerd, "containerd", || socket.exists())?;

    let mut dockerd = stage.command("dockerd");
    for (option, name) in [
        ("--config-file", "daemon.json"),
        ("--containerd", "containerd.sock"),
        ("--data-root", "data"),
        ("--exec-root", "exec"),
        ("--pidfile", "docker.pid"),
    ] {
        dockerd.arg(option).arg(host.path(name));
    }
    dockerd.args([
        "--host",
        &host.engine(),
        "--storage-driver=vfs",
        "--bridge=none",
    ]);
    dockerd.args([
        "--iptables=false",
        "--ip6tables=false",
        "--ip-forward=false",
    ]);
    // A group of our own is easily removed; systemd's driver would ask for a slice.
    dockerd
        .arg("--exec-opt=native.cgroupdriver=cgroupfs")
        .arg(format!("--cgroup-parent=/{CGROUP}"));
    let mut dockerd = spawn(host, &mut dockerd, "dockerd")?;
    wait_for(host, &mut dockerd, "dockerd", || {
        process::succeeds(
            Command::new("docker")
                .env("DOCKER_HOST", host.engine())
                .arg("version"),
        )
    })
}

/// Lays out a root file system: busybox under each of the names it answers to.
pub(super) fn lay_out_image(folder: &Path) -> Result<()> {
    let busybox = process::find("busybox").ok_or_else(|| Failure::new("there is no busybox"))?;
    let context = || format!("cannot lay out an image in {}", folder.display());
    let bin = folder.join("bin");
    for name in ["bin", "etc", "tmp"] {
        fs::create_dir_all(folder.join(name)).context(context)?;
    }
    fs::copy(&busybox, bin.join("busybox")).context(context)?;
    let applets = process::output(Command::new(&busybox).arg("--list"))?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", bin.join(applet)).context(context)?;
    }
    Ok(())
}

/// Removes what the engine left outside its folders and was not there before.
pub(super) fn remove_by_products() {
    let list = fs::read_to_string(lab::path(BY_PRODUCT_LIST)).unwrap_or_default();
    for path in BY_PRODUCTS
        .into_iter()
        .filter(|path| list.lines().any(|line| line == *path))
    {
        // Somebody else's file in a folder keeps the folder, which is as it should be.
        let _ = fs::remove_file(path);
        let _ = fs::remove_dir(path);
    }
    // Version 1 has one hierarchy per controller, version 2 is one itself.
    let controllers = fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten();
    for hierarchy in controllers
        .map(|entry| entry.path())
        .chain(["/sys/fs/cgroup".into()])
    {
        remove_cgroup(&hierarchy.join(CGROUP));
    }
}

fn remove_cgroup(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    // The files in a group are the kernel's and go with it; a group that still holds a process
    // stays.
    let _ = fs::remove_dir(group);
}

fn write_configuration(host: &Host) -> Result<()> {
    let write = |path: &Path, text: &str| {
        fs::write(path, text).context(|| format!("cannot write {}", path.display()))
    };
    let list = lab::path(BY_PRODUCT_LIST);
    // What another engine of the lab has made was not there before us either.
    if !list.exists() {
        let missing: Vec<_> = BY_PRODUCTS
            .into_iter()
            .filter(|path| !Path::new(path).exists())
            .collect();
        write(&list, &missing.join("\n"))?;
    }
    // The machine's own daemon.json is for the machine's own engine.
    write(&host.path("daemon.json"), "{}\n")?;
    let folder = host.folder();
    let folder = folder.display();
    // The cri plugin serves Kubernetes, the opt plugin makes /opt/containerd; neither is used.
    let containerd = format!(
        "version = 2\n\
         root = \"{folder}/containerd\"\n\
         state = \"{folder}/containerd-state\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
         [grpc]\n\
         address = \"{folder}/containerd.sock\"\n"
    );
    write(&host.path("containerd.toml"), &containerd)
}

/// Starts a program that goes on after us, out of the terminal's reach, with a log file.
fn spawn(host: &Host, command: &mut Command, name: &str) -> Result<Child> {
    let path = host.path(&format!("{name}.log"));
    let log = File::create(&path).context(|| format!("cannot write {}", path.display()))?;
    let second = log
        .try_clone()
        .context(|| format!("cannot write {}", path.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(second)
        .spawn()
        .context(|| format!("cannot start {name}"))
}

fn wait_for(host: &Host, child: &mut Child, name: &str, is_up: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child
            .try_wait()
            .context(|| format!("cannot wait for {name}"))?
        {
            let ending = process::ending(status);
            return Err(Failure::new(format!(
                "{name} {ending}: {}",
                last_words(host, name)
            )));
        }
        if is_up() {
            return Ok(());
        }
        sleep(Duration::from_millis(100));
    }
    let seconds = PATIENCE.as_secs();
    Err(Failure::new(format!(
        "{name} is not up after {seconds} s: {}",
        last_words(host, name)
    )))
}

/// The last line of a log, which is where an engine says why it gives up.
fn last_words(host: &Host, name: &str) -> String {
    let log = fs::read_to_string(host.path(&format!("{name}.log"))).unwrap_or_default();
    log.lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("its log is empty")
        .to_owned()
}
