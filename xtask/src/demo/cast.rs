//! The workloads of the story, as containers or as namespaces: only the words differ.

use super::host::stand_in;
use super::stage::Stage;
use super::{Options, announce, engine, lab};
use crate::failure::{Failure, Result};
use crate::terminal;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(super) const PORT: u16 = 5432;
const MEBIBYTES: u64 = 64;
const PATIENCE: Duration = Duration::from_secs(10);

/// What the workloads are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Container,
    Namespace,
}

/// A workload, and the host that it is on.
pub(super) struct Workload<'a> {
    pub(super) stage: &'a Stage,
    /// The words that make a command run in it.
    pub(super) enter: String,
    /// A folder for the files of the transfer, as the workload sees it.
    folder: &'static str,
    /// What `bowline` is called in there.
    bowline: &'static str,
}

impl Kind {
    /// A workload of this name on a host.
    pub(super) fn workload<'a>(self, stage: &'a Stage, name: &str) -> Workload<'a> {
        let (enter, folder, bowline) = match self {
            Self::Container => (format!("docker exec {name}"), "/tmp", "/bowline"),
            Self::Namespace => (
                format!("nsenter {}", lab::entry(&stand_in(name))),
                lab::FOLDER,
                "bowline",
            ),
        };
        Workload {
            stage,
            enter,
            folder,
            bowline,
        }
    }
}

/// Starts what runs on these hosts: containers where Docker runs, namespaces where it does not.
pub(super) fn gather(stages: &[&Stage], options: &Options) -> Result<Kind> {
    announce("A Docker engine for each host, and containers without a network");
    let refusal = match &options.no_docker {
        Some(reason) => reason.clone(),
        None => match containers(stages) {
            Ok(()) => return Ok(Kind::Container),
            Err(failure) => failure.to_string(),
        },
    };
    terminal::say(format!("Docker cannot run here: {refusal}"));
    announce("Plain network namespaces take the containers' place");
    for stage in stages {
        for workload in stage.host.workloads {
            let name = stand_in(workload);
            stage.show(&format!("ip netns add {name}"));
            lab::add_namespace(&name)?;
        }
    }
    Ok(Kind::Namespace)
}

fn containers(stages: &[&Stage]) -> Result<()> {
    let image = lab::path("image");
    engine::lay_out_image(&image)?;
    for stage in stages {
        terminal::say(terminal::aside("starting containerd and dockerd"));
        engine::start(stage)?;
        stage.run(
            "docker version --format 'engine {{.Server.Version}}, client {{.Client.Version}}'",
        )?;
        stage.run(&format!(
            "tar -C {} -c . | docker import - busybox:demo",
            image.display()
        ))?;
        for name in stage.host.workloads {
            stage.run(&format!(
                "docker run -d --name {name} --hostname {name} --network none --volume \
                 $(command -v bowline):/bowline:ro busybox:demo sleep 86400"
            ))?;
        }
    }
    stages
        .first()
        .map_or(Ok(()), |stage| stage.run("docker exec web ip link"))
}

impl Workload<'_> {
    /// Shows a command line and runs it inside.
    pub(super) fn run(&self, line: &str) -> Result<()> {
        self.stage.run(&self.inside(line))
    }

    /// Waits, inside, for its network. The containers' image has no C library.
    pub(super) fn wait(&self) -> Result<()> {
        self.run(&format!("{} wait", self.bowline))
    }

    fn run_and_read(&self, line: &str) -> Result<String> {
        self.stage.run_and_read(&self.inside(line))
    }

    fn inside(&self, line: &str) -> String {
        format!("{} {line}", self.enter)
    }

    /// Its address of a family (`inet` or `inet6`), once it can be used.
    pub(super) fn address(&self, family: &str) -> Result<String> {
        let mut found = None;
        wait_until(
            &format!(
                "`{} ip address` shows no usable {family} address",
                self.enter
            ),
            || {
                let listed = self.stage.read(&self.inside("ip address"))?;
                found = usable_address(&listed, family);
                Ok(found.is_some())
            },
        )?;
        Ok(found.unwrap_or_default())
    }
}

/// Waits for what must come soon.
pub(super) fn wait_until(failure: &str, mut has_come: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !has_come()? {
        if Instant::now() > deadline {
            return Err(Failure::new(failure));
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
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

/// Sends a file over TCP and compares what arrives.
pub(super) fn transfer(web: &Workload<'_>, db: &Workload<'_>, to: &str) -> Result<()> {
    web.run(&format!(
        "dd if=/dev/urandom of={}/sent bs=1M count={MEBIBYTES} 2>/dev/null",
        web.folder
    ))?;
    db.run(&format!(
        "busybox nc -l -p {PORT} -e busybox sh -c 'cat > {}/received' &",
        db.folder
    ))?;
    wait_until(&format!("nobody listens on port {PORT} of db"), || {
        let listed = db.stage.read(&db.inside("busybox netstat -ltn"))?;
        Ok(listed.contains(&format!(":{PORT} ")))
    })?;
    let started = Instant::now();
    web.run(&format!(
        "timeout 60 busybox sh -c 'busybox nc {to} {PORT} < {}/sent'",
        web.folder
    ))?;
    let took = started.elapsed();
    let sent = web.run_and_read(&format!("sha256sum {}/sent", web.folder))?;
    let received = db.run_and_read(&format!("sha256sum {}/received", db.folder))?;
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
