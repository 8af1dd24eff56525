//! The rows of policies, in words.

use maps_schema::map::{
    Class, Identity, IdentityKey, IdentityPrefixKey, MapName, MatchKey, Matches, Policy, PrefixKey,
    RouteKey, Rule, RuleKey, ServiceKey,
};
use maps_schema::plain::from_bytes;
use maps_schema::{GroupId, Ip, PolicyList, RuleId};

use super::{NamedRule, Names};
use crate::counted::counted;

impl Names {
    /// A rule in words, or its id if it is not in the topology (any more).
    #[must_use]
    pub fn rule(&self, id: RuleId) -> String {
        match self.rules.get(&id) {
            Some(NamedRule { list, number, .. }) => match number {
                Some(number) => format!("rule {number} of {list}"),
                None => format!("the default of {list}"),
            },
            None => format!("rule {:08x}", id.0),
        }
    }

    /// A group's name, or its id if it is not in the topology (any more).
    #[must_use]
    pub fn group(&self, id: GroupId) -> String {
        self.groups
            .get(&id)
            .map_or_else(|| format!("group {:08x}", id.0), |it| it.name.clone())
    }

    /// What a row of a policy's map says; nothing if it is of another map.
    pub(super) fn decode_policy(&self, map: MapName, key: &[u8], value: &[u8]) -> Option<String> {
        Some(match map {
            MapName::RuleCounters => self.rule(from_bytes(key)?),
            MapName::Rules => {
                let RuleKey { list, idx } = from_bytes(key)?;
                let rule: Rule = from_bytes(value)?;
                let action = match rule.action {
                    Rule::ALLOW => "allows".to_owned(),
                    Rule::REJECT => "rejects".to_owned(),
                    Rule::GOTO => format!("goes on at {}", rule.target),
                    _ => "denies".to_owned(),
                };
                format!("{}[{idx}]: {} {action}", name(list), self.rule(rule.id))
            }
            MapName::Matches => {
                let key: MatchKey = from_bytes(key)?;
                let matches: Matches = from_bytes(value)?;
                let rules: u32 = matches.words.iter().map(|word| word.count_ones()).sum();
                format!(
                    "{} matches {} of {}, from {} on",
                    self.property(&key),
                    counted(rules, "rule"),
                    name(key.list),
                    key.chunk.saturating_mul(Matches::RULES),
                )
            }
            MapName::Services => {
                let key: ServiceKey = from_bytes(key)?;
                let Class { number } = from_bytes(value)?;
                let bits = key.prefix_len.saturating_sub(ServiceKey::FIXED_BITS);
                let first = u16::from_be_bytes(key.port);
                let last = first | u16::MAX.checked_shr(bits).unwrap_or(0);
                format!(
                    "{}: protocol {} ports {first} to {last} are service {number}",
                    name(key.list),
                    key.protocol
                )
            }
            MapName::Prefixes => {
                let key: PrefixKey = from_bytes(key)?;
                let Class { number } = from_bytes(value)?;
                let bits = key.prefix_len.saturating_sub(PrefixKey::FIXED_BITS);
                let prefix = prefix(key.ip, key.family, bits);
                format!("{}: {prefix} is prefix {number}", name(key.list))
            }
            MapName::IdentityPrefixes => {
                let key: IdentityPrefixKey = from_bytes(key)?;
                let bits = key.prefix_len.saturating_sub(IdentityPrefixKey::FIXED_BITS);
                let prefix = prefix(key.ip, key.family, bits);
                format!("{prefix} is in {}", self.groups_of(&from_bytes(value)?))
            }
            MapName::Identities => {
                let IdentityKey { part, ip } = from_bytes(key)?;
                let groups = self.groups_of(&from_bytes(value)?);
                format!("{ip} is in {groups} (part {part})")
            }
            MapName::Policies => {
                let Policy { part, rules } = from_bytes(value)?;
                let list = name(from_bytes(key)?);
                format!("{list} has {} (part {part})", counted(rules, "rule"))
            }
            _ => return None,
        })
    }

    fn groups_of(&self, identity: &Identity) -> String {
        let groups = identity.groups.iter().filter(|it| **it != GroupId::NONE);
        let groups: Vec<String> = groups.map(|&group| self.group(group)).collect();
        groups.join(", ")
    }

    fn property(&self, key: &MatchKey) -> String {
        match key.property {
            MatchKey::SOURCE_PREFIX => format!("source prefix {}", key.class),
            MatchKey::DESTINATION_PREFIX => format!("destination prefix {}", key.class),
            MatchKey::SERVICE => format!("service {}", key.class),
            MatchKey::SOURCE_GROUP => format!("source group {}", self.group(GroupId(key.class))),
            _ => format!("destination group {}", self.group(GroupId(key.class))),
        }
    }
}

/// What to call a list.
pub(super) fn name(list: PolicyList) -> String {
    format!("policy list {:08x}", list.0)
}

fn prefix(ip: Ip, family: u32, bits: u32) -> String {
    let mapped = if family == RouteKey::IPV4 {
        RouteKey::MAPPED_BITS
    } else {
        0
    };
    format!("{ip}/{}", bits.saturating_sub(mapped))
}
