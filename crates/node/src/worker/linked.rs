//! A worker's link of the day: what it says is heard, and what the machine says goes out over it.
//!
//! What a dropped link still reports is heard by nobody. When to dial, the machine decides.

use std::time::Instant;

use convoke_core::event::Failure;
use convoke_core::message::{FromWorker, Hello};
use convoke_core::worker::Input;
use convoke_wire::CallError;
use convoke_wire::channel::ConnectError;
use convoke_wire::seen::Seen;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::{Worker, WorkerError};
use crate::link::{self, LinkError, LinkEvent, Way};
use crate::reports::Reports;

/// How many link events may wait for the loop.
const EVENTS_MAX: usize = 256;

/// The connection of the day. What a dropped one still reports is heard by nobody.
pub(super) struct Link {
    events: mpsc::Receiver<LinkEvent>,
    heard: mpsc::Sender<LinkEvent>,
    channel: Option<Channel>,
    /// Once the session is open.
    reports: Option<Reports>,
    tasks: JoinSet<()>,
}

impl Worker {
    pub(super) fn on_link(&mut self, event: LinkEvent) -> Result<Option<Input>, WorkerError> {
        Ok(Some(match event {
            LinkEvent::Connected(channel) => {
                self.connection.send_replace(Some(channel.clone()));
                self.link.iter_mut().for_each(|link| link.channel = Some(channel.clone()));
                Input::Connected
            }
            LinkEvent::Message(message) => {
                self.runs.hear(&message);
                Input::Received(message)
            }
            LinkEvent::Seen(seen) => {
                self.seen = seen;
                return Ok(None);
            }
            LinkEvent::Blob(bytes) => {
                self.executors.keep(bytes);
                return Ok(None);
            }
            LinkEvent::Ended(error) => {
                self.link = None;
                if self.ends_with(&error) {
                    return Err(error.into());
                }
                tracing::debug!("no session with {}: {error}", self.options.way);
                Input::Disconnected
            }
        }))
    }

    /// Whether the end of a link is the worker's. One that listens waits for the next, and only says why.
    fn ends_with(&mut self, error: &LinkError) -> bool {
        let refused = match error {
            // It may get its newer journal back; this worker was told of what is in it.
            LinkError::Call(CallError::RolledBack(_)) => {
                if self.refused.is_news(&error.to_string(), Instant::now()) {
                    tracing::error!("no session: {error}");
                }
                return false;
            }
            // It was removed, or its certificate has ended: no coordinator of this cluster will have it.
            LinkError::Call(CallError::Denied(_)) => return true,
            LinkError::Call(CallError::Version(_) | CallError::Refused(_)) => true,
            // Who is there may be an impostor: that is worth a line, even if its own coordinator comes back.
            LinkError::Connect(ConnectError::Untrusted { .. }) => {
                if self.refused.is_news(&error.to_string(), Instant::now()) {
                    tracing::error!("{error}");
                }
                false
            }
            _ => false,
        };
        if !refused {
            return self.gives_up();
        }
        if let Way::Listen { .. } = self.options.way {
            if self.refused.is_news(&error.to_string(), Instant::now()) {
                tracing::warn!("no session: {error}");
            }
            return false;
        }
        // A coordinator that knew this worker may refuse it for a while; one of another version never will do.
        !self.joined || matches!(error, LinkError::Call(CallError::Version(_))) || self.gives_up()
    }

    /// Whether a coordinator that was never there has been dialled for long enough.
    pub(super) fn gives_up(&self) -> bool {
        match self.options.way {
            Way::Dial { wait, .. } => !self.joined && self.started.elapsed() >= wait,
            Way::Listen { .. } => false,
        }
    }

    pub(super) fn dial(&mut self) {
        let (heard, events) = mpsc::channel(EVENTS_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(self.options.way.clone().connect(self.options.membership.clone(), heard.clone()));
        self.link = Some(Link { events, heard, channel: None, reports: None, tasks });
    }

    pub(super) fn greet(&mut self, hello: Hello) {
        let Some(link) = &mut self.link else { return };
        let Some(channel) = link.channel.clone() else { return };
        let seen = match self.options.way {
            Way::Dial { .. } => self.seen,
            // Whoever dials is its coordinator, and the next one may have another journal.
            Way::Listen { .. } => Seen::default(),
        };
        let (frames, session) = link::open(channel, hello, seen, link.heard.clone());
        link.reports = Some(Reports::new(frames));
        link.tasks.spawn(session);
    }

    pub(super) fn send(&mut self, message: FromWorker) {
        let Some(reports) = self.link.as_mut().and_then(|link| link.reports.as_mut()) else { return };
        let (blobs, message) = match message {
            FromWorker::Done { lease, completion } => match self.runs.blobs(lease) {
                Some(blobs) => (blobs, FromWorker::Done { lease, completion }),
                // A report must not name what nobody has.
                None => (&[][..], FromWorker::Failed { lease, failure: Failure::of("the result is not at hand") }),
            },
            FromWorker::Failed { lease, failure } => match self.runs.blobs(lease) {
                Some(blobs) => (blobs, FromWorker::Failed { lease, failure }),
                None => (&[][..], FromWorker::Failed { lease, failure: Failure { log: None, ..failure } }),
            },
            message => (&[][..], message),
        };
        let more = !self.running.is_empty();
        if !reports.send(blobs, message, more, Instant::now()) {
            self.overflow();
        }
    }

    /// When reports that wait are to go.
    pub(super) fn reports_due(&self) -> Option<Instant> {
        self.link.as_ref()?.reports.as_ref()?.due()
    }

    pub(super) fn send_reports(&mut self) {
        let reports = self.link.as_mut().and_then(|link| link.reports.as_mut());
        if reports.is_some_and(|reports| !reports.flush(Instant::now())) {
            self.overflow();
            self.hear_of_overflow();
        }
    }

    /// The machine counts on every report being heard, or on a new session, in which it reports again.
    fn overflow(&mut self) {
        tracing::debug!("the coordinator does not keep up: a message did not fit into the session");
        self.link = None;
        self.overflowed = true;
    }

    pub(super) fn hear_of_overflow(&mut self) {
        if std::mem::take(&mut self.overflowed) {
            self.handle(Input::Disconnected);
        }
    }
}

pub(super) async fn next_event(link: Option<&mut Link>) -> LinkEvent {
    match link {
        Some(link) => link.events.recv().await.unwrap_or(LinkEvent::Ended(LinkError::Ended)),
        None => std::future::pending().await,
    }
}
