//! Leaving: a worker that is told to end gives its tasks back, and has not died. Who is told to end does so at once, and
//! nothing is lost.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::cluster::Cluster;
use crate::job::{JOB, check_same_bits};

#[test]
fn a_worker_that_is_told_to_end_gives_its_tasks_to_others() {
    let cluster = Cluster::start();
    // It holds on to its tasks until long after the test.
    let leaver = cluster.worker("leaver", &["--load-probability", "1", "--load-delay", "1h"]);
    let train = cluster.train(&["--preset", "reference", "--rounds", "2", "--epochs", "50", "--policy", "round-robin"]);
    leaver.says(&["waits 3600000 ms"]);
    leaver.signal(Signal::SIGTERM);
    cluster.coordinator.says(&["leaver left and gave back 2 tasks"]);
    leaver.ends().with_status(0);

    let _heir = cluster.worker("heir", &[]);
    let report = train.ends().with_status(0).json();
    let tasks = report["rounds"].as_array().expect("rounds").iter().flat_map(|round| round["tasks"].as_array());
    assert!(tasks.flatten().all(|task| task["worker"] == "heir"), "{report}");
    assert!(report["workers"].as_array().expect("workers").iter().all(|worker| worker["lost"] == 0), "{report}");
    let said = cluster.coordinator.said();
    assert!(!said.iter().any(|line| line.contains("was lost") || line.contains("failed on")), "{said:#?}");
    // A worker that died would be waited for; one that left is not: its tasks go on as soon as there is another.
    let joined = said.iter().position(|line| line.contains("heir joined")).expect("the heir joined");
    assert!(said[joined + 1].contains("goes to heir"), "{said:#?}");
}

#[test]
fn in_the_middle_of_a_job_everyone_ends_in_two_seconds_and_nothing_is_lost() {
    let mut cluster = Cluster::start();
    let [mut left, mut right] = ["left", "right"].map(|name| cluster.worker(name, &[]));
    let train = cluster.train(&JOB);
    train.says(&["round 1/"]);
    right.says_times(&["train begins"], 2);
    for worker in [&mut left, &mut cluster.coordinator] {
        let began = Instant::now();
        worker.signal(Signal::SIGTERM);
        worker.gone();
        assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
    }
    cluster.start_again();
    right.says_times(&["joined", "right"], 2);
    let report = check_same_bits(train.ends());
    assert_eq!(report["rounds"][0]["tasks"][0]["attempt"], 1, "what was done is not done again: {report}");
    let began = Instant::now();
    right.signal(Signal::SIGTERM);
    right.gone();
    assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
}
