//! A journal that is trimmed while a job runs: whatever is asked of the job is answered as before.
//!
//! What is in a snapshot is tested in `convoke-core` and `convoke-node`.

use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Home, text};

/// So few bytes that a round brings more.
const OFTEN: [&str; 3] = ["--snapshot-every-bytes", "1000", "--verbose"];

#[test]
fn a_trimmed_journal_tells_the_same_before_and_after_a_restart() {
    let mut cluster = Cluster::start_with(Home::new(), &OFTEN);
    let _ann = cluster.worker("ann", &[]);
    let train = cluster.train(&["--preset", "reference", "--rounds", "40", "--epochs", "2"]);
    cluster.coordinator.says(&["snapshot", "taken through position"]);
    train.says(&["round 5/"]);
    cluster.restart();
    let trained = train.ends().with_status(0).json();
    cluster.coordinator.says(&["snapshot", "taken through position"]);
    assert_eq!(trained["rounds"].as_array().expect("rounds").len(), 40);
    let job = trained["job"].as_str().expect("an id").to_owned();
    let check = |cluster: &Cluster| {
        for arguments in [&["job", &job][..], &["job", &job, "--follow"]] {
            let told = cluster.ask(arguments).with_status(0).json();
            assert_eq!((&told["state"], &told["rounds"]), (&"succeeded".into(), &trained["rounds"]));
            assert_eq!(told["workers"], trained["workers"]);
        }
        let jobs = cluster.jobs();
        assert_eq!((jobs.len(), &jobs[0]["rounds_done"]), (1, &40.into()));
        assert_eq!(
            (&jobs[0]["state"], &jobs[0]["validation_error"]),
            (&"succeeded".into(), &trained["validation_error"])
        );
        cluster.ask(&["result", &job, "-o", "m.safetensors", "--round", "best"]).with_status(0);
    };
    check(&cluster);
    cluster.restart();
    check(&cluster);
}

#[test]
fn a_trimmed_record_tells_the_same() {
    let home = Home::new();
    let data = home.data();
    let arguments =
        ["train", text(&data), "--preset", "reference", "--rounds", "5", "--epochs", "2", "--output", "json"];
    let trained = home.run(&arguments).with_status(0).json();
    let job = trained["job"].as_str().expect("an id");
    let asked = || home.run(&["job", job, "--output", "json"]).with_status(0).json();
    let before = asked();
    assert_eq!(before["rounds"], trained["rounds"]);
    // Whoever takes the directory over trims its journal.
    let state = home.path("state").join("convoke").join("embedded").join(job);
    let fixed = ["coordinator", "--bind", "127.0.0.1:0", "--state", text(&state)];
    let mut coordinator = home.start(&[&fixed, &OFTEN[..]].concat());
    coordinator.says(&["snapshot", "taken through position"]);
    coordinator.signal(Signal::SIGTERM);
    coordinator.gone();
    let after = asked();
    assert_eq!(before, after);
    home.run(&["result", job, "-o", "m.safetensors"]).with_status(0);
}
