//! Following a job at a coordinator: its events into a report, and to whoever listens.
//!
//! It shows progress; what becomes of the job is the command's.

use convoke_wire::core::JobId;
use convoke_wire::{CallError, Client, Heard, RECONNECT};

use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use crate::report::{Listener, Report};

/// Folds the job's events into the report: what is known, or with `live` until it has ended.
pub async fn follow(client: &Client, report: &mut Report, live: bool, progress: &Progress) -> Result<(), Failure> {
    follow_with(client, report, live, progress, &mut ()).await
}

/// The same, and lets someone hear the events.
pub async fn follow_with(
    client: &Client,
    report: &mut Report,
    live: bool,
    progress: &Progress,
    listener: &mut impl Listener,
) -> Result<(), Failure> {
    let mut following = client.watch(report.job, live);
    while let Some(heard) = following.next().await.map_err(|error| lost(error, report.job))? {
        match heard {
            Heard::Event { wall_ms, event } => {
                report.tell(wall_ms, &event, progress);
                listener.hear(&event).await;
            }
            Heard::History(history) => {
                listener.hear_history(&history);
                report.tell_all(*history, progress);
            }
            Heard::Notice(line) => progress.say(output::line(&line)),
            Heard::Lost => {
                progress.say(format!("lost the coordinator; looking for it for {} s", RECONNECT.as_secs()));
            }
        }
    }
    Ok(())
}

/// The end of following. A coordinator that stays away has the job on record.
fn lost(error: CallError, job: JobId) -> Failure {
    let hint = match &error {
        CallError::Away { target } => format!(
            "job {job} is on record there, and goes on once it is started again: `convoke job {job} --follow --coordinator \
             {target}` follows it"
        ),
        _ => return error.into(),
    };
    Failure::from(error).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_coordinator_stays_away_hears_where_the_job_is() {
        let failure = lost(CallError::Away { target: "lab:9095".to_owned() }, JobId::from_bits(1));
        assert_eq!(failure.to_string(), "the coordinator at lab:9095 did not come back within 30 s");
        let hint = failure.next_step().unwrap_or_default();
        assert!(hint.starts_with("job 00000001 is on record there"), "{hint}");
        assert!(hint.contains("`convoke job 00000001 --follow --coordinator lab:9095`"), "{hint}");
    }
}
