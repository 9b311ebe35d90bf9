//! What the chaos's job comes to when nothing disturbs it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::cluster::{Home, text};

/// The job's arguments for `train`: some seconds of rounds, each over within some tens of milliseconds, of so large a model
/// that its versions and deltas are files.
pub const JOB: [&str; 8] = ["--preset", "reference", "--rounds", "40", "--epochs", "3", "--hidden", "1300"];
/// A blob of more bytes is a file.
const FILE_BYTES: usize = 64 * 1024;

/// The undisturbed run.
pub struct Reference {
    /// The last version's parameters.
    pub tensors: Vec<u8>,
    /// Their digest.
    pub parameters: Value,
    /// The training and the validation error of each round.
    pub errors: Vec<[Value; 2]>,
}

impl Reference {
    pub fn compute() -> Self {
        let home = Home::new();
        let (data, model) = (home.data(), home.path("model.safetensors"));
        let fixed = ["train", text(&data), "--workers", "1", "--output", "json", "--model", text(&model)];
        let report = home.run(&[&fixed, &JOB[..]].concat()).with_status(0).json();
        let tensors = tensors(&model);
        assert!(tensors.len() > FILE_BYTES, "a model of {} bytes is no file", tensors.len());
        Self { tensors, parameters: report["parameters"].clone(), errors: errors(&report) }
    }

    /// What a client is told of a round's validation.
    pub fn validated(&self, round: u32) -> String {
        let error = self.errors[round as usize - 1][1].as_f64().expect("an error");
        format!("round {round}/{}: validation error {error:.4}", self.errors.len())
    }

    /// Checks a job's report, once it has ended.
    pub fn check(&self, report: &Value) {
        assert_eq!(report["state"], "succeeded", "{report}");
        assert_eq!(errors(report), self.errors);
    }
}

/// The parameters in a model's file, after a header that names the job.
pub fn tensors(model: &Path) -> Vec<u8> {
    let bytes = fs::read(model).expect("a model");
    let (length, rest) = bytes.split_first_chunk().expect("the header's length");
    rest[u64::from_le_bytes(*length) as usize..].to_vec()
}

fn errors(report: &Value) -> Vec<[Value; 2]> {
    let rounds = report["rounds"].as_array().expect("rounds").iter();
    rounds.map(|round| ["train_error", "validation_error"].map(|error| round[error].clone())).collect()
}
