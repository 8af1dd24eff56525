//! Networks that plug themselves into routers: the port becomes one of the router's, wherever that is
//! declared, and is judged like any other.

use std::borrow::Cow;

use super::merge::across;
use crate::document::{Document, RouterPort};
use crate::problem::Problem;
use crate::similar::closest;

/// The documents with such ports where they belong.
pub(super) fn plugged<'a>(
    documents: &'a [Document],
    problems: &mut Vec<Problem>,
) -> Cow<'a, [Document]> {
    let networks = documents.iter().flat_map(|document| &document.networks);
    let ports: Vec<(&String, &String, &RouterPort)> = networks
        .flat_map(|(network, it)| it.routers.iter().map(move |(to, port)| (network, to, port)))
        .collect();
    if ports.is_empty() {
        return Cow::Borrowed(documents);
    }
    let incomplete = documents.iter().any(|document| document.incomplete);
    let mut all = documents.to_vec();
    for (network, router, port) in ports {
        if let Some(peer) = &port.peer {
            let problem = Problem::new(format!(
                "the port of network {network} at router {router} leads to another router"
            ));
            let problem = problem.at(&peer.origin, "it leads to the network");
            problems.push(problem.help("declare links between routers under the routers"));
            continue;
        }
        let declared = all
            .iter_mut()
            .find_map(|document| document.routers.get_mut(router));
        let Some(declared) = declared else {
            if !incomplete {
                problems.push(unknown(network, router, port, documents));
            }
            continue;
        };
        if let Some(first) = declared.ports.get(network) {
            let name = across(&format!("{router}/{network}"), &first.origin, &port.origin);
            problems.push(
                Problem::new(format!("port {name} is declared twice"))
                    .at(&port.origin, "declared again here")
                    .at(&first.origin, "first declared here")
                    .help("a router has one port on a network: keep one of the two"),
            );
            continue;
        }
        declared.ports.insert(network.clone(), port.clone());
    }
    Cow::Owned(all)
}

fn unknown(network: &str, router: &str, port: &RouterPort, documents: &[Document]) -> Problem {
    let known = documents
        .iter()
        .flat_map(|document| document.routers.keys());
    let help = match closest(router, known.map(String::as_str)) {
        Some(close) => format!("did you mean `{close}`?"),
        None => "declare it under `routers`".to_owned(),
    };
    Problem::new(format!(
        "network {network} is plugged into router {router}, which does not exist"
    ))
    .at(&port.origin, "no router has this name")
    .help(help)
}
