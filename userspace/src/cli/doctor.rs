//! `bowline doctor`: what may be wrong with this host, and what helps.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::Global;
use super::output::{self, Format, GREEN, RED, RESET, YELLOW};
use super::records::{ask, converse};
use crate::agent::liveness::State;
use crate::agent::plugin::{REPAIR, VERSION};
use crate::agent::reconcile::{RepairRequest, Repaired};
use crate::docker::Docker;
use crate::doctor::{Finding, Health, handshake, jit, path, ports};
use crate::doorways::{DOORWAYS_MAX, doorways, no_room, within};
use crate::host::{Host, Outlook};
use crate::instance::Instance;
use crate::kernel::bpffs;
use crate::kernel::capability::{KernelVersion, OLDEST, check_capabilities};
use crate::kernel::clock;
use crate::kernel::system::{has_btf, sysctl};
use crate::ledger::Ledger;
use crate::verdicts::Verdicts;

/// The exit code for "something does not work".
const UNWELL: u8 = 11;
/// What is the version of this program.
const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Examine this host, and say what helps
///
/// Looks at the kernel and its settings, the BPF file system, what is loaded against what the kernel holds,
/// the uplink, the ways to other hosts, the agent, and Docker's side. Nothing is changed. The exit code is 11
/// if something does not work; warnings do not count.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sudo bowline doctor\n  sudo bowline doctor -o json")]
pub(super) struct Doctor {
    /// The socket by which Docker finds its network driver, as for `agent`
    #[arg(long, value_name = "SOCKET")]
    docker: Option<PathBuf>,
}

