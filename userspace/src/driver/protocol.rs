//! What Docker says to a plugin that is a network and an IPAM driver, and what it wants to hear: HTTP
//! requests whose path names the method, with bodies in JSON
//! (moby, `daemon/libnetwork/docs/remote.md` and `ipam.md`).
//!
//! Docker is written in Go, where what is absent, what is `null` and what is empty are the same: all of
//! them are read alike here. Fields that nobody here needs are ignored.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One request, understood.
#[derive(Clone, PartialEq, Debug)]
pub enum Call {
    /// Docker asks what the plugin is.
    Activate,
    /// What the network driver can.
    NetworkCapabilities,
    /// What the IPAM driver can.
    IpamCapabilities,
    /// What the address spaces are called.
    AddressSpaces,
    /// A pool is asked for.
    RequestPool(RequestPool),
    /// A pool is given back.
    ReleasePool(PoolGiven),
    /// An address is asked for.
    RequestAddress(RequestAddress),
    /// An address is given back.
    ReleaseAddress(AddressGiven),
    /// Swarm asks what belongs to a network on all nodes.
    AllocateNetwork,
    /// `docker network create`.
    CreateNetwork(CreateNetwork),
    /// `docker network rm`.
    DeleteNetwork(NetworkGiven),
    /// A container is about to be plugged in.
    CreateEndpoint(CreateEndpoint),
    /// It is plugged out.
    DeleteEndpoint(EndpointGiven),
    /// What is there to say of an endpoint.
    EndpointInfo(EndpointGiven),
    /// An endpoint comes into its container.
    Join(Join),
    /// It leaves its container.
    Leave(EndpointGiven),
    /// An endpoint becomes its container's way to the outside.
    Program(Program),
    /// It is that no more.
    Revoke(EndpointGiven),
    /// Something that needs no answer: a network is freed, a node of the swarm comes or goes.
    Noted,
}

/// Why a request cannot be understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreadable {
    /// There is no such method.
    #[error("bowline does not know the method {0}")]
    NoSuchMethod(String),
    /// The body is not what the method takes.
    #[error("{method} was called with a body that it does not take: {reason}")]
    Malformed {
        /// The method.
        method: String,
        /// What is wrong.
        reason: String,
    },
}

impl Call {
    /// Reads a request: its path without the leading slash, and its body.
    ///
    /// # Errors
    ///
    /// [`Unreadable`].
    pub fn read(method: &str, body: &[u8]) -> Result<Self, Unreadable> {
        let malformed = |error: serde_json::Error| Unreadable::Malformed {
            method: method.to_owned(),
            reason: error.to_string(),
        };
        let read = || -> Result<Option<Self>, serde_json::Error> {
            Ok(Some(match method {
                "Plugin.Activate" => Self::Activate,
                "NetworkDriver.GetCapabilities" => Self::NetworkCapabilities,
                "IpamDriver.GetCapabilities" => Self::IpamCapabilities,
                "IpamDriver.GetDefaultAddressSpaces" => Self::AddressSpaces,
                "IpamDriver.RequestPool" => Self::RequestPool(parse(body)?),
                "IpamDriver.ReleasePool" => Self::ReleasePool(parse(body)?),
                "IpamDriver.RequestAddress" => Self::RequestAddress(parse(body)?),
                "IpamDriver.ReleaseAddress" => Self::ReleaseAddress(parse(body)?),
                "NetworkDriver.AllocateNetwork" => Self::AllocateNetwork,
                "NetworkDriver.CreateNetwork" => Self::CreateNetwork(parse(body)?),
                "NetworkDriver.DeleteNetwork" => Self::DeleteNetwork(parse(body)?),
                "NetworkDriver.CreateEndpoint" => Self::CreateEndpoint(parse(body)?),
                "NetworkDriver.DeleteEndpoint" => Self::DeleteEndpoint(parse(body)?),
                "NetworkDriver.EndpointOperInfo" => Self::EndpointInfo(parse(body)?),
                "NetworkDriver.Join" => Self::Join(parse(body)?),
                "NetworkDriver.Leave" => Self::Leave(parse(body)?),
                "NetworkDriver.ProgramExternalConnectivity" => Self::Program(parse(body)?),
                "NetworkDriver.RevokeExternalConnectivity" => Self::Revoke(parse(body)?),
                "NetworkDriver.FreeNetwork"
                | "NetworkDriver.DiscoverNew"
                | "NetworkDriver.DiscoverDelete" => Self::Noted,
                _ => return Ok(None),
            }))
        };
        read()
            .map_err(malformed)?
            .ok_or_else(|| Unreadable::NoSuchMethod(method.to_owned()))
    }
}

