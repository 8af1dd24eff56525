//! Bowline's chores: `cargo xtask SUBCOMMAND`.
//!
//! This file chooses the subcommand and prints help; each subcommand is a module of its own.
//! The crate links nothing but std, because it is what compiles before anything else does.

mod apt;
mod artifact;
mod bench;
mod binary;
mod bpf;
mod cargo_tool;
mod check;
mod demo;
mod failure;
mod figures;
mod fuzz;
mod libtest;
mod process;
mod setup;
mod soak;
mod terminal;
mod test;
mod toolchain;
mod vm;
mod workspace;

use failure::{Failure, Result};
use std::env;
use std::ffi::OsString;
use std::process::ExitCode;
use workspace::Workspace;

/// One subcommand: its name, what the overview says of it, its own help, and its work.
struct Subcommand {
    name: &'static str,
    summary: &'static str,
    help: &'static str,
    run: fn(&Workspace, &[OsString]) -> Result<()>,
}

const SUBCOMMANDS: [Subcommand; 13] = [
    Subcommand {
        name: "setup",
        summary: "make sure that everything needed is there",
        help: setup::HELP,
        run: |_, arguments| none(arguments).and_then(|()| setup::setup()),
    },
    Subcommand {
        name: "demo",
        summary: "see two real containers connected, then leave nothing behind",
        help: demo::HELP,
        run: demo::demo,
    },
    Subcommand {
        name: "build-ebpf",
        summary: "build the BPF object",
        help: bpf::HELP,
        run: |workspace, arguments| none(arguments).and_then(|()| bpf::build(workspace)),
    },
    Subcommand {
        name: "build",
        summary: "build the BPF object and bowline around it",
        help: binary::BUILD_HELP,
        run: |workspace, arguments| {
            binary::build(workspace, arguments)?;
            terminal::say(workspace.binary().display());
            Ok(())
        },
    },
    Subcommand {
        name: "run",
        summary: "build bowline and run it as root",
        help: binary::RUN_HELP,
        run: binary::run,
    },
    Subcommand {
        name: "check",
        summary: "check form, lints, documentation, dependencies",
        help: check::HELP,
        run: |workspace, arguments| none(arguments).and_then(|()| check::check(workspace)),
    },
    Subcommand {
        name: "test",
        summary: "run the tests, from cheap to dear",
        help: test::HELP,
        run: test::test,
    },
    Subcommand {
        name: "vm",
        summary: "run the tests on other kernels, in virtual machines",
        help: vm::HELP,
        run: vm::vm,
    },
    Subcommand {
        name: "figures",
        summary: "write down what the programs ask of kernels",
        help: figures::HELP,
        run: figures::figures,
    },
    Subcommand {
        name: "bench",
        summary: "measure",
        help: bench::HELP,
        run: bench::bench,
    },
    Subcommand {
        name: "scale",
        summary: "measure many workloads, routes and hosts",
        help: bench::SCALE_HELP,
        run: bench::scale,
    },
    Subcommand {
        name: "soak",
        summary: "let everything go wrong under load, and count what is lost",
        help: soak::HELP,
        run: soak::soak,
    },
    Subcommand {
        name: "fuzz",
        summary: "run the fuzz targets",
        help: fuzz::HELP,
        run: fuzz::fuzz,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, Failure::Exit(_)) {
                terminal::error(&failure.to_string());
            }
            ExitCode::from(failure.code())
        }
    }
}

fn dispatch(arguments: &[OsString]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Failure::usage(format!(
            "no subcommand given\n\n{}",
            overview().trim_end()
        )));
    };
    if is_help(name) || name == "help" {
        match rest.first() {
            Some(topic) => terminal::say(find(topic)?.help.trim_end()),
            None => terminal::say(overview().trim_end()),
        }
        return Ok(());
    }
    let subcommand = find(name)?;
    // What follows `--` belongs to the program that the subcommand runs.
    if rest.iter().take_while(|word| *word != "--").any(is_help) {
        terminal::say(subcommand.help.trim_end());
        return Ok(());
    }
    (subcommand.run)(&Workspace::find()?, rest).map_err(|failure| match failure {
        Failure::Usage(message) => {
            let name = subcommand.name;
            Failure::Usage(format!("{message}; see `cargo xtask {name} --help`"))
        }
        other => other,
    })
}

fn find(name: &OsString) -> Result<&'static Subcommand> {
    SUBCOMMANDS
        .iter()
        .find(|subcommand| name == subcommand.name)
        .ok_or_else(|| {
            let names: Vec<_> = SUBCOMMANDS
                .iter()
                .map(|subcommand| subcommand.name)
                .collect();
            Failure::usage(format!(
                "no subcommand `{}`: there are {}",
                name.to_string_lossy(),
                names.join(", ")
            ))
        })
}

fn is_help(word: &OsString) -> bool {
    word == "--help" || word == "-h"
}

fn none(arguments: &[OsString]) -> Result<()> {
    match arguments.first() {
        None => Ok(()),
        Some(word) => Err(Failure::usage(format!(
            "unexpected argument `{}`",
            word.to_string_lossy()
        ))),
    }
}

fn overview() -> String {
    let mut text = String::from("Bowline's chores\n\nUsage: cargo xtask SUBCOMMAND [ARGS...]\n\n");
    for Subcommand { name, summary, .. } in SUBCOMMANDS {
        text.push_str(&format!("  {name:<12}{summary}\n"));
    }
    text.push_str(
        "\n`cargo xtask SUBCOMMAND --help` tells more.\n\nExamples:\n  cargo xtask demo\n  \
         cargo xtask test unit\n  cargo xtask run -- show\n\nExit codes: 0 done, 1 failed, 2 wrong \
         usage.\n",
    );
    text
}
