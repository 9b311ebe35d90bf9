//! Which fault comes when: drawn from a seed.
//!
//! It does not know how a fault is done, nor what is there to be hit.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::dataset::Numbers;

/// How many workers there are.
pub const WORKERS: usize = 3;
/// How long a moment is waited for.
pub const MOMENT_MAX: Duration = Duration::from_millis(1_500);

/// Longer than the liveness timeout.
const LONG_MS: u64 = 6_000;
/// What the coordinator says during a round, between two stages of training, and while it trims its journal.
const SAID: [&str; 3] = ["round opened", "stage combined", "taken through position"];

/// Who is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Coordinator,
    Worker(usize),
    Client,
}

/// What happens to whom.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub who: Who,
    /// Whether it is killed; otherwise it is paused.
    pub kills: bool,
    /// How long it is away.
    pub lasts: Duration,
}

/// When the next fault comes.
pub enum Moment {
    After(Duration),
    /// When the coordinator says this.
    Said(&'static str),
}

/// Draws faults.
pub struct Schedule {
    pub seed: u64,
    numbers: Numbers,
}

impl Schedule {
    pub fn new(seed: u64) -> Self {
        Self { seed, numbers: Numbers(seed) }
    }

    pub fn moment(&mut self) -> Moment {
        if self.chance(40) {
            return Moment::Said(SAID[self.below(SAID.len() as u64) as usize]);
        }
        Moment::After(self.between(50, 1_500))
    }

    /// What happens to whom is to be hit, or to anybody.
    pub fn fault(&mut self, who: Option<Who>) -> Fault {
        let drawn = match self.below(10) {
            0..4 => Who::Coordinator,
            4..8 => Who::Worker(self.below(WORKERS as u64) as usize),
            _ => Who::Client,
        };
        let who = who.unwrap_or(drawn);
        let kills = who == Who::Client || self.chance(75);
        let lasts = match (kills, self.below(8)) {
            (true, 0..4) => Duration::ZERO,
            (false, 0) => Duration::from_millis(LONG_MS),
            _ => self.between(50, 1_500),
        };
        Fault { who, kills, lasts }
    }

    /// Whether the coordinator is hit now that a job is submitted.
    pub fn takes_submission(&mut self) -> bool {
        self.chance(30)
    }

    /// Whether the coordinator is hit now that it has started.
    pub fn takes_start(&mut self) -> bool {
        self.chance(20)
    }

    fn between(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(least_ms + self.below(most_ms - least_ms + 1))
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn below(&mut self, count: u64) -> u64 {
        self.numbers.next() % count
    }
}

/// The number in an environment variable.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text:?}")))
}

/// One that nobody has seen.
pub fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::from(now.subsec_nanos()) ^ (now.as_secs() << 20)
}
