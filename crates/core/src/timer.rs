//! Timers: what is to be looked at, and when. Setting one again moves it.
//!
//! A timer knows no clock: whoever holds it says what time it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::Millis;

/// A set of named timers.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    by_time: BTreeSet<(Millis, T)>,
    by_name: BTreeMap<T, Millis>,
}

impl<T: Copy + Ord> Timers<T> {
    pub(crate) fn new() -> Self {
        Self { by_time: BTreeSet::new(), by_name: BTreeMap::new() }
    }

    pub(crate) fn set(&mut self, timer: T, at: Millis) {
        self.cancel(timer);
        self.by_time.insert((at, timer));
        self.by_name.insert(timer, at);
    }

    pub(crate) fn is_set(&self, timer: T) -> bool {
        self.by_name.contains_key(&timer)
    }

    pub(crate) fn cancel(&mut self, timer: T) {
        if let Some(at) = self.by_name.remove(&timer) {
            self.by_time.remove(&(at, timer));
        }
    }

    /// Takes the earliest timer that is due.
    pub(crate) fn pop_due(&mut self, now: Millis) -> Option<T> {
        let (_, timer) = self.by_time.first().copied().filter(|(at, _)| *at <= now)?;
        self.cancel(timer);
        Some(timer)
    }

    /// When the earliest is due.
    pub(crate) fn next(&self) -> Option<Millis> {
        self.by_time.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_again_moves_a_timer() {
        let mut timers = Timers::new();
        timers.set('a', 10);
        timers.set('b', 20);
        timers.set('a', 30);
        assert_eq!(timers.next(), Some(20));
        assert_eq!((timers.pop_due(19), timers.pop_due(20), timers.pop_due(29)), (None, Some('b'), None));
        timers.cancel('a');
        assert_eq!(timers.next(), None);
    }
}
