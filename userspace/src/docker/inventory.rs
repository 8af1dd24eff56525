//! The Docker engine, asked what it has and told to forget what it should not have any more.

use std::collections::{BTreeMap, HashMap};

use bollard::errors::Error;
use bollard::models::{
    ContainerSummary, ContainerSummaryStateEnum, EndpointResource, Ipam, IpamConfig,
    NetworkCreateRequest, NetworkDisconnectRequest, NetworkInspect,
};
use bollard::query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder};
use futures_util::{Stream, StreamExt};

use super::{Docker, DockerError, no_answer};
use crate::driver::inventory::{
    Aliases, Inventory, ListedContainer, ListedEndpoint, ListedNetwork, ListedPool,
};
use crate::driver::networks::Make;
use crate::driver::reconcile::Strike;

/// What Docker puts before the ids of endpoints that are in no container (moby,
/// `api/server/router/network`, 20.10 and newer).
const NOT_JOINED: &str = "ep-";

impl Docker {
    /// What the engine has, as far as a driver wants to know.
    ///
    /// # Errors
    ///
    /// [`DockerError::NoAnswer`].
    pub async fn inventory(&self, driver: &str) -> Result<Inventory, DockerError> {
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
            let is_driven = network.driver.as_deref() == Some(driver);
            let is_leased = is_ipam(network.ipam.as_ref(), driver);
            let listed = if is_driven {
                // Docker lists networks without what is in them.
                match self.client.inspect_network(&id, None).await {
                    Ok(network) => listed_network(network, driver),
                    Err(error) if is_not_found(&error) => continue,
                    Err(error) => return Err(no_answer(&self.socket, &error)),
                }
            } else {
                ListedNetwork {
                    name: network.name.unwrap_or_default(),
                    is_leased,
                    pools: pools(network.ipam),
                    ..ListedNetwork::default()
                }
            };
            inventory.networks.insert(id, listed);
        }
        Ok(inventory)
    }

    /// What else a container is called on its networks, by the ids of its endpoints; nothing if there is no
    /// such container any more.
    ///
    /// # Errors
    ///
    /// [`DockerError::NoAnswer`].
    pub async fn aliases(&self, container: &str) -> Result<Aliases, DockerError> {
        let answer = match self.client.inspect_container(container, None).await {
            Err(error) if is_not_found(&error) => return Ok(Aliases::default()),
            answer => answer.map_err(|error| no_answer(&self.socket, &error))?,
        };
        let networks = answer.network_settings.and_then(|it| it.networks);
        let endpoints = networks.unwrap_or_default().into_values();
        let found =
            endpoints.filter_map(|it| Some((it.endpoint_id?, it.aliases.unwrap_or_default())));
        Ok(found.collect())
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

fn listed_network(network: NetworkInspect, driver: &str) -> ListedNetwork {
    let ipam = network.ipam;
    let endpoints = network.containers.unwrap_or_default().into_iter();
    ListedNetwork {
        name: network.name.unwrap_or_default(),
        is_driven: true,
        is_leased: is_ipam(ipam.as_ref(), driver),
        internal: network.internal.unwrap_or_default(),
        options: sorted(network.options),
        pool_options: sorted(ipam.as_ref().and_then(|ipam| ipam.options.clone())),
        labels: sorted(network.labels),
        pools: pools(ipam),
        endpoints: endpoints
            .filter_map(|(place, endpoint)| listed_endpoint(&place, endpoint))
            .collect(),
    }
}

fn listed_endpoint(place: &str, endpoint: EndpointResource) -> Option<(String, ListedEndpoint)> {
    let listed = ListedEndpoint {
        name: endpoint.name.unwrap_or_default(),
        container: place.to_owned(),
        is_joined: !place.starts_with(NOT_JOINED),
        address: endpoint.ipv4_address.unwrap_or_default(),
        address_ipv6: endpoint.ipv6_address.unwrap_or_default(),
        mac: endpoint.mac_address.unwrap_or_default(),
    };
    Some((endpoint.endpoint_id?, listed))
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
