//! What a task takes of a worker: slots, and amounts of whatever else the worker counts, such as GPUs or bytes of memory.
//!
//! Amounts are compared, added and taken away; what a name stands for is the worker's to know.

use std::collections::BTreeMap;
use std::fmt;

use super::{SpecError, check_name};
use crate::message::SLOTS_MAX;

/// The most kinds of resources that a task needs, or a worker has.
pub const RESOURCES_MAX: usize = 16;

/// What a task takes of a worker while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Slots, at least one.
    pub slots: u32,
    /// What else.
    pub resources: Resources,
}

/// Amounts by name; what is not named is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources(BTreeMap<String, u64>);

impl Default for Needs {
    /// One slot.
    fn default() -> Self {
        Self { slots: 1, resources: Resources::default() }
    }
}

impl Needs {
    /// Whether it is one slot and nothing else.
    pub fn is_one_slot(&self) -> bool {
        self.slots == 1 && self.resources.is_empty()
    }

    /// Checks what a remote party may have got wrong.
    pub fn check(&self) -> Result<(), SpecError> {
        if !(1..=SLOTS_MAX).contains(&self.slots) {
            return Err(SpecError::Slots(self.slots));
        }
        self.resources.check()
    }
}

impl Resources {
    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How much there is of it.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    /// Whether `needed` is there.
    pub fn hold(&self, needed: &Self) -> bool {
        needed.iter().all(|(name, amount)| amount <= self.get(name))
    }

    /// Adds to each amount.
    pub fn add(&mut self, more: &Self) {
        for (name, amount) in more.iter() {
            let sum = self.0.entry(name.to_owned()).or_default();
            *sum = sum.saturating_add(amount);
        }
    }

    /// The sum of both.
    pub fn with(&self, more: &Self) -> Self {
        let mut sum = self.clone();
        sum.add(more);
        sum
    }

    /// Checks what a remote party may have got wrong.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.0.len() > RESOURCES_MAX {
            return Err(SpecError::Resources(self.0.len()));
        }
        self.0.keys().try_for_each(|name| check_name("resource", name))
    }
}

impl<N: Into<String>> FromIterator<(N, u64)> for Resources {
    fn from_iter<I: IntoIterator<Item = (N, u64)>>(amounts: I) -> Self {
        Self(
            amounts.into_iter().map(|(name, amount)| (name.into(), amount)).filter(|(_, amount)| *amount > 0).collect(),
        )
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, amount)) in self.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={amount}")?;
        }
        Ok(())
    }
}
