//! A user's command as a process of this machine: started, fed, read, stopped, and gone with all that it started.
//!
//! [`run`] is blocking, and meant for the thread of a slot. What the command is for, and where its files come from and go to,
//! this does not know: `environment` says what a command sees, `scratch` where it works, `files` puts things there, `collect`
//! takes away what it left, `orphans` finds what left its group, `ending` ends all before this process does, `guard` after it
//! was killed.
//!
//! What a command may use is what the worker's user may: processes (`ulimit -u`, a cgroup's `pids.max`), memory, disk. A fork
//! bomb meets those limits, not any of Convoke's; it is in the command's group, and dies with it at once.

pub mod collect;
mod ending;
pub mod environment;
pub mod files;
pub mod guard;
mod orphans;
pub mod scratch;
mod spare;
mod program;
mod spawn;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::sys::signal::Signal;

pub use ending::end_all;
pub use orphans::{AdoptError, adopt_orphans};
use spawn::{Child, Happened, Stream};

/// How long a group has between being asked to end and being killed.
const GRACE: Duration = Duration::from_millis(200);
/// How long the command is left alone, at first and at most, before the stop flag is looked at. A short command ends before.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// The same, where the end of a process must be asked for.
const PAUSE_ASKING_MIN: Duration = Duration::from_millis(1);
const PAUSE_ASKING_MAX: Duration = Duration::from_millis(10);
/// How often, while a command runs, those are looked for that left their group and died.
const ORPHANS_EVERY: Duration = Duration::from_secs(1);
/// How much of the end of stderr is kept.
const STDERR_BYTES_MAX: usize = 64 * 1024;
/// What each command finds in its environment: its attempt's mark, by which those are known that left its group.
const MARK_VARIABLE: &str = "CONVOKE_ATTEMPT";

/// The variables that a command sees.
pub type Environment = BTreeMap<OsString, OsString>;

/// A command to run.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The program and its arguments. A name is looked up in the environment's `PATH`, a path in the directory.
    pub argv: Vec<String>,
    /// All that it sees, but for `CONVOKE_ATTEMPT`.
    pub environment: Environment,
    /// Where it starts: an absolute path.
    pub directory: PathBuf,
    /// What it can read; it need not.
    pub stdin: Bytes,
    /// How much it may write to stdout.
    pub stdout_bytes_max: usize,
    /// How long it may take.
    pub time_max: Option<Duration>,
    /// Tells this attempt from all others on this machine.
    pub mark: String,
}

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// Of itself, with a code.
    Exited(i32),
    /// By a signal that did not come from here.
    Signalled(i32),
    /// The stop flag was set.
    Stopped,
    /// It took longer than it may.
    TimedOut,
    /// It wrote more than it may.
    TooMuchOutput {
        /// How much it may write.
        limit: usize,
    },
}

/// A command that ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How.
    pub how: How,
    /// What it wrote to stdout, up to the limit.
    pub stdout: Bytes,
    /// The end of what it wrote to stderr, 64 KiB at most.
    pub stderr: Bytes,
    /// User and system time, of all that it waited for too.
    pub cpu_us: u64,
    /// The most memory that one of its processes had at once. The system counts from what the worker itself has at most; of a
    /// command that stays below, this is the most that was seen while it ran, and 0 if it was over before.
    pub peak_memory_bytes: u64,
    /// Whether nothing that it started can still run, as far as the system tells.
    pub nobody_left: bool,
}

/// Why a command did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no program to run.
    #[error("the command names no program")]
    NoProgram,
    /// A name that is nowhere.
    #[error("no program `{program}` in PATH, which is {path}")]
    NotFound {
        /// Its name.
        program: String,
        /// Where it was looked for.
        path: String,
    },
    /// A script whose first line names a program that is not there, or a program whose loader is not.
    #[error("cannot start `{program}`: it is there, but the interpreter that it names is not")]
    Interpreter {
        /// Its name.
        program: String,
    },
    /// The system did not start it.
    #[error("cannot start `{program}`: {error}")]
    Start {
        /// Its name.
        program: String,
        /// What the system says.
        error: io::Error,
    },
    /// There is nowhere to start it.
    #[error("cannot start a command in {directory}: {error}", directory = directory.display())]
    Directory {
        /// Where.
        directory: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// No pipe to it.
    #[error("cannot make a pipe to the command: {0}")]
    Pipe(io::Error),
    /// There is no time left for it.
    #[error("this worker ends: it starts no command any more")]
    Ending,
    /// Somebody else in this process reaped it.
    #[error("cannot learn how the command ended: {0}")]
    Reap(io::Error),
}

