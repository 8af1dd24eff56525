//! What was done, and what was lost.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fault::{Fault, Toll};
use crate::traffic::Loss;

/// What came of all faults of a kind.
#[derive(Default)]
struct Sum {
    times: u32,
    losses: [Loss; 2],
    is_good: bool,
}

#[derive(Default)]
pub(crate) struct Tally(BTreeMap<Fault, Sum>);

impl Tally {
    /// Adds what was lost on the own host and to the other one while something happened.
    pub(crate) fn add(&mut self, at: Duration, fault: Fault, done: &str, losses: [Loss; 2]) {
        let toll = fault.toll();
        let is_good = losses
            .iter()
            .zip(toll.lets_lose())
            .all(|(loss, may)| may || loss.lost == 0);
        let [near, far] = losses;
        let verdict = if is_good { "" } else { "  UNEXPECTED" };
        println!(
            "{:>7.1} s  {:<28} lost {} of {} near, {} of {} far  {done}{verdict}",
            at.as_secs_f64(),
            fault.name(),
            near.lost,
            near.sent,
            far.lost,
            far.sent,
        );
        let sum = self.0.entry(fault).or_insert_with(|| Sum {
            is_good: true,
            ..Sum::default()
        });
        sum.times += 1;
        sum.is_good &= is_good;
        for (sum, loss) in sum.losses.iter_mut().zip(losses) {
            sum.sent += loss.sent;
            sum.lost += loss.lost;
        }
    }

    /// Whether nothing was lost that should not have been.
    pub(crate) fn is_good(&self) -> bool {
        self.0.values().all(|sum| sum.is_good)
    }

    pub(crate) fn print(&self) {
        println!(
            "\n{:<28} {:>5}  {:>18}  {:>18}  may be lost",
            "what happened", "times", "lost on one host", "lost between hosts"
        );
        for (fault, sum) in &self.0 {
            let [near, far] = sum
                .losses
                .map(|loss| format!("{} of {}", loss.lost, loss.sent));
            let why = match fault.toll() {
                Toll::Nothing => "nothing",
                Toll::Far(why) | Toll::All(why) => why,
            };
            println!(
                "{:<28} {:>5}  {near:>18}  {far:>18}  {why}",
                fault.name(),
                sum.times
            );
        }
        println!(
            "\nTCP connections: one with everybody, from beginning to end, every byte as it was said"
        );
    }
}
