//! Starting a command and hearing of it: the calls to the system, and the only ones that are `unsafe`.
//!
//! A process is started by `posix_spawn`, which shares memory until it runs its own program: what the worker holds costs
//! nothing. `std` takes that way as long as nothing is asked for between (`pre_exec`, or a search of another `PATH`). Why a
//! command is to end, this does not know.

#![allow(unsafe_code)]

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use bytes::{Buf, Bytes};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{Environment, RunError, program};

/// How often a program that somebody still writes is tried again. Between a file's writing and its closing another thread
/// may have started a process, which holds the file open until it runs its own program: a matter of microseconds.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(2);
/// How much is read at once: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// A command that was started and is not reaped: its process id, and so that of its group, is nobody else's.
pub(super) struct Child {
    pub(super) pid: Pid,
    /// Readable once the process has ended. `None` where the system has no such thing: then it is asked each time.
    ended: Option<OwnedFd>,
    stdin: Option<(PipeWriter, Bytes)>,
    stdout: Option<PipeReader>,
    stderr: Option<PipeReader>,
    /// The worker's own peak when this was started. What a process had before it ran its program, the memory that it
    /// shared, counts as its own peak.
    peak_memory_floor: u64,
}

/// How it ended, and what it used.
pub(super) struct Reaped {
    pub(super) status: ExitStatus,
    pub(super) cpu_us: u64,
    /// `None` if it never had more than the worker at its start.
    pub(super) peak_memory_bytes: Option<u64>,
}

/// What was waited for.
pub(super) struct Happened {
    /// What can be read.
    pub(super) streams: Vec<Stream>,
    pub(super) has_ended: bool,
    /// Whether the wait was for nothing.
    pub(super) is_quiet: bool,
}

/// Where a command writes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// Starts a command in a process group of its own.
pub(super) fn start(
    argv: &[String],
    environment: &Environment,
    directory: &Path,
    stdin: &Bytes,
) -> Result<Child, RunError> {
    let [name, arguments @ ..] = argv else { return Err(RunError::NoProgram) };
    let program = program::find(name, environment, directory)?;
    let (stdout, stdout_theirs) = io::pipe().map_err(RunError::Pipe)?;
    let (stderr, stderr_theirs) = io::pipe().map_err(RunError::Pipe)?;
    let mut command = Command::new(&program);
    command.arg0(name).args(arguments).env_clear().envs(environment).current_dir(directory).process_group(0);
    command.stdout(stdout_theirs).stderr(stderr_theirs);
    let stdin = if stdin.is_empty() {
        command.stdin(Stdio::null());
        None
    } else {
        let (theirs, ours) = io::pipe().map_err(RunError::Pipe)?;
        set_nonblocking(ours.as_fd()).map_err(RunError::Pipe)?;
        command.stdin(theirs);
        Some((ours, stdin.clone()))
    };
    let started = spawn(&mut command).map_err(|error| program::explain(name, &program, directory, error))?;
    // The child's ends of the pipes are closed with the command.
    drop(command);
    // A process id fits.
    let pid = Pid::from_raw(started.id() as i32);
    let peak_memory_floor =
        getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss().unsigned_abs() * RSS_UNIT_BYTES);
    let mut child =
        Child { pid, ended: end_of(pid), stdin, stdout: Some(stdout), stderr: Some(stderr), peak_memory_floor };
    child.feed();
    Ok(child)
}

