//! The loop around the coordinator's machine: receive → decide → append → tell.
//!
//! It owns the machine and the journal, on a thread of its own, and takes everything that waits for it in one turn, so
//! that one commit serves many. It never waits for a peer: whoever does not keep up with its queue loses its session.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use convoke_core::coordinator::durable::{Durable, Misfit};
use convoke_core::coordinator::{Combine, Config, Coordinator, Decision, Input, Notice, Output, Reply};
use convoke_core::message::{Hello, ToWorker};
use convoke_core::{Event, JobId, JobSpec, Position, RequestId, SessionId};
use convoke_store::journal::{AppendError, EncodeError, Frame, Journal, ReadError, append_once};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// How many commands may wait for the decider before their senders do.
pub(crate) const COMMANDS_MAX: usize = 1_024;
/// How many messages may wait for one worker.
pub(crate) const OUTBOX_MAX: usize = 1_024;
/// How many commands are taken in one turn, and so share a commit.
const TURN_MAX: usize = 256;
/// How many frames are read at a time when the journal is folded.
const FOLD_FRAMES: usize = 512;

/// Something for the decider.
#[expect(clippy::large_enum_variant, reason = "a command is handed over once, and a submission is rare")]
pub(crate) enum Command {
    /// A worker opened a session.
    Connected { session: SessionId, hello: Hello, outbox: mpsc::Sender<ToWorker> },
    /// Something that happened.
    Input(Input),
    /// A client's call.
    Call { call: Call, reply: oneshot::Sender<Reply> },
    /// The coordinator ends.
    Stop,
}

/// A client's call.
pub(crate) enum Call {
    Submit { job: JobId, spec: Box<JobSpec>, submitter: String, missing: Vec<convoke_core::Digest> },
    Cancel { job: JobId },
    Drain { worker: String },
    Inspect,
}

