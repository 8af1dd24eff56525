//! `fuzz`: drives cargo-fuzz over the targets in `integration/fuzz`.
//!
//! That crate stands outside the workspace, because libFuzzer's flags must not reach anything
//! else. The sanitizer's flag is unstable; RUSTC_BOOTSTRAP makes a stable compiler take it, so
//! that no nightly is asked for.

use crate::failure::{Failure, Result};
use crate::setup::CARGO_FUZZ;
use crate::workspace::Workspace;
use crate::{process, terminal};
use std::env;
use std::ffi::OsString;
use std::process::Command;

const FOLDER: &str = "integration/fuzz";
const DEFAULT_SECONDS: u64 = 60;

pub(crate) const HELP: &str = "\
Run the fuzz targets in integration/fuzz.

Usage: cargo xtask fuzz [TARGET] [--seconds N]

Without TARGET, every target runs in turn. N is the time for each, 60 by default. A crash is
kept in integration/fuzz/artifacts, and gives exit code 1.

Examples:
  cargo xtask fuzz
  cargo xtask fuzz frame --seconds 600
";

/// Runs one target, or all.
pub(crate) fn fuzz(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let (chosen, seconds) = parse(arguments)?;
    if !workspace.root.join(FOLDER).join("Cargo.toml").is_file() {
        return Err(Failure::new(format!(
            "there is no cargo-fuzz crate in {FOLDER}"
        )));
    }
    let folder = CARGO_FUZZ.ensure()?;
    let cargo_fuzz = || -> Command {
        let mut command = Command::new(folder.join(CARGO_FUZZ.name));
        command.arg("fuzz").env("RUSTC_BOOTSTRAP", "1");
        workspace.prepare(&mut command);
        command
    };
    let listed = process::output(cargo_fuzz().args(["list", "--fuzz-dir", FOLDER]))?;
    let all: Vec<&str> = listed.split_whitespace().collect();
    let targets = match &chosen {
        None => all,
        Some(name) if all.contains(&name.as_str()) => vec![name.as_str()],
        Some(name) => {
            return Err(Failure::usage(format!(
                "no fuzz target `{name}`: there are {}",
                all.join(", ")
            )));
        }
    };
    for target in targets {
        terminal::step(&format!("fuzzing {target} for {seconds} s"));
        let mut command = cargo_fuzz();
        command.args(["run", "--fuzz-dir", FOLDER]);
        // cargo-fuzz builds for a target triple of its own choosing and would share the target
        // folder with builds that have other flags.
        if env::var_os("CARGO_TARGET_DIR").is_some() {
            command
                .arg("--target-dir")
                .arg(workspace.target.join("fuzz"));
        }
        command.args([target, "--", &format!("-max_total_time={seconds}")]);
        process::run(&mut command).map_err(|failure| {
            Failure::new(format!(
                "fuzz target {target}: {failure}; see {FOLDER}/artifacts/{target}"
            ))
        })?;
    }
    Ok(())
}

fn parse(arguments: &[OsString]) -> Result<(Option<String>, u64)> {
    let mut target = None;
    let mut seconds = DEFAULT_SECONDS;
    let mut words = arguments
        .iter()
        .map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = words.next() {
        if word == "--seconds" {
            seconds = words
                .next()
                .and_then(|number| number.parse().ok())
                .filter(|number| *number > 0)
                .ok_or_else(|| Failure::usage("--seconds takes a number above 0"))?;
        } else if word.starts_with('-') || target.is_some() {
            return Err(Failure::usage(format!("unexpected argument `{word}`")));
        } else {
            target = Some(word);
        }
    }
    Ok((target, seconds))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::ffi::OsString;

    #[test]
    fn arguments_are_a_target_and_a_time() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(parse(&[]).unwrap(), (None, 60));
        assert_eq!(
            parse(&words("frame --seconds 9")).unwrap(),
            (Some("frame".to_owned()), 9)
        );
        assert!(parse(&words("--seconds soon")).is_err());
        assert!(parse(&words("frame document")).is_err());
    }
}
