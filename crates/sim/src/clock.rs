//! A process's own clock: it counts from the process's start, and runs a little too fast or too slow.
//!
//! It does not know what time it is elsewhere; the world asks it both ways.

use convoke_core::Millis;

use crate::dice::Dice;

#[derive(Clone, Copy, Default)]
pub struct Clock {
    started_at: Millis,
    /// How many of its milliseconds pass in a hundred of the world's.
    percent: u64,
}

impl Clock {
    pub fn start(now: Millis, dice: &mut Dice) -> Self {
        Self { started_at: now, percent: dice.between(90, 110) }
    }

    /// What it shows.
    pub fn read(self, now: Millis) -> Millis {
        (now - self.started_at) * self.percent / 100
    }

    /// When it will show `due`, or more.
    pub fn when(self, due: Millis) -> Millis {
        self.started_at + (due * 100).div_ceil(self.percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_wakes_its_process_is_due() {
        for percent in 90..=110 {
            let clock = Clock { started_at: 1_234, percent };
            for due in [0, 1, 7, 99, 5_000, 123_457] {
                assert!(clock.read(clock.when(due)) >= due);
                assert!(due == 0 || clock.read(clock.when(due) - 1) < due);
            }
        }
    }
}
