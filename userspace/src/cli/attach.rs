//! `bowline attach` and `bowline detach`: containers that Docker has given no network.

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::Global;
use super::output::{self, Format};
use super::records::ask;
use crate::agent::attach::{AttachRequest, Attached, DetachRequest};
use crate::agent::plugin::{ATTACH, DETACH};
use crate::document::is_object_name;

/// What helps where no agent runs.
const NO_AGENT: &str =
    "no agent runs, which keeps what Docker's containers have: systemctl start bowline-agent";

/// Plug a running container into a network
///
/// For containers that were started with `--network none`; others are plugged in by `docker network
/// connect`. The network is one of a loaded file or one of Docker's that bowline drives. It holds until the
/// container is removed or detached, also when the container is restarted. A container that is started with
/// `--label bowline.network=NAME` is attached by itself.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sudo bowline attach web front\n  \
    sudo bowline attach web front --address 10.1.0.9 --group web --alias www")]
pub(super) struct Attach {
    /// The container's name or id
    container: String,
    /// The network
    network: String,
    /// An address that it is to have; any free one unless given, of each family that the network has
    #[arg(long = "address", value_name = "ADDRESS")]
    addresses: Vec<IpAddr>,
    /// The MAC address of the interface
    #[arg(long)]
    mac: Option<String>,
    /// A security group that it joins
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Another name by which others on the network find it
    #[arg(long = "alias", value_name = "NAME", value_parser = alias)]
    aliases: Vec<String>,
}

/// What a container can be called.
fn alias(text: &str) -> Result<String, String> {
    if is_object_name(text) {
        Ok(text.to_owned())
    } else {
        Err("write letters, digits, `_`, `.` and `-`".to_owned())
    }
}

impl Attach {
    pub(super) fn run(self, global: &Global) -> Result<ExitCode> {
        let request = AttachRequest {
            container: self.container,
            network: self.network,
            addresses: self.addresses,
            mac: self.mac,
            groups: self.groups,
            aliases: self.aliases,
        };
        let attached: Option<Attached> = ask(&global.instance()?, ATTACH, &request)?;
        let attached = attached.context(NO_AGENT)?;
        match global.output {
            Format::Table => output::print_line(format!(
                "attached: {} to {} by {}, {}",
                attached.container,
                attached.network,
                attached.interface,
                attached.addresses.join(" ")
            ))?,
            format => output::print_value(format, &attached)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Plug a container out of a network that it was attached to
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sudo bowline detach web front\n  sudo bowline detach web     # from all"
)]
pub(super) struct Detach {
    /// The container's name or id
    container: String,
    /// The network; all that it was attached to unless given
    network: Option<String>,
}

impl Detach {
    pub(super) fn run(self, global: &Global) -> Result<ExitCode> {
        let request = DetachRequest {
            container: self.container,
            network: self.network,
        };
        let detached: Option<()> = ask(&global.instance()?, DETACH, &request)?;
        detached.context(NO_AGENT)?;
        Ok(ExitCode::SUCCESS)
    }
}
