//! `figures`: what the programs ask of each kernel, written into a tracked file.
//!
//! A test measures and compares; here it is asked for what it measured, on this machine's kernel
//! and on others, and that is written down.

use crate::artifact;
use crate::failure::{Context as _, Failure, Result};
use crate::libtest::{self, Counts};
use crate::workspace::Workspace;
use crate::{bpf, process, terminal, vm};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

pub(crate) const HELP: &str = "\
Write down what the programs ask of kernels.

Usage: cargo xtask figures [KERNEL...]

Kernels (default: all of them):
  host        this machine's own
  6.1, 6.12   in virtual machines, see `cargo xtask vm --help`

Of each program: its instructions, the stack of its longest chain of calls in bytes (no more than 512,
each function rounded up to 32, as Linux 6.1 counts), and how many instructions the verifier
of each kernel follows. They are written to ebpf/figures.toml; other kernels' lines in there stay.
`cargo xtask check` fails when a figure of this kernel has moved by more than 2 %, and so does
`cargo xtask vm` for its kernels. Loading the programs needs root (sudo when not root).

Examples:
  cargo xtask figures host
  cargo xtask figures
";

/// The test that measures.
const TEST: &str = "kernel_edge::figures::are_as_written";
/// What makes it print what it measured.
const PRINT: (&str, &str) = ("BOWLINE_FIGURES", "print");
/// What begins the lines that it then prints.
const MARK: &str = "figure: ";

/// The word for this machine's own kernel.
const HOST: &str = "host";

const HEAD: &str = "\
# What the programs ask of a kernel: instructions (8 bytes each, which is their size in the object), bytes
# of stack in the longest chain of calls (of 512, each function rounded up to 32), and how many instructions
# the verifier follows, by kernel.
# Written by `cargo xtask figures`; `cargo xtask check` compares.
";

/// By program, the figures by name.
type Figures = BTreeMap<String, BTreeMap<String, String>>;

/// Measures and writes.
pub(crate) fn figures(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let known: Vec<&str> = [HOST].into_iter().chain(vm::names()).collect();
    let mut kernels = Vec::new();
    for argument in arguments {
        let kernel = known.iter().find(|name| argument == **name);
        kernels.push(*kernel.ok_or_else(|| {
            let argument = argument.to_string_lossy();
            let known = known.join(", ");
            Failure::usage(format!("no kernel `{argument}`: there are {known}"))
        })?);
    }
    if kernels.is_empty() {
        kernels = known;
    }
    bpf::build(workspace)?;
    let tests = artifact::tests(workspace)?;
    let mut said = String::new();
    if kernels.contains(&HOST) {
        let mut command = process::as_root("env")?;
        command.arg(format!("{}={}", PRINT.0, PRINT.1));
        command.arg(&tests.path).args([TEST, "--nocapture"]);
        said += &process::output(&mut command)?;
    }
    kernels.retain(|kernel| *kernel != HOST);
    if !kernels.is_empty() {
        said += &vm::said(workspace, &tests, &kernels, TEST, &[PRINT])?;
    }
    let path = path(workspace);
    let old = fs::read_to_string(&path).unwrap_or_default();
    let new = render(&merge(&old, &said)?);
    fs::write(&path, &new).context(|| format!("cannot write {}", path.display()))?;
    let state = if new == old { "unchanged" } else { "new" };
    terminal::step(&format!("{} ({state})", workspace.shorten(&path)));
    Ok(())
}

/// Compares what is written with this kernel.
pub(crate) fn compare(workspace: &Workspace) -> Result<Counts> {
    bpf::build(workspace)?;
    let tests = artifact::tests(workspace)?;
    let skip_file = workspace.target.join("skipped-figures");
    let mut command = process::as_root("env")?;
    let skipped = format!("{}={}", libtest::SKIPPED, skip_file.display());
    command.arg(skipped).arg(&tests.path).arg(TEST);
    libtest::run(&mut command, &skip_file)
}

fn path(workspace: &Workspace) -> PathBuf {
    workspace.root.join("ebpf/figures.toml")
}

/// What is written, with what the test has said in the place of what it was before. Programs that it
/// did not speak of are gone.
fn merge(old: &str, said: &str) -> Result<Figures> {
    let mut new = Figures::new();
    // In a virtual machine, the harness may have begun the line.
    let lines = said.lines().filter_map(|line| line.split_once(MARK));
    for (_, line) in lines {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("compiler"), Some(version), None) => {
                let general = new.entry(String::new()).or_default();
                general.insert("compiler".to_owned(), format!("\"{version}\""));
            }
            (Some(program), Some(what), Some(figure)) => {
                let program = new.entry(program.to_owned()).or_default();
                program.insert(what.to_owned(), figure.to_owned());
            }
            _ => return Err(Failure::new(format!("`{line}` is no figure"))),
        }
    }
    if new.len() < 2 {
        return Err(Failure::new("the test told no figures"));
    }
    let mut program = String::new();
    for line in old.lines() {
        if let Some(name) = line.strip_prefix('[') {
            program = name.trim_end_matches(']').to_owned();
        } else if let Some((what, figure)) = line.split_once(" = ") {
            let what = what.trim_matches('"').to_owned();
            if let Some(program) = new.get_mut(&program) {
                program.entry(what).or_insert_with(|| figure.to_owned());
            }
        }
    }
    Ok(new)
}

fn render(figures: &Figures) -> String {
    let mut text = HEAD.to_owned();
    for (program, figures) in figures {
        if !program.is_empty() {
            text += &format!("\n[{program}]\n");
        }
        for (what, figure) in figures {
            // A bare key may not hold a dot.
            let quote = if what.contains('.') { "\"" } else { "" };
            text += &format!("{quote}{what}{quote} = {figure}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{merge, render};

    #[test]
    fn what_was_said_replaces_what_was_written_and_other_kernels_stay() {
        let old = "compiler = \"1\"\n\n[one]\n\"linux-6.1\" = 7\nstack = 1\n[gone]\nstack = 2\n";
        let said =
            "figure: compiler 2\ntest x ... figure: one stack 96\nfigure: one linux-6.18 8\nok";
        let text = render(&merge(old, said).unwrap());
        let (_, figures) = text.split_once("compiler").unwrap();
        assert_eq!(
            figures,
            " = \"2\"\n\n[one]\n\"linux-6.1\" = 7\n\"linux-6.18\" = 8\nstack = 96\n"
        );
        assert!(merge(old, "nothing").is_err());
    }
}