impl Doctor {
    pub(super) async fn run(self, global: &Global) -> Result<ExitCode> {
        let instance = global.instance()?;
        let mut findings = kernel();
        findings.push(file_system());
        findings.extend(loaded(&instance).await);
        findings.extend(agent(&instance));
        let socket = self.docker.unwrap_or_else(|| instance.plugin_socket());
        findings.extend(docker(&instance, socket));
        print(global.output, &findings)?;
        let is_unwell = findings.iter().any(|it| it.health == Health::Failed);
        Ok(if is_unwell {
            ExitCode::from(UNWELL)
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn print(format: Format, findings: &[Finding]) -> Result<()> {
    if format != Format::Table {
        return output::print_value(format, &findings);
    }
    for finding in findings {
        let color = match finding.health {
            Health::Well => GREEN,
            Health::Warning => YELLOW,
            Health::Failed => RED,
        };
        let word = finding.health.word();
        let line = format!(
            "{color}{word:<8}{RESET} {}: {}",
            finding.subject, finding.found
        );
        output::print_line(line)?;
        if let Some(cure) = &finding.cure {
            output::print_line(format!("         help: {cure}"))?;
        }
    }
    Ok(())
}

fn kernel() -> Vec<Finding> {
    let newer = format!("boot Linux {OLDEST} or newer");
    let version = match KernelVersion::running() {
        Ok(version) if version < OLDEST => {
            Finding::failed("kernel", format!("Linux {version}"), newer)
        }
        Ok(version) => {
            let way = if version.has_tcx() {
                "TCX links"
            } else {
                "filters of a clsact qdisc"
            };
            Finding::well(
                "kernel",
                format!("Linux {version}, programs are attached as {way}"),
            )
        }
        Err(error) => Finding::failed("kernel", format!("{error:#}"), newer),
    };
    let rights = match check_capabilities() {
        Ok(()) => Finding::well("rights", "enough"),
        Err(error) => Finding::failed("rights", format!("{error:#}"), "run it as root"),
    };
    let btf = if has_btf() {
        Finding::well("BTF", "the kernel has it")
    } else {
        Finding::failed(
            "BTF",
            "the kernel was built without",
            "use a kernel with CONFIG_DEBUG_INFO_BTF, as all of the large distributions have",
        )
    };
    let setting = sysctl("net.core.bpf_jit_enable");
    vec![version, rights, btf, jit(setting.as_deref())]
}

fn file_system() -> Finding {
    let subject = "BPF file system";
    match bpffs::is_mounted() {
        Ok(true) => Finding::well(subject, format!("mounted on {}", bpffs::MOUNT_POINT)),
        Ok(false) => Finding::warning(
            subject,
            "not mounted",
            "`bowline load` mounts it; to have it earlier: mount -t bpf bpf /sys/fs/bpf",
        ),
        Err(error) => Finding::failed(
            subject,
            format!("{error:#}"),
            "mount sysfs on /sys; the kernel needs CONFIG_BPF_SYSCALL",
        ),
    }
}

/// What is recorded as loaded, and what the kernel holds.
async fn loaded(instance: &Instance) -> Vec<Finding> {
    let subject = "what is loaded";
    let look = async {
        let outlook = Host::new(instance)?.look(None).await?;
        let sources = Ledger::new(instance).sources()?;
        anyhow::Ok((outlook, sources.len()))
    };
    let (outlook, sources) = match look.await {
        Ok(found) => found,
        Err(error) => {
            let cure = "`bowline validate FILE` shows the place; `bowline load FILE` replaces it, \
                        `bowline unload --all` takes all of it out of force";
            let text = format!("{error:#}");
            return vec![Finding::failed(subject, text.trim(), cure)];
        }
    };
    let mut findings = vec![if outlook.diff.is_empty() {
        let links = outlook.plan.links.len();
        Finding::well(
            subject,
            format!("{sources} sources, {links} ports, and the kernel holds just that"),
        )
    } else {
        Finding::warning(
            subject,
            "the kernel does not hold what is recorded as loaded",
            "`bowline plan` shows the difference, `bowline load` without a file removes it; a running agent \
             does so by itself",
        )
    }];
    for (name, error) in outlook.places.missing() {
        let cure = "start it, then `bowline load`, or take it out of its file";
        let found = format!("workload {name}: {error:#}");
        findings.push(Finding::warning("workloads", found, cure));
    }
    for warning in &outlook.warnings {
        let cure = "`bowline plan` shows the place";
        let cure = warning.help.clone().unwrap_or_else(|| cure.to_owned());
        findings.push(Finding::warning(subject, warning.message.clone(), cure));
    }
    findings.extend(underlay(&outlook));
    findings.extend(no_way_in(&outlook));
    findings.extend(peers(instance, &outlook));
    findings
}

fn underlay(outlook: &Outlook) -> Vec<Finding> {
    let subject = "uplink";
    let Some(uplink) = &outlook.situation.uplink else {
        let is_alone = outlook.topology.hosts.len() < 2;
        return vec![if is_alone {
            Finding::well(subject, "none is needed")
        } else {
            Finding::failed(
                subject,
                "this host has none of the file's underlay addresses",
                "`bowline load FILE --host NAME` says which host this is; `uplink:` at the host names the \
                 interface",
            )
        }];
    };
    let (name, mtu) = (&uplink.interface, uplink.mtu);
    let (first, last) = uplink.local_ports;
    vec![
        Finding::well(subject, format!("{name}, packets of up to {mtu} bytes")),
        ports(first, last),
    ]
}

/// The workloads whose published ports this host itself does not reach.
fn no_way_in(outlook: &Outlook) -> Vec<Finding> {
    let situation = &outlook.situation;
    let addresses = situation.uplink.iter().flat_map(|it| &it.addresses);
    let addresses: Vec<_> = addresses.copied().collect();
    let all = doorways(&outlook.topology, situation.host.as_deref(), &addresses);
    let (_, outside) = within(all, DOORWAYS_MAX);
    let outside = outside.into_iter().map(|(workload, count)| {
        let found = no_room(&workload, count, DOORWAYS_MAX);
        let cure =
            "publish fewer ports, or reach it by the workload's own address from another one";
        Finding::warning("published ports", found, cure)
    });
    outside.collect()
}

/// The other hosts, as the agent finds them.
fn peers(instance: &Instance, outlook: &Outlook) -> Vec<Finding> {
    let Some(verdicts) = Verdicts::fresh(instance, clock::precise_ns()) else {
        return Vec::new();
    };
    let promised = |name: &String| {
        let promised = outlook.situation.promised_mtu(&outlook.topology, name);
        promised.unwrap_or(1500)
    };
    let peers = verdicts.peers.iter();
    peers
        .map(|(name, verdict)| {
            let is_up = verdict.state == State::Up;
            path(name, is_up, verdict.path_mtu, promised(name))
        })
        .collect()
}

fn agent(instance: &Instance) -> Vec<Finding> {
    let subject = "agent";
    let start = "systemctl enable --now bowline-agent, or `bowline agent`";
    vec![match ask::<String>(instance, VERSION, &()) {
        Ok(Some(version)) if version == OWN_VERSION => {
            Finding::well(subject, format!("runs, version {version}"))
        }
        Ok(Some(version)) => Finding::warning(
            subject,
            format!("runs, but is version {version}, and this is {OWN_VERSION}"),
            "systemctl restart bowline-agent: traffic goes on meanwhile",
        ),
        Ok(None) => Finding::warning(
            subject,
            "does not run: Docker's driver does not answer, and nobody watches the other hosts",
            start,
        ),
        Err(error) => Finding::failed(subject, format!("{error:#}"), start),
    }]
}

/// Docker's side.
fn docker(instance: &Instance, socket: PathBuf) -> Vec<Finding> {
    let subject = "Docker";
    let mut findings = vec![match Docker::connect() {
        Ok(_) => Finding::well(subject, "the engine answers"),
        Err(error) => {
            let cure = "nothing is wrong with that where no containers are to be plugged in";
            return vec![Finding::warning(subject, error.to_string(), cure)];
        }
    }];
    let shown = socket.display().to_string();
    let answer = converse(&socket, "Plugin.Activate", "");
    findings.push(match &answer {
        Ok(None) => Finding::warning(
            "Docker's driver",
            format!("nobody listens at {shown}"),
            "systemctl enable --now bowline.socket bowline-agent, or `bowline agent`",
        ),
        Ok(Some(body)) => handshake(&shown, Ok(body.trim())),
        Err(error) => handshake(&shown, Err(&error.to_string())),
    });
    let dry = RepairRequest { dry_run: true };
    match ask::<Repaired>(instance, REPAIR, &dry) {
        Ok(None) => {}
        Ok(Some(repaired)) if repaired.findings.is_empty() => findings.push(Finding::well(
            "Docker's books",
            "Docker, what is recorded of it and the kernel agree",
        )),
        Ok(Some(repaired)) => {
            for repair in repaired.findings {
                let (what, how) = match repair.finding.split_once(": ") {
                    Some((what, how)) => (what.to_owned(), how.to_owned()),
                    None => (repair.finding, String::new()),
                };
                findings.push(if repair.mended {
                    let cure = format!("`bowline repair` does it: {how}");
                    Finding::warning("Docker's books", what, cure)
                } else {
                    Finding::failed("Docker's books", what, how)
                });
            }
        }
        Err(error) => findings.push(Finding::failed(
            "Docker's books",
            format!("{error:#}"),
            "look at what the agent says: journalctl -u bowline-agent",
        )),
    }
    findings
}
