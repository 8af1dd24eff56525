//! The part of `bowline show` that is about policies: every rule, and how often it decided.

use anyhow::Result;
use serde::Serialize;

use crate::host::Outlook;
use crate::kernel::datapath::Datapath;
use crate::plan::NamedRule;

#[derive(Serialize)]
pub(super) struct RuleState {
    /// What the rule belongs to: a chain, or a direction of a policy.
    list: String,
    /// Its position there, from 1; nothing for what holds if no rule decides.
    number: Option<usize>,
    rule: String,
    /// How often it decided on this host; nothing if no port or router here has it.
    hits: Option<u64>,
    origin: String,
}

/// All rules, in the order in which they are asked.
pub(super) fn policies(outlook: &Outlook, datapath: Option<&Datapath>) -> Result<Vec<RuleState>> {
    let hits = datapath.map_or(Ok(Default::default()), Datapath::rule_hits)?;
    let mut rules: Vec<_> = outlook.plan.names.rules.iter().collect();
    rules.sort_by_key(|(_, rule)| (&rule.list, rule.number.is_none(), rule.number));
    let state = |(id, rule): (_, &NamedRule)| RuleState {
        list: rule.list.clone(),
        number: rule.number,
        rule: rule.wording.clone(),
        hits: hits.get(id).copied(),
        origin: rule.origin.to_string(),
    };
    Ok(rules.into_iter().map(state).collect())
}

pub(super) const POLICIES: &[&str] = &["RULES", "NO", "RULE", "HITS", "DECLARED"];

pub(super) fn policy_rows(rules: &[RuleState]) -> Vec<Vec<String>> {
    let row = |it: &RuleState| {
        vec![
            it.list.clone(),
            it.number.map_or(String::new(), |number| number.to_string()),
            it.rule.clone(),
            it.hits
                .map_or_else(|| "-".to_owned(), |hits| hits.to_string()),
            it.origin.clone(),
        ]
    };
    rules.iter().map(row).collect()
}
