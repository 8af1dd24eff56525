//! What the user sees: the lab comes up, two workloads meet on a virtual network, all goes.

use super::lab::{self, WORKLOADS};
use super::snapshot::Snapshot;
use super::stage::{Stage, bowline_words};
use super::{Options, announce, engine};
use crate::failure::{Failure, Result};
use crate::terminal;
use crate::workspace::Workspace;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const PORT: u16 = 5432;
const MEBIBYTES: u64 = 64;
const PATIENCE: Duration = Duration::from_secs(10);

/// The two workloads, as containers or as namespaces: only the words differ.
struct Cast {
    example: &'static str,
    web: String,
    db: String,
    /// A folder for the files of the transfer, as the workloads see it.
    folder: &'static str,
}

/// Tells the whole story, or stops at the first thing that does not work.
pub(super) fn tell(workspace: &Workspace, options: &Options) -> Result<()> {
    let stage = Stage::new(workspace)?;
    announce(&format!(
        "A lab of its own: all that follows runs in the namespace {}",
        lab::HOST
    ));
    terminal::say(terminal::prompt(&format!("ip netns add {}", lab::HOST)));
    lab::create()?;
    terminal::say(terminal::prompt(&stage.way_in(workspace)));

    let cast = gather(&stage, options)?;
    let source = Path::new(cast.example)
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy();
    let bowline = bowline_words();
    let before = Snapshot::take()?;

    announce("One file connects them");
    stage.run(&format!("cat {}", cast.example))?;
    lab::set_loaded(&source)?;
    stage.run(&format!("{bowline} load {}", cast.example))?;
    stage.run(&format!("{bowline} show"))?;

    announce("web reaches db");
    let [v4, v6] = addresses(&stage, &cast.db)?;
    stage.run(&format!("{} ping -c 3 {v4}", cast.web))?;
    stage.run(&format!("{} ping -6 -c 3 {v6}", cast.web))?;

    announce("A TCP transfer arrives whole");
    transfer(&stage, &cast, &v4)?;

    announce("What the datapath counted, and what it would decide");
    stage.run(&format!("{bowline} stats"))?;
    stage.run(&format!("{bowline} trace web db tcp {PORT}"))?;

    if options.keep {
        announce("It goes on running");
        terminal::say(format!("enter:     {}", stage.way_in(workspace)));
        terminal::say(format!(
            "try there: {bowline} show; {} ping -c 1 {v4}",
            cast.web
        ));
        terminal::say("clean up:  cargo xtask demo --clean");
        return Ok(());
    }
    announce("Nothing is left behind");
    stage.run(&format!("{bowline} unload {source}"))?;
    lab::set_unloaded()?;
    stage.run("ip -brief link")?;
    before.refuse_new(&Snapshot::take()?)?;
    terminal::say(format!(
        "links and BPF pins: the same {} as before the load {}",
        before.len(),
        terminal::verdict("ok", 2)
    ));
    Ok(())
}

/// Containers where Docker runs, namespaces where it does not.
fn gather(stage: &Stage, options: &Options) -> Result<Cast> {
    announce("A Docker engine and two containers without a network");
    let refusal = match &options.no_docker {
        Some(reason) => reason.clone(),
        None => match containers(stage) {
            Ok(cast) => return Ok(cast),
            Err(failure) => failure.to_string(),
        },
    };
    terminal::say(format!("Docker cannot run here: {refusal}"));
    announce("Plain network namespaces take the containers' place");
    namespaces()
}

fn containers(stage: &Stage) -> Result<Cast> {
    terminal::say(terminal::aside("starting containerd and dockerd"));
    engine::start(stage)?;
    stage
        .run("docker version --format 'engine {{.Server.Version}}, client {{.Client.Version}}'")?;
    let image = lab::path("image");
    engine::lay_out_image(&image)?;
    stage.run(&format!(
        "tar -C {} -c . | docker import - busybox:demo",
        image.display()
    ))?;
    for name in ["web", "db"] {
        stage.run(&format!(
            "docker run -d --name {name} --hostname {name} --network none busybox:demo sleep 86400"
        ))?;
    }
    stage.run("docker exec web ip link")?;
    Ok(Cast {
        example: "examples/two-containers.yaml",
        web: "docker exec web".to_owned(),
        db: "docker exec db".to_owned(),
        folder: "/tmp",
    })
}

