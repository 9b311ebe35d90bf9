//! A disk that takes nothing for a while: a job waits, and goes on to the same bits.
//!
//! The disk is full for one process alone, by its limit on the size of files, which is lifted later. Linux has a tool for
//! that; elsewhere these tests are skipped.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Home, text};
use crate::job::{JOB, check_same_bits};
use crate::process::Process;
use crate::refusals::check_refused;

/// Sets the limit on the size of the files that a process writes; "unlimited" lifts it.
fn limit(process: &Process, bytes: &str) {
    let limits =
        Command::new("prlimit").args([format!("--pid={}", process.id()), format!("--fsize={bytes}:")]).status();
    assert!(limits.expect("the tool is there").success());
}

/// Whether there is the tool. It says so where there is none.
fn is_skipped() -> bool {
    let skipped = Command::new("prlimit").arg("--version").output().is_err();
    if skipped {
        eprintln!("skipped: there is no prlimit");
    }
    skipped
}

#[test]
fn a_job_waits_for_the_disk_and_then_goes_on_to_the_same_bits() {
    if is_skipped() {
        return;
    }
    let cluster = Cluster::start();
    let _worker = cluster.worker("w1", &[]);
    let train = cluster.train(&JOB);
    cluster.coordinator.says(&["round opened", "round=2"]);
    limit(&cluster.coordinator, "1");
    // A result or a decision, whichever is to be stored first.
    cluster.coordinator.says(&["ERROR", " waits", ".sqlite: disk I/O error"]);
    limit(&cluster.coordinator, "unlimited");
    check_same_bits(train.ends());
    let said = cluster.coordinator.said();
    let count = |part: &str| said.iter().filter(|line| line.contains(part)).count();
    assert_eq!((count("was lost"), count("w1 joined")), (0, 1), "{said:#?}");
    assert!(count("the coordinator waits") <= 1 && count("waits to be stored") <= 2, "it is said once: {said:#?}");
}

#[test]
fn who_is_told_to_end_does_not_wait_for_the_disk() {
    if is_skipped() {
        return;
    }
    let mut cluster = Cluster::start();
    let worker = cluster.worker("w1", &[]);
    let train = cluster.train(&JOB);
    cluster.coordinator.says(&["round opened", "round=2"]);
    limit(&cluster.coordinator, "1");
    cluster.coordinator.says(&["ERROR", " waits", ".sqlite: disk I/O error"]);
    let began = Instant::now();
    cluster.coordinator.signal(Signal::SIGTERM);
    cluster.coordinator.gone();
    assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
    cluster.start_again();
    check_same_bits(train.ends());
    drop(worker);
}

#[test]
fn an_upload_that_does_not_fit_is_refused() {
    if is_skipped() {
        return;
    }
    let cluster = Cluster::start();
    limit(&cluster.coordinator, "1");
    check_refused(cluster.train(&JOB).ends(), 1, &["the coordinator cannot use its disk"]);
    limit(&cluster.coordinator, "unlimited");
    let _worker = cluster.worker("w1", &[]);
    check_same_bits(cluster.train(&JOB).ends());
}

#[test]
fn an_embedded_job_gives_up_after_a_while_and_is_resumed() {
    if is_skipped() {
        return;
    }
    let home = Home::new();
    let data = home.data();
    let arguments = [&["train", text(&data), "--output", "json", "--workers", "1"], JOB.as_slice()].concat();
    let train = home.start_limited(&arguments);
    train.says(&["round 1/", "validation error"]);
    limit(&train, "1");
    train.says(&["waits"]);
    let ended = train.ends().with_status(1);
    assert!(ended.line("error: ").contains("disk I/O error"), "{ended:#?}");
    let hint = ended.line("hint: ");
    let job = hint.split("`convoke resume ").nth(1).and_then(|rest| rest.split('`').next()).expect("a command");
    check_same_bits(home.run(&["resume", job, "--output", "json"]));
}
