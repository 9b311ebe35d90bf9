//! Commands: a program of the worker's machine, run on an item, an integer or results, in a directory of its own.
//!
//! What it writes to stdout is the result; files in `$CONVOKE_OUT` come back beside it. How a process is started, fed and
//! ended it does not know.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use convoke_core::Digest;
use convoke_core::event::{Exit, Failure, Usage};
use convoke_core::message::Assignment;
use convoke_wire::program::{Command, Feed, ProgramError, Variable};

use super::memory::Memory;
use super::{Computed, Death, ExecuteError, Given, Input, STDOUT_BYTES_MAX};
use crate::process::collect::{self, CollectError, Written};
use crate::process::environment::{VariableError, View};
use crate::process::files::{FileCache, FilesError, Given as GivenFile};
use crate::process::guard::DIRECTORY_VARIABLE;
use crate::process::scratch::{Scratch, ScratchError, ScratchRoot};
use crate::process::{self, Ended, How, Invocation, RunError};

/// The most that it may leave in files.
const LEFT: collect::Limits = collect::Limits { entries_max: 10_000, bytes_max: 1 << 30 };
/// What stands for the item in an argument.
const PLACEHOLDER: &str = "{}";

/// What commands need of their worker.
pub(crate) struct Commands {
    scratch: ScratchRoot,
    files: FileCache,
    /// For what becomes of the files that steps leave.
    memory: Arc<Memory>,
}

