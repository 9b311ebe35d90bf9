//! Divisible jobs: flags become programs, inputs and a spec, and what those name is stored on the way.
//!
//! It submits nothing; how a job is followed it does not know.

mod along;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use convoke_wire::Client;
use convoke_wire::core::{Attempts, Digest, JobSpec, MapReduce, Payload, Plan, Split};
use convoke_wire::items::Items;
use convoke_wire::job::{self, COMMAND, PREDICT, WASM};
use convoke_wire::program::{self, Command, Feed, File, Manifest, Message, Predict, Range, Variable, Wasm};

use crate::args::{CommandArgs, RunArgs, TaskArgs};
use crate::data::digest_of;
use crate::failure::Failure;
use crate::input::{Array, Content, Input};
use crate::upload::{self, digest_of_content, upload};
use along::{cannot_read, files_with, is_executable, store_file, store_module};

/// The most bytes of a program or a list that a spec carries in place.
const INLINE_BYTES_MAX: usize = 6 * 1024;

/// What each task runs.
pub enum Program {
    /// A command.
    Command {
        /// Its words.
        argv: Vec<String>,
        /// What it finds.
        args: CommandArgs,
        /// How it is given its item.
        feed: Feed,
    },
    /// A WebAssembly program.
    Wasm {
        /// The module's file.
        module: PathBuf,
        /// The most bytes of its memory, where that is said.
        memory_bytes_max: Option<u64>,
        /// Whether it may tell the time.
        clock: bool,
    },
    /// A model, on rows.
    Predict {
        /// The model's file.
        model: PathBuf,
        /// Whether all classes' probabilities are wanted, and not the most probable one's label.
        probabilities: bool,
    },
}

/// What tasks are cut from.
pub enum Source {
    /// Nothing: there is one task.
    Once,
    /// Integers.
    Array(Array),
    /// A text or a directory.
    Input(Box<Input>),
}

/// A divisible job, as the flags have it.
pub struct Divisible<'a> {
    /// What the job is called.
    pub name: String,
    /// What each task runs.
    pub program: Program,
    /// On what.
    pub source: Source,
    /// How results become one, and how many at a time; where it is `None`, all are wanted.
    pub reduce: Option<(Program, u32)>,
    /// What tasks need.
    pub tasks: &'a TaskArgs,
    /// How they are placed.
    pub run: &'a RunArgs,
}

/// A job, ready to be submitted.
pub struct Prepared {
    /// What is to be done.
    pub spec: JobSpec,
    /// How many tasks there are.
    pub count: u32,
    /// What their inputs are called.
    pub labels: Labels,
}

/// What tasks' inputs are called.
pub enum Labels {
    /// There is one task.
    None,
    /// The integer.
    Range(Range),
    /// By the manifest.
    Items(Box<Items>),
}

impl Labels {
    /// Of a job's input.
    pub fn of(split: Split, input: &[u8]) -> Option<Self> {
        match split {
            Split::Range => program::read_bytes("range", input).ok().map(Self::Range),
            Split::Entries | Split::Items => {
                let manifest: Manifest = program::read_bytes("manifest", input).ok()?;
                Some(Self::Items(Box::new(Items::new(manifest).ok()?)))
            }
            Split::Groups { .. } => None,
        }
    }

    /// What a task's input is called.
    pub fn label(&self, index: u32) -> String {
        match self {
            Self::None => String::new(),
            Self::Range(range) => range.number(index).map_or_else(|_| String::new(), |number| number.to_string()),
            Self::Items(items) => items.label(index),
        }
    }
}

impl Divisible<'_> {
    /// Stores what the job names, and makes its spec.
    pub async fn prepare(self, client: &mut Client, progress: impl Fn(u32)) -> Result<Prepared, Failure> {
        let program = stored(client, &self.program).await?;
        let reduce = match &self.reduce {
            None => None,
            Some((reduce, fan_in)) => Some(job::reduce(stored(client, reduce).await?, *fan_in)),
        };
        let (input, labels) = match self.source {
            Source::Once => (job::Input::range(&Range { first: 0, step: 1 }, 1), Labels::None),
            Source::Array(Array { range, count }) => (job::Input::range(&range, count), Labels::Range(range)),
            Source::Input(input) => {
                let uploaded = upload(client, *input, progress).await?;
                let input = client.payload_of(&uploaded.manifest).await?;
                let items = Items::new(uploaded.manifest).map_err(Failure::failed)?;
                (job::Input::items(input, uploaded.items), Labels::Items(Box::new(items)))
            }
        };
        let base = match &self.program {
            Program::Predict { model, .. } => Payload::blob(store_file(client, model).await?),
            Program::Command { .. } | Program::Wasm { .. } => Payload::default(),
        };
        let count = input.count;
        let mut plan = MapReduce { base, reduce, keep_going: self.tasks.keep_going, ..job::map(program, input) };
        plan.map.needs = self.tasks.needs.needs(self.tasks.slots)?;
        let spec = JobSpec {
            name: self.name,
            plan: Plan::MapReduce(plan),
            policy: self.run.policy,
            seed: self.tasks.seed,
            attempts: self.tasks.attempts(&self.program),
            deadline_ms: self.tasks.deadline_ms(),
            priority: self.run.priority,
        };
        spec.check().map_err(Failure::bad_input)?;
        Ok(Prepared { spec, count, labels })
    }
}

