//! Whether a peer is up, from which of the echoes to it came back.

use serde::{Deserialize, Serialize};

/// What is known of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not enough yet.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It has ceased to answer, or never did.
    Down,
}

impl State {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// Whether a peer is up, and how many of the last echoes came back.
///
/// It is down when so many echoes in a row were missed, and up again only when as many in a row came
/// back: one that answers now and then does not come and go with each answer.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Liveness {
    state: State,
    /// How many echoes in a row were missed, or came back while it is down.
    run: u32,
    /// The last 64 echoes, the last one in the lowest bit; those that were missed are set.
    missed: u64,
    /// How many echoes were judged.
    sent: u64,
    /// How many of them came back.
    answered: u64,
}

/// How many echoes loss is told of.
pub const WINDOW: u32 = u64::BITS;

impl Liveness {
    /// That of a peer which was in this state when somebody looked last.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self {
            state,
            ..Self::default()
        }
    }

    /// Notes whether the last echo came back; `limit` is how many in a row make the difference.
    pub fn note(&mut self, came_back: bool, limit: u32) {
        self.sent += 1;
        self.answered += u64::from(came_back);
        self.missed = self.missed << 1 | u64::from(!came_back);
        if self.state == State::Unknown && came_back {
            self.state = State::Up;
            self.run = 0;
            return;
        }
        if matches!(
            (self.state, came_back),
            (State::Up, true) | (State::Down, false)
        ) {
            self.run = 0;
            return;
        }
        self.run += 1;
        if self.run >= limit {
            self.state = if came_back { State::Up } else { State::Down };
            self.run = 0;
        }
    }

    /// Whether it is up.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// How many echoes were judged.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// How many of them came back.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// How many of the last echoes, at most [`WINDOW`], were missed, of how many.
    #[must_use]
    pub fn lost(&self) -> (u32, u32) {
        let window = self.sent.min(u64::from(WINDOW)) as u32;
        (self.missed.count_ones(), window)
    }
}

#[cfg(test)]
mod tests {
    use super::State::{Down, Unknown, Up};
    use super::*;

    /// The states after each echo: `.` came back, `x` was missed.
    fn states(first: State, echoes: &str) -> Vec<State> {
        let mut liveness = Liveness::new(first);
        echoes
            .chars()
            .map(|echo| {
                liveness.note(echo == '.', 3);
                liveness.state()
            })
            .collect()
    }

    #[test]
    fn three_missed_in_a_row_are_down_and_three_answers_up_again() {
        assert_eq!(states(Unknown, "."), [Up]);
        assert_eq!(states(Unknown, "xxx"), [Unknown, Unknown, Down]);
        assert_eq!(states(Unknown, "x."), [Unknown, Up]);
        assert_eq!(
            states(Up, "xx.xx.xxx"),
            [[Up; 8].as_slice(), &[Down]].concat()
        );
        assert_eq!(states(Down, "..x..."), [Down, Down, Down, Down, Down, Up]);
        assert_eq!(states(Down, ".x.x.x."), [Down; 7]);
    }

    #[test]
    fn loss_is_that_of_the_last_echoes() {
        let mut liveness = Liveness::default();
        assert_eq!(liveness.lost(), (0, 0));
        for number in 0..10 {
            liveness.note(number % 2 == 0, 3);
        }
        assert_eq!(liveness.lost(), (5, 10));
        assert_eq!((liveness.sent(), liveness.answered()), (10, 5));
        for _ in 0..WINDOW {
            liveness.note(true, 3);
        }
        assert_eq!(liveness.lost(), (0, WINDOW));
    }
}
