//! Following a job at a coordinator: its events into a report, and over a lost connection to the next.
//!
//! It shows progress; what becomes of the job is the command's.

use std::time::{Duration, Instant};

use convoke_wire::channel::Target;
use convoke_wire::core::{Event, Position};
use convoke_wire::seen::Seen;
use convoke_wire::{CallError, Client, Followed};
use tokio_stream::StreamExt;

use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use crate::report::Report;

/// For how long a lost coordinator is looked for. One that answers but tells nothing new is still lost.
const RECONNECT: Duration = Duration::from_secs(30);
/// How long to wait before each look.
const RECONNECT_PAUSE: Duration = Duration::from_millis(250);

/// How far a follower has come: the last frame that it heard of, and how many of its events.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Cursor {
    position: Position,
    events: usize,
    /// How far the journal had come.
    seen: Seen,
}

/// Who hears each event, once, beside the report.
pub trait Listener {
    /// Hears it.
    fn hear(&mut self, event: &Event) -> impl Future<Output = ()> + Send;
}

/// Nobody.
impl Listener for () {
    async fn hear(&mut self, _: &Event) {}
}

/// Folds the job's events into the report: what is known, or with `live` until it has ended.
pub async fn follow(
    target: &Target,
    client: Client,
    report: &mut Report,
    live: bool,
    progress: &Progress,
) -> Result<(), Failure> {
    follow_with(target, client, report, live, progress, &mut ()).await
}

/// The same, and lets someone hear the events.
pub async fn follow_with(
    target: &Target,
    mut client: Client,
    report: &mut Report,
    live: bool,
    progress: &Progress,
    listener: &mut impl Listener,
) -> Result<(), Failure> {
    let mut cursor = Cursor { seen: client.seen(), ..Cursor::default() };
    let mut lost_at = None;
    loop {
        let (connected_at, before) = (Instant::now(), cursor);
        let lost = match follow_once(&mut client, report, &mut cursor, live, progress, listener).await {
            Ok(()) if report.has_ended() || !live => return Ok(()),
            Ok(()) => CallError::Lost("it ended".to_owned()),
            Err(CallError::Lost(reason)) => CallError::Lost(reason),
            Err(error) => return Err(error.into()),
        };
        if cursor != before || connected_at.elapsed() >= RECONNECT {
            lost_at = None;
        }
        if lost_at.is_none() {
            progress.say(format!("lost the coordinator; looking for it for {} s", RECONNECT.as_secs()));
        }
        client = reconnect(target, lost, *lost_at.get_or_insert_with(Instant::now)).await?;
        client.present(cursor.seen);
    }
}

/// Follows over one connection. A frame that a lost connection cut off is told again: what of it is folded already is
/// passed over.
async fn follow_once(
    client: &mut Client,
    report: &mut Report,
    cursor: &mut Cursor,
    live: bool,
    progress: &Progress,
    listener: &mut impl Listener,
) -> Result<(), CallError> {
    let mut events = client.follow(report.job, cursor.position, live).await?;
    // How many events of the cursor's frame this connection told.
    let mut told = 0;
    while let Some(followed) = events.next().await {
        match followed? {
            Followed::Notice(line) => progress.say(output::line(&line)),
            Followed::History { through, history } => {
                let seen = cursor.seen;
                (*cursor, told) = (Cursor { position: through.next(), events: 0, seen }, 0);
                report.tell_all(*history, progress);
            }
            Followed::Recorded { position, wall_ms, event, seen } => {
                if position != cursor.position {
                    (*cursor, told) = (Cursor { position, events: 0, seen }, 0);
                }
                told += 1;
                if told <= cursor.events {
                    continue;
                }
                cursor.events = told;
                report.tell(wall_ms, &event, progress);
                listener.hear(&event).await;
            }
        }
    }
    Ok(())
}

pub async fn reconnect(target: &Target, lost: CallError, lost_at: Instant) -> Result<Client, Failure> {
    while lost_at.elapsed() < RECONNECT {
        tokio::time::sleep(RECONNECT_PAUSE).await;
        if let Ok(client) = Client::connect(target).await {
            return Ok(client);
        }
    }
    Err(lost.into())
}
