//! The clocks that the datapath stamps with what it learns and hears.

use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC_COARSE` in nanoseconds: what `bpf_ktime_get_coarse_ns` gives (since Linux 5.11).
#[must_use]
pub fn coarse_ns() -> u64 {
    nanoseconds(ClockId::MonotonicCoarse)
}

/// `CLOCK_MONOTONIC` in nanoseconds: what `bpf_ktime_get_ns` gives.
#[must_use]
pub fn precise_ns() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds * 1_000_000_000 + nanoseconds
}