fn spawn(command: &mut Command) -> io::Result<std::process::Child> {
    let mut tries = 0;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && tries < BUSY_TRIES => {
                tries += 1;
                std::thread::sleep(BUSY_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

impl Child {
    /// Waits until there is something to read, stdin takes more, or it has ended, `wait` at most; feeds stdin. Says what
    /// happened.
    pub(super) fn wait(&mut self, wait: Duration) -> Happened {
        let mut polled = Vec::with_capacity(4);
        let mut meanings = Vec::with_capacity(4);
        for (pipe, stream) in [(&self.stdout, Stream::Stdout), (&self.stderr, Stream::Stderr)] {
            if let Some(pipe) = pipe {
                polled.push(PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
                meanings.push(Some(stream));
            }
        }
        if let Some(ended) = &self.ended {
            polled.push(PollFd::new(ended.as_fd(), PollFlags::POLLIN));
            meanings.push(None);
        }
        let stdin_at = polled.len();
        if let Some((pipe, _)) = &self.stdin {
            polled.push(PollFd::new(pipe.as_fd(), PollFlags::POLLOUT));
        }
        // In whole milliseconds, upwards, or the last of them would be spent spinning.
        let millis = wait.as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        // Interrupted is as good as having waited too short.
        let ready = poll(&mut polled, timeout).unwrap_or(0) > 0;
        let (mut streams, mut closed, mut has_ended, mut takes) = (Vec::new(), Vec::new(), false, false);
        if ready {
            for (place, polled) in polled.iter().enumerate() {
                let events = polled.revents().unwrap_or(PollFlags::empty());
                match meanings.get(place) {
                    _ if events.is_empty() => {}
                    Some(Some(stream)) if events.contains(PollFlags::POLLIN) => streams.push(*stream),
                    Some(Some(stream)) => closed.push(*stream),
                    Some(None) => has_ended = true,
                    None => takes = place == stdin_at,
                }
            }
        }
        // Nobody writes any more, and nothing is left to read.
        closed.into_iter().for_each(|stream| *self.pipe(stream) = None);
        if takes {
            self.feed();
        }
        if self.ended.is_none() {
            has_ended = self.is_dead();
        }
        Happened { streams, has_ended, is_quiet: !ready }
    }

    /// Whether the end of the process is something that can be waited for.
    pub(super) fn announces_its_end(&self) -> bool {
        self.ended.is_some()
    }

    /// Reads once what a stream holds, which must be something: otherwise it would wait for it.
    pub(super) fn read(&mut self, stream: Stream, mut take: impl FnMut(&[u8])) {
        let mut buffer = [0; READ_BYTES];
        let pipe = self.pipe(stream);
        match pipe.as_mut().map(|pipe| pipe.read(&mut buffer)) {
            Some(Ok(read)) if read > 0 => take(&buffer[..read]),
            Some(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
            _ => *pipe = None,
        }
    }

    /// Reads what a stream holds by now and closes it, without waiting for whoever else may have it open, and without
    /// reading what they go on writing.
    pub(super) fn drain(&mut self, stream: Stream, mut take: impl FnMut(&[u8])) {
        let mut left = self.pipe(stream).as_ref().map_or(0, |pipe| held(pipe.as_fd()));
        while left > 0 && self.pipe(stream).is_some() {
            let before = left;
            self.read(stream, |bytes| {
                left = left.saturating_sub(bytes.len());
                take(bytes);
            });
            if left == before {
                break;
            }
        }
        *self.pipe(stream) = None;
    }

    /// Signals the whole group. That there is nobody left in it is no error.
    pub(super) fn signal(&self, signal: Signal) {
        let _nobody_left: Result<(), Errno> = killpg(self.pid, signal);
    }

    /// Waits for the process, which has ended or is about to, and says what it and all it waited for itself have used.
    pub(super) fn reap(self) -> io::Result<Reaped> {
        let mut status = 0;
        // SAFETY: a `rusage` is numbers, for which zeros are values.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to values that live here, of the types that the call fills.
        while unsafe { libc::wait4(self.pid.as_raw(), &mut status, 0, &mut usage) } == -1 {
            let error = io::Error::last_os_error();
            if error.kind() != ErrorKind::Interrupted {
                return Err(error);
            }
        }
        // What the system says of time and memory is not negative.
        let micros = |time: libc::timeval| (time.tv_sec as u64) * 1_000_000 + time.tv_usec as u64;
        let peak = usage.ru_maxrss as u64 * RSS_UNIT_BYTES;
        Ok(Reaped {
            status: ExitStatus::from_raw(status),
            cpu_us: micros(usage.ru_utime) + micros(usage.ru_stime),
            peak_memory_bytes: (peak > self.peak_memory_floor).then_some(peak),
        })
    }

    /// What it had at its most until now, itself alone, where the system tells.
    pub(super) fn peak_memory_so_far(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
    }

    /// Writes to stdin what it takes; closes it after the last byte, or when nobody reads any more.
    fn feed(&mut self) {
        while let Some((pipe, rest)) = &mut self.stdin {
            match pipe.write(rest) {
                Ok(written) => rest.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => rest.clear(),
            }
            if rest.is_empty() {
                self.stdin = None;
            }
        }
    }

    fn pipe(&mut self, stream: Stream) -> &mut Option<PipeReader> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Whether it has ended, without reaping it.
    fn is_dead(&self) -> bool {
        // SAFETY: a `siginfo_t` is numbers, for which zeros are values.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: the pointer is to a value that lives here; nothing is reaped.
        let outcome = unsafe { libc::waitid(libc::P_PID, self.pid.as_raw() as libc::id_t, &mut info, flags) };
        // SAFETY: the call has filled the field, or left it zero where the process runs on.
        outcome == -1 || unsafe { info.si_pid() } != 0
    }
}

/// The unit of `ru_maxrss`.
const RSS_UNIT_BYTES: u64 = if cfg!(target_os = "macos") { 1 } else { 1024 };

/// How many bytes a pipe holds.
fn held(pipe: BorrowedFd<'_>) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open, and this request writes one int to where it lives.
    let outcome = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &mut bytes) };
    if outcome == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}

fn set_nonblocking(pipe: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open; setting its flags touches no memory. A new pipe's end has no other flags.
    let outcome = unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A descriptor that is readable once a process has ended; `None` before Linux 5.3 and elsewhere.
fn end_of(pid: Pid) -> Option<OwnedFd> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::FromRawFd;
        // SAFETY: the call takes two numbers. The process is a child that is not reaped: the id cannot be another's.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
        // SAFETY: a descriptor that the call just gave is open, and nobody else's.
        i32::try_from(fd).ok().filter(|fd| *fd >= 0).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = pid;
        None
    }
}
