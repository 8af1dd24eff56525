//! The Docker engine, asked what it has and told to forget what it should not have any more.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{
    ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum, EndpointResource,
    EndpointSettings, Ipam, IpamConfig, NetworkCreateRequest, NetworkDisconnectRequest,
    NetworkInspect, PortBinding,
};
use bollard::query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder};
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use super::{Docker, DockerError, no_answer};
use crate::driver::inventory::{
    Details, Inventory, ListedContainer, ListedEndpoint, ListedNetwork, ListedPool,
};
use crate::driver::networks::Make;
use crate::driver::protocol::{PortMapping, protocol_number};
use crate::driver::reconcile::Strike;

/// What Docker puts before the ids of endpoints that are in no container (moby,
/// `api/server/router/network`, 20.10 and newer).
/// How long a container is given that may just be starting, before it is asked again another time.
const STARTS: Duration = Duration::from_secs(2);

const NOT_JOINED: &str = "ep-";

impl Docker {
    /// What the engine has, as far as a driver wants to know; without a driver all networks are those of
    /// others. Of the endpoints in `obscure` the containers are asked, too: they answer late while they are
    /// being started.
    ///
    /// # Errors
    ///
    /// [`DockerError::NoAnswer`].
    pub async fn inventory(
        &self,
        driver: Option<&str>,
        obscure: &BTreeSet<String>,
    ) -> Result<Inventory, DockerError> {
        let all = ListContainersOptionsBuilder::new().all(true).build();
        let containers = self.client.list_containers(Some(all)).await;
        let containers = containers.map_err(|error| no_answer(&self.socket, &error))?;
        let networks = self.client.list_networks(None).await;
        let networks = networks.map_err(|error| no_answer(&self.socket, &error))?;
        let mut inventory = Inventory::default();
        for container in containers {
            if let Some((id, listed)) = listed_container(container) {
                inventory.containers.insert(id, listed);
            }
        }
        for network in networks {
            let Some(id) = network.id else {
                continue;
            };
            let is_leased = driver.is_some_and(|it| is_ipam(network.ipam.as_ref(), it));
            let own = driver.filter(|it| network.driver.as_deref() == Some(*it));
            let listed = if let Some(driver) = own {
                // Docker lists networks without what is in them.
                match self.client.inspect_network(&id, None).await {
                    Ok(network) => self.listed_network(network, driver, obscure).await?,
                    Err(error) if is_not_found(&error) => continue,
                    Err(error) => return Err(no_answer(&self.socket, &error)),
                }
            } else {
                ListedNetwork {
                    name: network.name.unwrap_or_default(),
                    other_driver: Some(network.driver.unwrap_or_default()),
                    is_leased,
                    pools: pools(network.ipam),
                    ..ListedNetwork::default()
                }
            };
            inventory.networks.insert(id, listed);
        }
        Ok(inventory)
    }

    /// An item whenever the engine's containers or networks have changed; it ends with an error when the
    /// engine is gone.
    pub fn changes(&self) -> impl Stream<Item = Result<(), DockerError>> + Unpin + '_ {
        let words = [
            ("type", vec!["container", "network"]),
            (
                "event",
                vec![
                    "create",
                    "start",
                    "die",
                    "destroy",
                    "rename",
                    "connect",
                    "disconnect",
                ],
            ),
        ];
        let filters: HashMap<&str, Vec<&str>> = words.into_iter().collect();
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let events = self.client.events(Some(options));
        Box::pin(events.map(|event| match event {
            Ok(_) => Ok(()),
            Err(error) => Err(no_answer(&self.socket, &error)),
        }))
    }

    /// Lets the engine forget an endpoint that was left over, unless it has changed its mind meanwhile.
    ///
    /// # Errors
    ///
    /// [`DockerError::NoAnswer`].
    pub async fn strike(&self, strike: &Strike) -> Result<(), DockerError> {
        let failed = |error: &Error| no_answer(&self.socket, error);
        let network = match self.client.inspect_network(&strike.network, None).await {
            Err(error) if is_not_found(&error) => return Ok(()),
            network => network.map_err(|error| failed(&error))?,
        };
        let left = format!("{NOT_JOINED}{}", strike.endpoint);
        if !network.containers.is_some_and(|it| it.contains_key(&left)) {
            return Ok(());
        }
        match self.pid(&strike.container).await {
            Ok(_) => return Ok(()),
            Err(DockerError::NoAnswer { socket, reason }) => {
                return Err(DockerError::NoAnswer { socket, reason });
            }
            Err(_) => {}
        }
        let request = NetworkDisconnectRequest {
            container: strike.container.clone(),
            force: Some(true),
        };
        match self
            .client
            .disconnect_network(&strike.network, request)
            .await
        {
            Err(error) if !is_not_found(&error) => Err(failed(&error)),
            _ => Ok(()),
        }
    }
}

