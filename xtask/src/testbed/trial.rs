//! What the hosts of the testbed are tried with.

use super::Testbed;
use crate::failure::{Failure, Result};
use crate::{process, terminal};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Something that a user does on a host.
struct Step {
    what: &'static str,
    host: &'static str,
    command: &'static str,
    /// It succeeds, and prints this.
    text: &'static str,
}

const fn says(
    what: &'static str,
    host: &'static str,
    command: &'static str,
    text: &'static str,
) -> Step {
    Step {
        what,
        host,
        command,
        text,
    }
}

const LOAD: [Step; 2] = [
    says(
        "h1 loads the file",
        "h1",
        "sudo bowline load /root/testbed.yaml",
        "loaded",
    ),
    says(
        "h2 loads the file",
        "h2",
        "sudo bowline load /root/testbed.yaml",
        "loaded",
    ),
];

const STEPS: [Step; 6] = [
    says(
        "over a network, between hosts",
        "h1",
        "inside web curl -s -m 20 http://10.1.0.20",
        "api",
    ),
    says(
        "through a router, between hosts",
        "h1",
        "inside web ping -c 1 -W 20 10.2.0.30",
        "1 received",
    ),
    says(
        "through a router and a policy",
        "h2",
        "inside api curl -s -m 20 http://10.2.0.30",
        "db",
    ),
    // No answer in time, and nothing else that may go wrong, is what a dropped call looks like.
    says(
        "what the policy denies",
        "h1",
        "inside web curl -s -m 5 http://10.2.0.30 || echo \"curl: $?\"",
        "curl: 28",
    ),
    says(
        "a published port, from the other host",
        "h2",
        "curl -s -m 20 http://10.44.0.11:8080",
        "web",
    ),
    says(
        "connections are shown",
        "h1",
        "sudo bowline flows",
        "10.1.0.10",
    ),
];

/// What a host that has started anew has without anybody's doing: Docker starts its containers, and the agent
/// plugs them in.
const AGAIN: [Step; 2] = [
    says(
        "h2 has a container and its address again",
        "h2",
        "inside api ip -4 address show dev eth0",
        "10.1.0.20",
    ),
    says(
        "h2 has the other one, too",
        "h2",
        "inside db ip -4 address show dev eth0",
        "10.2.0.30",
    ),
];

/// How long a host may take to start, with an emulated processor.
const PATIENCE: Duration = Duration::from_secs(1200);

/// Tries everything; tells of each step whether it passed.
pub(super) fn run(testbed: &Testbed<'_>) -> Result<()> {
    let mut failed = 0;
    for step in LOAD.iter().chain(&STEPS) {
        failed += usize::from(!attempt(testbed, step, Duration::ZERO)?);
    }
    terminal::step("h2 starts anew");
    let boot = r"cat /proc/sys/kernel/random/boot_id";
    let before = ask(testbed, "h2", boot)?;
    let before = before.ok_or_else(|| Failure::new("h2 does not say since when it runs"))?;
    // The connection ends with the host.
    ask(testbed, "h2", "sudo systemctl reboot")?;
    let began = Instant::now();
    while ask(testbed, "h2", boot)?.is_none_or(|now| now == before) {
        if began.elapsed() > PATIENCE {
            return Err(Failure::new("h2 did not come back"));
        }
        sleep(Duration::from_secs(1));
    }
    let took = terminal::seconds(began.elapsed());
    terminal::say(format!("h2 is back after {took}"));
    for step in AGAIN.iter().chain(&STEPS) {
        failed += usize::from(!attempt(testbed, step, PATIENCE)?);
    }
    match failed {
        0 => Ok(()),
        _ => Err(Failure::new(format!("{failed} steps failed"))),
    }
}

/// Does it, and again until it is as expected or time is up.
fn attempt(testbed: &Testbed<'_>, step: &Step, patience: Duration) -> Result<bool> {
    let began = Instant::now();
    let (passed, said) = loop {
        let said = ask(testbed, step.host, step.command)?;
        let passed = said.as_ref().is_some_and(|said| said.contains(step.text));
        if passed || began.elapsed() >= patience {
            break (passed, said);
        }
        sleep(Duration::from_secs(1));
    };
    let verdict = terminal::verdict(if passed { "passed" } else { "FAILED" }, 8);
    let took = terminal::seconds(began.elapsed());
    terminal::say(format!("{verdict}{:<48} {took:>12}", step.what));
    if !passed {
        let said = said.unwrap_or_else(|| "it failed".to_owned());
        terminal::say(format!(
            "  {}$ {}\n  {}",
            step.host,
            step.command,
            said.trim()
        ));
    }
    Ok(passed)
}

/// What a command on a host prints; nothing if it fails. In it, `inside CONTAINER COMMAND` runs a program of
/// the host in the network of a container, which has none of its own that could be trusted to work.
fn ask(testbed: &Testbed<'_>, host: &str, command: &str) -> Result<Option<String>> {
    const INSIDE: &str = "inside() { \
        pid=$(sudo docker inspect --format '{{.State.Pid}}' \"$1\") && shift && \
        sudo nsenter --net=/proc/$pid/ns/net \"$@\"; \
        }; ";
    let command = format!("{INSIDE}{command}");
    Ok(process::output(testbed.ssh(host)?.arg(command)).ok())
}
