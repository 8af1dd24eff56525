//! One run of QEMU: started, read, and ended whatever happens.

use super::kernel::Kernel;
use crate::failure::{Context as _, Failure, Result};
use crate::libtest::{self, Counts};
use crate::{process, terminal};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What begins a line that is not for the user, see `init.sh`.
const MARK: &str = "bowline-vm: ";

/// Who runs the virtual processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accelerator {
    /// The processor itself.
    Kvm,
    /// QEMU, by translation: everywhere, and about ten times slower.
    Tcg,
}

impl Accelerator {
    /// KVM where it works. `/dev/kvm` alone does not mean that: inside a virtual machine it may be
    /// there without a processor that can virtualise.
    pub(super) fn choose() -> Self {
        let is_able = fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| {
            let mut words = text.split_whitespace();
            words.any(|word| word == "vmx" || word == "svm")
        });
        let is_allowed = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_ok();
        if is_able && is_allowed {
            Self::Kvm
        } else {
            Self::Tcg
        }
    }

    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Tcg => "without KVM",
        }
    }

    /// How many times longer than usual tests have to wait.
    pub(super) fn patience(self) -> u32 {
        match self {
            Self::Kvm => 1,
            Self::Tcg => 4,
        }
    }

    fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // Without a limit the cache of translations takes a gigabyte. The plainest processor is
            // the fastest, because every page table has one level less.
            // Without `cmpxchg16b`: QEMU 7.2 now and then loses the processor's flags in it, and the kernel,
            // which then does without, dies of a double fault.
            Self::Tcg => ["-accel", "tcg,tb-size=256", "-cpu", "qemu64,-cx16"],
        }
    }
}

/// A virtual machine that is about to run.
#[derive(Debug)]
pub(super) struct Machine {
    /// What lines from it begin with.
    pub(super) name: String,
    pub(super) kernel: Kernel,
    pub(super) accelerator: Accelerator,
    /// What is unpacked into its memory.
    pub(super) image: PathBuf,
    /// Where everything that tests print goes.
    pub(super) log: PathBuf,
    /// Where everything that the kernel says goes.
    pub(super) console: PathBuf,
    /// After this it is ended.
    pub(super) limit: Duration,
    /// What joins it to another one.
    pub(super) cable: Option<Cable>,
}

/// One end of a cable between two virtual machines, which each have a virtio interface for it.
#[derive(Debug)]
pub(super) struct Cable {
    /// The socket at this end, and the one at the other.
    pub(super) own: PathBuf,
    pub(super) other: PathBuf,
    /// Tells this end from the other one, from 1 to 9.
    pub(super) number: usize,
}

impl Cable {
    fn arguments(&self) -> [String; 4] {
        let [own, other] = [&self.own, &self.other].map(|path| path.display());
        let unix = "local.type=unix,remote.type=unix";
        [
            "-netdev".to_owned(),
            format!("dgram,id=cable,{unix},local.path={own},remote.path={other}"),
            "-device".to_owned(),
            format!(
                "virtio-net-pci,netdev=cable,mac=52:54:00:00:00:0{}",
                self.number
            ),
        ]
    }
}

/// What a run reported.
#[derive(Debug, Default)]
struct Report {
    name: String,
    counts: Counts,
    exit: Option<i32>,
    /// Whether it was tests that ran.
    has_tests: bool,
}

impl Machine {
    /// Runs it to its end. Tests count as they do without a virtual machine; one that never reports
    /// its end counts as a failure.
    pub(super) fn run(&self) -> Result<(Counts, Duration)> {
        let started = Instant::now();
        terminal::step(&format!(
            "booting Linux {} ({})",
            self.kernel.release,
            self.accelerator.describe()
        ));
        let mut log =
            File::create(&self.log).context(|| format!("cannot write {}", self.log.display()))?;
        let mut command = self.command();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context(|| "cannot start QEMU".to_owned())?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| Failure::new("QEMU has no output"))?;
        let mut report = Report {
            name: self.name.clone(),
            ..Report::default()
        };
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
            // The log is for later; the tests run on without it.
            let _ = log.write_all(&line);
            report.take(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
        let status = child.wait().context(|| "cannot wait for QEMU".to_owned())?;
        if report.exit.is_none() {
            terminal::say(format!(
                "the virtual machine did not come to its end (QEMU {}); its last words:",
                process::ending(status)
            ));
            self.show_console();
        }
        // A hundred megabytes that the next run writes anew.
        let _ = fs::remove_file(&self.image);
        Ok((report.judge(), started.elapsed()))
    }

    /// `timeout` ends QEMU when it takes too long, and `setpriv` ends both when this process ends,
    /// however that comes about.
    fn command(&self) -> Command {
        // More than one emulated processor only makes them wait for one another.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "timeout", "--kill-after=5"]);
        command.arg(self.limit.as_secs().to_string());
        command
            .arg("qemu-system-x86_64")
            .args(self.accelerator.arguments());
        command.args(["-machine", "q35", "-smp", "1", "-m", "1024"]);
        command.args(["-nodefaults", "-display", "none", "-no-reboot"]);
        command.arg("-kernel").arg(self.kernel.image());
        command.arg("-initrd").arg(&self.image);
        // A panic ends the machine.
        // An emulated processor that has to wait for its turn misses the interrupts by which the kernel tests its
        // timer at boot, and the kernel gives up (`no_timer_check`, kernel-parameters.txt).
        command.args([
            "-append",
            "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check",
        ]);
        command
            .arg("-serial")
            .arg(format!("file:{}", self.console.display()));
        command.args(["-serial", "stdio"]);
        command.args(self.cable.iter().flat_map(Cable::arguments));
        command
    }

    fn show_console(&self) {
        let text = fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(40)) {
            terminal::say(line.trim_end());
        }
    }
}

impl Report {
    fn take(&mut self, line: &str) {
        let Some(said) = line.strip_prefix(MARK) else {
            let counts = libtest::result_line(line);
            self.has_tests |= counts.is_some();
            self.counts += counts.unwrap_or_default();
            self.say(line);
            return;
        };
        match said.split_once(' ') {
            Some(("kernel", release)) => terminal::step(&format!("Linux {release} is up")),
            Some(("exit", code)) => self.exit = code.parse().ok(),
            Some(("skipped", reason)) => {
                self.say(&format!("skipped: {reason}"));
                self.counts.skip();
            }
            _ => self.say(line),
        }
    }

    /// Shows a line with the kernel that it is from: several run at the same time.
    fn say(&self, line: &str) {
        terminal::say(format!("{:<5} {line}", self.name));
    }

    fn judge(self) -> Counts {
        let mut counts = self.counts;
        match self.exit {
            Some(0) if !self.has_tests => counts.passed += 1,
            Some(0) => {}
            _ => counts.failed = counts.failed.max(1),
        }
        counts
    }
}
