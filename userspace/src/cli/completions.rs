//! `bowline completions` and `bowline man`: what a package installs beside the program.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;

/// Print completions for a shell
#[derive(Args, Debug)]
#[command(after_help = "Example: bowline completions bash > /etc/bash_completion.d/bowline")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<ExitCode> {
        clap_complete::generate(
            self.shell,
            &mut Cli::command(),
            "bowline",
            &mut io::stdout(),
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// Print the manual page, or write one per command into a folder
#[derive(Args, Debug)]
#[command(after_help = "Example: bowline man | man -l -")]
pub(super) struct Man {
    /// The folder
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self.folder {
            Some(folder) => clap_mangen::generate_to(Cli::command(), &folder)
                .with_context(|| format!("write the pages to {}", folder.display()))?,
            None => clap_mangen::Man::new(Cli::command()).render(&mut io::stdout())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
