//! Following a job: its events into a report, a line for each round, and over a lost connection to the next.
//!
//! It shows progress; what becomes of the job is the command's.

use std::time::{Duration, Instant};

use convoke_wire::channel::Target;
use convoke_wire::core::Position;
use convoke_wire::{CallError, Client, Followed};
use tokio_stream::StreamExt;

use crate::failure::Failure;
use crate::output::share;
use crate::report::Report;

/// For how long a lost coordinator is looked for.
const RECONNECT: Duration = Duration::from_secs(30);
/// How long to wait between two looks.
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
#[derive(Clone, Copy, Default)]
struct Cursor {
    position: Position,
    events: usize,
}

/// Folds the job's events into the report.
pub async fn follow(target: &Target, mut client: Client, report: &mut Report, manner: Manner) -> Result<(), Failure> {
    let mut cursor = Cursor::default();
    loop {
        let lost = match follow_once(&mut client, report, &mut cursor, manner).await {
            Ok(()) if report.has_ended() || !manner.live => return Ok(()),
            Ok(()) => CallError::Lost("it ended".to_owned()),
            Err(CallError::Lost(reason)) => CallError::Lost(reason),
            Err(error) => return Err(error.into()),
        };
        if manner.lines {
            eprintln!("lost the coordinator; looking for it for {} s", RECONNECT.as_secs());
        }
        client = reconnect(target, lost).await?;
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
    let mut again = std::mem::replace(cursor, Cursor { events: 0, ..*cursor });
    while let Some(followed) = events.next().await {
        match followed? {
            Followed::Notice(line) if manner.lines => eprintln!("{line}"),
            Followed::Notice(_) => {}
            Followed::Recorded { position, wall_ms, event } => {
                let events = if position == cursor.position { cursor.events + 1 } else { 1 };
                *cursor = Cursor { position, events };
                if position == again.position && again.events > 0 {
                    again.events -= 1;
                    continue;
                }
                if let Some(round) = report.fold(wall_ms, &event).filter(|_| manner.lines) {
                    say_round(report, round);
                }
            }
        }
    }
    Ok(())
}

async fn reconnect(target: &Target, lost: CallError) -> Result<Client, Failure> {
    let began = Instant::now();
    while began.elapsed() < RECONNECT {
        match Client::connect(target).await {
            Ok(client) => return Ok(client),
            Err(_) => tokio::time::sleep(RECONNECT_PAUSE).await,
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