/// A command cannot be run, or what it left cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It did not run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There is no place for it to work.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// It does not get its files.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A variable cannot be one.
    #[error(transparent)]
    Variable(#[from] VariableError),
    /// What it left is not taken.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// It does not get what it works on.
    #[error("cannot write {path}, which the command is to read: {source}")]
    Give {
        /// As the command knows it.
        path: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// An argument is text.
    #[error("the item is not text, so that it cannot stand in an argument: give it on stdin")]
    NotText,
}

/// The bytes of the files that a command brings along.
pub(super) type Sources = HashMap<Digest, Bytes>;

/// The files that a command left, in its directory as long as this is kept.
pub(super) struct Left {
    pub(super) files: Vec<Written>,
    /// None where there are none.
    _room: Option<Room>,
}

/// A command's directory, ready for it.
pub(super) struct Room {
    scratch: Scratch,
    placed: process::files::Placed,
}

impl Commands {
    /// With directories below `parent`, and files kept for later tasks of at most so many bytes.
    pub(crate) fn open(parent: &Path, files_bytes_max: u64) -> Result<Self, CommandError> {
        let scratch = ScratchRoot::open(parent)?;
        let files = FileCache::open(&scratch, files_bytes_max);
        let files = files.map_err(|source| CommandError::Give { path: "files", source })?;
        Ok(Self { scratch, files, memory: Arc::default() })
    }

    /// Memory that was used before.
    pub(super) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Makes a directory for a command, with the files that it brings along.
    pub(super) fn room(&self, command: &Command, sources: &Sources) -> Result<Room, ExecuteError> {
        let mut given = Vec::with_capacity(command.files.len());
        for (file, digest) in command.files.iter().zip(command.blobs()?) {
            given.push(GivenFile { path: file.path.clone(), digest, executable: file.executable });
        }
        let room = || -> Result<Room, CommandError> {
            let scratch = self.scratch.scratch()?;
            let read = |digest| sources.get(&digest).cloned().ok_or(io::ErrorKind::NotFound.into());
            let placed = self.files.place(&scratch, &given, read)?;
            Ok(Room { scratch, placed })
        };
        Ok(room()?)
    }
}

impl Room {
    /// Where the command works.
    pub(super) fn directory(&self) -> &Path {
        self.scratch.directory()
    }

    /// Where the command leaves files that come back.
    fn out(&self) -> &Path {
        self.scratch.out()
    }

    /// Runs a command here to its end.
    pub(super) fn run(
        &mut self,
        assignment: &Assignment,
        call: Call<'_>,
        stop: &AtomicBool,
    ) -> Result<Ended, ExecuteError> {
        let variables: Vec<(String, String)> = call.environment.iter().map(pair).collect();
        let mut convoke = vec![
            (DIRECTORY_VARIABLE, self.directory().into()),
            ("CONVOKE_JOB", assignment.task.job.to_string().into()),
            ("CONVOKE_INDEX", assignment.task.index.to_string().into()),
            ("CONVOKE_SEED", assignment.seed.to_string().into()),
        ];
        convoke.extend(call.convoke);
        convoke.extend(call.resources.iter().map(|(name, value)| (name.as_str(), value.into())));
        let view = View {
            slots: assignment.needs.slots,
            directory: self.directory(),
            variables: &variables,
            convoke: &convoke,
        };
        let invocation = Invocation {
            argv: call.argv,
            environment: view.environment(|name| std::env::var_os(name)).map_err(CommandError::from)?,
            directory: self.directory().to_owned(),
            stdin: call.stdin,
            stdout_bytes_max: STDOUT_BYTES_MAX,
            time_max: assignment.timeout_ms.map(Duration::from_millis),
            mark: format!("{}.{}.{}", assignment.task, assignment.attempt, assignment.lease),
        };
        let ended = process::run(&invocation, stop).map_err(CommandError::from)?;
        if ended.nobody_left {
            self.scratch.nobody_is_left();
        }
        let name = invocation.argv.first().map_or("", String::as_str);
        judge(name, &ended, assignment)?;
        self.placed.check().map_err(CommandError::from)?;
        Ok(ended)
    }
}

/// How a command is called.
pub(super) struct Call<'a> {
    pub(super) argv: Vec<String>,
    pub(super) environment: &'a [Variable],
    pub(super) convoke: Vec<(&'static str, OsString)>,
    /// What the task has of the worker's resources.
    pub(super) resources: Vec<(String, String)>,
    pub(super) stdin: Bytes,
}

/// Runs a command on what a task is given.
pub(super) fn run(
    commands: &Commands,
    command: &Command,
    given: &Given,
    sources: &Sources,
    resources: Vec<(String, String)>,
    stop: &AtomicBool,
) -> Result<(Computed, Left), ExecuteError> {
    let Given { assignment, input, .. } = given;
    let mut room = commands.room(command, sources)?;
    let mut call = Call {
        argv: command.argv.clone(),
        environment: &command.environment,
        convoke: vec![("CONVOKE_OUT", room.out().into())],
        resources,
        stdin: Bytes::new(),
    };
    match command.feed() {
        Feed::Unspecified => return Err(ProgramError::Missing { field: "Command.feed" }.into()),
        Feed::Nothing => {}
        Feed::Stdin => call.stdin = input.joined(),
        Feed::Argument => {
            let item = String::from_utf8(input.joined().into()).map_err(|_| CommandError::NotText)?;
            for argument in &mut call.argv {
                if argument.contains(PLACEHOLDER) {
                    *argument = argument.replace(PLACEHOLDER, &item);
                }
            }
            call.convoke.push(("CONVOKE_ITEM", item.into()));
        }
    }
    let ended = room.run(assignment, call, stop)?;
    let files = collect::collect(room.out(), &LEFT).map_err(CommandError::from)?;
    // Where there is nothing to be read, the room is free at once.
    let room = (!files.is_empty()).then_some(room);
    let usage = usage(&ended);
    let computed = Computed { result: ended.stdout, log: ended.stderr, usage, ..Computed::default() };
    Ok((computed, Left { files, _room: room }))
}

/// What it took of the machine.
pub(super) fn usage(ended: &Ended) -> Usage {
    Usage { cpu_us: ended.cpu_us, peak_memory_bytes: ended.peak_memory_bytes }
}

/// Whether a command succeeded; if not, how it died.
fn judge(name: &str, ended: &Ended, assignment: &Assignment) -> Result<(), ExecuteError> {
    let (exit, reason) = match ended.how {
        How::Exited(0) => return Ok(()),
        How::Exited(status) => (Some(Exit::Status(status)), format!("`{name}` exited with status {status}")),
        How::Signalled(signal) => {
            (Some(Exit::Signal(signal)), format!("`{name}` was killed by {}", signal_name(signal)))
        }
        How::Stopped => (None, format!("`{name}` was stopped")),
        How::TimedOut => {
            let seconds = assignment.timeout_ms.unwrap_or_default() as f64 / 1_000.0;
            (None, format!("`{name}` ran longer than {seconds} s"))
        }
        How::TooMuchOutput { limit } => (None, format!("`{name}` wrote more than {limit} bytes to stdout")),
    };
    let failure = Failure { reason, exit, usage: usage(ended), log: None };
    Err(ExecuteError::Died(Box::new(Death { failure, log: ended.stderr.clone() })))
}

fn signal_name(number: i32) -> String {
    match nix::sys::signal::Signal::try_from(number) {
        Ok(signal) => format!("signal {number} ({signal})"),
        Err(_) => format!("signal {number}"),
    }
}

fn pair(variable: &Variable) -> (String, String) {
    (variable.name.clone(), variable.value.clone())
}

impl Input {
    /// As a command reads it: an item after its header, an integer in decimal, results end to end.
    pub(super) fn joined(&self) -> Bytes {
        match self {
            Self::Entry { bytes, .. } => bytes.clone(),
            Self::Item { header, item } if header.is_empty() => item.clone(),
            Self::Item { header, item } => [&header[..], item].concat().into(),
            Self::Number(number) => number.to_string().into(),
            Self::Parts(parts) => {
                let mut joined = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
                parts.iter().for_each(|part| joined.extend_from_slice(part));
                joined.freeze()
            }
        }
    }
}
