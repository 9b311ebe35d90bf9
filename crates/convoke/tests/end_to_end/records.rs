//! Embedded jobs after their process: listed, shown, resumed, cancelled, and their versions saved.
//!
//! Nothing here has a coordinator beside it: the record is all there is.

use std::fs::File;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::cluster::{Home, text};
use crate::job::{JOB, ROUNDS, check_same_bits, expected};

/// The embedded jobs on record. A coordinator of the machine, which is none of ours, may have others.
fn embedded_jobs(home: &Home) -> Vec<Value> {
    let jobs = home.run(&["jobs", "--output", "json"]).with_status(0).json();
    let jobs = jobs.as_array().expect("a list of jobs").iter();
    jobs.filter(|job| job["coordinator"].is_null()).cloned().collect()
}

/// The id of the only job on record, and its state.
fn only_job(home: &Home) -> (String, String) {
    let jobs = embedded_jobs(home);
    assert_eq!(jobs.len(), 1, "{jobs:#?}");
    let field = |name: &str| jobs[0][name].as_str().expect("a text").to_owned();
    (field("job"), field("state"))
}

/// Starts the job that several tests run, and ends its process by a signal after the first round.
fn interrupted(home: &Home, signal: Signal) -> String {
    let train = home.start(&[&["train", text(&home.data()), "--output", "json"], JOB.as_slice()].concat());
    train.says(&["round 1/", "validation error"]);
    assert_eq!(only_job(home).1, "running");
    train.signal(signal);
    let ended = train.ends();
    let (job, state) = only_job(home);
    assert_eq!(state, "interrupted");
    let told = ended.count(&[&format!("resume it with:   convoke resume {job}")]);
    assert_eq!(told, usize::from(signal == Signal::SIGINT));
    job
}

#[test]
fn a_job_is_resumed_to_the_same_bits() {
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let home = Home::new();
        let job = interrupted(&home, signal);
        let resumed = home.run(&["resume", &job, "--model", "resumed.safetensors", "--output", "json"]);
        assert_eq!(resumed.count(&["round 1/"]), 0, "what is known already is not told again: {resumed:#?}");
        check_same_bits(resumed);
        assert_eq!(only_job(&home), (job.clone(), "succeeded".to_owned()));
        let again = home.run(&["resume", &job]).with_status(2);
        assert!(again.line("error: ").contains("is not interrupted: it succeeded"), "{again:#?}");
        again.line("hint: ");
    }
}

#[test]
fn a_running_job_is_followed_from_elsewhere_and_held_by_its_process() {
    let home = Home::new();
    let train = home.start(&[&["train", text(&home.data()), "--output", "json"], JOB.as_slice()].concat());
    train.says(&["job ", "rounds of"]);
    let said = train.said();
    let id = said.iter().find_map(|line| line.strip_prefix("job ")?.split(':').next());
    let job = id.expect("an id").to_owned();
    train.says(&["round 1/"]);
    for command in ["resume", "cancel"] {
        let refused = home.run(&[command, &job]);
        let error = refused.line("error: ");
        assert!(error.contains(&job) && error.contains("a process") && error.contains("at it"), "{refused:#?}");
        refused.line("hint: ");
    }
    let followed = home.run(&["job", &job, "--follow", "--output", "json"]).with_status(0).json();
    assert_eq!(followed["state"], "succeeded");
    check_same_bits(train.ends());
}

#[test]
fn an_interrupted_job_is_cancelled_for_good() {
    let home = Home::new();
    let job = interrupted(&home, Signal::SIGKILL);
    home.run(&["cancel", &job]).with_status(0);
    assert_eq!(only_job(&home), (job.clone(), "cancelled".to_owned()));
    home.run(&["resume", &job]).with_status(2);
}

