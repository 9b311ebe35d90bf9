//! The loop around the worker's machine: receive → handle → carry out.
//!
//! It owns the machine, the link of the day and the running executors. It decides nothing, except that a coordinator
//! which was never there, or speaks another protocol, ends a worker that dialled it.

mod linked;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use convoke_core::message::{Assignment, Hello, SLOTS_MAX};
use convoke_core::worker::{Config, Input, Load, Notice, Output, Run, Worker as Machine};
use convoke_core::{Ability, SpecError, WorkerId};
use convoke_wire::seen::Seen;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tonic::transport::Channel;

use crate::cache::Cache;
use crate::compute::Compute;
use crate::devices::Devices;
use crate::executor::{
    COMMANDS, CommandError, Commands, EVALUATE, ExecuteError, Executed, Executors, Failed, Guests, MOMENTS, PREDICT,
    TRAIN, WASM, WasmLimits, line_name,
};
use crate::link::{LinkError, LinkEvent, Way};
use crate::membership::Membership;
use crate::runs::Runs;
use crate::trouble::Trouble;
use linked::{Link, next_event};

/// How many small tasks wait at the threads that compute, so that one begins when another ends: shorter ones than it takes to
/// wake this loop are many.
const AHEAD: u32 = 16;
/// How long a leaving worker waits for what it runs to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a leaving worker waits for its last words to arrive.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(500);

/// What a worker is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// How it comes by its connection with the coordinator.
    pub way: Way,
    /// What people call the worker.
    pub name: String,
    /// How many tasks it runs at a time.
    pub slots: u32,
    /// What it counts beside slots.
    pub devices: Devices,
    /// How busy it is with other things.
    pub load: Load,
    /// The most bytes that its cache holds.
    pub cache_bytes: u64,
    /// Where it runs commands, each in a directory of its own below this; it runs none where this is `None`.
    pub commands: Option<PathBuf>,
    /// What it lets WebAssembly programs have.
    pub wasm: WasmLimits,
    /// Where the credentials that it shows are kept, renewed; none inside the coordinator's process.
    pub membership: Option<Membership>,
}

/// Why a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Whoever runs it told it to.
    Told,
    /// It was drained.
    Drained,
}

