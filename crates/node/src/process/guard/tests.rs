//! A guard in a process of its own: whom it kills, whom it spares, and that adopting orphans spares it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::*;
use crate::process::adopt_orphans;
use crate::process::scratch::folders_of;
use crate::process::tests::{run_through, shell};

/// Where this test's binary, as a guard, learns what it guards.
const FOLDERS: &str = "CONVOKE_TEST_FOLDERS";

/// This binary, running one of these tests alone.
fn test(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("process::guard::tests::{name}"), "--ignored", "--nocapture"]);
    command
}

/// The guard of folders.
fn watching(folders: &Path) -> Command {
    let mut command = test("watch_alone");
    command.env(FOLDERS, folders);
    command
}

#[test]
#[ignore = "the guard of other tests"]
fn watch_alone() {
    watch(&PathBuf::from(std::env::var_os(FOLDERS).unwrap()));
}

/// A process that sleeps, with a directory in its environment.
fn sleeper(directory: &Path) -> Child {
    Command::new("sleep").arg("1000").env(DIRECTORY_VARIABLE, directory).process_group(0).spawn().unwrap()
}

#[test]
fn those_with_a_directory_of_the_dead_die_and_no_others() {
    let parent = tempfile::tempdir().unwrap();
    let own = folders_of(parent.path(), 12);
    let mut doomed = [sleeper(&parent.path().join("worker-12-0/1")), sleeper(&parent.path().join("worker-12-3/9"))];
    let mut spared = [sleeper(&parent.path().join("worker-123-0/1")), sleeper(parent.path())];
    let (theirs, mut lifeline) = io::pipe().unwrap();
    let mut guard = watching(&own).stdin(theirs).stdout(Stdio::null()).spawn().unwrap();
    // As long as somebody can write, it waits, whatever is written.
    lifeline.write_all(b"alive").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert!(guard.try_wait().unwrap().is_none());
    assert!(doomed.iter_mut().all(|child| child.try_wait().unwrap().is_none()));
    drop(lifeline);
    assert!(guard.wait().unwrap().success());
    assert!(doomed.iter_mut().all(|child| !child.wait().unwrap().success()));
    for child in &mut spared {
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn it_is_no_orphan() {
    let output = test("it_is_no_orphan_alone").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "run by `it_is_no_orphan`"]
fn it_is_no_orphan_alone() {
    let folder = tempfile::tempdir().unwrap();
    // Orphans are looked for among the main thread's children, which a test's are not; those of a thread that ends are.
    let parent = std::thread::spawn({
        let folders = folders_of(folder.path(), std::process::id());
        move || start(watching(&folders)).unwrap()
    });
    parent.join().unwrap();
    start(Command::new("/nowhere")).expect("there is one already");
    adopt_orphans().unwrap();
    let pid = guard().as_ref().unwrap().pid;
    let own = std::process::id();
    let is_listed = || {
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap();
        children.split_ascii_whitespace().any(|child| child == pid.to_string())
    };
    let until = Instant::now() + Duration::from_secs(10);
    while !is_listed() {
        assert!(Instant::now() < until, "a child of a thread that ended is not the main one's");
    }
    // An orphan is there beside it, so that the list is gone through.
    run_through(&shell("setsid sleep 1000 & sleep 0.1"));
    run_through(&shell(":"));
    assert_eq!(waitpid(pid, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive));
    *guard() = None;
    assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 0)));
}
