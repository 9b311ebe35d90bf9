//! The journal's sync comes before anything is told: while it fails, nobody hears of what was decided.
//!
//! The syncs fail by a small library that is loaded before the system's. Where none can be made, these tests are skipped.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Home, text};
use crate::job::{JOB, check_same_bits};
use crate::refusals::check_refused;

/// A cluster whose journal cannot be synced while a file is there.
struct Fixture {
    cluster: Cluster,
    failing: PathBuf,
}

impl Fixture {
    /// None where there is no compiler for it, or another loader. It says so.
    fn start() -> Option<Self> {
        let mut home = Home::new();
        let (library, failing) = (home.path("syncs.so"), home.path("failing"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/end_to_end/syncs.c");
        let made = Command::new("cc").args(["-shared", "-fPIC", "-o", text(&library), source, "-ldl"]).status();
        if !cfg!(target_os = "linux") || !made.is_ok_and(|status| status.success()) {
            eprintln!("skipped: no library can be made here that makes syncs fail");
            return None;
        }
        home.set("LD_PRELOAD", &library);
        home.set("FAIL_JOURNAL_SYNCS", &failing);
        Some(Self { cluster: Cluster::start_with(home, &[]), failing })
    }

    fn fail(&self) {
        fs::write(&self.failing, "").expect("the file is made");
    }

    fn work_again(&self) {
        fs::remove_file(&self.failing).expect("the file is there");
    }
}

#[test]
fn a_submission_is_acknowledged_only_when_it_is_synced() {
    let Some(mut fixture) = Fixture::start() else { return };
    fixture.fail();
    let train = fixture.cluster.train(&[&JOB[..], &["--detach"]].concat());
    fixture.cluster.coordinator.says(&["ERROR", "the coordinator waits: ", "journal.sqlite: disk I/O error"]);
    // What it told before its end arrives.
    fixture.cluster.coordinator.signal(Signal::SIGKILL);
    fixture.cluster.coordinator.gone();
    let ended = train.ends();
    assert!(ended.status != Some(0) && ended.stdout.is_empty(), "{ended:#?}");
}

#[test]
fn a_result_is_accepted_only_when_it_is_synced() {
    let Some(fixture) = Fixture::start() else { return };
    let cluster = &fixture.cluster;
    let worker = cluster.worker("w1", &[]);
    let train = cluster.train(&JOB);
    cluster.coordinator.says(&["round opened", "round=2"]);
    fixture.fail();
    train.says(&["the coordinator waits: ", "journal.sqlite: disk I/O error"]);
    cluster.coordinator.says(&["ERROR", "the coordinator waits: ", "journal.sqlite"]);
    // Those who ask meanwhile are told why there is no answer.
    check_refused(cluster.ask(&["workers"]), 1, &["cannot use its disk", "journal.sqlite"]);
    fixture.work_again();
    check_same_bits(train.ends());
    cluster.coordinator.says(&["the coordinator goes on"]);
    let said = cluster.coordinator.said();
    let count = |part: &str| said.iter().filter(|line| line.contains(part)).count();
    assert_eq!((count("was lost"), count("w1 joined")), (0, 1), "{said:#?}");
    assert_eq!(count("the coordinator waits"), 1, "it is said once: {said:#?}");
    drop(worker);
}
