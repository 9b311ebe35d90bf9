//! What nobody needs goes, and nothing else: beside a coordinator that is killed again and again, too.
//!
//! Collections are every few seconds, so that a long fast job sees some.

use std::time::Instant;

use serde_json::Value;

use crate::cluster::{Cluster, text};
use crate::process::DEADLINE;

const ROUNDS: &str = "1200";

fn parameters(report: &Value) -> &Value {
    assert_eq!(report["state"], "succeeded");
    assert!(report["parameters"].is_string(), "{report}");
    &report["parameters"]
}

#[test]
fn collections_and_kills_change_no_bits_and_old_versions_are_refused_by_name() {
    let mut cluster = Cluster::start();
    let _workers = ["ann", "bob"].map(|name| cluster.worker(name, &[]));
    let job = ["--preset", "reference", "--rounds", ROUNDS, "--epochs", "1"];
    let undisturbed = cluster.train(&job).ends().with_status(0).json();
    let id = undisturbed["job"].as_str().expect("an id");

    let began = Instant::now();
    let refused = loop {
        let asked = cluster.home.run(&["result", id, "--round", "1", "-o", "m", "--coordinator", &cluster.address]);
        if asked.status != Some(0) {
            break asked.with_status(2);
        }
        assert!(began.elapsed() < DEADLINE, "the first of {ROUNDS} versions is still there");
    };
    let expected = format!("error: the version of round 1 of job {id} is not kept any more: ");
    assert!(refused.line("error: ").starts_with(&expected), "{refused:#?}");
    refused.line("hint: ");
    for round in ["best", "last", "1150"] {
        cluster.ask(&["result", id, "--round", round, "-o", text(&cluster.home.path("m"))]).with_status(0);
    }

    let train = cluster.train(&job);
    for round in ["round 300/", "round 600/", "round 900/"] {
        train.says(&[round]);
        cluster.restart();
    }
    let disturbed = train.ends().with_status(0).json();
    assert_eq!(parameters(&disturbed), parameters(&undisturbed));
}
