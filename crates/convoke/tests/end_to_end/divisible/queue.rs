//! A million tasks in the queue of a coordinator without workers: what one costs it, and how soon they are cancelled.

use std::time::{Duration, Instant};

use super::Farm;
use super::intruders::memory;

const TASKS: u64 = 1_000_000;
/// What a task that waits may cost.
const BYTES_MAX: u64 = 100;

#[test]
fn a_million_tasks_that_wait_cost_little() {
    let farm = Farm::start();
    let used = || memory(farm.cluster.coordinator.id(), "RssAnon:") << 10;
    let before = used();
    let began = Instant::now();
    let submitted = farm.does(&["run", "--array", "1-1000000", "--detach", "--", "echo", "{}"]).with_status(0);
    let took = began.elapsed();
    assert_eq!(farm.cluster.jobs().len(), 1, "{submitted:#?}");
    let a_task = (used().saturating_sub(before)) as f64 / TASKS as f64;
    let job = farm.cluster.jobs()[0]["job"].as_str().expect("an id").to_owned();
    let began = Instant::now();
    farm.cluster.ask(&["cancel", &job]).with_status(0);
    let cancelling = began.elapsed();
    println!("submitted in {took:?}, {a_task:.1} bytes a task, cancelled in {cancelling:?}");
    assert!(a_task < BYTES_MAX as f64, "{a_task} bytes");
    assert!(cancelling < Duration::from_secs(5), "{cancelling:?}");
}