/// Runs a command to its end; soon after `stop` is set, that is its end. What is left of its group is killed, whoever holds
/// its stdout open is not waited for.
pub fn run(invocation: &Invocation, stop: &AtomicBool) -> Result<Ended, RunError> {
    let _running = ending::Running::begin().ok_or(RunError::Ending)?;
    let began = Instant::now();
    let mut environment = invocation.environment.clone();
    environment.insert(MARK_VARIABLE.into(), invocation.mark.clone().into());
    let start = || spawn::start(&invocation.argv, &environment, &invocation.directory, &invocation.stdin);
    let mut child = orphans::starting(&invocation.mark, start, |child| child.pid)?;
    let mut output = Output { stdout: Vec::new(), stdout_bytes_max: invocation.stdout_bytes_max, ..Output::default() };
    let deadline = invocation.time_max.and_then(|time_max| began.checked_add(time_max));
    let (ending, peak_memory_seen) = attend(&mut child, &mut output, deadline, stop);

    // The leader is dead and not reaped, so its group is still its own.
    child.signal(Signal::SIGKILL);
    for stream in [Stream::Stdout, Stream::Stderr] {
        child.drain(stream, |bytes| output.take(stream, bytes));
    }
    let pid = child.pid;
    let (reaped, nobody_left) = orphans::ended(&invocation.mark, pid, || child.reap());
    let reaped = reaped.map_err(RunError::Reap)?;
    let how = match ending {
        Some(how) => how,
        None if output.is_too_much => How::TooMuchOutput { limit: output.stdout_bytes_max },
        None => how_it_ended(reaped.status),
    };
    Ok(Ended {
        how,
        stdout: output.stdout.into(),
        stderr: output.stderr.end().into(),
        cpu_us: reaped.cpu_us,
        peak_memory_bytes: reaped.peak_memory_bytes.or(peak_memory_seen).unwrap_or(0),
        nobody_left,
    })
}

/// Sees a command through to the end of its leader. Says why it was ended, if it was, and the most memory that was seen.
fn attend(
    child: &mut Child,
    output: &mut Output,
    deadline: Option<Instant>,
    stop: &AtomicBool,
) -> (Option<How>, Option<u64>) {
    let (mut pause, pause_max) =
        if child.announces_its_end() { (PAUSE_MIN, PAUSE_MAX) } else { (PAUSE_ASKING_MIN, PAUSE_ASKING_MAX) };
    // Why it has to end, and when it is killed; `None` once it was.
    let mut ending: Option<(How, Option<Instant>)> = None;
    let mut peak_memory_seen = None;
    let mut now = Instant::now();
    let mut orphans_at = now + ORPHANS_EVERY;
    loop {
        let next = match ending {
            None => deadline,
            Some((_, kill_at)) => kill_at,
        };
        let wait = next.map_or(pause, |next| pause.min(next.saturating_duration_since(now)));
        let Happened { streams, has_ended, is_quiet } = child.wait(wait);
        for stream in streams {
            child.read(stream, |bytes| output.take(stream, bytes));
        }
        if has_ended {
            return (ending.map(|(how, _)| how), peak_memory_seen);
        }
        now = Instant::now();
        if is_quiet {
            pause = (pause * 2).min(pause_max);
            peak_memory_seen = peak_memory_seen.max(child.peak_memory_so_far());
        }
        if now >= orphans_at {
            orphans::reap();
            orphans_at = now + ORPHANS_EVERY;
        }
        match &mut ending {
            None => {
                let why = if stop.load(Ordering::Relaxed) || ending::is_ending() {
                    How::Stopped
                } else if output.is_too_much {
                    How::TooMuchOutput { limit: output.stdout_bytes_max }
                } else if deadline.is_some_and(|deadline| now >= deadline) {
                    How::TimedOut
                } else {
                    continue;
                };
                child.signal(Signal::SIGTERM);
                ending = Some((why, Some(now + GRACE)));
            }
            Some((_, kill_at @ Some(_))) if kill_at.is_some_and(|kill_at| now >= kill_at) => {
                child.signal(Signal::SIGKILL);
                *kill_at = None;
            }
            Some(_) => {}
        }
    }
}

fn how_it_ended(status: ExitStatus) -> How {
    match (status.code(), status.signal()) {
        (Some(code), _) => How::Exited(code),
        // One of the two it is, as stops are not waited for.
        (None, signal) => How::Signalled(signal.unwrap_or_default()),
    }
}

/// What a command wrote.
#[derive(Default)]
struct Output {
    stdout: Vec<u8>,
    stdout_bytes_max: usize,
    is_too_much: bool,
    stderr: Tail,
}

impl Output {
    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Stdout => {
                let room = self.stdout_bytes_max - self.stdout.len();
                self.is_too_much |= bytes.len() > room;
                self.stdout.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Stream::Stderr => self.stderr.take(bytes),
        }
    }
}

/// The end of a stream.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn take(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        // Seldom, so that each byte is moved about once.
        if self.0.len() > 2 * STDERR_BYTES_MAX {
            self.0.drain(..self.0.len() - STDERR_BYTES_MAX);
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.0.drain(..self.0.len().saturating_sub(STDERR_BYTES_MAX));
        self.0
    }
}

#[cfg(test)]
mod tests;
