//! What is cancelled ends, with all that it started, soon; and so does what an embedded cluster runs.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Farm, all_gone, pids, runs, until};
use crate::cluster::{Home, text};
use crate::process::Ended;

/// How soon. A command has a fifth of a second to end by itself.
const SOON: Duration = Duration::from_secs(1);

/// Starts a child in its group and one in a session of its own, which no signal but SIGKILL ends.
const FAMILY: &str = "trap '' TERM; echo >here; echo $$ >>pids; sleep 1000 & echo $! >>pids; \
                      setsid sh -c 'trap \"\" TERM; echo $$ >>pids; while :; do sleep 1; done' & wait; sleep 1000";

fn family(folder: &str) -> String {
    FAMILY.replace("pids", folder)
}

#[test]
fn a_cancelled_command_is_gone_with_all_that_it_started() {
    let farm = Farm::start();
    let worker = farm.worker("ann");
    let list = farm.path("pids");
    let client = farm.begin(&["run", "--", "sh", "-c", &family(text(&list))]);
    let family = pids(&list, 3);
    assert!(family.iter().all(|pid| runs(*pid)));
    assert_eq!(farm.scratch().len(), 1);
    farm.cluster.ask(&["cancel", &job_of(&client.says(&["job "]))]).with_status(0);
    let took = all_gone(&family);
    assert!(took < SOON, "it took {took:?}");
    client.ends().with_status(1);
    until("an empty scratch directory", || farm.scratch().is_empty().then_some(()));
    drop(worker);
}

#[test]
fn a_cancelled_guest_leaves_its_slot() {
    let farm = Farm::start();
    let worker = farm.worker("ann");
    farm.write("lines", "one\n");
    farm.module("loop.wasm", "(module (memory (export \"memory\") 1) (func (export \"_start\") (loop $on (br $on))))");
    let client = farm.begin(&["map", "lines", "--wasm", "loop.wasm"]);
    worker.says(&["wasm begins"]);
    farm.cluster.ask(&["cancel", &job_of(&client.says(&["job "]))]).with_status(0);
    client.ends().with_status(1);
    // There is one slot.
    assert_eq!(farm.does(&["run", "--", "echo", "next"]).with_status(0).stdout, "next\n");
}

#[test]
fn an_embedded_job_that_is_interrupted_leaves_no_process() {
    let home = Home::new();
    let list = home.path("pids");
    let client = home.start(&["run", "--workers", "1", "--", "sh", "-c", &family(text(&list))]);
    let family = pids(&list, 3);
    client.signal(Signal::SIGINT);
    let ended: Ended = client.ends().with_status(130);
    let took = all_gone(&family);
    assert!(took < SOON, "it took {took:?}: {ended:#?}");
}

/// The job's id, of `job ID: 3 tasks`.
fn job_of(line: &str) -> String {
    let id = line.trim_start_matches("job ").split(':').next();
    id.expect("an id").to_owned()
}
