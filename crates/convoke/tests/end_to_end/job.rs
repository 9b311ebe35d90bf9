//! The job that several tests run, and what it must come to, whoever does it.
//!
//! Its tasks take long enough that something can happen to them.

use std::sync::OnceLock;

use serde_json::Value;

use crate::cluster::{Home, text};
use crate::process::Ended;

/// The job's arguments for `train`.
pub const JOB: [&str; 6] = ["--preset", "reference", "--rounds", "3", "--epochs", "4000"];
/// Its rounds.
pub const ROUNDS: usize = 3;

/// What the job comes to on one embedded worker: found once for all tests.
pub fn expected() -> &'static Value {
    static EXPECTED: OnceLock<Value> = OnceLock::new();
    EXPECTED.get_or_init(|| {
        let home = Home::new();
        let data = home.data();
        let fixed = ["train", text(&data), "--workers", "1", "--output", "json"];
        home.run(&[&fixed, JOB.as_slice()].concat()).with_status(0).json()
    })
}

/// Checks that a `train` of the job came to the same parameters, bit for bit. Returns its report.
pub fn check_same_bits(ended: Ended) -> Value {
    let report = ended.with_status(0).json();
    assert_eq!(report["state"], "succeeded");
    assert!(report["parameters"].is_string(), "{report}");
    assert_eq!(report["parameters"], expected()["parameters"]);
    check_same_errors(&report);
    report
}

/// Checks that a report of the job has the expected rounds and errors.
pub fn check_same_errors(report: &Value) {
    let errors = |report: &Value| -> Vec<_> {
        let rounds = report["rounds"].as_array().expect("rounds").iter();
        rounds.map(|round| (round["train_error"].clone(), round["validation_error"].clone())).collect()
    };
    assert_eq!(errors(report), errors(expected()));
    assert_eq!(errors(report).len(), ROUNDS);
}
