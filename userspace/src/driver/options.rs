//! What users can say with `-o`, `--ipam-opt` and `--driver-opt`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Refusal;
use super::records::GatewayMode;
use crate::similar::closest;

/// The options of `docker network create -o`.
const NETWORK: [&str; 6] = ["net", "mtu", "router", "policy", "gateway", "conditions"];
/// Those of `docker network create --ipam-opt`.
const IPAM: [&str; 1] = ["net"];
/// Those of `docker network connect --driver-opt`.
const ENDPOINT: [&str; 1] = ["groups"];
/// Docker's own word for the MTU.
const DOCKER_MTU: &str = "com.docker.network.driver.mtu";
/// Docker's own word for an interface's name (28.0 and newer).
const DOCKER_INTERFACE: &str = "com.docker.network.endpoint.ifname";
/// The smallest packet that every IPv4 host takes (RFC 791).
const MTU_MIN: u16 = 68;

/// What `docker network create` was told by `-o`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct NetworkChoices {
    pub(super) net: Option<String>,
    pub(super) mtu: Option<u16>,
    pub(super) router: Option<String>,
    pub(super) policy: Option<String>,
    pub(super) gateway: GatewayMode,
    pub(super) conditions: Option<bool>,
}

impl NetworkChoices {
    pub(super) fn read(given: &BTreeMap<String, String>) -> Result<Self, Refusal> {
        check("-o", given.keys(), &NETWORK)?;
        let said = |key: &str| given.get(key).filter(|value| !value.is_empty());
        let mtu = said("mtu").or_else(|| said(DOCKER_MTU));
        Ok(Self {
            net: said("net").cloned(),
            mtu: mtu.map(|text| mtu_of(text)).transpose()?,
            router: said("router").cloned(),
            policy: said("policy").cloned(),
            gateway: said("gateway").map_or(Ok(GatewayMode::Native), |text| gateway_of(text))?,
            conditions: said("conditions")
                .map(|text| conditions_of(text))
                .transpose()?,
        })
    }
}

/// The network of a file that `--ipam-opt` names.
pub(super) fn pool_net(given: &BTreeMap<String, String>) -> Result<Option<&str>, Refusal> {
    // Swarm has one of its own.
    let own = given.keys().filter(|key| !key.contains('.'));
    check("--ipam-opt", own, &IPAM)?;
    Ok(given.get("net").map(String::as_str))
}

/// What an endpoint was told.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct EndpointChoices {
    pub(super) groups: Vec<String>,
    pub(super) interface: Option<String>,
}

impl EndpointChoices {
    pub(super) fn read(given: &BTreeMap<String, Value>) -> Result<Self, Refusal> {
        check("--driver-opt", given.keys(), &ENDPOINT)?;
        let text = |key: &str| given.get(key).and_then(Value::as_str);
        let groups = text("groups").unwrap_or_default().split(',');
        Ok(Self {
            groups: groups
                .map(|group| group.trim().to_owned())
                .filter(|group| !group.is_empty())
                .collect(),
            interface: text(DOCKER_INTERFACE).map(str::to_owned),
        })
    }
}

/// What has a dot in it is somebody else's: Docker's, or a label for other tools.
fn check<'a>(
    option: &str,
    given: impl Iterator<Item = &'a String>,
    known: &[&str],
) -> Result<(), Refusal> {
    for key in given.filter(|key| !key.contains('.')) {
        if !known.contains(&key.as_str()) {
            let help = match closest(key, known.iter().copied()) {
                Some(close) => format!("did you mean `{close}`?"),
                None => format!("there are {}", known.join(", ")),
            };
            return Err(Refusal(format!("unknown option `{option} {key}`: {help}")));
        }
    }
    Ok(())
}

fn mtu_of(text: &str) -> Result<u16, Refusal> {
    let mtu = text.parse().ok().filter(|&mtu| mtu >= MTU_MIN);
    mtu.ok_or_else(|| {
        Refusal(format!(
            "`-o mtu={text}` is no size of a packet: write a number of bytes from {MTU_MIN} to {}",
            u16::MAX
        ))
    })
}

fn conditions_of(text: &str) -> Result<bool, Refusal> {
    text.parse().map_err(|_| {
        Refusal(format!(
            "`-o conditions={text}` is not known: write true (members are told how their network is doing) or \
             false"
        ))
    })
}

fn gateway_of(text: &str) -> Result<GatewayMode, Refusal> {
    match text {
        "native" => Ok(GatewayMode::Native),
        "gwbridge" => Ok(GatewayMode::GwBridge),
        "none" => Ok(GatewayMode::None),
        _ => Err(Refusal(format!(
            "`-o gateway={text}` is not known: write native (the network's virtual router), gwbridge \
             (Docker's own bridge) or none"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[(&str, &str)]) -> Result<NetworkChoices, String> {
        let given = given.iter();
        let given = given.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        NetworkChoices::read(&given.collect()).map_err(|refusal| refusal.0)
    }

    #[test]
    fn own_options_are_known_and_those_of_others_are_left_alone() {
        let choices = read(&[
            ("net", "front"),
            ("com.docker.network.driver.mtu", "1400"),
            ("com.docker.network.bridge.enable_icc", "true"),
            ("org.example.note", "hello"),
            ("gateway", "gwbridge"),
        ])
        .unwrap();
        assert_eq!(choices.net.as_deref(), Some("front"));
        assert_eq!(choices.mtu, Some(1400));
        assert_eq!(choices.gateway, GatewayMode::GwBridge);
    }

    #[test]
    fn a_slip_is_told() {
        let error = read(&[("mtuu", "1400")]).unwrap_err();
        assert_eq!(error, "unknown option `-o mtuu`: did you mean `mtu`?");
        assert!(
            read(&[("mtu", "much")])
                .unwrap_err()
                .contains("-o mtu=much")
        );
        assert!(read(&[("mtu", "20")]).is_err());
        assert!(read(&[("gateway", "yes")]).unwrap_err().contains("native"));
    }
}
