//! `bowline schema`: the JSON schema of topology files.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::output::{self, Format};
use crate::document;

/// Print the JSON schema of topology files
///
/// Editors complete and check topology files with it.
#[derive(Args, Debug)]
#[command(after_help = "Example: bowline schema > topology.schema.json\n\
    and at the top of a topology file: # yaml-language-server: $schema=topology.schema.json")]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self) -> Result<ExitCode> {
        output::print_value(Format::Json, &document::schema())?;
        Ok(ExitCode::SUCCESS)
    }
}
