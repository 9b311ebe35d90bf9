//! Draining: a worker is taken out of service in the middle of a job, and the job does not notice.

use crate::cluster::Cluster;
use crate::job::{JOB, check_same_bits};

#[test]
fn a_worker_is_drained_in_the_middle_of_a_job() {
    let cluster = Cluster::start();
    let left = cluster.worker("left", &[]);
    let _right = cluster.worker("right", &[]);
    let train = cluster.train(&JOB);
    left.says(&["train begins"]);
    let drained = cluster.ask(&["drain", "left"]).with_status(0);
    drained.line("draining left: ");
    let printed = drained.json();
    assert_eq!((&printed["worker"], &printed["state"]), (&"left".into(), &"drained".into()));
    let ended = left.ends().with_status(0);
    assert_eq!(ended.count(&[" drained"]), 1, "{ended:#?}");
    let report = check_same_bits(train.ends());
    assert!(report["workers"].as_array().expect("workers").iter().all(|worker| worker["lost"] == 0), "{report}");
    let said = cluster.coordinator.said();
    assert!(said.iter().any(|line| line.contains("left left and gave back 0 tasks")), "{said:#?}");
}

#[test]
fn who_does_not_wait_sees_it_drain() {
    let cluster = Cluster::start();
    let left = cluster.worker("left", &["--load-probability", "1", "--load-delay", "1h"]);
    let _train = cluster.train(&JOB);
    left.says(&["waits 3600000 ms"]);
    let told = cluster.ask(&["drain", "left", "--detach"]).with_status(0);
    told.line("draining left: 1 task runs on");
    assert_eq!(told.json()["state"], "draining");
    let workers = cluster.ask(&["workers"]).with_status(0).json();
    assert_eq!((&workers[0]["name"], &workers[0]["draining"]), (&"left".into(), &true.into()));
    cluster.coordinator.says(&["left is draining"]);
}

#[test]
fn a_worker_that_is_not_there_is_named_with_those_that_are() {
    let cluster = Cluster::start();
    let _right = cluster.worker("right", &[]);
    let refused = cluster.ask(&["drain", "left"]).with_status(2);
    assert!(refused.line("error: ").contains("`left`") && refused.line("error: ").contains("right"), "{refused:#?}");
    refused.line("hint: ");
}
