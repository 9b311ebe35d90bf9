//! Denials in the coordinator's log: each is worth a line, and a thousand in a minute are not a thousand lines.
//!
//! Whoever is turned away chooses how often that happens. What is denied to whom it does not know.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many lines there are in a stretch of time.
const LINES_MAX: u32 = 20;
/// How long that is.
const STRETCH: Duration = Duration::from_secs(60);

/// Where denials are said. Clones are the same place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Denials(Arc<Mutex<Stretch>>);

#[derive(Debug, Default)]
struct Stretch {
    began: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl Denials {
    /// Says that something was denied, if there is room for the line.
    pub(crate) fn say(&self, line: impl Display) {
        let (may_speak, unsaid) = {
            let mut stretch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let unsaid = stretch.begin(Instant::now());
            (stretch.take(), unsaid)
        };
        if unsaid > 0 {
            tracing::warn!("{unsaid} more were turned away, which is not said of each");
        }
        if may_speak {
            tracing::warn!("{line}");
        }
    }
}

impl Stretch {
    /// Begins the next stretch once it is time, and says how many lines were left out of the last.
    fn begin(&mut self, now: Instant) -> u64 {
        if self.began.is_some_and(|began| now.duration_since(began) < STRETCH) {
            return 0;
        }
        let unsaid = self.unsaid;
        *self = Self { began: Some(now), said: 0, unsaid: 0 };
        unsaid
    }

    /// Whether there is room for a line.
    fn take(&mut self) -> bool {
        let has_room = self.said < LINES_MAX;
        if has_room {
            self.said += 1;
        } else {
            self.unsaid += 1;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_said_and_the_others_counted() {
        let (mut stretch, began) = (Stretch::default(), Instant::now());
        let mut say = |times: usize, after: Duration| {
            let unsaid = stretch.begin(began + after);
            (unsaid, (0..times).filter(|_| stretch.take()).count())
        };
        assert_eq!(say(25, Duration::ZERO), (0, 20));
        assert_eq!(say(5, STRETCH / 2), (0, 0));
        assert_eq!(say(3, STRETCH), (10, 3));
        assert_eq!(say(1, 2 * STRETCH), (0, 1));
    }
}