/// `null` is the same as nothing at all.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    // A list would be taken for the fields in their order.
    let map: Map<String, Value> = serde_json::from_slice(body)?;
    let mut value = Value::Object(map);
    strip_nulls(&mut value);
    serde_json::from_value(value)
}

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// `IpamDriver.RequestPool`.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RequestPool {
    /// Which of the driver's address spaces.
    pub address_space: String,
    /// The subnet, or nothing for any.
    pub pool: String,
    /// The part of the subnet that addresses are to be taken from, or nothing for all of it.
    pub sub_pool: String,
    /// What `--ipam-opt` said.
    pub options: BTreeMap<String, String>,
    /// Whether an IPv6 subnet is wanted.
    pub v6: bool,
}

/// What a pool is called.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PoolGiven {
    /// The id that the pool was given.
    #[serde(rename = "PoolID")]
    pub pool: String,
}

/// `IpamDriver.RequestAddress`.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RequestAddress {
    /// The id of the pool.
    #[serde(rename = "PoolID")]
    pub pool: String,
    /// The address, or nothing for any.
    pub address: String,
    /// What it is for, and who asks, as far as Docker says so.
    pub options: BTreeMap<String, String>,
}

impl RequestAddress {
    /// Whether it is to be a network's gateway.
    #[must_use]
    pub fn is_for_gateway(&self) -> bool {
        let kind = self.options.get("RequestAddressType");
        kind.is_some_and(|kind| kind == "com.docker.network.gateway")
    }

    /// The container that it is for (Docker 29.0 and newer).
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        let name = self.options.get("com.docker.network.endpoint.name");
        name.map(String::as_str).filter(|name| !name.is_empty())
    }
}

/// An address of a pool.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AddressGiven {
    /// The id of the pool.
    #[serde(rename = "PoolID")]
    pub pool: String,
    /// The address.
    pub address: String,
}

/// `NetworkDriver.CreateNetwork`.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateNetwork {
    /// Docker's id of the network; its name is not told.
    #[serde(rename = "NetworkID")]
    pub network: String,
    /// What was asked for.
    pub options: NetworkOptions,
    /// IPv4 subnets.
    #[serde(rename = "IPv4Data")]
    pub ipv4: Vec<PoolData>,
    /// IPv6 subnets.
    #[serde(rename = "IPv6Data")]
    pub ipv6: Vec<PoolData>,
}

/// What `docker network create` was told.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(default)]
pub struct NetworkOptions {
    /// Every `-o KEY=VALUE`.
    #[serde(rename = "com.docker.network.generic")]
    pub generic: BTreeMap<String, String>,
    /// `--internal`.
    #[serde(rename = "com.docker.network.internal")]
    pub internal: bool,
}

/// A subnet of a network, as its IPAM driver gave it.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PoolData {
    /// The address space that it is from, which tells whose it is.
    pub address_space: String,
    /// The subnet.
    pub pool: String,
    /// The gateway's address with the subnet's length, if there is one.
    pub gateway: String,
    /// `--aux-address`: addresses that somebody else has.
    pub aux_addresses: BTreeMap<String, String>,
}

/// What a network is called.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkGiven {
    /// Docker's id of the network.
    #[serde(rename = "NetworkID")]
    pub network: String,
}

