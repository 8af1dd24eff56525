//! The largest packet that gets to a peer and back, found by trying, in the manner of RFC 8899
//! (datagram packetization layer path MTU discovery): packets that are lost because of their size are
//! often lost without a word.
//!
//! One size is tried at a time, once between two echoes. It is too large when it was lost three times
//! although the peer answers otherwise. What was found is confirmed now and then, because a way can
//! become narrower, and after ten minutes everything is tried again, because it can become wider.

/// How often a size is tried before it counts as too large (RFC 8899 section 5.1.2, `MAX_PROBES`).
const TRIES: usize = 3;
/// After how many echoes a size that was found is confirmed.
const CONFIRM: u32 = 10;

/// The search for the path MTU. Sizes are those of IP packets of the underlay, in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathMtu {
    /// The smallest echo, which gets through if anything does.
    floor: u32,
    /// What the uplink carries.
    ceiling: u32,
    found: Option<u32>,
    phase: Phase,
    /// The numbers of the echoes of the size that is being tried.
    tried: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// It is at least `low` and at most `high`; `size` is being tried.
    Search { low: u32, high: u32, size: u32 },
    /// It has been found, and was confirmed so many echoes ago.
    Rest { since: u32 },
    /// It has been found, and is being confirmed.
    Confirm,
}

impl PathMtu {
    /// A search that begins. `found` is what somebody found before.
    #[must_use]
    pub fn new(floor: u32, ceiling: u32, found: Option<u32>) -> Self {
        Self {
            floor,
            ceiling,
            found: found.filter(|&found| found <= ceiling),
            phase: Self::first(floor, ceiling),
            tried: Vec::new(),
        }
    }

    /// Usually all of it fits.
    const fn first(floor: u32, ceiling: u32) -> Phase {
        Phase::Search {
            low: floor,
            high: ceiling,
            size: ceiling,
        }
    }

    /// What was found last, if anything was.
    #[must_use]
    pub fn found(&self) -> Option<u32> {
        self.found
    }

    /// Searches anew.
    pub fn restart(&mut self) {
        self.enter(Self::first(self.floor, self.ceiling));
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.tried.clear();
    }

    /// The size to try with the echo of this number; nothing if there is nothing to find out now.
    pub fn next(&mut self, sequence: u32) -> Option<u32> {
        let size = match self.phase {
            Phase::Search { size, .. } => size,
            Phase::Rest { since } if since < CONFIRM => {
                self.phase = Phase::Rest { since: since + 1 };
                return None;
            }
            Phase::Rest { .. } | Phase::Confirm => {
                self.phase = Phase::Confirm;
                self.found?
            }
        };
        self.tried.push(sequence);
        Some(size)
    }

    /// Notes the number of the last echo that came back since the last size was tried.
    pub fn note(&mut self, answered: u32) {
        if self.tried.contains(&answered) {
            self.pass();
        } else if self.tried.len() >= TRIES {
            self.fail();
        }
    }

    /// The peer did not answer at all: that says nothing about sizes.
    pub fn unheard(&mut self) {
        self.tried.pop();
    }

    /// This host itself does not send packets of the size that is being tried.
    pub fn refused(&mut self) {
        self.fail();
    }

    fn pass(&mut self) {
        match self.phase {
            Phase::Search { high, size, .. } => self.narrow(size, high),
            Phase::Rest { .. } | Phase::Confirm => self.enter(Phase::Rest { since: 0 }),
        }
    }

    fn fail(&mut self) {
        match self.phase {
            Phase::Search { low, size, .. } => self.narrow(low, size.saturating_sub(1)),
            Phase::Confirm => {
                let high = self.found.unwrap_or(self.ceiling).saturating_sub(1);
                self.narrow(self.floor, high);
            }
            Phase::Rest { .. } => {}
        }
    }

    fn narrow(&mut self, low: u32, high: u32) {
        if low >= high {
            self.found = Some(low);
            self.enter(Phase::Rest { since: 0 });
        } else {
            let size = low + (high - low).div_ceil(2);
            self.enter(Phase::Search { low, high, size });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets `rounds` echoes go over a path; returns how many of them had a size to try.
    fn walk(
        search: &mut PathMtu,
        sequence: &mut u32,
        rounds: u32,
        passes: impl Fn(u32) -> bool,
    ) -> u32 {
        let mut tried = 0;
        for _ in 0..rounds {
            *sequence += 2;
            let echo = *sequence - 1;
            let size = search.next(*sequence);
            tried += u32::from(size.is_some());
            let came_back = size.is_some_and(&passes);
            search.note(if came_back { *sequence } else { echo });
        }
        tried
    }

    #[test]
    fn what_fits_at_once_is_found_at_once() {
        let mut search = PathMtu::new(70, 1500, None);
        assert_eq!(walk(&mut search, &mut 0, 1, |_| true), 1);
        assert_eq!(search.found(), Some(1500));
    }

    #[test]
    fn every_size_is_found_within_forty_echoes() {
        for path in (70..1500).chain([9000]) {
            let mut search = PathMtu::new(70, 1500, None);
            walk(&mut search, &mut 0, 40, |size| size <= path);
            assert_eq!(search.found(), Some(path.min(1500)), "{path}");
        }
    }

    #[test]
    fn a_lost_try_is_tried_again() {
        let mut search = PathMtu::new(70, 1500, None);
        let mut sequence = 0;
        walk(&mut search, &mut sequence, 2, |_| false);
        walk(&mut search, &mut sequence, 1, |_| true);
        assert_eq!(search.found(), Some(1500));
        // While nothing comes back, sizes are not the reason.
        let mut search = PathMtu::new(70, 1500, None);
        for sequence in 0..10 {
            assert_eq!(search.next(sequence), Some(1500));
            search.unheard();
        }
        // An answer that comes late is an answer to the same size.
        let mut search = PathMtu::new(70, 1500, None);
        assert_eq!(search.next(2), Some(1500));
        search.note(1);
        assert_eq!(search.next(4), Some(1500));
        search.note(2);
        assert_eq!(search.found(), Some(1500));
    }

    #[test]
    fn a_way_that_becomes_narrower_is_noticed_and_a_wider_one_when_it_is_searched_anew() {
        let mut search = PathMtu::new(70, 1500, None);
        let mut sequence = 0;
        walk(&mut search, &mut sequence, 5, |_| true);
        assert_eq!(search.found(), Some(1500));
        walk(&mut search, &mut sequence, CONFIRM + 50, |size| {
            size <= 1400
        });
        assert_eq!(search.found(), Some(1400));
        let tried = walk(&mut search, &mut sequence, 10 * (CONFIRM + 1), |size| {
            size <= 1400
        });
        assert!((9..=11).contains(&tried), "{tried}");
        walk(&mut search, &mut sequence, 50, |_| true);
        assert_eq!(search.found(), Some(1400));
        search.restart();
        assert_eq!(search.found(), Some(1400), "until more is known");
        walk(&mut search, &mut sequence, 1, |_| true);
        assert_eq!(search.found(), Some(1500));
    }

    #[test]
    fn what_this_host_refuses_needs_no_second_try() {
        let mut search = PathMtu::new(70, 1500, Some(9000));
        assert_eq!(search.found(), None, "more than the uplink carries");
        assert_eq!(search.next(2), Some(1500));
        search.refused();
        assert_eq!(search.next(4), Some(785));
    }
}