impl TaskArgs {
    /// A WebAssembly program or a model reaches nothing, so that it may run as often as it likes; of a command only its user
    /// knows.
    fn attempts(&self, program: &Program) -> Attempts {
        let idempotent = self.idempotent || !matches!(program, Program::Command { .. });
        let timeout_ms = self.timeout.map(|timeout| timeout.as_millis() as u64);
        Attempts { timeout_ms, retries: self.retries, idempotent }
    }

    fn deadline_ms(&self) -> Option<u64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.deadline.map(|deadline| now.saturating_add(deadline).as_millis() as u64)
    }
}

/// A program; what it brings along is stored.
async fn stored(client: &mut Client, program: &Program) -> Result<job::Program, Failure> {
    match program {
        Program::Command { argv, args, feed } => {
            let command = command(client, argv.clone(), args, *feed).await?;
            Ok(job::Program::new(COMMAND, client.payload_of(&command).await?))
        }
        Program::Wasm { module, memory_bytes_max, clock } => {
            let digest = store_module(client, module).await?;
            let (memory_bytes_max, clock) = (*memory_bytes_max, *clock);
            let arguments = vec![module.file_name().unwrap_or_default().to_string_lossy().into_owned()];
            let wasm = Wasm { module: digest.0.to_vec(), memory_bytes_max, clock, arguments, ..Wasm::default() };
            Ok(job::Program::new(WASM, client.payload_of(&wasm).await?))
        }
        Program::Predict { probabilities, .. } => {
            let predict = Predict { probabilities: *probabilities };
            Ok(job::Program::new(PREDICT, program::inline(&predict)))
        }
    }
}

/// A command's program; the files that it brings along are stored.
pub async fn command(
    client: &mut Client,
    argv: Vec<String>,
    args: &CommandArgs,
    feed: Feed,
) -> Result<Command, Failure> {
    let (command, files) = command_and_files(argv, args, feed)?;
    upload::store_all(client, &files, |_| {}).await?;
    Ok(command)
}

/// The same, with the files yet to be stored.
pub fn command_and_files(
    argv: Vec<String>,
    args: &CommandArgs,
    feed: Feed,
) -> Result<(Command, Vec<(Digest, Content)>), Failure> {
    let (mut files, mut contents) = (Vec::new(), Vec::new());
    for (path, file) in files_with(&args.with)? {
        let metadata = file.metadata().map_err(|error| cannot_read(&file, &error))?;
        let content = Content::File { path: file, bytes: metadata.len() };
        let digest = digest_of_content(&content)?;
        let executable = is_executable(&metadata);
        files.push(File { path, digest: digest.0.to_vec(), executable, bytes: metadata.len() });
        contents.push((digest, content));
    }
    let environment = args.env.iter().map(|text| variable(text)).collect::<Result<_, _>>()?;
    Ok((Command { argv, environment, files, feed: feed.into() }, contents))
}

/// The words of a command line, or the shell that is to read it.
pub fn words(line: &str, shell: bool) -> Result<Vec<String>, Failure> {
    if shell {
        return Ok(shell_words(line));
    }
    let words = shlex::split(line).filter(|words| !words.is_empty());
    words.ok_or_else(|| {
        Failure::bad_input(format!("the command `{line}` has no words, or a quote that is not closed"))
            .hint("quote as for a shell; --shell asks for one")
    })
}

/// A shell that reads a line. The item is a variable to it: as a part of the line, it could be more than a word.
pub fn shell_words(line: &str) -> Vec<String> {
    vec!["/bin/sh".to_owned(), "-c".to_owned(), line.replace("{}", "\"$CONVOKE_ITEM\"")]
}

fn variable(text: &str) -> Result<Variable, Failure> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => {
            let value = std::env::var(text).map_err(|error| {
                Failure::bad_input(format!("--env {text}: cannot pass it on: {error}"))
                    .hint(format!("give it a value, as in --env {text}=VALUE"))
            })?;
            (text, value)
        }
    };
    if name.is_empty() || name.contains('\0') || value.contains('\0') {
        return Err(Failure::bad_input(format!("--env {text}: that is no variable")).hint("write NAME=VALUE"));
    }
    Ok(Variable { name: name.to_owned(), value })
}

/// A message in place, or in a blob where it is large, which is yet to be stored.
pub fn payload_or_content(message: &impl Message) -> (Payload, Option<(Digest, Content)>) {
    let bytes = program::encode(message);
    if bytes.len() <= INLINE_BYTES_MAX
        && let Ok(payload) = Payload::inline(&bytes)
    {
        return (payload, None);
    }
    let digest = digest_of(&bytes);
    (Payload::blob(digest), Some((digest, Content::Bytes(bytes.into()))))
}