/// A worker ends otherwise than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// There is no coordinator, or it does not want this worker.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// It cannot be called that.
    #[error(transparent)]
    Name(#[from] SpecError),
    /// The system gives no randomness.
    #[error("cannot draw a worker id: {0}")]
    Random(getrandom::Error),
    /// There is nowhere to run commands.
    #[error("cannot run commands: {0}")]
    Commands(#[source] CommandError),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
}

/// A worker that runs.
pub struct Worker {
    options: Options,
    machine: Machine,
    started: Instant,
    /// Whether a session ever stood: from then on the coordinator is dialled for ever.
    joined: bool,
    /// What was said of coordinators that refused.
    refused: Trouble,
    /// What a coordinator said last of its journal.
    seen: Seen,
    /// Whether it was drained, and has nothing left to do.
    drained: bool,
    /// Whether the machine gave up on a silent link.
    hung_up: bool,
    link: Option<Link>,
    /// For fetching and storing blobs.
    connection: watch::Sender<Option<Channel>>,
    executors: Arc<Executors>,
    /// Whether the link was dropped, and the machine has yet to hear of it.
    overflowed: bool,
    runs: Runs,
    running: JoinSet<Result<Executed, Failed>>,
    /// Which run each of them is.
    tasks: HashMap<Id, Run>,
}

impl Worker {
    /// A worker that has yet to run.
    pub fn new(options: Options) -> Result<Self, WorkerError> {
        let slots = options.slots.clamp(1, SLOTS_MAX);
        convoke_core::check_name("worker", &options.name)?;
        options.devices.counted().check()?;
        let commands = COMMANDS.into_iter().filter(|_| options.commands.is_some());
        let abilities = [MOMENTS, TRAIN, EVALUATE, PREDICT, WASM].into_iter().chain(commands);
        let abilities = abilities.map(Ability::new).collect::<Result<_, _>>()?;
        let hello = Hello {
            worker: WorkerId(getrandom::u64().map_err(WorkerError::Random)?),
            name: options.name.clone(),
            slots,
            abilities,
            profile: convoke_ml::NUMERIC_PROFILE.to_owned(),
            hardware: hardware(),
            holding: Vec::new(),
            draining: false,
            resources: options.devices.counted().clone(),
        };
        // A busy worker is told to wait, or to give a task back, when its turn comes, and not before.
        let ahead = if options.load.probability > 0.0 { 0 } else { AHEAD };
        let (connection, connections) = watch::channel(None);
        let compute = Compute::start(slots as usize).map_err(WorkerError::Thread)?;
        let guests = Guests::new(options.wasm, slots);
        let commands = options.commands.as_deref().map(|folder| Commands::open(folder, options.cache_bytes));
        let commands = commands.transpose().map_err(WorkerError::Commands)?;
        let executors = Executors::new(
            Cache::new(options.cache_bytes, connections),
            compute,
            guests,
            commands,
            options.devices.clone(),
        );
        Ok(Self {
            machine: Machine::new(0, Config { hello, load: options.load, ahead }),
            options,
            started: Instant::now(),
            joined: false,
            refused: Trouble::default(),
            seen: Seen::default(),
            drained: false,
            hung_up: false,
            link: None,
            connection,
            executors: Arc::new(executors),
            overflowed: false,
            runs: Runs::default(),
            running: JoinSet::new(),
            tasks: HashMap::new(),
        })
    }

    /// Runs until `leave` is ready, and then gives back what it holds; or until it is drained.
    pub async fn run(mut self, leave: impl Future<Output = ()>) -> Result<End, WorkerError> {
        let mut leave = pin!(leave);
        // Ends with the worker.
        let mut renewing = JoinSet::new();
        if let Some(membership) = self.options.membership.clone() {
            renewing.spawn(membership.keep_renewed(self.connection.subscribe()));
        }
        loop {
            let due = self.machine.poll_timeout().map(|at| self.started + Duration::from_millis(at));
            let input = tokio::select! {
                () = &mut leave => break,
                () = at(due) => Input::Tick,
                () = at(self.reports_due()) => {
                    self.send_reports();
                    continue;
                }
                Some(ended) = self.running.join_next_with_id() => match self.ended(ended) {
                    Some(input) => input,
                    None => continue,
                },
                event = next_event(self.link.as_mut()) => match self.on_link(event)? {
                    Some(input) => input,
                    None => continue,
                },
            };
            self.handle(input);
            if self.link.is_none() && self.hung_up && self.gives_up() {
                return Err(LinkError::Silent.into());
            }
            if self.drained {
                break;
            }
        }
        let end = if self.drained { End::Drained } else { End::Told };
        self.leave().await;
        Ok(end)
    }

    /// Says goodbye, and waits until the coordinator has heard it, but not for long.
    async fn leave(mut self) {
        // What it gives back begins elsewhere at once, and some of it must not run twice at a time.
        self.runs.stop_all();
        let stopped = async { while self.running.join_next().await.is_some() {} };
        drop(tokio::time::timeout(STOP_TIMEOUT, stopped).await);
        self.handle(Input::Leave);
        let heard = async { while !matches!(next_event(self.link.as_mut()).await, LinkEvent::Ended(_)) {} };
        drop(tokio::time::timeout(LEAVE_TIMEOUT, heard).await);
    }

    fn handle(&mut self, input: Input) {
        // Rounded up, so that a timer that woke the loop is due.
        let now = self.started.elapsed().as_micros().div_ceil(1_000);
        for output in self.machine.handle(u64::try_from(now).unwrap_or(u64::MAX), input) {
            self.perform(output);
        }
        self.hear_of_overflow();
    }

    /// An executor came to its end; one that panicked has failed, as for any other reason.
    fn ended(&mut self, ended: Result<(Id, Result<Executed, Failed>), JoinError>) -> Option<Input> {
        let (task, outcome) = ended.unwrap_or_else(|error| (error.id(), Err(ExecuteError::Broken.into())));
        let run = self.tasks.remove(&task)?;
        let outcome = match outcome {
            Ok(executed) => {
                self.runs.ended(run, executed.blobs);
                Ok(executed.completion)
            }
            Err(failed) => {
                self.runs.ended(run, failed.blobs);
                Err(failed.failure)
            }
        };
        Some(Input::Finished { run, outcome })
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Dial => self.dial(),
            Output::Greet(hello) => self.greet(hello),
            Output::Send(message) => self.send(message),
            Output::HangUp => {
                self.link = None;
                self.hung_up = true;
            }
            Output::End => self.drained = true,
            Output::Start { run, assignment, queued_ms } => self.start(run, assignment, queued_ms),
            Output::Abort(run) => self.runs.abort(run),
            Output::Notice(notice) => match (&notice, &self.options.way) {
                (Notice::Joined { .. }, way) => {
                    self.joined = true;
                    self.refused.ends();
                    tracing::info!(coordinator = %way, "{notice}");
                }
                (Notice::Lost, Way::Listen { .. }) => {
                    tracing::info!("lost the coordinator; waiting for it to dial again")
                }
                _ => tracing::info!("{notice}"),
            },
        }
    }

    fn start(&mut self, run: Run, assignment: Assignment, queued_ms: u64) {
        let stop = self.runs.start(run, &assignment);
        let (executors, assignment) = (self.executors.clone(), Arc::new(assignment));
        let task = self.running.spawn(async move {
            let outcome = executors.run(assignment.clone(), Duration::from_millis(queued_ms), stop).await;
            match (&outcome, line_name(&assignment)) {
                (Ok(done), Some(name)) => {
                    let seconds = done.completion.timing.compute_us as f64 / 1e6;
                    tracing::info!(task = %assignment.task, seconds, "{name} done");
                }
                (Ok(_), None) => tracing::debug!(task = %assignment.task, "{} done", assignment.ability),
                (Err(failed), _) => tracing::debug!(task = %assignment.task, "{}", failed.failure.reason),
            }
            outcome
        });
        self.tasks.insert(task.id(), run);
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// The machine, for people.
fn hardware() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} {}, {cores} cores", std::env::consts::OS, std::env::consts::ARCH)
}
