//! Same bits: whatever happens to workers and the coordinator, the job comes to the same parameters.
//!
//! Each test breaks one thing at a moment that a process names by saying where it is.

use nix::sys::signal::Signal;

use crate::cluster::Cluster;
use crate::job::{JOB, check_same_bits, check_same_errors};
use crate::process::Process;

/// A worker's load that changes who does what and when.
const LOAD: [&str; 6] = ["--load-probability", "0.3", "--load-delay", "50ms", "--load-seed", "11"];

fn with_workers(count: usize) {
    let cluster = Cluster::start();
    let _workers: Vec<Process> = (1..=count).map(|number| cluster.worker(&format!("w{number}"), &LOAD)).collect();
    check_same_bits(cluster.train(&JOB).ends());
}

#[test]
fn one_worker() {
    with_workers(1);
}

#[test]
fn two_workers() {
    with_workers(2);
}

#[test]
fn five_workers() {
    with_workers(5);
}

#[test]
fn a_worker_is_killed_in_the_middle_of_a_task() {
    let cluster = Cluster::start();
    let victim = cluster.worker("victim", &[]);
    let train = cluster.train(&JOB);
    victim.says(&["train begins"]);
    victim.signal(Signal::SIGKILL);
    cluster.coordinator.says(&["victim was lost"]);
    let _heir = cluster.worker("heir", &[]);
    let report = check_same_bits(train.ends());
    let lost: Vec<_> = report["workers"].as_array().expect("workers").iter().map(|worker| &worker["lost"]).collect();
    assert!(lost.iter().any(|lost| lost.as_u64() > Some(0)), "{report}");
}

#[test]
fn a_worker_is_stopped_until_it_is_lost_and_then_goes_on() {
    let cluster = Cluster::start();
    let stopped = cluster.worker("stopped", &[]);
    let train = cluster.train(&JOB);
    stopped.says(&["train begins"]);
    stopped.signal(Signal::SIGSTOP);
    cluster.coordinator.says(&["stopped was lost"]);
    let _heir = cluster.worker("heir", &[]);
    cluster.coordinator.says(&["task done", "heir"]);
    stopped.signal(Signal::SIGCONT);
    check_same_bits(train.ends());
    stopped.says_times(&["joined"], 2);
}

#[test]
fn the_coordinator_is_killed_and_the_client_stays() {
    let mut cluster = Cluster::start();
    let _workers = [cluster.worker("w1", &[]), cluster.worker("w2", &[])];
    let train = cluster.train(&JOB);
    cluster.coordinator.says(&["round opened", "round=2"]);
    cluster.restart();
    check_same_bits(train.ends());
}

#[test]
fn the_coordinator_is_killed_while_nobody_follows() {
    let mut cluster = Cluster::start();
    let workers = [cluster.worker("w1", &[]), cluster.worker("w2", &[])];
    let submitted = cluster.train(&[&JOB[..], &["--detach"]].concat()).ends().with_status(0).json();
    let job = submitted["job"].as_str().expect("an id");
    // Twice, so that the second has a term, and a recovery, behind it.
    for times in 1..=2 {
        cluster.coordinator.says(&["task done"]);
        cluster.restart();
        workers.iter().for_each(|worker| drop(worker.says_times(&["joined"], times + 1)));
    }
    let report = cluster.ask(&["job", job, "--follow"]).with_status(0).json();
    assert_eq!(report["state"], "succeeded");
    check_same_errors(&report);
}
