//! Policies as a user notices them: who reaches whom.

mod stateful;
mod table;

use integration::lab::{Family, Fleet, Underlay};

use crate::rules::{self, INHABITANTS};

fn house(family: Family) -> Option<Underlay> {
    let names = INHABITANTS.map(|inhabitant| inhabitant.name);
    Underlay::new(family, 1500, &["alpha", "beta"], &names)
}

/// Loads the house with these policies on both hosts.
fn load(underlay: &Underlay, fleet: &Fleet<'_>, policies: &str) {
    fleet.load(&underlay.topology(&rules::house(policies)));
}
