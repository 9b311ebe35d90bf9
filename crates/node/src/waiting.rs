//! Why a job waits, in the words of whoever can do something about it.
//!
//! The machine gives the reason, and knows no ability's meaning; who is told, and where, is the callers'.

use convoke_core::JobId;
use convoke_core::coordinator::{Notice, Waiting};

use crate::executor::{COMMANDS, MOMENTS};

/// The reason alone.
pub(crate) fn reason(waiting: &Waiting) -> String {
    match waiting {
        Waiting::NoAbility(ability) if COMMANDS.contains(&ability.as_str()) => {
            "no connected worker runs commands: start one with `convoke worker --allow-command`".to_owned()
        }
        Waiting::NoAbility(ability) if ability.as_str() == MOMENTS => format!("preparing: {waiting}"),
        waiting => waiting.to_string(),
    }
}

/// A line on a job that waits.
pub(crate) fn line(job: JobId, waiting: &Waiting) -> String {
    format!("job {job} waits: {}", reason(waiting))
}

/// A line for a notice.
pub(crate) fn notice(notice: &Notice) -> String {
    match notice {
        Notice::Waiting { job, reason } => line(*job, reason),
        notice => notice.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use convoke_core::Ability;

    use super::*;
    use crate::executor::{COMMAND, MOMENTS, STEP, TRAIN};

    #[test]
    fn who_misses_commands_hears_which_worker_runs_them() {
        let waits = |ability: &str| {
            let reason = Waiting::NoAbility(Ability::new(ability).unwrap());
            notice(&Notice::Waiting { job: JobId::from_bits(1), reason })
        };
        for ability in [COMMAND, STEP] {
            let expected = "no connected worker runs commands: start one with `convoke worker --allow-command`";
            assert_eq!(waits(ability), format!("job 00000001 waits: {expected}"));
        }
        assert_eq!(waits(MOMENTS), "job 00000001 waits: preparing: no connected worker can `moments`");
        assert_eq!(waits(TRAIN), "job 00000001 waits: no connected worker can `train`");
    }
}
