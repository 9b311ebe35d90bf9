//! Executors: what a worker does with an assignment. They fetch, compute, and hand back a result.
//!
//! Adding a kind of work is adding an ability here. An executor knows nothing of leases or sessions.

mod input;
mod learn;
mod command;
mod left;
mod shards;
mod memory;
mod step;
mod wasm;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use convoke_core::event::{Completion, Extras, Failure, Metrics, Timing, Usage};
use convoke_core::message::Assignment;
use convoke_core::{Form, Payload};
use convoke_ml::{ComputeError, Dataset, DatasetError, ModelError};
use convoke_store::digest_of;
use convoke_wire::CallError;
use convoke_wire::program::{self, ProgramError};
use convoke_wire::protocol::SESSION_BLOB_BYTES_MAX;

use crate::cache::Cache;
use crate::compute::Compute;
use crate::devices::{Devices, TooMuch};
use crate::wasm::WasmError;
use command::Sources;
use input::{Input, Inputs};
use learn::Models;
use shards::Shards;

pub use command::CommandError;
pub(crate) use command::Commands;
pub(crate) use wasm::Guests;
pub use wasm::{MODULE_BYTES_MAX, ModuleError, WasmLimits, check_module};

/// What a worker is able to do.
pub use convoke_wire::job::{COMMAND, EVALUATE, MOMENTS, PREDICT, STEP, TRAIN, WASM};

/// Those that run a client's commands, as the worker's own user. Who may ask for that, a client's token says.
pub(crate) const COMMANDS: [&str; 2] = [COMMAND, STEP];

/// The most bytes that a command or a guest may write to stdout: they are its result.
const STDOUT_BYTES_MAX: usize = 256 << 20;
/// The most bytes of a result that travels in its report and stands in the journal; a larger one is a blob.
const RESULT_INLINE_BYTES_MAX: usize = 512;
/// The most bytes of a log that does.
const LOG_INLINE_BYTES_MAX: usize = 1024;

/// What the log's lines call a task. Of a round's tasks each has its line, and of those before the first; of others, which
/// have none, there may be thousands a second.
pub(crate) fn line_name(assignment: &Assignment) -> Option<&str> {
    match assignment.ability.as_str() {
        MOMENTS => Some("preparing: moments"),
        ability => (assignment.round > 0).then_some(ability),
    }
}

/// What executors need.
pub(crate) struct Executors {
    cache: Arc<Cache>,
    compute: Compute,
    inputs: Inputs,
    models: Arc<Models>,
    shards: Arc<Shards>,
    guests: Arc<Guests>,
    /// Where this worker runs commands.
    commands: Option<Arc<Commands>>,
    devices: Devices,
}

/// What an executor brought.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) completion: Completion,
    /// The bytes of small blobs that the completion names: they go ahead of the report.
    pub(crate) blobs: Vec<Bytes>,
}

/// What an executor says that brought nothing.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    /// As in [`Executed`].
    pub(crate) blobs: Vec<Bytes>,
}

