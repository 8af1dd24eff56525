//! `bowline validate`: reads and checks, without touching anything.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::output::{self, Format, GREEN, RESET};
use super::{Global, read, warn_of};
use crate::counted::counted;
use crate::document;
use crate::problem::Problems;
use crate::topology;

/// Check topology files, without touching anything
///
/// Several files are checked as they would be loaded side by side. It needs no rights.
#[derive(Args, Debug)]
#[command(after_help = "Example: bowline validate examples/two-containers.yaml")]
pub(super) struct Validate {
    /// Topology files; `-` is the standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
}

#[derive(Serialize)]
struct Valid {
    networks: usize,
    routers: usize,
    workloads: usize,
    ports: usize,
}

impl Validate {
    pub(super) fn run(self, global: &Global) -> Result<ExitCode> {
        let mut drafts = Vec::new();
        for file in &self.files {
            let request = read(file)?;
            drafts.push(document::draft(&request.path, &request.text));
        }
        let topology = topology::compile_drafts(drafts).map_err(Problems)?;
        warn_of(&topology.warnings);
        let valid = Valid {
            networks: topology.declared_networks().count(),
            routers: topology.routers.len(),
            workloads: topology.workloads.len(),
            ports: topology.ports.len(),
        };
        match global.output {
            Format::Table => {
                let mut parts = vec![counted(valid.networks, "network")];
                if valid.routers > 0 {
                    parts.push(counted(valid.routers, "router"));
                }
                parts.push(counted(valid.workloads, "workload"));
                parts.push(counted(valid.ports, "port"));
                output::print_line(format!("{GREEN}valid{RESET}: {}", parts.join(", ")))?;
            }
            format => output::print_value(format, &valid)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
