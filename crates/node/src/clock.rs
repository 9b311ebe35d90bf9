//! The machine's clock: it follows the real one, but does not go on while the deciding loop stands still.
//!
//! A loop that was held up (by the disk, by a stopped process) finds that time has passed in which it could hear nobody.
//! If that time counted, whoever waits to be heard would be given up for silent. What is due, and why, it does not know.

use std::time::{Duration, Instant};

use convoke_core::Millis;

/// How much later than it was due a loop may wake before the rest counts as a standstill: less than a worker's liveness
/// leaves after a heartbeat, more than a busy machine needs.
const LATE_MAX_MS: Millis = 1_000;

/// A clock without standstills.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    /// How long it has stood still, all in all.
    skipped: Duration,
    /// What it showed last.
    shown: Millis,
}

impl Clock {
    pub(crate) fn start(now: Instant) -> Self {
        Self { started: now, skipped: Duration::ZERO, shown: 0 }
    }

    /// What it shows at `now`, to a loop that was to wake when `due` came.
    pub(crate) fn read(&mut self, now: Instant, due: Option<Millis>) -> Millis {
        let running = now.duration_since(self.started).saturating_sub(self.skipped);
        // Rounded up, so that a timer that woke the loop is due.
        let shows = u64::try_from(running.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        let latest = due.map_or(u64::MAX, |due| due.max(self.shown).saturating_add(LATE_MAX_MS));
        self.skipped += Duration::from_millis(shows.saturating_sub(latest));
        self.shown = shows.min(latest).max(self.shown);
        self.shown
    }

    /// When it will show this, if it does not stand still before.
    pub(crate) fn instant(&self, shows: Millis) -> Instant {
        self.started + self.skipped + Duration::from_millis(shows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standstill_does_not_count() {
        let started = Instant::now();
        let at = |ms| started + Duration::from_millis(ms);
        let mut clock = Clock::start(started);
        assert_eq!([clock.read(at(10), Some(500)), clock.read(at(600), Some(500))], [10, 600]);
        // Due at 1,000, the loop woke at 31,000: 29 s in which it could not do anything.
        assert_eq!(clock.read(at(31_000), Some(1_000)), 2_000);
        assert_eq!((clock.read(at(31_500), Some(3_000)), clock.instant(3_000)), (2_500, at(32_000)));
        assert_eq!(clock.read(at(40_000), None), 11_000);
    }
}