/// The decider cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// The journal cannot be read.
    #[error("cannot read the journal: {0}")]
    Read(#[from] ReadError),
    /// The journal's events do not follow from each other.
    #[error("the journal cannot be folded at position {position}: {source}")]
    Fold {
        /// Where.
        position: Position,
        /// What does not fit.
        source: Misfit,
    },
    /// What was decided does not fit in a frame.
    #[error("a decision does not fit in the journal: {0}")]
    Encode(#[from] EncodeError),
    /// The journal refuses.
    #[error("cannot write the journal: {0}")]
    Append(#[from] AppendError),
}

/// Where the decider's orders go.
pub(crate) struct Outlets {
    pub(crate) combines: mpsc::Sender<Combine>,
    pub(crate) notices: broadcast::Sender<Notice>,
    pub(crate) position: watch::Sender<Position>,
}

pub(crate) struct Decider {
    machine: Coordinator,
    journal: Box<dyn Journal>,
    started: Instant,
    outboxes: HashMap<SessionId, mpsc::Sender<ToWorker>>,
    calls: HashMap<RequestId, oneshot::Sender<Reply>>,
    next_request: u64,
    outlets: Outlets,
    /// Sessions that did not keep up: the machine has yet to hear of them.
    overrun: Vec<SessionId>,
}

/// Folds a journal from its beginning.
pub(crate) fn fold(journal: &dyn Journal) -> Result<Durable, DecideError> {
    let reader = journal.reader();
    let mut durable = Durable::default();
    let mut next = Position(1);
    loop {
        let frames = reader.read(next, FOLD_FRAMES)?;
        let Some((last, _)) = frames.last() else { return Ok(durable) };
        next = last.next();
        for (position, frame) in &frames {
            let applied = frame.records.iter().try_for_each(|event| durable.apply(event));
            applied.map_err(|source| DecideError::Fold { position: *position, source })?;
        }
    }
}

impl Decider {
    /// Takes over what the journal holds, and makes that durable.
    pub(crate) fn start(config: Config, journal: Box<dyn Journal>, outlets: Outlets) -> Result<Self, DecideError> {
        let durable = fold(&*journal)?;
        let (machine, decision) = Coordinator::start(0, config, durable);
        let mut decider = Self {
            machine,
            journal,
            started: Instant::now(),
            outboxes: HashMap::new(),
            calls: HashMap::new(),
            next_request: 1,
            outlets,
            overrun: Vec::new(),
        };
        decider.carry_out(vec![decision])?;
        Ok(decider)
    }

    /// Runs until it is told to stop, or all who could tell it are gone.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Result<(), DecideError> {
        loop {
            let due = self.machine.poll_timeout().map(|at| self.started + Duration::from_millis(at));
            let wake = tokio::time::sleep_until(due.unwrap_or_else(far_away).into());
            let mut turn = Vec::new();
            tokio::select! {
                taken = commands.recv_many(&mut turn, TURN_MAX) => if taken == 0 { return Ok(()) },
                () = wake => turn.push(Command::Input(Input::Tick)),
            }
            let mut decisions = Vec::with_capacity(turn.len());
            let mut stop = false;
            for command in turn {
                match self.input(command) {
                    Some(input) => decisions.push(self.decide(input)),
                    None => stop = true,
                }
            }
            self.carry_out(decisions)?;
            if stop {
                return Ok(());
            }
        }
    }

    fn decide(&mut self, input: Input) -> Decision {
        // Rounded up, so that a timer that woke the loop is due.
        let now = self.started.elapsed().as_micros().div_ceil(1_000);
        self.machine.decide(u64::try_from(now).unwrap_or(u64::MAX), input)
    }

    fn input(&mut self, command: Command) -> Option<Input> {
        Some(match command {
            Command::Stop => return None,
            Command::Input(input) => {
                if let Input::Disconnected { session } = &input {
                    self.outboxes.remove(session);
                }
                input
            }
            Command::Connected { session, hello, outbox } => {
                self.outboxes.insert(session, outbox);
                Input::Connected { session, hello }
            }
            Command::Call { call, reply } => {
                let request = RequestId(self.next_request);
                self.next_request += 1;
                self.calls.insert(request, reply);
                match call {
                    Call::Submit { job, spec, submitter, missing } => {
                        Input::Submit { request, job, spec: *spec, submitter, missing }
                    }
                    Call::Cancel { job } => Input::Cancel { request, job },
                    Call::Drain { worker } => Input::Drain { request, worker },
                    Call::Inspect => Input::Inspect { request },
                }
            }
        })
    }

    /// Appends what was decided, then tells it.
    fn carry_out(&mut self, decisions: Vec<Decision>) -> Result<(), DecideError> {
        let (events, outputs): (Vec<_>, Vec<_>) =
            decisions.into_iter().map(|decision| (decision.events, decision.outputs)).unzip();
        let events: Vec<_> = events.into_iter().filter(|events| !events.is_empty()).collect();
        if !events.is_empty() {
            self.append(&events)?;
            self.outlets.position.send_replace(self.journal.tail().position);
            events.iter().flatten().for_each(crate::log::event);
        }
        outputs.into_iter().flatten().for_each(|output| self.perform(output));
        // Losing a session may lose others: each turn drops at least one, so this ends.
        while let Some(session) = self.overrun.pop() {
            let decision = self.decide(Input::Disconnected { session });
            self.carry_out(vec![decision])?;
        }
        Ok(())
    }

    /// Appends the events of several decisions as one frame; as more, divided between decisions, if one does not hold
    /// them.
    fn append(&mut self, decisions: &[Vec<Event>]) -> Result<(), DecideError> {
        let tail = self.journal.tail();
        let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let wall_ms = u64::try_from(wall_ms).unwrap_or(u64::MAX);
        match Frame::encode(tail.hash, self.machine.term(), wall_ms, &decisions.concat()) {
            Ok(frame) => Ok(append_once(&mut *self.journal, tail.position.next(), &frame)?),
            Err(EncodeError::FrameTooLarge { .. }) if decisions.len() > 1 => {
                let (first, second) = decisions.split_at(decisions.len() / 2);
                self.append(first)?;
                self.append(second)
            }
            Err(error) => Err(error.into()),
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
            // Whoever asked may be gone: then nobody waits for it.
            Output::Reply { request, reply } => {
                self.calls.remove(&request).map(|call| call.send(reply));
            }
            Output::Notice(notice) => {
                crate::log::notice(&notice);
                drop(self.outlets.notices.send(notice));
            }
        }
    }
}

/// When nothing is due.
fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(3_600)
}
