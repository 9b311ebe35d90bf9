//! The virtual clock: what happens next, and when. Equal times keep the order in which they were scheduled.
//!
//! It does not know what the happenings mean.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use convoke_core::Millis;

pub struct Queue<T> {
    order: BinaryHeap<Reverse<(Millis, u64)>>,
    happenings: BTreeMap<u64, T>,
    scheduled: u64,
}

impl<T> Queue<T> {
    pub fn new() -> Self {
        Self { order: BinaryHeap::new(), happenings: BTreeMap::new(), scheduled: 0 }
    }

    pub fn push(&mut self, at: Millis, happening: T) {
        self.scheduled += 1;
        self.order.push(Reverse((at, self.scheduled)));
        self.happenings.insert(self.scheduled, happening);
    }

    pub fn pop(&mut self) -> Option<(Millis, T)> {
        let Reverse((at, number)) = self.order.pop()?;
        Some((at, self.happenings.remove(&number)?))
    }
}
