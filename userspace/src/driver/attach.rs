//! Containers that Docker has given no network (`--network none`), plugged in by us: because a label says
//! so, or because somebody asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use maps_schema::Mac;

use super::inventory::ListedContainer;
use super::network::derived_mac;
use super::records::{AttachedPort, Attachment, Holder, Lease, Pool, Records, Scope, short};
use super::{Refusal, Setting};
use crate::document::{is_object_name, parse_mac};
use crate::instance::Instance;
use crate::similar::{Similar, closest};

/// What the labels begin with.
const PREFIX: &str = "bowline.";
/// The labels, without that.
const LABELS: [&str; 6] = ["network", "address", "mac", "groups", "aliases", "instance"];
/// Where Compose says which service a container is of. On networks that Compose plugs it into, that is an
/// alias.
const COMPOSE_SERVICE: &str = "com.docker.compose.service";
/// The network mode that containers must have.
const MODE: &str = "none";

/// How a container is to be plugged in.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Wish {
    /// Docker's id of the container.
    pub id: String,
    /// Its name.
    pub container: String,
    /// The networks, in the order of the interfaces.
    pub networks: Vec<String>,
    /// Addresses that it is to have: each on the network that it fits.
    pub addresses: Vec<IpAddr>,
    /// The MAC address of the first interface.
    pub mac: Option<Mac>,
    /// The security groups of all interfaces.
    pub groups: Vec<String>,
    /// What else the container is to be called.
    pub aliases: Vec<String>,
    /// Whether labels say so.
    pub by_label: bool,
}

impl Wish {
    /// What the labels of a container say to an instance, if they say something.
    ///
    /// # Errors
    ///
    /// They say something that is not understood, or that cannot be.
    pub fn of_labels(
        id: &str,
        container: &ListedContainer,
        instance: &str,
    ) -> Result<Option<Self>, Refusal> {
        let labels = container.labels.iter();
        let labels: BTreeMap<&str, &String> = labels
            .filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value)))
            .collect();
        let Some(networks) = labels.get("network") else {
            return Ok(None);
        };
        let meant = labels
            .get("instance")
            .map_or(Instance::DEFAULT, |it| it.as_str());
        if meant != instance {
            return Ok(None);
        }
        if let Some(unknown) = labels.keys().find(|key| !LABELS.contains(key)) {
            let help = match closest(unknown, LABELS) {
                Some(close) => format!("did you mean `{PREFIX}{close}`?"),
                None => format!("there are {}", LABELS.join(", ")),
            };
            return Err(Refusal(format!(
                "unknown label `{PREFIX}{unknown}`: {help}"
            )));
        }
        let list = |key: &str| {
            let text = labels.get(key).map_or("", |text| text.as_str());
            let items = text.split(',').map(|item| item.trim().to_owned());
            items.filter(|item| !item.is_empty()).collect::<Vec<_>>()
        };
        let networks = networks.split(',').map(|name| name.trim().to_owned());
        let addresses = list("address").into_iter().map(|text| {
            let address = text.parse();
            address.map_err(|_| Refusal(format!("label {PREFIX}address: `{text}` is no address")))
        });
        let mac = labels.get("mac").map(|text| mac(text)).transpose()?;
        let aliases = list("aliases");
        if let Some(alias) = aliases.iter().find(|alias| !is_object_name(alias)) {
            return Err(Refusal(format!(
                "label {PREFIX}aliases: `{alias}` is no name of letters, digits, `_`, `.` and `-`"
            )));
        }
        Ok(Some(Self {
            id: id.to_owned(),
            container: container.name.clone(),
            networks: networks.filter(|name| !name.is_empty()).collect(),
            addresses: addresses.collect::<Result<_, _>>()?,
            mac,
            groups: list("groups"),
            aliases: aliases.into_iter().chain(service(container)).collect(),
            by_label: true,
        }))
    }
}

/// The Compose service that a container is of.
#[must_use]
pub fn service(container: &ListedContainer) -> Option<String> {
    container.labels.get(COMPOSE_SERVICE).cloned()
}

/// A MAC address that a station can have.
///
/// # Errors
///
/// It is none.
pub fn mac(text: &str) -> Result<Mac, Refusal> {
    let mac = parse_mac(text).filter(|mac| !mac.is_group() && *mac != Mac::ZERO);
    mac.ok_or_else(|| Refusal(format!("{text} is no MAC address that a station can have")))
}

