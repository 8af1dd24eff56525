//! Docker's network and IPAM driver without its surroundings: what is recorded and a request give
//! what is recorded afterwards and an answer. Nothing here reads, writes or waits; the clock and what
//! files declare are told with the request.
//!
//! Docker calls such a thing a driver, so that is what it is called here. What is recorded becomes a
//! source of the topology like any file (`source`), and everything else follows from there.
//!
//! Docker may repeat any request whose answer it did not get, and may leave requests out that it could
//! not make: so a request that was carried out before is answered in the same way, and nothing that is
//! missing is an error where something is given back.

pub mod attach;
mod check;
pub mod finding;
pub mod inventory;
mod ipam;
pub mod member;
mod network;
pub mod networks;
mod options;
pub mod protocol;
pub mod range;
pub mod reconcile;
pub mod records;
pub mod source;
#[cfg(test)]
mod tests;
pub mod world;

use std::fmt;

pub use ipam::UNCLAIMED_SECONDS;
use protocol::{Answer, Call};
use records::Records;
use world::World;

use crate::instance::Instance;

/// The kinds of drivers that we are.
const IMPLEMENTS: [&str; 2] = ["NetworkDriver", "IpamDriver"];
/// What the address space of our own pools is called. Networks of Docker's with other pools get their
/// addresses from somebody else.
const ADDRESS_SPACE: &str = "bowline";

/// Why a request is refused: one line that names the network and who is in the way. It is what a user
/// of `docker` is shown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

impl From<String> for Refusal {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// What a request is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// What files declare.
    pub world: &'a World,
    /// Whose driver this is: interfaces are named after it.
    pub instance: &'a Instance,
    /// Seconds since 1970.
    pub now: u64,
}

/// Carries out a request.
///
/// # Errors
///
/// It is refused; what is recorded stays as it is.
pub fn handle(
    records: &Records,
    call: &Call,
    setting: Setting<'_>,
) -> Result<(Records, Answer), Refusal> {
    let mut after = records.clone();
    let answer = answer(&mut after, call, setting)?;
    Ok((after, answer))
}

fn answer(records: &mut Records, call: &Call, setting: Setting<'_>) -> Result<Answer, Refusal> {
    match call {
        Call::Activate => Ok(Answer::Implements {
            implements: IMPLEMENTS,
        }),
        // Networks are made on each host by itself; only swarm would do it for all of them, and swarm
        // wants no drivers that it has not started itself.
        Call::NetworkCapabilities => Ok(Answer::NetworkCapabilities {
            scope: "local",
            connectivity_scope: "global",
        }),
        // A repeated request cannot be told from one for an address that somebody has: we remember.
        Call::IpamCapabilities => Ok(Answer::IpamCapabilities {
            requires_mac_address: false,
            requires_request_replay: false,
        }),
        Call::AddressSpaces => Ok(Answer::AddressSpaces {
            local_default_address_space: ADDRESS_SPACE.to_owned(),
            global_default_address_space: ADDRESS_SPACE.to_owned(),
        }),
        Call::RequestPool(request) => records.request_pool(request, setting),
        Call::ReleasePool(given) => {
            records.release_pool(given);
            Ok(Answer::Done {})
        }
        Call::RequestAddress(request) => records.request_address(request, setting),
        Call::ReleaseAddress(given) => {
            records.release_address(given, setting);
            Ok(Answer::Done {})
        }
        Call::AllocateNetwork => Ok(Answer::Allocated {
            options: Default::default(),
        }),
        Call::CreateNetwork(request) => records.create_network(request, setting),
        Call::DeleteNetwork(given) => {
            records.delete_network(given, setting);
            Ok(Answer::Done {})
        }
        Call::CreateEndpoint(request) => records.create_endpoint(request, setting),
        Call::DeleteEndpoint(given) => {
            records.delete_endpoint(&given.endpoint, setting);
            Ok(Answer::Done {})
        }
        Call::EndpointInfo(_) => Ok(Answer::Info {
            value: Default::default(),
        }),
        Call::Join(request) => records.join(request, setting),
        Call::Leave(given) => {
            records.leave(&given.endpoint);
            Ok(Answer::Done {})
        }
        Call::Program(request) => records.publish(request, setting),
        Call::Revoke(given) => {
            records.unpublish(&given.endpoint);
            Ok(Answer::Done {})
        }
        Call::Noted => Ok(Answer::Done {}),
    }
}
