//! Following a job: its events into a report, a line for each round, and over a lost connection to the next.
//!
//! It shows progress; what becomes of the job is the command's.

use std::time::{Duration, Instant};

use convoke_wire::channel::Target;
use convoke_wire::core::Position;
use convoke_wire::{CallError, Client, Followed};
use tokio_stream::StreamExt;

use crate::failure::Failure;
use crate::output::{self, share};
use crate::report::Report;

/// For how long a lost coordinator is looked for. One that answers but tells nothing new is still lost.
const RECONNECT: Duration = Duration::from_secs(30);
/// How long to wait before each look.
const RECONNECT_PAUSE: Duration = Duration::from_millis(250);

/// Whether to stay until the job has ended, and whether to say what happens.
#[derive(Clone, Copy)]
pub struct Manner {
    /// Until the end, rather than until what is known now.
    pub live: bool,
    /// A line for each round.
    pub lines: bool,
}

/// How far a follower has come: the last frame that it heard of, and how many of its events.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Cursor {
    position: Position,
    events: usize,
}

/// Folds the job's events into the report.
pub async fn follow(target: &Target, mut client: Client, report: &mut Report, manner: Manner) -> Result<(), Failure> {
    let mut cursor = Cursor::default();
    let mut lost_at = None;
    loop {
        let (connected_at, before) = (Instant::now(), cursor);
        let lost = match follow_once(&mut client, report, &mut cursor, manner).await {
            Ok(()) if report.has_ended() || !manner.live => return Ok(()),
            Ok(()) => CallError::Lost("it ended".to_owned()),
            Err(CallError::Lost(reason)) => CallError::Lost(reason),
            Err(error) => return Err(error.into()),
        };
        if cursor != before || connected_at.elapsed() >= RECONNECT {
            lost_at = None;
        }
        if lost_at.is_none() && manner.lines {
            eprintln!("lost the coordinator; looking for it for {} s", RECONNECT.as_secs());
        }
        client = reconnect(target, lost, *lost_at.get_or_insert_with(Instant::now)).await?;
    }
}

/// Follows over one connection. A frame that a lost connection cut off is told again: what of it is folded already is
/// passed over.
async fn follow_once(
    client: &mut Client,
    report: &mut Report,
    cursor: &mut Cursor,
    manner: Manner,
) -> Result<(), CallError> {
    let mut events = client.follow(report.job, cursor.position, manner.live).await?;
    // How many events of the cursor's frame this connection told.
    let mut told = 0;
    while let Some(followed) = events.next().await {
        match followed? {
            Followed::Notice(line) if manner.lines => eprintln!("{}", output::line(&line)),
            Followed::Notice(_) => {}
            Followed::Recorded { position, wall_ms, event } => {
                if position != cursor.position {
                    (*cursor, told) = (Cursor { position, events: 0 }, 0);
                }
                told += 1;
                if told <= cursor.events {
                    continue;
                }
                cursor.events = told;
                if let Some(round) = report.fold(wall_ms, &event).filter(|_| manner.lines) {
                    say_round(report, round);
                }
            }
        }
    }
    Ok(())
}

async fn reconnect(target: &Target, lost: CallError, lost_at: Instant) -> Result<Client, Failure> {
    while lost_at.elapsed() < RECONNECT {
        tokio::time::sleep(RECONNECT_PAUSE).await;
        if let Ok(client) = Client::connect(target).await {
            return Ok(client);
        }
    }
    Err(lost.into())
}

/// A line for a round whose version, or whose version's error, is new.
fn say_round(report: &Report, round: u32) {
    let Some(row) = report.rounds.iter().find(|row| row.round == round) else { return };
    let of = report.rounds_planned();
    match (row.validation_error, row.seconds) {
        (Some(error), _) => eprintln!("round {round}/{of}: validation error {error:.4}"),
        (None, Some(seconds)) => {
            let tasks = row.tasks.len();
            eprintln!("round {round}/{of}: {tasks} shards in {seconds:.2} s, train error {}", share(row.train_error));
        }
        (None, None) => {}
    }
}
