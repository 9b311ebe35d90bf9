//! What left its command's group: found by the mark in its environment, killed, reaped. Only in a process that asked for it.
//!
//! Whoever starts a session of its own (`setsid`, a daemon) is out of its group, and no signal to the group reaches it. In a
//! process that adopts orphans, it becomes a child of this one once its parent is dead, and a child that nobody here
//! started is such a one. It dies once the command whose mark it carries has ended. One that cleared its environment
//! carries none, and goes on until no command runs; then all go. What this cannot reach is a process of another user
//! (`sudo`), and one that forks faster out of its group than it is killed: that takes a cgroup, which this does not know.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::{MARK_VARIABLE, guard};

/// How long orphans are chased. Nothing starts meanwhile.
const CHASE_MAX: Duration = Duration::from_millis(500);
const CHASE_PAUSE: Duration = Duration::from_micros(500);
/// How many bytes of the list of children are read: thousands of them. The rest comes with the next look.
const CHILDREN_BYTES_MAX: usize = 64 * 1024;

/// How many bytes an id takes in it at most.
const PID_BYTES_MAX: usize = 12;

static ADOPTION: OnceLock<Adoption> = OnceLock::new();

/// Why orphans are not adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The system has no subreapers.
    #[error("this system cannot give a process its orphaned descendants: {0}")]
    Subreaper(io::Error),
    /// The system does not list children.
    #[error("cannot read {path}, which lists the orphans: {error}")]
    Children {
        /// Which list.
        path: String,
        /// What the system says.
        error: io::Error,
    },
}

/// From now on orphans become this process's children and end with their commands. For a process that only runs commands:
/// children of its main thread that were not started by [`super::run`] are taken for orphans, reaped and killed; all but its
/// guard.
pub fn adopt_orphans() -> Result<(), AdoptError> {
    if ADOPTION.get().is_some() {
        return Ok(());
    }
    // Orphans go to the first thread that lives. The others' children, which are commands, are not on this list.
    let pid = std::process::id();
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = File::open(&path).map_err(|error| AdoptError::Children { path, error })?;
    become_subreaper().map_err(AdoptError::Subreaper)?;
    // Whoever was first has the same.
    let _ = ADOPTION.set(Adoption { children, starting: RwLock::default(), running: Mutex::default() });
    Ok(())
}

#[cfg(target_os = "linux")]
fn become_subreaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

#[cfg(not(target_os = "linux"))]
fn become_subreaper() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Starts a command, and knows it from an orphan.
pub(super) fn starting<C, E>(
    mark: &str,
    start: impl FnOnce() -> Result<C, E>,
    pid: impl FnOnce(&C) -> Pid,
) -> Result<C, E> {
    let Some(adoption) = ADOPTION.get() else { return start() };
    // Between a process's start and its entry nobody may look for orphans.
    let _starting = adoption.starting.read().unwrap_or_else(PoisonError::into_inner);
    let child = start()?;
    adoption.running().insert(pid(&child), mark.to_owned());
    Ok(child)
}

/// Reaps a command that has ended, then its orphans. Says as well whether no orphan is left, of whichever command.
pub(super) fn ended<T>(mark: &str, pid: Pid, reap: impl FnOnce() -> T) -> (T, bool) {
    let Some(adoption) = ADOPTION.get() else { return (reap(), false) };
    let reaped = {
        let _starting = adoption.starting.read().unwrap_or_else(PoisonError::into_inner);
        let reaped = reap();
        let mut running = adoption.running();
        // The id was free for a moment: it may be another's by now.
        if running.get(&pid).is_some_and(|other| other == mark) {
            running.remove(&pid);
        }
        reaped
    };
    (reaped, adoption.chase())
}

/// Reaps orphans that are dead, and kills those whose command has ended.
pub(super) fn reap() {
    if let Some(adoption) = ADOPTION.get() {
        let _others_may_be_left = adoption.chase();
    }
}

struct Adoption {
    /// The children of the main thread.
    children: File,
    /// Held shared while a command starts or is reaped, alone by whoever looks for orphans.
    starting: RwLock<()>,
    /// The commands' processes, with their marks.
    running: Mutex<BTreeMap<Pid, String>>,
}

/// What becomes of a child that is no command.
#[derive(PartialEq, Eq)]
enum Orphan {
    Gone,
    Doomed,
    Spared,
}

impl Adoption {
    fn running(&self) -> MutexGuard<'_, BTreeMap<Pid, String>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills and reaps until no orphan of an ended command is left, or time is up. Whoever is killed leaves its own children
    /// here, so this goes on until a look finds none. Says whether none is left of any command.
    fn chase(&self) -> bool {
        // Almost always there is none, and this is all: one call to the system.
        if self.children().is_some_and(|children| children.is_empty()) {
            return true;
        }
        let _nothing_starts = self.starting.write().unwrap_or_else(PoisonError::into_inner);
        let running = self.running();
        let until = Instant::now() + CHASE_MAX;
        loop {
            let (mut is_done, mut nobody_left) = (true, true);
            let Some(children) = self.children() else { return false };
            for child in children {
                if !running.contains_key(&child) {
                    let orphan = end(child, &running);
                    // Whoever dies leaves its own children here, after the list was read.
                    is_done &= orphan == Orphan::Spared;
                    nobody_left &= orphan == Orphan::Gone;
                }
            }
            if is_done {
                return nobody_left;
            }
            if Instant::now() >= until {
                tracing::warn!("processes that left their command's group still run");
                return false;
            }
            std::thread::sleep(CHASE_PAUSE);
        }
    }

    /// The children of the main thread but for the guard; `None` if they cannot be read.
    fn children(&self) -> Option<Vec<Pid>> {
        let mut first = [0; 256];
        let read = self.children.read_at(&mut first, 0).ok()?;
        let mut list = first[..read].to_vec();
        // The system leaves no room for another id unless there is none.
        while list.len() < CHILDREN_BYTES_MAX && list.len() + PID_BYTES_MAX >= first.len() {
            let mut more = [0; 4096];
            match self.children.read_at(&mut more, list.len() as u64) {
                Ok(read) if read > 0 => list.extend_from_slice(&more[..read]),
                _ => break,
            }
        }
        let list = String::from_utf8_lossy(&list);
        let pids = list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw);
        Some(pids.filter(|pid| !guard::is_guard(*pid)).collect())
    }
}

/// Reaps a child if it is dead, kills it if its command has ended.
fn end(child: Pid, running: &BTreeMap<Pid, String>) -> Orphan {
    let is_running = |status| matches!(status, nix::sys::wait::WaitStatus::StillAlive);
    match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
        Ok(status) if is_running(status) => {}
        // Killed by a signal that has no name counts as well.
        Ok(_) | Err(Errno::ECHILD | Errno::EINVAL) => return Orphan::Gone,
        Err(_) => return Orphan::Spared,
    }
    let is_doomed = match mark_of(child) {
        Some(mark) => !running.values().any(|running| *running == mark),
        None => running.is_empty(),
    };
    if !is_doomed {
        return Orphan::Spared;
    }
    match kill(child, Signal::SIGKILL) {
        Ok(()) => Orphan::Doomed,
        // Another user's: it is beyond this one's power.
        Err(_) => Orphan::Spared,
    }
}

/// The mark that a process started with, if it can be read and has one.
fn mark_of(pid: Pid) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment
        .split(|byte| *byte == 0)
        .filter_map(|variable| variable.strip_prefix(MARK_VARIABLE.as_bytes())?.strip_prefix(b"="))
        .map(|mark| String::from_utf8_lossy(mark).into_owned())
        .next()
}

#[cfg(test)]
mod tests;
