//! Ctrl-C and cancelling: what goes on, what ends, and what is kept.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Home, text};
use crate::process::DEADLINE;

/// A job that ends only when it is told to.
const LONG: [&str; 6] = ["--preset", "reference", "--rounds", "100000", "--epochs", "50"];

#[test]
fn an_interrupted_embedded_job_saves_its_last_version() {
    let home = Home::new();
    let data = home.data();
    let fixed = ["train", text(&data), "--workers", "1", "--model", "last.safetensors", "--output", "json"];
    let train = home.start(&[&fixed[..], &LONG].concat());
    train.says(&["round 2/"]);
    train.signal(Signal::SIGINT);
    let report = train.ends().with_status(130).json();
    assert_eq!((&report["state"], &report["model"]), (&"interrupted".into(), &"last.safetensors".into()));
    let validation = data.join("validate_1.txt");
    home.run(&["evaluate", "last.safetensors", text(&validation)]).with_status(0);
}

#[test]
fn whoever_is_interrupted_before_anything_is_submitted_says_so() {
    let home = Home::new();
    let data = home.data();
    let wait = ["--coordinator", "127.0.0.1:1", "--wait", "1h"];
    for command in [&["train", text(&data)][..], &["map", "data/train_1.txt", "--command", "wc"]] {
        let waiting = home.start(&[command, &wait].concat());
        waiting.says(&["waiting for the coordinator"]);
        waiting.signal(Signal::SIGINT);
        assert_eq!(waiting.ends().with_status(130).count(&["interrupted: nothing was submitted"]), 1);
    }
}

#[test]
fn reading_what_goes_along_can_be_interrupted() {
    let home = Home::new();
    // To name it takes minutes.
    std::fs::File::create(home.path("large")).expect("a file").set_len(1 << 40).expect("no space that it takes");
    let run = home.start(&["run", "--workers", "1", "--with", "large", "--", "true"]);
    let until = Instant::now() + DEADLINE;
    let is_started = || home.path("state/convoke/embedded").read_dir().is_ok_and(|mut jobs| jobs.next().is_some());
    while !is_started() {
        assert!(Instant::now() < until, "it starts: {:#?}", run.said());
        std::thread::sleep(Duration::from_millis(5));
    }
    run.signal(Signal::SIGINT);
    assert_eq!(run.ends().with_status(130).count(&["interrupted: nothing was submitted"]), 1);
}

#[test]
fn a_worker_that_is_interrupted_says_that_it_leaves() {
    let cluster = Cluster::start();
    let worker = cluster.worker("w1", &[]);
    worker.signal(Signal::SIGINT);
    assert_eq!(worker.ends().with_status(0).count(&["leaving: 0 tasks given back"]), 1);
}

#[test]
fn an_interrupted_client_leaves_its_job_to_the_cluster_until_it_is_cancelled() {
    let cluster = Cluster::start();
    let _worker = cluster.worker("w1", &[]);
    let train = cluster.train(&LONG);
    train.says(&["round 1/"]);
    train.signal(Signal::SIGINT);
    let ended = train.ends().with_status(130);
    let jobs = cluster.jobs();
    let job = jobs[0]["job"].as_str().expect("an id");
    assert_eq!((jobs.len(), &jobs[0]["state"]), (1, &"running".into()));
    for next in [format!("convoke job {job} --follow"), format!("convoke cancel {job}")] {
        assert_eq!(ended.count(&[&format!("{next} --coordinator {}", cluster.address)]), 1, "{ended:#?}");
    }
    let round = jobs[0]["rounds_done"].as_u64().expect("rounds") + 3;
    cluster.coordinator.says(&["round opened", &format!("round={round} ")]);

    let cancelled = cluster.ask(&["cancel", job]).with_status(0).json();
    assert_eq!(cancelled["state"], "cancelled");
    let jobs = cluster.jobs();
    assert_eq!((jobs.len(), &jobs[0]["state"]), (1, &"cancelled".into()));
    cluster.ask(&["cancel", job]).with_status(0);
}

#[test]
fn the_client_of_a_cancelled_job_fails_and_keeps_the_last_version() {
    let cluster = Cluster::start();
    let _worker = cluster.worker("w1", &[]);
    let train = cluster.train(&[&LONG[..], &["--model", "last.safetensors"]].concat());
    train.says(&["round 2/"]);
    let job = cluster.jobs()[0]["job"].as_str().expect("an id").to_owned();
    cluster.ask(&["cancel", &job]).with_status(0);
    let ended = train.ends().with_status(1);
    assert!(ended.line("error: ").contains(&format!("job {job} was cancelled")), "{ended:#?}");
    assert_eq!(ended.json()["state"], "cancelled");
    assert!(cluster.home.path("last.safetensors").is_file());
}
