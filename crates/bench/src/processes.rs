//! What processes take of the machine, as Linux counts it: processor time, and the most anonymous memory.
//!
//! Which processes they are it does not know.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Div, Sub};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

/// Linux counts processor time so, whatever its own clock.
const TICKS_A_SECOND: f64 = 100.0;
/// How often memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);

/// Processor time, in seconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Taken {
    /// In programs.
    pub user: f64,
    /// In the system, on their behalf.
    pub system: f64,
}

/// What a process has taken so far, and what its children have that ended.
pub fn taken(id: u32) -> anyhow::Result<(Taken, Taken)> {
    let path = format!("/proc/{id}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name, in parentheses, may hold anything.
    let numbers = text.rsplit_once(')').map(|(_, numbers)| numbers).unwrap_or_default();
    let seconds: Vec<f64> =
        numbers.split_whitespace().skip(11).take(4).filter_map(|ticks| ticks.parse().ok()).collect();
    let [user, system, children_user, children_system] =
        seconds.try_into().ok().with_context(|| format!("{path} is not understood"))?;
    let of = |user: f64, system: f64| Taken { user: user / TICKS_A_SECOND, system: system / TICKS_A_SECOND };
    Ok((of(user, system), of(children_user, children_system)))
}

/// Looks at the memory of some processes again and again.
pub struct Sampler {
    stop: Sender<()>,
    thread: JoinHandle<BTreeMap<u32, u64>>,
}

impl Sampler {
    /// Begins.
    pub fn start(ids: impl IntoIterator<Item = u32>) -> Self {
        let mut most: BTreeMap<u32, u64> = ids.into_iter().map(|id| (id, 0)).collect();
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(SAMPLE_EVERY) {
                for (id, most) in &mut most {
                    *most = (*most).max(anonymous_bytes(*id).unwrap_or(0));
                }
            }
            most
        });
        Self { stop, thread }
    }

    /// The most bytes of anonymous memory that each had at a time.
    pub fn stop(self) -> BTreeMap<u32, u64> {
        drop(self.stop);
        self.thread.join().unwrap_or_default()
    }
}

fn anonymous_bytes(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

impl Add for Taken {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }
}

impl Sub for Taken {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { user: self.user - other.user, system: self.system - other.system }
    }
}

impl Div<f64> for Taken {
    type Output = Self;

    fn div(self, by: f64) -> Self {
        Self { user: self.user / by, system: self.system / by }
    }
}

impl Sum for Taken {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, system } = self;
        write!(f, "{:.2} s (user {user:.2}, system {system:.2})", user + system)
    }
}
