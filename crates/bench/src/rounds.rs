//! A job's rounds as a follower sees them go by: when each opened, and when its version was there.
//!
//! The journal's own times are whole milliseconds; these are taken where the events arrive.

use std::pin::Pin;
use std::time::Instant;

use anyhow::{Context, bail};
use convoke_wire::core::event::{Event, Outcome, Purpose};
use convoke_wire::core::{JobId, Position, StageNumber};
use convoke_wire::{CallError, Client, Followed};
use tokio_stream::{Stream, StreamExt};

type Events = Pin<Box<dyn Stream<Item = Result<Followed, CallError>> + Send>>;

/// A follower of a job.
pub struct Rounds {
    events: Events,
    /// The round that is open, and its stage.
    open: Option<(u32, StageNumber)>,
}

/// Something that became of a round.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// When it was heard.
    pub at: Instant,
    /// The frame that holds it.
    pub position: Position,
    /// The round.
    pub round: u32,
    /// Whether it opened or its version is there.
    pub opened: bool,
}

impl Rounds {
    /// Follows a job from its beginning.
    pub async fn follow(client: &mut Client, job: JobId) -> anyhow::Result<Self> {
        let events: Events = Box::pin(client.follow(job, Position(0), true).await?);
        Ok(Self { events, open: None })
    }

    /// The next step of any round; none once the job has succeeded.
    pub async fn next(&mut self) -> anyhow::Result<Option<Step>> {
        loop {
            let followed = self.events.next().await.context("the coordinator is gone")??;
            let Followed::Recorded { position, event, .. } = followed else { continue };
            let at = Instant::now();
            match event {
                Event::StageOpened { stage, purpose: Purpose::Train { round }, .. } => {
                    self.open = Some((round, stage));
                    return Ok(Some(Step { at, position, round, opened: true }));
                }
                Event::StageCombined { stage, .. } => {
                    if let Some((round, _)) = self.open.take_if(|(_, open)| *open == stage) {
                        return Ok(Some(Step { at, position, round, opened: false }));
                    }
                }
                Event::JobFinished { outcome: Outcome::Succeeded, .. } => return Ok(None),
                Event::JobFinished { outcome, .. } => bail!("the job {outcome}"),
                _ => {}
            }
        }
    }
}
