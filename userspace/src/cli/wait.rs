//! `bowline wait`: run inside a container, it returns when the network is there.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::kernel::system::interfaces_in_use;

/// How often to look.
const PAUSE: Duration = Duration::from_millis(20);

/// Wait, inside a container, until its network is there
///
/// A container that was started with `--network none` has its interfaces a moment later. This waits for an
/// interface besides `lo` that is up and has an address, and then becomes the command, if one is given. It
/// needs no rights, and neither Docker nor the agent within reach: give the container this program by
/// `--volume /usr/local/bin/bowline:/bowline:ro`. As `cargo xtask build` makes it, it runs in any image.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    docker run --network none --label bowline.network=front --volume /usr/local/bin/bowline:/bowline:ro \\\n    \
    --entrypoint /bowline IMAGE wait -- nginx -g 'daemon off;'\n  \
    docker run --health-cmd '/bowline wait --timeout 0' ...")]
pub(super) struct Wait {
    /// For how long; 0 only looks
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    timeout: u64,
    /// The interface that must be there, instead of any
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// What to run then, in place of this process
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Wait {
    pub(super) fn run(self) -> Result<ExitCode> {
        let is_there = || {
            let found = interfaces_in_use();
            match &self.interface {
                Some(name) => found.contains(name),
                None => !found.is_empty(),
            }
        };
        let deadline = Instant::now() + Duration::from_secs(self.timeout);
        while !is_there() {
            if Instant::now() >= deadline {
                bail!("there is no network after {} seconds", self.timeout);
            }
            thread::sleep(PAUSE);
        }
        let Some((program, arguments)) = self.command.split_first() else {
            return Ok(ExitCode::SUCCESS);
        };
        // It returns only if it fails.
        let error = Command::new(program).args(arguments).exec();
        Err(error).with_context(|| format!("run {program}"))
    }
}
