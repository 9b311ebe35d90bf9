//! The model outside Convoke: `docs/predict.py`, in NumPy alone, predicts what `convoke predict` does.
//!
//! It runs where Python with NumPy is there, and says so where it is not.

use std::path::Path;
use std::process::Command;

use crate::cluster::{Home, text};

#[test]
fn numpy_predicts_the_same() {
    let numpy = Command::new("python3").args(["-c", "import numpy"]).output();
    if !numpy.is_ok_and(|numpy| numpy.status.success()) {
        println!("skipped: there is no python3 with NumPy here");
        return;
    }
    let home = Home::new();
    let (data, model) = (home.data(), home.path("m.safetensors"));
    let validation = data.join("validate_1.txt");
    // Several layers, so that their order and what is between them is seen; features are standardised.
    let arguments = ["train", text(&data), "--hidden", "12,9", "--activation", "tanh"];
    home.run(&[&arguments[..], &["--model", text(&model)]].concat()).with_status(0);
    let ours = home.run(&["predict", text(&model), text(&validation)]).with_status(0).stdout;
    let labels: std::collections::BTreeSet<_> = ours.lines().collect();
    assert!(labels.len() > 2, "a model that always says the same shows nothing: {labels:?}");

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/predict.py");
    let theirs = Command::new("python3").args([&script, &model, &validation]).output().expect("python3 runs");
    assert!(theirs.status.success(), "{}", String::from_utf8_lossy(&theirs.stderr));
    assert_eq!(String::from_utf8_lossy(&theirs.stdout), ours);
}
