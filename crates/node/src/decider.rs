//! The loop around the coordinator's machine: receive → decide → append → tell.
//!
//! It owns the machine and the journal, on a thread of its own, and takes everything that waits for it in one turn, so
//! that one commit serves many. It never waits for a peer: whoever does not keep up with its queue loses its session. It
//! does wait for the disk: while that takes no frame, nobody is told anything, and nothing is lost.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use convoke_core::coordinator::credentials::Credentials;
use convoke_core::coordinator::roots::Roots;
use convoke_core::coordinator::{Combine, Config, Coordinator, Decision, Input, Notice, Output, Reply};
use convoke_core::message::{HEARTBEAT_MS, Hello, ToWorker};
use convoke_core::{Event, Identity, JobId, Position, RequestId, SessionId, Term};
use convoke_store::blobs::BlobError;
use convoke_store::holds::Holds;
use convoke_store::journal::{AppendError, EncodeError, EncodedFrame, Frame, Journal, ReadError, append_once};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::calls::Call;
use crate::clock::Clock;
use crate::history::{History, HistoryError};
use crate::rollback::Takeover;
use crate::stall::{Patience, Stall};
use crate::waiting;

/// How many commands may wait for the decider before their senders do.
pub(crate) const COMMANDS_MAX: usize = 1_024;
/// How many messages may wait for one worker: more than one turn has for it, where it is the only one. That is two for each
/// command, and what fills a new worker's slots.
pub(crate) const OUTBOX_MAX: usize = 4 * TURN_MAX;
/// How many commands are taken in one turn, and so share a commit.
const TURN_MAX: usize = 512;
/// The longest that a deadline is slept for: the wall clock may be set meanwhile.
const LOOK_EVERY_MS: u64 = 60_000;

/// Something for the decider.
#[expect(clippy::large_enum_variant, reason = "a command is handed over once, and a submission is rare")]
pub(crate) enum Command {
    /// A worker opened a session.
    Connected { session: SessionId, hello: Hello, identity: Option<Identity>, outbox: mpsc::Sender<ToWorker> },
    /// Something that happened.
    Input(Input),
    /// The collector asks what is needed, as far as it is durable.
    Roots { reply: oneshot::Sender<Roots> },
    /// A client's call.
    Call { call: Call, reply: oneshot::Sender<Reply> },
    /// A blob could not be kept for longer than anybody waits.
    GiveUp(BlobError),
}

