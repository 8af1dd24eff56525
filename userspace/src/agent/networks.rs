//! Makes networks of files Docker's, where they say so, and takes them back when they say so no more and
//! nobody uses them.

use std::collections::BTreeMap;

use super::Event;
use super::plugin::{Plugin, now};
use crate::docker::Docker;
use crate::driver::Setting;
use crate::driver::inventory::Inventory;
use crate::driver::networks::plan;

impl Plugin<'_> {
    /// Lets Docker make and remove networks. Docker asks us to carry that out: we must not be busy with
    /// anything that it waits for.
    pub(super) async fn make_networks(&self, docker: &Docker, inventory: &Inventory) {
        let Some(driver) = &self.driver else {
            return;
        };
        let plan = {
            let state = self.state.lock().await;
            if !state.files.is_read {
                // Nobody knows what they want.
                return;
            }
            let setting = Setting {
                world: &state.files.world,
                instance: &self.instance,
                now: now(),
            };
            plan(inventory, setting)
        };
        let mut unmade: BTreeMap<String, String> = BTreeMap::new();
        for (name, refusal) in plan.refused {
            unmade.insert(name, refusal.0);
        }
        for id in &plan.remove {
            // Somebody may just have begun to use it.
            let _used = docker.remove_network(id).await;
        }
        for make in &plan.make {
            if let Err(error) = docker.make_network(make, driver).await {
                unmade.insert(make.name.clone(), error.to_string());
            }
        }
        let mut state = self.state.lock().await;
        for (name, why) in &unmade {
            if state.unmade.get(name) != Some(why) {
                (self.say)(&Event::Failed(format!(
                    "network {name} cannot be Docker's: {why}"
                )));
            }
        }
        state.unmade = unmade;
    }
}