impl Docker {
    async fn listed_network(
        &self,
        network: NetworkInspect,
        driver: &str,
        obscure: &BTreeSet<String>,
    ) -> Result<ListedNetwork, DockerError> {
        let ipam = network.ipam;
        let mut endpoints = BTreeMap::new();
        for (place, endpoint) in network.containers.unwrap_or_default() {
            let own = endpoint.endpoint_id.clone().unwrap_or_default();
            let details = if obscure.contains(&own) {
                // The engine does not tell before a container that starts has started.
                match timeout(STARTS, self.client.inspect_container(&place, None)).await {
                    Ok(Ok(container)) => details(container, &own),
                    Ok(Err(error)) if is_not_found(&error) => None,
                    Ok(Err(error)) => return Err(no_answer(&self.socket, &error)),
                    Err(_late) => None,
                }
            } else {
                None
            };
            endpoints.extend(listed_endpoint(&place, endpoint, details));
        }
        Ok(ListedNetwork {
            name: network.name.unwrap_or_default(),
            other_driver: None,
            is_leased: is_ipam(ipam.as_ref(), driver),
            internal: network.internal.unwrap_or_default(),
            options: sorted(network.options),
            pool_options: sorted(ipam.as_ref().and_then(|ipam| ipam.options.clone())),
            labels: sorted(network.labels),
            pools: pools(ipam),
            endpoints,
        })
    }

    /// Lets the engine make a network of a file.
    ///
    /// # Errors
    ///
    /// [`DockerError::NoAnswer`] with what the engine or the driver says.
    pub async fn make_network(&self, make: &Make, driver: &str) -> Result<(), DockerError> {
        let config = make.subnets.iter().map(|subnet| IpamConfig {
            subnet: Some(subnet.clone()),
            ..IpamConfig::default()
        });
        let net = HashMap::from([("net".to_owned(), make.name.clone())]);
        let request = NetworkCreateRequest {
            name: make.name.clone(),
            driver: Some(driver.to_owned()),
            internal: Some(make.internal),
            enable_ipv6: Some(make.subnets.iter().any(|subnet| subnet.contains(':'))),
            ipam: Some(Ipam {
                driver: Some(driver.to_owned()),
                config: Some(config.collect()),
                options: Some(net.clone()),
            }),
            options: Some(net),
            labels: Some(make.labels.clone().into_iter().collect()),
            ..NetworkCreateRequest::default()
        };
        let made = self.client.create_network(request).await;
        made.map_err(|error| no_answer(&self.socket, &error))
            .map(drop)
    }

    /// Lets the engine remove a network.
    ///
    /// # Errors
    ///
    /// [`DockerError::NoAnswer`]: somebody uses it, for example.
    pub async fn remove_network(&self, id: &str) -> Result<(), DockerError> {
        let removed = self.client.remove_network(id).await;
        removed.map_err(|error| no_answer(&self.socket, &error))
    }
}

fn is_not_found(error: &Error) -> bool {
    matches!(
        error,
        Error::DockerResponseServerError {
            status_code: 404,
            ..
        }
    )
}

fn is_ipam(ipam: Option<&Ipam>, driver: &str) -> bool {
    ipam.and_then(|ipam| ipam.driver.as_deref()) == Some(driver)
}

fn listed_container(container: ContainerSummary) -> Option<(String, ListedContainer)> {
    let names = container.names.unwrap_or_default().into_iter();
    // `/OTHER/ALIAS` is what a legacy link is called.
    let mut names = names.map(|name| name.trim_start_matches('/').to_owned());
    let name = names.find(|name| !name.contains('/'))?;
    let listed = ListedContainer {
        name,
        is_alive: matches!(
            container.state,
            Some(
                ContainerSummaryStateEnum::RUNNING
                    | ContainerSummaryStateEnum::PAUSED
                    | ContainerSummaryStateEnum::RESTARTING
            )
        ),
        mode: container
            .host_config
            .and_then(|config| config.network_mode)
            .unwrap_or_default(),
        labels: sorted(container.labels),
    };
    Some((container.id?, listed))
}

fn listed_endpoint(
    place: &str,
    endpoint: EndpointResource,
    details: Option<Details>,
) -> Option<(String, ListedEndpoint)> {
    let listed = ListedEndpoint {
        name: endpoint.name.unwrap_or_default(),
        is_joined: !place.starts_with(NOT_JOINED),
        address: endpoint.ipv4_address.unwrap_or_default(),
        address_ipv6: endpoint.ipv6_address.unwrap_or_default(),
        mac: endpoint.mac_address.unwrap_or_default(),
        details,
    };
    Some((endpoint.endpoint_id?, listed))
}

