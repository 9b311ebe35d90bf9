//! What `convoke train` picks and is told: without flags, by a job file, on from a model, and of numbers.
//!
//! How well each way of training learns is tested in `convoke-ml`.

use std::fmt::Write;
use std::fs;

use serde_json::{Value, json};

use crate::cluster::{Home, text};
use crate::dataset::Numbers;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn rounds(report: &Value) -> &Vec<Value> {
    report["rounds"].as_array().expect("rounds")
}

#[test]
fn without_flags_a_small_set_is_learnt_and_the_picks_are_told() {
    let home = Home::new();
    let ended = home.run(&["train", "data", "--model", "m", "--output", "json"]).with_status(0);
    let (line, report) = (ended.line("training: "), ended.json());
    assert!(line.contains("hidden units (relu), AdamW") && line.contains("--preset reference"), "{line}");
    assert!(number(&report["validation_error"]) < 0.1, "{report}");
    let training = &report["training"];
    let picked =
        ["preset", "task", "method", "optimizer", "schedule", "standardize", "keep"].map(|name| &training[name]);
    let expected = json!(["auto", "classification", "descent", "adamw", "cosine", true, "best"]);
    assert_eq!(json!(picked), expected);
    assert_eq!(rounds(&report).len(), training["rounds"].as_u64().expect("a number") as usize, "what prepares is none");
    assert_eq!(rounds(&report)[0]["round"], 1);

    // The same flags, seed and data come to the same bits.
    let again = home.run(&["train", "data", "--workers", "1", "--output", "json"]).with_status(0).json();
    assert_eq!(again["parameters"], report["parameters"]);

    let evaluated = home.run(&["evaluate", "m", "data"]).with_status(0).stdout;
    let lines: Vec<_> = evaluated.lines().collect();
    assert!(
        lines[0].starts_with("error 0.0") && lines[0].contains(", accuracy ") && lines[0].contains(", log-loss "),
        "{evaluated}"
    );
    assert_eq!((lines[2], lines.len()), ("true classes down, predictions across:", 9), "{evaluated}");
    let measured = home.run(&["evaluate", "m", "data", "--output", "json"]).with_status(0).json();
    let counts = measured["confusion"]["counts"].as_array().expect("counts").iter();
    let all: u64 = counts.flat_map(|row| row.as_array().expect("a row")).filter_map(Value::as_u64).sum();
    assert_eq!((measured["samples"].as_u64(), measured["confusion"]["labels"][4].as_str()), (Some(all), Some("4")));
}

#[test]
fn a_job_file_says_what_flags_say_and_flags_override_it() {
    let home = Home::new();
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/letters.toml");
    let flags = ["--rounds", "2", "--epochs", "1", "--model", "m", "--output", "json"];
    let report = home.run(&[&["train", text(&example)][..], &flags].concat()).with_status(0).json();
    assert_eq!((rounds(&report).len(), rounds(&report)[0]["tasks"].as_array().expect("tasks").len()), (2, 11));
    assert_eq!(report["training"]["hidden"], json!([64, 32]), "as the file says");

    fs::create_dir(home.path("jobs")).expect("a folder");
    let refused = |job: &str, arguments: &[&str], part: &str| {
        fs::write(home.path("jobs/job.toml"), job).expect("a job file");
        let ended = home.run(&[&["train", "jobs/job.toml"][..], arguments].concat()).with_status(2);
        assert!(ended.line("error: ").contains(part), "{ended:#?}");
        ended.line("hint: ");
        assert_eq!(ended.stdout, "");
    };
    refused("data = '../data'\nrounds = 0\n", &[], "jobs/job.toml, line 2, rounds = 0: ");
    refused("data = '../data'\noptimiser = 'adam'\n", &[], "line 2, optimiser = 'adam': there is no such field");
    refused("data = '../data'\neta = 0.1\n", &["--optimizer", "adam"], "--eta is of full-batch gradient descent");
    refused("data = 'data'\n", &[], "cannot read jobs/data");
    fs::write(home.path("jobs/job.toml"), "data = '../data'\nepochs = 1\nmodel = 'm'\n").expect("a job file");
    home.run(&["train", "jobs/job.toml", "--rounds", "1"]).with_status(0);
    assert!(home.path("jobs/m").exists(), "paths are relative to the file");
}

