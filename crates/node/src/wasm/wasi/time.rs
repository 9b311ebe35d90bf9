//! A guest's clocks and its sleep.
//!
//! A sleeping guest looks up as often as a running one, so that a limit or a stop is not slept through. Which clocks
//! the machine has it does not know: without a grant all stand still.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::view::{Answer, Errno, View};
use super::{STDERR, STDIN, STDOUT};
use crate::wasm::ticker::TICK;

const CLOCK_REALTIME: u32 = 0;
/// The processor time of the process and of the thread come after it; they are taken for the monotonic clock.
const CLOCK_MONOTONIC: u32 = 1;
const CLOCK_LAST: u32 = 3;

const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;
const EVENT_CLOCK: u8 = 0;
const EVENT_READ: u8 = 1;
const EVENT_WRITE: u8 = 2;
const SUBSCRIPTION_ABSOLUTE: u16 = 1;

impl View<'_> {
    pub(super) fn clock_res_get(&mut self, clock: u32, resolution: u32) -> Answer {
        self.now(clock)?;
        self.put(resolution, &1_000_u64.to_le_bytes())
    }

    pub(super) fn clock_time_get(&mut self, clock: u32, _precision: u64, time: u32) -> Answer {
        let now = self.now(clock)?;
        self.put(time, &now.to_le_bytes())
    }

    /// Waits for the first of the clocks, unless a stream is asked for: those are always ready.
    pub(super) fn poll_oneoff(&mut self, subscriptions: u32, events: u32, count: u32, size: u32) -> Answer {
        if count == 0 {
            return Err(Errno::Inval.into());
        }
        let mut waits = Vec::new();
        let mut ready = Vec::new();
        for index in 0..Self::list(count)? {
            let bytes: [u8; SUBSCRIPTION_BYTES as usize] = self.get(subscriptions, index * SUBSCRIPTION_BYTES)?;
            let wanted = Subscription::read(&bytes);
            match wanted.event {
                EVENT_CLOCK => waits.push((self.wait(&wanted)?, wanted.event(None))),
                EVENT_READ if wanted.of == STDIN => ready.push(wanted.event(None)),
                EVENT_WRITE if wanted.of == STDOUT || wanted.of == STDERR => ready.push(wanted.event(None)),
                EVENT_READ | EVENT_WRITE => ready.push(wanted.event(Some(Errno::Badf))),
                _ => return Err(Errno::Inval.into()),
            }
        }
        if ready.is_empty()
            && let Some(first) = waits.iter().map(|(wait, _)| *wait).min()
        {
            self.sleep(first)?;
            ready.extend(waits.into_iter().filter(|(wait, _)| *wait <= first).map(|(_, event)| event));
        }
        for (index, event) in (0..).zip(&ready) {
            self.put(events.checked_add(index * EVENT_BYTES).ok_or(Errno::Fault)?, event)?;
        }
        self.put(size, &(ready.len() as u32).to_le_bytes())
    }

    /// Nanoseconds by a clock: always the same ones, unless the guest may tell the time.
    fn now(&self, clock: u32) -> Answer<u64> {
        let since = match clock {
            0..=CLOCK_LAST if !self.guest.call.clock => Duration::ZERO,
            CLOCK_REALTIME => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            CLOCK_MONOTONIC..=CLOCK_LAST => self.guest.began.elapsed(),
            _ => return Err(Errno::Inval.into()),
        };
        Ok(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// How long a subscription to a clock has to wait.
    fn wait(&self, wanted: &Subscription) -> Answer<Duration> {
        let now = self.now(wanted.of)?;
        let nanos = if wanted.is_absolute { wanted.timeout.saturating_sub(now) } else { wanted.timeout };
        Ok(Duration::from_nanos(nanos))
    }

    /// Sleeps, but looks up as often as a running guest.
    fn sleep(&self, wait: Duration) -> Answer {
        let began = Instant::now();
        while let Some(left) = wait.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
            self.guest.check()?;
            std::thread::sleep(left.min(TICK));
        }
        Ok(())
    }
}

/// What `poll_oneoff` is to wait for.
struct Subscription {
    userdata: [u8; 8],
    event: u8,
    /// The clock or the stream.
    of: u32,
    timeout: u64,
    is_absolute: bool,
}

impl Subscription {
    fn read(bytes: &[u8; SUBSCRIPTION_BYTES as usize]) -> Self {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        Self {
            userdata: word(0).to_le_bytes(),
            event: bytes[8],
            of: word(16) as u32,
            timeout: word(24),
            is_absolute: word(40) as u16 & SUBSCRIPTION_ABSOLUTE != 0,
        }
    }

    fn event(&self, errno: Option<Errno>) -> [u8; EVENT_BYTES as usize] {
        let mut event = [0; EVENT_BYTES as usize];
        event[..8].copy_from_slice(&self.userdata);
        event[8..10].copy_from_slice(&errno.map_or(0, |errno| errno as u16).to_le_bytes());
        event[10] = self.event;
        event
    }
}
