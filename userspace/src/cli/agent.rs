//! `bowline agent`: keeps what is loaded true while the world around it changes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::Global;
use super::output;
use crate::agent::{self, Event, Settings};

/// Run the long-running half: watch the other hosts, and keep what is loaded true
///
/// Packets do not need it. It puts what is recorded as loaded into force; asks every other host again
/// and again whether it is alive, and takes equal next hops on dead ones out of use until they are
/// back; finds out how large packets can be on the way to each; and plans again when this host's uplink
/// or routes change. `bowline show peers` shows what it found. It ends with SIGTERM or SIGINT, and what
/// is in the kernel stays.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sudo bowline agent\n  \
    sudo bowline agent --interval 0.3 --metrics 127.0.0.1:9476\n  \
    sudo systemctl enable --now bowline-agent")]
pub(super) struct Agent {
    /// How long it is from one echo to another host to the next
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = interval)]
    interval: Duration,
    /// How many echoes in a row must be missed before a host counts as down, and how many must come
    /// back before it counts as up again
    #[arg(long, default_value_t = 3, value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=100))]
    missed: u32,
    /// Tell metrics to whoever asks for http://ADDRESS:PORT/metrics, in Prometheus's text format
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// The socket by which Docker finds its network driver; the driver has the name of the socket.
    /// `off` for none. /run/docker/plugins/bowline.sock unless given, or bowline-INSTANCE.sock
    #[arg(long, value_name = "SOCKET")]
    docker: Option<PathBuf>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if (0.05..=60.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("it must be 0.05 to 60 seconds".to_owned())
    }
}

impl Agent {
    pub(super) async fn run(self, global: &Global) -> Result<ExitCode> {
        let instance = global.instance()?;
        let settings = Settings {
            interval: self.interval,
            missed: self.missed,
            metrics: self.metrics,
            docker: match self.docker {
                Some(path) if path.as_os_str() == "off" => None,
                Some(path) => Some(path),
                None => Some(instance.plugin_socket()),
            },
        };
        agent::run(&instance, &settings, &log).await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// One line on standard error, which is where systemd's journal takes it from.
fn log(event: &Event) {
    if event.is_warning() {
        output::warn(event.to_string());
    } else {
        anstream::eprintln!("{event}");
    }
}