#[test]
fn training_goes_on_from_a_model() {
    let home = Home::new();
    let few = ["train", "data", "--model", "m", "--output", "json", "--rounds", "2", "--hidden", "16"];
    let before = home.run(&[&few[..], &["--epochs", "4"]].concat()).with_status(0).json();
    let on = ["train", "data", "--init", "m", "--output", "json", "--rounds", "3", "--learning-rate", "0.0001"];
    let ended = home.run(&on).with_status(0);
    assert!(ended.line("training: ").starts_with("training: on from m, AdamW"), "{ended:#?}");
    let after = ended.json();
    let (error, first) = (number(&before["validation_error"]), number(&rounds(&after)[0]["validation_error"]));
    assert!((error - first).abs() < 0.05, "it goes on from {error}, not anew from {first}");
    assert_eq!((&after["training"]["hidden"], &after["training"]["standardize"]), (&json!([16]), &json!(true)));

    let refused = |arguments: &[&str], part: &str| {
        let ended = home.run(&[&["train"], arguments].concat()).with_status(2);
        assert!(ended.line("error: ").contains(part), "{ended:#?}");
    };
    fs::write(home.path("other.csv"), "1,2,3,4,5,6,7,8,0\n1,2,3,4,5,6,7,8,9\n").expect("a file");
    refused(&["other.csv", "--init", "m"], "other.csv, line 2, column 9: label `9` is unknown");
    fs::write(home.path("narrow.csv"), "1,2,0\n1,2,1\n").expect("a file");
    refused(&["narrow.csv", "--init", "m"], "narrow.csv, line 1");
    refused(&["data", "--init", "m", "--task", "regression"], "--task regression: the model m predicts classes");
}

#[test]
fn numbers_are_predicted() {
    let home = Home::new();
    let mut numbers = Numbers(3);
    let mut file = String::from("size,age,price\n");
    for _ in 0..600 {
        let (size, age) = (numbers.next() % 200, numbers.next() % 50);
        let price = 1000.0 + 30.5 * size as f64 - 0.8 * (age * age) as f64;
        writeln!(file, "{size},{age},{price:.1}").expect("a string takes it");
    }
    fs::write(home.path("houses.csv"), file).expect("a file");
    let ended = home.run(&["train", "houses.csv", "--model", "m", "--output", "json"]).with_status(0);
    assert!(ended.line("training: ").starts_with("training: regression of `price` ("), "{ended:#?}");
    assert!(ended.count(&["round 1/", "validation RMSE "]) == 1, "{ended:#?}");
    let report = ended.json();
    assert_eq!(report["warnings"], json!([]));
    let (rmse, r2) = (number(&report["validation_rmse"]), number(&report["validation_r2"]));
    assert!(r2 > 0.95 && rmse > 1.0 && report["validation_error"] == report["validation_rmse"], "{rmse}, {r2}");
    assert!(rounds(&report).iter().all(|round| round["validation_r2"].is_number()));
    let shown = home.run(&["job", report["job"].as_str().expect("an id")]).with_status(0).stdout;
    assert!(shown.contains("; RMSE ") && shown.contains("TRAIN RMSE"), "{shown}");

    let predicted = home.run_with(&["predict", "m", "-"], "100,10\n").with_status(0).stdout;
    let price: f64 = predicted.trim().parse().expect("a number");
    assert!((price - 3970.0).abs() < 1000.0, "{price}");
    let listed = home.run_with(&["predict", "m", "-", "--output", "json"], "100,10\n").with_status(0).json();
    assert!((number(&listed[0]) - price).abs() < 0.001);
    let refused = home.run_with(&["predict", "m", "-", "--probabilities"], "100,10\n").with_status(2);
    assert!(refused.line("error: ").contains("--probabilities are of classes"), "{refused:#?}");
    let evaluated = home.run(&["evaluate", "m", "houses.csv"]).with_status(0).stdout;
    assert!(
        evaluated.starts_with("RMSE ") && evaluated.contains(", R² ") && evaluated.ends_with(", 600 rows\n"),
        "{evaluated}"
    );
    let measured = home.run(&["evaluate", "m", "houses.csv", "--output", "json"]).with_status(0).json();
    assert!(number(&measured["validation_r2"]) > 0.9);
}
