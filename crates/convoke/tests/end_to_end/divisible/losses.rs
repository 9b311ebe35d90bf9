//! Workers and coordinators that are killed or stopped in the middle of a job: the output is byte for byte the same.

use nix::sys::signal::Signal;

use super::{Farm, numbers};
use crate::process::Process;

/// A job's arguments, and what it prints.
struct Job {
    arguments: Vec<&'static str>,
    expected: String,
}

/// Each kind of job. Its tasks take long enough that one runs when a worker is killed.
fn jobs(farm: &Farm) -> Vec<Job> {
    farm.write("lines", &numbers(60));
    farm.module("count.wasm", include_str!("count.wat"));
    let slowly = "sh -c 'sleep 0.04; cat'";
    let sum = "awk '{s+=$1} END {print s}'";
    let map = ["map", "lines", "--chunk-lines", "3", "--idempotent", "--command", slowly];
    vec![
        Job {
            arguments: vec!["run", "--array", "1-30", "--idempotent", "--", "sh", "-c", "sleep 0.04; echo {}"],
            expected: numbers(30),
        },
        Job {
            arguments: vec!["run", "--each-line", "lines", "--", "sh", "-c", "sleep 0.02; echo {}"],
            expected: numbers(60),
        },
        Job { arguments: map.to_vec(), expected: numbers(60) },
        Job { arguments: [&map[..], &["--reduce", sum, "--fan-in", "2"]].concat(), expected: "1830\n".to_owned() },
        Job { arguments: vec!["map", "lines", "--chunk-lines", "1", "--wasm", "count.wasm"], expected: "x".repeat(60) },
    ]
}

fn begun(worker: &Process, tasks: usize) {
    worker.says_times(&[" begins"], tasks);
}

#[test]
fn a_worker_that_is_killed_changes_no_byte() {
    let farm = Farm::start();
    let mut kept = farm.worker("w0");
    for (number, Job { arguments, expected }) in jobs(&farm).into_iter().enumerate() {
        let victim = farm.worker(&format!("v{number}"));
        let client = farm.begin(&arguments);
        begun(&victim, 3);
        victim.signal(Signal::SIGKILL);
        // One that joins late takes part, as the other goes too.
        let late = farm.worker(&format!("w{}", number + 1));
        if number % 2 == 0 {
            kept.signal(Signal::SIGKILL);
            kept = late;
        }
        assert_eq!(client.ends().with_status(0).stdout, expected, "{arguments:?}");
    }
}

#[test]
fn a_coordinator_that_is_killed_changes_no_byte() {
    let mut farm = Farm::start();
    let workers = [farm.worker("ann"), farm.worker("ben")];
    for Job { arguments, expected } in jobs(&farm) {
        let before = workers[0].said().iter().filter(|line| line.contains(" begins")).count();
        let client = farm.begin(&arguments);
        begun(&workers[0], before + 3);
        farm.cluster.restart();
        assert_eq!(client.ends().with_status(0).stdout, expected, "{arguments:?}");
    }
}

#[test]
fn a_worker_that_stops_and_comes_back_changes_no_byte() {
    let farm = Farm::start();
    let workers = [farm.worker("ann"), farm.worker("ben")];
    let arguments = ["run", "--array", "1-40", "--idempotent", "--", "sh", "-c", "sleep 0.04; echo {}"];
    let client = farm.begin(&arguments);
    begun(&workers[0], 3);
    workers[0].signal(Signal::SIGSTOP);
    farm.cluster.coordinator.says(&["ann", "lost"]);
    workers[0].signal(Signal::SIGCONT);
    assert_eq!(client.ends().with_status(0).stdout, numbers(40));
}
