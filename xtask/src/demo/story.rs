//! What the user sees: the lab comes up, workloads meet on virtual networks, all goes.

use super::cast::{Kind, PORT, gather, transfer, wait_until};
use super::host::{self, Host};
use super::lab;
use super::snapshot::Snapshot;
use super::stage::Stage;
use super::{Options, announce};
use crate::failure::{Context as _, Failure, Result};
use crate::terminal;
use crate::workspace::Workspace;
use std::path::Path;

/// Tells the whole story, or stops at the first thing that does not work.
pub(super) fn tell(workspace: &Workspace, options: &Options) -> Result<()> {
    lab::create()?;
    match options.hosts {
        1 => tell_of_one(workspace, options),
        _ => tell_of_two(workspace, options),
    }
}

fn tell_of_one(workspace: &Workspace, options: &Options) -> Result<()> {
    let stage = Stage::new(workspace, &host::LONE)?;
    announce(&format!(
        "A lab of its own: all that follows runs in the namespace {}",
        host::LONE.name
    ));
    lab::add_host(&host::LONE)?;
    terminal::say(terminal::prompt("", &stage.way_in(workspace)));
    let kind = gather(&[&stage], options)?;
    let example = match kind {
        Kind::Container => "examples/two-containers.yaml",
        Kind::Namespace => "examples/two-namespaces.yaml",
    };
    let before = Snapshot::take(&[stage.host])?;

    announce("One file connects them");
    stage.run(&format!("cat {example}"))?;
    load(&stage, example)?;
    stage.run("bowline show")?;

    announce("web reaches db");
    let [web, db] = ["web", "db"].map(|name| kind.workload(&stage, name));
    web.wait()?;
    let (v4, v6) = (db.address("inet")?, db.address("inet6")?);
    web.run(&format!("ping -c 3 {v4}"))?;
    web.run(&format!("ping -6 -c 3 {v6}"))?;

    announce("A TCP transfer arrives whole");
    transfer(&web, &db, &v4)?;

    announce("What the datapath counted, and what it would decide");
    stage.run("bowline stats")?;
    stage.run(&format!("bowline trace web db tcp {PORT}"))?;

    let try_this = format!("bowline show; {} ping -c 1 {v4}", web.enter);
    finish(workspace, options, &[&stage], example, &before, &try_this)
}

fn tell_of_two(workspace: &Workspace, options: &Options) -> Result<()> {
    let hosts: [(&'static Host, &str); 2] = [
        (&host::ALPHA, "192.0.2.11/24"),
        (&host::BETA, "192.0.2.12/24"),
    ];
    announce("A lab of its own: two hosts, which are namespaces, on a switch, which is a third");
    for (host, _) in hosts {
        lab::add_host(host)?;
    }
    lab::wire(&hosts)?;
    let alpha = Stage::new(workspace, &host::ALPHA)?;
    let beta = Stage::new(workspace, &host::BETA)?;
    let stages = [&alpha, &beta];
    for stage in stages {
        stage.run("ip -brief address show dev eth0")?;
    }
    let kind = gather(&stages, options)?;
    let example = match kind {
        Kind::Container => "examples/two-hosts.yaml",
        Kind::Namespace => "examples/two-hosts-namespaces.yaml",
    };
    let before = Snapshot::take(&[alpha.host, beta.host])?;

    announce("One file connects them: each host takes its own part");
    alpha.run(&format!("cat {example}"))?;
    for stage in stages {
        load(stage, example)?;
    }
    alpha.run("bowline show hosts")?;
    alpha.run("bowline show ports")?;

    announce("web on alpha reaches db on beta through a tunnel");
    let web = kind.workload(&alpha, "web");
    let [db, cache] = ["db", "cache"].map(|name| kind.workload(&beta, name));
    web.wait()?;
    let (v4, v6) = (db.address("inet")?, db.address("inet6")?);
    web.run(&format!("ping -c 3 {v4}"))?;
    web.run(&format!("ping -6 -c 3 {v6}"))?;

    announce("and cache on beta, in another network, through a router that is on both hosts");
    let routed = cache.address("inet")?;
    web.run(&format!("ping -c 3 {routed}"))?;

    announce("A TCP transfer arrives whole");
    transfer(&web, &db, &v4)?;

    announce("What the underlay carries meanwhile");
    watch(&alpha, || web.run(&format!("ping -c 1 {routed}")))?;

    announce("What the hosts have heard of one another, and what would be decided");
    for stage in stages {
        stage.run("bowline show peers")?;
    }
    alpha.run("bowline trace web cache icmp")?;

    let try_this = format!("bowline show peers; {} ping -c 1 {v4}", web.enter);
    finish(workspace, options, &stages, example, &before, &try_this)
}

/// Shows what passes through a host's uplink while something is done.
fn watch(stage: &Stage, act: impl FnOnce() -> Result<()>) -> Result<()> {
    let line = "timeout 10 tcpdump -c 2 -nnt -i eth0 udp port 4789";
    let capture = stage.start(line)?;
    wait_until("tcpdump does not begin", || {
        // One line is the heading of the list of sockets that see frames.
        Ok(stage.read("cat /proc/net/packet")?.lines().count() > 1)
    })?;
    act()?;
    let output = capture
        .wait_with_output()
        .context(|| "cannot wait for tcpdump".to_owned())?;
    if !output.status.success() {
        return Err(Failure::new(
            "two packets of the tunnel did not pass through the uplink within 10 s",
        ));
    }
    terminal::say(terminal::aside("what tcpdump has seen:"));
    terminal::say(String::from_utf8_lossy(&output.stdout).trim_end());
    Ok(())
}

fn load(stage: &Stage, example: &str) -> Result<()> {
    lab::set_loaded(stage.host, &source(example))?;
    stage.run(&format!("bowline load {example}"))
}

/// What the examples' sources are called: as their files.
fn source(example: &str) -> String {
    let stem = Path::new(example).file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// Takes everything away, or says how to go on.
fn finish(
    workspace: &Workspace,
    options: &Options,
    stages: &[&Stage],
    example: &str,
    before: &Snapshot,
    try_this: &str,
) -> Result<()> {
    if options.keep {
        announce("It goes on running");
        for stage in stages {
            let (host, way_in) = (stage.host.name, stage.way_in(workspace));
            terminal::say(format!("enter {host}: {way_in}"));
        }
        terminal::say(format!("try there: {try_this}"));
        terminal::say("clean up: cargo xtask demo --clean");
        return Ok(());
    }
    announce("Nothing is left behind");
    for stage in stages {
        stage.run(&format!("bowline unload {}", source(example)))?;
        lab::set_unloaded(stage.host)?;
        stage.run("ip -brief link")?;
    }
    let hosts: Vec<_> = stages.iter().map(|stage| stage.host).collect();
    before.refuse_new(&Snapshot::take(&hosts)?)?;
    terminal::say(format!(
        "links and BPF pins: the same {} as before the load {}",
        before.len(),
        terminal::verdict("ok", 2)
    ));
    Ok(())
}
