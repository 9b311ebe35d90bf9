//! Following a job at a coordinator: its events into a report, and to whoever listens.
//!
//! It shows progress; what becomes of the job is the command's.

use convoke_wire::{Client, Heard, RECONNECT};

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
    while let Some(heard) = following.next().await? {
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
