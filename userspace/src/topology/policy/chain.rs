//! Jumps: none may lead back to where it came from, and what they add up to is bounded.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::{Located, Rule, Verb};
use crate::problem::Problem;
use crate::topology::merge::Merged;

/// How many rules each chain comes to where it is put in at each jump to it, with the way back from
/// there.
pub(super) struct Sizes<'a>(BTreeMap<&'a str, u64>);

impl Sizes<'_> {
    /// How many rules a list comes to.
    pub(super) fn of(&self, rules: &[Rule]) -> u64 {
        let jumps = jumps(rules).map(|chain| {
            let size = self.0.get(chain.as_str()).copied().unwrap_or(0);
            size.saturating_add(1)
        });
        let own = u64::try_from(rules.len()).unwrap_or(u64::MAX);
        jumps.fold(own, u64::saturating_add)
    }
}

fn jumps(rules: &[Rule]) -> impl Iterator<Item = &Located<String>> {
    rules.iter().filter_map(|rule| match &rule.verb {
        Verb::Jump(chain) => Some(chain),
        _ => None,
    })
}

/// Reports every circle of jumps once, and counts the rules of those chains that lead into none.
pub(super) fn check<'a>(merged: &Merged<'a>, problems: &mut Vec<Problem>) -> Sizes<'a> {
    // Who is waited for by whom: a chain can be counted when all that it jumps to are.
    let mut waiting: BTreeMap<&str, Vec<&'a str>> = BTreeMap::new();
    let mut missing: BTreeMap<&'a str, BTreeSet<&'a str>> = BTreeMap::new();
    for (&name, &rules) in &merged.chains {
        let known = jumps(rules).map(|chain| chain.as_str());
        let known = known.filter(|chain| merged.chains.contains_key(chain));
        let known: BTreeSet<&str> = known.collect();
        for chain in &known {
            waiting.entry(*chain).or_default().push(name);
        }
        missing.insert(name, known);
    }
    let mut sizes = Sizes(BTreeMap::new());
    let ready = missing.iter().filter(|(_, missing)| missing.is_empty());
    let mut ready: Vec<&str> = ready.map(|(name, _)| *name).collect();
    while let Some(name) = ready.pop() {
        missing.remove(name);
        if let Some((&name, rules)) = merged.chains.get_key_value(name) {
            sizes.0.insert(name, sizes.of(rules));
        }
        for waiting in waiting.remove(name).unwrap_or_default() {
            if let Some(missing) = missing.get_mut(waiting) {
                missing.remove(name);
                if missing.is_empty() {
                    ready.push(waiting);
                }
            }
        }
    }
    circles(merged, missing, problems);
    sizes
}

/// What is left over leads into circles: from each chain another one that is left can be reached.
fn circles<'a>(
    merged: &Merged<'_>,
    mut left: BTreeMap<&'a str, BTreeSet<&'a str>>,
    problems: &mut Vec<Problem>,
) {
    while let Some((&start, _)) = left.first_key_value() {
        let mut way: Vec<&str> = Vec::new();
        let mut here = start;
        let circle = loop {
            if let Some(first) = way.iter().position(|&other| other == here) {
                break way.split_off(first);
            }
            way.push(here);
            let next = left.get(here).and_then(|next| {
                let mut next = next.iter();
                next.find(|&&next| left.contains_key(next)).copied()
            });
            match next {
                Some(next) => here = next,
                // It leads into a circle that has been told.
                None => break Vec::new(),
            }
        };
        for name in way.iter().chain(&circle) {
            left.remove(name);
        }
        problems.extend(circular(merged, &circle));
    }
}

fn circular(merged: &Merged<'_>, circle: &[&str]) -> Option<Problem> {
    let first = circle.first()?;
    let message = if circle.len() == 1 {
        format!("chain {first} jumps to itself")
    } else {
        format!(
            "chains jump in a circle: {} -> {first}",
            circle.join(" -> ")
        )
    };
    let mut problem = Problem::new(message);
    let next = circle.iter().cycle().skip(1);
    for (name, next) in circle.iter().zip(next) {
        let rules = merged.chains.get(name)?;
        let jump = jumps(rules).find(|chain| chain.as_str() == *next)?;
        problem = problem.at(&jump.origin, format!("chain {name} jumps to {next}"));
    }
    Some(problem.help("leave out one of these jumps"))
}
