//! `bowline subnet`: a host that keeps Docker's own bridge gets its part of a network for it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use super::Global;
use super::output::{self, Format};
use crate::host::Host;
use crate::subnet::{Settings, Share};

/// Give Docker's own bridge on this host its subnet and MTU
///
/// For hosts that keep Docker's own bridge. The loaded file routes a subnet for each of them to the host's own
/// port on a network (`host_network: true`); what is missing there is told, as the file has to say it. This
/// writes `bip` and `mtu` into Docker's settings, where everything else stays as it is. Docker reads them when
/// it is started.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sudo bowline subnet fabric --print\n  \
    sudo bowline subnet fabric && sudo systemctl restart docker")]
pub(super) struct Subnet {
    /// The network that the hosts' own ports are on
    network: String,
    /// Docker's settings
    #[arg(long, default_value = "/etc/docker/daemon.json", value_name = "FILE")]
    settings: PathBuf,
    /// Only print what the settings would be
    #[arg(long)]
    print: bool,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    share: Share,
    settings: PathBuf,
    changed: bool,
}

impl Subnet {
    pub(super) async fn run(self, global: &Global) -> Result<ExitCode> {
        // Docker may wait for its settings.
        let outlook = Host::new(&global.instance()?)?.look_aside().await?;
        let host = outlook.plan.host.as_deref();
        let carried = outlook.plan.carried;
        let share = Share::of(&outlook.topology, host, &self.network, carried)?;
        let path = self.settings.as_path();
        let shown = path.display();
        let before = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.with_context(|| format!("read {shown}"))?,
        };
        let before = Settings::read(&before).with_context(|| format!("read {shown}"))?;
        let after = before.with(&share).with_context(|| format!("in {shown}"))?;
        if self.print {
            output::print_line(after.to_string().trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
        let changed = after != before;
        if changed {
            write(path, &after.to_string()).with_context(|| format!("write {shown}"))?;
        }
        let settings = self.settings.clone();
        match global.output {
            Format::Table => output::print_line(told(&share, path, changed))?,
            format => output::print_value(
                format,
                &Shown {
                    share,
                    settings,
                    changed,
                },
            )?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn told(share: &Share, path: &Path, changed: bool) -> String {
    let Share {
        bip,
        mtu,
        interface,
        ..
    } = share;
    let path = path.display();
    if !changed {
        return format!("{path} has bip {bip} and mtu {mtu}");
    }
    format!(
        "written to {path}: bip {bip}, mtu {mtu}\nnow: systemctl restart docker\nDocker's firewall lets in \
         what comes from other hosts by: iptables -I DOCKER-USER -i {interface} -j ACCEPT"
    )
}

/// Puts another file in the place of a file, with the same rights: whoever reads it sees the one or the other.
fn write(path: &Path, text: &str) -> Result<()> {
    // Docker's settings may lie elsewhere.
    let path = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        path => path?,
    };
    let Some((folder, name)) = path.parent().zip(path.file_name()) else {
        bail!("it is no file");
    };
    fs::create_dir_all(folder)?;
    let next = folder.join(format!(".{}.bowline", name.to_string_lossy()));
    let replace = || -> io::Result<()> {
        let mut file = File::create(&next)?;
        file.write_all(text.as_bytes())?;
        if let Ok(former) = fs::metadata(&path) {
            file.set_permissions(former.permissions())?;
        }
        file.sync_all()?;
        fs::rename(&next, &path)
    };
    replace().inspect_err(|_| {
        // If that fails too, the first reason is the one to tell.
        let _left = fs::remove_file(&next);
    })?;
    Ok(())
}
