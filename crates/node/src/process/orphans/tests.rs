//! Processes that leave their group, in a process that adopts orphans: none outlives its command, or the last one that runs.
//!
//! The tests run in a process of their own, started here, as the other tests' children would be taken for orphans.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::unistd::Pid;

use crate::process::tests::{is_alive, run_through, shell, wait_until};
use crate::process::{How, adopt_orphans, run};

/// Runs a test that adopts orphans in a process of its own.
fn alone(test: &str) {
    let mut own = std::process::Command::new(std::env::current_exe().unwrap());
    let output = own
        .args(["--exact", &format!("process::orphans::tests::{test}"), "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn orphans_are_gone() {
    alone("orphans_are_gone_alone");
}

#[test]
#[ignore = "run by `orphans_are_gone`"]
fn orphans_are_gone_alone() {
    adopt_orphans().unwrap();
    let is_there = |pid: &str| Path::new("/proc").join(pid.trim()).exists();
    let folder = tempfile::tempdir().unwrap();
    let escape = |script: &str| {
        let mut invocation = shell(script);
        invocation.directory = folder.path().to_owned();
        invocation
    };
    // One that leaves the group, holding stdout open.
    let ended =
        run_through(&escape("setsid sh -c 'echo $$ >orphan; exec sleep 1000' & while [ ! -s orphan ]; do :; done"));
    assert_eq!(ended.how, How::Exited(0));
    let orphan = std::fs::read_to_string(folder.path().join("orphan")).unwrap();
    assert!(!is_there(&orphan), "dead, and not even a zombie");

    // One that forgot where it comes from goes too when no command runs; and not while one does.
    let forget = "setsid env -i /bin/sh -c 'echo $$ >forgot; exec sleep 1000' & while [ ! -s forgot ]; do :; done";
    let forgotten = || std::fs::read_to_string(folder.path().join("forgot")).unwrap();
    run_through(&escape(forget));
    assert!(!is_there(&forgotten()));

    // A daemon of a command that runs on is spared until its own command ends, whoever else ends before.
    let stop = AtomicBool::new(false);
    let daemon = escape(
        "(setsid sh -c 'echo $$ >daemon; exec sleep 1000' &) ; while [ ! -s daemon ]; do :; done; : >ready; sleep 1000",
    );
    let daemons_pid = || std::fs::read_to_string(folder.path().join("daemon")).unwrap();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&daemon, &stop).unwrap());
        wait_until("the daemon is there", || folder.path().join("ready").exists());
        std::fs::remove_file(folder.path().join("forgot")).unwrap();
        run_through(&escape(forget));
        assert!(is_alive(&daemons_pid()), "its command runs");
        assert!(is_alive(&forgotten()), "it may be anybody's");
        stop.store(true, Ordering::Relaxed);
        assert_eq!(running.join().unwrap().how, How::Stopped);
    });
    assert!(!is_there(&daemons_pid()));
    assert!(!is_there(&forgotten()));

    // A family that flees: each one starts another and ends.
    let ended = run_through(&escape(
        "echo 'n=$(($1+1)); [ $n -gt 50 ] || setsid sh flee $n & sleep 1000' >flee; setsid sh flee 0 & sleep 0.05",
    ));
    assert_eq!(ended.how, How::Exited(0));
    let children = std::fs::read_to_string(format!("/proc/self/task/{}/children", Pid::this())).unwrap();
    assert_eq!(children, "", "nobody is left");
}
