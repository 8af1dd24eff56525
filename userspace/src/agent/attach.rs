//! Plugs in containers that Docker has given no network: when labels say so, or on demand.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::Event;
use super::commit::Cause;
use super::plugin::{Plugin, State, now};
use super::reconcile::connect;
use crate::driver::Setting;
use crate::driver::attach::{Wish, check_mode, mac, service};
use crate::driver::inventory::{Inventory, ListedContainer};
use crate::similar::Similar;

/// How long to wait until the planner has put it into force.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the command line asks for.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub struct AttachRequest {
    /// The container's name or id.
    pub container: String,
    /// The network.
    pub network: String,
    /// Addresses that it is to have.
    pub addresses: Vec<IpAddr>,
    /// The MAC address.
    pub mac: Option<String>,
    /// The security groups.
    pub groups: Vec<String>,
    /// What else it is to be called.
    #[serde(default)]
    pub aliases: Vec<String>,
}

/// What the command line asks for to undo that.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub struct DetachRequest {
    /// The container's name or id.
    pub container: String,
    /// The network; without one all of them.
    pub network: Option<String>,
}

/// How a container is plugged in.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Attached {
    /// Its name.
    pub container: String,
    /// The network.
    pub network: String,
    /// What the interface is called in the container.
    pub interface: String,
    /// Its addresses, with their subnets' lengths.
    pub addresses: Vec<String>,
}

impl Plugin<'_> {
    /// Plugs in what labels ask for. A container whose labels cannot be carried out is told of once.
    pub(super) async fn attach_labelled(
        &self,
        state: &mut State,
        inventory: &Inventory,
    ) -> Result<()> {
        let known = |id: &String| inventory.containers.get(id).is_some_and(|it| it.is_alive);
        state.unattached.retain(|id, _| known(id));
        for (id, container) in &inventory.containers {
            if !container.is_alive || state.records.attachments.contains_key(id) {
                continue;
            }
            let wish = match Wish::of_labels(id, container, self.instance.name()) {
                Ok(None) => continue,
                Ok(Some(wish)) => check_mode(container).map(|()| wish),
                Err(refusal) => Err(refusal),
            };
            let result = match wish {
                Ok(wish) => self.plug_in(state, &wish).await,
                Err(refusal) => Err(refusal.into()),
            };
            let Err(error) = result else {
                state.unattached.remove(id);
                continue;
            };
            let text = format!("{error:#}");
            if state.unattached.get(id) != Some(&text) {
                let name = &container.name;
                (self.say)(&Event::Failed(format!(
                    "container {name} is not plugged in as its labels say: {text}"
                )));
                state.unattached.insert(id.clone(), text);
            }
        }
        Ok(())
    }

    /// Records that a container is plugged in, if it fits everything else.
    async fn plug_in(&self, state: &mut State, wish: &Wish) -> Result<()> {
        let own = self.scene.borrow().host.clone();
        state.files.read(&self.ledger, own)?;
        let setting = Setting {
            world: &state.files.world,
            instance: &self.instance,
            now: now(),
        };
        let mut after = state.records.clone();
        after.attach(wish, setting)?;
        self.commit(state, after, Cause::Attachment).await?;
        Ok(())
    }

    /// Plugs a container in because somebody asks for it.
    pub(super) async fn attach(&self, request: AttachRequest) -> Result<Attached> {
        let inventory = self.inventory(&connect().await?).await?;
        let (id, container) = find(&inventory, &request.container)?;
        check_mode(container)?;
        let mut scene = self.scene.clone();
        scene.mark_unchanged();
        let wish = Wish {
            id: id.clone(),
            container: container.name.clone(),
            networks: vec![request.network.clone()],
            addresses: request.addresses,
            mac: request.mac.as_deref().map(mac).transpose()?,
            groups: request.groups,
            aliases: request
                .aliases
                .into_iter()
                .chain(service(container))
                .collect(),
            by_label: false,
        };
        let port = {
            let mut state = self.state.lock().await;
            self.plug_in(&mut state, &wish).await?;
            let attachment = state.records.attachments.get(id);
            let ports = attachment.into_iter().flat_map(|it| &it.ports);
            let mut ports = ports.filter(|it| it.title == request.network);
            ports.next().cloned().context("it is not plugged in")?
        };
        if container.is_alive {
            // Whoever asks wants to use it.
            let _late = timeout(PATIENCE, scene.changed()).await;
        }
        Ok(Attached {
            container: container.name.clone(),
            network: request.network,
            interface: port.interface,
            addresses: port.addresses.iter().map(ToString::to_string).collect(),
        })
    }

    /// Plugs a container out.
    pub(super) async fn detach(&self, request: DetachRequest) -> Result<()> {
        let inventory = self.inventory(&connect().await?).await?;
        let (id, container) = find(&inventory, &request.container)?;
        let mut scene = self.scene.clone();
        scene.mark_unchanged();
        let name = &container.name;
        {
            let mut state = self.state.lock().await;
            let mut after = state.records.clone();
            let network = request.network.as_deref();
            let wish = Wish::of_labels(id, container, self.instance.name());
            let labelled = wish.ok().flatten().map(|it| it.networks);
            if !after.plug_out(id, network, &labelled.unwrap_or_default(), now()) {
                match network {
                    Some(network) => bail!("container {name} is not attached to network {network}"),
                    None => bail!("container {name} is attached to no network"),
                }
            }
            self.commit(&mut state, after, Cause::Event).await?;
        }
        let _late = timeout(PATIENCE, scene.changed()).await;
        Ok(())
    }
}

fn find<'i>(inventory: &'i Inventory, name: &str) -> Result<(&'i String, &'i ListedContainer)> {
    inventory.container(name).with_context(|| {
        let names = inventory.containers.values().map(|it| it.name.clone());
        format!(
            "there is no container `{name}`: {}",
            Similar::new(name, names)
        )
    })
}
