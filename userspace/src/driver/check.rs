//! Whether the addresses that are recorded are consistent, and giving back what was lost.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::records::{Holder, Records, Scope};
use super::world::World;
use super::{Refusal, UNCLAIMED_SECONDS};

impl Records {
    /// What is wrong with the addresses, one line each: those that two have, and those that are held for
    /// nobody, or had without being held.
    #[must_use]
    pub fn check(&self, world: &World) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut owners: BTreeMap<(String, IpAddr), String> = BTreeMap::new();
        let mut own = |network: String, ip: IpAddr, owner: String| {
            let former = owners.insert((network.clone(), ip), owner.clone());
            former.map(|former| format!("{former} and {owner} both have {ip} on network {network}"))
        };
        for (name, declared) in &world.networks {
            for (ip, holder) in &declared.addresses {
                wrong.extend(own(name.clone(), *ip, holder.clone()));
            }
        }
        for (id, endpoint) in &self.endpoints {
            let title = self.endpoint_title(id);
            let Some(network) = self.networks.get(&endpoint.network) else {
                wrong.push(format!("{title} is on a network that is not recorded"));
                continue;
            };
            for address in &endpoint.addresses {
                let ip = address.addr();
                wrong.extend(own(network.name(&endpoint.network), ip, title.clone()));
                let mut scopes = network.scopes().filter(|it| it.subnet.contains(&ip));
                let held = Holder::Endpoint(id.clone());
                if scopes.any(|scope| !self.is_held_by(&scope, ip, &held)) {
                    wrong.push(format!("{title} has {ip}, which is not held for it"));
                }
            }
        }
        for (id, attachment) in &self.attachments {
            let title = self.attachment_title(id);
            for port in &attachment.ports {
                for address in &port.addresses {
                    wrong.extend(own(port.network.clone(), address.addr(), title.clone()));
                }
            }
        }
        for ((scope, ip), lease) in &self.leases {
            if self.is_lost(scope, &lease.holder) {
                let title = scope.title();
                wrong.push(format!("{ip} of {title} is held, and nobody has it"));
            }
        }
        wrong
    }

    /// Whether an address is held for somebody who is not there any more.
    fn is_lost(&self, scope: &Scope, holder: &Holder) -> bool {
        match holder {
            Holder::Endpoint(id) => !self.endpoints.contains_key(id),
            Holder::Attached(id) => !self.attachments.contains_key(id),
            Holder::Gateway | Holder::Auxiliary => !self.is_used(scope) && !self.is_pool(scope),
            Holder::Unclaimed(_) | Holder::Released(_) => false,
        }
    }

    fn is_held_by(&self, scope: &Scope, ip: IpAddr, holder: &Holder) -> bool {
        let lease = self.leases.get(&(scope.clone(), ip));
        lease.is_some_and(|lease| lease.holder == *holder)
    }

    fn is_pool(&self, scope: &Scope) -> bool {
        self.pools.values().any(|pool| pool.scope == *scope)
    }

    /// Forgets an address that was given out, so that it is given as one that nobody had.
    ///
    /// # Errors
    ///
    /// Somebody has it, or it was never given out.
    pub fn release(&mut self, ip: IpAddr, now: u64) -> Result<(), Refusal> {
        let found = self.leases.iter().filter(|((_, of), _)| *of == ip);
        let found: Vec<_> = found
            .map(|(key, lease)| (key.clone(), lease.holder.clone()))
            .collect();
        if found.is_empty() {
            return Err(Refusal(format!("address {ip} was given to nobody")));
        }
        for ((scope, _), holder) in &found {
            if self.is_lost(scope, holder) {
                continue;
            }
            let title = scope.title();
            if let Some(holder) = self.holder(scope, ip) {
                return Err(Refusal(format!(
                    "address {ip} of {title} is in use: {holder} has it"
                )));
            }
            // Docker is about to come with it.
            if let Holder::Unclaimed(since) = holder
                && now.saturating_sub(*since) < UNCLAIMED_SECONDS
            {
                return Err(Refusal(format!(
                    "address {ip} of {title} has just been given to Docker: try again in {UNCLAIMED_SECONDS} \
                     seconds"
                )));
            }
        }
        for (key, _) in found {
            self.leases.remove(&key);
        }
        Ok(())
    }
}