/// Whether a container of this network mode can be plugged in by us.
///
/// # Errors
///
/// It cannot: its interfaces are somebody else's.
pub fn check_mode(container: &ListedContainer) -> Result<(), Refusal> {
    if container.mode == MODE {
        return Ok(());
    }
    if container.mode == "host" {
        return Err(Refusal(format!(
            "container {} has network mode `host`: it is the host, which a file plugs in by a workload with \
             `host_network: true`",
            container.name
        )));
    }
    Err(Refusal(format!(
        "container {} has network mode `{}`: start it with `--network none`, or plug it in by `docker network \
         connect`",
        container.name, container.mode
    )))
}

/// A network that containers can be plugged into.
struct Target {
    /// Its name in the topology.
    name: String,
    scopes: Vec<Scope>,
}

impl Records {
    /// Notes that a container is plugged in. Networks that it is plugged into already stay as they are, and
    /// labels do not plug it into what somebody has plugged it out of.
    ///
    /// # Errors
    ///
    /// There is no such network, or no such address is free; nothing is noted then.
    pub fn attach(&mut self, wish: &Wish, setting: Setting<'_>) -> Result<(), Refusal> {
        self.collect(setting.now);
        let before = self.clone();
        let result = self.try_attach(wish, setting);
        if result.is_err() {
            *self = before;
        }
        result
    }

    fn try_attach(&mut self, wish: &Wish, setting: Setting<'_>) -> Result<(), Refusal> {
        let mut addresses = wish.addresses.clone();
        let mut mac = wish.mac;
        for network in &wish.networks {
            let detached = self.detached.get_mut(&wish.id);
            if wish.by_label && detached.is_some_and(|it| it.contains(network)) {
                let target = self.target(network, setting).into_iter();
                let scopes: Vec<Scope> = target.flat_map(|it| it.scopes).collect();
                addresses.retain(|ip| !scopes.iter().any(|it| it.subnet.contains(ip)));
                mac = None;
                continue;
            }
            let target = self.target(network, setting)?;
            let attachment = self.attachments.entry(wish.id.clone());
            let attachment = attachment.or_insert_with(|| Attachment {
                container: wish.container.clone(),
                aliases: Vec::new(),
                by_label: wish.by_label,
                ports: Vec::new(),
            });
            for alias in &wish.aliases {
                if !attachment.aliases.contains(alias) {
                    attachment.aliases.push(alias.clone());
                }
            }
            if let Some(port) = attachment.ports.iter().find(|it| it.network == target.name) {
                let has = |ip: &IpAddr| port.addresses.iter().any(|it| it.addr() == *ip);
                addresses.retain(|ip| !has(ip));
                continue;
            }
            let interface = attachment.free_interface();
            if let Some(detached) = self.detached.get_mut(&wish.id) {
                detached.remove(network);
            }
            self.detached.retain(|_, networks| !networks.is_empty());
            let found = self.addresses_on(&target, &mut addresses, wish, setting)?;
            for (scope, ip) in &found {
                let lease = Lease {
                    holder: Holder::Attached(wish.id.clone()),
                    container: Some(wish.container.clone()),
                };
                self.leases.insert((scope.clone(), *ip), lease);
            }
            let addresses: Vec<IpNet> = found
                .into_iter()
                .filter_map(|(scope, ip)| IpNet::new(ip, scope.subnet.prefix_len()).ok())
                .collect();
            let taken = self.macs_on(&target.name, setting);
            let derived = || derived_mac(&addresses, &wish.id, |mac| !taken.contains(&mac));
            let port = AttachedPort {
                network: target.name,
                title: network.clone(),
                interface,
                mac: mac.take().unwrap_or_else(derived),
                addresses,
                groups: wish.groups.clone(),
            };
            if let Some(attachment) = self.attachments.get_mut(&wish.id) {
                attachment.ports.push(port);
            }
        }
        match addresses.first() {
            Some(ip) => Err(Refusal(format!(
                "address {ip} for container {} is in no subnet of network {}, or it has another one there",
                wish.container,
                wish.networks.join(", ")
            ))),
            None => Ok(()),
        }
    }

    /// One address of each family that a network has: those that are wished for, else any.
    fn addresses_on(
        &self,
        target: &Target,
        wished: &mut Vec<IpAddr>,
        wish: &Wish,
        setting: Setting<'_>,
    ) -> Result<Vec<(Scope, IpAddr)>, Refusal> {
        let mut found: Vec<(Scope, IpAddr)> = Vec::new();
        for scope in &target.scopes {
            while let Some(at) = wished.iter().position(|ip| scope.subnet.contains(ip)) {
                let ip = self.free(scope, wished.remove(at), setting.world)?;
                found.push((scope.clone(), ip));
            }
        }
        for scope in &target.scopes {
            let is_ipv4 = scope.subnet.addr().is_ipv4();
            if found.iter().any(|(_, ip)| ip.is_ipv4() == is_ipv4) {
                continue;
            }
            let pool = Pool {
                scope: scope.clone(),
                range: None,
                named: true,
            };
            let ip = self.choose(&pool, Some(&wish.container), setting.world)?;
            found.push((scope.clone(), ip));
        }
        Ok(found)
    }

