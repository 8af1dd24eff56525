//! `bowline ports`: the ports of this host that lead into containers.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::Global;
use super::output::{self, Format};
use super::records::records;
use crate::driver::protocol::protocol_name;

/// List the ports that Docker's containers publish through bowline
///
/// Docker itself shows none of them: `docker ps` and `docker port` know only what its own drivers
/// publish.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sudo bowline ports\n  sudo bowline ports -o json")]
pub(super) struct Ports;

#[derive(Serialize)]
struct Shown {
    ports: Vec<Port>,
}

#[derive(Serialize)]
struct Port {
    host_address: Option<String>,
    host_port: u16,
    protocol: &'static str,
    container: String,
    network: String,
    addresses: Vec<String>,
    port: u16,
}

impl Ports {
    pub(super) fn run(self, global: &Global) -> Result<ExitCode> {
        let records = records(&global.instance()?)?;
        let mut ports: Vec<Port> = records
            .endpoints
            .iter()
            .flat_map(|(id, endpoint)| endpoint.published.iter().map(move |it| (id, endpoint, it)))
            .map(|(id, endpoint, mapping)| Port {
                host_address: Some(mapping.host_ip.clone()).filter(|ip| !ip.is_empty()),
                host_port: mapping.host_port,
                protocol: protocol_name(mapping.proto).unwrap_or("unknown"),
                container: records.endpoint_title(id),
                network: records.network_title(&endpoint.network),
                addresses: endpoint
                    .addresses
                    .iter()
                    .map(|it| it.addr().to_string())
                    .collect(),
                port: mapping.port,
            })
            .collect();
        ports.sort_by_key(|port| (port.host_port, port.protocol, port.host_address.clone()));
        if global.output != Format::Table {
            output::print_value(global.output, &Shown { ports })?;
            return Ok(ExitCode::SUCCESS);
        }
        let rows: Vec<Vec<String>> = ports
            .into_iter()
            .map(|port| {
                let host = port.host_address.unwrap_or_else(|| "any".to_owned());
                vec![
                    host,
                    format!("{}/{}", port.host_port, port.protocol),
                    port.container,
                    port.network,
                    port.addresses.join(" "),
                    port.port.to_string(),
                ]
            })
            .collect();
        let header = [
            "HOST",
            "PORT",
            "CONTAINER",
            "NETWORK",
            "ADDRESSES",
            "TO PORT",
        ];
        output::print_table(&header, &rows)?;
        Ok(ExitCode::SUCCESS)
    }
}
