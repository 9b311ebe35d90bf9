//! A disk that fails for a while: when to try again, when to give up, and when there is something to say of it.
//!
//! It knows times; what failed, and who waits, it does not.

use std::time::{Duration, Instant};

use crate::trouble::Trouble;

/// The first pause before another try; doubled after each.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest pause before another try.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// For how long a failing disk is waited for; `None` for ever.
pub(crate) type Patience = Option<Duration>;

/// A disk's failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    began: Option<Instant>,
    failures: u32,
    trouble: Trouble,
}

impl Stall {
    /// It failed, for the first time or again. Whether that is news.
    pub(crate) fn fails(&mut self, reason: &str, now: Instant) -> bool {
        self.began.get_or_insert(now);
        self.failures = self.failures.saturating_add(1);
        self.trouble.is_news(reason, now)
    }

    /// How long to wait before the next try.
    pub(crate) fn pause(&self) -> Duration {
        PAUSE_MIN.saturating_mul(1 << self.failures.saturating_sub(1).min(16)).min(PAUSE_MAX)
    }

    /// Whether it has lasted for longer than anybody waits.
    pub(crate) fn outlasts(&self, patience: Patience, now: Instant) -> bool {
        let lasted = self.began.map_or(Duration::ZERO, |began| now.duration_since(began));
        patience.is_some_and(|patience| lasted >= patience)
    }

    /// It worked. Whether it had not.
    pub(crate) fn ends(&mut self) -> bool {
        (self.began, self.failures) = (None, 0);
        self.trouble.ends()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_patience_ends() {
        let (mut stall, began) = (Stall::default(), Instant::now());
        let mut pauses = Vec::new();
        for second in 0..7 {
            assert_eq!(stall.fails("full", began + Duration::from_secs(second)), second == 0);
            pauses.push(stall.pause().as_millis());
        }
        assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        let outlasts = |seconds, patience| stall.outlasts(patience, began + Duration::from_secs(seconds));
        let patience = Some(Duration::from_secs(10));
        assert_eq!([outlasts(9, patience), outlasts(10, patience), outlasts(1_000, None)], [false, true, false]);
        assert!(stall.ends());
        assert!(!stall.ends() && !stall.outlasts(patience, began + Duration::from_secs(20)));
    }
}