/// Why an executor brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecuteError {
    #[error("this worker cannot `{0}`")]
    NoSuchAbility(String),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("the task is given {given}, where `{ability}` takes {expected}")]
    WrongInput { ability: &'static str, given: &'static str, expected: &'static str },
    #[error("cannot fetch what the task needs: {0}")]
    Fetch(CallError),
    #[error("cannot store the result: {0}")]
    Store(CallError),
    #[error("the base cannot be used: {0}")]
    Base(#[from] ModelError),
    #[error("the shard cannot be used: {0}")]
    Shard(#[from] DatasetError),
    #[error(transparent)]
    Compute(#[from] ComputeError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Wasm(#[from] WasmError),
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    #[error("the results that the task reads have more than {bytes_max} bytes: a smaller --fan-in gives it fewer")]
    PartsTooLarge { bytes_max: usize },
    #[error("the computation panicked")]
    Panicked,
    #[error("it was stopped before it began")]
    Stopped,
    #[error("the executor panicked")]
    Broken,
    /// What was run died, and left more than words.
    #[error("{}", .0.failure.reason)]
    Died(Box<Death>),
}

/// What a program that was run left, having failed.
#[derive(Debug)]
pub(crate) struct Death {
    failure: Failure,
    /// The end of its log.
    log: Bytes,
}

/// What a computation brings.
#[derive(Debug, Default)]
struct Computed {
    result: Bytes,
    /// The most bytes of a result that is not a blob; [`RESULT_INLINE_BYTES_MAX`] where it is `None`.
    inline_bytes_max: Option<usize>,
    samples: u64,
    metrics: Metrics,
    usage: Usage,
    /// The end of its log.
    log: Bytes,
    /// A list of the files that it left, which are stored.
    files: Bytes,
}

/// What a task is given.
struct Given {
    assignment: Arc<Assignment>,
    /// The program's bytes, wherever they were: one that names many files is a blob.
    program: Bytes,
    base: Bytes,
    input: Input,
}

impl Executors {
    pub(crate) fn new(
        cache: Cache,
        compute: Compute,
        guests: Guests,
        commands: Option<Commands>,
        devices: Devices,
    ) -> Self {
        let cache = Arc::new(cache);
        let (guests, commands) = (Arc::new(guests), commands.map(Arc::new));
        let (models, shards) = (Arc::new(Models::new()), Arc::new(Shards::new(cache.bytes_max())));
        Self { inputs: Inputs::new(cache.clone()), cache, compute, models, shards, guests, commands, devices }
    }

    /// Keeps a blob that arrived with the session.
    pub(crate) fn keep(&self, bytes: Bytes) {
        self.cache.keep(bytes);
    }

    /// Runs an assignment to its end, or until `stop` is set.
    pub(crate) async fn run(
        &self,
        assignment: Arc<Assignment>,
        queued: Duration,
        stop: Arc<AtomicBool>,
    ) -> Result<Executed, Failed> {
        let began = Instant::now();
        let executed = self.execute(assignment, began, queued, stop).await;
        match executed {
            Ok(executed) => Ok(executed),
            Err(ExecuteError::Died(death)) => {
                let Death { mut failure, log } = *death;
                let mut blobs = Vec::new();
                // A log that cannot be stored is no reason to say nothing of the death.
                failure.log = self.extra(log, LOG_INLINE_BYTES_MAX, &mut blobs).await.ok().flatten();
                Err(Failed { failure, blobs })
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn execute(
        &self,
        assignment: Arc<Assignment>,
        began: Instant,
        queued: Duration,
        stop: Arc<AtomicBool>,
    ) -> Result<Executed, ExecuteError> {
        let (program, base, input) = tokio::try_join!(
            self.bytes(&assignment.program),
            self.bytes(&assignment.base),
            self.inputs.of(&assignment)
        )?;
        let given = Given { assignment, program, base, input };
        let fetched = Instant::now();
        let (started, computed) = self.compute(given, stop).await?;
        let computed_at = Instant::now();
        let mut blobs = Vec::new();
        let inline_max = computed.inline_bytes_max.unwrap_or(RESULT_INLINE_BYTES_MAX);
        let result = self.store(computed.result, inline_max, &mut blobs).await?;
        let extras = Extras {
            files: self.extra(computed.files, 0, &mut blobs).await?,
            log: self.extra(computed.log, LOG_INLINE_BYTES_MAX, &mut blobs).await?,
        };
        let timing = Timing {
            queued_us: micros(queued + started.saturating_duration_since(fetched)),
            fetch_us: micros(fetched - began),
            compute_us: micros(computed_at.saturating_duration_since(started)),
            report_us: micros(computed_at.elapsed()),
        };
        let Computed { samples, metrics, usage, .. } = computed;
        Ok(Executed { completion: Completion { result, samples, metrics, timing, usage, extras }, blobs })
    }

    /// Computes, and says when that began: whatever is ready waits for a thread.
    async fn compute(&self, given: Given, stop: Arc<AtomicBool>) -> Result<(Instant, Computed), ExecuteError> {
        let shards = self.shards.clone();
        match given.assignment.ability.as_str() {
            MOMENTS => self.on_thread(given, stop, move |given, _| learn::moments(given, &shards)).await,
            TRAIN => self.on_thread(given, stop, move |given, stop| learn::train(given, &shards, stop)).await,
            EVALUATE => self.on_thread(given, stop, move |given, _| learn::evaluate(given, &shards)).await,
            PREDICT => {
                let models = self.models.clone();
                self.on_thread(given, stop, move |given, _| learn::predict(given, &models)).await
            }
            WASM => self.guest(given, stop).await,
            COMMAND => self.command(given, stop).await,
            STEP => self.step(given, stop).await,
            other => Err(ExecuteError::NoSuchAbility(other.to_owned())),
        }
    }

    async fn guest(&self, given: Given, stop: Arc<AtomicBool>) -> Result<(Instant, Computed), ExecuteError> {
        let program: program::Wasm = given.program("WebAssembly program")?;
        let module = self.cache.get_at_most(program.module_digest()?, wasm::MODULE_BYTES_MAX);
        let module = module.await.map_err(ExecuteError::Fetch)?;
        let guests = self.guests.clone();
        self.on_thread(given, stop, move |given, stop| guests.run(&program, &module, given, stop)).await
    }

    async fn command(&self, given: Given, stop: Arc<AtomicBool>) -> Result<(Instant, Computed), ExecuteError> {
        let commands = self.commands()?;
        let command: program::Command = given.program("command")?;
        let sources = self.sources(&command).await?;
        // Given back once the processes have gone.
        let taken = self.devices.take(&given.assignment.needs).await?;
        let stopping = stop.clone();
        let run = move |given: &Given, stop: &Arc<AtomicBool>| {
            command::run(&commands, &command, given, &sources, taken.environment(), stop)
        };
        let (started, (computed, left)) = self.on_thread(given, stop, run).await?;
        Ok((started, Computed { files: left::store(left, &self.cache, &stopping).await?, ..computed }))
    }

    async fn step(&self, given: Given, stop: Arc<AtomicBool>) -> Result<(Instant, Computed), ExecuteError> {
        let commands = self.commands()?;
        let (command, kind) = step::read(&given)?;
        let sources = self.sources(&command).await?;
        let taken = self.devices.take(&given.assignment.needs).await?;
        let run = move |given: &Given, stop: &Arc<AtomicBool>| {
            step::run(&commands, &command, kind, given, &sources, taken.environment(), stop)
        };
        self.on_thread(given, stop, run).await
    }

    fn commands(&self) -> Result<Arc<Commands>, ExecuteError> {
        self.commands.clone().ok_or_else(|| ExecuteError::NoSuchAbility(COMMAND.to_owned()))
    }

    /// The bytes of the files that a command brings along.
    async fn sources(&self, command: &program::Command) -> Result<Sources, ExecuteError> {
        let mut sources = Sources::new();
        for digest in command.blobs()? {
            sources.insert(digest, self.cache.get(digest).await.map_err(ExecuteError::Fetch)?);
        }
        Ok(sources)
    }

    /// Runs on a thread that computes, and says when that began. What was to stop before does not begin.
    async fn on_thread<T: Send + 'static>(
        &self,
        given: Given,
        stop: Arc<AtomicBool>,
        work: impl FnOnce(&Given, &Arc<AtomicBool>) -> Result<T, ExecuteError> + Send + 'static,
    ) -> Result<(Instant, T), ExecuteError> {
        let work = move || {
            let started = Instant::now();
            if stop.load(Ordering::Relaxed) {
                return Err(ExecuteError::Stopped);
            }
            let Assignment { task, ability, .. } = &*given.assignment;
            match line_name(&given.assignment) {
                Some(name) => tracing::info!(%task, "{name} begins"),
                None => tracing::debug!(%task, "{ability} begins"),
            }
            Ok((started, work(&given, &stop)?))
        };
        self.compute.run(work).await.ok_or(ExecuteError::Panicked)?
    }

    async fn bytes(&self, payload: &Payload) -> Result<Bytes, ExecuteError> {
        match payload.form() {
            Form::Inline(bytes) => Ok(Bytes::from_owner(bytes.clone())),
            Form::Blob(digest) => self.cache.get(*digest).await.map_err(ExecuteError::Fetch),
        }
    }

    /// Puts a result where its payload says: in place, where it has at most so many bytes, or in a blob, which goes ahead of
    /// the report where it is small.
    async fn store(&self, bytes: Bytes, inline_max: usize, ahead: &mut Vec<Bytes>) -> Result<Payload, ExecuteError> {
        if bytes.len() <= inline_max
            && let Ok(payload) = Payload::inline(&bytes)
        {
            return Ok(payload);
        }
        if bytes.len() <= SESSION_BLOB_BYTES_MAX {
            let payload = Payload::blob(digest_of(&bytes));
            ahead.push(bytes);
            return Ok(payload);
        }
        Ok(Payload::blob(self.cache.put(bytes).await.map_err(ExecuteError::Store)?))
    }

    /// The same for what comes beside a result, if there is anything.
    async fn extra(
        &self,
        bytes: Bytes,
        inline_max: usize,
        ahead: &mut Vec<Bytes>,
    ) -> Result<Option<Payload>, ExecuteError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        self.store(bytes, inline_max, ahead).await.map(Some)
    }
}

impl From<ExecuteError> for Failed {
    fn from(error: ExecuteError) -> Self {
        Self { failure: Failure::of(error.to_string()), blobs: Vec::new() }
    }
}

impl Given {
    /// What is to be run.
    fn program<M: program::Message + Default>(&self, what: &'static str) -> Result<M, ExecuteError> {
        Ok(program::read_bytes(what, &self.program)?)
    }

    /// The data set that is the task's own blob.
    fn dataset(&self, ability: &'static str, shards: &Shards) -> Result<Arc<Dataset>, ExecuteError> {
        match &self.input {
            Input::Entry { digest, bytes, .. } => Ok(shards.read(*digest, bytes)?),
            other => Err(ExecuteError::WrongInput { ability, given: other.kind(), expected: "an entry of a manifest" }),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
