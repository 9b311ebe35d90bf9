//! Predictions on workers: the same bytes as here, whoever dies, and bad rows named.
//!
//! What a model says of a row is for `convoke-ml`.

use std::fmt::Write;
use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::cluster::{Cluster, text};
use crate::dataset::{FEATURES, Numbers};
use crate::process::Ended;

/// So many that there are some tasks.
const ROWS: usize = 60_000;

/// A cluster with a model `m` and `rows.csv`, two of whose rows are bad if they are to be.
fn prepared(bad: bool) -> Cluster {
    let cluster = Cluster::start();
    let home = &cluster.home;
    let data = home.data();
    let fixed = [
        "train",
        text(&data),
        "--preset",
        "reference",
        "--rounds",
        "1",
        "--epochs",
        "200",
        "--workers",
        "1",
        "--model",
        "m",
    ];
    home.run(&fixed).with_status(0);
    let mut numbers = Numbers(7);
    let mut rows = String::new();
    for row in 0..ROWS {
        let cells: Vec<_> = (0..FEATURES).map(|_| (numbers.next() % 17).to_string()).collect();
        match row {
            5 if bad => rows.push_str("1,2\n"),
            40_000 if bad => {
                writeln!(rows, "{}", cells.join(",").replacen(|_| true, "x", 1)).expect("a string takes it")
            }
            _ => writeln!(rows, "{}", cells.join(",")).expect("a string takes it"),
        }
    }
    fs::write(home.path("rows.csv"), rows).expect("rows");
    cluster
}

/// Predicts here, and on the cluster's workers.
fn both(cluster: &Cluster, arguments: &[&str]) -> [Ended; 2] {
    let fixed = [&["predict", "m", "rows.csv"], arguments].concat();
    let there = [&fixed[..], &["--coordinator", &cluster.address]].concat();
    [cluster.home.run(&fixed), cluster.home.run(&there)]
}

#[test]
fn workers_predict_what_is_predicted_here() {
    let cluster = prepared(false);
    let _workers = ["ann", "bob"].map(|name| cluster.worker(name, &[]));
    let [here, there] = both(&cluster, &[]).map(|ended| ended.with_status(0).stdout);
    assert_eq!(here.lines().count(), ROWS);
    assert!(here == there, "labels are the same bytes");

    let [here, there] = both(&cluster, &["--probabilities"]).map(|ended| ended.with_status(0));
    assert!(here.stdout == there.stdout, "probabilities are the same bytes");
    assert_eq!(there.line("probabilities of: "), "probabilities of: 0, 1, 2, 3, 4");
    for line in here.stdout.lines() {
        let row: Vec<f32> = line.split(' ').map(|number| number.parse().expect("a number")).collect();
        assert!(row.len() == 5 && (row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{line}");
    }

    let [here, there] = both(&cluster, &["--output", "json"]).map(|ended| ended.with_status(0));
    assert_eq!(here.stdout, there.stdout);
    assert_eq!(here.json().as_array().map(Vec::len), Some(ROWS));
    let written = ["--output", "json", "--probabilities", "-o", "p.json"];
    let files = [&written[..], &[&written[..], &["--coordinator", &cluster.address]].concat()].map(|arguments| {
        let ended = cluster.home.run(&[&["predict", "m", "rows.csv"], arguments].concat()).with_status(0);
        assert_eq!(ended.stdout, "");
        fs::read(cluster.home.path("p.json")).expect("a file")
    });
    assert!(files[0] == files[1]);
    let rows: Value = serde_json::from_slice(&files[0]).expect("JSON");
    assert_eq!((rows.as_array().map(Vec::len), rows[0].as_array().map(Vec::len)), (Some(ROWS), Some(5)));
}

#[test]
fn a_worker_that_is_killed_changes_no_prediction() {
    let cluster = prepared(false);
    let expected = cluster.home.run(&["predict", "m", "rows.csv", "-o", "here"]).with_status(0);
    assert_eq!(expected.stdout, "");
    // It stops in front of its task, and does not come to it.
    let victim = cluster.worker("victim", &["--load-probability", "1", "--load-delay", "1h"]);
    let there = ["predict", "m", "rows.csv", "-o", "there", "--coordinator", &cluster.address];
    let predict = cluster.home.start(&there);
    victim.says(&["waits", "(busy)"]);
    victim.signal(Signal::SIGKILL);
    cluster.coordinator.says(&["victim was lost"]);
    let _heir = cluster.worker("heir", &[]);
    predict.ends().with_status(0);
    let [here, there] = ["here", "there"].map(|name| fs::read(cluster.home.path(name)).expect("predictions"));
    assert!(here == there);
}

#[test]
fn bad_rows_end_it_before_anything_is_submitted_or_are_left_out_by_name() {
    let cluster = prepared(true);
    let _worker = cluster.worker("ann", &[]);
    for refused in both(&cluster, &[]) {
        let refused = refused.with_status(2);
        assert!(refused.line("error: ").contains("rows.csv, line 6"), "{refused:#?}");
        refused.line("hint: ");
        assert_eq!(refused.stdout, "");
    }
    assert_eq!(cluster.jobs(), Vec::<Value>::new(), "nothing was submitted");
    let [here, there] = both(&cluster, &["--skip-bad"]).map(|ended| ended.with_status(0));
    assert!(here.stdout == there.stdout && here.stdout.lines().count() == ROWS - 2);
    for ended in [here, there] {
        assert_eq!(ended.count(&["skipped: rows.csv, line 6"]), 1, "{:#?}", ended.stderr);
        assert_eq!(ended.count(&["skipped: rows.csv, line 40001, column 1"]), 1, "{:#?}", ended.stderr);
        assert_eq!(ended.count(&["warning: ", "left out: 2"]), 1);
    }
    // A variable is no wish to have it done elsewhere.
    let few = cluster.home.run_at("127.0.0.1:1", &["predict", "m", "rows.csv", "--skip-bad"]);
    assert_eq!(few.with_status(0).stdout.lines().count(), ROWS - 2);
}