/// `NetworkDriver.CreateEndpoint`.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateEndpoint {
    /// Docker's id of the network.
    #[serde(rename = "NetworkID")]
    pub network: String,
    /// Docker's id of the endpoint; a container that is started again has another one.
    #[serde(rename = "EndpointID")]
    pub endpoint: String,
    /// What is decided already.
    pub interface: Interface,
    /// Whatever else was said: ports, and `--driver-opt KEY=VALUE`.
    pub options: BTreeMap<String, Value>,
}

/// Addresses of an endpoint's interface.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Interface {
    /// IPv4, with the subnet's length.
    pub address: String,
    /// IPv6, with the subnet's length.
    #[serde(rename = "AddressIPv6")]
    pub address_ipv6: String,
    /// `--mac-address`.
    pub mac_address: String,
}

/// What an endpoint is called.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointGiven {
    /// Docker's id of the network.
    #[serde(rename = "NetworkID")]
    pub network: String,
    /// Docker's id of the endpoint.
    #[serde(rename = "EndpointID")]
    pub endpoint: String,
}

/// `NetworkDriver.Join`.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Join {
    /// Docker's id of the network.
    #[serde(rename = "NetworkID")]
    pub network: String,
    /// Docker's id of the endpoint.
    #[serde(rename = "EndpointID")]
    pub endpoint: String,
    /// Where the container's network namespace is, or will be.
    pub sandbox_key: String,
}

/// `NetworkDriver.ProgramExternalConnectivity`.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Program {
    /// Docker's id of the network.
    #[serde(rename = "NetworkID")]
    pub network: String,
    /// Docker's id of the endpoint.
    #[serde(rename = "EndpointID")]
    pub endpoint: String,
    /// What is to be reached from outside.
    pub options: ExternalOptions,
}

/// What of a container is to be reached from outside.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(default)]
pub struct ExternalOptions {
    /// `-p`.
    #[serde(rename = "com.docker.network.portmap")]
    pub ports: Vec<PortMapping>,
}

/// A published port: `-p HostIP:HostPort-HostPortEnd:Port/Proto`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PortMapping {
    /// The protocol's number (IANA): 6 is TCP, 17 UDP, 132 SCTP.
    pub proto: u8,
    /// The container's port.
    pub port: u16,
    /// The address of the host; any of them if it is empty.
    #[serde(rename = "HostIP")]
    pub host_ip: String,
    /// The first port of the host that will do; 0 for any.
    pub host_port: u16,
    /// The last port of the host that will do.
    pub host_port_end: u16,
}

/// What a protocol that has ports is called (IANA).
#[must_use]
pub fn protocol_name(number: u8) -> Option<&'static str> {
    match number {
        6 => Some("tcp"),
        17 => Some("udp"),
        132 => Some("sctp"),
        _ => None,
    }
}

/// The number of such a protocol.
#[must_use]
pub fn protocol_number(name: &str) -> Option<u8> {
    [6, 17, 132]
        .into_iter()
        .find(|number| protocol_name(*number) == Some(name))
}

