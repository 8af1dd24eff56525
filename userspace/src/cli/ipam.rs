//! `bowline ipam`: the addresses that Docker's containers have.

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::Global;
use super::output::{self, Format};
use super::records::{ask, records};
use crate::agent::plugin::{CHECK, RELEASE, REPAIR};
use crate::agent::reconcile::{RepairRequest, Repaired};
use crate::driver::records::Holder;
use crate::instance::Instance;

/// What helps where no agent runs.
const NO_AGENT: &str = "no agent runs, which keeps the addresses: systemctl start bowline-agent";

/// See and check which addresses Docker's containers have
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sudo bowline ipam show\n  sudo bowline ipam show --all -o json\n  \
                  sudo bowline ipam check\n  sudo bowline ipam release 10.71.0.9"
)]
pub(super) struct Ipam {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// List the addresses that were given out, and who has each
    Show {
        /// Also those that were given back: they are given out again last
        #[arg(long)]
        all: bool,
    },
    /// Look for addresses that two have, or that are held for nobody
    ///
    /// Compares what is recorded with what files declare, with Docker and with the kernel. The exit code is 11 if
    /// something is wrong.
    Check,
    /// Forget an address that was given out, so that it is given as one that nobody had
    ///
    /// It is refused while somebody has the address.
    Release {
        /// The address
        address: IpAddr,
    },
}

/// The exit code for "something is wrong".
const WRONG: u8 = 11;

/// What is wrong, line by line.
#[derive(Serialize)]
struct Checked {
    findings: Vec<String>,
}

#[derive(Serialize)]
struct Shown {
    addresses: Vec<Address>,
}

#[derive(Serialize)]
struct Address {
    address: String,
    subnet: String,
    network: Option<String>,
    state: &'static str,
    holder: Option<String>,
}

impl Ipam {
    pub(super) fn run(self, global: &Global) -> Result<ExitCode> {
        let instance = global.instance()?;
        match self.what {
            What::Show { all } => show(global, &instance, all),
            What::Check => check(global, &instance),
            What::Release { address } => {
                ask::<()>(&instance, RELEASE, &address)?.context(NO_AGENT)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn check(global: &Global, instance: &Instance) -> Result<ExitCode> {
    let mut findings: Vec<String> = ask(instance, CHECK, &())?.context(NO_AGENT)?;
    let dry = RepairRequest { dry_run: true };
    let repaired: Repaired = ask(instance, REPAIR, &dry)?.context(NO_AGENT)?;
    findings.extend(repaired.findings.into_iter().map(|it| it.finding));
    let is_well = findings.is_empty();
    match global.output {
        Format::Table if is_well => output::print_line("nothing is wrong")?,
        Format::Table => {
            for finding in &findings {
                output::print_line(finding)?;
            }
        }
        format => output::print_value(format, &Checked { findings })?,
    }
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(WRONG)
    })
}

fn show(global: &Global, instance: &Instance, all: bool) -> Result<ExitCode> {
    let records = records(instance)?;
    let addresses: Vec<Address> = records
        .leases
        .iter()
        .filter(|(_, lease)| all || lease.is_held())
        .map(|((scope, ip), lease)| {
            let (state, holder) = match &lease.holder {
                Holder::Gateway => ("gateway", None),
                Holder::Auxiliary => ("auxiliary", None),
                Holder::Endpoint(id) => ("held", Some(records.endpoint_title(id))),
                Holder::Attached(id) => ("held", Some(records.attachment_title(id))),
                Holder::Unclaimed(_) => ("unclaimed", lease.container.clone()),
                Holder::Released(_) => ("released", lease.container.clone()),
            };
            let mut networks = records.networks.iter();
            let network = networks.find(|(_, it)| it.scopes().any(|used| used == *scope));
            Address {
                address: ip.to_string(),
                subnet: scope.subnet.to_string(),
                network: network.map(|(id, it)| it.label.clone().unwrap_or(it.name(id))),
                state,
                holder,
            }
        })
        .collect();
    if global.output != Format::Table {
        output::print_value(global.output, &Shown { addresses })?;
        return Ok(ExitCode::SUCCESS);
    }
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let rows: Vec<Vec<String>> = addresses
        .iter()
        .map(|it| {
            let state = it.state.to_owned();
            vec![
                it.address.clone(),
                it.subnet.clone(),
                dash(&it.network),
                state,
                dash(&it.holder),
            ]
        })
        .collect();
    output::print_table(&["ADDRESS", "SUBNET", "NETWORK", "STATE", "HOLDER"], &rows)?;
    Ok(ExitCode::SUCCESS)
}
