//! A journal that is trimmed while a job runs: whatever is asked of the job is answered as before.
//!
//! What is in a snapshot is tested in `convoke-core` and `convoke-node`.

use crate::cluster::{Cluster, Home};

/// So few bytes that a round brings more.
const OFTEN: [&str; 3] = ["--snapshot-every-bytes", "1000", "--verbose"];

#[test]
fn a_trimmed_journal_tells_the_same_before_and_after_a_restart() {
    let mut cluster = Cluster::start_with(Home::new(), &OFTEN);
    let _ann = cluster.worker("ann", &[]);
    let train = cluster.train(&["--rounds", "40", "--epochs", "2"]);
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