#[test]
fn any_version_is_saved_from_the_record() {
    let home = Home::new();
    let data = home.data();
    let report =
        home.run(&[&["train", text(&data), "--output", "json"], JOB.as_slice()].concat()).with_status(0).json();
    assert_eq!(report["parameters"], expected()["parameters"]);
    let job = report["job"].as_str().expect("an id");
    let error = |round: usize| report["rounds"][round - 1]["validation_error"].clone();
    let best =
        (1..=ROUNDS).min_by(|one, other| error(*one).as_f64().unwrap().total_cmp(&error(*other).as_f64().unwrap()));
    let validation = data.join("validate_1.txt");
    for (asked, round) in [("1", 1), ("best", best.expect("rounds")), ("last", ROUNDS)] {
        let saved = home.run(&["result", job, "-o", "m.safetensors", "--round", asked, "--output", "json"]);
        let saved = saved.with_status(0).json();
        assert_eq!((&saved["round"], &saved["validation_error"]), (&round.into(), &error(round)));
        let measured = home.run(&["evaluate", "m.safetensors", text(&validation), "--output", "json"]);
        assert_eq!(measured.with_status(0).json()["validation_error"], error(round));
    }
    let refused = home.run(&["result", job, "--round", "9"]).with_status(2);
    assert!(refused.line("error: ").contains("has no version of round 9: its rounds are 1 to 3"), "{refused:#?}");
    let shown = home.run(&["job", job]).with_status(0);
    assert!(shown.stdout.contains("train_1"), "the shards have names: {shown:#?}");
}

#[test]
fn the_best_version_is_kept_when_asked_for() {
    let home = Home::new();
    let data = home.data();
    // So large a step that later rounds are worse.
    let arguments = [
        "train",
        text(&data),
        "--preset",
        "reference",
        "--rounds",
        "8",
        "--epochs",
        "1",
        "--eta",
        "0.001",
        "--keep",
        "best",
    ];
    let report = home.run(&[&arguments[..], &["--output", "json"]].concat()).with_status(0).json();
    let errors = report["rounds"].as_array().expect("rounds").iter();
    let errors: Vec<_> = errors.map(|round| round["validation_error"].as_f64().expect("an error")).collect();
    let best = errors.iter().copied().fold(f64::INFINITY, f64::min);
    let model = report["model"].as_str().expect("a model");
    let validation = data.join("validate_1.txt");
    let measured = home.run(&["evaluate", model, text(&validation), "--output", "json"]).with_status(0).json();
    assert_eq!(measured["validation_error"], best, "{errors:?}");
    assert!(errors.last() > Some(&best), "the last is not the best, or nothing is shown: {errors:?}");
}

/// Makes a record look as if nobody had written to it for 31 days.
fn age(home: &Home, job: &str) {
    let state = home.path("state/convoke/embedded").join(job);
    let then = SystemTime::now() - Duration::from_secs(31 * 24 * 60 * 60);
    for name in ["journal.sqlite", "journal.sqlite-wal"] {
        if let Ok(file) = File::options().write(true).open(state.join(name)) {
            file.set_modified(then).expect("a file of ours");
        }
    }
}

#[test]
fn old_records_go_when_another_job_begins_unless_they_can_be_gone_on_with() {
    let home = Home::new();
    let data = home.data();
    let train = || {
        let arguments =
            ["train", text(&data), "--preset", "reference", "--rounds", "1", "--epochs", "1", "--output", "json"];
        home.run(&arguments).with_status(0).json()["job"].as_str().expect("an id").to_owned()
    };
    let unfinished = interrupted(&home, Signal::SIGKILL);
    let [old, young] = [train(), train()];
    age(&home, &unfinished);
    age(&home, &old);
    let last = train();
    let listed = home.run(&["jobs", "--output", "json"]).with_status(0).json();
    let listed: Vec<_> = listed.as_array().expect("jobs").iter().map(|job| job["job"].as_str().unwrap()).collect();
    assert_eq!(listed, [&unfinished, &young, &last]);
    assert_eq!(std::fs::read_dir(home.path("state/convoke/embedded")).expect("records").count(), 3);
}

#[test]
fn an_empty_record_says_what_to_do() {
    let home = Home::new();
    assert_eq!(embedded_jobs(&home), Vec::<Value>::new());
    for command in ["job", "result", "cancel", "resume"] {
        let refused = home.run(&[command, "7k3q9x2m"]).with_status(2);
        assert!(refused.line("error: ").contains("7k3q9x2m"), "{refused:#?}");
        refused.line("hint: ");
    }
}