/// What is answered.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// It is done.
    Done {},
    /// What the plugin is.
    #[serde(rename_all = "PascalCase")]
    Implements {
        /// The kinds of drivers.
        implements: [&'static str; 2],
    },
    /// What the network driver can.
    #[serde(rename_all = "PascalCase")]
    NetworkCapabilities {
        /// Who makes networks: each engine for itself.
        scope: &'static str,
        /// How far networks reach: to other hosts.
        connectivity_scope: &'static str,
    },
    /// What the IPAM driver wants.
    #[serde(rename_all = "PascalCase")]
    IpamCapabilities {
        /// Whether it must know the MAC address.
        #[serde(rename = "RequiresMACAddress")]
        requires_mac_address: bool,
        /// Whether Docker should repeat all requests when it starts.
        requires_request_replay: bool,
    },
    /// What the address spaces are called.
    #[serde(rename_all = "PascalCase")]
    AddressSpaces {
        /// Of networks with local scope.
        local_default_address_space: String,
        /// Of networks with global scope.
        global_default_address_space: String,
    },
    /// A pool.
    #[serde(rename_all = "PascalCase")]
    Pool {
        /// What it is called from now on.
        #[serde(rename = "PoolID")]
        pool_id: String,
        /// Its subnet.
        pool: String,
        /// Nothing.
        data: BTreeMap<String, String>,
    },
    /// An address.
    #[serde(rename_all = "PascalCase")]
    Address {
        /// With the subnet's length.
        address: String,
        /// Nothing.
        data: BTreeMap<String, String>,
    },
    /// What swarm is to remember of a network.
    #[serde(rename_all = "PascalCase")]
    Allocated {
        /// Nothing.
        options: BTreeMap<String, String>,
    },
    /// What was decided for an endpoint. Only what was not given may be answered.
    #[serde(rename_all = "PascalCase")]
    Endpoint {
        /// Its interface.
        interface: Decided,
    },
    /// What there is to say of an endpoint.
    #[serde(rename_all = "PascalCase")]
    Info {
        /// Nothing.
        value: BTreeMap<String, String>,
    },
    /// How an endpoint comes into its container.
    #[serde(rename_all = "PascalCase")]
    Joined {
        /// The interface that Docker is to move.
        interface_name: InterfaceName,
        /// The IPv4 default route's next hop.
        #[serde(skip_serializing_if = "Option::is_none")]
        gateway: Option<String>,
        /// The IPv6 default route's next hop.
        #[serde(rename = "GatewayIPv6", skip_serializing_if = "Option::is_none")]
        gateway_ipv6: Option<String>,
        /// Whether Docker must not look for another way to the outside (`docker_gwbridge`).
        disable_gateway_service: bool,
    },
}

/// What was decided for an endpoint's interface.
#[derive(Clone, PartialEq, Default, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Decided {
    /// Its MAC address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
}

/// The interface that Docker moves into a container.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InterfaceName {
    /// What it is called on the host.
    pub src_name: String,
    /// What its name begins with in the container; a number follows.
    pub dst_prefix: &'static str,
    /// What it is called in the container, if somebody said so (Docker 28 and newer).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst_name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_absent_and_empty_are_the_same() {
        let bodies = [
            r#"{"PoolID":"p","Address":"","Options":null}"#,
            r#"{"PoolID":"p","Options":{}}"#,
            r#"{"PoolID":"p","Address":null,"Later":[1,null]}"#,
        ];
        let expected = Call::RequestAddress(RequestAddress {
            pool: "p".to_owned(),
            ..RequestAddress::default()
        });
        for body in bodies {
            let call = Call::read("IpamDriver.RequestAddress", body.as_bytes()).unwrap();
            assert_eq!(call, expected, "{body}");
        }
        // The first requests have no body at all.
        assert_eq!(Call::read("Plugin.Activate", b"").unwrap(), Call::Activate);
    }

    #[test]
    fn what_is_not_understood_is_told_apart() {
        let unknown = Call::read("NetworkDriver.Dance", b"{}").unwrap_err();
        assert!(matches!(unknown, Unreadable::NoSuchMethod(_)));
        for body in [&b""[..], b"[]", br#"{"NetworkID":7}"#] {
            let malformed = Call::read("NetworkDriver.DeleteNetwork", body).unwrap_err();
            assert!(matches!(malformed, Unreadable::Malformed { .. }));
        }
    }

    #[test]
    fn answers_have_the_names_that_docker_reads() {
        let joined = Answer::Joined {
            interface_name: InterfaceName {
                src_name: "bc-3b5f4491c".to_owned(),
                dst_prefix: "eth",
                dst_name: None,
            },
            gateway: Some("10.77.0.1".to_owned()),
            gateway_ipv6: None,
            disable_gateway_service: false,
        };
        assert_eq!(
            serde_json::to_value(joined).unwrap(),
            serde_json::json!({
                "InterfaceName": {"SrcName": "bc-3b5f4491c", "DstPrefix": "eth"},
                "Gateway": "10.77.0.1",
                "DisableGatewayService": false,
            })
        );
        assert_eq!(serde_json::to_string(&Answer::Done {}).unwrap(), "{}");
    }
}
