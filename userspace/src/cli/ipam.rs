//! `bowline ipam`: the addresses that Docker's containers have.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::Global;
use super::output::{self, Format};
use super::records::records;
use crate::driver::records::Holder;

/// See which addresses Docker's containers have
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sudo bowline ipam show\n  sudo bowline ipam show --all -o json"
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
        let What::Show { all } = self.what;
        let records = records(&global.instance()?)?;
        let addresses: Vec<Address> = records
            .leases
            .iter()
            .filter(|(_, lease)| all || lease.is_held())
            .map(|((scope, ip), lease)| {
                let (state, holder) = match &lease.holder {
                    Holder::Gateway => ("gateway", None),
                    Holder::Auxiliary => ("auxiliary", None),
                    Holder::Endpoint(id) => ("held", Some(records.endpoint_title(id))),
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
}