/// The decider cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// The journal cannot be read.
    #[error("cannot read the journal: {0}")]
    Read(#[from] HistoryError),
    /// What was decided does not fit in a frame.
    #[error("a decision does not fit in the journal: {0}")]
    Encode(#[from] EncodeError),
    /// The journal refuses.
    #[error("cannot write the journal: {0}")]
    Append(#[from] AppendError),
    /// A blob cannot be kept.
    #[error("cannot keep a result: {0}")]
    Blob(BlobError),
}

/// Something to tell those who follow jobs; recorded nowhere.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// The job that it is about, if it is about one.
    pub(crate) job: Option<JobId>,
    pub(crate) line: String,
}

/// Where the decider's orders go.
pub(crate) struct Outlets {
    pub(crate) combines: mpsc::Sender<Combine>,
    pub(crate) notices: broadcast::Sender<Said>,
    pub(crate) position: watch::Sender<Position>,
    /// What the disk says while it takes no frames.
    pub(crate) stalled: watch::Sender<Option<String>>,
    pub(crate) holds: Arc<Holds>,
    /// Who is let in, and who no more.
    pub(crate) credentials: watch::Sender<Arc<Credentials>>,
}

pub(crate) struct Decider {
    machine: Coordinator,
    journal: Box<dyn Journal>,
    clock: Clock,
    patience: Patience,
    stall: Stall,
    outboxes: HashMap<SessionId, mpsc::Sender<ToWorker>>,
    calls: HashMap<RequestId, oneshot::Sender<Reply>>,
    /// Who waits for the roots.
    asked: Vec<oneshot::Sender<Roots>>,
    next_request: u64,
    outlets: Outlets,
    takeover: Takeover,
    /// Sessions that did not keep up: the machine has yet to hear of them.
    overrun: Vec<SessionId>,
    /// The job whose deadline comes first, and when that is: unix milliseconds.
    deadline: Option<(u64, JobId)>,
}

impl Decider {
    /// Takes over the journal where its history ends, and makes that durable. If the disk does not take even that, it fails
    /// at once: nobody counts on this coordinator yet.
    pub(crate) fn start(
        config: Config,
        mut journal: Box<dyn Journal>,
        history: &History,
        outlets: Outlets,
        patience: Patience,
    ) -> Result<Self, DecideError> {
        let durable = history.durable()?;
        let before = (durable.term(), journal.tail().position);
        let (machine, mut decision) = Coordinator::start(0, config, durable);
        let frame = encode(&*journal, machine.term(), &decision.events)?;
        let at = journal.tail().position.next();
        append_once(&mut *journal, at, &frame)?;
        // The next snapshot makes up for the trim.
        if let Err(error) = history.check_snapshot() {
            tracing::warn!("the journal is kept whole for now: {error}");
            decision.outputs.retain(|output| !matches!(output, Output::Trim { .. }));
        }
        let takeover = Takeover::new(before, machine.term(), journal.tail());
        let mut decider = Self {
            machine,
            journal,
            clock: Clock::start(Instant::now()),
            patience,
            stall: Stall::default(),
            outboxes: HashMap::new(),
            calls: HashMap::new(),
            asked: Vec::new(),
            next_request: 1,
            outlets,
            takeover,
            overrun: Vec::new(),
            deadline: None,
        };
        decider.deadline = decider.first_deadline();
        decider.tell(&decision.events, decision.outputs);
        Ok(decider)
    }

    /// Runs until `stop` is ready, or all who could tell it anything are gone. What waits then was acknowledged to nobody.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut stop: oneshot::Receiver<()>,
    ) -> Result<(), DecideError> {
        loop {
            let wake = self.machine.poll_timeout().map_or_else(far_away, |due| self.clock.instant(due));
            let wake = wake.min(self.deadline.map_or_else(far_away, |(at_ms, _)| instant_of(at_ms)));
            let mut turn = Vec::new();
            tokio::select! {
                biased;
                _ = &mut stop => return Ok(()),
                taken = commands.recv_many(&mut turn, TURN_MAX) => if taken == 0 { return Ok(()) },
                () = tokio::time::sleep_until(wake.into()) => turn.push(Command::Input(Input::Tick)),
            }
            if let Some((_, job)) = self.deadline.filter(|(at_ms, _)| unix_ms() >= *at_ms) {
                turn.push(Command::Input(Input::DeadlinePassed { job }));
            }
            let mut decisions = Vec::with_capacity(turn.len());
            for command in turn {
                if let Some(input) = self.input(command)? {
                    decisions.push(self.decide(input));
                }
            }
            tokio::select! {
                biased;
                carried_out = self.carry_out(decisions) => carried_out?,
                // Only while it waits for the disk: the frame that is lost was told to nobody.
                _ = &mut stop => return Ok(()),
            }
            // Only now is all of it durable. Whoever asked may be gone.
            for asked in std::mem::take(&mut self.asked) {
                drop(asked.send(self.machine.durable().roots()));
            }
        }
    }

    /// Where it took the journal over.
    pub(crate) fn takeover(&self) -> Takeover {
        self.takeover
    }

    fn decide(&mut self, input: Input) -> Decision {
        let now = self.clock.read(Instant::now(), self.machine.poll_timeout());
        self.machine.decide(now, input)
    }

    fn input(&mut self, command: Command) -> Result<Option<Input>, DecideError> {
        Ok(Some(match command {
            Command::GiveUp(error) => return Err(DecideError::Blob(error)),
            Command::Roots { reply } => {
                self.asked.push(reply);
                return Ok(None);
            }
            Command::Input(input) => {
                if let Input::Disconnected { session } = &input {
                    self.outboxes.remove(session);
                }
                input
            }
            Command::Connected { session, hello, identity, outbox } => {
                self.outboxes.insert(session, outbox);
                Input::Connected { session, hello, identity }
            }
            Command::Call { call, reply } => {
                let request = RequestId(self.next_request);
                self.next_request += 1;
                self.calls.insert(request, reply);
                call.input(request, unix_ms())
            }
        }))
    }

    /// Appends what was decided, then tells it.
    async fn carry_out(&mut self, mut decisions: Vec<Decision>) -> Result<(), DecideError> {
        loop {
            let (events, outputs): (Vec<_>, Vec<_>) =
                decisions.into_iter().map(|decision| (decision.events, decision.outputs)).unzip();
            let events: Vec<_> = events.into_iter().filter(|events| !events.is_empty()).collect();
            self.append(&events).await?;
            self.tell(events.iter().flatten(), outputs.into_iter().flatten());
            // Losing a session may lose others: each turn drops at least one, so this ends.
            let Some(session) = self.overrun.pop() else { return Ok(()) };
            decisions = vec![self.decide(Input::Disconnected { session })];
        }
    }

    /// Tells what is durable, and performs what follows from it.
    fn tell<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>, outputs: impl IntoIterator<Item = Output>) {
        let position = self.journal.tail().position;
        self.outlets.position.send_if_modified(|known| std::mem::replace(known, position) != position);
        let (mut lets_in_others, mut changes_deadline) = (false, false);
        for event in events {
            self.outlets.holds.hear(event);
            changes_deadline |= match event {
                Event::JobSubmitted { spec, .. } => spec.deadline_ms.is_some(),
                Event::JobFinished { job, .. } => self.deadline.is_some_and(|(_, first)| first == *job),
                _ => false,
            };
            lets_in_others |= matches!(event, Event::Enrolled { .. } | Event::IdentityRemoved { .. });
            crate::log::event(event);
        }
        if lets_in_others {
            self.outlets.credentials.send_replace(Arc::new(self.machine.durable().credentials().clone()));
        }
        if changes_deadline {
            self.deadline = self.first_deadline();
        }
        outputs.into_iter().for_each(|output| self.perform(output));
    }

    /// Deadlines are people's: they go by the wall clock, whatever becomes of it.
    fn first_deadline(&self) -> Option<(u64, JobId)> {
        self.machine.durable().live_jobs().filter_map(|(id, job)| Some((job.spec.deadline_ms?, id))).min()
    }

    /// Appends the events of several decisions as one frame; as more, divided between decisions, if one does not hold
    /// them.
    async fn append(&mut self, decisions: &[Vec<Event>]) -> Result<(), DecideError> {
        let mut parts: Vec<_> = Some(decisions).into_iter().filter(|decisions| !decisions.is_empty()).collect();
        while let Some(part) = parts.pop() {
            match encode(&*self.journal, self.machine.term(), &part.concat()) {
                Ok(frame) => self.append_frame(&frame).await?,
                Err(EncodeError::FrameTooLarge { .. }) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Appends a frame, and tries again for as long as the disk does not take it: the same frame at the same position, so
    /// that one which arrived after all is not there twice.
    async fn append_frame(&mut self, frame: &EncodedFrame) -> Result<(), DecideError> {
        let at = self.journal.tail().position.next();
        loop {
            let failed = match append_once(&mut *self.journal, at, frame) {
                Ok(()) => break,
                Err(error) if is_of_the_disk(&error) => error,
                Err(error) => return Err(error.into()),
            };
            let (reason, now) = (failed.to_string(), Instant::now());
            if self.stall.fails(&reason, now) {
                tracing::error!("the coordinator waits: {reason}");
                self.outlets.stalled.send_replace(Some(reason));
            }
            if self.stall.outlasts(self.patience, now) {
                return Err(failed.into());
            }
            self.wait(now + self.stall.pause()).await;
        }
        if self.stall.ends() {
            tracing::info!("the coordinator goes on");
            self.outlets.stalled.send_replace(None);
        }
        Ok(())
    }

    /// Lets time pass. The workers hear meanwhile that the coordinator is there, and nothing else: otherwise they would all
    /// dial again and again.
    async fn wait(&mut self, until: Instant) {
        loop {
            for outbox in self.outboxes.values() {
                // Whose queue is full has enough to hear.
                drop(outbox.try_send(ToWorker::Heartbeat));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_millis(HEARTBEAT_MS))).await;
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Send { session, message } => {
                let Some(outbox) = self.outboxes.get(&session) else { return };
                if let Err(mpsc::error::TrySendError::Full(_)) = outbox.try_send(message) {
                    tracing::warn!(%session, "a worker does not take its messages: its session ends");
                    self.outboxes.remove(&session);
                    self.overrun.push(session);
                }
            }
            Output::Close { session, reason } => {
                tracing::debug!(%session, reason, "session closed");
                self.outboxes.remove(&session);
            }
            // The queue has room for every stage that can be closed; the thread may be gone, with everything else.
            Output::Combine(combine) => drop(self.outlets.combines.try_send(combine)),
            // What is left is trimmed with the next snapshot, or by the next coordinator.
            Output::Trim { through } => {
                if let Err(error) = self.journal.trim(through) {
                    tracing::warn!("the journal is not trimmed through position {through}: {error}");
                }
            }
            // Whoever asked may be gone: then nobody waits for it.
            Output::Reply { request, reply } => {
                self.calls.remove(&request).map(|call| call.send(reply));
            }
            Output::Notice(notice) => {
                crate::log::notice(&notice);
                // Each task's way is in the events; the placement of each is for the log alone.
                if self.outlets.notices.receiver_count() > 0 && !matches!(notice, Notice::Assigned { .. }) {
                    drop(self.outlets.notices.send(Said { job: notice.job(), line: waiting::notice(&notice) }));
                }
            }
        }
    }
}

/// Whether another try may append the frame.
fn is_of_the_disk(error: &AppendError) -> bool {
    match error {
        AppendError::Store(error) | AppendError::Read(ReadError::Store(error)) => error.is_of_the_disk(),
        _ => false,
    }
}

/// The frame that comes next.
fn encode(journal: &dyn Journal, term: Term, events: &[Event]) -> Result<EncodedFrame, EncodeError> {
    Frame::encode(journal.tail().hash, term, unix_ms(), events)
}

/// The time on the wall.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    u64::try_from(since).unwrap_or(u64::MAX)
}

/// When it will be that time on the wall, or a look is due at how the clock has been set meanwhile.
fn instant_of(wall_ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(wall_ms.saturating_sub(unix_ms()).min(LOOK_EVERY_MS))
}

/// When nothing is due.
fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(3_600)
}
