//! A figure and how far it spreads.

use serde::{Deserialize, Serialize};

/// The median of several measurements, with the quartiles at either side of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    /// A quarter of the measurements are below this.
    pub(crate) low: f64,
    /// A quarter of them are above this.
    pub(crate) high: f64,
}

impl Figure {
    /// Of one measurement per round.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self {
            median: percentile(&values, 50),
            low: percentile(&values, 25),
            high: percentile(&values, 75),
        }
    }

    /// Whether the middle halves of the measurements of both have something in common.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }

    /// The median.
    pub(crate) fn short(&self) -> String {
        number(self.median)
    }
}

/// With its quartiles.
impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [median, low, high] = [self.median, self.low, self.high].map(number);
        write!(f, "{median} ({low} to {high})")
    }
}

/// With no more digits than mean something.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

/// The value below which that many percent of sorted values lie; between two of them, in proportion.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let hundredths = sorted.len().saturating_sub(1) * percent;
    let (index, rest) = (hundredths / 100, hundredths % 100);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    match rest {
        0 => at(index),
        _ => at(index) + (at(index + 1) - at(index)) * rest as f64 / 100.0,
    }
}