fn namespaces() -> Result<Cast> {
    for name in WORKLOADS {
        terminal::say(terminal::prompt(&format!("ip netns add {name}")));
        lab::add_namespace(name)?;
    }
    let [web, db] = WORKLOADS.map(|name| format!("nsenter {}", lab::entry(name)));
    Ok(Cast {
        example: "examples/two-namespaces.yaml",
        web,
        db,
        folder: lab::FOLDER,
    })
}

/// The IPv4 and the IPv6 address of a workload, once they can be used.
fn addresses(stage: &Stage, workload: &str) -> Result<[String; 2]> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let listed = stage.read(&format!("{workload} ip address"))?;
        let found = ["inet", "inet6"].map(|family| usable_address(&listed, family));
        if let [Some(v4), Some(v6)] = found {
            return Ok([v4, v6]);
        }
        if Instant::now() > deadline {
            return Err(Failure::new(format!(
                "`{workload} ip address` shows no usable IPv4 and IPv6 address after the load"
            )));
        }
        sleep(Duration::from_millis(100));
    }
}

/// Reads `inet 10.1.0.20/24 scope global eth0`. A tentative address is still being checked for
/// duplicates.
fn usable_address(listed: &str, family: &str) -> Option<String> {
    listed
        .lines()
        .filter(|line| line.contains("scope global") && !line.contains("tentative"))
        .find_map(|line| {
            line.trim()
                .strip_prefix(&format!("{family} "))?
                .split(['/', ' '])
                .next()
        })
        .map(str::to_owned)
}

fn transfer(stage: &Stage, cast: &Cast, to: &str) -> Result<()> {
    let Cast {
        web, db, folder, ..
    } = cast;
    stage.run(&format!(
        "{web} dd if=/dev/urandom of={folder}/sent bs=1M count={MEBIBYTES} 2>/dev/null"
    ))?;
    stage.run(&format!(
        "{db} busybox nc -l -p {PORT} -e busybox sh -c 'cat > {folder}/received' &"
    ))?;
    let deadline = Instant::now() + PATIENCE;
    while !stage
        .read(&format!("{db} busybox netstat -ltn"))?
        .contains(&format!(":{PORT} "))
    {
        if Instant::now() > deadline {
            return Err(Failure::new(format!("nobody listens on port {PORT} of db")));
        }
        sleep(Duration::from_millis(50));
    }
    let started = Instant::now();
    stage.run(&format!(
        "{web} timeout 60 busybox sh -c 'busybox nc {to} {PORT} < {folder}/sent'"
    ))?;
    let took = started.elapsed();
    let sent = stage.run_and_read(&format!("{web} sha256sum {folder}/sent"))?;
    let received = stage.run_and_read(&format!("{db} sha256sum {folder}/received"))?;
    if sent.split(' ').next() != received.split(' ').next() {
        return Err(Failure::new("what db received is not what web sent"));
    }
    terminal::say(format!(
        "{MEBIBYTES} MiB in {}, checksums equal {}",
        terminal::seconds(took),
        terminal::verdict("ok", 2)
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::usable_address;

    #[test]
    fn an_address_is_read_when_it_is_global_and_settled() {
        let listed = "    inet 127.0.0.1/8 scope host lo\n    \
                      inet 10.1.0.20/24 scope global eth0\n    \
                      inet6 fd00::20/64 scope global tentative \n    \
                      inet6 fe80::1/64 scope link \n";
        assert_eq!(usable_address(listed, "inet"), Some("10.1.0.20".to_owned()));
        assert_eq!(usable_address(listed, "inet6"), None);
    }
}