/// What a container tells of its endpoint.
fn details(container: ContainerInspectResponse, endpoint: &str) -> Option<Details> {
    let settings = container.network_settings?;
    let networks = settings.networks.unwrap_or_default();
    let is_it = |it: &EndpointSettings| it.endpoint_id.as_deref() == Some(endpoint);
    let own = networks.values().find(|it| is_it(it))?;
    let is_published = way_out(&networks).is_some_and(is_it);
    let host = container.host_config.unwrap_or_default();
    let bindings = host.port_bindings.filter(|_| is_published);
    let mut published: Vec<PortMapping> = bindings
        .into_iter()
        .flatten()
        .flat_map(|(port, bindings)| {
            let bindings = bindings.unwrap_or_default();
            bindings
                .into_iter()
                .filter_map(move |it| mapping(&port, it))
        })
        .collect();
    if is_published && host.publish_all_ports == Some(true) {
        let config = container.config.unwrap_or_default();
        let exposed = config.exposed_ports.unwrap_or_default();
        let any = |port: &String| mapping(port, PortBinding::default());
        let named = published.clone();
        let is_named = |it: &PortMapping| {
            let mut named = named.iter();
            named.any(|other| (other.proto, other.port) == (it.proto, it.port))
        };
        published.extend(exposed.iter().filter_map(any).filter(|it| !is_named(it)));
    }
    published.sort();
    Some(Details {
        sandbox: settings.sandbox_key.unwrap_or_default(),
        options: sorted(own.driver_opts.clone()),
        published,
        aliases: own.aliases.clone().unwrap_or_default(),
    })
}

/// The endpoint that a container's ports are published at: of those with a gateway the one that is preferred
/// (Docker 28.0 and newer), else the one whose network's name comes first (moby, `libnetwork/sandbox.go`).
fn way_out(networks: &HashMap<String, EndpointSettings>) -> Option<&EndpointSettings> {
    let is_told = |gateway: &Option<String>| gateway.as_ref().is_some_and(|it| !it.is_empty());
    let open = networks
        .iter()
        .filter(|(_, it)| is_told(&it.gateway) || is_told(&it.ipv6_gateway));
    let priority = |it: &EndpointSettings| Reverse(it.gw_priority.unwrap_or_default());
    let first = open.min_by_key(|(name, it)| (priority(it), name.as_str()));
    first.map(|(_, endpoint)| endpoint)
}

/// A published port as Docker's API has it: of the container as `80/tcp`, of the host as `8080`, as a range
/// `8000-8010`, or as nothing.
fn mapping(port: &str, binding: PortBinding) -> Option<PortMapping> {
    let (port, protocol) = port.split_once('/')?;
    let host = binding.host_port.unwrap_or_default();
    let (first, last) = host.split_once('-').unwrap_or((&host, &host));
    let number = |text: &str| match text {
        "" => Some(0),
        text => text.parse().ok(),
    };
    Some(PortMapping {
        proto: protocol_number(protocol)?,
        port: port.parse().ok()?,
        host_ip: binding.host_ip.unwrap_or_default(),
        host_port: number(first)?,
        host_port_end: number(last)?,
    })
}

fn pools(ipam: Option<Ipam>) -> Vec<ListedPool> {
    let configs = ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    let pools = configs.into_iter().map(|config| ListedPool {
        subnet: config.subnet.unwrap_or_default(),
        range: config.ip_range.unwrap_or_default(),
        gateway: config.gateway.unwrap_or_default(),
        auxiliary: sorted(config.auxiliary_addresses),
    });
    pools.collect()
}

fn sorted(map: Option<HashMap<String, String>>) -> BTreeMap<String, String> {
    map.unwrap_or_default().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_ports_are_told_as_docker_asked_for_them() {
        let read = |port: &str, host: &str| {
            let binding = PortBinding {
                host_port: Some(host.to_owned()),
                ..PortBinding::default()
            };
            let it = mapping(port, binding)?;
            Some((it.proto, it.port, it.host_port, it.host_port_end))
        };
        assert_eq!(read("80/tcp", "8080"), Some((6, 80, 8080, 8080)));
        assert_eq!(read("53/udp", "5300-5310"), Some((17, 53, 5300, 5310)));
        assert_eq!(read("80/tcp", ""), Some((6, 80, 0, 0)));
        assert_eq!(read("80/quic", "8080"), None);
    }

    #[test]
    fn ports_are_published_where_docker_does_it() {
        let endpoint = |id: &str, gateway: &str, priority| EndpointSettings {
            endpoint_id: Some(id.to_owned()),
            gateway: Some(gateway.to_owned()),
            gw_priority: priority,
            ..EndpointSettings::default()
        };
        let networks = |all: &[(&str, EndpointSettings)]| -> HashMap<String, EndpointSettings> {
            let all = all.iter();
            all.map(|(name, it)| ((*name).to_owned(), it.clone()))
                .collect()
        };
        let chosen = |all: &[(&str, EndpointSettings)]| {
            let networks = networks(all);
            way_out(&networks).and_then(|it| it.endpoint_id.clone())
        };
        let closed = ("alone", endpoint("a", "", None));
        let front = ("front", endpoint("b", "10.1.0.1", None));
        let back = ("back", endpoint("c", "10.2.0.1", None));
        let preferred = ("other", endpoint("d", "10.3.0.1", Some(1)));
        let found = chosen(&[closed.clone(), front.clone(), back.clone()]);
        assert_eq!(found.as_deref(), Some("c"));
        assert_eq!(chosen(&[front, back, preferred]).as_deref(), Some("d"));
        assert_eq!(chosen(&[closed]), None);
    }
}