    /// The MAC addresses of all that are on a network, by its name in the topology.
    fn macs_on(&self, network: &str, setting: Setting<'_>) -> BTreeSet<Mac> {
        let declared = setting.world.networks.get(network);
        let declared = declared.into_iter().flat_map(|it| it.macs.keys().copied());
        let endpoints = self.endpoints.values().filter(|endpoint| {
            let place = self.networks.get(&endpoint.network);
            place.is_some_and(|it| it.name(&endpoint.network) == network)
        });
        let attached = self.attachments.values().flat_map(|it| &it.ports);
        let attached = attached.filter(|port| port.network == network);
        declared
            .chain(endpoints.map(|it| it.mac))
            .chain(attached.map(|it| it.mac))
            .collect()
    }

    /// The network of a file or of Docker's that people call so.
    fn target(&self, name: &str, setting: Setting<'_>) -> Result<Target, Refusal> {
        if let Some(declared) = setting.world.networks.get(name) {
            let scopes = declared.subnets.iter().map(|subnet| Scope {
                net: Some(name.to_owned()),
                subnet: *subnet,
            });
            return Ok(Target {
                name: name.to_owned(),
                scopes: scopes.collect(),
            });
        }
        let mut networks = self.networks.iter();
        let found = networks.find(|(id, network)| {
            network.label.as_deref() == Some(name) || *id == name || short(id) == name
        });
        if let Some((id, network)) = found {
            return Ok(Target {
                name: network.name(id),
                scopes: network.scopes().collect(),
            });
        }
        let labels = self.networks.values().filter_map(|it| it.label.clone());
        let known = setting.world.networks.keys().cloned().chain(labels);
        Err(Refusal(format!(
            "there is no network `{name}`: {}",
            Similar::new(name, known)
        )))
    }

    /// Notes that somebody wants a container plugged in no more, at all or into a network, whatever its labels
    /// say. Tells whether it was.
    pub fn plug_out(
        &mut self,
        id: &str,
        network: Option<&str>,
        labelled: &[String],
        now: u64,
    ) -> bool {
        let ports = self.attachments.get(id).into_iter();
        let ports = ports.flat_map(|it| &it.ports);
        let gone = ports.filter(|port| port.is_on(network));
        let gone = gone.map(|port| port.title.clone());
        let gone: BTreeSet<String> = gone.filter(|title| labelled.contains(title)).collect();
        if !gone.is_empty() {
            self.detached.entry(id.to_owned()).or_default().extend(gone);
        }
        self.detach(id, network, now)
    }

    /// Notes that a container is plugged in no more: at all, or into a network. Tells whether it was.
    pub fn detach(&mut self, id: &str, network: Option<&str>, now: u64) -> bool {
        let Some(attachment) = self.attachments.get_mut(id) else {
            return false;
        };
        let mut gone = Vec::new();
        attachment.ports.retain(|port| {
            let goes = port.is_on(network);
            if goes {
                gone.extend(port.addresses.iter().map(|address| address.addr()));
            }
            !goes
        });
        if gone.is_empty() {
            return false;
        }
        if attachment.ports.is_empty() {
            self.attachments.remove(id);
        }
        let own = Holder::Attached(id.to_owned());
        for ((_, ip), lease) in &mut self.leases {
            if lease.holder == own && gone.contains(ip) {
                lease.holder = Holder::Released(now);
            }
        }
        let unused: Vec<Scope> = self.leases.keys().map(|(scope, _)| scope.clone()).collect();
        for scope in unused {
            if !self.is_used(&scope) {
                self.forget_scope(&scope);
            }
        }
        true
    }
}

impl AttachedPort {
    /// Whether it is on a network, or on any if none is named.
    fn is_on(&self, network: Option<&str>) -> bool {
        network.is_none_or(|name| self.title == name || self.network == name)
    }
}

impl Attachment {
    /// A name for one more interface.
    fn free_interface(&self) -> String {
        let mut names = (0_usize..).map(|number| format!("eth{number}"));
        let is_free = |name: &String| self.ports.iter().all(|port| port.interface != *name);
        names.find(is_free).unwrap_or_default()
    }
}
