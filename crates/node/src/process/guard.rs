//! The guard: a process beside the one that runs commands, which ends them if that one is killed and can do nothing itself.
//!
//! It reads a pipe that only the guarded process can write, and that the system closes when that is dead, however it died.
//! Then it kills, group by group, whoever has a directory of the dead one's in its environment. What cleared its environment
//! and left its group as well, it does not find; nor does it know what the commands were for.

use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io::{self, PipeWriter, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, geteuid, getpgid, getpgrp, getpid, getppid};

/// The variable that says whose a process is: it names its task's directory.
pub const DIRECTORY_VARIABLE: &str = "CONVOKE_DIRECTORY";
/// How long it kills what starts anew.
const KILL_MAX: Duration = Duration::from_secs(2);
/// How long it waits between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// How many looks in a row find nobody before it believes that: a process that is about to run its program shows no
/// environment for a moment, and one may start behind the place that a look has come to.
const LOOKS_IN_VAIN: u32 = 3;

static GUARD: Mutex<Option<Guard>> = Mutex::new(None);

/// This process's guard, which goes when this does.
struct Guard {
    pid: Pid,
    /// Nothing is ever written. A command does not inherit it, or it would keep the guard waiting.
    _lifeline: PipeWriter,
}

/// Starts this process's guard, by a command that calls [`watch`] first of all; if it has one, nothing happens.
pub fn start(mut command: Command) -> io::Result<()> {
    // Held until its id is known: whoever looks for orphans meanwhile waits.
    let mut guard = guard();
    if guard.is_some() {
        return Ok(());
    }
    // Without this list of processes it would find nobody.
    fs::metadata("/proc/self/environ")?;
    let (theirs, lifeline) = io::pipe()?;
    // In a group of its own, Ctrl-C and what else is meant for this process's group do not reach it.
    command.process_group(0).current_dir("/").stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
    let started = command.spawn()?;
    // A process id fits.
    *guard = Some(Guard { pid: Pid::from_raw(started.id() as i32), _lifeline: lifeline });
    Ok(())
}

/// Whether a process is this one's guard.
pub(super) fn is_guard(pid: Pid) -> bool {
    guard().as_ref().is_some_and(|guard| guard.pid == pid)
}

fn guard() -> MutexGuard<'static, Option<Guard>> {
    GUARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The guard itself: waits for the end of the process that started it, then kills this user's processes whose
/// `CONVOKE_DIRECTORY` begins with `folders`, which [`super::scratch::folders_of`] says.
pub fn watch(folders: &Path) {
    // A command may have joined the worker's own group, in which others may be: it dies alone.
    let spared = [getpgid(Some(getppid())).ok(), Some(getpgrp())];
    // Whatever came through it or went wrong with it, it is over.
    drop(io::copy(&mut io::stdin().lock(), &mut io::sink()));
    let until = Instant::now() + KILL_MAX;
    let mut in_vain = 0;
    while in_vain < LOOKS_IN_VAIN && Instant::now() < until {
        let left = left_by(folders.as_os_str());
        in_vain = if left.is_empty() { in_vain + 1 } else { 0 };
        left.into_iter().for_each(|pid| end(pid, &spared));
        thread::sleep(LOOK_PAUSE);
    }
}

/// Kills a process with its group, unless that is spared.
fn end(pid: Pid, spared: &[Option<Pid>]) {
    let group = getpgid(Some(pid)).ok();
    // Whoever is gone meanwhile is no error.
    let _gone: Result<(), Errno> = match group {
        Some(group) if group.as_raw() > 1 && !spared.contains(&Some(group)) => killpg(group, Signal::SIGKILL),
        _ => kill(pid, Signal::SIGKILL),
    };
}

/// The living processes of this user whose directory begins so.
fn left_by(folders: &OsStr) -> Vec<Pid> {
    let user = geteuid().as_raw();
    let is_own = |entry: &DirEntry| entry.metadata().is_ok_and(|metadata| metadata.uid() == user);
    let pid = |entry: &DirEntry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw);
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| Some((pid(&entry)?, entry)));
    let others = processes.filter(|(pid, entry)| pid.as_raw() > 1 && *pid != getpid() && is_own(entry));
    others.filter(|(_, entry)| has_directory(&entry.path(), folders)).map(|(pid, _)| pid).collect()
}

/// Whether a process started with a directory that begins so in its environment. One that is dead has no environment.
fn has_directory(process: &Path, folders: &OsStr) -> bool {
    let mut environment = Vec::new();
    // What was read until something went wrong counts.
    drop(fs::File::open(process.join("environ")).and_then(|mut file| file.read_to_end(&mut environment)));
    let mut directories = environment
        .split(|byte| *byte == 0)
        .filter_map(|variable| variable.strip_prefix(DIRECTORY_VARIABLE.as_bytes())?.strip_prefix(b"="));
    directories.any(|directory| directory.starts_with(folders.as_bytes()))
}

#[cfg(test)]
mod tests;
